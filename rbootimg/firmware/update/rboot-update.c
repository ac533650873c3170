/* See rboot-update.h. Each function that starts a step of rboot-ota.c names the function that continues after it. */
#include "rboot-update.h"

#include "ota_private.h"
#include "ota_sha256.h"
#include "ota_signature.h"
#include "ota_store.h"
#include "ota_update.h"
#include "ota_update_port.h"

#define NEXT_STEP_DELAY 1    /* ms */
#define CHECK_INTERVAL 10000 /* ms, on a trial boot */
#define TRIAL_SECONDS 300
#define LONGEST_ADDITION 120 /* bytes that a request may have more than the first one: path of the ROM, failures */

static struct {
    const rboot_update *update;
    uint32 used; /* bytes of the request */
    ota_slot slot;
    rboot_ota_requirements requirements;
    uint32 key;    /* number of the key that signed the offer, in part */
    uint32 digest; /* first word of the ROM's */
    uint8 rom;     /* number of the slot */
    uint8 failure; /* reason of the last failure */
    uint8 ip[4];
    bool is_resolving, has_address;
    bool is_verified;   /* the offer */
    bool confirms;      /* on a trial boot: a verified file confirms the ROM, which was not done yet */
    bool only_confirms; /* and that is all */
    bool is_installing;
    ota_update offer; /* its app and device are valid in read_update only */
    char request[RBOOT_UPDATE_REQUEST_SIZE];
} self;

/* The request */

static void ICACHE_FLASH_ATTR add(const char *text)
{
    while (*text && self.used < sizeof self.request) {
        self.request[self.used++] = *text++;
    }
}

static void ICACHE_FLASH_ATTR add_digit(uint32 digit)
{
    char text[2];
    text[0] = (char)(digit < 10 ? '0' + digit : 'a' + digit - 10);
    text[1] = 0;
    add(text);
}

/* Add a number up to 99,999. A division would take a function of libgcc. */
static void ICACHE_FLASH_ATTR add_number(uint32 number)
{
    static const uint16 powers[] = {10000, 1000, 100, 10, 1};
    uint32 i;
    bool has_started = false;
    for (i = 0; i < sizeof powers / sizeof *powers; i++) {
        uint32 digit = 0;
        while (number >= powers[i]) {
            number -= powers[i];
            digit++;
        }
        has_started = has_started || digit || powers[i] == 1;
        if (has_started) {
            add_digit(digit);
        }
    }
}

/* Build the request for the file `update`, or for the ROM; false if it does not fit. */
static bool ICACHE_FLASH_ATTR build_request(bool is_rom)
{
    uint32 cause, address, shift;
    self.used = 0;
    add("GET ");
    add(self.update->path);
    if (is_rom) {
        add("releases/");
        add(self.offer.version);
        add("/rom");
        add_number(self.rom);
        add(".bin");
    } else {
        add("update");
    }
    add(" HTTP/1.0\r\nHost: ");
    add(self.update->host);
    if (self.update->port != 80) {
        add(":");
        add_number(self.update->port);
    }
    add("\r\nUser-Agent: rboot-update/1 (app ");
    add(self.update->app);
    add("; version ");
    add(self.update->version);
    add("; slot ");
    add_number(rboot_ota_running_rom());
    if (self.failure) {
        add("; failed ");
        add_number(self.failure);
    }
    if (ota_port_reset_info(&cause, &address)) {
        add("; reset ");
        add_number(cause);
        add(" ");
        for (shift = 32; shift; shift -= 4) {
            add_digit(address >> (shift - 4) & 15);
        }
    }
    add(")\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n");
    if (self.used == sizeof self.request) {
        return false;
    }
    self.request[self.used] = 0;
    return true;
}

/* Return true for a text that can be part of a request: characters without blanks. */
static bool ICACHE_FLASH_ATTR is_word(const char *text)
{
    const char *at = text;
    while (at && *at > ' ' && *at < 0x7F) {
        at++;
    }
    return at && at > text && *at == 0;
}

static bool ICACHE_FLASH_ATTR is_path(const char *text)
{
    const char *end = text;
    if (!is_word(text) || *text != '/') {
        return false;
    }
    while (end[1]) {
        end++;
    }
    return *end == '/';
}

