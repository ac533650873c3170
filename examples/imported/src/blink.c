/* Toggles GPIO 2, where most modules have a LED, for ever. */
#include <stdint.h>

#define FLASH __attribute__((section(".irom0.text"), noinline))

/* The mask ROM's; the linker script has their addresses. */
extern void ets_delay_us(uint32_t microseconds);
extern void Cache_Read_Enable(uint32_t odd_megabyte, uint32_t megabyte_pair, uint32_t is_large_cache);

/* ESP8266 technical reference, "GPIO registers". */
#define GPIO_OUT_SET (*(volatile uint32_t *)0x60000304)
#define GPIO_OUT_CLEAR (*(volatile uint32_t *)0x60000308)
#define GPIO_ENABLE_SET (*(volatile uint32_t *)0x60000310)
#define LED (1u << 2)

FLASH static void blink(void)
{
    GPIO_ENABLE_SET = LED;
    for (;;) {
        GPIO_OUT_SET = LED;
        ets_delay_us(500000);
        GPIO_OUT_CLEAR = LED;
        ets_delay_us(500000);
    }
}

void call_user_start(void)
{
    Cache_Read_Enable(0, 0, 1); /* both slots are in the first megabyte */
    blink();
}
