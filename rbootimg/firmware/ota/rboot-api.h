/* rBoot's functions for applications, by rBoot's names. None of them allocates. */
#ifndef RBOOT_API_H
#define RBOOT_API_H

#include "rboot.h"

#ifdef __cplusplus
extern "C" {
#endif

/* All zeros if the flash cannot be read. */
rboot_config rboot_get_config(void);

/* Writes the config and leaves the rest of its sector as it is. A config that stands there is not written again. False
 * also where rboot_config_is_ours says no: the loader would not take it, and write its default config. */
bool rboot_set_config(rboot_config *conf);

/* Whether the config in the flash has the form that this code was compiled for: no if it has a checksum and this code
 * was compiled without BOOT_CONFIG_CHKSUM, or the other way round, or if the loader has another MAX_ROMS and a checksum.
 * Yes where there is no config. */
bool rboot_config_is_ours(void);

/* The ROM that boots next. It runs now, unless this boot was of a temp ROM or the config has been changed since. */
uint8 rboot_get_current_rom(void);

/* False for a ROM that the config does not have. */
bool rboot_set_current_rom(uint8 rom);

/* A write to the flash in any number of pieces. All fields are the writer's own. */
typedef struct {
    uint32 start_addr;
    uint32 start_sector;
    int32 last_sector_erased;
    uint8 extra_count; /* bytes that make no word yet */
    uint8 extra_bytes[4];
} rboot_write_status;

/* From `start_addr` on, a multiple of 4. Nothing is written yet. */
rboot_write_status rboot_write_init(uint32 start_addr);

/* Erases each sector before its first byte. After a failure nothing more is written, and each call says false. */
bool rboot_write_flash(rboot_write_status *status, uint8 *data, uint16 len);

/* Writes what does not fill a word. */
bool rboot_write_end(rboot_write_status *status);

/* The three below say false if the loader was built without BOOT_RTC_ENABLED. */
bool rboot_get_rtc_data(rboot_rtc_data *rtc);
bool rboot_get_last_boot_rom(uint8 *rom);
bool rboot_get_last_boot_mode(uint8 *mode);

/* Sets magic and checksum, also in `rtc`. */
bool rboot_set_rtc_data(rboot_rtc_data *rtc);

/* The next boot, and only that, is of `rom`. False too for a ROM that the config does not have, at which rBoot would
 * stop. */
bool rboot_set_temp_rom(uint8 rom);

#ifdef __cplusplus
}
#endif

#endif
