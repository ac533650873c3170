/* The constants of the formats of rBoot and of the ESP8266, once for all C code here: the loader, the emulator's mask
 * ROM, the update client. tests/firmware/test_c_format.py compares each with the Python side.
 *
 * Applications see these names through rboot.h, so each begins with RBOOT_ or ESP8266_. Multi-byte fields are
 * little-endian; "offset" is in bytes from the start of the structure.
 *
 * Sources: rBoot 1.4.2 (rboot.h, rboot.c); esptool 5.6 (bin_image.py, targets/esp8266.py); esptool2 2.0.0
 * (esptool2.c); Espressif's NONOS SDK 2.0.0 to 3.0.6 (eagle_soc.h, eagle.app.v6.ld).
 */
#ifndef RBOOT_FORMAT_H
#define RBOOT_FORMAT_H

/* The memory that a ROM's sections may use: after it are the loader, its stack, and the flash's cache. Source: the SDK,
 * dram0_0_seg and iram1_0_seg. */
#define ESP8266_DRAM_START 0x3FFE8000
#define ESP8266_DRAM_END 0x3FFFC000
#define ESP8266_IRAM_START 0x40100000
#define ESP8266_IRAM_END 0x40108000

/* Where the CPU sees the flash: one aligned megabyte at a time. Source: rBoot, readme.md. */
#define ESP8266_WINDOW_START 0x40200000
#define ESP8266_WINDOW_SIZE 0x100000

/* The flash: erased by sectors. Source: esptool, FLASH_SECTOR_SIZE, and the largest of FLASH_SIZES. */
#define ESP8266_SECTOR_SIZE 0x1000
#define ESP8266_MAX_FLASH_SIZE 0x1000000

/* The end of the flash, where the SDK keeps RF calibration, PHY init data and its parameters. Source: the SDK, from
 * version 2 on. */
#define ESP8266_SDK_TAIL_SIZE 0x5000

/* Where blocks of 4 bytes of RTC memory are counted from. Source: rBoot, rboot.c. */
#define ESP8266_RTC_USER 0x60001100

/* The levels of the pins: bit n of pin n, bit 0 of pin 16. Source: the SDK, GPIO_IN and RTC_GPIO_IN_DATA. */
#define ESP8266_GPIO_IN 0x60000318
#define ESP8266_RTC_GPIO_IN 0x6000078C

/* An image that the mask ROM boots, which is also the second part of a ROM: a header, then for each section its own
 * header and so many bytes. Source: esptool, ESP_IMAGE_MAGIC and ESP8266ROMFirmwareImage. */
#define ESP8266_IMAGE_MAGIC 0xE9

typedef struct {
    unsigned char magic;
    unsigned char count; /* of sections */
    unsigned char flash_mode;
    unsigned char flash_size_and_freq; /* the size's code in the high half */
    unsigned int entry;
} esp8266_image_header;

typedef struct {
    unsigned int address, length;
} esp8266_section_header;

/* Flash modes, frequencies and sizes in that header. Source: esptool, FLASH_MODES, FLASH_FREQUENCY and
 * FLASH_SIZES, whose names these are. */
#define ESP8266_FLASH_QIO 0
#define ESP8266_FLASH_QOUT 1
#define ESP8266_FLASH_DIO 2
#define ESP8266_FLASH_DOUT 3
#define ESP8266_FLASH_40M 0
#define ESP8266_FLASH_26M 1
#define ESP8266_FLASH_20M 2
#define ESP8266_FLASH_80M 15
#define ESP8266_FLASH_512KB 0
#define ESP8266_FLASH_256KB 1
#define ESP8266_FLASH_1MB 2
#define ESP8266_FLASH_2MB 3
#define ESP8266_FLASH_4MB 4
#define ESP8266_FLASH_2MB_C1 5
#define ESP8266_FLASH_4MB_C1 6
#define ESP8266_FLASH_8MB 8
#define ESP8266_FLASH_16MB 9

/* The checksum: the XOR of the seed and of the sections' bytes, in the last byte of an aligned block of this size, to
 * which irom is padded too. Source: esptool, ESP_CHECKSUM_MAGIC and align_file_position(); rBoot, CHKSUM_INIT, whose
 * config and RTC data have the same seed. */
#define RBOOT_CHECKSUM_SEED 0xEF
#define RBOOT_ALIGNMENT 16

/* The most sections of an image. Source: esptool, verify(). */
#define RBOOT_MAX_SECTIONS 16

/* A ROM: a header with this magic and this count, a section header with the length of irom, irom, an image. Source:
 * rBoot, check_image(); esptool2, -boot2. */
#define RBOOT_ROM_MAGIC 0xEA
#define RBOOT_ROM_COUNT 0x04
#define RBOOT_IROM_OFFSET 0x10 /* from the start of the ROM */

/* The bytes of a flash whose size code rBoot does not know. Source: rBoot, find_image(). */
#define RBOOT_UNKNOWN_FLASH_SIZE 0x80000

/* The boot config: rboot_config in rboot.h. Slots come after its sector. Source: rBoot, rboot.h. */
#define RBOOT_CONFIG_SECTOR 1
#define RBOOT_CONFIG_ADDRESS (RBOOT_CONFIG_SECTOR * ESP8266_SECTOR_SIZE)
#define RBOOT_FIRST_SLOT (RBOOT_CONFIG_ADDRESS + ESP8266_SECTOR_SIZE)
#define RBOOT_CONFIG_MAGIC 0xE1
#define RBOOT_CONFIG_VERSION 0x01
#define RBOOT_CONFIG_CURRENT_ROM 3 /* offset */
#define RBOOT_CONFIG_COUNT 5       /* offset */
#define RBOOT_CONFIG_ROMS 8        /* offset */
#define RBOOT_DEFAULT_MAX_ROMS 4

/* Bits of the modes in the config and in RTC memory; 0 is a standard boot. Source: rBoot, rboot.h, MODE_... */
#define RBOOT_MODE_GPIO_ROM 0x01
#define RBOOT_MODE_TEMP_ROM 0x02
#define RBOOT_MODE_GPIO_ERASES_SDK 0x04
#define RBOOT_MODE_GPIO_SKIP 0x08

/* What rBoot and applications tell each other in RTC memory: rboot_rtc_data in rboot.h. Source: rBoot, rboot.h. */
#define RBOOT_RTC_BLOCK 64 /* rBoot's RBOOT_RTC_ADDR */
#define RBOOT_RTC_START (ESP8266_RTC_USER + 4 * RBOOT_RTC_BLOCK)
#define RBOOT_RTC_MAGIC 0x2334AE68
#define RBOOT_RTC_LAST_ROM 6 /* offset */
#define RBOOT_RTC_CHECKSUM 8 /* offset, and how many bytes it sums */

#endif
