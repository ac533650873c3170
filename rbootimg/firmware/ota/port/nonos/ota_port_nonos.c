/* The update client on Espressif's NONOS SDK. */
#include "ota_port.h"
#include "rboot.h"

/* In this order, as not each of them includes what it needs. */
#include "os_type.h"
#include "osapi.h"
#include "user_interface.h"
#include "espconn.h"
#include "spi_flash.h"

#define LEAVE_AFTER 1       /* ms: from a timer, as the SDK forbids to disconnect in its callbacks */
#define GIVE_UP_AFTER 30000 /* ms without a word of the SDK on how a connection ended, and again after an abort */

/* Two, used in turn: what the SDK still has to say of the one that was left does not reach the next. */
static struct link {
    struct espconn connection;
    esp_tcp tcp;
    os_timer_t timer;
    bool in_use; /* the structures are the SDK's */
    bool is_connected;
} links[2], *current;

static os_timer_t timer;

/* The network */

static struct link *ICACHE_FLASH_ATTR find(const void *arg)
{
    struct link *link = arg == &links[0].connection ? &links[0] : &links[1];
    return arg == &link->connection && link->in_use ? link : NULL; /* else it comes twice, or too late */
}

static void ICACHE_FLASH_ATTR set_timer(struct link *link, os_timer_func_t *function, uint32 milliseconds)
{
    os_timer_disarm(&link->timer);
    os_timer_setfn(&link->timer, function, link);
    os_timer_arm(&link->timer, milliseconds, 0);
}

/* Whether anybody still waits for the link that has ended. */
static bool ICACHE_FLASH_ATTR end(struct link *link)
{
    bool is_current = link == current;
    os_timer_disarm(&link->timer);
    link->in_use = link->is_connected = false;
    if (is_current) {
        current = NULL;
    }
    return is_current;
}

static void ICACHE_FLASH_ATTR forget(void *arg)
{
    end(arg);
}

/* The SDK reports the end of what it aborts from a task, and until then the structures are its own. It aborts nothing
 * that already closes (ESPCONN_INPROGRESS). */
static void ICACHE_FLASH_ATTR give_up(void *arg)
{
    struct link *link = arg;
    set_timer(link, forget, GIVE_UP_AFTER);
    if (espconn_abort(&link->connection) == ESPCONN_ARG) {
        end(link); /* the SDK does not know it any more, and will not tell */
    }
}

static void ICACHE_FLASH_ATTR leave(void *arg)
{
    struct link *link = arg;
    set_timer(link, give_up, GIVE_UP_AFTER);
    if (link->is_connected && espconn_disconnect(&link->connection) == ESPCONN_ARG) {
        end(link); /* as above; any other answer means that the SDK still has it */
    }
}

static void ICACHE_FLASH_ATTR on_connected(void *arg)
{
    struct link *link = find(arg);
    if (!link || link->is_connected) {
        return;
    }
    link->is_connected = true;
    if (link == current) {
        ota_event_connected();
    } else { /* it was left while the SDK still tried */
        set_timer(link, leave, LEAVE_AFTER);
    }
}

static void ICACHE_FLASH_ATTR on_received(void *arg, char *data, unsigned short size)
{
    struct link *link = find(arg);
    if (link && link == current) {
        ota_event_received((const uint8 *)data, size);
    }
}

static void ICACHE_FLASH_ATTR on_closed(void *arg)
{
    struct link *link = find(arg);
    if (link && end(link)) {
        ota_event_closed();
    }
}

static void ICACHE_FLASH_ATTR on_failed(void *arg, sint8 error)
{
    struct link *link = find(arg);
    (void)error;
    if (link && end(link)) {
        ota_event_failed();
    }
}

bool ICACHE_FLASH_ATTR ota_port_connect(const uint8 *ip, uint16 port)
{
    static uint8 next;
    struct link *link = &links[next];
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
    current = result == ESPCONN_OK ? link : NULL;
    if (result == ESPCONN_MEM) { /* without memory for the SYN the SDK keeps it all the same, and says nothing */
        link->is_connected = true; /* as it is ended like that */
        set_timer(link, leave, LEAVE_AFTER);
    } else if (result != ESPCONN_OK) {
        link->in_use = false;
    }
    if (link->in_use || !links[!next].in_use) { /* after a refusal too: it may be for this one only (ESPCONN_ISCONN) */
        next = !next;
    }
    return result == ESPCONN_OK;
}

bool ICACHE_FLASH_ATTR ota_port_send(const uint8 *data, uint16 size)
{
    return current && espconn_send(&current->connection, (uint8 *)data, size) == ESPCONN_OK;
}

/* The client goes on at once; the SDK is told from a timer. */
void ICACHE_FLASH_ATTR ota_port_close(void)
{
    if (current) {
        set_timer(current, leave, LEAVE_AFTER);
        current = NULL;
    }
    ota_event_closed();
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
