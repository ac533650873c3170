/* Port of the update client for an application without an SDK, in the emulator. */
#ifndef OTA_PORT_EMULATOR_H
#define OTA_PORT_EMULATOR_H

#include "rboot-types.h"

/* Map the megabyte of flash with the running ROM. Call it before any code in the flash. */
void ota_port_map_flash(void);

/* Process network and timer events. Call it continuously from the main loop. */
void ota_port_poll(void);

#endif
