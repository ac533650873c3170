/* Over-the-air updates, controlled by a command line on the UART. */
#include "app.h"

#include "ota_port.h"
#include "rboot-ota.h"

#ifdef __ets__ /* defined for the SDK */
#include "osapi.h"
#define print os_printf
#else
extern int ets_printf(const char *format, ...); /* in the mask ROM */
#define print ets_printf
#endif

#include "rboot-version.h" /* RBOOT_VERSION, from `env.RbootVersionHeader()` */
#include "settings.h" /* SERVER_IP, SERVER_PORT, SERVER_HOST, from SConstruct */
/* The server's status page shows the version and the running slot, which set_slot puts in place of the 0. */
#define REQUEST_END "0)\r\n\r\n"
#define REQUEST(file) \
    "GET /" file " HTTP/1.0\r\nHost: " SERVER_HOST "\r\n" \
    "User-Agent: rbootimg-example/" RBOOT_VERSION " (slot " REQUEST_END

static enum { CHECK, UPDATE, FORCE } action; /* `check`, `ota`, `ota force` */

static void ICACHE_FLASH_ATTR prompt(void)
{
    print("> ");
}

static void ICACHE_FLASH_ATTR fail(void)
{
    print("failed: %s\r\n", rboot_ota_reason_text(rboot_ota_get_reason()));
    prompt();
}

static uint8 ICACHE_FLASH_ATTR other_rom(void)
{
    return rboot_ota_running_rom() == 0 ? 1 : 0;
}

static uint8 *ICACHE_FLASH_ATTR set_slot(char *request, uint32 size)
{
    request[size - sizeof REQUEST_END] = '0' + rboot_ota_running_rom();
    return (uint8 *)request;
}

static void ICACHE_FLASH_ATTR restart_into(uint8 rom)
{
    if (rboot_ota_switch(rom)) {
        print("restarting into ROM %d\r\n", rom);
        machine_restart();
        return;
    }
    print("no valid ROM %d\r\n", rom);
    prompt();
}

/* The version on trial: installed, but not confirmed yet. If the loader has rolled it back, `ota` must not install it
 * again. It is kept in RTC memory, which survives a crash; after a power cut the version is tried again. */

#define TRIAL_BLOCK 96 /* of RTC memory; rBoot's data are at 64 */
#define TRIAL_MAGIC 0x54524C31

typedef union {
    struct {
        uint32 magic;
        char version[RBOOT_VERSION_SIZE];
    } data;
    uint32 words[1 + RBOOT_VERSION_SIZE / 4];
} trial;

static void ICACHE_FLASH_ATTR remember_trial(const char *version)
{
    trial record = {.data.magic = version ? TRIAL_MAGIC : 0};
    uint32 i;
    for (i = 0; version && version[i] && i < sizeof record.data.version - 1; i++) {
        record.data.version[i] = version[i];
    }
    ota_port_rtc_write(TRIAL_BLOCK, record.words, sizeof record.words / 4);
}

static bool ICACHE_FLASH_ATTR was_tried(const char *version)
{
    trial record;
    if (!ota_port_rtc_read(TRIAL_BLOCK, record.words, sizeof record.words / 4) || record.data.magic != TRIAL_MAGIC) {
        return false;
    }
    record.data.version[sizeof record.data.version - 1] = 0;
    return rboot_compare_versions(record.data.version, version) == RBOOT_SAME;
}

/* `ota` */

static char new_version[RBOOT_VERSION_SIZE];

static void ICACHE_FLASH_ATTR on_update_end(void *arg, bool result)
{
    rboot_ota *ota = arg;
    if (result) {
        uint32 done, total;
        rboot_ota_progress(&done, &total);
        print("%d of %d bytes written and verified\r\n", done, total);
        remember_trial(new_version);
        restart_into(ota->rom_slot);
    } else {
        fail();
    }
}

static void ICACHE_FLASH_ATTR fetch_rom(void)
{
    static rboot_ota ota = {.ip = {SERVER_IP}, .port = SERVER_PORT, .callback = on_update_end};
    static char request0[] = REQUEST("rom0.bin"), request1[] = REQUEST("rom1.bin");
    ota.rom_slot = other_rom();
    ota.request = ota.rom_slot ? set_slot(request1, sizeof request1) : set_slot(request0, sizeof request0);
    print("fetching rom%d.bin\r\n", ota.rom_slot);
    if (!rboot_ota_start(&ota)) {
        fail();
    }
}

static void ICACHE_FLASH_ATTR on_version(rboot_version_check *check, rboot_version_order order)
{
    if (order == RBOOT_UNKNOWN) {
        fail();
        return;
    }
    print("the server has %s: %s\r\n", check->server_version,
               order == RBOOT_NEWER ? "newer" : order == RBOOT_SAME ? "the same" : "older");
    if (order != RBOOT_NEWER || action == CHECK) {
        prompt();
    } else if (action == UPDATE && was_tried(check->server_version)) {
        print("%s was tried and not confirmed; `ota force` installs it again\r\n", check->server_version);
        prompt();
    } else {
        uint32 i;
        for (i = 0; i < sizeof new_version; i++) {
            new_version[i] = check->server_version[i];
        }
        fetch_rom();
    }
}

static void ICACHE_FLASH_ATTR check_version(void)
{
    static char request[] = REQUEST("version");
    static rboot_version_check check = {
        .ip = {SERVER_IP},
        .port = SERVER_PORT,
        .request = (uint8 *)request,
        .own_version = RBOOT_VERSION,
        .callback = on_version,
    };
    set_slot(request, sizeof request);
    if (!rboot_ota_check_version(&check)) {
        fail();
    }
}

