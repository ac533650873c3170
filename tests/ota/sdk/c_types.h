#ifndef C_TYPES_H
#define C_TYPES_H
#include <stddef.h>
typedef unsigned char uint8_t, uint8, bool;
typedef signed char sint8;
typedef unsigned short uint16_t, uint16;
typedef unsigned int uint32_t, uint32;
typedef int int32_t, int32;
#define true (1)
#define false (0)
#ifdef ICACHE_FLASH
#define ICACHE_FLASH_ATTR __attribute__((section(".irom0.text")))
#define ICACHE_RODATA_ATTR __attribute__((section(".irom.text")))
#else
#define ICACHE_FLASH_ATTR
#define ICACHE_RODATA_ATTR
#endif
#endif
