/* See ota_update.h. The fields are read in the order in which they must be; the first that differs ends it. */
#include "ota_private.h"
#include "ota_update.h"

typedef struct {
    char *at, *end;
    bool is_valid;
} reader;

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

static void ICACHE_FLASH_ATTR expect(reader *text, const char *literal)
{
    if (!skip(text, literal)) {
        text->is_valid = false;
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
        text->is_valid = false;
        return "";
    }
    *text->at++ = 0;
    return word;
}

static uint8 ICACHE_FLASH_ATTR digit_value(char digit)
{
    return (uint8)(digit >= '0' && digit <= '9' ? digit - '0' : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : 16);
}

/* Read a number without leading zeros, at most `max`. */
static uint32 ICACHE_FLASH_ATTR read_number(reader *text, char last, uint32 base, uint32 max)
{
    const char *digits = read_word(text, last);
    uint32 value = 0, i;
    for (i = 0; digits[i]; i++) {
        uint8 digit = digit_value(digits[i]);
        if (digit >= base || digit > max || value > (max - digit) / base || (i && value == 0)) {
            text->is_valid = false;
            return 0;
        }
        value = value * base + digit;
    }
    return value;
}

static const char *ICACHE_FLASH_ATTR read_version(reader *text, char last)
{
    const char *version = read_word(text, last);
    uint32 i;
    for (i = 0; version[i]; i++) {
        if (version[i] == '+') { /* build metadata, which published versions do not have */
            text->is_valid = false;
        }
    }
    if (rboot_compare_versions(version, version) != RBOOT_SAME) {
        text->is_valid = false;
    }
    return version;
}

static void ICACHE_FLASH_ATTR read_digest(reader *text, uint8 *digest)
{
    const char *digits = read_word(text, '\n');
    uint32 i;
    for (i = 0; i < 64; i++) {
        uint8 value = digit_value(digits[i]); /* a 0 at the end of the word is no digit */
        if (value > 15) {
            text->is_valid = false;
            return;
        }
        digest[i / 2] = (uint8)(i % 2 ? digest[i / 2] | value : value << 4);
    }
    if (digits[64]) {
        text->is_valid = false;
    }
}

static bool ICACHE_FLASH_ATTR is_same(const char *one, const char *other)
{
    while (*one && *one == *other) {
        one++;
        other++;
    }
    return *one == *other;
}

static void ICACHE_FLASH_ATTR read_date(reader *text)
{
    static const char form[] = "0000-00-00";
    const char *date = read_word(text, '\n');
    uint32 i;
    for (i = 0; form[i]; i++) {
        if (form[i] == '-' ? date[i] != '-' : digit_value(date[i]) > 9) {
            text->is_valid = false;
            return;
        }
    }
    if (date[i]) {
        text->is_valid = false;
    }
}

static void ICACHE_FLASH_ATTR read_rom(reader *text, ota_update *update, int32 *last_slot, uint8 slot)
{
    uint8 digest[32];
    uint32 number = read_number(text, ' ', 10, 255), address = read_number(text, ' ', 16, 0xFFFFFFFF);
    uint32 slot_size = read_number(text, ' ', 16, 0xFFFFFFFF), size = read_number(text, ' ', 10, 0xFFFFFFFF);
    read_digest(text, digest);
    if ((int32)number <= *last_slot) { /* in ascending order */
        text->is_valid = false;
    }
    *last_slot = (int32)number;
    if (text->is_valid && number == slot) {
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
    reader text = {data, data + size, true};
    const char *version;
    int32 last_slot = -1;
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
    while (text.is_valid && skip(&text, "withdrawn ")) {
        const char *withdrawn = read_version(&text, '\n');
        if (is_same(withdrawn, version)) {
            text.is_valid = false;
        }
        update->is_own_withdrawn |= is_same(withdrawn, own_version);
    }
    if (skip(&text, "rollout ")) {
        update->rollout = read_number(&text, '\n', 10, OTA_ROLLOUT_ALL);
    }
    while (text.is_valid && skip(&text, "rom ")) {
        read_rom(&text, update, &last_slot, slot);
    }
    while (text.is_valid && skip(&text, "delta ")) {
        uint8 digest[32];
        read_version(&text, ' ');
        read_number(&text, ' ', 10, 255);
        read_number(&text, ' ', 10, 255);
        read_number(&text, ' ', 10, 0xFFFFFFFF);
        read_digest(&text, digest);
    }
    expect(&text, "end\n");
    if (!text.is_valid || text.at != text.end || update->serial == 0 || last_slot < 0) {
        return false;
    }
    ota_copy(update->version, version, RBOOT_VERSION_SIZE); /* it ends within that, and a ROM follows */
    return true;
}