static bool ICACHE_FLASH_ATTR is_valid(const rboot_update *update)
{
    return update && is_word(update->host) && is_path(update->path) && is_word(update->app) &&
           is_word(update->device) && update->device_id && update->version && update->on_result &&
           rboot_compare_versions(update->version, update->version) == RBOOT_SAME;
}

/* Parse an address such as 192.168.7.5; false if it is a name. */
static bool ICACHE_FLASH_ATTR parse_address(const char *text, uint8 *ip)
{
    uint32 i;
    for (i = 0; i < 4; i++) {
        uint32 number = 0, digits = 0;
        for (; *text >= '0' && *text <= '9' && digits < 3; digits++) {
            number = number * 10 + (uint32)(*text++ - '0');
        }
        if (!digits || number > 255 || *text != (i < 3 ? '.' : 0)) {
            return false;
        }
        ip[i] = (uint8)number;
        text++;
    }
    return true;
}

/* Results */

static void begin_check(rboot_ota_reason reason);

static void ICACHE_FLASH_ATTR report(rboot_update_result result, rboot_ota_reason reason)
{
    self.is_installing = false;
    ota_end(reason);
    self.update->on_result(self.update, result);
}

/* End with a failure. On a trial boot: try again, or give up and restart into the old ROM. */
static void ICACHE_FLASH_ATTR fail(rboot_ota_reason reason)
{
    uint32 limit = self.update->trial_seconds ? self.update->trial_seconds : TRIAL_SECONDS;
    bool gives_up = self.confirms;
    self.failure = (uint8)reason;
    if (self.confirms && ota_clock() < limit * 1000) {
        ota_wait(CHECK_INTERVAL, begin_check);
        return;
    }
    if (gives_up) {
        ota_store_fail_trial(rboot_ota_running_rom());
    }
    report(RBOOT_UPDATE_FAILED, reason);
    if (gives_up) {
        ota_port_restart();
    }
}

bool ICACHE_FLASH_ATTR rboot_update_is_trial(void)
{
    rboot_rtc_data rtc;
    return rboot_get_rtc_data(&rtc) && rtc.last_mode & MODE_TEMP_ROM && rtc.last_rom != rboot_get_current_rom();
}

static void ICACHE_FLASH_ATTR remember_serial(void)
{
#ifdef RBOOT_UPDATE_KEYS /* an unsigned file could block all that follow */
    if (self.is_verified) {
        ota_store_raise_serial(self.key, self.offer.serial);
    }
#endif
}

bool ICACHE_FLASH_ATTR rboot_update_confirm(void)
{
    /* First, so that a power cut while the config is written leaves no failed trial. */
    ota_store_end_trial(rboot_ota_running_rom());
    if (!rboot_ota_confirm()) {
        return false;
    }
    remember_serial();
    return true;
}

/* End with nothing to install. */
static void ICACHE_FLASH_ATTR settle(rboot_update_result result)
{
    if (!rboot_update_is_trial()) {
        remember_serial();
    }
    report(result, OTA_OK);
}

const char *ICACHE_FLASH_ATTR rboot_update_offered_version(void)
{
    return self.is_verified ? self.offer.version : "";
}

/* The ROM */

/* Return true if the slot boots at the next restart, once. */
static bool ICACHE_FLASH_ATTR is_switched(void)
{
    rboot_rtc_data rtc;
    return rboot_get_rtc_data(&rtc) && rtc.next_mode & MODE_TEMP_ROM && rtc.temp_rom == self.rom;
}

static void ICACHE_FLASH_ATTR switch_rom(void)
{
    rboot_rtc_data rtc;
    bool has_trial = rboot_get_rtc_data(&rtc), is_done = is_switched();
    if (has_trial && !is_done && !ota_store_prepare_trial(self.rom, self.digest)) {
        fail(OTA_FLASH);
    } else if (!is_done && !rboot_ota_switch(self.rom)) {
        fail(OTA_BAD_ROM);
    } else {
        if (!has_trial) {
            remember_serial();
        }
        report(RBOOT_UPDATE_READY, OTA_OK);
    }
}

static void ICACHE_FLASH_ATTR on_rom(rboot_ota_reason reason)
{
    if (reason == OTA_OK) {
        switch_rom();
    } else {
        fail(reason);
    }
}

