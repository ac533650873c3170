/* See ota_update.h. The fields are read in the order in which they must be; the first that differs ends it. */
#include "ota_private.h"
#include "ota_update.h"

typedef struct {
    char *at, *end;
} reader;

/* Go to the end, so that nothing more is found, not even the last line. */
static void ICACHE_FLASH_ATTR refuse(reader *text)
{
    text->at = text->end;
}

/* Skip `literal` if it is next. */
static bool ICACHE_FLASH_ATTR skip(reader *text, const char *literal)
{
    char *at = text->at;
    while (*literal) {
        if (at == text->end || *at++ != *literal++) {
            return false;
        }
    }
    text->at = at;
    return true;
}

static void NOT_INLINED expect(reader *text, const char *literal)
{
    if (!skip(text, literal)) {
        refuse(text);
    }
}

/* Read a word of printable characters up to `last`, a blank or a line feed, which is replaced by a 0. */
static const char *ICACHE_FLASH_ATTR read_word(reader *text, char last)
{
    const char *word = text->at;
    while (text->at < text->end && *text->at > ' ' && *text->at < 0x7F) {
        text->at++;
    }
    if (text->at == word || text->at == text->end || *text->at != last) {
        refuse(text);
        return "";
    }
    *text->at++ = 0;
    return word;
}

static uint32 ICACHE_FLASH_ATTR digit_value(uint32 digit)
{
    return digit - '0' < 10 ? digit - '0' : digit - 'a' < 6 ? digit - 'a' + 10 : 16;
}

/* Read a number without leading zeros, at most `max`. */
static uint32 ICACHE_FLASH_ATTR read_number(reader *text, char last, uint32 base, uint32 max)
{
    const char *digits = read_word(text, last);
    uint32 value = 0, i;
    for (i = 0; digits[i]; i++) {
        uint32 digit = digit_value((uint8)digits[i]);
        uint32 next = value * base + digit;
        /* With such values `next` wraps at most once. A division would take a function of libgcc. */
        if (digit >= base || (i && value == 0) || value >= 0x1999999A || (base == 16 && value >= 0x10000000) ||
            next < value || next > max) {
            refuse(text);
            return 0;
        }
        value = next;
    }
    return value;
}

static const char *ICACHE_FLASH_ATTR read_version(reader *text, char last)
{
    const char *version = read_word(text, last);
    uint32 i;
    for (i = 0; version[i]; i++) {
        if (version[i] == '+') { /* build metadata, which published versions do not have */
            refuse(text);
        }
    }
    if (rboot_compare_versions(version, version) != RBOOT_SAME) {
        refuse(text);
    }
    return version;
}

static void ICACHE_FLASH_ATTR read_digest(reader *text, uint8 *digest)
{
    const char *digits = read_word(text, '\n');
    uint32 i;
    for (i = 0; i < 64; i++) {
        uint32 value = digit_value((uint8)digits[i]); /* a 0 at the end of the word is no digit */
        if (value > 15) {
            refuse(text);
            return;
        }
        digest[i / 2] = (uint8)(i % 2 ? digest[i / 2] | value : value << 4);
    }
    if (digits[64]) {
        refuse(text);
    }
}

static void NOT_INLINED read_date(reader *text)
{
    static const char form[] = "0000-00-00";
    const char *date = read_word(text, '\n');
    uint32 i;
    for (i = 0; form[i]; i++) {
        if (form[i] == '-' ? date[i] != '-' : digit_value((uint8)date[i]) > 9) {
            refuse(text);
            return;
        }
    }
    if (date[i]) {
        refuse(text);
    }
}

static void ICACHE_FLASH_ATTR read_rom(reader *text, ota_update *update, int32 *last_slot, uint8 slot)
{
    uint8 digest[32];
    uint32 number = read_number(text, ' ', 10, 255), address = read_number(text, ' ', 16, 0xFFFFFFFF);
    uint32 slot_size = read_number(text, ' ', 16, 0xFFFFFFFF), size = read_number(text, ' ', 10, 0xFFFFFFFF);
    read_digest(text, digest);
    if ((int32)number <= *last_slot) { /* in ascending order */
        refuse(text);
    }
    *last_slot = (int32)number;
    if (number == slot) {
        update->has_rom = true;
        update->flash_address = address;
        update->slot_size = slot_size;
        update->rom_size = size;
        ota_copy(update->sha256, digest, sizeof digest);
    }
}

bool ICACHE_FLASH_ATTR ota_update_parse(ota_update *update, char *data, uint32 size, const char *own_version,
                                        uint8 slot)
{
    reader text;
    const char *version;
    int32 last_slot = -1;
    text.at = data;
    text.end = data + size;
    update->is_own_withdrawn = update->has_rom = false;
    update->rollout = OTA_ROLLOUT_ALL;
    expect(&text, "rbootimg-update 1\napp ");
    update->app = read_word(&text, '\n');
    expect(&text, "device ");
    update->device = read_word(&text, '\n');
    expect(&text, "version ");
    version = read_version(&text, '\n');
    expect(&text, "serial ");
    update->serial = read_number(&text, '\n', 10, 0xFFFFFFFF);
    if (skip(&text, "issued ")) {
        read_date(&text);
    }
    while (skip(&text, "withdrawn ")) {
        const char *withdrawn = read_version(&text, '\n');
        if (ota_equals(withdrawn, version)) {
            refuse(&text);
        }
        update->is_own_withdrawn |= ota_equals(withdrawn, own_version);
    }
    if (skip(&text, "rollout ")) {
        update->rollout = read_number(&text, '\n', 10, OTA_ROLLOUT_ALL);
    }
    while (skip(&text, "rom ")) {
        read_rom(&text, update, &last_slot, slot);
    }
    while (skip(&text, "delta ")) {
        uint8 digest[32];
        read_version(&text, ' ');
        read_number(&text, ' ', 10, 255);
        read_number(&text, ' ', 10, 255);
        read_number(&text, ' ', 10, 0xFFFFFFFF);
        read_digest(&text, digest);
    }
    if (!skip(&text, "end\n") || text.at != text.end || update->serial == 0 || last_slot < 0) {
        return false;
    }
    ota_copy(update->version, version, RBOOT_VERSION_SIZE); /* it ends within that, and a ROM follows */
    return true;
}
