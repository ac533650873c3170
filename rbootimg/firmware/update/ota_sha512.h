/* SHA-512. Source: FIPS 180-4. */
#ifndef OTA_SHA512_H
#define OTA_SHA512_H

#include "rboot-types.h"

typedef unsigned long long ota_uint64;

typedef struct {
    ota_uint64 state[8];
    ota_uint64 words[16]; /* the current block */
    uint32 size;          /* bytes added so far */
} ota_sha512;

/* In the flash, which allows only word access. The upper halves of these are the constants of SHA-256. */
extern const ota_uint64 ota_sha512_round_constants[80], ota_sha512_initial_state[8];

void ota_sha512_init(ota_sha512 *sha);
void ota_sha512_add(ota_sha512 *sha, const uint8 *data, uint32 size);
/* Finish: `state` is the digest, in words with the first byte highest. Afterwards `sha` needs ota_sha512_init. */
void ota_sha512_finish(ota_sha512 *sha);

#endif
