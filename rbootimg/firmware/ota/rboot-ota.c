/* State machine of an update or a version check, driven by the port's events.
 *
 * The connection is always closed from the timer event, as the SDK forbids it in network events; the callback of the
 * application is called from there too.
 *
 * The first word of a ROM is written last, after the rest has been verified: until then no loader accepts the slot. */
#include "ota_http.h"
#include "ota_private.h"
#include "ota_sha256.h"
#include "ota_verify.h"

#define MEGABYTE ESP8266_WINDOW_SIZE
#define MIN_ROM_SIZE 32
#define CLOSE_TIMEOUT 5000 /* ms */
#define NEXT_STEP_DELAY 1  /* ms */
#define TICK_MS 500        /* interval of the timeout checks */

#ifdef BOOT_IROM_CHKSUM
#define IROM_CHECKSUM true
#else
#define IROM_CHECKSUM false
#endif

enum state { IDLE, CONNECTING, HEADER, BODY, ENDING, CLOSING, CLOSED, VERIFYING };

static struct {
    uint8 state, reason;
    rboot_ota *ota;             /* NULL in a version check */
    rboot_version_check *check; /* NULL in an update */
    const rboot_ota_requirements *requirements;
    uint32 slot, slot_size;  /* flash address and size of the slot */
    uint32 size, done;       /* bytes of the body: total, and received or verified so far */
    uint32 elapsed, silence; /* milliseconds since the start, and since the last packet */
    union {
        uint32 word;
        uint8 bytes[4];
    } first_word; /* of the ROM; written to the flash last */
    union {
        struct {
            ota_http http;
            rboot_write_status writer;
        } fetch;
        struct {
            ota_verify verify;
            ota_sha256 sha;
        } verification;
    } phase;
} self;

/* Slots */

uint8 ICACHE_FLASH_ATTR rboot_ota_running_rom(void)
{
    rboot_config config = rboot_get_config();
    size_t code_offset = (size_t)rboot_ota_running_rom - ESP8266_WINDOW_START;
    uint32 slot_offset = 0, i;
    uint8 rom;
    if (!rboot_get_last_boot_rom(&rom)) {
        rom = config.current_rom;
    }
    if (code_offset >= MEGABYTE || config.count > MAX_ROMS) {
        return rom; /* this code is not in the flash window */
    }
    for (i = 0; i < config.count; i++) { /* the slot with the highest start before this code */
        uint32 start = config.roms[i] % MEGABYTE;
        if (start <= code_offset && start > slot_offset) {
            slot_offset = start;
        }
    }
    if (rom < config.count && config.roms[rom] % MEGABYTE == slot_offset) {
        return rom;
    }
    for (i = 0; i < config.count; i++) {
        if (config.roms[i] % MEGABYTE == slot_offset) {
            return (uint8)i;
        }
    }
    return rom;
}

/* Return the flash size in bytes from the header at flash 0: 512 KB if rBoot does not know the code, 0 on failure. */
static uint32 ICACHE_FLASH_ATTR flash_size(void)
{
    uint32 word;
    if (!ota_port_read(0, &word, sizeof word)) {
        return 0;
    }
    switch (word >> 28) {
    case ESP8266_FLASH_256KB: return MEGABYTE / 4;
    case ESP8266_FLASH_1MB: return MEGABYTE;
    case ESP8266_FLASH_2MB: case ESP8266_FLASH_2MB_C1: return 2 * MEGABYTE;
    case ESP8266_FLASH_4MB: case ESP8266_FLASH_4MB_C1: return 4 * MEGABYTE;
    case ESP8266_FLASH_8MB: return 8 * MEGABYTE;
    case ESP8266_FLASH_16MB: return 16 * MEGABYTE;
    default: return RBOOT_UNKNOWN_FLASH_SIZE;
    }
}

#ifdef RBOOT_SLOTS
static const struct {
    uint32 address, size;
} slots[] = {RBOOT_SLOTS};

