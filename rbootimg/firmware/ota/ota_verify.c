/* The image stores no link address, but its literals do: most of the words that point into the flash window point
 * into the ROM's own irom. A ROM of which more words point elsewhere is linked for another slot, unless there are no
 * more of them than chance may bring: of data, one word in 4,096 looks like a pointer into the window. */
#include "ota_verify.h"

#define BY_CHANCE 1024 /* one word in so many, to be on the safe side */

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
    verify->sum = RBOOT_CHECKSUM_SEED;
    verify->irom_size = 0;
    verify->own = verify->elsewhere = 0;
    verify->link = ESP8266_WINDOW_START + slot % ESP8266_WINDOW_SIZE + RBOOT_IROM_OFFSET;
    verify->entry = verify->address = 0;
    verify->part = FIRST_MAGIC;
    verify->sections = verify->count = 0;
    verify->irom_checksum = irom_checksum;
}

static bool ICACHE_FLASH_ATTR is_within(uint32 address, uint32 size, uint32 start, uint32 end)
{
    return address >= start && address <= end && size <= end - address;
}

/* Notes a section; false if the ROM must not load it. */
static bool ICACHE_FLASH_ATTR add_section(ota_verify *verify, uint32 address, uint32 size)
{
    uint32 i;
    if (address % 4 || verify->count == RBOOT_MAX_SECTIONS ||
        !(is_within(address, size, ESP8266_DRAM_START, ESP8266_DRAM_END) ||
          is_within(address, size, ESP8266_IRAM_START, ESP8266_IRAM_END))) {
        return false;
    }
    for (i = 0; i < verify->count; i++) {
        const ota_range *other = &verify->loaded[i];
        uint32 first = address > other->start ? address : other->start;
        if (first < address + size && first < other->end) { /* an empty one overlaps nothing */
            return false;
        }
    }
    verify->loaded[verify->count].start = address;
    verify->loaded[verify->count++].end = address + size;
    return true;
}

/* Whether the entry is in a section in IRAM, where a function can start. */
static bool ICACHE_FLASH_ATTR has_entry(const ota_verify *verify)
{
    uint32 i;
    for (i = 0; i < verify->count; i++) {
        const ota_range *range = &verify->loaded[i];
        if (range->start >= ESP8266_IRAM_START && range->start <= verify->entry && verify->entry < range->end) {
            return verify->entry % 4 == 0;
        }
    }
    return false;
}

/* Where to read on after the headers, or after a section. */
static uint8 ICACHE_FLASH_ATTR next_section(ota_verify *verify)
{
    if (verify->sections == 0) {
        return has_entry(verify) ? CHECKSUM : BAD;
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
    bool is_image = (word & 0xFF) == ESP8266_IMAGE_MAGIC;
    verify->sections = word >> 8 & 0xFF;
    return is_image && verify->sections && verify->sections <= RBOOT_MAX_SECTIONS ? ENTRY : BAD;
}

static void ICACHE_FLASH_ATTR count_pointer(ota_verify *verify, uint32 word)
{
    if (word - verify->link < verify->irom_size) {
        verify->own++;
    } else if (word - ESP8266_WINDOW_START < ESP8266_WINDOW_SIZE) {
        verify->elsewhere++;
    }
}

static void ICACHE_FLASH_ATTR add(ota_verify *verify, uint32 word)
{
    verify->offset += 4;
    switch (verify->part) {
    case FIRST_MAGIC:
        verify->part = (word & 0xFFFF) == (RBOOT_ROM_COUNT << 8 | RBOOT_ROM_MAGIC) ? FIRST_ENTRY : image(verify, word);
        break;
    case FIRST_ENTRY:
        verify->entry = word;
        verify->part = FIRST_NOTHING;
        break;
    case FIRST_NOTHING:
        verify->part = word == 0 ? IROM_SIZE : BAD;
        break;
    case IROM_SIZE:
        verify->irom_size = word;
        verify->part = word && word % RBOOT_ALIGNMENT == 0 ? start(verify, word, IROM, MAGIC) : BAD;
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
        if (verify->irom_size && word != verify->entry) {
            verify->part = BAD; /* the headers do not belong together */
            break;
        }
        verify->entry = word;
        verify->part = next_section(verify);
        break;
    case ADDRESS:
        verify->address = word;
        verify->part = SIZE;
        break;
    case SIZE:
        if (!add_section(verify, verify->address, word)) {
            verify->part = BAD;
            break;
        }
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
    case CHECKSUM: /* the last byte of its block */
        if (verify->offset % RBOOT_ALIGNMENT ? word : word << 8) {
            verify->part = BAD; /* the padding, which packers write as zeros */
        } else if (verify->offset % RBOOT_ALIGNMENT == 0) {
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
