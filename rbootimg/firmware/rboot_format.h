/* Constants of the data formats of rBoot and the ESP8266, shared by all C code of this project: the loader, the mask
 * ROM of the emulator, and the update client. The tests compare each one with the Python code.
 *
 * Applications include this file through rboot.h, so each name begins with RBOOT_ or ESP8266_. Multi-byte fields are
 * little-endian; "offset" is in bytes from the start of the structure.
 *
 * Sources: rBoot 1.4.2 (rboot.h, rboot.c); esptool 5.6 (bin_image.py, targets/esp8266.py); esptool2 2.0.0 (esptool2.c);
 * Espressif's NONOS SDK 2.0.0 to 3.0.6 (eagle_soc.h, eagle.app.v6.ld).
 */
#ifndef RBOOT_FORMAT_H
#define RBOOT_FORMAT_H

/* RAM that the sections of a ROM may use, start and end. After these ranges are the loader's stack, and the flash cache
 * with the loader's code. Source: the SDK, dram0_0_seg and iram1_0_seg. */
#define ESP8266_DRAM_START 0x3FFE8000
#define ESP8266_DRAM_END 0x3FFFC000
#define ESP8266_IRAM_START 0x40100000
#define ESP8266_IRAM_END 0x40108000

/* The address window in which the flash is mapped, one aligned megabyte at a time. Source: rBoot, readme.md. */
#define ESP8266_WINDOW_START 0x40200000
#define ESP8266_WINDOW_SIZE 0x100000

/* Sector size (the unit of an erase) and maximum size of the flash. Source: esptool, FLASH_SECTOR_SIZE, FLASH_SIZES. */
#define ESP8266_SECTOR_SIZE 0x1000
#define ESP8266_MAX_FLASH_SIZE 0x1000000

/* Bytes at the end of the flash for the SDK's RF calibration, PHY init data and parameters. Source: the SDK, version 2
 * or later. */
#define ESP8266_SDK_TAIL_SIZE 0x5000

/* Address of block 0 of RTC memory; a block has 4 bytes. Source: rBoot, rboot.c. */
#define ESP8266_RTC_USER 0x60001100

/* Registers with the levels of GPIO 0 to 15 (bit n) and of GPIO 16 (bit 0). Source: the SDK, GPIO_IN and
 * RTC_GPIO_IN_DATA. */
#define ESP8266_GPIO_IN 0x60000318
#define ESP8266_RTC_GPIO_IN 0x6000078C

/* Image: the format that the mask ROM boots, and the part of a ROM after irom. A header, then each section: a section
 * header and its data. Source: esptool, ESP_IMAGE_MAGIC and ESP8266ROMFirmwareImage. */
#define ESP8266_IMAGE_MAGIC 0xE9

typedef struct {
    unsigned char magic;
    unsigned char count; /* number of sections */
    unsigned char flash_mode;
    unsigned char flash_size_and_freq; /* size code in the high 4 bits, frequency code in the low 4 */
    unsigned int entry; /* address of the entry point */
} esp8266_image_header;

typedef struct {
    unsigned int address, length; /* load address; size of the data in bytes */
} esp8266_section_header;

/* Codes of flash modes, frequencies and sizes in the header, under esptool's names. Source: esptool, FLASH_MODES,
 * FLASH_FREQUENCY and FLASH_SIZES. */
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

/* Checksum: the XOR of the seed and all section data. It is the last byte of the image, which is padded to a
 * multiple of RBOOT_ALIGNMENT bytes; irom is padded likewise. rBoot's config and RTC data use the same seed. Source:
 * esptool, ESP_CHECKSUM_MAGIC and align_file_position(); rBoot, CHKSUM_INIT. */
#define RBOOT_CHECKSUM_SEED 0xEF
#define RBOOT_ALIGNMENT 16

/* Maximum number of sections in an image. Source: esptool, verify(). */
#define RBOOT_MAX_SECTIONS 16

/* ROM: a header with this magic and count, a section header with the length of irom, irom, and an image. Source: rBoot,
 * check_image(); esptool2, -boot2. */
#define RBOOT_ROM_MAGIC 0xEA
#define RBOOT_ROM_COUNT 0x04
#define RBOOT_IROM_OFFSET 0x10 /* offset in the ROM */

/* Flash size in bytes that rBoot assumes for an unknown size code. Source: rBoot, find_image(). */
#define RBOOT_UNKNOWN_FLASH_SIZE 0x80000

/* Boot config: rboot_config in rboot.h. Slots start after its sector. Source: rBoot, rboot.h. */
#define RBOOT_CONFIG_SECTOR 1
#define RBOOT_CONFIG_ADDRESS (RBOOT_CONFIG_SECTOR * ESP8266_SECTOR_SIZE)
#define RBOOT_FIRST_SLOT (RBOOT_CONFIG_ADDRESS + ESP8266_SECTOR_SIZE)
#define RBOOT_CONFIG_MAGIC 0xE1
#define RBOOT_CONFIG_VERSION 0x01
#define RBOOT_CONFIG_CURRENT_ROM 3 /* offset */
#define RBOOT_CONFIG_COUNT 5       /* offset */
#define RBOOT_CONFIG_ROMS 8        /* offset */
#define RBOOT_DEFAULT_MAX_ROMS 4

/* Mode bits in the config and in RTC memory; 0 is a standard boot. Source: rBoot, rboot.h, MODE_... */
#define RBOOT_MODE_GPIO_ROM 0x01
#define RBOOT_MODE_TEMP_ROM 0x02
#define RBOOT_MODE_GPIO_ERASES_SDK 0x04
#define RBOOT_MODE_GPIO_SKIP 0x08

/* Data shared by rBoot and applications in RTC memory: rboot_rtc_data in rboot.h. Source: rBoot, rboot.h. */
#define RBOOT_RTC_BLOCK 64 /* RBOOT_RTC_ADDR in rBoot */
#define RBOOT_RTC_START (ESP8266_RTC_USER + 4 * RBOOT_RTC_BLOCK)
#define RBOOT_RTC_MAGIC 0x2334AE68
#define RBOOT_RTC_LAST_ROM 6 /* offset */
#define RBOOT_RTC_CHECKSUM 8 /* offset; also the number of bytes in the sum */

#endif
