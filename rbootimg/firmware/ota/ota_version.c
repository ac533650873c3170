/* Comparison of versions. Source: Semantic Versioning 2.0.0 (semver.org). */
#include "ota_code.h"
#include "rboot-ota.h"

#define MAX_DIGITS 9

static bool ICACHE_FLASH_ATTR is_digit(char character)
{
    return character >= '0' && character <= '9';
}

static bool ICACHE_FLASH_ATTR is_identifier_character(char character)
{
    return is_digit(character) || (character >= 'A' && character <= 'Z') || (character >= 'a' && character <= 'z') ||
           character == '-';
}

typedef struct {
    const char *text;
    uint32 size;
    bool is_number;
} identifier;

/* Return the identifier at `text`, up to the first other character. */
static identifier ICACHE_FLASH_ATTR parse_identifier(const char *text)
{
    identifier result;
    result.text = text;
    result.size = 0;
    result.is_number = true;
    while (is_identifier_character(text[result.size])) {
        if (!is_digit(text[result.size])) {
            result.is_number = false;
        }
        result.size++;
    }
    return result;
}

/* Return the number at `*text`, and move `*text` past it. */
static identifier ICACHE_FLASH_ATTR parse_number(const char **text)
{
    identifier result;
    result.text = *text;
    result.is_number = true;
    for (result.size = 0; is_digit(**text); result.size++) {
        ++*text;
    }
    return result;
}

/* Return true for a number of at most MAX_DIGITS digits, without leading zeros. */
static bool ICACHE_FLASH_ATTR is_version_number(identifier result)
{
    return result.is_number && result.size > 0 && result.size <= MAX_DIGITS &&
           (result.size == 1 || result.text[0] != '0');
}

/* Move `*text` past identifiers separated by dots; false if one is empty, or, except in build metadata, is a number
 * that is too long or has leading zeros. */
static bool ICACHE_FLASH_ATTR skip_identifiers(const char **text, bool is_build)
{
    for (;; ++*text) {
        identifier result = parse_identifier(*text);
        if (result.size == 0 || (!is_build && result.is_number && !is_version_number(result))) {
            return false;
        }
        *text += result.size;
        if (**text != '.') {
            return true;
        }
    }
}

static bool ICACHE_FLASH_ATTR is_version(const char *text)
{
    const char *start = text;
    uint32 i;
    for (i = 0; text[i]; i++) {
        if (i == RBOOT_VERSION_SIZE - 1) {
            return false;
        }
    }
    for (i = 0; i < 3; i++) {
        if (!is_version_number(parse_number(&start))) {
            return false;
        }
        if (i < 2 && *start++ != '.') {
            return false;
        }
    }
    if (*start == '-') {
        start++;
        if (!skip_identifiers(&start, false)) {
            return false;
        }
    }
    if (*start == '+') {
        start++;
        if (!skip_identifiers(&start, true)) {
            return false;
        }
    }
    return *start == 0;
}

static int32 ICACHE_FLASH_ATTR compare_strings(identifier one, identifier other)
{
    uint32 i;
    for (i = 0; i < one.size && i < other.size; i++) {
        if (one.text[i] != other.text[i]) {
            return one.text[i] < other.text[i] ? -1 : 1;
        }
    }
    return one.size == other.size ? 0 : one.size < other.size ? -1 : 1;
}

static int32 NOT_INLINED compare_identifiers(identifier one, identifier other)
{
    if (one.is_number != other.is_number) {
        return one.is_number ? -1 : 1;
    }
    if (one.is_number && one.size != other.size) { /* no leading zeros: the longer number is larger */
        return one.size < other.size ? -1 : 1;
    }
    return compare_strings(one, other);
}

rboot_version_order ICACHE_FLASH_ATTR rboot_compare_versions(const char *version, const char *reference)
{
    uint32 i;
    int32 order;
    if (!is_version(version) || !is_version(reference)) {
        return RBOOT_UNKNOWN;
    }
    for (i = 0; i < 3; i++) {
        order = compare_identifiers(parse_number(&version), parse_number(&reference));
        if (order) {
            return order < 0 ? RBOOT_OLDER : RBOOT_NEWER;
        }
        if (i < 2) {
            version++;
            reference++;
        }
    }
    if (*version != '-' || *reference != '-') { /* a version without a prerelease is newer */
        return (*reference == '-') - (*version == '-');
    }
    for (;;) {
        identifier one = parse_identifier(++version), other = parse_identifier(++reference);
        order = compare_identifiers(one, other);
        if (order) {
            return order < 0 ? RBOOT_OLDER : RBOOT_NEWER;
        }
        version += one.size;
        reference += other.size;
        if (*version != '.' || *reference != '.') { /* more identifiers are newer */
            return (*version == '.') - (*reference == '.');
        }
    }
}
