/* How the functions of the client are compiled: for size. */
#ifndef OTA_CODE_H
#define OTA_CODE_H

#include "rboot-types.h"

/* A function of the flash that is larger where it is inlined, or whose stack would add up to that of its callers. */
#define NOT_INLINED __attribute__((noinline)) ICACHE_FLASH_ATTR

/* A register for an invariant of a loop, such as an address, has to be saved and restored, which costs more than it
 * saves. The pragma forgets what -ffreestanding implies: that loops are not replaced by calls of strlen and the like. */
#if defined __GNUC__ && defined __XTENSA__
#pragma GCC optimize("no-move-loop-invariants", "no-tree-loop-distribute-patterns")
#endif

#endif
