/* The update client on the host: a port whose flash is an array, and a command for each thing that can happen.
 *
 * Commands are lines on stdin; what comes of each is lines on stdout. See tests/ota_host.py, which writes them. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ota_http.h"
#include "ota_port.h"
#include "ota_sha256.h"
#include "ota_verify.h"
#include "ota_store.h"
#include "ota_update_port.h"
#include "rboot-update.h"

#define FLASH_SIZE (256u * SECTOR_SIZE)

static uint8 flash[FLASH_SIZE];
static uint32 rtc[3];
static bool has_rtc = true;
static uint32 timer;
static bool closing;
static long operations, failing; /* the operation that fails, from 1 */

static rboot_ota *ota; /* freed in the callback */
static bool again; /* another update is to start there */
static rboot_ota_requirements requirements;
static rboot_version_check check;
static uint8 digest[32];
static char own[200];
static uint8 request[2000] = "GET /rom1.bin HTTP/1.1\r\n\r\n";
static bool has_network = true;
static uint32 unreadable = FLASH_SIZE;

/* A server: for each path the raw reply, from a file. With it `run` makes what a network would do happen. */
static struct {
    char path[200], file[200];
} replies[8];
static bool has_server, is_down, is_connecting;
static const char *requested; /* the file with the reply, "" for none */

/* Power cut in this operation, from 1: before it, half-way, after it, or with every other bit programmed. */
static long cut_at;
static long flip_at; /* the operation, from 1, that writes one bit wrongly */
static int cut_part;
static const char *after_cut; /* file for the flash */

static char known_host[100];
static uint8 known_address[4];
static uint32 reset_cause, reset_address;
static bool has_crashed, is_restarting;

static void save(const char *path);

static void lose_power(void)
{
    save(after_cut);
    printf("cut\nrtc %08x %08x %08x\n", rtc[0], rtc[1], rtc[2]);
    exit(0);
}

/* The port */

bool ota_port_connect(const uint8 *ip, uint16 port)
{
    printf("connect %d.%d.%d.%d:%d\n", ip[0], ip[1], ip[2], ip[3], port);
    is_connecting = has_server && has_network;
    return has_network;
}

bool ota_port_send(const uint8 *data, uint16 size)
{
    if (has_server) {
        char line[2000] = "";
        uint32 i;
        for (i = 0; i < size; i++) {
            line[i] = data[i] == '\r' ? '|' : data[i] == '\n' ? ' ' : (char)data[i];
        }
        printf("request %s\n", line);
        requested = "";
        for (i = 0; i < 8; i++) {
            size_t length = strlen(replies[i].path);
            if (length && !memcmp(line + 4, replies[i].path, length) && line[4 + length] == ' ') {
                requested = replies[i].file;
            }
        }
        return true;
    }
    printf("send %d\n", size);
    return size == strlen((char *)request) && memcmp(data, request, size) == 0;
}

void ota_port_close(void)
{
    closing = true;
}

void ota_port_timer(uint32 milliseconds)
{
    timer = milliseconds;
}

static bool misused(uint32 address, uint32 size)
{
    if (address % 4 || size % 4 || address > FLASH_SIZE || size > FLASH_SIZE - address) {
        printf("misuse %x %u\n", address, size);
        return true;
    }
    return false;
}

bool ota_port_read(uint32 address, uint32 *to, uint32 size)
{
    if (misused(address, size) || address == unreadable) {
        return false;
    }
    memcpy(to, flash + address, size);
    return true;
}

bool ota_port_write(uint32 address, const uint32 *from, uint32 size)
{
    uint32 i;
    const uint8 *bytes = (const uint8 *)from;
    printf("write %x %u\n", address, size);
    if (misused(address, size) || ++operations == failing) {
        return false;
    }
    if (operations == cut_at) {
        for (i = 0; i < (cut_part == 0 ? 0 : cut_part == 1 ? size / 2 : size); i++) {
            flash[address + i] &= cut_part == 3 ? bytes[i] | 0x55 : bytes[i];
        }
        lose_power();
    }
    for (i = 0; i < size; i++) {
        if ((flash[address + i] & bytes[i]) != bytes[i]) {
            printf("misuse unerased %x\n", address + i);
        }
        flash[address + i] &= bytes[i];
    }
    if (operations == flip_at) {
        flash[address + size / 2] &= (uint8)(flash[address + size / 2] - 1); /* without its lowest bit */
    }
    return true;
}

