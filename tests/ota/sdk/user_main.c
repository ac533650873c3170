/* What an application on the SDK does by rBoot's OTA tutorial: it must compile as it is. */
#include "c_types.h"
#include "osapi.h"
#include "rboot.h"
#include "rboot-ota.h"

static uint8 request[] = "GET /rom1.bin HTTP/1.1\r\nHost: 192.168.7.5\r\n\r\n";
static rboot_ota update;

static void ICACHE_FLASH_ATTR at_end(void *arg, bool result)
{
    rboot_ota *ota = (rboot_ota *)arg;
    if (result == true) {
        rboot_set_current_rom(ota->rom_slot);
    }
}

void ICACHE_FLASH_ATTR user_init(void)
{
    static const uint8 ip[] = {192, 168, 7, 5};
    rboot_config config = rboot_get_config();
    rboot_write_status status = rboot_write_init(config.roms[1]);
    rboot_rtc_data rtc;
    uint8 value;
    os_memcpy(update.ip, ip, 4);
    update.port = 80;
    update.request = request;
    update.rom_slot = rboot_get_current_rom() == 0 ? 1 : 0;
    update.callback = (ota_callback)at_end;
    rboot_ota_start(&update);
    rboot_write_flash(&status, request, sizeof request);
    rboot_write_end(&status);
    config.mode = MODE_STANDARD;
    rboot_set_config(&config);
    if (rboot_get_rtc_data(&rtc) && rboot_get_last_boot_rom(&value) && rboot_get_last_boot_mode(&value)) {
        rtc.next_mode = MODE_TEMP_ROM;
        rboot_set_rtc_data(&rtc);
        rboot_set_temp_rom(1);
    }
}
