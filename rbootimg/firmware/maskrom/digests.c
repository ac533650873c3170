/* The mask ROM's MD5 (RFC 1321) and SHA-1 (RFC 3174). The contexts have the chip's sizes: 88 and 92 bytes. */
#include <stdint.h>

extern void *rom_ets_memcpy(void *to, const void *from, uint32_t size);
extern void *rom_ets_memset(void *to, int value, uint32_t size);

static uint32_t rotate(uint32_t value, int bits)
{
    return value << bits | value >> (32 - bits);
}

/* Add data: count the bits, and call `add_block` for each complete block of 64 bytes. */
static void update(uint32_t *state, uint32_t *bits, uint8_t *block, const uint8_t *data, uint32_t size,
                   void (*add_block)(uint32_t *, const uint8_t *))
{
    uint32_t used = bits[0] / 8 % 64;
    uint32_t before = bits[0];
    bits[0] += size << 3;
    bits[1] += (size >> 29) + (bits[0] < before);
    while (size) {
        uint32_t part = 64 - used < size ? 64 - used : size;
        rom_ets_memcpy(block + used, data, part);
        data += part;
        size -= part;
        used += part;
        if (used == 64) {
            add_block(state, block);
            used = 0;
        }
    }
}

static void pad(uint32_t *state, uint32_t *bits, uint8_t *block, const uint8_t length[8],
                void (*add_block)(uint32_t *, const uint8_t *))
{
    static const uint8_t padding[64] = {0x80};
    uint32_t used = bits[0] / 8 % 64;
    update(state, bits, block, padding, used < 56 ? 56 - used : 120 - used, add_block);
    update(state, bits, block, length, 8, add_block);
}

static void store(uint8_t *to, uint32_t word, int big_endian)
{
    for (int i = 0; i < 4; i++) {
        to[i] = word >> (big_endian ? 24 - 8 * i : 8 * i);
    }
}

static uint32_t load(const uint8_t *from, int big_endian)
{
    uint32_t word = 0;
    for (int i = 0; i < 4; i++) {
        word |= (uint32_t)from[i] << (big_endian ? 24 - 8 * i : 8 * i);
    }
    return word;
}

struct md5 {
    uint32_t state[4], bits[2];
    uint8_t block[64];
};

/* The integer part of 2^32 * abs(sin(i)), for i from 1 to 64. */
static const uint32_t sines[64] = {
    0xD76AA478, 0xE8C7B756, 0x242070DB, 0xC1BDCEEE, 0xF57C0FAF, 0x4787C62A, 0xA8304613, 0xFD469501,
    0x698098D8, 0x8B44F7AF, 0xFFFF5BB1, 0x895CD7BE, 0x6B901122, 0xFD987193, 0xA679438E, 0x49B40821,
    0xF61E2562, 0xC040B340, 0x265E5A51, 0xE9B6C7AA, 0xD62F105D, 0x02441453, 0xD8A1E681, 0xE7D3FBC8,
    0x21E1CDE6, 0xC33707D6, 0xF4D50D87, 0x455A14ED, 0xA9E3E905, 0xFCEFA3F8, 0x676F02D9, 0x8D2A4C8A,
    0xFFFA3942, 0x8771F681, 0x6D9D6122, 0xFDE5380C, 0xA4BEEA44, 0x4BDECFA9, 0xF6BB4B60, 0xBEBFBC70,
    0x289B7EC6, 0xEAA127FA, 0xD4EF3085, 0x04881D05, 0xD9D4D039, 0xE6DB99E5, 0x1FA27CF8, 0xC4AC5665,
    0xF4292244, 0x432AFF97, 0xAB9423A7, 0xFC93A039, 0x655B59C3, 0x8F0CCC92, 0xFFEFF47D, 0x85845DD1,
    0x6FA87E4F, 0xFE2CE6E0, 0xA3014314, 0x4E0811A1, 0xF7537E82, 0xBD3AF235, 0x2AD7D2BB, 0xEB86D391,
};

static void md5_block(uint32_t *state, const uint8_t *block)
{
    static const uint8_t shifts[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    for (int i = 0; i < 64; i++) {
        uint32_t sum, word;
        switch (i / 16) {
        case 0: sum = (b & c) | (~b & d), word = i; break;
        case 1: sum = (d & b) | (~d & c), word = (5 * i + 1) % 16; break;
        case 2: sum = b ^ c ^ d, word = (3 * i + 5) % 16; break;
        default: sum = c ^ (b | ~d), word = 7 * i % 16;
        }
        sum += a + sines[i] + load(block + 4 * word, 0);
        a = d;
        d = c;
        c = b;
        b += rotate(sum, shifts[i / 16][i % 4]);
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
}

void rom_MD5Init(struct md5 *md5)
{
    static const uint32_t start[4] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476};
    rom_ets_memset(md5, 0, sizeof *md5);
    rom_ets_memcpy(md5->state, start, sizeof start);
}

void rom_MD5Update(struct md5 *md5, const uint8_t *data, uint32_t size)
{
    update(md5->state, md5->bits, md5->block, data, size, md5_block);
}

void rom_MD5Final(uint8_t *digest, struct md5 *md5)
{
    uint8_t length[8];
    store(length, md5->bits[0], 0);
    store(length + 4, md5->bits[1], 0);
    pad(md5->state, md5->bits, md5->block, length, md5_block);
    for (int i = 0; i < 4; i++) {
        store(digest + 4 * i, md5->state[i], 0);
    }
}

struct sha1 {
    uint32_t state[5], bits[2];
    uint8_t block[64];
};

static void sha1_block(uint32_t *state, const uint8_t *block)
{
    uint32_t words[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (int i = 0; i < 80; i++) {
        words[i] = i < 16 ? load(block + 4 * i, 1)
                          : rotate(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
        uint32_t sum;
        switch (i / 20) {
        case 0: sum = ((b & c) | (~b & d)) + 0x5A827999; break;
        case 1: sum = (b ^ c ^ d) + 0x6ED9EBA1; break;
        case 2: sum = ((b & c) | (b & d) | (c & d)) + 0x8F1BBCDC; break;
        default: sum = (b ^ c ^ d) + 0xCA62C1D6;
        }
        sum += rotate(a, 5) + e + words[i];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = sum;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
}

void rom_SHA1Init(struct sha1 *sha1)
{
    static const uint32_t start[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    rom_ets_memset(sha1, 0, sizeof *sha1);
    rom_ets_memcpy(sha1->state, start, sizeof start);
}

void rom_SHA1Update(struct sha1 *sha1, const uint8_t *data, uint32_t size)
{
    update(sha1->state, sha1->bits, sha1->block, data, size, sha1_block);
}

void rom_SHA1Final(uint8_t *digest, struct sha1 *sha1)
{
    uint8_t length[8];
    store(length, sha1->bits[1], 1);
    store(length + 4, sha1->bits[0], 1);
    pad(sha1->state, sha1->bits, sha1->block, length, sha1_block);
    for (int i = 0; i < 5; i++) {
        store(digest + 4 * i, sha1->state[i], 1);
    }
}
