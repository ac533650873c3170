#include "ota_sha256.h"

#include "ota_code.h"
#include "rboot.h"

#ifdef RBOOT_UPDATE_KEYS /* SHA-512 is linked too, and the upper halves of its constants are those of SHA-256 */
#include "ota_sha512.h"

#define ROUND_CONSTANT(i) ((uint32)(ota_sha512_round_constants[i] >> 32))
#define INITIAL_STATE(i) ((uint32)(ota_sha512_initial_state[i] >> 32))
#else
/* Source: FIPS 180-4, 4.2.2. In the flash, which allows only word access. */
static const uint32 round_constants[64] ICACHE_RODATA_ATTR = {
    0x428A2F98, 0x71374491, 0xB5C0FBCF, 0xE9B5DBA5, 0x3956C25B, 0x59F111F1, 0x923F82A4, 0xAB1C5ED5,
    0xD807AA98, 0x12835B01, 0x243185BE, 0x550C7DC3, 0x72BE5D74, 0x80DEB1FE, 0x9BDC06A7, 0xC19BF174,
    0xE49B69C1, 0xEFBE4786, 0x0FC19DC6, 0x240CA1CC, 0x2DE92C6F, 0x4A7484AA, 0x5CB0A9DC, 0x76F988DA,
    0x983E5152, 0xA831C66D, 0xB00327C8, 0xBF597FC7, 0xC6E00BF3, 0xD5A79147, 0x06CA6351, 0x14292967,
    0x27B70A85, 0x2E1B2138, 0x4D2C6DFC, 0x53380D13, 0x650A7354, 0x766A0ABB, 0x81C2C92E, 0x92722C85,
    0xA2BFE8A1, 0xA81A664B, 0xC24B8B70, 0xC76C51A3, 0xD192E819, 0xD6990624, 0xF40E3585, 0x106AA070,
    0x19A4C116, 0x1E376C08, 0x2748774C, 0x34B0BCB5, 0x391C0CB3, 0x4ED8AA4A, 0x5B9CCA4F, 0x682E6FF3,
    0x748F82EE, 0x78A5636F, 0x84C87814, 0x8CC70208, 0x90BEFFFA, 0xA4506CEB, 0xBEF9A3F7, 0xC67178F2,
};

/* Source: FIPS 180-4, 5.3.3. */
static const uint32 initial_state[8] ICACHE_RODATA_ATTR = {
    0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19,
};

#define ROUND_CONSTANT(i) (round_constants[i])
#define INITIAL_STATE(i) (initial_state[i])
#endif

static uint32 ICACHE_FLASH_ATTR rotate(uint32 value, uint32 bits)
{
    return value >> bits | value << (32 - bits);
}

static void ICACHE_FLASH_ATTR add_block(uint32 *state, uint32 *words)
{
    uint32 a = state[0], b = state[1], c = state[2], d = state[3];
    uint32 e = state[4], f = state[5], g = state[6], h = state[7];
    uint32 i;
    for (i = 0; i < 64; i++) {
        uint32 sum1, sum2;
        if (i >= 16) {
            uint32 word2 = words[(i + 14) % 16], word15 = words[(i + 1) % 16];
            words[i % 16] += (rotate(word2, 17) ^ rotate(word2, 19) ^ word2 >> 10) + words[(i + 9) % 16] +
                             (rotate(word15, 7) ^ rotate(word15, 18) ^ word15 >> 3);
        }
        sum1 = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + (g ^ (e & (f ^ g))) + ROUND_CONSTANT(i) +
               words[i % 16];
        sum2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & (b ^ c)) ^ (b & c));
        h = g;
        g = f;
        f = e;
        e = d + sum1;
        d = c;
        c = b;
        b = a;
        a = sum1 + sum2;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
    state[5] += f;
    state[6] += g;
    state[7] += h;
}

void ICACHE_FLASH_ATTR ota_sha256_init(ota_sha256 *sha)
{
    uint32 i;
    for (i = 0; i < 8; i++) {
        sha->state[i] = INITIAL_STATE(i);
    }
    sha->size = 0;
}

static void ICACHE_FLASH_ATTR add_byte(ota_sha256 *sha, uint8 byte)
{
    uint32 position = sha->size++ % 64;
    sha->words[position / 4] = sha->words[position / 4] << 8 | byte;
    if (position == 63) {
        add_block(sha->state, sha->words);
    }
}

void ICACHE_FLASH_ATTR ota_sha256_add(ota_sha256 *sha, const uint8 *data, uint32 size)
{
    while (size--) {
        add_byte(sha, *data++);
    }
}

void ICACHE_FLASH_ATTR ota_sha256_finish(ota_sha256 *sha)
{
    uint32 size = sha->size;
    add_byte(sha, 0x80);
    while (sha->size % 64 != 56) {
        add_byte(sha, 0);
    }
    sha->words[14] = size >> 29;
    sha->words[15] = size << 3;
    add_block(sha->state, sha->words);
}

bool ICACHE_FLASH_ATTR ota_sha256_matches(ota_sha256 *sha, const uint8 *digest)
{
    uint32 i;
    ota_sha256_finish(sha);
    for (i = 0; i < 32; i++) {
        if (digest[i] != (uint8)(sha->state[i / 4] >> (24 - i % 4 * 8))) {
            return false;
        }
    }
    return true;
}
