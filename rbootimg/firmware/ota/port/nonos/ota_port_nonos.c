/* Port of the update client for Espressif's NONOS SDK. */
#include "ota_port.h"
#include "rboot.h"

/* The order matters: some of these headers do not include the ones that they need. */
#include "os_type.h"
#include "osapi.h"
#include "user_interface.h"
#include "espconn.h"
#include "spi_flash.h"

#define DISCONNECT_DELAY 1  /* ms; the SDK forbids espconn_disconnect in its callbacks, so a timer calls it */
#define CLOSE_TIMEOUT 30000 /* ms to wait for the SDK's callback after a disconnect, and again after an abort */

/* Two connections, used alternately: late callbacks for the previous one do not affect the next. */
static struct link {
    struct espconn connection;
    esp_tcp tcp;
    os_timer_t timer;
    bool in_use; /* the SDK may still access the structures */
    bool is_connected;
} links[2], *current_link;

static os_timer_t timer;

/* Network */

static struct link *ICACHE_FLASH_ATTR find_link(const void *arg)
{
    struct link *link = arg == &links[0].connection ? &links[0] : &links[1];
    return arg == &link->connection && link->in_use ? link : NULL; /* else the callback is a duplicate, or late */
}

static void ICACHE_FLASH_ATTR set_timer(struct link *link, os_timer_func_t *function, uint32 milliseconds)
{
    os_timer_disarm(&link->timer);
    os_timer_setfn(&link->timer, function, link);
    os_timer_arm(&link->timer, milliseconds, 0);
}

/* Mark the link as unused; true if the client is waiting for it. */
static bool ICACHE_FLASH_ATTR release_link(struct link *link)
{
    bool is_current = link == current_link;
    os_timer_disarm(&link->timer);
    link->in_use = link->is_connected = false;
    if (is_current) {
        current_link = NULL;
    }
    return is_current;
}

static void ICACHE_FLASH_ATTR on_abort_timeout(void *arg)
{
    release_link(arg);
}

/* After an abort the SDK still uses the structures, until its task calls back. A connection that is already closing is
 * not aborted (ESPCONN_INPROGRESS). */
static void ICACHE_FLASH_ATTR abort_link(void *arg)
{
    struct link *link = arg;
    set_timer(link, on_abort_timeout, CLOSE_TIMEOUT);
    if (espconn_abort(&link->connection) == ESPCONN_ARG) {
        release_link(link); /* unknown to the SDK: no callback will come */
    }
}

static void ICACHE_FLASH_ATTR disconnect_link(void *arg)
{
    struct link *link = arg;
    set_timer(link, abort_link, CLOSE_TIMEOUT);
    if (link->is_connected && espconn_disconnect(&link->connection) == ESPCONN_ARG) {
        release_link(link); /* as above; after any other result the SDK still has it */
    }
}

static void ICACHE_FLASH_ATTR on_connected(void *arg)
{
    struct link *link = find_link(arg);
    if (!link || link->is_connected) {
        return;
    }
    link->is_connected = true;
    if (link == current_link) {
        ota_event_connected();
    } else { /* the client has given it up while the SDK was connecting */
        set_timer(link, disconnect_link, DISCONNECT_DELAY);
    }
}

static void ICACHE_FLASH_ATTR on_received(void *arg, char *data, unsigned short size)
{
    struct link *link = find_link(arg);
    if (link && link == current_link) {
        ota_event_received((const uint8 *)data, size);
    }
}

static void ICACHE_FLASH_ATTR on_closed(void *arg)
{
    struct link *link = find_link(arg);
    if (link && release_link(link)) {
        ota_event_closed();
    }
}

static void ICACHE_FLASH_ATTR on_failed(void *arg, sint8 error)
{
    struct link *link = find_link(arg);
    (void)error;
    if (link && release_link(link)) {
        ota_event_failed();
    }
}

bool ICACHE_FLASH_ATTR ota_port_connect(const uint8 *ip, uint16 port)
{
    static bool uses_second;
    struct link *link = uses_second ? &links[1] : links, *other = uses_second ? links : &links[1];
    sint8 result;
    if (link->in_use) {
        return false;
    }
    os_memset(&link->connection, 0, sizeof link->connection);
    os_memset(&link->tcp, 0, sizeof link->tcp);
    link->connection.type = ESPCONN_TCP;
    link->connection.state = ESPCONN_NONE;
    link->connection.proto.tcp = &link->tcp;
    link->tcp.local_port = (int)espconn_port();
    link->tcp.remote_port = port;
    os_memcpy(link->tcp.remote_ip, ip, sizeof link->tcp.remote_ip);
    espconn_regist_connectcb(&link->connection, on_connected);
    espconn_regist_reconcb(&link->connection, on_failed);
    espconn_regist_disconcb(&link->connection, on_closed);
    espconn_regist_recvcb(&link->connection, on_received);
    link->is_connected = false;
    link->in_use = true;
    result = espconn_connect(&link->connection);
    current_link = result == ESPCONN_OK ? link : NULL;
    if (result == ESPCONN_MEM) { /* no memory for the SYN: the SDK keeps the connection, without a callback */
        link->is_connected = true; /* so that disconnect_link ends it */
        set_timer(link, disconnect_link, DISCONNECT_DELAY);
    } else if (result != ESPCONN_OK) {
        link->in_use = false;
    }
    if (link->in_use || !other->in_use) { /* after an error too: ESPCONN_ISCONN may concern this link only */
        uses_second = !uses_second;
    }
    return result == ESPCONN_OK;
}

bool ICACHE_FLASH_ATTR ota_port_send(const uint8 *data, uint16 size)
{
    return current_link && espconn_send(&current_link->connection, (uint8 *)data, size) == ESPCONN_OK;
}

/* The client continues immediately; a timer disconnects. */
void ICACHE_FLASH_ATTR ota_port_close(void)
{
    if (current_link) {
        set_timer(current_link, disconnect_link, DISCONNECT_DELAY);
        current_link = NULL;
    }
    ota_event_closed();
}

/* Flash */

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

/* Timer */

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
