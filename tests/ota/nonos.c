/* The port for the NONOS SDK on the host: an SDK that does what its documentation says, and a command for each thing
 * that can happen. See tests/firmware/test_ota_nonos.py. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "osapi.h"
#include "rboot-update.h"
#include "spi_flash.h"
#include "user_interface.h"
#include "espconn.h"

#define FLASH_SIZE (256u * SECTOR_SIZE)

static uint8 flash[FLASH_SIZE];
static struct espconn *connection; /* the last that the SDK was given */
static struct espconn *owned[4];   /* all that the SDK has, and may still call back for */
static ETSTimer *armed[4];
static uint32 armed_as[4], timers; /* of two that are due at once the one that was set first comes first */
static uint32 milliseconds;
static bool in_callback, disconnect_fails;
static bool closes; /* the server closes the connection when the client does: its callback is on its way */
static uint32 aborted_at[4]; /* of `owned`, or 0: the callback comes from a task, so not at once */

static const struct espconn *stuck; /* in the SDK's list for ever, as the event of its end was lost */
static sint8 next_connect;           /* what the next espconn_connect answers */
static bool send_fails;

#define TASK_TIME 1000 /* ms in which the SDK's task has run */

/* The place of a connection among those that the SDK has, or -1. */
static int place_of(const struct espconn *conn)
{
    int i;
    for (i = 0; i < 4 && owned[i] != conn; i++) {
    }
    return i < 4 ? i : -1;
}

static void forget(const struct espconn *conn)
{
    int i = place_of(conn);
    if (i >= 0) {
        owned[i] = NULL;
        aborted_at[i] = 0;
    }
}

static void called(espconn_connect_callback function, struct espconn *arg)
{
    in_callback = true;
    function(arg);
    in_callback = false;
}

/* The network */

uint32 espconn_port(void)
{
    return 1024;
}

sint8 espconn_connect(struct espconn *conn)
{
    esp_tcp *tcp = conn->proto.tcp;
    sint8 result;
    bool whole;
    int i;
    for (i = 0; i < 4; i++) {
        if (aborted_at[i] && milliseconds - aborted_at[i] >= TASK_TIME) {
            forget(owned[i]); /* the callback was lost, as it is if the task's queue is full */
        }
    }
    whole = tcp->connect_callback && tcp->reconnect_callback && tcp->disconnect_callback && conn->recv_callback;
    printf("connect %s%d%s\n", tcp->remote_ip[0] == 10 ? tcp->remote_ip[3] == 1 ? "10.0.0.1:" : "10.0.0.2:" : "",
           tcp->remote_port,
           place_of(conn) >= 0 ? " misuse: the SDK still has it" : whole ? "" : " misuse: callbacks");
    if (conn == stuck) { /* it is compared with itself: the local port is taken */
        return ESPCONN_ISCONN;
    }
    result = next_connect;
    next_connect = ESPCONN_OK;
    if (result == ESPCONN_OK || result == ESPCONN_MEM) { /* no memory for the SYN: it stays in the list all the same */
        connection = owned[place_of(NULL)] = conn;
        conn->state = ESPCONN_WAIT;
    }
    return result;
}

sint8 espconn_disconnect(struct espconn *conn)
{
    if (conn == stuck) {
        puts(conn->state == ESPCONN_CLOSE ? "disconnect" : "disconnect misuse: it was freed");
        return ESPCONN_INPROGRESS;
    }
    printf("disconnect%s\n", in_callback ? " misuse: in a callback" : place_of(conn) < 0 ? " misuse: unknown" : "");
    if (disconnect_fails) {
        forget(conn);
        return ESPCONN_ARG;
    }
    conn->state = ESPCONN_CLOSE;
    return closes ? ESPCONN_INPROGRESS : ESPCONN_OK;
}

sint8 espconn_abort(struct espconn *conn)
{
    if (conn == stuck) {
        puts(conn->state == ESPCONN_CLOSE ? "abort" : "abort misuse: it was freed");
        return ESPCONN_INPROGRESS;
    }
    printf("abort%s\n", in_callback ? " misuse: in a callback" : place_of(conn) < 0 ? " misuse: unknown" : "");
    if (place_of(conn) >= 0) {
        aborted_at[place_of(conn)] = milliseconds;
    }
    return conn->state == ESPCONN_CLOSE ? ESPCONN_INPROGRESS : ESPCONN_OK;
}

sint8 espconn_send(struct espconn *conn, uint8 *data, uint16 size)
{
    const char *agent = strstr((const char *)data, "rboot-update/1"); /* the client terminates its request */
    printf("send %d%s\n", size, place_of(conn) < 0 || conn->state == ESPCONN_CLOSE || data[0] != 'G' ? " misuse" : "");
    if (agent) {
        printf("agent %.*s\n", (int)strcspn(agent, "\r"), agent);
    }
    return send_fails ? ESPCONN_MEM : ESPCONN_OK;
}

