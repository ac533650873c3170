/* Over-the-air updates, controlled by a command line on the UART. */
#include "app.h"

#include "rboot-update.h"

#ifdef __ets__ /* defined for the SDK */
#include "osapi.h"
#define print os_printf
#else
extern int ets_printf(const char *format, ...); /* in the mask ROM */
#define print ets_printf
#endif

#include "rboot-version.h" /* RBOOT_VERSION, from `env.RbootVersionHeader()` */
#include "settings.h" /* SERVER_HOST, SERVER_PORT, TRIAL_SECONDS, from SConstruct */

static void ICACHE_FLASH_ATTR prompt(void)
{
    print("> ");
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
    print("no valid ROM %d\r\n", rom);
    prompt();
}

/* `update`, and the trial of a new ROM */

static void ICACHE_FLASH_ATTR on_result(const rboot_update *update, rboot_update_result result)
{
    (void)update;
    switch (result) {
    case RBOOT_UPDATE_READY:
        print("restarting into %s\r\n", rboot_update_offered_version());
        machine_restart();
        return;
    case RBOOT_UPDATE_CURRENT:
        print("no newer version\r\n");
        break;
    case RBOOT_UPDATE_HELD_BACK:
        print("%s is not for this device yet\r\n", rboot_update_offered_version());
        break;
    case RBOOT_UPDATE_CONFIRMED:
        print("confirmed: ROM %d is permanent\r\n", rboot_ota_running_rom());
        break;
    default:
        print("failed: %s\r\n", rboot_ota_reason_text(rboot_ota_get_reason()));
        if (rboot_update_is_trial()) {
            print("restarting into the old ROM\r\n"); /* the client does so now */
            return;
        }
        break;
    }
    prompt();
}

static rboot_update update = {
    .host = SERVER_HOST,
    .port = SERVER_PORT,
    .path = "/",
    .app = "app",
    .device = "esp8266",
    .version = RBOOT_VERSION,
    .trial_seconds = TRIAL_SECONDS,
    .on_result = on_result,
};

static void ICACHE_FLASH_ATTR start_update(bool is_forced)
{
    update.is_forced = is_forced;
    if (!rboot_update_start(&update)) {
        print("failed: %s\r\n", rboot_ota_reason_text(rboot_ota_get_reason()));
        prompt();
    }
}

/* Other commands */

static void ICACHE_FLASH_ATTR show_info(void)
{
    rboot_config config = rboot_get_config();
    uint32 i;
    print("version %s, running ROM %d%s\r\n", RBOOT_VERSION, rboot_ota_running_rom(),
          rboot_update_is_trial() ? ", on trial" : "");
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
    print("update    install a newer version; `update force`: also one that failed its trial\r\n");
    print("switch    restart into the other ROM\r\n");
    print("wifi      show the network; `wifi SSID PASSWORD` sets it\r\n");
    print("restart   restart the device\r\n");
}

static void ICACHE_FLASH_ATTR run_command(const char *line)
{
    if (equals(line, "update") || equals(line, "update force")) {
        start_update(equals(line, "update force"));
    } else if (equals(line, "switch")) {
        restart_into(other_rom());
    } else if (equals(line, "restart")) {
        machine_restart();
    } else {
        if (equals(line, "info")) {
            show_info();
        } else if (equals(line, "version")) {
            print("%s\r\n", RBOOT_VERSION);
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
    update.device_id = machine_get_id();
    if (rboot_update_confirm_after_check(&update)) {
        print("on trial until it has verified an update file\r\n");
    } else {
        prompt();
    }
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