/* Other commands */

static void ICACHE_FLASH_ATTR show_info(void)
{
    rboot_config config = rboot_get_config();
    uint32 i;
    uint8 mode = MODE_STANDARD;
    print("version %s, running ROM %d", RBOOT_VERSION, rboot_ota_running_rom());
    if (!rboot_get_last_boot_mode(&mode)) {
        print(", no RTC data");
    } else if (mode & MODE_TEMP_ROM) {
        print("%s", config.current_rom == rboot_ota_running_rom() ? ", confirmed" : ", not confirmed");
    }
    print("\r\n");
    for (i = 0; i < config.count && i < MAX_ROMS; i++) {
        print("ROM %d at 0x%x%s\r\n", i, config.roms[i], i == config.current_rom ? ", current" : "");
    }
}

/* `wifi SSID PASSWORD`: a word with spaces is in quotes */

static const char *ICACHE_FLASH_ATTR find_word_end(const char *word)
{
    char last = *word == '"' ? '"' : ' ';
    word += last == '"';
    while (*word && *word != last) {
        word++;
    }
    return word + (*word == '"');
}

/* Copy a word without its quotes; false if it is too long. */
static bool ICACHE_FLASH_ATTR copy_word(char *to, uint32 size, const char *word)
{
    const char *end = find_word_end(word);
    uint32 used = 0;
    for (; word < end; word++) {
        if (*word != '"') {
            if (used + 1 == size) {
                return false;
            }
            to[used++] = *word;
        }
    }
    to[used] = 0;
    return true;
}

static bool ICACHE_FLASH_ATTR is_wifi(const char *line)
{
    return line[0] == 'w' && line[1] == 'i' && line[2] == 'f' && line[3] == 'i' && line[4] == ' ';
}

/* Return true if the next character of the line is part of a password. */
static bool ICACHE_FLASH_ATTR is_secret(const char *line)
{
    return is_wifi(line) && *find_word_end(line + 5) == ' ';
}

static void ICACHE_FLASH_ATTR set_wifi(const char *words)
{
    char ssid[SSID_SIZE], password[PASSWORD_SIZE];
    const char *second = find_word_end(words);
    second += *second == ' ';
    if (!copy_word(ssid, sizeof ssid, words) || !copy_word(password, sizeof password, second) || !ssid[0]) {
        print("expected: wifi SSID PASSWORD, at most 32 and 64 characters\r\n");
    } else if (machine_set_wifi(ssid, password)) {
        print("connecting to %s\r\n", ssid);
    } else {
        print("no Wi-Fi on this device\r\n");
    }
}

static void ICACHE_FLASH_ATTR show_wifi(void)
{
    char ssid[SSID_SIZE];
    print("Wi-Fi: %s\r\n", machine_get_wifi(ssid) ? ssid : "not set");
}

static bool ICACHE_FLASH_ATTR equals(const char *line, const char *command)
{
    while (*line && *line == *command) {
        line++;
        command++;
    }
    return *line == *command;
}

static void ICACHE_FLASH_ATTR show_help(void)
{
    print("help      list the commands\r\n");
    print("info      show the running ROM and all ROMs\r\n");
    print("version   show the version\r\n");
    print("check     check for a newer version\r\n");
    print("ota       update to a newer version; `ota force`: even one not confirmed before\r\n");
    print("confirm   make the running ROM permanent\r\n");
    print("switch    restart into the other ROM\r\n");
    print("wifi      show the network; `wifi SSID PASSWORD` sets it\r\n");
    print("restart   restart the device\r\n");
}

static void ICACHE_FLASH_ATTR run_command(const char *line)
{
    if (equals(line, "check") || equals(line, "ota") || equals(line, "ota force")) {
        action = equals(line, "check") ? CHECK : equals(line, "ota") ? UPDATE : FORCE;
        check_version();
    } else if (equals(line, "switch")) {
        restart_into(other_rom());
    } else if (equals(line, "restart")) {
        machine_restart();
    } else {
        if (equals(line, "info")) {
            show_info();
        } else if (equals(line, "version")) {
            print("%s\r\n", RBOOT_VERSION);
        } else if (equals(line, "confirm")) {
            bool is_confirmed = rboot_ota_confirm();
            if (is_confirmed) {
                remember_trial(NULL);
            }
            print("%s\r\n", is_confirmed ? "confirmed" : "not confirmed");
        } else if (equals(line, "wifi")) {
            show_wifi();
        } else if (is_wifi(line)) {
            set_wifi(line + 5);
        } else if (line[0]) {
            show_help();
        }
        prompt();
    }
}

void ICACHE_FLASH_ATTR app_start(void)
{
    print("\r\nversion %s, ROM %d\r\n", RBOOT_VERSION, rboot_ota_running_rom());
    prompt();
}

void ICACHE_FLASH_ATTR app_key(char character)
{
    static char line[112];
    static uint32 used;
    if (character == '\r' || character == '\n') {
        line[used] = 0;
        used = 0;
        print("\r\n");
        run_command(line);
    } else if (character == '\b' || character == 0x7F) {
        if (used) {
            used--;
            print("\b \b");
        }
    } else if (character >= ' ' && used < sizeof line - 1) {
        line[used] = 0;
        print("%c", is_secret(line) ? '*' : character);
        line[used++] = character;
    }
}