bool ota_port_erase(uint32 sector)
{
    printf("erase %x\n", sector * SECTOR_SIZE);
    if (misused(sector * SECTOR_SIZE, SECTOR_SIZE) || ++operations == failing) {
        return false;
    }
    if (operations == cut_at) {
        memset(flash + sector * SECTOR_SIZE, 0xFF, cut_part == 0 ? 0 : cut_part == 2 ? SECTOR_SIZE : SECTOR_SIZE / 2);
        lose_power();
    }
    memset(flash + sector * SECTOR_SIZE, 0xFF, SECTOR_SIZE);
    return true;
}

bool ota_port_rtc_read(uint32 block, uint32 *to, uint32 words)
{
    memcpy(to, rtc, words * 4);
    return has_rtc && block == RBOOT_RTC_ADDR;
}

bool ota_port_rtc_write(uint32 block, const uint32 *from, uint32 words)
{
    memcpy(rtc, from, words * 4);
    return has_rtc && block == RBOOT_RTC_ADDR;
}

void ota_port_resolve(const char *host)
{
    printf("resolve %s\n", host);
    if (!strcmp(host, known_host)) {
        ota_event_resolved(known_address[0] ? known_address : NULL);
    }
}

void ota_port_restart(void)
{
    puts("restart");
    is_restarting = true;
}

void ota_port_idle(void)
{
}

bool ota_port_reset_info(uint32 *cause, uint32 *address)
{
    *cause = reset_cause;
    *address = reset_address;
    return has_crashed;
}

/* The commands */

static void start(uint8 slot, uint32 slot_size, uint32 irom_checksum, const char *sha);

static void restart(void)
{
    if (again) {
        again = false;
        start(1, 0, 0, "-");
    }
}

static void at_end(void *arg, bool result)
{
    printf("callback %d %d\n", arg == ota, result);
    free(ota);
    restart();
}

static void at_result(const rboot_update *update, rboot_update_result result)
{
    static const char *const names[] = {"ready", "current", "held-back", "confirmed", "failed"};
    (void)update;
    printf("result %s %d %s\n", names[result], rboot_ota_get_reason(), rboot_update_offered_version());
}

static void at_progress(const rboot_update *update, uint32 done, uint32 total)
{
    (void)update;
    printf("progress %u %u\n", done, total);
}

/* `update HOST PORT PATH APP DEVICE ID VERSION SECONDS FLAGS`; flags: k keeps the trial, f forced, c confirm only, p
 * with progress, - none. */
static void start_update(const char *line)
{
    static char host[100], path[300], app[100], device[100], id[100], version[100], flags[10];
    static rboot_update update;
    unsigned port, seconds;
    if (sscanf(line, "%*s %99s %u %299s %99s %99s %99s %99s %u %9s", host, &port, path, app, device, id, version,
               &seconds, flags) != 9) {
        puts("misuse update");
        return;
    }
    update.host = host;
    update.port = (uint16)port;
    update.path = path;
    update.app = app;
    update.device = device;
    update.device_id = id;
    update.version = version;
    update.on_result = at_result;
    update.on_progress = strchr(flags, 'p') ? at_progress : NULL;
    update.trial_seconds = (uint16)seconds;
    update.keeps_trial = strchr(flags, 'k') != NULL;
    update.is_forced = strchr(flags, 'f') != NULL;
    printf("start %d\n", strchr(flags, 'c') ? rboot_update_confirm_after_check(&update) : rboot_update_start(&update));
}

static void at_version(rboot_version_check *arg, rboot_version_order order)
{
    printf("version %d %d %s\n", arg == &check, order, arg->server_version);
    restart();
}

static uint32 from_hex(const char *text, uint8 *to)
{
    uint32 size = 0;
    unsigned byte;
    while (isxdigit((unsigned char)text[2 * size]) && sscanf(text + 2 * size, "%2x", &byte) == 1) {
        to[size++] = (uint8)byte;
    }
    return size;
}

/* Hands a piece over in memory of exactly its size, at an odd address. */
static void receive(const uint8 *data, uint32 size)
{
    uint8 *copy = malloc(size + 1);
    memcpy(copy + 1, data, size);
    ota_event_received(copy + 1, (uint16)size);
    free(copy);
}

