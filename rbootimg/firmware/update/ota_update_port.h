/* What the signed update client needs of a platform in addition to ota_port.h. */
#ifndef OTA_UPDATE_PORT_H
#define OTA_UPDATE_PORT_H

#include "rboot-types.h"

/* Resolve the name of a host. ota_event_resolved follows, immediately or later. */
void ota_port_resolve(const char *host);
/* Restart the device. It may return before that happens. */
void ota_port_restart(void);
/* Called at least every 50 ms in the verification of a signature: feed a watchdog. */
void ota_port_idle(void);
/* Return true if the last reset was a crash: its cause, a number of the platform, and the address. */
bool ota_port_reset_info(uint32 *cause, uint32 *address);

/* Implemented by the client. `ip` has 4 bytes; NULL: there is no such host. An answer that comes late may concern an
 * earlier call, but must be for the host of the last one. */
void ota_event_resolved(const uint8 *ip);

#endif
