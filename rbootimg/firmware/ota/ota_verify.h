/* Verification of a ROM, word by word as it is in the flash: rBoot's own checks, and the rules of a ROM that rBoot does
 * not check. rbootimg/rom/fit.py has the same rules. An image without irom is accepted if it satisfies those that apply
 * to it. */
#ifndef OTA_VERIFY_H
#define OTA_VERIFY_H

#include "rboot-ota.h"

typedef struct {
    uint32 start, end;
} ota_range;

typedef struct {
    uint32 offset;         /* bytes read so far */
    uint32 size;           /* bytes of the file */
    uint32 words_left;     /* of the current part */
    uint32 sum;
    uint32 irom_size;
    uint32 own_pointers;   /* number of words that point into the ROM's irom, if it is linked for the slot */
    uint32 other_pointers; /* number of words that point to another place in the flash window */
    uint32 link_address;   /* where irom must be linked for the slot */
    uint32 entry;          /* entry point in the last header */
    uint32 address;        /* load address of the current section */
    ota_range loaded[RBOOT_MAX_SECTIONS];
    uint8 part;
    uint8 sections_left;
    uint8 loaded_count; /* number of ranges in `loaded` */
    bool irom_checksum;
} ota_verify;

/* Start the verification of a ROM of `size` bytes, in the slot at flash address `slot`. */
void ota_verify_init(ota_verify *verify, uint32 slot, uint32 size, bool irom_checksum);
/* Read the next `count` words. */
void ota_verify_add(ota_verify *verify, const uint32 *words, uint32 count);
/* Return true if the words that follow do not matter: the ROM is complete, or already invalid. */
bool ota_verify_is_done(const ota_verify *verify);
/* Return the result after the last word: OTA_OK, OTA_BAD_ROM or OTA_WRONG_SLOT. */
rboot_ota_reason ota_verify_end(const ota_verify *verify);

#endif
