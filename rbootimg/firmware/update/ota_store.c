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

/* Flash address of what is at `place` in the config sector in ota_scratch. */
#define ADDRESS(place) (RBOOT_CONFIG_ADDRESS + (uint32)((const uint8 *)(place) - (const uint8 *)ota_scratch))

static record *const records = (record *)(ota_scratch + OTA_STORE_START);
static record *const records_end = (record *)(ota_scratch + SECTOR_SIZE / 4);

static bool ICACHE_FLASH_ATTR is_trial(const record *one)
{
    return (one->kind | TRIAL_IS_FIRST | TRIAL_NOT_FAILED) == TRIAL;
}

/* Read the records, and return the first one; the end if that fails. */
static record *NOT_INLINED load(void)
{
    return ota_port_read(ADDRESS(records), (uint32 *)records, 4 * OTA_STORE_WORDS) ? records : records_end;
}

static bool ICACHE_FLASH_ATTR set_kind(record *one, uint32 kind)
{
    one->kind = kind;
    return ota_port_write(ADDRESS(&one->kind), &one->kind, 4);
}

/* Return the end of the records that are not erased. */
static record *NOT_INLINED find_end(void)
{
    record *end = records_end;
    while (end > records && (end[-1].subject & end[-1].value & end[-1].kind) == 0xFFFFFFFF) {
        end--;
    }
    return end;
}

static bool ICACHE_FLASH_ATTR append(uint32 subject, uint32 value, uint32 kind)
{
    record *end;
    if (load() == records_end) {
        return false;
    }
    end = find_end();
    if (end == records_end) {
        if (!ota_port_read(RBOOT_CONFIG_ADDRESS, ota_scratch, SECTOR_SIZE) || !ota_rewrite_config_sector()) {
            return false;
        }
        end = find_end();
        if (end == records_end) {
            return false;
        }
    }
    end->subject = subject;
    end->value = value;
    return ota_port_write(ADDRESS(end), &end->subject, 8) && set_kind(end, kind);
}

void ICACHE_FLASH_ATTR ota_store_compact(void)
{
    record *one, *other, *used = records;
    uint32 *word;
    for (one = records; one < records_end; one++) {
        bool is_needed = is_trial(one) || one->kind == SERIAL;
        for (other = records; other < records_end && one->kind == SERIAL; other++) {
            if (other->kind == SERIAL && other->subject == one->subject &&
                (other->value > one->value || (other->value == one->value && other > one))) {
                is_needed = false;
            }
        }
        if (is_needed) {
            *used++ = *one;
        }
    }
    for (word = &used->subject; word < ota_scratch + SECTOR_SIZE / 4; word++) {
        *word = 0xFFFFFFFF;
    }
}

uint32 ICACHE_FLASH_ATTR ota_store_get_serial(uint32 key)
{
    const record *one;
    uint32 highest = 0;
    for (one = load(); one < records_end; one++) {
        if (one->kind == SERIAL && one->subject == key && one->value > highest) {
            highest = one->value;
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
    record *one;
    for (one = load(); one < records_end; one++) {
        if (one->kind == TRIAL && one->subject == slot && one->value == digest) {
            return set_kind(one, TRIAL & ~TRIAL_IS_FIRST);
        }
        if (is_trial(one)) {
            set_kind(one, 0);
        }
    }
    return append(slot, digest, TRIAL);
}

/* Clear all bits but those of `mask` in the kinds of the trials of `slot`. */
static void ICACHE_FLASH_ATTR mask_trials(uint8 slot, uint32 mask)
{
    record *one;
    for (one = load(); one < records_end; one++) {
        if (is_trial(one) && one->subject == slot && one->kind & ~mask) {
            set_kind(one, one->kind & mask);
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
    const record *one;
    for (one = load(); one < records_end; one++) {
        if (is_trial(one) && one->kind != TRIAL && one->value == digest) {
            return true;
        }
    }
    return false;
}
