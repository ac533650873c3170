/* Declarations shared by the source files of the client. */
#ifndef OTA_PRIVATE_H
#define OTA_PRIVATE_H

#include "ota_port.h"
#include "rboot-ota.h"

/* Scratch buffer of one sector. Its contents are valid only within one call into the client. */
extern uint32 ota_scratch[SECTOR_SIZE / 4];

/* Copy `size` bytes. */
void ota_copy(void *to, const void *from, uint32 size);

#endif
