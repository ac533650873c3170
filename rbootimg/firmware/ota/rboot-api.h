/* rBoot's functions for applications, under rBoot's names. None of them uses the heap. */
#ifndef RBOOT_API_H
#define RBOOT_API_H

#include "rboot.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Return the boot config. All fields are 0 if the flash cannot be read. */
rboot_config rboot_get_config(void);

/* Write the boot config; the rest of its sector is preserved. If the flash already has this config, nothing is written.
 *
 * Return false on failure, and if rboot_config_is_compatible is false: the loader would reject this config and write
 * its default. */
bool rboot_set_config(rboot_config *conf);

/* Return true if the config in the flash has the format that this code was compiled for, or if there is no config.
 *
 * False if only one of the loader and this code uses BOOT_CONFIG_CHKSUM, or if both do and their MAX_ROMS differ. */
bool rboot_config_is_compatible(void);

/* Return the ROM that boots next. It is also the running one, unless that is a temp ROM or the config was changed since
 * the boot. */
uint8 rboot_get_current_rom(void);

/* Set the ROM that boots next. Return false on failure, and for a ROM that is not in the config. */
bool rboot_set_current_rom(uint8 rom);

/* State of a write to the flash in pieces of any size. All fields are private. */
typedef struct {
    uint32 start_addr;
    uint32 start_sector;
    int32 last_sector_erased;
    uint8 extra_count; /* bytes in extra_bytes: less than a word */
    uint8 extra_bytes[4];
} rboot_write_status;

/* Start a write at flash address `start_addr`, a multiple of 4. Nothing is written yet. */
rboot_write_status rboot_write_init(uint32 start_addr);

/* Write the next `len` bytes. Each sector is erased before its first byte is written. After a failure nothing more is
 * written, and each call returns false. */
bool rboot_write_flash(rboot_write_status *status, uint8 *data, uint16 len);

/* Write the remaining bytes, padded to a word with 0xFF. */
bool rboot_write_end(rboot_write_status *status);

/* Read the RTC data. These three return false if the loader was built without BOOT_RTC_ENABLED. */
bool rboot_get_rtc_data(rboot_rtc_data *rtc);
bool rboot_get_last_boot_rom(uint8 *rom);
bool rboot_get_last_boot_mode(uint8 *mode);

/* Write the RTC data. The magic and the checksum are set in `rtc` too. */
bool rboot_set_rtc_data(rboot_rtc_data *rtc);

/* Boot `rom` once, at the next restart. Return false on failure, and for a ROM that is not in the config: rBoot would
 * stop there. */
bool rboot_set_temp_rom(uint8 rom);

#ifdef __cplusplus
}
#endif

#endif
