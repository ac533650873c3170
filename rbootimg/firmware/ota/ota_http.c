/* HTTP reply parser. Source: RFC 9112. It is strict, as the body is written to the flash: any reply that is
 * malformed or ambiguous is refused. rbootimg/release/httpreply.py implements the same rules for `rbootimg check
 * --url`; change both together. */
#include "ota_http.h"

#include "ota_code.h"

/* A line ends in REASON to AFTER_VALUE. */
enum state { STATUS_LINE, REASON, BEFORE_VALUE, VALUE, AFTER_VALUE, LINE_END, LINE_START, NAME, HEADER_END, DONE };
enum name { CONTENT_LENGTH = 1, TRANSFER_ENCODING = 2, CONTENT_ENCODING = 4, ALL_NAMES = 7 };

void ICACHE_FLASH_ATTR ota_http_init(ota_http *http)
{
    http->state = STATUS_LINE;
    http->column = 0;
    http->names = ALL_NAMES; /* no header line to continue yet */
    http->size = http->status = 0;
    http->length = http->value = 0;
    http->has_length = http->is_encoded = false;
}

bool ICACHE_FLASH_ATTR ota_http_is_done(const ota_http *http)
{
    return http->state == DONE;
}

static bool ICACHE_FLASH_ATTR is_digit(uint32 byte)
{
    return byte - '0' < 10;
}

static uint32 ICACHE_FLASH_ATTR lower(uint32 byte)
{
    return byte - 'A' < 26 ? byte + 0x20 : byte;
}

/* Return true for a character of a header name. Source: RFC 9110, tchar. */
static bool ICACHE_FLASH_ATTR is_token_byte(uint32 byte)
{
    static const uint8 symbols[] = "!#$%&'*+-.^_`|~";
    const uint8 *symbol = symbols;
    while (*symbol && byte != *symbol) {
        symbol++;
    }
    return *symbol || is_digit(byte) || lower(byte) - 'a' < 26;
}

/* Read the next byte of "HTTP/1.x nnn"; false if it is invalid. */
static bool ICACHE_FLASH_ATTR read_status_byte(ota_http *http, uint32 byte)
{
    static const char start[] = "HTTP/1.";
    uint32 column = http->column++;
    if (column < 7) {
        return byte == (uint8)start[column];
    }
    if (column == 7) {
        return byte == '0' || byte == '1';
    }
    if (column == 8) {
        return byte == ' ';
    }
    http->status = http->status * 10 + (byte - '0');
    if (column == 11) {
        http->state = REASON;
        http->column = 0;
    }
    return is_digit(byte);
}

/* Compare the next byte of a header name; a `byte` of 0 is its end. */
static void NOT_INLINED read_name_byte(ota_http *http, uint32 byte)
{
    /* In the order of enum name. One array, as an array of pointers would be larger. */
    static const char relevant[3][sizeof "transfer-encoding"] = {"content-length", "transfer-encoding",
                                                                 "content-encoding"};
    uint32 column = http->column, i;
    for (i = 0; i < 3; i++) {
        if (column >= sizeof relevant[i] || lower(byte) != (uint8)relevant[i][column]) {
            http->names &= ~(1u << i);
        }
    }
    if (column < 0xFF) {
        http->column++;
    }
}

static bool ICACHE_FLASH_ATTR read_value_byte(ota_http *http, uint32 byte)
{
    static const char identity[] = "identity";
    if (http->names & CONTENT_LENGTH) {
        if (!is_digit(byte)) {
            return false;
        }
        http->value = http->value * 10 + (byte - '0');
        if (http->value > OTA_MAX_LENGTH) {
            http->value = OTA_MAX_LENGTH;
        }
    } else if (http->names) {
        if (http->column >= sizeof identity - 1 || lower(byte) != (uint8)identity[http->column]) {
            http->is_encoded = true;
        }
    }
    if (http->column < 0xFF) {
        http->column++;
    }
    return true;
}

