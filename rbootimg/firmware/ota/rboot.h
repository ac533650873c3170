/* rBoot's structures in the flash and in RTC memory, by rBoot's names.
 *
 * BOOT_CONFIG_CHKSUM, BOOT_IROM_CHKSUM and MAX_ROMS must be what the loader was built with. With RBOOT_LAYOUT they come
 * from rboot-layout.h, which `rbootimg layout --client-header` and the SCons tool's RbootOtaClient write: together with
 * RBOOT_SLOTS, the address and the size of each slot, and RBOOT_FLASH_SIZE.
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

/* Modes: a ROM of the config, the one that a pin chooses, one for a single boot; the others are flags of the config. */
#define MODE_STANDARD 0x00
#define MODE_GPIO_ROM RBOOT_MODE_GPIO_ROM
#define MODE_TEMP_ROM RBOOT_MODE_TEMP_ROM
#define MODE_GPIO_ERASES_SDKCONFIG RBOOT_MODE_GPIO_ERASES_SDK
#define MODE_GPIO_SKIP RBOOT_MODE_GPIO_SKIP

#define RBOOT_RTC_ADDR RBOOT_RTC_BLOCK /* in blocks of 4 bytes; RBOOT_RTC_MAGIC is rBoot's name too */

typedef struct {
    uint8 magic, version;
    uint8 mode;
    uint8 current_rom; /* boots next */
    uint8 gpio_rom;
    uint8 count;
    uint8 unused[2];
    uint32 roms[MAX_ROMS]; /* their flash addresses */
#ifdef BOOT_CONFIG_CHKSUM
    uint8 chksum;
#endif
} rboot_config;

/* Only a loader built with BOOT_RTC_ENABLED fills and heeds it. */
typedef struct {
    uint32 magic;
    uint8 next_mode; /* of the next boot: MODE_STANDARD or MODE_TEMP_ROM */
    uint8 last_mode; /* of this boot */
    uint8 last_rom;  /* that runs now */
    uint8 temp_rom;  /* for MODE_TEMP_ROM */
    uint8 chksum;
} rboot_rtc_data;

#endif
