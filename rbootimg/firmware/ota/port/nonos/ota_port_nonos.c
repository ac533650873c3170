/* The update client on Espressif's NONOS SDK. */
#include "ota_port.h"
#include "rboot.h"

/* In this order, as not each of them includes what it needs. */
#include "os_type.h"
#include "osapi.h"
#include "user_interface.h"
#include "espconn.h"
#include "spi_flash.h"

static struct espconn connection;
static esp_tcp tcp;
static os_timer_t timer, late_timer;
static bool in_use;       /* the connection's structures are the SDK's until it is closed */
static bool is_connected;
static bool is_abandoned; /* before it was connected, which the SDK still tries */

/* The network */

static void ICACHE_FLASH_ATTR on_received(void *arg, char *data, unsigned short size)
{
    (void)arg;
    ota_event_received((const uint8 *)data, size);
}

/* Whether anybody still waits for what has ended. */
static bool ICACHE_FLASH_ATTR end(void)
{
    os_timer_disarm(&late_timer); /* the next connection is not its */
    in_use = is_connected = false;
    return !is_abandoned;
}

static void ICACHE_FLASH_ATTR on_closed(void *arg)
{
    (void)arg;
    if (end()) {
        ota_event_closed();
    }
}

static void ICACHE_FLASH_ATTR disconnect(void *arg)
{
    if (espconn_disconnect(&connection) != ESPCONN_OK) {
        on_closed(arg); /* the SDK does not know it any more, and will not tell */
    }
}

static void ICACHE_FLASH_ATTR on_connected(void *arg)
{
    (void)arg;
    is_connected = true;
    if (is_abandoned) { /* the SDK forbids to disconnect in its callbacks */
        os_timer_setfn(&late_timer, (os_timer_func_t *)disconnect, NULL);
        os_timer_arm(&late_timer, 1, 0);
    } else {
        ota_event_connected();
    }
}

static void ICACHE_FLASH_ATTR on_failed(void *arg, sint8 error)
{
    (void)arg;
    (void)error;
    if (end()) {
        ota_event_failed();
    }
}

bool ICACHE_FLASH_ATTR ota_port_connect(const uint8 *ip, uint16 port)
{
    if (in_use) {
        return false;
    }
    os_memset(&connection, 0, sizeof connection);
    os_memset(&tcp, 0, sizeof tcp);
    connection.type = ESPCONN_TCP;
    connection.state = ESPCONN_NONE;
    connection.proto.tcp = &tcp;
    tcp.local_port = (int)espconn_port();
    tcp.remote_port = port;
    os_memcpy(tcp.remote_ip, ip, sizeof tcp.remote_ip);
    espconn_regist_connectcb(&connection, on_connected);
    espconn_regist_reconcb(&connection, on_failed);
    espconn_regist_disconcb(&connection, on_closed);
    espconn_regist_recvcb(&connection, on_received);
    is_abandoned = is_connected = false;
    in_use = espconn_connect(&connection) == ESPCONN_OK;
    return in_use;
}

bool ICACHE_FLASH_ATTR ota_port_send(const uint8 *data, uint16 size)
{
    return espconn_send(&connection, (uint8 *)data, size) == ESPCONN_OK;
}

void ICACHE_FLASH_ATTR ota_port_close(void)
{
    if (is_connected) {
        disconnect(NULL);
    } else {
        is_abandoned = true;
        ota_event_closed();
    }
}

/* The flash */

bool ICACHE_FLASH_ATTR ota_port_read(uint32 address, uint32 *to, uint32 size)
{
    return spi_flash_read(address, to, size) == SPI_FLASH_RESULT_OK;
}

bool ICACHE_FLASH_ATTR ota_port_write(uint32 address, const uint32 *from, uint32 size)
{
    return spi_flash_write(address, (uint32 *)from, size) == SPI_FLASH_RESULT_OK;
}

bool ICACHE_FLASH_ATTR ota_port_erase(uint32 sector)
{
    return spi_flash_erase_sector((uint16)sector) == SPI_FLASH_RESULT_OK;
}

/* RTC memory */

bool ICACHE_FLASH_ATTR ota_port_rtc_read(uint32 block, uint32 *to, uint32 words)
{
    return system_rtc_mem_read((uint8)block, to, (uint16)(4 * words));
}

bool ICACHE_FLASH_ATTR ota_port_rtc_write(uint32 block, const uint32 *from, uint32 words)
{
    return system_rtc_mem_write((uint8)block, from, (uint16)(4 * words));
}

/* The timer */

static void ICACHE_FLASH_ATTR on_timer(void *arg)
{
    (void)arg;
    ota_event_timer();
}

void ICACHE_FLASH_ATTR ota_port_timer(uint32 milliseconds)
{
    os_timer_disarm(&timer);
    if (milliseconds) {
        os_timer_setfn(&timer, (os_timer_func_t *)on_timer, NULL);
        os_timer_arm(&timer, milliseconds, 0);
    }
}
