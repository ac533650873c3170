/* Platform without an SDK: uses the mask ROM and the emulator's network. All code but call_user_start is in the flash. */
#include <stdint.h>

#include "app.h"
#include "ota_port_emulator.h"

/* In the mask ROM, and in the linker script. */
extern int uart_rx_one_char(uint8_t *character);
extern void software_reset(void);
extern uint32_t _bss_start[], _bss_end[];

void ICACHE_FLASH_ATTR machine_restart(void)
{
    software_reset();
}

const char *ICACHE_FLASH_ATTR machine_get_id(void)
{
    return "emulator";
}

bool ICACHE_FLASH_ATTR machine_set_wifi(const char *ssid, const char *password)
{
    (void)ssid;
    (void)password;
    return false;
}

bool ICACHE_FLASH_ATTR machine_get_wifi(char ssid[SSID_SIZE])
{
    (void)ssid;
    return false;
}

static void ICACHE_FLASH_ATTR run(void)
{
    uint8_t character;
    app_start();
    for (;;) {
        ota_port_poll();
        if (uart_rx_one_char(&character) == 0) {
            app_key((char)character);
        }
    }
}

void call_user_start(void)
{
    for (uint32_t *word = _bss_start; word < _bss_end; word++) {
        *word = 0;
    }
    ota_port_map_flash();
    run();
}
