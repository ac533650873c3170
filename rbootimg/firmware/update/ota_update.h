/* Parser for the update file, by which a device learns which release it should run.
 *
 * The grammar is that of rbootimg/release/update.py; a test holds the two against each other. A file that differs from
 * it in any byte is refused. */
#ifndef OTA_UPDATE_H
#define OTA_UPDATE_H

#include "rboot-ota.h"

/* Maximum size of the file in bytes, with its signature. */
#define OTA_MAX_UPDATE_SIZE SECTOR_SIZE

/* `rollout` for all devices: 100 %. */
#define OTA_ROLLOUT_ALL 10000

typedef struct {
    const char *app, *device;         /* percent-encoded; in the text that was parsed */
    uint32 serial;
    uint32 rollout;                   /* hundredths of a percent of the devices */
    bool is_own_withdrawn;            /* the device's own version was rolled back */
    bool has_rom;                     /* there is a ROM for the slot */
    uint32 flash_address, slot_size;  /* of that slot */
    uint32 rom_size;
    uint8 sha256[32];
    char version[RBOOT_VERSION_SIZE]; /* the version that is offered */
} ota_update;

/* Parse an update file without its signature, for a device that runs `own_version` and would write slot `slot`.
 *
 * `text` is changed. Return false if it is not an update file. */
bool ota_update_parse(ota_update *update, char *text, uint32 size, const char *own_version, uint8 slot);

#endif
