/* Verification of Ed25519 signatures (RFC 8032, without prehash).
 *
 * This is a seam: an application may link another implementation of ota_ed25519_verify in place of ota_ed25519.c.
 *
 * A signature is 64 bytes, the encoding of a point R and a number S; a key is 32 bytes, the encoding of a point A. With
 * B the base point, L its order, and k = SHA-512(R || A || message) mod L, a signature is valid if
 *
 *   - S < L: without this rule S + L would make a second signature of the same message;
 *   - A is a point of the curve, in its canonical encoding, and its order is not small (does not divide 8): for a key
 *     of small order, such as 32 zero bytes, anybody can sign;
 *   - the canonical encoding of S B - k A has the bytes of R: RFC 8032's equation, without the cofactor;
 *   - the order of R is not small, as it never is in an honest signature.
 *
 * OpenSSL computes the same equation and also compares the bytes of R, so that the signatures it makes and accepts are
 * accepted here, but for a key that is not canonical, and a key or R of small order. Verifiers that multiply by the
 * cofactor or decode R accept more: signatures that only a dishonest signer can make.
 *
 * All arguments are public, so the time may depend on them. ota_ed25519.c needs at most 1.5 KB of stack. */
#ifndef OTA_ED25519_H
#define OTA_ED25519_H

#include "rboot-types.h"

/* Return true if `signature` (64 bytes) of the `size` bytes at `message` is valid for `key` (32 bytes).
 *
 * The three are read byte by byte, so they must be in RAM, not in the flash. Calls `idle` at least every 50 ms at
 * 80 MHz, for example to feed a watchdog. */
bool ota_ed25519_verify(const uint8 *signature, const uint8 *key, const uint8 *message, uint32 size,
                        void (*idle)(void));

#endif
