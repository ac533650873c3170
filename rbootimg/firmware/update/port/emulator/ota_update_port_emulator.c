/* Port of the signed update client for an application without an SDK, in the emulator. */
#include "ota_update_port.h"

extern void software_reset(void); /* in the mask ROM */

/* Any name is the server that the emulator forwards connections to, except one that must not exist (RFC 6761). */
void ICACHE_FLASH_ATTR ota_port_resolve(const char *host)
{
    static const char unknown[] = "nowhere.invalid";
    static const uint8 any[4] = {192, 0, 2, 1}; /* for documentation, RFC 5737 */
    uint32 i;
    for (i = 0; unknown[i] && host[i] == unknown[i]; i++) {
    }
    ota_event_resolved(unknown[i] || host[i] ? any : NULL);
}

void ICACHE_FLASH_ATTR ota_port_restart(void)
{
    software_reset();
}

void ICACHE_FLASH_ATTR ota_port_idle(void)
{
}

bool ICACHE_FLASH_ATTR ota_port_reset_info(uint32 *cause, uint32 *address)
{
    (void)cause;
    (void)address;
    return false;
}
