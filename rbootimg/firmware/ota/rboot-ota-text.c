#include "rboot-ota.h"

/* In the order of rboot_ota_reason. */
const char *ICACHE_FLASH_ATTR rboot_ota_reason_text(rboot_ota_reason reason)
{
    static const char *const texts[] = {
        "done",
        "invalid argument: request, callback or version",
        "another update is running",
        "no such slot in the boot config",
        "slot is running or boots next",
        "no connection to the server",
        "connection lost",
        "timeout: server silent or too slow",
        "invalid HTTP/1.x reply",
        "HTTP header too long",
        "HTTP status is not 200",
        "HTTP redirect, not followed",
        "chunked or compressed reply",
        "no Content-Length in the reply",
        "file too large",
        "truncated reply",
        "reply longer than its Content-Length",
        "file is not a ROM",
        "flash read or write failed",
        "invalid ROM: header, section or checksum",
        "SHA-256 or size mismatch",
        "ROM is linked for another slot",
        "file is not a semantic version",
        "built for another loader or flash layout",
        "host not found",
        "not an update file",
        "not signed",
        "signed with an unknown key",
        "bad signature",
        "release of another application",
        "release for another device class",
        "update file older than the last one",
        "older than the lowest version",
        "no ROM for the slot",
        "ROM failed its trial before",
    };
    return (uint32)reason < sizeof texts / sizeof *texts ? texts[reason] : "unknown reason";
}
