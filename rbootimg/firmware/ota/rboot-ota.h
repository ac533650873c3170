/* Over-the-air updates: fetch a ROM by HTTP into a slot, verify it, and boot it. The names are those of rBoot's OTA
 * sample. Only one update or version check can run at a time. */
#ifndef RBOOT_OTA_H
#define RBOOT_OTA_H

#include "rboot-api.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Time limit for the connection and between two packets of the reply, in milliseconds. It is checked every 500 ms. */
#ifndef OTA_NETWORK_TIMEOUT
#define OTA_NETWORK_TIMEOUT 10000
#endif

/* Time limit for the complete transfer, in milliseconds. */
#ifndef OTA_TOTAL_TIMEOUT
#define OTA_TOTAL_TIMEOUT 600000
#endif

/* Maximum size of an HTTP request, in bytes: it is sent as one packet. */
#define OTA_MAX_REQUEST_SIZE 1460

/* Bytes at the end of the flash that belong to no slot. The default is the area where the SDK keeps its data. */
#ifndef OTA_RESERVED_END
#define OTA_RESERVED_END ESP8266_SDK_TAIL_SIZE
#endif

/* Result of an update or a version check. */
typedef enum {
    OTA_OK,
    OTA_ARGUMENT,        /* request missing or too long, callback missing, or own version invalid */
    OTA_BUSY,            /* an update or a version check is running */
    OTA_CONFIG,          /* no valid boot config, or the slot is not in it */
    OTA_SLOT_IN_USE,     /* the slot is running, or boots next */
    OTA_NO_CONNECTION,   /* could not connect to the server, or the previous connection is not closed yet */
    OTA_CONNECTION_LOST, /* the connection failed during the transfer */
    OTA_TIMEOUT,         /* OTA_NETWORK_TIMEOUT or OTA_TOTAL_TIMEOUT is over */
    OTA_BAD_HTTP,        /* the reply is malformed, or is not HTTP/1.0 or 1.1 */
    OTA_HEADER_SIZE,     /* the header of the reply is longer than 4 KB */
    OTA_STATUS,          /* the HTTP status is not 200 and not a redirect */
    OTA_REDIRECT,        /* the HTTP status is 3xx: redirects are not followed */
    OTA_BAD_ENCODING,    /* the reply is chunked or compressed */
    OTA_NO_LENGTH,       /* the reply has no Content-Length */
    OTA_TOO_BIG,         /* the file is larger than the slot, or than RBOOT_VERSION_SIZE in a version check */
    OTA_TRUNCATED,       /* the server closed the connection before the end of the reply */
    OTA_EXCESS_DATA,     /* the body is longer than its Content-Length */
    OTA_NOT_A_ROM,       /* the file does not start like a ROM */
    OTA_FLASH,           /* the flash could not be read, erased or written */
    OTA_BAD_ROM,         /* the ROM in the slot is invalid: bad header, section or checksum */
    OTA_DIGEST,          /* the SHA-256 of the file does not match, or its size */
    OTA_WRONG_SLOT,      /* the ROM is linked for another slot */
    OTA_NOT_A_VERSION,   /* the file is not a semantic version */
    OTA_LAYOUT,          /* the flash layout or the loader's options are not those that this code was compiled for */
    /* Of rboot-update.h: */
    OTA_NO_HOST,         /* the name of the server could not be resolved */
    OTA_NOT_AN_UPDATE,   /* the file `update` has another form */
    OTA_UNSIGNED,        /* the file is not signed; or a call that would install an unsigned ROM */
    OTA_UNKNOWN_KEY,     /* signed with a key that was not compiled in */
    OTA_BAD_SIGNATURE,   /* the signature does not match the file */
    OTA_OTHER_APP,       /* a release of another application */
    OTA_OTHER_DEVICE,    /* a release for another device class */
    OTA_OLD_SERIAL,      /* an older file than one that was accepted before */
    OTA_LOWEST_VERSION,  /* the version is older than RBOOT_LOWEST_VERSION */
    OTA_NO_ROM,          /* the release has no ROM for the slot */
    OTA_FAILED_TRIAL     /* this ROM was booted before, and not confirmed */
} rboot_ota_reason;

/* Called once when an update ends. `arg` is the rboot_ota that it was started with. The callback may free it, and may
 * start another update. */
typedef void (*ota_callback)(void *arg, bool result);

