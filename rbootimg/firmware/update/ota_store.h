/* What the signed update client remembers in the flash. An application may link another implementation.
 *
 * ota_store.c has records of three words in the last 252 bytes of rBoot's config sector. A record is written into
 * erased flash, its kind last: one that a power cut interrupted is ignored. Records only change by clearing bits. When
 * the area is full, or the sector is rewritten for another reason, obsolete records are removed. */
#ifndef OTA_STORE_H
#define OTA_STORE_H

#include "rboot-types.h"

/* Get or raise the highest serial of an accepted file that was signed with the key of this number; 0: none. */
uint32 ota_store_get_serial(uint32 key);
bool ota_store_raise_serial(uint32 key, uint32 serial);

/* The last trial: a ROM, by the first word of its digest, that was to boot once from `slot`.
 *
 * It counts as failed as soon as the ROM has started it and until it is ended. A trial that was prepared but not
 * started may be prepared a second time: if the power goes before the restart, the ROM never ran. After that it counts
 * as failed too: the ROM may crash before it can start the trial. */
bool ota_store_prepare_trial(uint8 slot, uint32 digest);
void ota_store_start_trial(uint8 slot);
void ota_store_end_trial(uint8 slot);
bool ota_store_has_failed(uint32 digest);

#endif
