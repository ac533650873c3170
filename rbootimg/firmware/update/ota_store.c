/* See ota_store.h. All functions use ota_scratch. */
#include "ota_store.h"

#include "ota_private.h"

typedef struct {
    uint32 subject; /* number of the key, or the slot */
    uint32 value;   /* serial, or first word of the digest */
    uint32 kind;
} record;

/* Kinds. Neither has all bits of the other, so that a write that was interrupted leaves neither. */
#define SERIAL 0x4C524553
#define TRIAL 0x4C495257     /* with both of these bits, which are cleared later: */
#define TRIAL_IS_FIRST 1     /* prepared once only */
#define TRIAL_NOT_FAILED 2

#define COUNT (OTA_STORE_WORDS / 3)
#define ADDRESS(index, word) (RBOOT_CONFIG_ADDRESS + 4 * (OTA_STORE_START + 3 * (index) + (word)))

static record *const records = (record *)(ota_scratch + OTA_STORE_START);

static bool ICACHE_FLASH_ATTR is_trial(const record *one)
{
    return (one->kind | TRIAL_IS_FIRST | TRIAL_NOT_FAILED) == TRIAL;
}

static bool ICACHE_FLASH_ATTR load(void)
{
    return ota_port_read(ADDRESS(0, 0), ota_scratch + OTA_STORE_START, 4 * OTA_STORE_WORDS);
}

static bool ICACHE_FLASH_ATTR set_kind(uint32 index, uint32 kind)
{
    records[index].kind = kind;
    return ota_port_write(ADDRESS(index, 2), &records[index].kind, 4);
}

/* Return the index after the last record that is not erased. */
static uint32 ICACHE_FLASH_ATTR find_end(void)
{
    uint32 end = COUNT;
    while (end && (records[end - 1].subject & records[end - 1].value & records[end - 1].kind) == 0xFFFFFFFF) {
        end--;
    }
    return end;
}

static bool ICACHE_FLASH_ATTR append(uint32 subject, uint32 value, uint32 kind)
{
    uint32 end;
    if (!load()) {
        return false;
    }
    end = find_end();
    if (end == COUNT) {
        if (!ota_port_read(RBOOT_CONFIG_ADDRESS, ota_scratch, SECTOR_SIZE) || !ota_rewrite_config_sector()) {
            return false;
        }
        end = find_end();
        if (end == COUNT) {
            return false;
        }
    }
    records[end].subject = subject;
    records[end].value = value;
    return ota_port_write(ADDRESS(end, 0), &records[end].subject, 8) && set_kind(end, kind);
}

void ICACHE_FLASH_ATTR ota_store_compact(void)
{
    uint32 i, other, used = 0;
    for (i = 0; i < COUNT; i++) {
        bool is_needed = is_trial(&records[i]) || records[i].kind == SERIAL;
        for (other = 0; other < COUNT && records[i].kind == SERIAL; other++) {
            if (records[other].kind == SERIAL && records[other].subject == records[i].subject &&
                (records[other].value > records[i].value || (records[other].value == records[i].value && other > i))) {
                is_needed = false;
            }
        }
        if (is_needed) {
            records[used++] = records[i];
        }
    }
    for (i = 3 * used; i < OTA_STORE_WORDS; i++) {
        ota_scratch[OTA_STORE_START + i] = 0xFFFFFFFF;
    }
}

uint32 ICACHE_FLASH_ATTR ota_store_get_serial(uint32 key)
{
    uint32 i, highest = 0;
    for (i = 0; load() && i < COUNT; i++) {
        if (records[i].kind == SERIAL && records[i].subject == key && records[i].value > highest) {
            highest = records[i].value;
        }
    }
    return highest;
}

bool ICACHE_FLASH_ATTR ota_store_raise_serial(uint32 key, uint32 serial)
{
    return serial <= ota_store_get_serial(key) || append(key, serial, SERIAL);
}

bool ICACHE_FLASH_ATTR ota_store_prepare_trial(uint8 slot, uint32 digest)
{
    uint32 i;
    for (i = 0; load() && i < COUNT; i++) {
        if (records[i].kind == TRIAL && records[i].subject == slot && records[i].value == digest) {
            return set_kind(i, TRIAL & ~TRIAL_IS_FIRST);
        }
        if (is_trial(&records[i])) {
            set_kind(i, 0);
        }
    }
    return append(slot, digest, TRIAL);
}

/* Clear all bits but those of `mask` in the kinds of the trials of `slot`. */
static void ICACHE_FLASH_ATTR mask_trials(uint8 slot, uint32 mask)
{
    uint32 i;
    for (i = 0; load() && i < COUNT; i++) {
        if (is_trial(&records[i]) && records[i].subject == slot && records[i].kind & ~mask) {
            set_kind(i, records[i].kind & mask);
        }
    }
}

void ICACHE_FLASH_ATTR ota_store_fail_trial(uint8 slot)
{
    mask_trials(slot, ~(uint32)TRIAL_NOT_FAILED);
}

void ICACHE_FLASH_ATTR ota_store_end_trial(uint8 slot)
{
    mask_trials(slot, 0);
}

bool ICACHE_FLASH_ATTR ota_store_has_failed(uint32 digest)
{
    uint32 i;
    for (i = 0; load() && i < COUNT; i++) {
        if (is_trial(&records[i]) && records[i].kind != TRIAL && records[i].value == digest) {
            return true;
        }
    }
    return false;
}
