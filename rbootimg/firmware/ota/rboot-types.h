/* The SDK's integer types and section attributes, which rBoot's interface uses; equivalents without an SDK. */
#ifndef RBOOT_TYPES_H
#define RBOOT_TYPES_H

#ifdef __ets__ /* defined by the SDK's makefiles */
#include "c_types.h"
#else
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t uint8;
typedef uint16_t uint16;
typedef uint32_t uint32;
typedef int32_t int32;

#ifdef __XTENSA__
#define ICACHE_FLASH_ATTR __attribute__((section(".irom0.text")))
#define ICACHE_RODATA_ATTR __attribute__((section(".irom.text")))
#else
#define ICACHE_FLASH_ATTR
#define ICACHE_RODATA_ATTR
#endif
#endif

#endif
