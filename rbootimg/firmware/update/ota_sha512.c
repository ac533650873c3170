#include "ota_sha512.h"

/* Source: FIPS 180-4, 4.2.3. In the flash, which allows only word access. */
static const ota_uint64 round_constants[80] ICACHE_RODATA_ATTR = {
    0x428A2F98D728AE22ULL, 0x7137449123EF65CDULL, 0xB5C0FBCFEC4D3B2FULL, 0xE9B5DBA58189DBBCULL,
    0x3956C25BF348B538ULL, 0x59F111F1B605D019ULL, 0x923F82A4AF194F9BULL, 0xAB1C5ED5DA6D8118ULL,
    0xD807AA98A3030242ULL, 0x12835B0145706FBEULL, 0x243185BE4EE4B28CULL, 0x550C7DC3D5FFB4E2ULL,
    0x72BE5D74F27B896FULL, 0x80DEB1FE3B1696B1ULL, 0x9BDC06A725C71235ULL, 0xC19BF174CF692694ULL,
    0xE49B69C19EF14AD2ULL, 0xEFBE4786384F25E3ULL, 0x0FC19DC68B8CD5B5ULL, 0x240CA1CC77AC9C65ULL,
    0x2DE92C6F592B0275ULL, 0x4A7484AA6EA6E483ULL, 0x5CB0A9DCBD41FBD4ULL, 0x76F988DA831153B5ULL,
    0x983E5152EE66DFABULL, 0xA831C66D2DB43210ULL, 0xB00327C898FB213FULL, 0xBF597FC7BEEF0EE4ULL,
    0xC6E00BF33DA88FC2ULL, 0xD5A79147930AA725ULL, 0x06CA6351E003826FULL, 0x142929670A0E6E70ULL,
    0x27B70A8546D22FFCULL, 0x2E1B21385C26C926ULL, 0x4D2C6DFC5AC42AEDULL, 0x53380D139D95B3DFULL,
    0x650A73548BAF63DEULL, 0x766A0ABB3C77B2A8ULL, 0x81C2C92E47EDAEE6ULL, 0x92722C851482353BULL,
    0xA2BFE8A14CF10364ULL, 0xA81A664BBC423001ULL, 0xC24B8B70D0F89791ULL, 0xC76C51A30654BE30ULL,
    0xD192E819D6EF5218ULL, 0xD69906245565A910ULL, 0xF40E35855771202AULL, 0x106AA07032BBD1B8ULL,
    0x19A4C116B8D2D0C8ULL, 0x1E376C085141AB53ULL, 0x2748774CDF8EEB99ULL, 0x34B0BCB5E19B48A8ULL,
    0x391C0CB3C5C95A63ULL, 0x4ED8AA4AE3418ACBULL, 0x5B9CCA4F7763E373ULL, 0x682E6FF3D6B2B8A3ULL,
    0x748F82EE5DEFB2FCULL, 0x78A5636F43172F60ULL, 0x84C87814A1F0AB72ULL, 0x8CC702081A6439ECULL,
    0x90BEFFFA23631E28ULL, 0xA4506CEBDE82BDE9ULL, 0xBEF9A3F7B2C67915ULL, 0xC67178F2E372532BULL,
    0xCA273ECEEA26619CULL, 0xD186B8C721C0C207ULL, 0xEADA7DD6CDE0EB1EULL, 0xF57D4F7FEE6ED178ULL,
    0x06F067AA72176FBAULL, 0x0A637DC5A2C898A6ULL, 0x113F9804BEF90DAEULL, 0x1B710B35131C471BULL,
    0x28DB77F523047D84ULL, 0x32CAAB7B40C72493ULL, 0x3C9EBE0A15C9BEBCULL, 0x431D67C49C100D4CULL,
    0x4CC5D4BECB3E42B6ULL, 0x597F299CFC657E2AULL, 0x5FCB6FAB3AD6FAECULL, 0x6C44198C4A475817ULL,
};

/* Source: FIPS 180-4, 5.3.5. */
static const ota_uint64 initial_state[8] ICACHE_RODATA_ATTR = {
    0x6A09E667F3BCC908ULL, 0xBB67AE8584CAA73BULL, 0x3C6EF372FE94F82BULL, 0xA54FF53A5F1D36F1ULL,
    0x510E527FADE682D1ULL, 0x9B05688C2B3E6C1FULL, 0x1F83D9ABFB41BD6BULL, 0x5BE0CD19137E2179ULL,
};

static ota_uint64 ICACHE_FLASH_ATTR rotate(ota_uint64 value, uint32 bits)
{
    return value >> bits | value << (64 - bits);
}

static void ICACHE_FLASH_ATTR add_block(ota_uint64 *state, ota_uint64 *words)
{
    ota_uint64 a = state[0], b = state[1], c = state[2], d = state[3];
    ota_uint64 e = state[4], f = state[5], g = state[6], h = state[7];
    uint32 i;
    for (i = 0; i < 80; i++) {
        ota_uint64 sum1, sum2;
        if (i >= 16) {
            ota_uint64 word2 = words[(i + 14) % 16], word15 = words[(i + 1) % 16];
            words[i % 16] += (rotate(word2, 19) ^ rotate(word2, 61) ^ word2 >> 6) + words[(i + 9) % 16] +
                             (rotate(word15, 1) ^ rotate(word15, 8) ^ word15 >> 7);
        }
        sum1 = h + (rotate(e, 14) ^ rotate(e, 18) ^ rotate(e, 41)) + ((e & f) ^ (~e & g)) + round_constants[i] +
               words[i % 16];
        sum2 = (rotate(a, 28) ^ rotate(a, 34) ^ rotate(a, 39)) + ((a & b) ^ (a & c) ^ (b & c));
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

void ICACHE_FLASH_ATTR ota_sha512_init(ota_sha512 *sha)
{
    uint32 i;
    for (i = 0; i < 8; i++) {
        sha->state[i] = initial_state[i];
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

void ICACHE_FLASH_ATTR ota_sha512_finish(ota_sha512 *sha, uint8 *digest)
{
    uint32 size = sha->size, i;
    add_byte(sha, 0x80);
    while (sha->size % 128 != 112) {
        add_byte(sha, 0);
    }
    sha->words[14] = 0;
    sha->words[15] = (ota_uint64)size << 3;
    add_block(sha->state, sha->words);
    for (i = 64; i-- > 0;) {
        digest[i] = (uint8)sha->state[i / 8];
        sha->state[i / 8] >>= 8;
    }
}