/* Fetch the ROM, unless the slot has it. */
static void ICACHE_FLASH_ATTR on_slot_verified(rboot_ota_reason reason)
{
    rboot_rtc_data rtc;
    if (reason == OTA_OK) {
        switch_rom();
        return;
    }
    if (rboot_get_rtc_data(&rtc) && rtc.next_mode & MODE_TEMP_ROM) { /* rBoot would stop at an incomplete temp ROM */
        rtc.next_mode = MODE_STANDARD;
        rboot_set_rtc_data(&rtc);
    }
    if (!build_request(true)) {
        fail(OTA_ARGUMENT);
    } else if (!ota_fetch_rom(self.ip, self.update->port, (uint8 *)self.request, &self.slot, self.offer.rom_size,
                              &self.requirements, on_rom)) {
        fail(OTA_NO_CONNECTION);
    }
}

/* Called by rboot-ota.c while it fetches or verifies a ROM. */
void ICACHE_FLASH_ATTR ota_progress(void)
{
    if (self.is_installing && self.update->on_progress) {
        uint32 done, total;
        rboot_ota_progress(&done, &total);
        self.update->on_progress(self.update, done, total);
    }
}

/* The decision */

static void ICACHE_FLASH_ATTR add_text(ota_sha256 *sha, const char *text)
{
    uint32 size = 0;
    while (text[size++]) { /* with the zero at its end */
    }
    ota_sha256_add(sha, (const uint8 *)text, size);
}

/* rbootimg/release/update.py has the same function. */
static bool ICACHE_FLASH_ATTR is_in_rollout(void)
{
    ota_sha256 sha;
    uint32 shift = 19;
    ota_sha256_init(&sha);
    add_text(&sha, self.update->app);
    add_text(&sha, self.offer.version);
    add_text(&sha, self.update->device_id);
    ota_sha256_finish(&sha);
    while (shift--) { /* modulo; a division takes a function of libgcc */
        if (sha.state[0] >= (uint32)OTA_ROLLOUT_ALL << shift) {
            sha.state[0] -= (uint32)OTA_ROLLOUT_ALL << shift;
        }
    }
    return sha.state[0] < self.offer.rollout;
}

static void ICACHE_FLASH_ATTR decide(void)
{
    rboot_version_order order = rboot_compare_versions(self.offer.version, self.update->version);
    if (order != RBOOT_NEWER && (order != RBOOT_OLDER || !self.offer.is_own_withdrawn)) {
        settle(RBOOT_UPDATE_CURRENT);
        return;
    }
#ifdef RBOOT_LOWEST_VERSION
    order = rboot_compare_versions(self.offer.version, RBOOT_LOWEST_VERSION);
    if (order != RBOOT_NEWER && order != RBOOT_SAME) {
        fail(OTA_LOWEST_VERSION);
        return;
    }
#endif
    if (!self.offer.is_own_withdrawn && !self.update->is_forced && !is_in_rollout()) {
        settle(RBOOT_UPDATE_HELD_BACK);
    } else if (ota_is_slot_in_use(self.rom)) {
        fail(OTA_SLOT_IN_USE);
    } else if (!self.update->is_forced && !is_switched() && ota_store_has_failed(self.digest)) {
        fail(OTA_FAILED_TRIAL);
    } else {
        self.is_installing = true;
        self.requirements.sha256 = self.offer.sha256;
        ota_verify_rom(&self.slot, self.offer.rom_size, &self.requirements, on_slot_verified);
    }
}

/* The file */

/* Choose the slot to write: the lowest that is neither running nor current. On a trial boot there may be none: then the
 * one that is free after the confirmation. */
static uint8 ICACHE_FLASH_ATTR choose_slot(void)
{
    uint8 count = rboot_get_config().count, running = rboot_ota_running_rom(), rom;
    for (rom = 0; rom < count && ota_is_slot_in_use(rom); rom++) {
    }
    if (rom >= count) {
        rom = running == 0;
    }
    return rom;
}