static void receive_file(const char *path, uint32 piece)
{
    static uint8 data[2 * FLASH_SIZE];
    FILE *file = fopen(path, "rb");
    uint32 size = (uint32)fread(data, 1, sizeof data, file), place;
    fclose(file);
    for (place = 0; place < size; place += piece) {
        receive(data + place, size - place < piece ? size - place : piece);
    }
}

/* A naive client: a heap block as long as each piece, and no look at what came of it. `heap` is the longest there is. */
static void update_naively(const char *path, uint32 piece, uint32 heap, uint32 address)
{
    static uint8 data[FLASH_SIZE];
    FILE *file = fopen(path, "rb");
    uint32 size = (uint32)fread(data, 1, sizeof data, file), place;
    fclose(file);
    for (place = 0; place < size; place += piece) {
        uint32 part = size - place < piece ? size - place : piece;
        uint8 *block = part <= heap ? malloc(part) : NULL;
        if (block) {
            memcpy(block, data + place, part);
            memcpy(flash + address, block, part);
            address += part;
            free(block);
        }
    }
    puts("naive 1");
}

/* The header of a reply in two or three pieces; whether the client takes it, and what for. */
static void parse(const uint8 *data, uint32 size, uint32 one, uint32 two, char *result)
{
    ota_http http;
    rboot_ota_reason reason = OTA_OK;
    uint32 ends[3], used = 0, piece;
    ends[0] = one;
    ends[1] = two;
    ends[2] = size;
    ota_http_init(&http);
    for (piece = 0; piece < 3 && reason == OTA_OK && !ota_http_is_done(&http); piece++) {
        uint32 part = ends[piece] - used;
        uint8 *copy = malloc(part + 1);
        memcpy(copy, data + used, part);
        used += ota_http_read(&http, copy, part, &reason);
        free(copy);
    }
    sprintf(result, "http %d %d %u %u", reason, ota_http_is_done(&http), http.length, used);
}

static void parse_all_splits(const uint8 *data, uint32 size)
{
    char whole[80], split[80];
    uint32 one, two;
    parse(data, size, 0, 0, whole);
    for (one = 0; one <= size; one++) {
        for (two = one; two <= size; two++) {
            parse(data, size, one, two, split);
            if (strcmp(whole, split)) {
                printf("split %u %u: %s\n", one, two, split);
                return;
            }
        }
    }
    puts(whole);
}

static void load(const char *path, uint32 address)
{
    FILE *file = fopen(path, "rb");
    if (!file || !fread(flash + address, 1, FLASH_SIZE - address, file)) {
        puts("misuse load");
    }
    fclose(file);
}

static void save(const char *path)
{
    FILE *file = fopen(path, "wb");
    fwrite(flash, 1, sizeof flash, file);
    fclose(file);
}

/* The server answers, and closes the connection. */
static void answer(void)
{
    const char *file = requested;
    requested = NULL;
    if (*file) {
        receive_file(file, 1460);
    }
    ota_event_closed();
}

static void run(void)
{
    uint32 i;
    for (i = 0; i < 1000000 && !is_restarting && (timer || closing || is_connecting); i++) {
        if (is_connecting) {
            is_connecting = false;
            if (is_down) {
                ota_event_failed();
            } else {
                ota_event_connected();
            }
        } else if (requested && !closing) {
            answer();
        } else if (closing) {
            closing = false;
            ota_event_closed();
        } else {
            timer = 0;
            ota_event_timer();
        }
    }
}

static void start(uint8 slot, uint32 slot_size, uint32 irom_checksum, const char *sha)
{
    bool is_started;
    rboot_ota *old = ota;
    ota = malloc(sizeof *ota);
    ota->ip[0] = 192, ota->ip[1] = 168, ota->ip[2] = 7, ota->ip[3] = 5;
    ota->port = 80;
    ota->request = request;
    ota->rom_slot = slot;
    ota->callback = at_end;
    memset(&requirements, 0, sizeof requirements);
    requirements.slot_size = slot_size;
    requirements.irom_checksum = irom_checksum != 0;
    if (from_hex(sha, digest)) {
        requirements.sha256 = digest;
    }
    is_started = requirements.sha256 || slot_size || irom_checksum ? rboot_ota_start_with(ota, &requirements)
                                                              : rboot_ota_start(ota);
    if (!is_started) {
        free(ota);
        ota = old;
    }
    printf("start %d\n", is_started);
}

