/* Platform for Espressif's NONOS SDK, 2.0 or later: Wi-Fi, and a UART polled every 10 ms. */
#include "c_types.h"
#include "ets_sys.h"
#include "osapi.h"
#include "os_type.h"
#include "user_interface.h"

#include "app.h"

/* UART 0: receive FIFO, and number of bytes in it. Source: ESP8266 Technical Reference, chapter 11. */
#define UART_FIFO (*(volatile uint32 *)0x60000000)
#define UART_STATUS (*(volatile uint32 *)0x6000001C)
#define UART_FIFO_COUNT (UART_STATUS & 0xFF)
#define POLL_MS 10

static os_timer_t key_timer;

void ICACHE_FLASH_ATTR machine_restart(void)
{
    system_restart();
}

/* The number of the chip, in hexadecimal. */
const char *ICACHE_FLASH_ATTR machine_get_id(void)
{
    static char id[9];
    uint32 number = system_get_chip_id(), i;
    for (i = 0; i < 8; i++) {
        uint32 digit = number >> (28 - 4 * i) & 15;
        id[i] = digit < 10 ? '0' + digit : 'a' + digit - 10;
    }
    return id;
}

static void ICACHE_FLASH_ATTR read_keys(void *arg)
{
    (void)arg;
    while (UART_FIFO_COUNT) {
        app_key((char)UART_FIFO);
    }
}

static void ICACHE_FLASH_ATTR on_ready(void)
{
    app_start();
    os_timer_setfn(&key_timer, (os_timer_func_t *)read_keys, NULL);
    os_timer_arm(&key_timer, POLL_MS, 1);
}

#ifdef SDK_PARTITIONS /* defined by SConstruct for an SDK with a partition table */
#include "partitions.h" /* generated from board.toml */

void ICACHE_FLASH_ATTR user_pre_init(void)
{
    if (!system_partition_table_regist(rboot_partitions, RBOOT_PARTITION_COUNT, RBOOT_FLASH_MAP)) {
        os_printf("the SDK rejected the partition table\r\n");
    }
}
#endif

uint32 ICACHE_FLASH_ATTR user_rf_cal_sector_set(void)
{
    return RF_CAL_SECTOR;
}

static void ICACHE_FLASH_ATTR copy(uint8 *to, const char *from) /* app.c limits the lengths to 32 and 64 */
{
    while (*from) {
        *to++ = (uint8)*from++;
    }
}

/* The SDK stores name and password in its own sectors of the flash, so they are not in a ROM. */
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
    system_init_done_cb(on_ready);
}
