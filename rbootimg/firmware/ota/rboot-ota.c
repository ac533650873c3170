/* An update or a version check, from event to event. Whatever ends it, the connection is closed from the timer, as
 * networks do not like that in their own events; so the application's callback comes from the timer too.
 *
 * The first word of a ROM is written last, when all the rest has been read back: what was not fetched and checked to
 * the end is no ROM to any loader. */
#include "ota_http.h"
#include "ota_private.h"
#include "ota_sha256.h"
#include "ota_verify.h"

#define MEGABYTE ESP8266_WINDOW_SIZE
#define LEAST_ROM 32
#define CLOSING_TIMEOUT 5000
#define SOON 1
#define TICK 500 /* the time is counted so, from the start to the end of the body */

#ifdef BOOT_IROM_CHKSUM
#define IROM_CHECKSUM true
#else
#define IROM_CHECKSUM false
#endif

enum state { IDLE, CONNECTING, HEADER, BODY, ENDING, CLOSING, CLOSED, VERIFYING };

static struct {
    uint8 state, reason;
    rboot_ota *ota;             /* of an update, else NULL */
    rboot_version_check *check; /* of a version check, else NULL */
    const rboot_ota_demands *demands;
    uint32 slot, slot_size;  /* the slot's flash address and bytes */
    uint32 size, done;       /* bytes of the body: all, and so far */
    uint32 elapsed, silence; /* milliseconds: from the start, and from the last that came */
    union {
        uint32 word;
        uint8 bytes[4];
    } first; /* word of the ROM, which is not in the flash yet */
    union {
        struct {
            ota_http http;
            rboot_write_status writer;
        } fetch;
        struct {
            ota_verify verify;
            ota_sha256 sha;
        } proof;
    } now;
} self;

/* Where it goes */

uint8 ICACHE_FLASH_ATTR rboot_ota_running_rom(void)
{
    rboot_config config = rboot_get_config();
    size_t here = (size_t)rboot_ota_running_rom - ESP8266_WINDOW_START;
    uint32 best = 0, i;
    uint8 rom;
    if (!rboot_get_last_boot_rom(&rom)) {
        rom = config.current_rom;
    }
    if (here >= MEGABYTE || config.count > MAX_ROMS) {
        return rom; /* this code is not in the flash */
    }
    for (i = 0; i < config.count; i++) { /* this code belongs to the slot that starts closest before it */
        uint32 start = config.roms[i] % MEGABYTE;
        if (start <= here && start > best) {
            best = start;
        }
    }
    if (rom < config.count && config.roms[rom] % MEGABYTE == best) {
        return rom;
    }
    for (i = 0; i < config.count; i++) {
        if (config.roms[i] % MEGABYTE == best) {
            return (uint8)i;
        }
    }
    return rom;
}

/* The flash's bytes by the header at its start; 512 KB for what rBoot does not know, 0 if it cannot be read. */
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