static void serve(const char *path, const char *file)
{
    uint32 i = 0;
    while (replies[i].path[0] && strcmp(replies[i].path, path)) {
        i++;
    }
    strcpy(replies[i].path, path);
    strcpy(replies[i].file, file);
    has_server = true;
}

int main(int count, char **arguments)
{
    static char line[0x40000];
    static uint8 data[0x20000];
    memset(flash, 0xFF, sizeof flash);
    after_cut = count > 1 ? arguments[1] : NULL;
    while (fgets(line, sizeof line, stdin)) {
        char command[20] = "", text[200] = "", more[200] = "";
        unsigned one = 0, two = 0, three = 0;
        static rboot_write_status writer;
        uint8 value = 0;
        sscanf(line, "%19s", command);
        if (!strcmp(command, "load") && sscanf(line, "%*s %199s %x", text, &one) == 2) {
            load(text, one);
        } else if (!strcmp(command, "save") && sscanf(line, "%*s %199s", text) == 1) {
            save(text);
        } else if (!strcmp(command, "rtc") && sscanf(line, "%*s %x %x %x", &rtc[0], &rtc[1], &rtc[2]) == 3) {
        } else if (!strcmp(command, "update")) {
            start_update(line);
        } else if (!strcmp(command, "serve") && sscanf(line, "%*s %199s %199s", text, more) == 2) {
            serve(text, more);
        } else if (!strcmp(command, "down")) {
            is_down = has_server = true;
        } else if (!strcmp(command, "up")) {
            is_down = false;
        } else if (!strcmp(command, "cut") && sscanf(line, "%*s %u %u", &one, &two) == 2) {
            cut_at = operations + one;
            cut_part = (int)two;
        } else if (!strcmp(command, "flip") && sscanf(line, "%*s %u", &one) == 1) {
            flip_at = operations + one;
        } else if (!strcmp(command, "host") && sscanf(line, "%*s %99s %u", known_host, &one) == 2) {
            known_address[0] = (uint8)one;
        } else if (!strcmp(command, "resolved") && sscanf(line, "%*s %u", &one) == 1) {
            known_address[0] = (uint8)one;
            ota_event_resolved(one ? known_address : NULL);
        } else if (!strcmp(command, "crashed") && sscanf(line, "%*s %u %x", &reset_cause, &reset_address) == 2) {
            has_crashed = true;
        } else if (!strcmp(command, "confirm-update")) {
            printf("confirm-update %d\n", rboot_update_confirm());
        } else if (!strcmp(command, "is-trial")) {
            printf("is-trial %d\n", rboot_update_is_trial());
        } else if (!strcmp(command, "serial") && sscanf(line, "%*s %x", &one) == 1) {
            printf("serial %u\n", ota_store_get_serial(one));
        } else if (!strcmp(command, "raise") && sscanf(line, "%*s %x %u", &one, &two) == 2) {
            printf("raise %d\n", ota_store_raise_serial(one, two));
        } else if (!strcmp(command, "prepare") && sscanf(line, "%*s %u %x", &one, &two) == 2) {
            printf("prepare %d\n", ota_store_prepare_trial((uint8)one, two));
        } else if (!strcmp(command, "failed-trial") && sscanf(line, "%*s %x", &one) == 1) {
            printf("failed-trial %d\n", ota_store_has_failed(one));
        } else if (!strcmp(command, "no-rtc")) {
            has_rtc = false;
        } else if (!strcmp(command, "again")) {
            again = true;
        } else if (!strcmp(command, "no-network")) {
            has_network = false;
        } else if (!strcmp(command, "unreadable") && sscanf(line, "%*s %x", &unreadable) == 1) {
        } else if (!strcmp(command, "request") && sscanf(line, "%*s %u", &one) == 1 && one < sizeof request) {
            memset(request, 'G', one);
            request[one] = 0;
        } else if (!strcmp(command, "fail") && sscanf(line, "%*s %u", &one) == 1) {
            failing = operations + one;
        } else if (!strcmp(command, "start") && sscanf(line, "%*s %u %x %u %199s", &one, &two, &three, text) == 4) {
            start((uint8)one, two, three, text);
        } else if (!strcmp(command, "start-nothing")) {
            printf("start %d %d\n", rboot_ota_start(NULL), rboot_ota_check_version(NULL));
        } else if (!strcmp(command, "check") && sscanf(line, "%*s %199s", own) == 1) {
            check.port = 80;
            check.request = request;
            check.own_version = own;
            check.callback = at_version;
            printf("start %d\n", rboot_ota_check_version(&check));
        } else if (!strcmp(command, "connected")) {
            ota_event_connected();
        } else if (!strcmp(command, "data")) {
            receive(data, from_hex(line + 5, data));
        } else if (!strcmp(command, "file") && sscanf(line, "%*s %199s %u", text, &one) == 2) {
            receive_file(text, one);
        } else if (!strcmp(command, "naive") && sscanf(line, "%*s %199s %u %u", text, &one, &two) == 3) {
            update_naively(text, one, two, 0x82000);
        } else if (!strcmp(command, "closed")) {
            ota_event_closed();
        } else if (!strcmp(command, "failed")) {
            ota_event_failed();
        } else if (!strcmp(command, "timeout")) { /* whatever the timer is set to */
            printf("timer %u\n", timer);
            timer = 0;
            ota_event_timer();
        } else if (!strcmp(command, "run")) {
            run();
        } else if (!strcmp(command, "reason")) {
            printf("reason %d %s\n", rboot_ota_get_reason(), rboot_ota_reason_text(rboot_ota_get_reason()));
        } else if (!strcmp(command, "progress")) {
            rboot_ota_progress(&one, &two);
            printf("progress %u %u\n", one, two);
        } else if (!strcmp(command, "http")) {
            parse_all_splits(data, from_hex(line + 5, data));
        } else if (!strcmp(command, "compare") && sscanf(line, "%*s %199s %199s", text, more) == 2) {
            printf("%d\n", rboot_compare_versions(text, more));
        } else if (!strcmp(command, "verify") && sscanf(line, "%*s %x %u %x", &one, &three, &two) == 3) {
            ota_verify verify;
            ota_verify_init(&verify, one, two, three != 0);
            ota_verify_add(&verify, (uint32 *)(void *)(flash + one), two / 4);
            printf("verify %d %u %u\n", ota_verify_end(&verify), verify.own_pointers, verify.other_pointers);
        } else if (!strcmp(command, "sha256")) {
            ota_sha256 sha;
            ota_sha256_init(&sha);
            two = from_hex(line + 7 + 65, data);
            for (one = 0; one < two; one++) {
                ota_sha256_add(&sha, data + one, 1);
            }
            from_hex(line + 7, digest);
            printf("sha256 %d\n", ota_sha256_matches(&sha, digest));
        } else if (!strcmp(command, "write") && sscanf(line, "%*s %x", &one) == 1) {
            writer = rboot_write_init(one);
        } else if (!strcmp(command, "piece")) {
            printf("piece %d\n", rboot_write_flash(&writer, data, (uint16)from_hex(line + 6, data)));
        } else if (!strcmp(command, "end")) {
            printf("end %d\n", rboot_write_end(&writer));
        } else if (!strcmp(command, "current")) {
            printf("current %d\n", rboot_get_current_rom());
        } else if (!strcmp(command, "set-current") && sscanf(line, "%*s %u", &one) == 1) {
            printf("set-current %d\n", rboot_set_current_rom((uint8)one));
        } else if (!strcmp(command, "set-temp") && sscanf(line, "%*s %u", &one) == 1) {
            printf("set-temp %d\n", rboot_set_temp_rom((uint8)one));
        } else if (!strcmp(command, "switch") && sscanf(line, "%*s %u", &one) == 1) {
            printf("switch %d\n", rboot_ota_switch((uint8)one));
        } else if (!strcmp(command, "confirm")) {
            printf("confirm %d\n", rboot_ota_confirm());
        } else if (!strcmp(command, "running")) {
            printf("running %d\n", rboot_ota_running_rom());
        } else if (!strcmp(command, "last")) {
            bool has_rom = rboot_get_last_boot_rom(&value);
            printf("last %d %d", has_rom, value);
            value = 0;
            has_rom = rboot_get_last_boot_mode(&value);
            printf(" %d %d\n", has_rom, value);
        } else if (!strcmp(command, "show-rtc")) {
            printf("rtc %08x %08x %08x\n", rtc[0], rtc[1], rtc[2]);
        } else {
            printf("misuse command %s", line);
        }
    }
    return 0;
}
