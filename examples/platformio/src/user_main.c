/* An application for the NONOS SDK, 2.0 or later: as soon as it has an address in the network, it asks SERVER for a newer
 * version and updates itself. The SDK remembers the Wi-Fi network that was set once by wifi_station_set_config. */
#include "c_types.h"
#include "ets_sys.h"
#include "osapi.h"
#include "os_type.h"
#include "user_interface.h"

#include "rboot-ota.h" /* the update client: PlatformIO compiles it, as this includes its header */
#include "rboot-version.h"

#define SERVER {192, 168, 1, 10}
#define PORT 8080
#define REQUEST(file) "GET /" file " HTTP/1.0\r\nHost: roms.example.org\r\nUser-Agent: hello/" RBOOT_VERSION "\r\n\r\n"

#ifdef SDK_PARTITIONS /* SDK 3 */
#include "rboot-partitions.h"

void ICACHE_FLASH_ATTR user_pre_init(void)
{
    if (!system_partition_table_regist(rboot_partitions, RBOOT_PARTITION_COUNT, RBOOT_FLASH_MAP)) {
        os_printf("the SDK rejected the partition table\r\n");
    }
}
#endif

uint32 ICACHE_FLASH_ATTR user_rf_cal_sector_set(void)
{
    return RBOOT_FLASH_SIZE / 0x1000 - 5;
}

static void ICACHE_FLASH_ATTR print_reason(void)
{
    os_printf("no update: reason %d\r\n", rboot_ota_get_reason());
}

/* The new ROM is in its slot and verified. */
static void ICACHE_FLASH_ATTR on_update_end(void *arg, bool result)
{
    rboot_ota *ota = arg;

    if (result && rboot_ota_switch(ota->rom_slot)) {
        system_restart();
    } else {
        print_reason();
    }
}

static void ICACHE_FLASH_ATTR update(void)
{
    static rboot_ota ota = {.ip = SERVER, .port = PORT, .callback = on_update_end};
    static char request0[] = REQUEST("rom0.bin"), request1[] = REQUEST("rom1.bin");

    ota.rom_slot = rboot_ota_running_rom() == 0 ? 1 : 0;
    ota.request = (uint8 *)(ota.rom_slot ? request1 : request0);
    if (!rboot_ota_start(&ota)) {
        print_reason();
    }
}

static void ICACHE_FLASH_ATTR on_version(rboot_version_check *check, rboot_version_order order)
{
    if (order == RBOOT_UNKNOWN) {
        print_reason();
        return;
    }
    rboot_ota_confirm(); /* this ROM reaches the server, so it can be replaced */
    if (order == RBOOT_NEWER) {
        os_printf("updating to %s\r\n", check->server_version);
        update();
    }
}

static void ICACHE_FLASH_ATTR on_wifi_event(System_Event_t *event)
{
    static char request[] = REQUEST("version");
    static rboot_version_check check = {
        .ip = SERVER,
        .port = PORT,
        .request = (uint8 *)request,
        .own_version = RBOOT_VERSION,
        .callback = on_version,
    };

    if (event->event == EVENT_STAMODE_GOT_IP && !rboot_ota_check_version(&check)) {
        print_reason();
    }
}

void ICACHE_FLASH_ATTR user_init(void)
{
    os_printf("\r\nhello %s, ROM %d\r\n", RBOOT_VERSION, rboot_ota_running_rom());
    wifi_set_opmode_current(STATION_MODE);
    wifi_set_event_handler_cb(on_wifi_event);
}
