/* The header of an HTTP reply, read byte by byte: packets may end anywhere. */
#ifndef OTA_HTTP_H
#define OTA_HTTP_H

#include "rboot-ota.h"

#define OTA_HEADER_MOST 4096

typedef struct {
    uint8 state;
    uint8 column;     /* in the status line or a header's name */
    uint8 names;      /* a bit for each name of interest that fits so far */
    uint16 size;      /* bytes of header so far */
    uint16 status;    /* such as 200 */
    uint32 length;    /* Content-Length; OTA_LENGTH_LIMIT stands for more too */
    uint32 value;     /* the one that is being read */
    bool has_length;
    bool coded;       /* a transfer or content coding other than identity */
} ota_http;

#define OTA_LENGTH_LIMIT 0x10000000

void ota_http_init(ota_http *http);

/* Reads on in `data`; how many bytes belonged to the header. `*reason` is OTA_OK while the header is sound. Once
 * ota_http_is_done the rest is body. */
uint32 ota_http_read(ota_http *http, const uint8 *data, uint32 size, rboot_ota_reason *reason);
bool ota_http_is_done(const ota_http *http);

#endif
