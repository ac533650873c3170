/* rBoot's functions for applications: see rboot-api.h. The formats are those of rBoot 1.4.2. */
#include "ota_private.h"

#define WRITE_FAILED 0xFFFFFFFF /* value of start_addr after a failure */
#define MAX_WRITE_SIZE 1460     /* bytes; a multiple of 4 */

uint32 ota_scratch[SECTOR_SIZE / 4];

static uint8 ICACHE_FLASH_ATTR checksum(const uint8 *data, uint32 size)
{
    uint8 sum = CHKSUM_INIT;
    while (size--) {
        sum ^= *data++;
    }
    return sum;
}

void ICACHE_FLASH_ATTR ota_copy(void *to, const void *from, uint32 size)
{
    uint8 *out = to;
    const uint8 *in = from;
    while (size--) {
        *out++ = *in++;
    }
}

bool ICACHE_FLASH_ATTR ota_equals(const char *one, const char *other)
{
    while (*one && *one == *other) {
        one++;
        other++;
    }
    return *one == *other;
}

/* The config */

rboot_config ICACHE_FLASH_ATTR rboot_get_config(void)
{
    union {
        rboot_config config;
        uint32 words[sizeof(rboot_config) / 4];
    } found;
    if (!ota_port_read(RBOOT_CONFIG_ADDRESS, found.words, sizeof found)) {
        uint32 i;
        for (i = 0; i < sizeof found / 4; i++) {
            found.words[i] = 0;
        }
    }
    return found.config;
}

#define ADDRESSES_END (RBOOT_CONFIG_ROMS + 4 * MAX_ROMS) /* offset in the config; the word there has the checksum */

#define MAX_LOADER_ROMS 64 /* the largest MAX_ROMS of a loader whose config is recognised */
/* Bytes of the config sector to read: addresses and checksum. */
#define CONFIG_READ_SIZE (RBOOT_CONFIG_ROMS + 4 * (MAX_ROMS > MAX_LOADER_ROMS ? MAX_ROMS : MAX_LOADER_ROMS) + 4)

#ifndef BOOT_CONFIG_CHKSUM
/* Return true if the first non-zero word after the addresses is a checksum, for any MAX_ROMS. The application may store
 * data after the config, but it is unlikely that they match a checksum byte followed by zeros or erased flash. */
static bool ICACHE_FLASH_ATTR has_checksum(void)
{
    uint32 count = ((const rboot_config *)ota_scratch)->count;
    uint32 index = RBOOT_CONFIG_ROMS / 4 + (count <= MAX_LOADER_ROMS ? count : MAX_ROMS), word, rest;
    while (index < CONFIG_READ_SIZE / 4 - 1 && ota_scratch[index] == 0) {
        index++;
    }
    word = ota_scratch[index];
    rest = word >> 8;
    return word != 0 && word != 0xFFFFFFFF && (rest == 0 || rest == 0xFFFFFF) &&
           (word & 0xFF) == checksum((const uint8 *)ota_scratch, 4 * index);
}
#endif

/* Like rboot_config_is_compatible, for a config that has been read to ota_scratch. */
static bool ICACHE_FLASH_ATTR is_config_compatible(void)
{
    const rboot_config *config = (const rboot_config *)ota_scratch;
    if (config->magic != BOOT_CONFIG_MAGIC || config->version != BOOT_CONFIG_VERSION) {
        return true;
    }
#ifdef BOOT_CONFIG_CHKSUM
    {
        uint32 i;
        for (i = config->count; i < MAX_ROMS; i++) { /* rBoot writes 0 here, unless its MAX_ROMS is smaller */
            if (config->roms[i]) {
                return false;
            }
        }
    }
    return ((const uint8 *)ota_scratch)[ADDRESSES_END] == checksum((const uint8 *)ota_scratch, ADDRESSES_END);
#else
    return !has_checksum();
#endif
}

bool ICACHE_FLASH_ATTR rboot_config_is_compatible(void)
{
    return ota_port_read(RBOOT_CONFIG_ADDRESS, ota_scratch, CONFIG_READ_SIZE) && is_config_compatible();
}

/* Return the number of bytes up to the last one that differs; 0 if all are equal. */
static uint32 NOT_INLINED difference_size(const uint8 *one, const uint8 *other, uint32 size)
{
    while (size && one[size - 1] == other[size - 1]) {
        size--;
    }
    return size;
}

/* Write words of ota_scratch to their place in the config sector, without the erased ones at the end: the shorter, the
 * less likely to be interrupted. */
static bool ICACHE_FLASH_ATTR write_config_words(uint32 first, uint32 end)
{
    while (end > first && ota_scratch[end - 1] == 0xFFFFFFFF) {
        end--;
    }
    return end == first ||
           ota_port_write(RBOOT_CONFIG_ADDRESS + 4 * first, ota_scratch + first, 4 * (end - first));
}

bool ICACHE_FLASH_ATTR ota_rewrite_config_sector(void)
{
    if (ota_store_compact) {
        ota_store_compact();
    }
    /* Write the magic last: rBoot would accept an incomplete config with wrong addresses. */
    return ota_port_erase(BOOT_CONFIG_SECTOR) && write_config_words(OTA_STORE_START, SECTOR_SIZE / 4) &&
           write_config_words(1, OTA_STORE_START) && write_config_words(0, 1);
}

