/* Port of the update client for an application without an SDK, in the emulator. Flash and RTC memory are accessed as on
 * the chip. The network is a pair of FIFOs to rbootimg/emulator/network.py, which makes the TCP connections. A frame is
 * a size of two bytes, high byte first, and the data.
 *
 * The flash is not mapped while it is accessed through SPI, so the functions that do so are in IRAM. */
#include "ota_port_emulator.h"

#include "ota_port.h"
#include "rboot.h"

#define IRAM __attribute__((noinline))
#define REGISTER(address) (*(volatile uint32 *)(address))
#define CYCLES_PER_MS 40000 /* of QEMU's cycle counter */
#define MAX_DATA_SIZE 1460
#define SIZE_CONNECT 0xFFFF /* to the relay: connect; from it: connected */
#define SIZE_CLOSE 0        /* to the relay: close; from it: closed, or could not connect */

extern void Cache_Read_Disable(void);
extern void Cache_Read_Enable(uint32 odd_megabyte, uint32 megabyte_pair, uint32 is_large_cache);
extern int SPIRead(uint32 address, void *to, uint32 size);
extern int SPIWrite(uint32 address, const void *from, uint32 size);
extern int SPIEraseSector(uint32 sector);

/* Flash */

static uint32 megabyte;

static IRAM void map_flash(void)
{
    Cache_Read_Enable(megabyte % 2, megabyte / 2, 1);
}

IRAM void ota_port_map_flash(void)
{
    rboot_config config;
    rboot_rtc_data rtc;
    uint32 i;
    uint8 rom;
    SPIRead(RBOOT_CONFIG_ADDRESS, &config, sizeof config);
    for (i = 0; i < sizeof rtc / 4; i++) {
        ((uint32 *)&rtc)[i] = REGISTER(ESP8266_RTC_USER + 4 * (RBOOT_RTC_ADDR + i));
    }
    rom = rtc.magic == RBOOT_RTC_MAGIC ? rtc.last_rom : config.current_rom;
    megabyte = rom < MAX_ROMS ? config.roms[rom] / ESP8266_WINDOW_SIZE : 0;
    map_flash();
}

IRAM bool ota_port_read(uint32 address, uint32 *to, uint32 size)
{
    int result;
    Cache_Read_Disable();
    result = SPIRead(address, to, size);
    map_flash();
    return result == 0;
}

IRAM bool ota_port_write(uint32 address, const uint32 *from, uint32 size)
{
    int result;
    Cache_Read_Disable();
    result = SPIWrite(address, from, size);
    map_flash();
    return result == 0;
}

IRAM bool ota_port_erase(uint32 sector)
{
    int result;
    Cache_Read_Disable();
    result = SPIEraseSector(sector);
    map_flash();
    return result == 0;
}

/* RTC memory: word access only */

bool ICACHE_FLASH_ATTR ota_port_rtc_read(uint32 block, uint32 *to, uint32 words)
{
    uint32 i;
    for (i = 0; i < words; i++) {
        to[i] = REGISTER(ESP8266_RTC_USER + 4 * (block + i));
    }
    return true;
}

bool ICACHE_FLASH_ATTR ota_port_rtc_write(uint32 block, const uint32 *from, uint32 words)
{
    uint32 i;
    for (i = 0; i < words; i++) {
        REGISTER(ESP8266_RTC_USER + 4 * (block + i)) = from[i];
    }
    return true;
}

/* Timer */

static uint32 timer_start, timer_cycles; /* 0: stopped */

static uint32 ICACHE_FLASH_ATTR read_cycle_count(void)
{
    uint32 count;
    __asm__ volatile("rsr %0, ccount" : "=r"(count));
    return count;
}

void ICACHE_FLASH_ATTR ota_port_timer(uint32 milliseconds)
{
    timer_start = read_cycle_count();
    timer_cycles = milliseconds * CYCLES_PER_MS;
}

/* Network */

enum { CALL_READ = 3, CALL_WRITE = 4, CALL_OPEN = 5, CALL_SELECT = 29 };
enum { OPEN_TO_READ = 0, OPEN_TO_WRITE = 1, SELECT_READ = 1 };

static uint8 frame[2 + MAX_DATA_SIZE];
static uint32 frame_used;
static int file_in, file_out; /* 0: not opened yet */
static bool is_open;          /* connected or connecting */
static bool is_connected, is_closing, connect_failed;

