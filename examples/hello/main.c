/* A bare-metal application: it prints the slot and the address that it runs from.

   call_user_start and all other code that runs before the flash is mapped must be in IRAM, which is the default.
   Code marked FLASH runs directly from the flash. */
#include <stdint.h>

#define FLASH __attribute__((section(".irom0.text"), noinline))
#define FLASH_WORDS __attribute__((section(".irom.text"), aligned(4)))

/* In the mask ROM; the linker script has the addresses. */
extern int ets_printf(const char *format, ...);
extern uint32_t SPIRead(uint32_t address, void *buffer, uint32_t length);
extern void Cache_Read_Enable(uint32_t odd_megabyte, uint32_t megabyte_pair, uint32_t is_large_cache);

/* Defined by the linker script. */
extern uint32_t _bss_start[], _bss_end[];
extern const char _irom0_text_start[];

enum {
    FLASH_WINDOW = 0x40200000,
    MEGABYTE = 0x100000,
    ROM_HEADERS = 0x10, /* between the start of a ROM and its flash code */
    CONFIG_ADDRESS = 0x1000,
    CONFIG_MAGIC = 0xE1,
    MAX_ROMS = 4,
};

struct rboot_config {
    uint8_t magic, version, mode, current_rom, gpio_rom, count, unused[2];
    uint32_t roms[MAX_ROMS];
};

static struct rboot_config config;              /* .bss */
static uint32_t greeted = 0x2A;                 /* .data */
static const char greeting[] = "hello";         /* .rodata */
static const volatile uint32_t primes[] FLASH_WORDS = {2, 3, 5, 7, 11, 13, 17, 19}; /* in the flash */

/* Return the slot that this ROM runs from: the current one, or, if this code is linked for another
   address, the first slot with that address. -1 without a config. */
static int running_slot(void)
{
    uint32_t offset = (uint32_t)_irom0_text_start - FLASH_WINDOW - ROM_HEADERS;

    SPIRead(CONFIG_ADDRESS, &config, sizeof config);
    if (config.magic != CONFIG_MAGIC || config.count > MAX_ROMS)
        return -1;
    if (config.current_rom < config.count && config.roms[config.current_rom] % MEGABYTE == offset)
        return config.current_rom;
    for (int slot = 0; slot < config.count; slot++)
        if (config.roms[slot] % MEGABYTE == offset)
            return slot;
    return -1;
}

FLASH static uint32_t sum_of_primes(void)
{
    uint32_t sum = 0;

    for (unsigned i = 0; i < sizeof primes / sizeof *primes; i++)
        sum += primes[i];
    return sum;
}

FLASH static void greet(int slot)
{
    greeted++;
    ets_printf("%s from slot %d: flash address 0x%x, linked at 0x%x\r\n", greeting, slot,
               slot < 0 ? 0 : config.roms[slot], (uint32_t)_irom0_text_start);
    ets_printf("%s: data %d, flash words %d\r\n", greeting, greeted, sum_of_primes());
}

void call_user_start(void)
{
    for (uint32_t *word = _bss_start; word < _bss_end; word++)
        *word = 0;

    int slot = running_slot();
    uint32_t megabyte = slot < 0 ? 0 : config.roms[slot] / MEGABYTE;
    Cache_Read_Enable(megabyte % 2, megabyte / 2, 1);
    greet(slot);

    for (;;)
        ;
}
