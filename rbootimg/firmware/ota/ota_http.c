/* See RFC 9112. Strict, as what follows is written to the flash: what a server does not send is refused. `rbootimg
 * check --url` states the same rules (httpreply.py): whoever changes one changes both. */
#include "ota_http.h"

enum state { STATUS_LINE, REASON, LINE_END, LINE_START, NAME, BEFORE_VALUE, VALUE, AFTER_VALUE, HEADER_END, DONE };
enum name { CONTENT_LENGTH = 1, TRANSFER_ENCODING = 2, CONTENT_ENCODING = 4, ALL_NAMES = 7 };

void ICACHE_FLASH_ATTR ota_http_init(ota_http *http)
{
    http->state = STATUS_LINE;
    http->column = 0;
    http->names = ALL_NAMES; /* no header to be continued */
    http->size = http->status = 0;
    http->length = http->value = 0;
    http->has_length = http->coded = false;
}

bool ICACHE_FLASH_ATTR ota_http_is_done(const ota_http *http)
{
    return http->state == DONE;
}

static bool ICACHE_FLASH_ATTR is_digit(uint8 byte)
{
    return byte >= '0' && byte <= '9';
}

static uint8 ICACHE_FLASH_ATTR lower(uint8 byte)
{
    return byte >= 'A' && byte <= 'Z' ? byte + 0x20 : byte;
}

/* RFC 9110: tchar. */
static bool ICACHE_FLASH_ATTR is_token(uint8 byte)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    uint32 i;
    for (i = 0; others[i]; i++) {
        if (byte == (uint8)others[i]) {
            return true;
        }
    }
    return is_digit(byte) || (lower(byte) >= 'a' && lower(byte) <= 'z');
}

/* The byte of "HTTP/1.x nnn" at the column; false if it cannot stand there. */
static bool ICACHE_FLASH_ATTR status_byte(ota_http *http, uint8 byte)
{
    static const char start[] = "HTTP/1.";
    uint8 column = http->column++;
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

static void ICACHE_FLASH_ATTR name_byte(ota_http *http, uint8 byte)
{
    static const char length[] = "content-length", transfer[] = "transfer-encoding", content[] = "content-encoding";
    uint8 column = http->column;
    if (column >= sizeof length - 1 || lower(byte) != (uint8)length[column]) {
        http->names &= ~CONTENT_LENGTH;
    }
    if (column >= sizeof transfer - 1 || lower(byte) != (uint8)transfer[column]) {
        http->names &= ~TRANSFER_ENCODING;
    }
    if (column >= sizeof content - 1 || lower(byte) != (uint8)content[column]) {
        http->names &= ~CONTENT_ENCODING;
    }
    if (column < 0xFF) {
        http->column++;
    }
}

/* The name has ended: which of ours it is, if any. */
static void ICACHE_FLASH_ATTR name_end(ota_http *http)
{
    if (http->column != sizeof "content-length" - 1) {
        http->names &= ~CONTENT_LENGTH;
    }
    if (http->column != sizeof "transfer-encoding" - 1) {
        http->names &= ~TRANSFER_ENCODING;
    }
    if (http->column != sizeof "content-encoding" - 1) {
        http->names &= ~CONTENT_ENCODING;
    }
    http->value = 0;
    http->column = 0;
}

static bool ICACHE_FLASH_ATTR value_byte(ota_http *http, uint8 byte)
{
    static const char identity[] = "identity";
    if (http->names & CONTENT_LENGTH) {
        if (!is_digit(byte)) {
            return false;
        }
        http->value = http->value * 10 + (byte - '0');
        if (http->value > OTA_LENGTH_LIMIT) {
            http->value = OTA_LENGTH_LIMIT;
        }
    } else if (http->names) {
        if (http->column >= sizeof identity - 1 || lower(byte) != (uint8)identity[http->column]) {
            http->coded = true;
        }
    }
    if (http->column < 0xFF) {
        http->column++;
    }
    return true;
}

/* The end of a header's line. */
static bool ICACHE_FLASH_ATTR value_end(ota_http *http)
{
    if (http->names & CONTENT_LENGTH) {
        if (http->column == 0 || (http->has_length && http->length != http->value)) {
            return false;
        }
        http->has_length = true;
        http->length = http->value;
    } else if (http->names && http->column != sizeof "identity" - 1) {
        if (http->column || !(http->names & CONTENT_ENCODING)) { /* an empty list of codings is none */
            http->coded = true;
        }
    }
    return true;
}

/* False if the byte cannot stand there. */
static bool ICACHE_FLASH_ATTR read_byte(ota_http *http, uint8 byte)
{
    bool is_blank = byte == ' ' || byte == '\t';
    bool is_end = byte == '\r' || byte == '\n';
    bool is_text = byte == '\t' || (byte >= 0x20 && byte != 0x7F);
    if (is_end && (http->state == BEFORE_VALUE || http->state == VALUE || http->state == AFTER_VALUE)) {
        http->state = byte == '\n' ? LINE_START : LINE_END;
        return value_end(http);
    }
    switch (http->state) {
    case STATUS_LINE:
        return status_byte(http, byte);
    case REASON: /* a blank before it, if there is one */
        if (is_end) {
            http->state = byte == '\n' ? LINE_START : LINE_END;
            return true;
        }
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
        if (is_blank && !http->names) { /* the last header goes on, which is none of ours */
            http->state = VALUE;
            return true;
        }
        http->state = NAME;
        http->names = ALL_NAMES;
        http->column = 0;
        name_byte(http, byte);
        return is_token(byte);
    case NAME:
        if (byte == ':') {
            name_end(http);
            http->state = BEFORE_VALUE;
            return true;
        }
        name_byte(http, byte);
        return is_token(byte);
    case BEFORE_VALUE:
        if (is_blank) {
            return true;
        }
        http->state = VALUE;
        return is_text && value_byte(http, byte);
    case VALUE:
        if (is_blank && http->names) {
            http->state = AFTER_VALUE;
            return true;
        }
        return is_text && (!http->names || value_byte(http, byte));
    case AFTER_VALUE: /* blanks; of a coding more may follow, so it is another one than identity */
        http->coded = http->coded || !is_blank;
        return is_blank || (is_text && !(http->names & CONTENT_LENGTH));
    case HEADER_END:
        http->state = DONE;
        return byte == '\n';
    default:
        return false;
    }
}

static rboot_ota_reason ICACHE_FLASH_ATTR judge(const ota_http *http)
{
    if (http->status != 200) {
        return http->status / 100 == 3 ? OTA_REDIRECT : OTA_STATUS;
    }
    if (http->coded) {
        return OTA_CODING;
    }
    return http->has_length ? OTA_OK : OTA_NO_LENGTH;
}

uint32 ICACHE_FLASH_ATTR ota_http_read(ota_http *http, const uint8 *data, uint32 size, rboot_ota_reason *reason)
{
    uint32 used = 0;
    *reason = OTA_OK;
    while (used < size && http->state != DONE) {
        if (!read_byte(http, data[used++])) {
            *reason = OTA_NO_HTTP;
            return used;
        }
        if (++http->size > OTA_HEADER_MOST) {
            *reason = OTA_HEADER_SIZE;
            return used;
        }
        if (http->state == DONE && http->status / 100 == 1 && http->status != 101) {
            uint16 so_far = http->size; /* an interim reply: the one that counts follows (RFC 9110, 15.2) */
            ota_http_init(http);
            http->size = so_far;
        }
    }
    if (http->state == DONE) {
        *reason = judge(http);
    }
    return used;
}
