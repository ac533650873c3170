/* Parser for the header of an HTTP reply. It reads byte by byte, as packets may end anywhere. */
#ifndef OTA_HTTP_H
#define OTA_HTTP_H

#include "rboot-ota.h"

/* Maximum size of the header in bytes, including interim (1xx) replies before it. */
#define OTA_MAX_HEADER_SIZE 4096

typedef struct {
    uint8 state;
    uint8 column;    /* position in the status line, a header name or a value */
    uint8 names;     /* a bit for each relevant header name that matches so far */
    uint16 size;     /* bytes of header so far */
    uint16 status;   /* HTTP status, such as 200 */
    uint32 length;   /* Content-Length, limited to OTA_MAX_LENGTH */
    uint32 value;    /* the number being read */
    bool has_length;
    bool is_encoded; /* has a transfer or content coding other than identity */
} ota_http;

/* Larger values of Content-Length are stored as this one: it is more than any flash has. */
#define OTA_MAX_LENGTH 0x10000000

void ota_http_init(ota_http *http);

/* Parse the next `size` bytes; return how many of them belong to the header. `*reason` is OTA_OK as long as the header
 * is valid. When ota_http_is_done, the remaining bytes are the body. */
uint32 ota_http_read(ota_http *http, const uint8 *data, uint32 size, rboot_ota_reason *reason);
bool ota_http_is_done(const ota_http *http);

#endif
