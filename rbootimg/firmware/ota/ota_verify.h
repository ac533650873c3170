/* The check of a ROM, of the words as they are in the flash, one after the other: as rBoot does it, and the rules that
 * rBoot does not look at. rbootimg/fit.py has the same ones. An image without irom, with which no packer fills a slot,
 * passes by those that it has. */
#ifndef OTA_VERIFY_H
#define OTA_VERIFY_H

#include "rboot-ota.h"

typedef struct {
    uint32 start, end;
} ota_range;

typedef struct {
    uint32 offset; /* bytes so far */
    uint32 size;   /* of the file */
    uint32 left;   /* words of the part that is being read */
    uint32 sum;
    uint32 irom_size;
    uint32 own, elsewhere; /* words that point into the flash: into its own irom if it is linked for the slot, or not */
    uint32 link;           /* where the irom of the slot's ROM is mapped */
    uint32 entry;          /* of the header read last */
    uint32 address;        /* of the section that is being read */
    ota_range loaded[RBOOT_MAX_SECTIONS];
    uint8 part;
    uint8 sections; /* to come */
    uint8 count;    /* of those in `loaded` */
    bool irom_checksum;
} ota_verify;

/* For a ROM of `size` bytes in the slot at flash address `slot`. */
void ota_verify_init(ota_verify *verify, uint32 slot, uint32 size, bool irom_checksum);
void ota_verify_add(ota_verify *verify, const uint32 *words, uint32 count);
/* Whether no word that follows matters any more. */
bool ota_verify_is_over(const ota_verify *verify);
/* OTA_OK, OTA_BAD_ROM or OTA_OTHER_SLOT, after the last word. */
rboot_ota_reason ota_verify_end(const ota_verify *verify);

#endif
