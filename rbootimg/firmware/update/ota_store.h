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
 * It has failed if the ROM said so, or if it was prepared twice and did not end. Whether a ROM crashed, or the power was
 * cut before it could confirm itself or even boot, looks alike: so it gets a second trial. */
bool ota_store_prepare_trial(uint8 slot, uint32 digest);
void ota_store_fail_trial(uint8 slot);
void ota_store_end_trial(uint8 slot);
bool ota_store_has_failed(uint32 digest);

#endif
