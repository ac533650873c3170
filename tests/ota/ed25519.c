/* Ed25519, its field and SHA-512 on the host: each line of the input is a command with numbers in hexadecimal, lowest
 * byte first, "-" for none; each line of the output is its result. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ota_ed25519.c"

static void idle(void)
{
}

/* Return the bytes of the next word, in memory of exactly that size, so that a read beyond its end is found. */
static uint8 *read_bytes(uint32 *size)
{
    static char word[0x10000];
    uint8 *bytes;
    uint32 i;
    unsigned byte;
    if (scanf("%65535s", word) != 1) {
        exit(1);
    }
    *size = strcmp(word, "-") ? (uint32)strlen(word) / 2 : 0;
    bytes = malloc(*size);
    for (i = 0; i < *size; i++) {
        if (sscanf(word + 2 * i, "%2x", &byte) != 1) {
            exit(1);
        }
        bytes[i] = (uint8)byte;
    }
    return bytes;
}

static uint8 *read_exactly(uint32 size)
{
    uint32 found;
    uint8 *bytes = read_bytes(&found);
    if (found != size) {
        exit(1);
    }
    return bytes;
}

static void print_bytes(const uint8 *bytes, uint32 size)
{
    while (size--) {
        printf("%02x", *bytes++);
    }
    printf("\n");
}

static void verify(void)
{
    uint32 size;
    uint8 *key = read_exactly(32), *signature = read_exactly(64), *message = read_bytes(&size);
    printf("%d\n", ota_ed25519_verify(signature, key, message, size, idle));
    free(key);
    free(signature);
    free(message);
}

/* Print whether the bytes are the encoding of a point that a key may be. */
static void decode(void)
{
    uint8 *key = read_exactly(32);
    uint32 words[WORDS];
    point negative;
    read_words(words, key);
    printf("%d\n", decode_negated(&negative, words));
    free(key);
}

static void sha512(void)
{
    ota_sha512 sha;
    uint32 size, half, i;
    uint8 *message = read_bytes(&size);
    half = size / 2;
    ota_sha512_init(&sha);
    ota_sha512_add(&sha, message, half);
    ota_sha512_add(&sha, message + half, size - half);
    ota_sha512_finish(&sha);
    for (i = 0; i < 8; i++) {
        printf("%016llx", sha.state[i]);
    }
    printf("\n");
    free(message);
}

/* Print the limbs of the result, and what pack() makes of them. */
static void calculate(void (*operation)(field *, const field *, const field *))
{
    field one, other;
    uint32 words[WORDS];
    uint8 *bytes = read_exactly(sizeof one);
    memcpy(&one, bytes, sizeof one);
    free(bytes);
    bytes = read_exactly(sizeof other);
    memcpy(&other, bytes, sizeof other);
    free(bytes);
    operation(&one, &one, &other);
    pack(words, &one);
    for (uint32 i = 0; i < LIMBS; i++) {
        printf("%u ", one.limbs[i]);
    }
    print_bytes((uint8 *)words, sizeof words);
}

int main(void)
{
    char command[16];
    while (scanf("%15s", command) == 1) {
        if (strcmp(command, "verify") == 0) {
            verify();
        } else if (strcmp(command, "decode") == 0) {
            decode();
        } else if (strcmp(command, "sha512") == 0) {
            sha512();
        } else if (strcmp(command, "mul") == 0) {
            calculate(multiply);
        } else if (strcmp(command, "add") == 0) {
            calculate(add);
        } else if (strcmp(command, "sub") == 0) {
            calculate(subtract);
        }
    }
    return 0;
}