#define SLOT_COUNT (sizeof slots / sizeof slots[0])
#endif

/* Return true if the flash size, the slots and the config format are those that this code was compiled for. */
static bool ICACHE_FLASH_ATTR is_compatible_layout(const rboot_config *config)
{
#ifdef RBOOT_FLASH_SIZE
    uint32 flash = flash_size();
    if (flash != 0 && flash < RBOOT_FLASH_SIZE) { /* a larger flash is accepted; 0 becomes OTA_FLASH */
        return false;
    }
#endif
#ifdef RBOOT_SLOTS
    uint32 i;
    if (config->count != SLOT_COUNT) {
        return false;
    }
    for (i = 0; i < SLOT_COUNT; i++) {
        if (config->roms[i] != slots[i].address) {
            return false;
        }
    }
#else
    (void)config;
#endif
    return rboot_config_is_compatible();
}

/* Set self.slot and self.slot_size. */
static rboot_ota_reason ICACHE_FLASH_ATTR find_slot(uint8 rom)
{
    rboot_config config = rboot_get_config();
    uint32 flash = flash_size(), end = flash - OTA_RESERVED_END, i;
    if (config.magic != BOOT_CONFIG_MAGIC || config.version != BOOT_CONFIG_VERSION) {
        return OTA_CONFIG;
    }
    if (!is_compatible_layout(&config)) {
        return OTA_LAYOUT;
    }
    if (config.count > MAX_ROMS || rom >= config.count || config.roms[rom] < RBOOT_FIRST_SLOT ||
        config.roms[rom] % SECTOR_SIZE) {
        return OTA_CONFIG;
    }
    if (flash == 0) {
        return OTA_FLASH;
    }
    if (rom == config.current_rom || rom == rboot_ota_running_rom()) {
        return OTA_SLOT_IN_USE;
    }
    self.slot = config.roms[rom];
    if (self.slot / MEGABYTE < (end - 1) / MEGABYTE) { /* the flash window maps one megabyte */
        end = (self.slot / MEGABYTE + 1) * MEGABYTE;
    }
    for (i = 0; i < config.count; i++) {
        if (i != rom && config.roms[i] >= self.slot && config.roms[i] < end) {
            end = config.roms[i];
        }
    }
    self.slot_size = end > self.slot ? end - self.slot : 0;
#ifdef RBOOT_SLOTS
    self.slot_size = slots[rom].size;
#endif
    if (self.requirements && self.requirements->slot_size && self.requirements->slot_size < self.slot_size) {
        self.slot_size = self.requirements->slot_size;
    }
    return OTA_OK;
}

/* Start */

/* Return the size of the request in bytes; 0 if it is missing or too long. */
static uint16 ICACHE_FLASH_ATTR request_size(const uint8 *request)
{
    uint16 size = 0;
    while (request && size <= OTA_MAX_REQUEST_SIZE && request[size]) {
        size++;
    }
    return size <= OTA_MAX_REQUEST_SIZE ? size : 0;
}

/* Start the connection, unless `reason` is an error. */
static bool ICACHE_FLASH_ATTR start_connection(const uint8 *ip, uint16 port, rboot_ota_reason reason)
{
    self.reason = (uint8)reason;
    if (reason != OTA_OK) {
        return false;
    }
    self.state = CONNECTING;
    self.size = self.done = 0;
    self.elapsed = self.silence = 0;
    ota_http_init(&self.phase.fetch.http);
    ota_port_timer(TICK_MS);
    if (!ota_port_connect(ip, port)) {
        ota_port_timer(0);
        self.state = IDLE;
        self.reason = OTA_NO_CONNECTION;
        return false;
    }
    return true;
}

