/* Declarations shared by the source files of the client. */
#ifndef OTA_PRIVATE_H
#define OTA_PRIVATE_H

#include "ota_code.h"
#include "ota_port.h"
#include "rboot-ota.h"

/* Scratch buffer of one sector. Its contents are valid only within one call into the client. */
extern uint32 ota_scratch[SECTOR_SIZE / 4];

/* Copy `size` bytes. */
void ota_copy(void *to, const void *from, uint32 size);
/* Return true if two texts are equal. */
bool ota_equals(const char *one, const char *other);

typedef struct {
    uint32 address, size; /* of a slot, in bytes */
} ota_slot;

/* Find a slot of the boot config. OTA_LAYOUT if this code was compiled for other slots. */
rboot_ota_reason ota_find_slot(uint8 rom, ota_slot *slot);
/* Return true for the running ROM and the one that boots next. */
bool ota_is_slot_in_use(uint8 rom);

/* Return the size of a request in bytes; 0 if it is missing or too long. */
uint16 ota_request_size(const uint8 *request);

/* A job consists of steps. ota_begin reserves the client, or returns false if it is in use; ota_end releases it, with
 * the result for rboot_ota_get_reason. Each step ends with a call of `next` from the timer event, which starts the next
 * step or ends the job. What a step is given must stay valid until then. */
typedef void (*ota_step)(rboot_ota_reason reason);
bool ota_begin(void);
void ota_end(rboot_ota_reason reason);

/* Wait, or if a wait is on, end it after another time: `next` gets OTA_OK. */
void ota_wait(uint32 milliseconds, ota_step next);
/* Fetch a text of at most `max_size` bytes, within `time_limit` ms; then ota_text_size is its size. The text is not
 * terminated. Return false if there is no connection: `next` is not called then. */
bool ota_fetch_text(const uint8 *ip, uint16 port, const uint8 *request, void *text, uint32 max_size, uint32 time_limit,
                    ota_step next);
uint32 ota_text_size(void);
/* Fetch a ROM of `exact_size` bytes (0: any) into a slot, verify it, and make it bootable. Else as above. */
bool ota_fetch_rom(const uint8 *ip, uint16 port, const uint8 *request, const ota_slot *slot, uint32 exact_size,
                   const rboot_ota_requirements *requirements, ota_step next);
/* Verify the ROM of `size` bytes in a slot. */
void ota_verify_rom(const ota_slot *slot, uint32 size, const rboot_ota_requirements *requirements, ota_step next);

/* Where the signed update client keeps its records in the config sector: see ota_store.h. Words from the start of the
 * sector to its end. */
#define OTA_STORE_WORDS 63
#define OTA_STORE_START (SECTOR_SIZE / 4 - OTA_STORE_WORDS)

/* Erase the config sector and write it from ota_scratch, which has all of it. */
bool ota_rewrite_config_sector(void);
/* Remove what is obsolete from the records in ota_scratch. Weak: an application without the client has none. */
void __attribute__((weak)) ota_store_compact(void);

/* Called on each timer event of a step that fetches or verifies a ROM; weak likewise. */
void __attribute__((weak)) ota_progress(void);

/* Milliseconds that the timer has counted. Slower than a clock, but never faster. */
uint32 ota_clock(void);

#endif
