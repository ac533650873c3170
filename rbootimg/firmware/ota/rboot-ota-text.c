#include "rboot-ota.h"

const char *ICACHE_FLASH_ATTR rboot_ota_reason_text(rboot_ota_reason reason)
{
    static const char *const texts[] = {
        "done",
        "no request, too long a one, or no callback",
        "another update is on its way",
        "no such slot in the boot config",
        "the slot runs or boots next",
        "no connection to the server",
        "the connection broke",
        "the server is silent or too slow",
        "the reply is not HTTP/1.x",
        "the reply's header is too long",
        "the server does not have it",
        "the server redirects",
        "the reply is chunked or compressed",
        "the reply has no Content-Length",
        "too big for the slot",
        "the reply ended early",
        "the reply is longer than it says",
        "what came is no ROM",
        "the flash failed",
        "the ROM is not sound",
        "the ROM has another SHA-256",
        "the ROM is linked for another slot",
        "what came is no version",
        "built for another loader or flash layout",
    };
    return (uint32)reason < sizeof texts / sizeof *texts ? texts[reason] : "unknown";
}