bool ICACHE_FLASH_ATTR rboot_ota_start_with(rboot_ota *ota, const rboot_ota_requirements *requirements)
{
    rboot_ota_reason reason;
    if (self.state != IDLE) {
        return false;
    }
    if (!ota || !request_size(ota->request) || !ota->callback) {
        self.reason = OTA_ARGUMENT;
        return false;
    }
    self.ota = ota;
    self.check = NULL;
    self.requirements = requirements;
    reason = find_slot(ota->rom_slot);
    self.phase.fetch.writer = rboot_write_init(self.slot);
    return start_connection(ota->ip, ota->port, reason);
}

bool ICACHE_FLASH_ATTR rboot_ota_start(rboot_ota *ota)
{
    return rboot_ota_start_with(ota, NULL);
}

bool ICACHE_FLASH_ATTR rboot_ota_check_version(rboot_version_check *check)
{
    if (self.state != IDLE) {
        return false;
    }
    if (!check || !request_size(check->request) || !check->callback || !check->own_version ||
        rboot_compare_versions(check->own_version, check->own_version) != RBOOT_SAME) {
        self.reason = OTA_ARGUMENT;
        return false;
    }
    self.ota = NULL;
    self.check = check;
    return start_connection(check->ip, check->port, OTA_OK);
}

/* End */

static void ICACHE_FLASH_ATTR end_transfer(rboot_ota_reason reason)
{
    self.reason = (uint8)reason;
    self.state = ENDING;
    ota_port_timer(NEXT_STEP_DELAY);
}

static void ICACHE_FLASH_ATTR report_result(rboot_ota_reason reason)
{
    self.reason = (uint8)reason;
    self.state = IDLE;
    if (self.ota) {
        self.ota->callback(self.ota, reason == OTA_OK);
    } else {
        rboot_version_check *check = self.check;
        if (reason != OTA_OK) {
            check->server_version[0] = 0; /* may be incomplete and not terminated */
        }
        check->callback(check, reason == OTA_OK ? rboot_compare_versions(check->server_version, check->own_version)
                                                : RBOOT_UNKNOWN);
    }
}

/* Body */

static rboot_ota_reason ICACHE_FLASH_ATTR add_to_version(const uint8 *data, uint32 size)
{
    char *version = self.check->server_version;
    uint32 length, i;
    ota_copy(version + self.done, data, size);
    self.done += size;
    if (self.done < self.size) {
        return OTA_OK;
    }
    length = self.size - (version[self.size - 1] == '\n');
    for (i = 0; i < length && version[i]; i++) {
    }
    if (i < length || length == RBOOT_VERSION_SIZE) {
        return OTA_NOT_A_VERSION; /* contains a 0, or no space for the terminating 0 */
    }
    version[length] = 0;
    return rboot_compare_versions(version, version) == RBOOT_SAME ? OTA_OK : OTA_NOT_A_VERSION;
}

static rboot_ota_reason ICACHE_FLASH_ATTR add_to_slot(const uint8 *data, uint32 size)
{
    rboot_write_status *writer = &self.phase.fetch.writer;
    while (self.done < 4 && size) {
        self.first_word.bytes[self.done++] = *data++;
        size--;
        if (self.done == 4) {
            uint8 blank[4] = {0xFF, 0xFF, 0xFF, 0xFF};
            bool is_rom = self.first_word.bytes[0] == ESP8266_IMAGE_MAGIC ||
                          (self.first_word.bytes[0] == RBOOT_ROM_MAGIC && self.first_word.bytes[1] == RBOOT_ROM_COUNT);
            if (!is_rom) {
                return OTA_NOT_A_ROM;
            }
            if (!rboot_write_flash(writer, blank, 4)) {
                return OTA_FLASH;
            }
        }
    }
    self.done += size;
    if (!rboot_write_flash(writer, (uint8 *)data, (uint16)size) ||
        (self.done == self.size && !rboot_write_end(writer))) {
        return OTA_FLASH;
    }
    return OTA_OK;
}

