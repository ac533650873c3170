/* Source: RFC 8032, section 5.1; names are those of section 5.1.7.
 *
 * A field element, an integer modulo p = 2^255 - 19, is 20 limbs of 13 bits, the lowest first: the CPU gives only the
 * low 32 bits of a product, and the sum of 20 products of limbs has no more. Elements are not unique: limb 0 may be up
 * to LIMB_MASK + 3 * WRAP, and the value above p. Functions accept and return such elements; pack() gives the number
 * below p. A result may be stored in an argument. */
#include "ota_ed25519.h"

#include "ota_code.h"
#include "ota_sha512.h"

#define LIMBS 20
#define LIMB_BITS 13
#define LIMB_MASK 0x1FFF
#define WRAP 608 /* 2^260 mod p */

#define WORDS 8        /* in a number of 256 bits, the lowest first */
#define HASH_STEP 1024 /* bytes between calls of `idle` */

typedef struct {
    uint16 limbs[LIMBS];
} field;

/* A point of the curve -x^2 + y^2 = 1 + d x^2 y^2, in extended coordinates: (x / z, y / z), and t = xy / z. */
typedef struct {
    field x, y, z, t;
} point;

/* Constants, in the flash, which allows only word access. Source: RFC 8032, 5.1. */
static const uint32 prime[WORDS] ICACHE_RODATA_ATTR = {
    0xFFFFFFED, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0x7FFFFFFF,
};
static const uint32 order[WORDS] ICACHE_RODATA_ATTR = {
    0x5CF5D3ED, 0x5812631A, 0xA2F79CD6, 0x14DEF9DE, 0x00000000, 0x00000000, 0x00000000, 0x10000000,
};
static const uint32 twice_d[WORDS] ICACHE_RODATA_ATTR = {
    0x26B2F159, 0xEBD69B94, 0x8283B156, 0x00E0149A, 0xEEF3D130, 0x198E80F2, 0x56DFFCE7, 0x2406D9DC,
};
static const uint32 root_of_minus_1[WORDS] ICACHE_RODATA_ATTR = {
    0x4A0EA0B0, 0xC4EE1B27, 0xAD2FE478, 0x2F431806, 0x3DFBD7A7, 0x2B4D0099, 0x4FC1DF0B, 0x2B832480,
};
static const uint32 base_x[WORDS] ICACHE_RODATA_ATTR = {
    0x8F25D51A, 0xC9562D60, 0x9525A7B2, 0x692CC760, 0xFDD6DC5C, 0xC0A4E231, 0xCD6E53FE, 0x216936D3,
};
static const uint32 base_y[WORDS] ICACHE_RODATA_ATTR = {
    0x66666658, 0x66666666, 0x66666666, 0x66666666, 0x66666666, 0x66666666, 0x66666666, 0x66666666,
};

/* Numbers of 256 bits */

static void ICACHE_FLASH_ATTR read_words(uint32 *words, const uint8 *bytes)
{
    uint32 i;
    for (i = 0; i < 4 * WORDS; i++) {
        words[i / 4] = words[i / 4] >> 8 | (uint32)bytes[i] << 24;
    }
}

static bool ICACHE_FLASH_ATTR has_bytes(const uint32 *words, const uint8 *bytes)
{
    uint32 i;
    for (i = 0; i < 4 * WORDS; i++) {
        if (bytes[i] != (uint8)(words[i / 4] >> i % 4 * 8)) {
            return false;
        }
    }
    return true;
}

static bool ICACHE_FLASH_ATTR is_below(const uint32 *words, const uint32 *limit)
{
    uint32 i;
    for (i = WORDS; i-- > 0;) {
        if (words[i] != limit[i]) {
            return words[i] < limit[i];
        }
    }
    return false;
}

/* Subtract `modulus` once if `words` is not below it. */
static void ICACHE_FLASH_ATTR reduce(uint32 *words, const uint32 *modulus)
{
    uint32 i, borrow = 0;
    if (is_below(words, modulus)) {
        return;
    }
    for (i = 0; i < WORDS; i++) {
        uint32 before = words[i], less = modulus[i] + borrow;
        words[i] = before - less;
        borrow = less < borrow || before < less;
    }
}

