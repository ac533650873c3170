/* The signature of an update file, in the embedded format of OpenBSD's signify: see rbootimg/release/signify.py. */
#ifndef OTA_SIGNATURE_H
#define OTA_SIGNATURE_H

#include "rboot-ota.h"

/* Verify the signature at the start of the `*size` bytes at `*text`, and move both past it. `*key` is the number of the
 * key, in part. Without keys (RBOOT_UPDATE_KEYS) a file needs no signature, and one that it has is not verified. */
rboot_ota_reason ota_verify_signature(char **text, uint32 *size, uint32 *key);

#endif
