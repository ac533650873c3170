#ifndef OSAPI_H
#define OSAPI_H
#include "os_type.h"
void *ets_memcpy(void *to, const void *from, size_t size);
void *ets_memset(void *to, int value, size_t size);
void ets_timer_arm_new(ETSTimer *timer, uint32_t time, bool repeat, bool is_milliseconds);
void ets_timer_disarm(ETSTimer *timer);
void ets_timer_setfn(ETSTimer *timer, ETSTimerFunc *function, void *arg);
#define os_memcpy ets_memcpy
#define os_memset ets_memset
#define os_timer_arm(timer, milliseconds, repeat) ets_timer_arm_new(timer, milliseconds, repeat, 1)
#define os_timer_disarm ets_timer_disarm
#define os_timer_setfn ets_timer_setfn
#endif