/* Call QEMU's semihosting, see maskrom/host.h. */
static int ICACHE_FLASH_ATTR host_call(uint32 number, uint32 one, uint32 two, uint32 three)
{
    register uint32 a2 __asm__("a2") = number;
    register uint32 a3 __asm__("a3") = one;
    register uint32 a4 __asm__("a4") = two;
    register uint32 a5 __asm__("a5") = three;
    register uint32 a6 __asm__("a6") = 0;
    __asm__ volatile("simcall" : "+r"(a2), "+r"(a3) : "r"(a4), "r"(a5), "r"(a6) : "memory");
    return (int)a2;
}

static bool ICACHE_FLASH_ATTR write_all(const uint8 *data, uint32 size)
{
    while (size) {
        int written = host_call(CALL_WRITE, (uint32)file_out, (uint32)data, size);
        if (written <= 0) {
            return false;
        }
        data += written;
        size -= (uint32)written;
    }
    return true;
}

static bool ICACHE_FLASH_ATTR write_frame(uint32 number, const uint8 *data, uint32 size)
{
    uint8 head[2];
    head[0] = (uint8)(number >> 8);
    head[1] = (uint8)number;
    return write_all(head, sizeof head) && write_all(data, size);
}

static bool ICACHE_FLASH_ATTR is_ready(void)
{
    uint32 zero_timeout[2] = {0, 0};
    return host_call(CALL_SELECT, (uint32)file_in, SELECT_READ, (uint32)zero_timeout) > 0;
}

/* Open the FIFOs; false if the emulator has no network. Data that arrived before a reset are discarded. */
static bool ICACHE_FLASH_ATTR open_files(void)
{
    if (!file_out) {
        int in = host_call(CALL_OPEN, (uint32) "net-in", OPEN_TO_READ, 0);
        int out = host_call(CALL_OPEN, (uint32) "net-out", OPEN_TO_WRITE, 0);
        if (in < 0 || out < 0) {
            return false;
        }
        file_in = in;
        file_out = out;
        while (is_ready() && host_call(CALL_READ, (uint32)file_in, (uint32)frame, sizeof frame) > 0) {
        }
    }
    return true;
}

bool ICACHE_FLASH_ATTR ota_port_connect(const uint8 *ip, uint16 port)
{
    (void)ip;
    (void)port; /* the relay has the address of the server */
    if (is_open) {
        return false;
    }
    is_connected = is_closing = false;
    is_open = open_files() && write_frame(SIZE_CONNECT, NULL, 0);
    connect_failed = !is_open;
    return true;
}

bool ICACHE_FLASH_ATTR ota_port_send(const uint8 *data, uint16 size)
{
    return write_frame(size, data, size);
}

void ICACHE_FLASH_ATTR ota_port_close(void)
{
    if (connect_failed) {
        connect_failed = false;
        ota_event_closed();
        return;
    }
    is_closing = true;
    write_frame(SIZE_CLOSE, NULL, 0); /* the relay answers with SIZE_CLOSE */
}

/* Read the available bytes of a frame; true if it is complete. */
static bool ICACHE_FLASH_ATTR read_frame(void)
{
    for (;;) {
        uint32 size = (uint32)frame[0] << 8 | frame[1];
        uint32 expected = frame_used < 2 ? 2 : size == SIZE_CONNECT ? 2 : 2 + size;
        int count;
        if (frame_used >= 2 && frame_used == expected) {
            return true;
        }
        if (expected > sizeof frame || !is_ready()) {
            return false;
        }
        count = host_call(CALL_READ, (uint32)file_in, (uint32)(frame + frame_used), expected - frame_used);
        if (count <= 0) {
            return false;
        }
        frame_used += (uint32)count;
    }
}

void ICACHE_FLASH_ATTR ota_port_poll(void)
{
    if (connect_failed) {
        connect_failed = false;
        ota_event_failed();
    }
    if (file_in && read_frame()) {
        uint32 size = frame_used - 2;
        bool is_receiving = is_open && !is_closing;
        frame_used = 0;
        if (size) {
            if (is_receiving && is_connected) { /* else it belongs to a connection from before a reset */
                ota_event_received(frame + 2, (uint16)size);
            }
        } else if (frame[0]) {
            if (is_receiving) {
                is_connected = true;
                ota_event_connected();
            }
        } else if (is_open) {
            is_open = false;
            ota_event_closed();
        }
    }
    if (timer_cycles && read_cycle_count() - timer_start >= timer_cycles) {
        timer_cycles = 0;
        ota_event_timer();
    }
}