/* The field */

static void ICACHE_FLASH_ATTR set(field *result, uint32 value)
{
    uint32 i;
    for (i = 1; i < LIMBS; i++) {
        result->limbs[i] = 0;
    }
    result->limbs[0] = value;
}

static void ICACHE_FLASH_ATTR unpack(field *result, const uint32 *words)
{
    uint32 buffer = 0, bits = 0, limb = 0, i;
    for (i = 0; i < 4 * WORDS; i++) {
        buffer |= (words[i / 4] >> i % 4 * 8 & 0xFF) << bits;
        bits += 8;
        if (bits >= LIMB_BITS) {
            result->limbs[limb++] = buffer & LIMB_MASK;
            buffer >>= LIMB_BITS;
            bits -= LIMB_BITS;
        }
    }
    result->limbs[limb] = buffer;
}

static void ICACHE_FLASH_ATTR pack(uint32 *words, const field *element)
{
    uint32 highest = element->limbs[LIMBS - 1], carry = 19 * (highest >> 8), buffer = 0, bits = 0, byte = 0, i;
    for (i = 0; i < LIMBS; i++) {
        carry += i < LIMBS - 1 ? element->limbs[i] : highest & 0xFF;
        buffer |= (carry & LIMB_MASK) << bits;
        carry >>= LIMB_BITS;
        for (bits += LIMB_BITS; bits >= 8 && byte < 4 * WORDS; bits -= 8, byte++) {
            words[byte / 4] = words[byte / 4] >> 8 | buffer << 24;
            buffer >>= 8;
        }
    }
    reduce(words, prime); /* less than 2^255 + 2^12 before */
}

static void ICACHE_FLASH_ATTR add(field *sum, const field *one, const field *other)
{
    uint32 carry = 0, i;
    for (i = 0; i < LIMBS; i++) {
        carry += one->limbs[i] + other->limbs[i];
        sum->limbs[i] = carry & LIMB_MASK;
        carry >>= LIMB_BITS;
    }
    sum->limbs[0] += WRAP * carry; /* carry <= 2 */
}

static void ICACHE_FLASH_ATTR subtract(field *difference, const field *one, const field *other)
{
    /* Add 64 p, which is 2 * LIMB_MASK in each limb less this carry, so that no limb is negative. */
    uint32 carry = -2 * (WRAP - 1), i;
    for (i = 0; i < LIMBS; i++) {
        carry += one->limbs[i] + 2 * LIMB_MASK - other->limbs[i];
        difference->limbs[i] = carry & LIMB_MASK;
        carry >>= LIMB_BITS;
    }
    difference->limbs[0] += WRAP * carry; /* carry <= 3 */
}

static void ICACHE_FLASH_ATTR multiply(field *product, const field *one, const field *other)
{
    uint32 columns[2 * LIMBS], carry = 0, i, k;
    for (i = 0; i < 2 * LIMBS; i++) {
        columns[i] = 0;
    }
    for (i = 0; i < LIMBS; i += 4) { /* 4 limbs at a time, as many as fit the registers, with the sums for 3 columns */
        uint32 a0 = one->limbs[i], a1 = one->limbs[i + 1], a2 = one->limbs[i + 2], a3 = one->limbs[i + 3];
        uint32 sum0 = 0, sum1 = 0, sum2 = 0, *column = columns + i;
        for (k = 0; k < LIMBS; k++) {
            uint32 b = other->limbs[k];
            *column++ += sum0 + a0 * b;
            sum0 = sum1 + a1 * b;
            sum1 = sum2 + a2 * b;
            sum2 = a3 * b;
        }
        column[0] = sum0;
        column[1] = sum1;
        column[2] = sum2;
    }
    /* Fold the upper half into the lower one. A column is less than 2^31, and gets less than 2^28. Carry around twice:
     * into limb 0 the first carry brings less than 2^28, as the last column is 0; the second brings at most WRAP. */
    for (i = 0; i < LIMBS; i++) {
        uint32 high = columns[i + LIMBS];
        carry += columns[i] + WRAP * (high & LIMB_MASK);
        columns[i] = carry & LIMB_MASK;
        carry = (carry >> LIMB_BITS) + WRAP * (high >> LIMB_BITS);
    }
    carry *= WRAP;
    for (i = 0; i < LIMBS; i++) {
        carry += columns[i];
        product->limbs[i] = carry & LIMB_MASK;
        carry >>= LIMB_BITS;
    }
    product->limbs[0] += WRAP * carry;
}

