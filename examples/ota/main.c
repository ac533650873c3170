/* Over-the-air updates without an SDK: a command line on the UART. It runs in the emulator.
 *
 * All but the start runs from the flash. */
#include <stdint.h>

#include "ota_port_emulator.h"
#include "rboot-ota.h"

#ifndef VERSION
#define VERSION "0.0.0"
#endif
#define SERVER_IP {192, 168, 7, 5}
#define SERVER_PORT 80
#define REQUEST(file) "GET /" file " HTTP/1.0\r\nHost: 192.168.7.5\r\nConnection: close\r\n\r\n"

/* The mask ROM's and the linker script's. */
extern int ets_printf(const char *format, ...);
extern int uart_rx_one_char(uint8_t *character);
extern void software_reset(void);
extern int strcmp(const char *one, const char *other);
extern uint32_t _bss_start[], _bss_end[];

static bool is_only_asked; /* `check`, not `ota` */

static void ICACHE_FLASH_ATTR prompt(void)
{
    ets_printf("> ");
}

static void ICACHE_FLASH_ATTR fail(void)
{
    ets_printf("failed: %s\r\n", rboot_ota_reason_text(rboot_ota_get_reason()));
    prompt();
}

static uint8 ICACHE_FLASH_ATTR other_rom(void)
{
    return rboot_ota_running_rom() == 0 ? 1 : 0;
}

static void ICACHE_FLASH_ATTR restart_into(uint8 rom)
{
    if (rboot_ota_switch(rom)) {
        ets_printf("restarting into ROM %d\r\n", rom);
        software_reset();
    }
    ets_printf("there is no ROM %d\r\n", rom);
    prompt();
}

/* `ota` */

static void ICACHE_FLASH_ATTR at_end(void *arg, bool result)
{
    rboot_ota *ota = arg;
    if (result) {
        ets_printf("done, ");
        restart_into(ota->rom_slot);
    } else {
        fail();
    }
}

static void ICACHE_FLASH_ATTR fetch_rom(void)
{
    static rboot_ota ota = {.ip = SERVER_IP, .port = SERVER_PORT, .callback = at_end};
    static char request0[] = REQUEST("rom0.bin"), request1[] = REQUEST("rom1.bin");
    ota.rom_slot = other_rom();
    ota.request = (uint8 *)(ota.rom_slot ? request1 : request0);
    ets_printf("fetching rom%d.bin\r\n", ota.rom_slot);
    if (!rboot_ota_start(&ota)) {
        fail();
    }
}

static void ICACHE_FLASH_ATTR at_version(rboot_version_check *check, rboot_version_order order)
{
    if (order == RBOOT_UNKNOWN) {
        fail();
        return;
    }
    ets_printf("the server has %s: %s\r\n", check->found,
               order == RBOOT_NEWER ? "newer" : order == RBOOT_SAME ? "the same" : "older");
    if (order == RBOOT_NEWER && !is_only_asked) {
        fetch_rom();
    } else {
        prompt();
    }
}

static void ICACHE_FLASH_ATTR check_version(bool only_ask)
{
    static char request[] = REQUEST("version");
    static rboot_version_check check = {
        .ip = SERVER_IP, .port = SERVER_PORT, .request = (uint8 *)request, .own = VERSION, .callback = at_version};
    is_only_asked = only_ask;
    if (!rboot_ota_check_version(&check)) {
        fail();
    }
}

/* The others */

static void ICACHE_FLASH_ATTR show_info(void)
{
    rboot_config config = rboot_get_config();
    uint32 i;
    uint8 mode = MODE_STANDARD;
    ets_printf("version %s, ROM %d runs", VERSION, rboot_ota_running_rom());
    if (!rboot_get_last_boot_mode(&mode)) {
        ets_printf(", no RTC data");
    } else if (mode & MODE_TEMP_ROM) {
        ets_printf(config.current_rom == rboot_ota_running_rom() ? ", confirmed" : ", not confirmed");
    }
    ets_printf("\r\n");
    for (i = 0; i < config.count && i < MAX_ROMS; i++) {
        ets_printf("ROM %d at 0x%x%s\r\n", i, config.roms[i], i == config.current_rom ? ", current" : "");
    }
}

static void ICACHE_FLASH_ATTR obey(const char *line)
{
    if (strcmp(line, "check") == 0) {
        check_version(true);
        return;
    }
    if (strcmp(line, "ota") == 0) {
        check_version(false);
        return;
    }
    if (strcmp(line, "switch") == 0) {
        restart_into(other_rom());
        return;
    }
    if (strcmp(line, "restart") == 0) {
        software_reset();
    } else if (strcmp(line, "info") == 0) {
        show_info();
    } else if (strcmp(line, "version") == 0) {
        ets_printf("%s\r\n", VERSION);
    } else if (strcmp(line, "confirm") == 0) {
        ets_printf(rboot_ota_confirm() ? "confirmed\r\n" : "not confirmed\r\n");
    } else if (line[0]) {
        ets_printf("help      this\r\n"
                   "info      which ROM runs, and which there are\r\n"
                   "version   this version\r\n"
                   "check     is there a newer one?\r\n"
                   "ota       update to a newer one\r\n"
                   "confirm   keep the ROM that runs\r\n"
                   "switch    restart into the other ROM\r\n"
                   "restart\r\n");
    }
    prompt();
}

static void ICACHE_FLASH_ATTR run(void)
{
    static char line[32];
    uint32 used = 0;
    uint8_t character;
    ets_printf("\r\nversion %s, ROM %d\r\n", VERSION, rboot_ota_running_rom());
    prompt();
    for (;;) {
        ota_port_poll();
        if (uart_rx_one_char(&character)) {
            continue;
        }
        if (character == '\r' || character == '\n') {
            line[used] = 0;
            used = 0;
            obey(line);
        } else if (used < sizeof line - 1) {
            line[used++] = (char)character;
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
