/* Signed over-the-air updates: one call fetches the file `update` of a release, verifies its signature, and installs the
 * ROM that it announces if it is for this device. A device also follows a rollback. Format, order of the checks and
 * threats: rbootimg/release/update.py.
 *
 * `env.RbootOtaClient(RBOOT_UPDATE_KEYS=["prod.pub", "spare.pub"])` of the SCons tool compiles it. With a Makefile:
 * compile the sources in update/ and update/port/nonos/ like those in ota/, put their objects into an archive
 * (`xtensa-lx106-elf-ar rcs libupdate.a ...`) and link it in one group with the objects of ota/. For signatures,
 * compile all of them with -DRBOOT_UPDATE_KEYS and the header that `rbootimg keys prod.pub spare.pub --client-header -o
 * rboot-keys.h` writes: the number and the point of each key, in little-endian words. The oldest version that may be installed is -DRBOOT_LOWEST_VERSION='"1.2.0"'.
 *
 * The last 252 bytes of rBoot's config sector belong to this client: see ota_store.h. */
#ifndef RBOOT_UPDATE_H
#define RBOOT_UPDATE_H

#include "rboot-ota.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Size of the buffer for an HTTP request, in bytes. Host, path, app and version have to fit: OTA_ARGUMENT. */
#ifndef RBOOT_UPDATE_REQUEST_SIZE
#define RBOOT_UPDATE_REQUEST_SIZE 512
#endif

/* Time limit for the transfer of the file `update`, in milliseconds. */
#ifndef RBOOT_UPDATE_FILE_TIMEOUT
#define RBOOT_UPDATE_FILE_TIMEOUT 60000
#endif

typedef enum {
    RBOOT_UPDATE_READY,     /* the new ROM boots at the next restart: restart now */
    RBOOT_UPDATE_CURRENT,   /* nothing newer */
    RBOOT_UPDATE_HELD_BACK, /* a newer release, which its rollout does not offer to this device yet */
    RBOOT_UPDATE_CONFIRMED, /* of rboot_update_confirm_after_check: the running ROM is permanent now */
    RBOOT_UPDATE_FAILED     /* see rboot_ota_get_reason */
} rboot_update_result;

typedef struct rboot_update rboot_update;

struct rboot_update {
    const char *host; /* name or address of the server */
    uint16 port;
    const char *path;      /* directory of the application on the server: "/blink/", or "/" */
    const char *app;       /* name of the application; other characters than A-Z a-z 0-9 - . _ ~ percent-encoded */
    const char *device;    /* device class, likewise: "esp8266" unless the release has another one */
    const char *device_id; /* differs between devices, such as the MAC address: decides about rollouts */
    const char *version;   /* that of this ROM, as it was published */
    void (*on_progress)(const rboot_update *update, uint32 done, uint32 total); /* bytes of the ROM; NULL: none */
    void (*on_result)(const rboot_update *update, rboot_update_result result);  /* called once, at the end */
    uint16 trial_seconds; /* time limit for the confirmation of a new ROM; 0: 300 */
    bool keeps_trial;     /* the application confirms a new ROM itself, with rboot_update_confirm */
    bool is_forced;       /* a person asks: ignore the rollout, and a failed trial of the ROM */
};

/* Start an update. Return false if it cannot start, see rboot_ota_get_reason: `on_result` is not called then.
 *
 * On a trial boot (the first boot of a new ROM, if the loader has RTC data) the ROM has to show first that it can be
 * updated: the check is repeated every 10 s until the server's file was fetched and verified, and makes the ROM
 * permanent. After `trial_seconds` without success `on_result` gets RBOOT_UPDATE_FAILED, and the device restarts into
 * the old ROM, which does not install that ROM again. After a crash or a power cut on trial it does so once more.
 * `keeps_trial` turns this off.
 *
 * `update` must stay valid until `on_result`, which may start another one. rBoot's and this client's other functions
 * share a buffer with the file: if the application calls them before the ROM is fetched, the file may be refused. */
bool rboot_update_start(const rboot_update *update);

/* On a trial boot: repeat the check as above until it confirms the running ROM, and install nothing. Call it when the
 * application has started: a ROM whose application never starts an update would stay on trial until the next reset.
 *
 * Return false if the running ROM is not on trial, or it cannot start. */
bool rboot_update_confirm_after_check(const rboot_update *update);

/* Make the running ROM permanent now, for an application with `keeps_trial`. Return false on failure. */
bool rboot_update_confirm(void);

/* Return true if the running ROM boots once only, unless it is confirmed. */
bool rboot_update_is_trial(void);

/* Return the version in the last file that was verified, else "". */
const char *rboot_update_offered_version(void);

#ifdef __cplusplus
}
#endif

#endif