sint8 espconn_regist_connectcb(struct espconn *conn, espconn_connect_callback function)
{
    conn->proto.tcp->connect_callback = function;
    return ESPCONN_OK;
}

sint8 espconn_regist_disconcb(struct espconn *conn, espconn_connect_callback function)
{
    conn->proto.tcp->disconnect_callback = function;
    return ESPCONN_OK;
}

sint8 espconn_regist_reconcb(struct espconn *conn, espconn_reconnect_callback function)
{
    conn->proto.tcp->reconnect_callback = function;
    return ESPCONN_OK;
}

sint8 espconn_regist_recvcb(struct espconn *conn, espconn_recv_callback function)
{
    conn->recv_callback = function;
    return ESPCONN_OK;
}

/* Names of hosts: each query is answered once, in the order of the queries, however late. */
static struct query {
    dns_found_callback found;
    struct espconn *connection;
    char name[100];
} queries[4];
static err_t next_resolve = ESPCONN_INPROGRESS;

err_t espconn_gethostbyname(struct espconn *conn, const char *hostname, ip_addr_t *addr, dns_found_callback found)
{
    int i;
    printf("resolve %s%s\n", hostname, conn && addr && found ? "" : " misuse");
    if (next_resolve == ESPCONN_OK) {
        addr->addr = 0x0100000A; /* 10.0.0.1 */
    } else if (next_resolve == ESPCONN_INPROGRESS) {
        for (i = 0; queries[i].found; i++) {
        }
        queries[i].found = found;
        queries[i].connection = conn;
        strcpy(queries[i].name, hostname);
    }
    return next_resolve;
}

static void answer_query(bool is_known)
{
    static ip_addr_t address = {0x0200000A}; /* 10.0.0.2 */
    struct query query = queries[0];
    memmove(queries, queries + 1, sizeof queries - sizeof queries[0]);
    memset(&queries[3], 0, sizeof queries[3]);
    in_callback = true;
    query.found(query.name, is_known ? &address : NULL, query.connection);
    in_callback = false;
}

/* The flash: addresses and buffers in words */

static bool misused(uint32 address, const void *buffer, uint32 size)
{
    bool is = address % 4 || size % 4 || (size_t)buffer % 4 || address > FLASH_SIZE || size > FLASH_SIZE - address;
    if (is) {
        puts("misuse of the flash");
    }
    return is;
}

SpiFlashOpResult spi_flash_erase_sector(uint16 sector)
{
    memset(flash + sector * SECTOR_SIZE, 0xFF, SECTOR_SIZE);
    return SPI_FLASH_RESULT_OK;
}

SpiFlashOpResult spi_flash_write(uint32 to, uint32 *from, uint32 size)
{
    uint32 i;
    if (misused(to, from, size)) {
        return SPI_FLASH_RESULT_ERR;
    }
    for (i = 0; i < size; i++) {
        flash[to + i] &= ((uint8 *)from)[i];
    }
    return SPI_FLASH_RESULT_OK;
}

SpiFlashOpResult spi_flash_read(uint32 from, uint32 *to, uint32 size)
{
    if (misused(from, to, size)) {
        return SPI_FLASH_RESULT_ERR;
    }
    memcpy(to, flash + from, size);
    return SPI_FLASH_RESULT_OK;
}

bool system_rtc_mem_read(uint8 block, void *to, uint16 size)
{
    memset(to, 0, size);
    return block == 64;
}

bool system_rtc_mem_write(uint8 block, const void *from, uint16 size)
{
    return block == 64 && from && size == 12;
}

/* The rest */

void *ets_memcpy(void *to, const void *from, size_t size)
{
    return memcpy(to, from, size);
}

void *ets_memset(void *to, int value, size_t size)
{
    return memset(to, value, size);
}

int ets_strcmp(const char *one, const char *other)
{
    return strcmp(one, other);
}

static struct rst_info reset_info;

struct rst_info *system_get_rst_info(void)
{
    return &reset_info;
}

void system_restart(void)
{
    puts("restart");
}

void system_soft_wdt_feed(void)
{
}

void ets_timer_disarm(ETSTimer *timer)
{
    int i;
    for (i = 0; i < 4; i++) {
        armed[i] = armed[i] == timer ? NULL : armed[i];
    }
}

void ets_timer_setfn(ETSTimer *timer, ETSTimerFunc *function, void *arg)
{
    timer->timer_func = function;
    timer->timer_arg = arg;
}

void ets_timer_arm_new(ETSTimer *timer, uint32_t time, bool repeat, bool is_milliseconds)
{
    int i = 0;
    if (repeat || !is_milliseconds || !timer->timer_func) {
        puts("misuse of a timer");
    }
    ets_timer_disarm(timer);
    while (armed[i]) {
        i++;
    }
    timer->timer_expire = milliseconds + time;
    armed[i] = timer;
    armed_as[i] = timers++;
}

