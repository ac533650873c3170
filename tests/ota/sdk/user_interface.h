#ifndef USER_INTERFACE_H
#define USER_INTERFACE_H
#include "c_types.h"
bool system_rtc_mem_read(uint8 block, void *to, uint16 size);
bool system_rtc_mem_write(uint8 block, const void *from, uint16 size);
#endif
