/* SHA-256. Source: FIPS 180-4. */
#ifndef OTA_SHA256_H
#define OTA_SHA256_H

#include "rboot-types.h"

typedef struct {
    uint32 state[8];
    uint32 words[16]; /* the current block */
    uint32 size;      /* bytes added so far */
} ota_sha256;

void ota_sha256_init(ota_sha256 *sha);
void ota_sha256_add(ota_sha256 *sha, const uint8 *data, uint32 size);
/* Finish: `state` is the digest, in words with the first byte highest. Afterwards `sha` needs ota_sha256_init. */
void ota_sha256_finish(ota_sha256 *sha);
/* Finish, and compare with the 32 bytes at `digest`. Afterwards `sha` needs ota_sha256_init. */
bool ota_sha256_matches(ota_sha256 *sha, const uint8 *digest);

#endif
