/* The port for an application without an SDK, in the emulator. */
#ifndef OTA_PORT_EMULATOR_H
#define OTA_PORT_EMULATOR_H

#include "rboot-types.h"

/* Maps the megabyte of flash that the running ROM is in. To be called before any code in the flash. */
void ota_port_map_flash(void);

/* Looks after the network and the timer: to be called again and again. */
void ota_port_poll(void);

#endif
