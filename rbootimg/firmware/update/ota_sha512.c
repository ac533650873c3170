#include "ota_sha512.h"

#include "ota_code.h"

#define BITS(one, two, three) ((one) | (two) << 8 | (three) << 16)

/* Rotate right by each of three numbers of BITS, and combine the results with exclusive or. */
static ota_uint64 NOT_INLINED rotate(ota_uint64 value, uint32 bits)
{
    uint32 high = 0, low = 0;
    for (; bits; bits >>= 8) {
        uint32 one = (uint32)(bits & 32 ? value : value >> 32), other = (uint32)(bits & 32 ? value >> 32 : value);
        uint32 right = bits & 31, left = 32 - right;
        high ^= one >> right | other << left;
        low ^= other >> right | one << left;
    }
    return (ota_uint64)high << 32 | low;
}

static void ICACHE_FLASH_ATTR add_block(ota_uint64 *state, ota_uint64 *words)
{
    ota_uint64 v[8]; /* a to h of the standard, in an array: the registers have no space for them */
    uint32 i, k;
    for (k = 0; k < 8; k++) {
        v[k] = state[k];
    }
    for (i = 0; i < 80; i++) {
        ota_uint64 sum, e = v[4], a = v[0];
        if (i >= 16) {
            ota_uint64 word2 = words[(i + 14) % 16], word15 = words[(i + 1) % 16];
            /* The shifts are rotations without the bits that come in on the left. */
            words[i % 16] += (rotate(word2, BITS(19, 61, 6)) ^ word2 << 58) + words[(i + 9) % 16] +
                             (rotate(word15, BITS(1, 8, 7)) ^ word15 << 57);
        }
        sum = v[7] + rotate(e, BITS(14, 18, 41)) + (v[6] ^ (e & (v[5] ^ v[6]))) + ota_sha512_round_constants[i] + words[i % 16];
        v[7] = sum + rotate(a, BITS(28, 34, 39)) + ((a & (v[1] ^ v[2])) ^ (v[1] & v[2]));
        v[3] += sum;
        sum = v[7];
        for (k = 7; k > 0; k--) {
            v[k] = v[k - 1];
        }
        v[0] = sum;
    }
    for (k = 0; k < 8; k++) {
        state[k] += v[k];
    }
}

void ICACHE_FLASH_ATTR ota_sha512_init(ota_sha512 *sha)
{
    uint32 i;
    for (i = 0; i < 8; i++) {
        sha->state[i] = ota_sha512_initial_state[i];
    }
    sha->size = 0;
}

static void ICACHE_FLASH_ATTR add_byte(ota_sha512 *sha, uint8 byte)
{
    uint32 position = sha->size++ % 128;
    sha->words[position / 8] = sha->words[position / 8] << 8 | byte;
    if (position == 127) {
        add_block(sha->state, sha->words);
    }
}

void ICACHE_FLASH_ATTR ota_sha512_add(ota_sha512 *sha, const uint8 *data, uint32 size)
{
    while (size--) {
        add_byte(sha, *data++);
    }
}

void ICACHE_FLASH_ATTR ota_sha512_finish(ota_sha512 *sha)
{
    uint32 size = sha->size;
    add_byte(sha, 0x80);
    while (sha->size % 128 != 112) {
        add_byte(sha, 0);
    }
    sha->words[14] = 0;
    sha->words[15] = (ota_uint64)size << 3;
    add_block(sha->state, sha->words);
}
