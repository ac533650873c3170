/* rBoot's structures in the flash and in RTC memory, under rBoot's names. Source: rBoot 1.4.2, rboot.h.
 *
 * BOOT_CONFIG_CHKSUM, BOOT_IROM_CHKSUM and MAX_ROMS must be those that the loader was built with. If RBOOT_LAYOUT is
 * defined, rboot-layout.h defines them, and also RBOOT_SLOTS (address and size of each slot) and RBOOT_FLASH_SIZE.
 * `rbootimg layout --client-header` and RbootOtaClient of the SCons tool write that file.
 */
#ifndef RBOOT_H
#define RBOOT_H

#include "../rboot_format.h"
#include "rboot-types.h"

#ifdef RBOOT_LAYOUT
#include "rboot-layout.h"
#endif

#ifndef MAX_ROMS
#define MAX_ROMS RBOOT_DEFAULT_MAX_ROMS
#endif

#define SECTOR_SIZE ESP8266_SECTOR_SIZE
#define BOOT_CONFIG_SECTOR RBOOT_CONFIG_SECTOR
#define BOOT_CONFIG_MAGIC RBOOT_CONFIG_MAGIC
#define BOOT_CONFIG_VERSION RBOOT_CONFIG_VERSION
#define CHKSUM_INIT RBOOT_CHECKSUM_SEED

/* Boot modes: the current ROM of the config, the ROM selected by a pin, a ROM for one boot. The last two are flags
 * of the config. */
#define MODE_STANDARD 0x00
#define MODE_GPIO_ROM RBOOT_MODE_GPIO_ROM
#define MODE_TEMP_ROM RBOOT_MODE_TEMP_ROM
#define MODE_GPIO_ERASES_SDKCONFIG RBOOT_MODE_GPIO_ERASES_SDK
#define MODE_GPIO_SKIP RBOOT_MODE_GPIO_SKIP

#define RBOOT_RTC_ADDR RBOOT_RTC_BLOCK /* in blocks of 4 bytes; rBoot's RBOOT_RTC_MAGIC is in rboot_format.h */

typedef struct {
    uint8 magic, version;
    uint8 mode;
    uint8 current_rom; /* the ROM that boots next */
    uint8 gpio_rom;    /* the ROM selected by a pin */
    uint8 count;       /* number of ROMs */
    uint8 unused[2];
    uint32 roms[MAX_ROMS]; /* flash addresses */
#ifdef BOOT_CONFIG_CHKSUM
    uint8 chksum;
#endif
} rboot_config;

/* Data in RTC memory. Used only by a loader built with BOOT_RTC_ENABLED. */
typedef struct {
    uint32 magic;
    uint8 next_mode; /* mode of the next boot: MODE_STANDARD or MODE_TEMP_ROM */
    uint8 last_mode; /* mode of the last boot */
    uint8 last_rom;  /* the running ROM */
    uint8 temp_rom;  /* the ROM that MODE_TEMP_ROM boots */
    uint8 chksum;
} rboot_rtc_data;

#endif