/* Verify and parse the file in ota_scratch. OTA_OK if it is for this device and its slot. */
static rboot_ota_reason ICACHE_FLASH_ATTR read_update(void)
{
    char *text = (char *)ota_scratch;
    uint32 size = ota_text_size();
    rboot_ota_reason reason;
    self.is_verified = false;
    self.rom = choose_slot();
    reason = ota_verify_signature(&text, &size, &self.key);
    if (reason != OTA_OK) {
        return reason;
    }
    /* The bytes that were verified: nothing may use ota_scratch in between. */
    if (!ota_update_parse(&self.offer, text, size, self.update->version, self.rom)) {
        return OTA_NOT_AN_UPDATE;
    }
    if (!ota_equals(self.offer.app, self.update->app)) {
        return OTA_OTHER_APP;
    }
    if (!ota_equals(self.offer.device, self.update->device)) {
        return OTA_OTHER_DEVICE;
    }
#ifdef RBOOT_UPDATE_KEYS
    if (self.offer.serial < ota_store_get_serial(self.key)) {
        return OTA_OLD_SERIAL;
    }
#endif
    reason = ota_find_slot(self.rom, &self.slot);
    if (reason != OTA_OK) {
        return reason;
    }
    if (!self.offer.has_rom || self.offer.rom_size == 0) {
        return OTA_NO_ROM;
    }
    if (self.offer.flash_address != self.slot.address) {
        return OTA_LAYOUT;
    }
#ifdef RBOOT_SLOTS
    if (self.offer.slot_size != self.slot.size) {
        return OTA_LAYOUT;
    }
#endif
    if (self.offer.rom_size > self.slot.size) {
        return OTA_TOO_BIG;
    }
    ota_copy(&self.digest, self.offer.sha256, sizeof self.digest);
    self.is_verified = true;
    return OTA_OK;
}

static void ICACHE_FLASH_ATTR on_update(rboot_ota_reason reason)
{
    if (reason == OTA_OK) {
        reason = read_update();
    }
    if (reason != OTA_OK) {
        fail(reason);
        return;
    }
    if (self.confirms) {
        if (!rboot_update_confirm()) {
            fail(OTA_FLASH);
            return;
        }
        self.confirms = false;
        if (self.only_confirms) {
            report(RBOOT_UPDATE_CONFIRMED, OTA_OK);
            return;
        }
    }
    decide();
}

/* The check */

static void ICACHE_FLASH_ATTR fetch_update(rboot_ota_reason reason)
{
    (void)reason;
    self.is_resolving = false;
    if (!self.has_address) {
        fail(OTA_NO_HOST);
    } else if (!build_request(false)) {
        fail(OTA_ARGUMENT);
    } else if (!ota_fetch_text(self.ip, self.update->port, (uint8 *)self.request, ota_scratch, OTA_MAX_UPDATE_SIZE,
                               RBOOT_UPDATE_FILE_TIMEOUT, on_update)) {
        fail(OTA_NO_CONNECTION);
    }
}

void ICACHE_FLASH_ATTR ota_event_resolved(const uint8 *ip)
{
    if (self.is_resolving) {
        self.is_resolving = false;
        if (ip) {
            ota_copy(self.ip, ip, sizeof self.ip);
            self.has_address = true;
        }
        ota_wait(NEXT_STEP_DELAY, fetch_update);
    }
}

static void ICACHE_FLASH_ATTR begin_check(rboot_ota_reason reason)
{
    self.has_address = parse_address(self.update->host, self.ip);
    if (self.has_address) {
        fetch_update(reason);
    } else {
        self.is_resolving = true;
        ota_wait(OTA_NETWORK_TIMEOUT, fetch_update);
        ota_port_resolve(self.update->host);
    }
}

static bool ICACHE_FLASH_ATTR start(const rboot_update *update, bool only_confirms)
{
    bool is_trial = rboot_update_is_trial();
    if (!ota_begin()) {
        return false;
    }
    self.update = update;
    if (!is_valid(update) || !build_request(false) || self.used + LONGEST_ADDITION > sizeof self.request) {
        ota_end(OTA_ARGUMENT);
        return false;
    }
    self.only_confirms = only_confirms;
    self.confirms = is_trial && (only_confirms || !update->keeps_trial);
    if (!is_trial) {
        ota_store_end_trial(rboot_ota_running_rom()); /* confirmed by rboot_ota_confirm */
    }
    ota_wait(NEXT_STEP_DELAY, begin_check);
    return true;
}

bool ICACHE_FLASH_ATTR rboot_update_start(const rboot_update *update)
{
    return start(update, false);
}

bool ICACHE_FLASH_ATTR rboot_update_confirm_after_check(const rboot_update *update)
{
    return rboot_update_is_trial() && start(update, true);
}
