/* Cache_Read_Enable_New for an application on the NONOS SDK in a slot above the first megabyte.
 *
 * The SDK calls this function after each access to the flash. The SDK's version maps one of the first two megabytes,
 * whatever the boot loader had mapped; this version maps the megabyte of the running ROM. It must be in IRAM, as it
 * runs while the flash is not mapped. RbootApp compiles it, and links it with a copy of libmain.a in which the SDK's
 * symbol is weak. This symbol is weak too, so that an application can define its own.
 *
 * Option, under rBoot's name: BOOT_RTC_ENABLED. MAX_ROMS is not needed: the address of the ROM is read from the offset
 * that the boot loader uses, even if the config has more than MAX_ROMS ROMs.
 */
#include <stdint.h>

#include "../rboot_format.h"

extern int SPIRead(uint32_t address, void *to, uint32_t size);
extern void Cache_Read_Enable(uint32_t odd_megabyte, uint32_t megabyte_pair, uint32_t is_large_cache);

/* SDK 3 only: 1 if the application uses the second half of the cache as IRAM. */
extern uint8_t user_iram_memory_is_enabled(void) __attribute__((weak));

#define RTC_WORD(number) (*(volatile uint32_t *)(RBOOT_RTC_START + 4 * (number)))
#define BYTE(word, offset) ((word) >> (offset) % 4 * 8 & 0xFF) /* `word`: the one that contains the byte */
#define MEGABYTES (ESP8266_MAX_FLASH_SIZE / ESP8266_WINDOW_SIZE)

#define UNKNOWN 0xFF

/* In .data, not .bss: the SDK's start-up code calls this before it clears .bss. */
static uint8_t odd_megabyte = UNKNOWN, megabyte_pair = UNKNOWN;

/* Return the number of the megabyte with the running ROM; MEGABYTES if the config is invalid. */
static uint32_t find_megabyte(void)
{
    uint32_t words[2], address;

    if (SPIRead(RBOOT_CONFIG_ADDRESS, words, sizeof words) ||
        (words[0] & 0xFFFF) != (RBOOT_CONFIG_VERSION << 8 | RBOOT_CONFIG_MAGIC)) {
        return MEGABYTES;
    }
    uint32_t rom = BYTE(words[0], RBOOT_CONFIG_CURRENT_ROM), count = BYTE(words[1], RBOOT_CONFIG_COUNT);
#ifdef BOOT_RTC_ENABLED
    if (RTC_WORD(0) == RBOOT_RTC_MAGIC) {
        rom = BYTE(RTC_WORD(1), RBOOT_RTC_LAST_ROM); /* may be a temp ROM, which is not the config's current one */
    }
#endif
    if (rom >= count || SPIRead(RBOOT_CONFIG_ADDRESS + RBOOT_CONFIG_ROMS + 4 * rom, &address, sizeof address)) {
        return MEGABYTES;
    }
    address /= ESP8266_WINDOW_SIZE;
    return address < MEGABYTES ? address : MEGABYTES;
}

__attribute__((weak)) void Cache_Read_Enable_New(void)
{
    uint32_t is_large_cache = !user_iram_memory_is_enabled || user_iram_memory_is_enabled() != 1;

    if (odd_megabyte == UNKNOWN) {
        uint32_t megabyte = find_megabyte();
        if (megabyte == MEGABYTES) { /* map the first one, as the SDK does; the next call tries again */
            Cache_Read_Enable(0, 0, is_large_cache);
            return;
        }
        megabyte_pair = megabyte / 2;
        odd_megabyte = megabyte % 2;
    }
    Cache_Read_Enable(odd_megabyte, megabyte_pair, is_large_cache);
}