static rboot_ota_reason ICACHE_FLASH_ATTR begin_body(void)
{
    self.size = self.phase.fetch.http.length;
    self.state = BODY;
    if (self.size > (self.ota ? self.slot_size : RBOOT_VERSION_SIZE)) {
        return OTA_TOO_BIG;
    }
    if (self.ota) {
        return self.size < MIN_ROM_SIZE ? OTA_NOT_A_ROM : OTA_OK;
    }
    return self.size == 0 ? OTA_NOT_A_VERSION : OTA_OK;
}

/* Verification: the slot is read back */

static void ICACHE_FLASH_ATTR begin_verification(void)
{
    bool irom_checksum = IROM_CHECKSUM || (self.requirements && self.requirements->irom_checksum);
    self.state = VERIFYING;
    self.done = 0;
    ota_verify_init(&self.phase.verification.verify, self.slot, self.size, irom_checksum);
    ota_sha256_init(&self.phase.verification.sha);
    ota_port_timer(NEXT_STEP_DELAY);
}

/* Read and verify the next sector. */
static rboot_ota_reason ICACHE_FLASH_ATTR verify_sector(void)
{
    uint32 part = self.size - self.done < SECTOR_SIZE ? self.size - self.done : SECTOR_SIZE;
    if (!ota_port_read(self.slot + self.done, ota_scratch, (part + 3) / 4 * 4)) {
        return OTA_FLASH;
    }
    if (self.done == 0) {
        ota_scratch[0] = self.first_word.word;
    }
    ota_verify_add(&self.phase.verification.verify, ota_scratch, part / 4);
    if (self.requirements && self.requirements->sha256) {
        ota_sha256_add(&self.phase.verification.sha, (const uint8 *)ota_scratch, part);
    }
    self.done += part;
    return OTA_OK;
}

/* Return the result of the verification. On success write the first word, which makes the slot bootable. */
static rboot_ota_reason ICACHE_FLASH_ATTR finish_verification(void)
{
    rboot_ota_reason reason = ota_verify_end(&self.phase.verification.verify);
    uint32 word;
    if (reason != OTA_OK) {
        return reason;
    }
    if (self.requirements && self.requirements->sha256 &&
        !ota_sha256_matches(&self.phase.verification.sha, self.requirements->sha256)) {
        return OTA_DIGEST;
    }
    if (!ota_port_write(self.slot, &self.first_word.word, 4) || !ota_port_read(self.slot, &word, 4) ||
        word != self.first_word.word) {
        return OTA_FLASH;
    }
    return OTA_OK;
}

/* Events */

void ICACHE_FLASH_ATTR ota_event_connected(void)
{
    const uint8 *request;
    if (self.state != CONNECTING) {
        return;
    }
    request = self.ota ? self.ota->request : self.check->request;
    self.state = HEADER;
    self.silence = 0;
    if (!ota_port_send(request, request_size(request))) {
        end_transfer(OTA_CONNECTION_LOST);
    }
}

void ICACHE_FLASH_ATTR ota_event_received(const uint8 *data, uint16 size)
{
    rboot_ota_reason reason = OTA_OK;
    uint32 left = size;
    if (self.state == HEADER) {
        uint32 used = ota_http_read(&self.phase.fetch.http, data, left, &reason);
        data += used;
        left -= used;
        if (reason == OTA_OK && ota_http_is_done(&self.phase.fetch.http)) {
            reason = begin_body();
        }
    } else if (self.state != BODY) {
        return;
    }
    self.silence = 0;
    if (reason == OTA_OK && self.state == BODY) {
        if (left > self.size - self.done) {
            reason = OTA_EXCESS_DATA;
        } else {
            reason = self.ota ? add_to_slot(data, left) : add_to_version(data, left);
        }
    }
    if (reason != OTA_OK || (self.state == BODY && self.done == self.size)) {
        end_transfer(reason);
    }
}

