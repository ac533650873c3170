/* Over-the-air updates: a command line on the UART. */
#include "app.h"

#include "ota_port.h"
#include "rboot-ota.h"

#ifdef __ets__ /* the SDK's */
#include "osapi.h"
#define print os_printf
#else
extern int ets_printf(const char *format, ...); /* the mask ROM's */
#define print ets_printf
#endif

#include "rboot-version.h" /* RBOOT_VERSION, from `env.RbootVersionHeader()` */
#include "settings.h" /* SERVER_IP, SERVER_PORT, SERVER_HOST, from SConstruct */
#define REQUEST(file) \
    "GET /" file " HTTP/1.0\r\nHost: " SERVER_HOST "\r\nUser-Agent: rbootimg-example/" RBOOT_VERSION "\r\n\r\n"

static enum { CHECK, UPDATE, FORCE } wanted; /* `check`, `ota`, `ota force` */

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

static void ICACHE_FLASH_ATTR restart_into(uint8 rom)
{
    if (rboot_ota_switch(rom)) {
        print("restarting into ROM %d\r\n", rom);
        machine_restart();
        return;
    }
    print("there is no ROM %d\r\n", rom);
    prompt();
}

/* The version on trial. If the loader took its ROM back, as nobody confirmed it, `ota` must not install it again and
 * again. RTC memory is what a crash leaves: after a power cut the version gets another chance. */

#define TRIAL_BLOCK 96 /* rBoot's data are at 64 */
#define TRIAL_MAGIC 0x54524C31

typedef union {
    struct {
        uint32 magic;
        char version[RBOOT_VERSION_SIZE];
    } of;
    uint32 words[1 + RBOOT_VERSION_SIZE / 4];
} trial;

static void ICACHE_FLASH_ATTR remember_trial(const char *version)
{
    trial now = {.of.magic = version ? TRIAL_MAGIC : 0};
    uint32 i;
    for (i = 0; version && version[i] && i < sizeof now.of.version - 1; i++) {
        now.of.version[i] = version[i];
    }
    ota_port_rtc_write(TRIAL_BLOCK, now.words, sizeof now.words / 4);
}

static bool ICACHE_FLASH_ATTR was_tried(const char *version)
{
    trial last;
    if (!ota_port_rtc_read(TRIAL_BLOCK, last.words, sizeof last.words / 4) || last.of.magic != TRIAL_MAGIC) {
        return false;
    }
    last.of.version[sizeof last.of.version - 1] = 0;
    return rboot_compare_versions(last.of.version, version) == RBOOT_SAME;
}

/* `ota` */

static char new_version[RBOOT_VERSION_SIZE];

static void ICACHE_FLASH_ATTR at_end(void *arg, bool result)
{
    rboot_ota *ota = arg;
    if (result) {
        uint32 done, all;
        rboot_ota_progress(&done, &all);
        print("%d of %d bytes written and verified\r\n", done, all);
        remember_trial(new_version);
        restart_into(ota->rom_slot);
    } else {
        fail();
    }
}

static void ICACHE_FLASH_ATTR fetch_rom(void)
{
    static rboot_ota ota = {.ip = {SERVER_IP}, .port = SERVER_PORT, .callback = at_end};
    static char request0[] = REQUEST("rom0.bin"), request1[] = REQUEST("rom1.bin");
    ota.rom_slot = other_rom();
    ota.request = (uint8 *)(ota.rom_slot ? request1 : request0);
    print("fetching rom%d.bin\r\n", ota.rom_slot);
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
    print("the server has %s: %s\r\n", check->found,
               order == RBOOT_NEWER ? "newer" : order == RBOOT_SAME ? "the same" : "older");
    if (order != RBOOT_NEWER || wanted == CHECK) {
        prompt();
    } else if (wanted == UPDATE && was_tried(check->found)) {
        print("%s was tried and not confirmed; `ota force` installs it again\r\n", check->found);
        prompt();
    } else {
        uint32 i;
        for (i = 0; i < sizeof new_version; i++) {
            new_version[i] = check->found[i];
        }
        fetch_rom();
    }
}

static void ICACHE_FLASH_ATTR check_version(void)
{
    static char request[] = REQUEST("version");
    static rboot_version_check check = {
        .ip = {SERVER_IP}, .port = SERVER_PORT, .request = (uint8 *)request, .own = RBOOT_VERSION, .callback = at_version};
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
    print("version %s, ROM %d runs", RBOOT_VERSION, rboot_ota_running_rom());
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

/* `wifi SSID PASSWORD`, each in quotes if there are blanks in it */

static const char *ICACHE_FLASH_ATTR end_of_word(const char *word)
{
    char last = *word == '"' ? '"' : ' ';
    word += last == '"';
    while (*word && *word != last) {
        word++;
    }
    return word + (*word == '"');
}

/* The word without its quotes; false if it is too long. */
static bool ICACHE_FLASH_ATTR copy_word(char *to, uint32 size, const char *word)
{
    const char *end = end_of_word(word);
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

/* Whether the next character of the line belongs to a password. */
static bool ICACHE_FLASH_ATTR is_secret(const char *line)
{
    return is_wifi(line) && *end_of_word(line + 5) == ' ';
}

static void ICACHE_FLASH_ATTR set_wifi(const char *words)
{
    char ssid[SSID_SIZE], password[PASSWORD_SIZE];
    const char *second = end_of_word(words);
    second += *second == ' ';
    if (!copy_word(ssid, sizeof ssid, words) || !copy_word(password, sizeof password, second) || !ssid[0]) {
        print("expected: wifi SSID PASSWORD, at most 32 and 64 characters\r\n");
    } else if (machine_set_wifi(ssid, password)) {
        print("connecting to %s\r\n", ssid);
    } else {
        print("there is no Wi-Fi\r\n");
    }
}

static void ICACHE_FLASH_ATTR show_wifi(void)
{
    char ssid[SSID_SIZE];
    print("Wi-Fi: %s\r\n", machine_get_wifi(ssid) ? ssid : "not set");
}

static bool ICACHE_FLASH_ATTR is(const char *line, const char *command)
{
    while (*line && *line == *command) {
        line++;
        command++;
    }
    return *line == *command;
}

static void ICACHE_FLASH_ATTR show_help(void)
{
    print("help      this\r\n");
    print("info      which ROM runs, and which there are\r\n");
    print("version   this version\r\n");
    print("check     is there a newer one?\r\n");
    print("ota       update to a newer one; `ota force`: also to one that was not confirmed\r\n");
    print("confirm   keep the ROM that runs\r\n");
    print("switch    restart into the other ROM\r\n");
    print("wifi      which network; `wifi SSID PASSWORD` sets it\r\n");
    print("restart\r\n");
}

static void ICACHE_FLASH_ATTR obey(const char *line)
{
    if (is(line, "check") || is(line, "ota") || is(line, "ota force")) {
        wanted = is(line, "check") ? CHECK : is(line, "ota") ? UPDATE : FORCE;
        check_version();
    } else if (is(line, "switch")) {
        restart_into(other_rom());
    } else if (is(line, "restart")) {
        machine_restart();
    } else {
        if (is(line, "info")) {
            show_info();
        } else if (is(line, "version")) {
            print("%s\r\n", RBOOT_VERSION);
        } else if (is(line, "confirm")) {
            bool is_confirmed = rboot_ota_confirm();
            if (is_confirmed) {
                remember_trial(NULL);
            }
            print("%s\r\n", is_confirmed ? "confirmed" : "not confirmed");
        } else if (is(line, "wifi")) {
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
        obey(line);
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
