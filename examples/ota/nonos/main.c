/* On Espressif's NONOS SDK, 2.1 or later: Wi-Fi, and the UART looked at every 10 ms. */
#include "c_types.h"
#include "ets_sys.h"
#include "osapi.h"
#include "os_type.h"
#include "user_interface.h"
#include "version.h"

#include "app.h"

/* UART 0 (ESP8266 Technical Reference, chapter 11): what was received, and how many bytes of it wait. */
#define UART_FIFO (*(volatile uint32 *)0x60000000)
#define UART_STATUS (*(volatile uint32 *)0x6000001C)
#define WAITING (UART_STATUS & 0xFF)
#define POLL_MS 10

static os_timer_t key_timer;

void ICACHE_FLASH_ATTR machine_restart(void)
{
    system_restart();
}

static void ICACHE_FLASH_ATTR read_keys(void *arg)
{
    (void)arg;
    while (WAITING) {
        app_key((char)UART_FIFO);
    }
}

static void ICACHE_FLASH_ATTR at_ready(void)
{
    app_start();
    os_timer_setfn(&key_timer, (os_timer_func_t *)read_keys, NULL);
    os_timer_arm(&key_timer, POLL_MS, 1);
}

#if ESP_SDK_VERSION_MAJOR >= 3
#include "partitions.h" /* from board.toml */

void ICACHE_FLASH_ATTR user_pre_init(void)
{
    if (!system_partition_table_regist(rboot_partitions, RBOOT_PARTITION_COUNT, RBOOT_FLASH_MAP)) {
        os_printf("the partition table does not suit the SDK\r\n");
    }
}
#endif

uint32 ICACHE_FLASH_ATTR user_rf_cal_sector_set(void)
{
    return RF_CAL_SECTOR;
}

static void ICACHE_FLASH_ATTR copy(uint8 *to, const char *from) /* at most 32 and 64 characters, as app.c sees to */
{
    while (*from) {
        *to++ = (uint8)*from++;
    }
}

/* The SDK keeps name and password in its own sectors of the flash: they are in no ROM. */
bool ICACHE_FLASH_ATTR machine_set_wifi(const char *ssid, const char *password)
{
    struct station_config station;
    os_memset(&station, 0, sizeof station);
    copy(station.ssid, ssid);
    copy(station.password, password);
    wifi_station_disconnect();
    return wifi_station_set_config(&station) && wifi_station_connect();
}

bool ICACHE_FLASH_ATTR machine_get_wifi(char ssid[SSID_SIZE])
{
    struct station_config station;
    if (!wifi_station_get_config_default(&station) || !station.ssid[0]) {
        return false;
    }
    os_memcpy(ssid, station.ssid, SSID_SIZE - 1);
    ssid[SSID_SIZE - 1] = 0;
    return true;
}

void ICACHE_FLASH_ATTR user_init(void)
{
    wifi_set_opmode_current(STATION_MODE);
    system_init_done_cb(at_ready);
}