/* Whether loader and flash are what this code was compiled for. */
static bool ICACHE_FLASH_ATTR is_our_layout(const rboot_config *config)
{
#ifdef RBOOT_FLASH_SIZE
    uint32 flash = flash_size();
    if (flash != 0 && flash < RBOOT_FLASH_SIZE) { /* a larger one has the slots all the same; 0 is OTA_FLASH */
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
    return rboot_config_is_ours();
}

/* Sets the slot's address and size. */
static rboot_ota_reason ICACHE_FLASH_ATTR find_slot(uint8 rom)
{
    rboot_config config = rboot_get_config();
    uint32 flash = flash_size(), end = flash - OTA_RESERVED_END, i;
    if (config.magic != BOOT_CONFIG_MAGIC || config.version != BOOT_CONFIG_VERSION) {
        return OTA_CONFIG;
    }
    if (!is_our_layout(&config)) {
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
        return OTA_RUNNING;
    }
    self.slot = config.roms[rom];
    if (self.slot / MEGABYTE < (end - 1) / MEGABYTE) { /* a ROM does not straddle megabytes */
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
    if (self.demands && self.demands->slot_size && self.demands->slot_size < self.slot_size) {
        self.slot_size = self.demands->slot_size;
    }
    return OTA_OK;
}

/* The start */

/* How many bytes the request has; 0 for one that is not there or too long. */
static uint16 ICACHE_FLASH_ATTR request_size(const uint8 *request)
{
    uint16 size = 0;
    while (request && size <= OTA_REQUEST_MOST && request[size]) {
        size++;
    }
    return size <= OTA_REQUEST_MOST ? size : 0;
}

/* Starts the connection, or says why not. */
static bool ICACHE_FLASH_ATTR begin(const uint8 *ip, uint16 port, rboot_ota_reason reason)
{
    self.reason = (uint8)reason;
    if (reason != OTA_OK) {
        return false;
    }
    self.state = CONNECTING;
    self.size = self.done = 0;
    self.elapsed = self.silence = 0;
    ota_http_init(&self.now.fetch.http);
    ota_port_timer(TICK);
    if (!ota_port_connect(ip, port)) {
        ota_port_timer(0);
        self.state = IDLE;
        self.reason = OTA_CONNECT;
        return false;
    }
    return true;
}

bool ICACHE_FLASH_ATTR rboot_ota_start_demanding(rboot_ota *ota, const rboot_ota_demands *demands)
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
    self.demands = demands;
    reason = find_slot(ota->rom_slot);
    self.now.fetch.writer = rboot_write_init(self.slot);
    return begin(ota->ip, ota->port, reason);
}

bool ICACHE_FLASH_ATTR rboot_ota_start(rboot_ota *ota)
{
    return rboot_ota_start_demanding(ota, NULL);
}

bool ICACHE_FLASH_ATTR rboot_ota_check_version(rboot_version_check *check)
{
    if (self.state != IDLE) {
        return false;
    }
    if (!check || !request_size(check->request) || !check->callback || !check->own ||
        rboot_compare_versions(check->own, check->own) != RBOOT_SAME) {
        self.reason = OTA_ARGUMENT;
        return false;
    }
    self.ota = NULL;
    self.check = check;
    return begin(check->ip, check->port, OTA_OK);
}

/* The end */

static void ICACHE_FLASH_ATTR end(rboot_ota_reason reason)
{
    self.reason = (uint8)reason;
    self.state = ENDING;
    ota_port_timer(SOON);
}

static void ICACHE_FLASH_ATTR finish(rboot_ota_reason reason)
{
    self.reason = (uint8)reason;
    self.state = IDLE;
    if (self.ota) {
        self.ota->callback(self.ota, reason == OTA_OK);
    } else {
        rboot_version_check *check = self.check;
        if (reason != OTA_OK) {
            check->found[0] = 0; /* a part, perhaps without an end */
        }
        check->callback(check, reason == OTA_OK ? rboot_compare_versions(check->found, check->own) : RBOOT_UNKNOWN);
    }
}

/* The body */

static rboot_ota_reason ICACHE_FLASH_ATTR add_to_version(const uint8 *data, uint32 size)
{
    char *found = self.check->found;
    uint32 length, i;
    ota_copy(found + self.done, data, size);
    self.done += size;
    if (self.done < self.size) {
        return OTA_OK;
    }
    length = self.size - (found[self.size - 1] == '\n');
    for (i = 0; i < length && found[i]; i++) {
    }
    if (i < length || length == RBOOT_VERSION_SIZE) {
        return OTA_NO_VERSION; /* a 0 within, or no room for one behind */
    }
    found[length] = 0;
    return rboot_compare_versions(found, found) == RBOOT_SAME ? OTA_OK : OTA_NO_VERSION;
}

static rboot_ota_reason ICACHE_FLASH_ATTR add_to_slot(const uint8 *data, uint32 size)
{
    rboot_write_status *writer = &self.now.fetch.writer;
    while (self.done < 4 && size) {
        self.first.bytes[self.done++] = *data++;
        size--;
        if (self.done == 4) {
            uint8 blank[4] = {0xFF, 0xFF, 0xFF, 0xFF};
            bool is_rom = self.first.bytes[0] == ESP8266_IMAGE_MAGIC ||
                          (self.first.bytes[0] == RBOOT_ROM_MAGIC && self.first.bytes[1] == RBOOT_ROM_COUNT);
            if (!is_rom) {
                return OTA_NO_ROM;
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
    self.size = self.now.fetch.http.length;
    self.state = BODY;
    if (self.size > (self.ota ? self.slot_size : RBOOT_VERSION_SIZE)) {
        return OTA_TOO_BIG;
    }
    if (self.ota) {
        return self.size < LEAST_ROM ? OTA_NO_ROM : OTA_OK;
    }
    return self.size == 0 ? OTA_NO_VERSION : OTA_OK;
}

/* Reading it back */

static void ICACHE_FLASH_ATTR begin_proof(void)
{
    bool irom_checksum = IROM_CHECKSUM || (self.demands && self.demands->irom_checksum);
    self.state = VERIFYING;
    self.done = 0;
    ota_verify_init(&self.now.proof.verify, self.slot, self.size, irom_checksum);
    ota_sha256_init(&self.now.proof.sha);
    ota_port_timer(SOON);
}

/* The next sector. */
static rboot_ota_reason ICACHE_FLASH_ATTR prove(void)
{
    uint32 part = self.size - self.done < SECTOR_SIZE ? self.size - self.done : SECTOR_SIZE;
    if (!ota_port_read(self.slot + self.done, ota_scratch, (part + 3) / 4 * 4)) {
        return OTA_FLASH;
    }
    if (self.done == 0) {
        ota_scratch[0] = self.first.word;
    }
    ota_verify_add(&self.now.proof.verify, ota_scratch, part / 4);
    if (self.demands && self.demands->sha256) {
        ota_sha256_add(&self.now.proof.sha, (const uint8 *)ota_scratch, part);
    }
    self.done += part;
    return OTA_OK;
}

/* All of it has been read: whether it is sound. If so, the first word makes it a ROM. */
static rboot_ota_reason ICACHE_FLASH_ATTR end_proof(void)
{
    rboot_ota_reason reason = ota_verify_end(&self.now.proof.verify);
    uint32 word;
    if (reason != OTA_OK) {
        return reason;
    }
    if (self.demands && self.demands->sha256 && !ota_sha256_is(&self.now.proof.sha, self.demands->sha256)) {
        return OTA_DIGEST;
    }
    if (!ota_port_write(self.slot, &self.first.word, 4) || !ota_port_read(self.slot, &word, 4) ||
        word != self.first.word) {
        return OTA_FLASH;
    }
    return OTA_OK;
}

/* The events */

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
        end(OTA_LOST);
    }
}

void ICACHE_FLASH_ATTR ota_event_received(const uint8 *data, uint16 size)
{
    rboot_ota_reason reason = OTA_OK;
    uint32 left = size;
    if (self.state == HEADER) {
        uint32 used = ota_http_read(&self.now.fetch.http, data, left, &reason);
        data += used;
        left -= used;
        if (reason == OTA_OK && ota_http_is_done(&self.now.fetch.http)) {
            reason = begin_body();
        }
    } else if (self.state != BODY) {
        return;
    }
    self.silence = 0;
    if (reason == OTA_OK && self.state == BODY) {
        if (left > self.size - self.done) {
            reason = OTA_SURPLUS;
        } else {
            reason = self.ota ? add_to_slot(data, left) : add_to_version(data, left);
        }
    }
    if (reason != OTA_OK || (self.state == BODY && self.done == self.size)) {
        end(reason);
    }
}

static void ICACHE_FLASH_ATTR closed(rboot_ota_reason unconnected, rboot_ota_reason unfinished)
{
    if (self.state == CONNECTING) {
        self.reason = (uint8)unconnected;
    } else if (self.state == HEADER || self.state == BODY) {
        self.reason = (uint8)unfinished;
    } else if (self.state != ENDING && self.state != CLOSING) {
        return;
    }
    self.state = CLOSED;
    ota_port_timer(SOON);
}

void ICACHE_FLASH_ATTR ota_event_closed(void)
{
    closed(OTA_CONNECT, OTA_SHORT);
}

void ICACHE_FLASH_ATTR ota_event_failed(void)
{
    closed(OTA_CONNECT, OTA_LOST);
}

void ICACHE_FLASH_ATTR ota_event_timer(void)
{
    rboot_ota_reason reason;
    switch (self.state) {
    case CONNECTING:
    case HEADER:
    case BODY:
        self.elapsed += TICK;
        self.silence += TICK;
        if (self.silence <= OTA_NETWORK_TIMEOUT && self.elapsed < OTA_TOTAL_TIMEOUT) {
            ota_port_timer(TICK);
            break;
        }
        self.reason = OTA_TIMEOUT;
        /* fall through */
    case ENDING:
        self.state = CLOSING;
        ota_port_timer(CLOSING_TIMEOUT);
        ota_port_close();
        break;
    case CLOSING: /* in vain */
    case CLOSED:
        if (self.ota && self.reason == OTA_OK) {
            begin_proof();
        } else {
            finish((rboot_ota_reason)self.reason);
        }
        break;
    case VERIFYING:
        reason = prove();
        if (reason != OTA_OK) {
            finish(reason);
        } else if (self.done < self.size) {
            ota_port_timer(SOON);
        } else {
            finish(end_proof());
        }
        break;
    default:
        break;
    }
}

/* What an application asks */

rboot_ota_reason ICACHE_FLASH_ATTR rboot_ota_get_reason(void)
{
    return self.state == IDLE ? (rboot_ota_reason)self.reason : OTA_BUSY;
}

void ICACHE_FLASH_ATTR rboot_ota_progress(uint32 *done, uint32 *all)
{
    *done = self.done;
    *all = self.size;
}

/* Whether rBoot can boot what is in the flash at `address`. */
static bool ICACHE_FLASH_ATTR is_sound(uint32 address)
{
    uint32 size = MEGABYTE - address % MEGABYTE, done;
    ota_verify verify;
    if (address < RBOOT_FIRST_SLOT || address % SECTOR_SIZE) {
        return false;
    }
    ota_verify_init(&verify, address, size, IROM_CHECKSUM);
    for (done = 0; done < size && !ota_verify_is_over(&verify); done += SECTOR_SIZE) {
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
    if (slot >= config.count || slot >= MAX_ROMS || !is_our_layout(&config) || !is_sound(config.roms[slot])) {
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
