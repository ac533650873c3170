/* What the client's own files share. */
#ifndef OTA_PRIVATE_H
#define OTA_PRIVATE_H

#include "ota_port.h"
#include "rboot-ota.h"

/* A sector's worth of words, free at the start of each call of the client: nothing in it outlasts a call. */
extern uint32 ota_scratch[SECTOR_SIZE / 4];

void ota_copy(void *to, const void *from, uint32 size);

#endif