bool ICACHE_FLASH_ATTR rboot_set_config(rboot_config *conf)
{
    const uint8 *bytes = (const uint8 *)conf, *stored = (const uint8 *)ota_scratch;
    uint32 used = sizeof(rboot_config), changed, old_word;
    bool done;
#ifdef BOOT_CONFIG_CHKSUM
    used = ADDRESSES_END;
    conf->chksum = checksum(bytes, used++);
#endif
    if (!ota_port_read(RBOOT_CONFIG_ADDRESS, ota_scratch, SECTOR_SIZE)) {
        return false;
    }
    if (!is_config_compatible()) {
        return false;
    }
    changed = difference_size(stored, bytes, used);
    if (changed == 0) {
        return true;
    }
    old_word = ota_scratch[0];
    ota_copy(ota_scratch, conf, used);
    if (changed <= 4 && (old_word & ota_scratch[0]) == ota_scratch[0]) {
        /* Bits can be cleared without an erase, as from ROM 1 to 0: a power cut then leaves a valid config. */
        done = ota_port_write(RBOOT_CONFIG_ADDRESS, ota_scratch, 4);
    } else {
        done = ota_rewrite_config_sector();
    }
    return done && ota_port_read(RBOOT_CONFIG_ADDRESS, ota_scratch, sizeof(rboot_config)) &&
           difference_size(stored, bytes, used) == 0;
}

uint8 ICACHE_FLASH_ATTR rboot_get_current_rom(void)
{
    return rboot_get_config().current_rom;
}

bool ICACHE_FLASH_ATTR rboot_set_current_rom(uint8 rom)
{
    rboot_config config = rboot_get_config();
    if (rom >= config.count) {
        return false;
    }
    config.current_rom = rom;
    return rboot_set_config(&config);
}

/* Flash writes */

rboot_write_status ICACHE_FLASH_ATTR rboot_write_init(uint32 start_addr)
{
    rboot_write_status status = {0};
    status.start_addr = start_addr;
    status.start_sector = start_addr / SECTOR_SIZE;
    status.last_sector_erased = (int32)status.start_sector - 1;
    return status;
}

/* Write the first `size` bytes of ota_scratch, a multiple of 4. */
static bool ICACHE_FLASH_ATTR write_words(rboot_write_status *status, uint32 size)
{
    int32 last = (int32)((status->start_addr + size - 1) / SECTOR_SIZE);
    while (status->last_sector_erased < last) {
        if (!ota_port_erase((uint32)(status->last_sector_erased + 1))) {
            return false;
        }
        status->last_sector_erased++;
    }
    if (!ota_port_write(status->start_addr, ota_scratch, size)) {
        return false;
    }
    status->start_addr += size;
    return true;
}

bool ICACHE_FLASH_ATTR rboot_write_flash(rboot_write_status *status, uint8 *data, uint16 len)
{
    uint8 *bytes = (uint8 *)ota_scratch;
    uint32 left = len;
    while (left && status->start_addr != WRITE_FAILED) {
        uint32 used = status->extra_count;
        uint32 part = left < MAX_WRITE_SIZE - used ? left : MAX_WRITE_SIZE - used;
        uint32 aligned_size = (used + part) / 4 * 4;
        ota_copy(bytes, status->extra_bytes, used);
        ota_copy(bytes + used, data, part);
        data += part;
        left -= part;
        status->extra_count = (uint8)(used + part - aligned_size);
        ota_copy(status->extra_bytes, bytes + aligned_size, status->extra_count);
        if (aligned_size && !write_words(status, aligned_size)) {
            status->start_addr = WRITE_FAILED;
        }
    }
    return status->start_addr != WRITE_FAILED;
}

bool ICACHE_FLASH_ATTR rboot_write_end(rboot_write_status *status)
{
    uint8 erased[4] = {0xFF, 0xFF, 0xFF, 0xFF};
    return rboot_write_flash(status, erased, status->extra_count ? 4 - status->extra_count : 0);
}

/* RTC memory */

#define RTC_WORDS (sizeof(rboot_rtc_data) / 4)

bool ICACHE_FLASH_ATTR rboot_get_rtc_data(rboot_rtc_data *rtc)
{
    uint32 words[RTC_WORDS];
    if (!ota_port_rtc_read(RBOOT_RTC_ADDR, words, RTC_WORDS)) {
        return false;
    }
    ota_copy(rtc, words, sizeof words);
    return rtc->magic == RBOOT_RTC_MAGIC && rtc->chksum == checksum((const uint8 *)words, RBOOT_RTC_CHECKSUM);
}

bool ICACHE_FLASH_ATTR rboot_set_rtc_data(rboot_rtc_data *rtc)
{
    uint32 words[RTC_WORDS];
    rtc->magic = RBOOT_RTC_MAGIC;
    rtc->chksum = checksum((const uint8 *)rtc, RBOOT_RTC_CHECKSUM);
    words[RTC_WORDS - 1] = 0;
    ota_copy(words, rtc, RBOOT_RTC_CHECKSUM + 1);
    return ota_port_rtc_write(RBOOT_RTC_ADDR, words, RTC_WORDS);
}

bool ICACHE_FLASH_ATTR rboot_set_temp_rom(uint8 rom)
{
    rboot_rtc_data rtc;
    if (rom >= rboot_get_config().count) {
        return false;
    }
    if (!rboot_get_rtc_data(&rtc)) {
        rtc.last_mode = MODE_STANDARD;
        rtc.last_rom = 0;
    }
    rtc.next_mode = MODE_TEMP_ROM;
    rtc.temp_rom = rom;
    return rboot_set_rtc_data(&rtc);
}

bool ICACHE_FLASH_ATTR rboot_get_last_boot_rom(uint8 *rom)
{
    rboot_rtc_data rtc;
    if (!rboot_get_rtc_data(&rtc)) {
        return false;
    }
    *rom = rtc.last_rom;
    return true;
}

bool ICACHE_FLASH_ATTR rboot_get_last_boot_mode(uint8 *mode)
{
    rboot_rtc_data rtc;
    if (!rboot_get_rtc_data(&rtc)) {
        return false;
    }
    *mode = rtc.last_mode;
    return true;
}