/* Raise `power` to the power of 2^252 - 3, which has 250 ones, a zero and a one in binary; or, if `inverts`, of
 * p - 2 = 2^255 - 21, which has 250 ones, a zero, a one, a zero and two ones. */
static void NOT_INLINED exponentiate(field *power, bool inverts)
{
    field element = *power;
    uint32 bit, zeros = inverts ? 1u << 4 | 1u << 2 : 1u << 1;
    for (bit = inverts ? 254 : 251; bit-- > 0;) {
        multiply(power, power, power);
        if (bit > 4 || !(zeros >> bit & 1)) {
            multiply(power, power, &element);
        }
    }
}

static bool ICACHE_FLASH_ATTR is_zero(const field *element)
{
    uint32 words[WORDS], i, bits = 0;
    pack(words, element);
    for (i = 0; i < WORDS; i++) {
        bits |= words[i];
    }
    return bits == 0;
}

static bool ICACHE_FLASH_ATTR is_odd(const field *element)
{
    uint32 words[WORDS];
    pack(words, element);
    return words[0] & 1;
}

/* The curve */

/* Set z and t of a point with the coordinates x and y. */
static void ICACHE_FLASH_ATTR extend(point *element)
{
    set(&element->z, 1);
    multiply(&element->t, &element->x, &element->y);
}

/* Add any two points, also equal ones: with a d that is no square these formulas have no exceptions. Source: RFC 8032,
 * 5.1.4. */
static void ICACHE_FLASH_ATTR add_points(point *sum, const point *one, const point *other)
{
    field a, b, c, d, e;
    subtract(&a, &one->y, &one->x);
    subtract(&b, &other->y, &other->x);
    multiply(&a, &a, &b);
    add(&b, &one->y, &one->x);
    add(&c, &other->y, &other->x);
    multiply(&b, &b, &c);
    unpack(&c, twice_d);
    multiply(&c, &c, &one->t);
    multiply(&c, &c, &other->t);
    multiply(&d, &one->z, &other->z);
    add(&d, &d, &d);
    subtract(&e, &b, &a); /* E */
    add(&b, &b, &a);      /* H */
    subtract(&a, &d, &c); /* F */
    add(&c, &d, &c);      /* G */
    multiply(&sum->x, &e, &a);
    multiply(&sum->y, &c, &b);
    multiply(&sum->t, &e, &b);
    multiply(&sum->z, &a, &c);
}

/* Decode a point and negate it. Return false if there is none, or if y is not less than p. Source: RFC 8032, 5.1.3. */
static bool NOT_INLINED decode_negated(point *result, const uint32 *encoding)
{
    uint32 words[WORDS], i;
    field *x = &result->x, *y = &result->y, *u = &result->z, *v = &result->t, power;
    for (i = 0; i < WORDS; i++) {
        words[i] = encoding[i];
    }
    words[WORDS - 1] &= 0x7FFFFFFF;
    if (!is_below(words, prime)) {
        return false;
    }
    unpack(y, words);
    /* x^2 = u / v = (y^2 - 1) / (d y^2 + 1); here both are doubled. */
    set(x, 2);
    multiply(u, y, y);
    unpack(v, twice_d);
    multiply(v, v, u);
    add(v, v, x);
    add(u, u, u);
    subtract(u, u, x);
    /* A root if there is one, or its product with the root of -1: u v^3 (u v^7)^((p - 5) / 8). */
    multiply(x, v, v);
    multiply(x, x, v);
    multiply(&power, x, x);
    multiply(&power, &power, v);
    multiply(&power, &power, u);
    exponentiate(&power, false);
    multiply(x, x, u);
    multiply(x, x, &power);
    multiply(&power, x, x);
    multiply(v, v, &power);
    subtract(&power, v, u);
    if (!is_zero(&power)) {
        add(&power, v, u);
        if (!is_zero(&power)) {
            return false;
        }
        unpack(v, root_of_minus_1);
        multiply(x, x, v);
    }
    if (is_odd(x) == encoding[WORDS - 1] >> 31) {
        set(v, 0);
        subtract(x, v, x);
    }
    extend(result);
    return true;
}

