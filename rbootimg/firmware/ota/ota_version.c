/* Semantic versions, as semver.org 2.0.0 has them. */
#include "rboot-ota.h"

#define MOST_DIGITS 9

static bool ICACHE_FLASH_ATTR is_digit(char character)
{
    return character >= '0' && character <= '9';
}

static bool ICACHE_FLASH_ATTR is_identifier(char character)
{
    return is_digit(character) || (character >= 'A' && character <= 'Z') || (character >= 'a' && character <= 'z') ||
           character == '-';
}

typedef struct {
    const char *text;
    uint32 size;
    bool is_number;
} identifier;

/* The identifier at `text`, up to what can be in none. */
static identifier ICACHE_FLASH_ATTR identifier_at(const char *text)
{
    identifier found;
    found.text = text;
    found.size = 0;
    found.is_number = true;
    while (is_identifier(text[found.size])) {
        if (!is_digit(text[found.size])) {
            found.is_number = false;
        }
        found.size++;
    }
    return found;
}

/* A number of three, and the place behind it. */
static identifier ICACHE_FLASH_ATTR take_number(const char **text)
{
    identifier found;
    found.text = *text;
    found.is_number = true;
    for (found.size = 0; is_digit(**text); found.size++) {
        ++*text;
    }
    return found;
}

static bool ICACHE_FLASH_ATTR is_plain_number(identifier found)
{
    return found.is_number && found.size > 0 && found.size <= MOST_DIGITS && (found.size == 1 || found.text[0] != '0');
}

/* Identifiers with dots between them, up to `*text`'s new place; false for an empty one, and for a number with a 0
 * before it where that matters. */
static bool ICACHE_FLASH_ATTR skip_identifiers(const char **text, bool is_build)
{
    for (;; ++*text) {
        identifier found = identifier_at(*text);
        if (found.size == 0 || (!is_build && found.is_number && !is_plain_number(found))) {
            return false;
        }
        *text += found.size;
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
        if (!is_plain_number(take_number(&start))) {
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

static int32 ICACHE_FLASH_ATTR compare_texts(identifier one, identifier other)
{
    uint32 i;
    for (i = 0; i < one.size && i < other.size; i++) {
        if (one.text[i] != other.text[i]) {
            return one.text[i] < other.text[i] ? -1 : 1;
        }
    }
    return one.size == other.size ? 0 : one.size < other.size ? -1 : 1;
}

static int32 ICACHE_FLASH_ATTR compare_identifiers(identifier one, identifier other)
{
    if (one.is_number != other.is_number) {
        return one.is_number ? -1 : 1;
    }
    if (one.is_number && one.size != other.size) { /* neither begins with 0 */
        return one.size < other.size ? -1 : 1;
    }
    return compare_texts(one, other);
}

rboot_version_order ICACHE_FLASH_ATTR rboot_compare_versions(const char *found, const char *own)
{
    uint32 i;
    int32 order;
    if (!is_version(found) || !is_version(own)) {
        return RBOOT_UNKNOWN;
    }
    for (i = 0; i < 3; i++) {
        order = compare_identifiers(take_number(&found), take_number(&own));
        if (order) {
            return order < 0 ? RBOOT_OLDER : RBOOT_NEWER;
        }
        if (i < 2) {
            found++;
            own++;
        }
    }
    if (*found != '-' || *own != '-') { /* a version without a prerelease is newer */
        return (*own == '-') - (*found == '-');
    }
    for (;;) {
        identifier one = identifier_at(++found), other = identifier_at(++own);
        order = compare_identifiers(one, other);
        if (order) {
            return order < 0 ? RBOOT_OLDER : RBOOT_NEWER;
        }
        found += one.size;
        own += other.size;
        if (*found != '.' || *own != '.') { /* more identifiers are newer */
            return (*found == '.') - (*own == '.');
        }
    }
}