static void ICACHE_FLASH_ATTR end_connection(rboot_ota_reason reason_if_connecting,
                                             rboot_ota_reason reason_if_receiving)
{
    if (self.state == CONNECTING) {
        self.reason = (uint8)reason_if_connecting;
    } else if (self.state == HEADER || self.state == BODY) {
        self.reason = (uint8)reason_if_receiving;
    } else if (self.state != ENDING && self.state != CLOSING) {
        return;
    }
    self.state = CLOSED;
    ota_port_timer(NEXT_STEP_DELAY);
}

void ICACHE_FLASH_ATTR ota_event_closed(void)
{
    end_connection(OTA_NO_CONNECTION, OTA_TRUNCATED);
}

void ICACHE_FLASH_ATTR ota_event_failed(void)
{
    end_connection(OTA_NO_CONNECTION, OTA_CONNECTION_LOST);
}

void ICACHE_FLASH_ATTR ota_event_timer(void)
{
    rboot_ota_reason reason;
    switch (self.state) {
    case CONNECTING:
    case HEADER:
    case BODY:
        self.elapsed += TICK_MS;
        self.silence += TICK_MS;
        if (self.silence <= OTA_NETWORK_TIMEOUT && self.elapsed < OTA_TOTAL_TIMEOUT) {
            ota_port_timer(TICK_MS);
            break;
        }
        self.reason = OTA_TIMEOUT;
        /* fall through */
    case ENDING:
        self.state = CLOSING;
        ota_port_timer(CLOSE_TIMEOUT);
        ota_port_close();
        break;
    case CLOSING: /* the port has not reported the end of the connection in time */
    case CLOSED:
        if (self.ota && self.reason == OTA_OK) {
            begin_verification();
        } else {
            report_result((rboot_ota_reason)self.reason);
        }
        break;
    case VERIFYING:
        reason = verify_sector();
        if (reason != OTA_OK) {
            report_result(reason);
        } else if (self.done < self.size) {
            ota_port_timer(NEXT_STEP_DELAY);
        } else {
            report_result(finish_verification());
        }
        break;
    default:
        break;
    }
}

/* Queries and boot control */

rboot_ota_reason ICACHE_FLASH_ATTR rboot_ota_get_reason(void)
{
    return self.state == IDLE ? (rboot_ota_reason)self.reason : OTA_BUSY;
}

void ICACHE_FLASH_ATTR rboot_ota_progress(uint32 *done, uint32 *total)
{
    *done = self.done;
    *total = self.size;
}

/* Return true if rBoot can boot the ROM at flash address `address`. */
static bool ICACHE_FLASH_ATTR is_bootable(uint32 address)
{
    uint32 size = MEGABYTE - address % MEGABYTE, done;
    ota_verify verify;
    if (address < RBOOT_FIRST_SLOT || address % SECTOR_SIZE) {
        return false;
    }
    ota_verify_init(&verify, address, size, IROM_CHECKSUM);
    for (done = 0; done < size && !ota_verify_is_done(&verify); done += SECTOR_SIZE) {
        if (!ota_port_read(address + done, ota_scratch, SECTOR_SIZE)) {
            return false;
        }
        ota_verify_add(&verify, ota_scratch, SECTOR_SIZE / 4);
    }
    return ota_verify_end(&verify) == OTA_OK;
}

bool ICACHE_FLASH_ATTR rboot_ota_switch(uint8 slot)
{
    rboot_config config = rboot_get_config();
    rboot_rtc_data rtc;
    if (slot >= config.count || slot >= MAX_ROMS || !is_compatible_layout(&config) || !is_bootable(config.roms[slot])) {
        return false;
    }
    return rboot_get_rtc_data(&rtc) ? rboot_set_temp_rom(slot) : rboot_set_current_rom(slot);
}

bool ICACHE_FLASH_ATTR rboot_ota_confirm(void)
{
    rboot_rtc_data rtc;
    if (rboot_get_rtc_data(&rtc) && rtc.last_mode & MODE_TEMP_ROM) {
        return rboot_set_current_rom(rtc.last_rom);
    }
    return rboot_get_current_rom() == rboot_ota_running_rom();
}
