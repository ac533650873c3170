/* A fuzzer's target: the reply parser. Two packets must come to the same as one, and what passes be within bounds.
 * The first byte says where the packets part. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "ota_http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ota_http whole, parted;
    rboot_ota_reason reason, parted_reason;
    uint32 used, first, parted_used;
    if (size < 1) {
        return 0;
    }
    first = data[0] < size - 1 ? data[0] : (uint32)size - 1;
    data++;
    size--;
    ota_http_init(&whole);
    used = ota_http_read(&whole, data, (uint32)size, &reason);
    ota_http_init(&parted);
    parted_used = ota_http_read(&parted, data, first, &parted_reason);
    if (parted_reason == OTA_OK && !ota_http_is_done(&parted)) {
        parted_used += ota_http_read(&parted, data + parted_used, (uint32)size - parted_used, &parted_reason);
    }
    if (reason != parted_reason || used != parted_used || ota_http_is_done(&whole) != ota_http_is_done(&parted)) {
        abort();
    }
    if (used > size || used > OTA_MAX_HEADER_SIZE + 1) {
        abort();
    }
    if (ota_http_is_done(&whole) && reason == OTA_OK) {
        if (whole.length != parted.length || whole.length > OTA_MAX_LENGTH || !whole.has_length ||
            whole.status != 200 || data[used - 1] != '\n' || memcmp(data, "HTTP/1.", 7)) {
            abort();
        }
    }
    return 0;
}
