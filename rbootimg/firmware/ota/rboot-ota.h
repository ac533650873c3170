/* Over-the-air updates, with the interface of rBoot's OTA tutorial. One update or version check at a time. */
#ifndef RBOOT_OTA_H
#define RBOOT_OTA_H

#include "rboot-api.h"

#ifdef __cplusplus
extern "C" {
#endif

/* For the connection, and from one piece of the reply to the next; in milliseconds, at most half a second more. */
#ifndef OTA_NETWORK_TIMEOUT
#define OTA_NETWORK_TIMEOUT 10000
#endif

/* For all of it, however often a piece comes; in milliseconds. */
#ifndef OTA_TOTAL_TIMEOUT
#define OTA_TOTAL_TIMEOUT 600000
#endif

/* The longest request, in bytes: one packet. */
#define OTA_REQUEST_MOST 1460

/* The end of the flash that no slot may use: in an application on the SDK that has its data there. */
#ifndef OTA_RESERVED_END
#define OTA_RESERVED_END ESP8266_SDK_TAIL_SIZE
#endif

/* Why an update or a version check ended. */
typedef enum {
    OTA_OK,
    OTA_ARGUMENT,      /* no request or too long a one, no callback, or the own version is none */
    OTA_BUSY,          /* another one is on its way */
    OTA_CONFIG,        /* no config, or no such slot in it */
    OTA_RUNNING,       /* the slot runs now or boots next */
    OTA_CONNECT,       /* no connection to the server, or the last one still closes */
    OTA_LOST,          /* the connection broke */
    OTA_TIMEOUT,       /* the server is silent, or too slow: see above */
    OTA_NO_HTTP,       /* the reply is not HTTP/1.0 or 1.1, or is malformed */
    OTA_HEADER_SIZE,   /* the reply's header is longer than 4 KB */
    OTA_STATUS,        /* another status than 200 */
    OTA_REDIRECT,
    OTA_CODING,        /* chunked, compressed */
    OTA_NO_LENGTH,     /* no Content-Length */
    OTA_TOO_BIG,       /* for the slot, or for a version */
    OTA_SHORT,         /* the reply ended early */
    OTA_SURPLUS,       /* more than the Content-Length came */
    OTA_NO_ROM,        /* what came is no ROM */
    OTA_FLASH,         /* the flash could not be read or written */
    OTA_BAD_ROM,       /* the ROM in the slot is not sound: rBoot would not boot it */
    OTA_DIGEST,        /* the SHA-256 is another */
    OTA_OTHER_SLOT,    /* the ROM is linked for another slot */
    OTA_NO_VERSION,    /* what came is no version */
    OTA_LAYOUT         /* the flash has another layout, or the loader other options, than this code was compiled for */
} rboot_ota_reason;

/* `arg` is what the update was started with. It may be freed in the callback, and another one may be started. */
typedef void (*ota_callback)(void *arg, bool result);

typedef struct {
    uint8 ip[4];
    uint16 port;
    uint8 *request; /* the whole HTTP request, with a 0 behind; it is read in bytes, so it stands in RAM */
    uint8 rom_slot; /* that is written */
    ota_callback callback;
} rboot_ota;

/* Starts to fetch a ROM into a slot. What is larger than the slot is refused before anything is erased. With
 * RBOOT_LAYOUT (see rboot.h) the slots are the layout's, and a flash with others, or that is smaller by the header at
 * its start, is refused: OTA_LAYOUT. Without, a slot ends where the next begins, its megabyte ends, or
 * OTA_RESERVED_END before the flash's end: if the flash after a slot has another use, such as a file system, that is
 * not known, and `slot_size` must say so. The ROM and its request stay where they are until the callback. False if
 * that cannot begin: then there is no callback. On success the ROM is in the slot and sound; to boot it is up to the
 * callback. */
bool rboot_ota_start(rboot_ota *ota);

/* What a ROM must satisfy beyond rBoot's own checks. */
typedef struct {
    const uint8 *sha256; /* of the whole file, 32 bytes; or NULL */
    bool irom_checksum;  /* its checksum covers irom: always so with BOOT_IROM_CHKSUM */
    uint32 slot_size;    /* the slot's bytes if it is smaller than below; 0: as below */
} rboot_ota_demands;

/* The same, for a ROM that satisfies `demands`, which stay where they are until the callback. */
bool rboot_ota_start_demanding(rboot_ota *ota, const rboot_ota_demands *demands);

/* Why the last update or version check ended, or could not start. */
rboot_ota_reason rboot_ota_get_reason(void);

/* That in words, for people. In a file of its own, rboot-ota-text.c, as the words take RAM. */
const char *rboot_ota_reason_text(rboot_ota_reason reason);

/* How much of the file is in the slot, then how much of it has been read back; and how long it is. */
void rboot_ota_progress(uint32 *done, uint32 *all);

/* Boots `slot` at the next restart: with RTC data once, until rboot_ota_confirm; without from then on. False if it has
 * no sound ROM that is linked for it: asked to boot such a one once, rBoot would stop. */
bool rboot_ota_switch(uint8 slot);

/* Makes the running ROM that of all boots to come. False if that is not possible. */
bool rboot_ota_confirm(void);

/* The ROM that runs. */
uint8 rboot_ota_running_rom(void);

/* Versions: MAJOR.MINOR.PATCH, then -PRERELEASE and +BUILD if need be, of at most 63 characters; as semver.org 2.0.0
 * says, with numbers of at most 9 digits where it has no limit. */
#define RBOOT_VERSION_SIZE 64

typedef enum { RBOOT_OLDER = -1, RBOOT_SAME = 0, RBOOT_NEWER = 1, RBOOT_UNKNOWN = 2 } rboot_version_order;

/* What `found` is to `own`; RBOOT_UNKNOWN if one of them is no version. */
rboot_version_order rboot_compare_versions(const char *found, const char *own);

typedef struct rboot_version_check rboot_version_check;

/* RBOOT_UNKNOWN: no answer, see rboot_ota_get_reason. */
typedef void (*rboot_version_callback)(rboot_version_check *check, rboot_version_order found);

struct rboot_version_check {
    uint8 ip[4];
    uint16 port;
    uint8 *request; /* the whole HTTP request for the file `version` */
    const char *own;
    rboot_version_callback callback;
    char found[RBOOT_VERSION_SIZE]; /* what the server has, for the callback */
};

/* Fetches the server's version and compares it with `own`. False if that cannot begin. */
bool rboot_ota_check_version(rboot_version_check *check);

#ifdef __cplusplus
}
#endif

#endif
