/* The link address is not stored in a ROM, but follows from its literals: most words that look like an address in
 * the flash window are addresses in the ROM's own irom. If more words point to other places in the window, the ROM
 * is linked for another slot. A few such words are tolerated: one word in 4,096 of random data looks like an address
 * there. */
#include "ota_verify.h"

#include "ota_code.h"

#define WORDS_PER_TOLERATED_POINTER 1024 /* tolerate one in 1,024 words: four times the expected number */

enum part {
    FIRST_MAGIC,
    FIRST_ENTRY,
    FIRST_RESERVED,
    IROM_SIZE,
    IROM,
    MAGIC,
    ENTRY,
    ADDRESS,
    SIZE,
    DATA,
    CHECKSUM,
    COMPLETE,
    INVALID
};

void ICACHE_FLASH_ATTR ota_verify_init(ota_verify *verify, uint32 slot, uint32 size, bool irom_checksum)
{
    verify->offset = 0;
    verify->size = size;
    verify->words_left = 0;
    verify->sum = RBOOT_CHECKSUM_SEED;
    verify->irom_size = 0;
    verify->own_pointers = verify->other_pointers = 0;
    verify->link_address = ESP8266_WINDOW_START + slot % ESP8266_WINDOW_SIZE + RBOOT_IROM_OFFSET;
    verify->entry = verify->address = 0;
    verify->part = FIRST_MAGIC;
    verify->sections_left = verify->loaded_count = 0;
    verify->irom_checksum = irom_checksum;
}

static bool ICACHE_FLASH_ATTR is_within(uint32 address, uint32 size, uint32 start, uint32 end)
{
    return address >= start && address <= end && size <= end - address;
}

/* Add the range of a section; false if it is outside the RAM or overlaps another one. */
static bool ICACHE_FLASH_ATTR add_section(ota_verify *verify, uint32 address, uint32 size)
{
    uint32 i;
    if (address % 4 || verify->loaded_count == RBOOT_MAX_SECTIONS ||
        !(is_within(address, size, ESP8266_DRAM_START, ESP8266_DRAM_END) ||
          is_within(address, size, ESP8266_IRAM_START, ESP8266_IRAM_END))) {
        return false;
    }
    for (i = 0; i < verify->loaded_count; i++) {
        const ota_range *other = &verify->loaded[i];
        uint32 first = address > other->start ? address : other->start;
        if (first < address + size && first < other->end) { /* an empty range overlaps nothing */
            return false;
        }
    }
    verify->loaded[verify->loaded_count].start = address;
    verify->loaded[verify->loaded_count++].end = address + size;
    return true;
}

/* Return true if the entry point is in a section in IRAM, aligned to 4 bytes. */
static bool ICACHE_FLASH_ATTR is_entry_in_iram(const ota_verify *verify)
{
    uint32 i;
    for (i = 0; i < verify->loaded_count; i++) {
        const ota_range *range = &verify->loaded[i];
        if (range->start >= ESP8266_IRAM_START && range->start <= verify->entry && verify->entry < range->end) {
            return verify->entry % 4 == 0;
        }
    }
    return false;
}

/* Return the part after the headers or after a section. */
static uint8 ICACHE_FLASH_ATTR next_section(ota_verify *verify)
{
    if (verify->sections_left == 0) {
        return is_entry_in_iram(verify) ? CHECKSUM : INVALID;
    }
    verify->sections_left--;
    return ADDRESS;
}

/* Start a part of `size` bytes. Return `part`, `next` if it is empty, or INVALID. */
static uint8 NOT_INLINED start_part(ota_verify *verify, uint32 size, uint8 part, uint8 next)
{
    verify->words_left = size / 4;
    if (size % 4 || size > verify->size - verify->offset) {
        return INVALID;
    }
    return size ? part : next;
}

/* Read the first word of the second header, or of the only one if there is no irom. */
static uint8 NOT_INLINED read_image_header(ota_verify *verify, uint32 word)
{
    bool is_image = (word & 0xFF) == ESP8266_IMAGE_MAGIC;
    verify->sections_left = word >> 8 & 0xFF;
    return is_image && verify->sections_left && verify->sections_left <= RBOOT_MAX_SECTIONS ? ENTRY : INVALID;
}

static void NOT_INLINED count_pointer(ota_verify *verify, uint32 word)
{
    if (word - verify->link_address < verify->irom_size) {
        verify->own_pointers++;
    } else if (word - ESP8266_WINDOW_START < ESP8266_WINDOW_SIZE) {
        verify->other_pointers++;
    }
}

static void ICACHE_FLASH_ATTR add_word(ota_verify *verify, uint32 word)
{
    verify->offset += 4;
    switch (verify->part) {
    case FIRST_MAGIC:
        verify->part = (word & 0xFFFF) == (RBOOT_ROM_COUNT << 8 | RBOOT_ROM_MAGIC) ? FIRST_ENTRY
                                                                                   : read_image_header(verify, word);
        break;
    case FIRST_ENTRY:
        verify->entry = word;
        verify->part = FIRST_RESERVED;
        break;
    case FIRST_RESERVED:
        verify->part = word == 0 ? IROM_SIZE : INVALID;
        break;
    case IROM_SIZE:
        verify->irom_size = word;
        verify->part = word && word % RBOOT_ALIGNMENT == 0 ? start_part(verify, word, IROM, MAGIC) : INVALID;
        break;
    case IROM:
        if (verify->irom_checksum) {
            verify->sum ^= word;
        }
        count_pointer(verify, word);
        if (--verify->words_left == 0) {
            verify->part = MAGIC;
        }
        break;
    case MAGIC:
        verify->part = read_image_header(verify, word);
        break;
    case ENTRY:
        if (verify->irom_size && word != verify->entry) {
            verify->part = INVALID; /* the entry points of the two headers differ */
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
            verify->part = INVALID;
            break;
        }
        verify->part = start_part(verify, word, DATA, CHECKSUM);
        if (verify->part == CHECKSUM) {
            verify->part = next_section(verify);
        }
        break;
    case DATA:
        verify->sum ^= word;
        count_pointer(verify, word);
        if (--verify->words_left == 0) {
            verify->part = next_section(verify);
        }
        break;
    case CHECKSUM: /* the last byte of a block of RBOOT_ALIGNMENT bytes */
        if (verify->offset % RBOOT_ALIGNMENT ? word : word << 8) {
            verify->part = INVALID; /* packers write the padding as zeros */
        } else if (verify->offset % RBOOT_ALIGNMENT == 0) {
            uint32 sum = verify->sum ^ verify->sum >> 16;
            sum ^= sum >> 8;
            verify->part = (sum & 0xFF) == word >> 24 ? COMPLETE : INVALID;
        }
        break;
    default: /* rBoot ignores data after the checksum */
        break;
    }
}

void ICACHE_FLASH_ATTR ota_verify_add(ota_verify *verify, const uint32 *words, uint32 count)
{
    uint32 i;
    for (i = 0; i < count; i++) {
        add_word(verify, words[i]);
    }
}

bool ICACHE_FLASH_ATTR ota_verify_is_done(const ota_verify *verify)
{
    return verify->part == COMPLETE || verify->part == INVALID;
}

rboot_ota_reason ICACHE_FLASH_ATTR ota_verify_end(const ota_verify *verify)
{
    if (verify->part != COMPLETE) {
        return OTA_BAD_ROM;
    }
    if (verify->irom_size &&
        verify->other_pointers > verify->own_pointers + verify->offset / 4 / WORDS_PER_TOLERATED_POINTER) {
        return OTA_WRONG_SLOT;
    }
    return OTA_OK;
}
