/* The image stores no link address, but its literals do: most of the words that point into the flash window point
 * into the ROM's own irom. A ROM of which more words point elsewhere is linked for another slot, unless there are no
 * more of them than chance may bring: of data, one word in 4,096 looks like a pointer into the window. */
#include "ota_verify.h"

#define WINDOW_START 0x40200000u
#define MEGABYTE 0x100000u
#define BY_CHANCE 1024 /* one word in so many, to be on the safe side */
#define IROM_OFFSET 0x10 /* the two headers before irom */

enum part {
    FIRST_MAGIC,
    FIRST_ENTRY,
    FIRST_NOTHING,
    IROM_SIZE,
    IROM,
    MAGIC,
    ENTRY,
    ADDRESS,
    SIZE,
    DATA,
    CHECKSUM,
    BEHIND,
    BAD
};

void ICACHE_FLASH_ATTR ota_verify_init(ota_verify *verify, uint32 slot, uint32 size, bool irom_checksum)
{
    verify->offset = 0;
    verify->size = size;
    verify->left = 0;
    verify->sum = CHKSUM_INIT;
    verify->irom_size = 0;
    verify->own = verify->elsewhere = 0;
    verify->link = WINDOW_START + slot % MEGABYTE + IROM_OFFSET;
    verify->part = FIRST_MAGIC;
    verify->sections = 0;
    verify->irom_checksum = irom_checksum;
}

/* Where to read on after the headers, or after a section. */
static uint8 ICACHE_FLASH_ATTR next_section(ota_verify *verify)
{
    if (verify->sections == 0) {
        return CHECKSUM;
    }
    verify->sections--;
    return ADDRESS;
}

/* The start of so many bytes, which `part` has; `next` if there are none. */
static uint8 ICACHE_FLASH_ATTR start(ota_verify *verify, uint32 size, uint8 part, uint8 next)
{
    verify->left = size / 4;
    if (size % 4 || size > verify->size - verify->offset) {
        return BAD;
    }
    return size ? part : next;
}

/* The second header, or that of a ROM without irom. */
static uint8 ICACHE_FLASH_ATTR image(ota_verify *verify, uint32 word)
{
    verify->sections = word >> 8 & 0xFF;
    return (word & 0xFF) == 0xE9 && verify->sections ? ENTRY : BAD;
}

static void ICACHE_FLASH_ATTR count_pointer(ota_verify *verify, uint32 word)
{
    if (word - verify->link < verify->irom_size) {
        verify->own++;
    } else if (word - WINDOW_START < MEGABYTE) {
        verify->elsewhere++;
    }
}

static void ICACHE_FLASH_ATTR add(ota_verify *verify, uint32 word)
{
    verify->offset += 4;
    switch (verify->part) {
    case FIRST_MAGIC:
        verify->part = (word & 0xFFFF) == 0x04EA ? FIRST_ENTRY : image(verify, word);
        break;
    case FIRST_ENTRY:
        verify->part = FIRST_NOTHING;
        break;
    case FIRST_NOTHING:
        verify->part = IROM_SIZE;
        break;
    case IROM_SIZE:
        verify->irom_size = word;
        verify->part = start(verify, word, IROM, MAGIC);
        break;
    case IROM:
        if (verify->irom_checksum) {
            verify->sum ^= word;
        }
        count_pointer(verify, word);
        if (--verify->left == 0) {
            verify->part = MAGIC;
        }
        break;
    case MAGIC:
        verify->part = image(verify, word);
        break;
    case ENTRY:
        verify->part = next_section(verify);
        break;
    case ADDRESS:
        verify->part = SIZE;
        break;
    case SIZE:
        verify->part = start(verify, word, DATA, CHECKSUM);
        if (verify->part == CHECKSUM) {
            verify->part = next_section(verify);
        }
        break;
    case DATA:
        verify->sum ^= word;
        count_pointer(verify, word);
        if (--verify->left == 0) {
            verify->part = next_section(verify);
        }
        break;
    case CHECKSUM: /* the last byte of a block of 16 */
        if (verify->offset % 16 == 0) {
            uint32 sum = verify->sum ^ verify->sum >> 16;
            sum ^= sum >> 8;
            verify->part = (sum & 0xFF) == word >> 24 ? BEHIND : BAD;
        }
        break;
    default: /* what follows the checksum, rBoot ignores */
        break;
    }
}

void ICACHE_FLASH_ATTR ota_verify_add(ota_verify *verify, const uint32 *words, uint32 count)
{
    uint32 i;
    for (i = 0; i < count; i++) {
        add(verify, words[i]);
    }
}

bool ICACHE_FLASH_ATTR ota_verify_is_over(const ota_verify *verify)
{
    return verify->part == BEHIND || verify->part == BAD;
}

rboot_ota_reason ICACHE_FLASH_ATTR ota_verify_end(const ota_verify *verify)
{
    if (verify->part != BEHIND) {
        return OTA_BAD_ROM;
    }
    return verify->irom_size && verify->elsewhere > verify->own + verify->offset / 4 / BY_CHANCE ? OTA_OTHER_SLOT : OTA_OK;
}