/* Source: RFC 8032, 5.1.2. */
static void NOT_INLINED encode(uint32 *encoding, const point *element)
{
    field inverse = element->z, x, y;
    exponentiate(&inverse, true);
    multiply(&x, &element->x, &inverse);
    multiply(&y, &element->y, &inverse);
    pack(encoding, &y);
    encoding[WORDS - 1] |= (uint32)is_odd(&x) << 31;
}

/* Multiply a point by 4. Return true if its order divided 8: then the result is (0, 1) or (0, -1). */
static bool ICACHE_FLASH_ATTR quadruple(point *element)
{
    add_points(element, element, element);
    add_points(element, element, element);
    return is_zero(&element->x);
}

static uint32 ICACHE_FLASH_ATTR bit(const uint32 *words, uint32 number)
{
    return words[number / 32] >> number % 32 & 1;
}

/* Shift `bit` into a number below the order, modulo the order. */
static void ICACHE_FLASH_ATTR shift_in(uint32 *words, uint32 bit)
{
    uint32 i;
    for (i = 0; i < WORDS; i++) {
        uint32 highest = words[i] >> 31;
        words[i] = words[i] << 1 | bit;
        bit = highest;
    }
    reduce(words, order);
}

/* k = SHA-512(R || A || message) mod L, of which the first byte is the lowest. */
static void NOT_INLINED hash(uint32 *k, const uint8 *r, const uint8 *key, const uint8 *message, uint32 size,
                             void (*idle)(void))
{
    ota_sha512 sha;
    uint32 i, bit;
    ota_sha512_init(&sha);
    ota_sha512_add(&sha, r, 32);
    ota_sha512_add(&sha, key, 32);
    while (size > 0) {
        uint32 step = size < HASH_STEP ? size : HASH_STEP;
        ota_sha512_add(&sha, message, step);
        message += step;
        size -= step;
        idle();
    }
    ota_sha512_finish(&sha);
    for (i = 0; i < WORDS; i++) {
        k[i] = 0;
    }
    for (i = 64; i-- > 0; sha.state[i / 8] >>= 8) { /* bytes of the digest, the last first */
        for (bit = 8; bit-- > 0;) {
            shift_in(k, (uint32)sha.state[i / 8] >> bit & 1);
        }
    }
}

bool ICACHE_FLASH_ATTR ota_ed25519_verify(const uint8 *signature, const uint8 *key, const uint8 *message, uint32 size,
                                          void (*idle)(void))
{
    uint32 s[WORDS], k[WORDS], encoding[WORDS], i;
    point terms[3], sum; /* B, -A and B - A */
    read_words(s, signature + 32);
    read_words(encoding, key);
    if (!is_below(s, order) || !decode_negated(&terms[1], encoding)) {
        return false;
    }
    sum = terms[1];
    if (quadruple(&sum)) {
        return false;
    }
    unpack(&terms[0].x, base_x);
    unpack(&terms[0].y, base_y);
    extend(&terms[0]);
    add_points(&terms[2], &terms[0], &terms[1]);
    hash(k, signature, key, message, size, idle);
    set(&sum.x, 0);
    set(&sum.y, 1);
    extend(&sum);
    for (i = 32 * WORDS; i-- > 0;) { /* s B - k A, both products at once */
        uint32 bits = bit(s, i) + 2 * bit(k, i);
        add_points(&sum, &sum, &sum);
        if (bits) {
            add_points(&sum, &sum, &terms[bits - 1]);
        }
        idle();
    }
    encode(encoding, &sum);
    return has_bytes(encoding, signature) && !quadruple(&sum);
}
