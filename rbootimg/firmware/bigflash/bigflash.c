/* Cache_Read_Enable_New for an application on the NONOS SDK in a slot above the first megabyte.
 *
 * The SDK calls it after each access to the flash. Its own maps one of the first two megabytes, whatever the boot
 * loader had mapped; this one maps that of the ROM which rBoot started. It must be in IRAM: it runs while the flash is
 * not mapped. RbootApp compiles it, and links it with a copy of libmain.a in which the SDK's is weak. It is weak
 * itself, so that an application can have one of its own.
 *
 * Option, by rBoot's name: BOOT_RTC_ENABLED. MAX_ROMS is not needed: a ROM's address is read where the boot loader
 * read it, whose config may have more ROMs than it was built for.
 */
#include <stdint.h>

#include "../rboot_format.h"

extern int SPIRead(uint32_t address, void *to, uint32_t size);
extern void Cache_Read_Enable(uint32_t odd, uint32_t pair, uint32_t is_large);

/* SDK 3: whether the application has the second half of the cache as its IRAM. Older ones do not have it. */
extern uint8_t user_iram_memory_is_enabled(void) __attribute__((weak));

#define RTC_WORD(number) (*(volatile uint32_t *)(RBOOT_RTC_START + 4 * (number)))
#define BYTE(word, offset) ((word) >> (offset) % 4 * 8 & 0xFF) /* in the word that has it */
#define MEGABYTES (ESP8266_MAX_FLASH_SIZE / ESP8266_WINDOW_SIZE)

#define NOT_READ 0xFF

/* Set at load time, not in .bss: the SDK's start-up code comes here before it clears that. */
static uint8_t odd = NOT_READ, pair = NOT_READ;

/* The number of the megabyte with the running ROM, or MEGABYTES if the config does not tell. */
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
        rom = BYTE(RTC_WORD(1), RBOOT_RTC_LAST_ROM); /* which may be a trial that the config knows nothing of */
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
    uint32_t is_large = !user_iram_memory_is_enabled || user_iram_memory_is_enabled() != 1;

    if (odd == NOT_READ) {
        uint32_t megabyte = find_megabyte();
        if (megabyte == MEGABYTES) { /* as the SDK would; the next call looks again */
            Cache_Read_Enable(0, 0, is_large);
            return;
        }
        pair = megabyte / 2;
        odd = megabyte % 2;
    }
    Cache_Read_Enable(odd, pair, is_large);
}
