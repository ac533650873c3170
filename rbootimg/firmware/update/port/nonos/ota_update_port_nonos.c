/* Port of the signed update client for Espressif's NONOS SDK. */
#include "ota_update_port.h"

/* The order matters: some of these headers do not include the ones that they need. */
#include "os_type.h"
#include "osapi.h"
#include "user_interface.h"
#include "espconn.h"

static const char *host; /* that is being resolved */

/* Callbacks of earlier calls may still come, with the name that they are about. */
static void ICACHE_FLASH_ATTR on_resolved(const char *name, ip_addr_t *ip, void *arg)
{
    (void)arg;
    if (host && os_strcmp(name, host) == 0) {
        host = NULL;
        ota_event_resolved(ip ? (const uint8 *)&ip->addr : NULL);
    }
}

void ICACHE_FLASH_ATTR ota_port_resolve(const char *name)
{
    static struct espconn connection; /* the SDK keeps both */
    static ip_addr_t ip;
    sint8 result;
    host = name;
    result = espconn_gethostbyname(&connection, name, &ip, on_resolved);
    if (result != ESPCONN_INPROGRESS) { /* known already, or an error: no callback comes */
        host = NULL;
        ota_event_resolved(result == ESPCONN_OK ? (const uint8 *)&ip.addr : NULL);
    }
}

void ICACHE_FLASH_ATTR ota_port_restart(void)
{
    system_restart();
}

void ICACHE_FLASH_ATTR ota_port_idle(void)
{
    system_soft_wdt_feed();
}

bool ICACHE_FLASH_ATTR ota_port_reset_info(uint32 *cause, uint32 *address)
{
    const struct rst_info *info = system_get_rst_info();
    *cause = info->reason;
    *address = info->epc1;
    return info->reason == REASON_WDT_RST || info->reason == REASON_EXCEPTION_RST ||
           info->reason == REASON_SOFT_WDT_RST;
}
