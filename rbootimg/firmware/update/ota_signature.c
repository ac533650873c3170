/* See ota_signature.h. */
#include "ota_signature.h"

#include "ota_ed25519.h"
#include "ota_private.h"
#include "ota_update_port.h"

#define NUMBER_SIZE 8
#define SIGNATURE_SIZE 64
#define BINARY_SIZE (2 + NUMBER_SIZE + SIGNATURE_SIZE) /* with "Ed" */
#define BASE64_SIZE 100                                /* with one = at the end */

#ifdef RBOOT_UPDATE_KEYS
#include "rboot-keys.h"

typedef struct {
    uint32 number[NUMBER_SIZE / 4], key[8]; /* little-endian */
} public_key;

/* In the flash, which allows only word access. Exactly those that were given: an empty place would be a weak key. */
static const public_key keys[] ICACHE_RODATA_ATTR = {RBOOT_KEYS};
#endif

static bool ICACHE_FLASH_ATTR starts_with(const char *text, const char *end, const char *start)
{
    while (*start && text < end && *text == *start) {
        text++;
        start++;
    }
    return *start == 0;
}

static uint32 ICACHE_FLASH_ATTR base64_value(char digit)
{
    return (uint32)(digit >= 'A' && digit <= 'Z'   ? digit - 'A'
                    : digit >= 'a' && digit <= 'z' ? digit - 'a' + 26
                    : digit >= '0' && digit <= '9' ? digit - '0' + 52
                    : digit == '+'                 ? 62
                    : digit == '/'                 ? 63
                                                   : 64);
}

/* Decode BASE64_SIZE characters; false if they are not in the canonical form. */
static bool ICACHE_FLASH_ATTR decode(const char *text, uint8 *binary)
{
    uint32 i, bits = 0, value = 0;
    for (i = 0; i < BASE64_SIZE - 1; i++) {
        uint32 digit = base64_value(text[i]);
        if (digit == 64) {
            return false;
        }
        value = value << 6 | digit;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            *binary++ = (uint8)(value >> bits);
        }
    }
    return text[i] == '=' && (value & ((1u << bits) - 1)) == 0;
}

rboot_ota_reason ICACHE_FLASH_ATTR ota_verify_signature(char **text, uint32 *size, uint32 *key)
{
    const char *at = *text, *end = at + *size;
    uint8 binary[BINARY_SIZE];
    if (!starts_with(at, end, "untrusted comment: ")) {
#ifdef RBOOT_UPDATE_KEYS
        return starts_with(at, end, "rbootimg-update ") ? OTA_UNSIGNED : OTA_NOT_AN_UPDATE;
#else
        *key = 0;
        return OTA_OK;
#endif
    }
    while (at < end && *at >= ' ' && *at < 0x7F) {
        at++;
    }
    if (end - at < BASE64_SIZE + 2 || at[0] != '\n' || !decode(at + 1, binary) || at[BASE64_SIZE + 1] != '\n' ||
        binary[0] != 'E' || binary[1] != 'd') {
        return OTA_NOT_AN_UPDATE;
    }
    at += BASE64_SIZE + 2;
    *text += at - *text;
    *size = (uint32)(end - at);
    ota_copy(key, binary + 2, sizeof *key);
#ifdef RBOOT_UPDATE_KEYS
    {
        uint32 i, number[NUMBER_SIZE / 4];
        ota_copy(number, binary + 2, sizeof number);
        for (i = 0; i < sizeof keys / sizeof *keys; i++) {
            if (keys[i].number[0] == number[0] && keys[i].number[1] == number[1]) {
                uint32 words[8], word;
                for (word = 0; word < 8; word++) {
                    words[word] = keys[i].key[word];
                }
                return ota_ed25519_verify(binary + 2 + NUMBER_SIZE, (const uint8 *)words, (const uint8 *)at, *size,
                                          ota_port_idle)
                           ? OTA_OK
                           : OTA_BAD_SIGNATURE;
            }
        }
        return OTA_UNKNOWN_KEY;
    }
#else
    return OTA_OK;
#endif
}
