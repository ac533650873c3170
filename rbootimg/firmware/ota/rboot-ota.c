/* The application's updates and version checks, each of one step. */
#include "ota_private.h"

/* The request, one or the other. */
static rboot_ota *current_update;
static rboot_version_check *current_check;

static void ICACHE_FLASH_ATTR end_update(rboot_ota_reason reason)
{
    ota_end(reason);
    current_update->callback(current_update, reason == OTA_OK);
}

/* Return OTA_OK if the text is a version, which is terminated then. */
static rboot_ota_reason ICACHE_FLASH_ATTR read_version(char *version)
{
    uint32 size = ota_text_size(), length, i;
    if (size == 0) {
        return OTA_NOT_A_VERSION;
    }
    length = size - (version[size - 1] == '\n');
    for (i = 0; i < length && version[i]; i++) {
    }
    if (i < length || length == RBOOT_VERSION_SIZE) {
        return OTA_NOT_A_VERSION; /* contains a 0, or no space for the terminating 0 */
    }
    version[length] = 0;
    return rboot_compare_versions(version, version) == RBOOT_SAME ? OTA_OK : OTA_NOT_A_VERSION;
}

static void ICACHE_FLASH_ATTR end_check(rboot_ota_reason reason)
{
    rboot_version_check *check = current_check;
    rboot_version_order order = RBOOT_UNKNOWN;
    if (reason == OTA_OK) {
        reason = read_version(check->server_version);
    }
    if (reason == OTA_OK) {
        order = rboot_compare_versions(check->server_version, check->own_version);
    } else {
        check->server_version[0] = 0; /* may be incomplete and not terminated */
    }
    ota_end(reason);
    check->callback(check, order);
}

/* Return the result of a call that has, or has not, started its first step. */
static bool ICACHE_FLASH_ATTR report_start(rboot_ota_reason reason, bool is_started)
{
    if (!is_started) {
        ota_end(reason == OTA_OK ? OTA_NO_CONNECTION : reason);
    }
    return is_started;
}

bool ICACHE_FLASH_ATTR rboot_ota_start_with(rboot_ota *ota, const rboot_ota_requirements *requirements)
{
#ifdef RBOOT_UPDATE_KEYS
    (void)ota;
    (void)requirements;
    (void)end_update;
    return ota_begin() && report_start(OTA_UNSIGNED, false);
#else
    rboot_ota_reason reason;
    ota_slot slot;
    if (!ota_begin()) {
        return false;
    }
    if (!ota || !ota_request_size(ota->request) || !ota->callback) {
        return report_start(OTA_ARGUMENT, false);
    }
    reason = ota_find_slot(ota->rom_slot, &slot);
    if (reason == OTA_OK && ota_is_slot_in_use(ota->rom_slot)) {
        reason = OTA_SLOT_IN_USE;
    }
    if (reason != OTA_OK) {
        return report_start(reason, false);
    }
    if (requirements && requirements->slot_size && requirements->slot_size < slot.size) {
        slot.size = requirements->slot_size;
    }
    current_update = ota;
    return report_start(OTA_OK,
                        ota_fetch_rom(ota->ip, ota->port, ota->request, &slot, 0, requirements, end_update));
#endif
}

bool ICACHE_FLASH_ATTR rboot_ota_start(rboot_ota *ota)
{
    return rboot_ota_start_with(ota, NULL);
}

bool ICACHE_FLASH_ATTR rboot_ota_check_version(rboot_version_check *check)
{
    if (!ota_begin()) {
        return false;
    }
    if (!check || !ota_request_size(check->request) || !check->callback || !check->own_version ||
        rboot_compare_versions(check->own_version, check->own_version) != RBOOT_SAME) {
        return report_start(OTA_ARGUMENT, false);
    }
    current_check = check;
    return report_start(OTA_OK,
                        ota_fetch_text(check->ip, check->port, check->request, check->server_version,
                                       RBOOT_VERSION_SIZE, OTA_TOTAL_TIMEOUT, end_check));
}