typedef struct {
    uint8 ip[4];
    uint16 port;
    uint8 *request; /* the complete HTTP request, zero-terminated; in RAM, as it is read byte by byte */
    uint8 rom_slot; /* the slot to write */
    ota_callback callback;
} rboot_ota;

/* Start an update: fetch a ROM and write it to a slot.
 *
 * Return false if it cannot start; the callback is not called then, see rboot_ota_get_reason. It never starts in a client
 * with keys (see rboot-update.h): OTA_UNSIGNED. `ota` and its request must stay valid until the callback. After a success the slot has a valid ROM; to boot it, the callback calls
 * rboot_ota_switch.
 *
 * A file larger than the slot is refused before anything is erased. With RBOOT_LAYOUT (see rboot.h) the slots are those
 * of the layout; if the boot config has other slots, or the header at flash 0 says a smaller flash, the update fails
 * with OTA_LAYOUT. Without RBOOT_LAYOUT a slot extends to the next slot, to the end of its megabyte, or to
 * OTA_RESERVED_END before the end of the flash. If that range contains other data, such as a file system, give the
 * size of the slot in rboot_ota_requirements. */
bool rboot_ota_start(rboot_ota *ota);

/* Requirements for a ROM in addition to rBoot's own checks. */
typedef struct {
    const uint8 *sha256; /* SHA-256 of the file, 32 bytes; NULL: not checked */
    bool irom_checksum;  /* require a checksum that includes irom; always required with BOOT_IROM_CHKSUM */
    uint32 slot_size;    /* size of the slot in bytes, if smaller than rboot_ota_start determines; 0: no limit */
} rboot_ota_requirements;

/* Start an update like rboot_ota_start, for a ROM that must meet `requirements`.
 *
 * `requirements` must stay valid until the callback. NULL: no requirements. */
bool rboot_ota_start_with(rboot_ota *ota, const rboot_ota_requirements *requirements);

/* Return the result of the last update or version check, or why it could not start. OTA_BUSY while one is running. */
rboot_ota_reason rboot_ota_get_reason(void);

/* Return a message for `reason`. It is in a file of its own, rboot-ota-text.c, as the messages take RAM. */
const char *rboot_ota_reason_text(rboot_ota_reason reason);

/* Get the progress in bytes: first of the transfer, then of the verification, which reads the slot back. */
void rboot_ota_progress(uint32 *done, uint32 *total);

/* Boot `slot` at the next restart: once if the loader has RTC data, until rboot_ota_confirm makes it permanent;
 * permanently otherwise.
 *
 * Return false if the slot has no valid ROM that is linked for it: if rBoot is told to boot an invalid ROM once, it
 * stops. */
bool rboot_ota_switch(uint8 slot);

/* Make the running ROM permanent: it boots at each restart from now on. Return false on failure. */
bool rboot_ota_confirm(void);

/* Return the number of the running ROM. */
uint8 rboot_ota_running_rom(void);

/* Size of the buffer for a version, with its terminating zero.
 *
 * A version is MAJOR.MINOR.PATCH with optional -PRERELEASE and +BUILD, as in Semantic Versioning 2.0.0 (semver.org). It
 * has at most 63 characters, and a number in it at most 9 digits; the standard has no such limits. */
#define RBOOT_VERSION_SIZE 64

typedef enum { RBOOT_OLDER = -1, RBOOT_SAME = 0, RBOOT_NEWER = 1, RBOOT_UNKNOWN = 2 } rboot_version_order;

/* Compare `version` with `reference`: RBOOT_NEWER if `version` is newer. RBOOT_UNKNOWN if one of them is invalid. */
rboot_version_order rboot_compare_versions(const char *version, const char *reference);

typedef struct rboot_version_check rboot_version_check;

/* Called once when a version check ends: `order` is RBOOT_NEWER if the server's version is newer. RBOOT_UNKNOWN if the
 * check failed, see rboot_ota_get_reason. */
typedef void (*rboot_version_callback)(rboot_version_check *check, rboot_version_order order);

struct rboot_version_check {
    uint8 ip[4];
    uint16 port;
    uint8 *request; /* the complete HTTP request for the file `version`, as in rboot_ota */
    const char *own_version;
    rboot_version_callback callback;
    char server_version[RBOOT_VERSION_SIZE]; /* set for the callback; empty on failure */
};

/* Start a version check: fetch the server's version and compare it with `own_version`.
 *
 * Return false if it cannot start; the callback is not called then. `check` must stay valid until the callback. */
bool rboot_ota_check_version(rboot_version_check *check);

#ifdef __cplusplus
}
#endif

#endif