/* End the value, at the end of the line; false if it is invalid. */
static bool ICACHE_FLASH_ATTR end_value(ota_http *http)
{
    if (http->names & CONTENT_LENGTH) {
        if (http->column == 0 || (http->has_length && http->length != http->value)) {
            return false;
        }
        http->has_length = true;
        http->length = http->value;
    } else if (http->names && http->column != sizeof "identity" - 1) {
        if (http->column || !(http->names & CONTENT_ENCODING)) { /* an empty Content-Encoding means identity */
            http->is_encoded = true;
        }
    }
    return true;
}

/* Read the next byte of the header; false if it is invalid. */
static bool ICACHE_FLASH_ATTR read_byte(ota_http *http, uint32 byte)
{
    bool is_blank = byte == ' ' || byte == '\t';
    bool is_end = byte == '\r' || byte == '\n';
    bool is_text = byte == '\t' || (byte >= 0x20 && byte != 0x7F);
    uint32 state = http->state;
    if (is_end && state >= REASON && state <= AFTER_VALUE) {
        http->state = byte == '\n' ? LINE_START : LINE_END;
        return state == REASON || end_value(http);
    }
    switch (state) {
    case STATUS_LINE:
        return read_status_byte(http, byte);
    case REASON: /* optional; a space precedes it */
        if (http->column == 0 && byte != ' ') {
            return false;
        }
        http->column = 1;
        return is_text;
    case LINE_END:
        http->state = LINE_START;
        return byte == '\n';
    case LINE_START:
        if (is_end) {
            http->state = byte == '\n' ? DONE : HEADER_END;
            return true;
        }
        if (is_blank && !http->names) { /* continuation of a header that is not relevant */
            http->state = VALUE;
            return true;
        }
        http->state = NAME;
        http->names = ALL_NAMES;
        http->column = 0;
        read_name_byte(http, byte);
        return is_token_byte(byte);
    case NAME:
        if (byte == ':') {
            read_name_byte(http, 0);
            http->value = http->column = 0;
            http->state = BEFORE_VALUE;
            return true;
        }
        read_name_byte(http, byte);
        return is_token_byte(byte);
    case BEFORE_VALUE:
        if (is_blank) {
            return true;
        }
        http->state = VALUE;
        return is_text && read_value_byte(http, byte);
    case VALUE:
        if (is_blank && http->names) {
            http->state = AFTER_VALUE;
            return true;
        }
        return is_text && (!http->names || read_value_byte(http, byte));
    case AFTER_VALUE: /* blanks only; more text after a coding means that it is not identity */
        http->is_encoded = http->is_encoded || !is_blank;
        return is_blank || (is_text && !(http->names & CONTENT_LENGTH));
    case HEADER_END:
        http->state = DONE;
        return byte == '\n';
    default:
        return false;
    }
}

static rboot_ota_reason ICACHE_FLASH_ATTR check_reply(const ota_http *http)
{
    if (http->status != 200) {
        return http->status / 100 == 3 ? OTA_REDIRECT : OTA_STATUS;
    }
    if (http->is_encoded) {
        return OTA_BAD_ENCODING;
    }
    return http->has_length ? OTA_OK : OTA_NO_LENGTH;
}

uint32 ICACHE_FLASH_ATTR ota_http_read(ota_http *http, const uint8 *data, uint32 size, rboot_ota_reason *reason)
{
    uint32 used = 0;
    *reason = OTA_OK;
    while (used < size && http->state != DONE) {
        if (!read_byte(http, data[used++])) {
            *reason = OTA_BAD_HTTP;
            return used;
        }
        if (++http->size > OTA_MAX_HEADER_SIZE) {
            *reason = OTA_HEADER_SIZE;
            return used;
        }
        if (http->state == DONE && http->status / 100 == 1 && http->status != 101) {
            uint16 header_size = http->size; /* interim reply: the final one follows (RFC 9110, 15.2) */
            ota_http_init(http);
            http->size = header_size;
        }
    }
    if (http->state == DONE) {
        *reason = check_reply(http);
    }
    return used;
}
