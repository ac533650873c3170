/* The steps of updates and version checks: a state machine that the port's events drive.
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

enum state { IDLE, CONNECTING, HEADER, BODY, ENDING, CLOSING, CLOSED, VERIFYING, WAITING, BETWEEN_STEPS };

/* The current step. */
static struct {
    uint8 state, reason;
    const uint8 *request;
    uint8 *text; /* where the body goes; NULL: to the slot */
    const rboot_ota_requirements *requirements;
    ota_step next;
    uint32 slot, max_size;   /* flash address of the slot; maximum size of the body */
    uint32 exact_size;       /* of the body; 0: any */
    uint32 size, done;       /* bytes of the body: total, and received or verified so far */
    uint32 elapsed, silence; /* milliseconds since the start, and since the last packet */
    uint32 time_limit;       /* for elapsed */
    uint32 timer, clock;     /* what the timer is set to; the sum of what it has counted, in milliseconds */
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

static void ICACHE_FLASH_ATTR set_timer(uint32 milliseconds)
{
    self.timer = milliseconds;
    ota_port_timer(milliseconds);
}

/* Slots */

uint8 ICACHE_FLASH_ATTR rboot_ota_running_rom(void)
{
    rboot_config config = rboot_get_config();
    size_t code_offset = (size_t)rboot_ota_running_rom;
    uint32 slot_offset = 0, i;
    uint8 rom;
    /* Keep the compiler from subtracting: when the linker shortens calls, it adjusts addresses of code only if nothing was
     * added to them. */
    __asm__("" : "+r"(code_offset));
    code_offset -= ESP8266_WINDOW_START;
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
static const ota_slot slots[] = {RBOOT_SLOTS};

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

bool ICACHE_FLASH_ATTR ota_is_slot_in_use(uint8 rom)
{
    return rom == rboot_get_current_rom() || rom == rboot_ota_running_rom();
}

rboot_ota_reason ICACHE_FLASH_ATTR ota_find_slot(uint8 rom, ota_slot *slot)
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
    slot->address = config.roms[rom];
#ifdef RBOOT_SLOTS
    slot->size = slots[rom].size;
    (void)end;
    (void)i;
#else
    if (slot->address / MEGABYTE < (end - 1) / MEGABYTE) { /* the flash window maps one megabyte */
        end = (slot->address / MEGABYTE + 1) * MEGABYTE;
    }
    for (i = 0; i < config.count; i++) {
        if (i != rom && config.roms[i] >= slot->address && config.roms[i] < end) {
            end = config.roms[i];
        }
    }
    slot->size = end > slot->address ? end - slot->address : 0;
#endif
    return OTA_OK;
}

/* Start */

uint16 ICACHE_FLASH_ATTR ota_request_size(const uint8 *request)
{
    uint16 size = 0;
    while (request && size <= OTA_MAX_REQUEST_SIZE && request[size]) {
        size++;
    }
    return size <= OTA_MAX_REQUEST_SIZE ? size : 0;
}

static void ICACHE_FLASH_ATTR end_step(rboot_ota_reason reason)
{
    self.state = BETWEEN_STEPS;
    self.next(reason);
}

/* Start to fetch what self describes. */
static bool ICACHE_FLASH_ATTR start_fetch(const uint8 *ip, uint16 port, const uint8 *request, ota_step next)
{
    self.request = request;
    self.next = next;
    self.state = CONNECTING;
    self.size = self.done = 0;
    self.elapsed = self.silence = 0;
    ota_http_init(&self.phase.fetch.http);
    set_timer(TICK_MS);
    if (!ota_port_connect(ip, port)) {
        set_timer(0);
        self.state = BETWEEN_STEPS;
        return false;
    }
    return true;
}

bool ICACHE_FLASH_ATTR ota_begin(void)
{
    if (self.state != IDLE) {
        return false;
    }
    self.state = BETWEEN_STEPS;
    return true;
}

void ICACHE_FLASH_ATTR ota_end(rboot_ota_reason reason)
{
    self.reason = (uint8)reason;
    self.state = IDLE;
}

void ICACHE_FLASH_ATTR ota_wait(uint32 milliseconds, ota_step next)
{
    self.next = next;
    self.state = WAITING;
    set_timer(milliseconds);
}

uint32 ICACHE_FLASH_ATTR ota_clock(void)
{
    return self.clock;
}

bool ICACHE_FLASH_ATTR ota_fetch_text(const uint8 *ip, uint16 port, const uint8 *request, void *text, uint32 max_size,
                                      uint32 time_limit, ota_step next)
{
    self.text = text;
    self.max_size = max_size;
    self.exact_size = 0;
    self.time_limit = time_limit;
    return start_fetch(ip, port, request, next);
}

bool ICACHE_FLASH_ATTR ota_fetch_rom(const uint8 *ip, uint16 port, const uint8 *request, const ota_slot *slot,
                                     uint32 exact_size, const rboot_ota_requirements *requirements, ota_step next)
{
    self.text = NULL;
    self.slot = slot->address;
    self.max_size = slot->size;
    self.exact_size = exact_size;
    self.requirements = requirements;
    self.time_limit = OTA_TOTAL_TIMEOUT;
    self.phase.fetch.writer = rboot_write_init(slot->address);
    return start_fetch(ip, port, request, next);
}

uint32 ICACHE_FLASH_ATTR ota_text_size(void)
{
    return self.size;
}

/* Body */

static void ICACHE_FLASH_ATTR end_transfer(rboot_ota_reason reason)
{
    self.reason = (uint8)reason;
    self.state = ENDING;
    set_timer(NEXT_STEP_DELAY);
}

static rboot_ota_reason ICACHE_FLASH_ATTR add_to_text(const uint8 *data, uint32 size)
{
    ota_copy(self.text + self.done, data, size);
    self.done += size;
    return OTA_OK;
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

static rboot_ota_reason NOT_INLINED begin_body(void)
{
    self.size = self.phase.fetch.http.length;
    self.state = BODY;
    if (self.size > self.max_size) {
        return OTA_TOO_BIG;
    }
    if (self.exact_size && self.size != self.exact_size) {
        return OTA_DIGEST;
    }
    return !self.text && self.size < MIN_ROM_SIZE ? OTA_NOT_A_ROM : OTA_OK;
}

/* Verification: the slot is read back */

static void ICACHE_FLASH_ATTR begin_verification(void)
{
    bool irom_checksum = IROM_CHECKSUM || (self.requirements && self.requirements->irom_checksum);
    self.state = VERIFYING;
    self.done = 0;
    ota_verify_init(&self.phase.verification.verify, self.slot, self.size, irom_checksum);
    ota_sha256_init(&self.phase.verification.sha);
    set_timer(NEXT_STEP_DELAY);
}

void ICACHE_FLASH_ATTR ota_verify_rom(const ota_slot *slot, uint32 size, const rboot_ota_requirements *requirements,
                                      ota_step next)
{
    self.slot = slot->address;
    self.size = size;
    self.requirements = requirements;
    self.next = next;
    if (!ota_port_read(slot->address, &self.first_word.word, 4)) {
        self.first_word.word = 0; /* not a ROM */
    }
    begin_verification();
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
    if (ota_verify_is_done(&self.phase.verification.verify) &&
        ota_verify_end(&self.phase.verification.verify) == OTA_BAD_ROM) {
        return OTA_BAD_ROM; /* whatever follows */
    }
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
    if (!ota_port_read(self.slot, &word, 4)) {
        return OTA_FLASH;
    }
    if (word == self.first_word.word) {
        return OTA_OK; /* it was there before */
    }
    return ota_port_write(self.slot, &self.first_word.word, 4) && ota_port_read(self.slot, &word, 4) &&
                   word == self.first_word.word
               ? OTA_OK
               : OTA_FLASH;
}

/* Events */

void ICACHE_FLASH_ATTR ota_event_connected(void)
{
    if (self.state != CONNECTING) {
        return;
    }
    self.state = HEADER;
    self.silence = 0;
    if (!ota_port_send(self.request, ota_request_size(self.request))) {
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
            reason = self.text ? add_to_text(data, left) : add_to_slot(data, left);
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
    set_timer(NEXT_STEP_DELAY);
}

void ICACHE_FLASH_ATTR ota_event_closed(void)
{
    end_connection(OTA_NO_CONNECTION, OTA_TRUNCATED);
}

void ICACHE_FLASH_ATTR ota_event_failed(void)
{
    end_connection(OTA_NO_CONNECTION, OTA_CONNECTION_LOST);
}

static void ICACHE_FLASH_ATTR report_progress(void)
{
    if (ota_progress) {
        ota_progress();
    }
}

void ICACHE_FLASH_ATTR ota_event_timer(void)
{
    rboot_ota_reason reason;
    self.clock += self.timer;
    switch (self.state) {
    case CONNECTING:
    case HEADER:
    case BODY:
        self.elapsed += TICK_MS;
        self.silence += TICK_MS;
        report_progress();
        if (self.silence <= OTA_NETWORK_TIMEOUT && self.elapsed < self.time_limit) {
            set_timer(TICK_MS);
            break;
        }
        self.reason = OTA_TIMEOUT;
        /* fall through */
    case ENDING:
        self.state = CLOSING;
        set_timer(CLOSE_TIMEOUT);
        ota_port_close();
        break;
    case CLOSING: /* the port has not reported the end of the connection in time */
    case CLOSED:
        if (!self.text && self.reason == OTA_OK) {
            begin_verification();
        } else {
            end_step((rboot_ota_reason)self.reason);
        }
        break;
    case VERIFYING:
        reason = verify_sector();
        report_progress();
        if (reason != OTA_OK) {
            end_step(reason);
        } else if (self.done < self.size) {
            set_timer(NEXT_STEP_DELAY);
        } else {
            end_step(finish_verification());
        }
        break;
    case WAITING:
        end_step(OTA_OK);
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