/* The next timer that is due; false if none is set. */
static bool fire(void)
{
    int i, next = -1;
    for (i = 0; i < 4; i++) {
        if (armed[i] && (next < 0 || armed[i]->timer_expire < armed[next]->timer_expire ||
                         (armed[i]->timer_expire == armed[next]->timer_expire && armed_as[i] < armed_as[next]))) {
            next = i;
        }
    }
    if (next >= 0) {
        ETSTimer *timer = armed[next];
        armed[next] = NULL;
        milliseconds = timer->timer_expire;
        timer->timer_func(timer->timer_arg);
    }
    return next >= 0;
}

static void at_end(void *arg, bool result)
{
    (void)arg;
    printf("callback %d %s\n", result, rboot_ota_reason_text(rboot_ota_get_reason()));
}

static void at_result(const rboot_update *update, rboot_update_result result)
{
    (void)update;
    printf("result %d %s\n", result, rboot_ota_reason_text(rboot_ota_get_reason()));
}

static void start_update(const char *host)
{
    static rboot_update update = {
        .port = 80,
        .path = "/",
        .app = "blink",
        .device = "esp8266",
        .device_id = "1",
        .version = "1.0.0",
        .on_result = at_result,
    };
    update.host = host;
    printf("start %d\n", rboot_update_start(&update));
}

int main(int count, char **arguments)
{
    static uint8 request[] = "GET /rom1.bin HTTP/1.0\r\n\r\n";
    static rboot_ota ota;
    static uint8 reply[FLASH_SIZE];
    int i;
    FILE *file = fopen("flash", "rb");
    if (!file || !fread(flash, 1, sizeof flash, file)) {
        return 1;
    }
    fclose(file);
    ota.port = 80;
    ota.request = request;
    ota.rom_slot = 1;
    ota.callback = at_end;
    for (i = 1; i < count; i++) {
        const char *command = arguments[i];
        struct espconn *now = connection;
        static struct espconn *previous; /* `late` has the SDK speak of it once more */
        if (!strcmp(command, "late")) {
            now = previous;
            command = arguments[++i];
        } else {
            previous = !strcmp(command, "start") ? connection : previous;
        }
        if (!strcmp(command, "start")) {
            printf("start %d\n", rboot_ota_start(&ota));
        } else if (!strcmp(command, "update")) {
            start_update(arguments[++i]);
        } else if (!strcmp(command, "known") || !strcmp(command, "no-resolver")) {
            next_resolve = command[0] == 'k' ? ESPCONN_OK : ESPCONN_ARG;
        } else if (!strcmp(command, "resolved") || !strcmp(command, "unknown")) {
            answer_query(command[0] == 'r');
        } else if (!strcmp(command, "crashed")) {
            reset_info.reason = (uint32)atoi(arguments[++i]);
            reset_info.epc1 = 0x40201234;
        } else if (!strcmp(command, "connected")) {
            called(now->proto.tcp->connect_callback, now);
        } else if (!strcmp(command, "closed")) {
            forget(now);
            called(now->proto.tcp->disconnect_callback, now);
        } else if (!strcmp(command, "failed")) {
            forget(now);
            in_callback = true;
            now->proto.tcp->reconnect_callback(now, -11);
            in_callback = false;
        } else if (!strcmp(command, "disconnect-fails")) {
            disconnect_fails = true;
        } else if (!strcmp(command, "no-memory")) {
            next_connect = ESPCONN_MEM;
        } else if (!strcmp(command, "no-route")) {
            next_connect = ESPCONN_RTE;
        } else if (!strcmp(command, "send-fails")) {
            send_fails = true;
        } else if (!strcmp(command, "lost")) { /* it has closed, and the event for the SDK's task found no room */
            forget(now);
            now->state = ESPCONN_CLOSE;
            stuck = now;
        } else if (!strcmp(command, "closes")) {
            closes = true;
        } else if (!strcmp(command, "aborted")) { /* the task reports it */
            int place = 0;
            while (!aborted_at[place]) {
                place++;
            }
            now = owned[place];
            forget(now);
            called(now->proto.tcp->disconnect_callback, now);
        } else if (!strcmp(command, "fire")) {
            printf("fire %d\n", fire());
        } else if (!strcmp(command, "run")) {
            while (fire()) {
            }
        } else { /* a file with what the server sends */
            size_t size, place;
            file = fopen(command, "rb");
            if (!file) {
                return 1;
            }
            size = fread(reply, 1, sizeof reply, file);
            fclose(file);
            in_callback = true;
            for (place = 0; place < size; place += 5840) {
                unsigned short part = (unsigned short)(size - place < 5840 ? size - place : 5840);
                char *piece = malloc(part); /* it is there during the callback only, which the sanitizers see */
                memcpy(piece, reply + place, part);
                now->recv_callback(now, piece, part);
                free(piece);
            }
            in_callback = false;
        }
    }
    file = fopen("flash", "wb");
    fwrite(flash, 1, sizeof flash, file);
    fclose(file);
    return 0;
}
