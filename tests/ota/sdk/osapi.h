#ifndef OSAPI_H
#define OSAPI_H
#include "os_type.h"
#include "user_config.h"
int os_printf_plus(const char *format, ...);
void *ets_memcpy(void *to, const void *from, size_t size);
void *ets_memset(void *to, int value, size_t size);
int ets_strcmp(const char *one, const char *two);
int ets_strlen(const char *text);
char *ets_strstr(const char *text, const char *part);
void ets_timer_arm_new(ETSTimer *timer, uint32_t time, bool repeat, bool is_milliseconds);
void ets_timer_disarm(ETSTimer *timer);
void ets_timer_setfn(ETSTimer *timer, ETSTimerFunc *function, void *arg);
/* With USE_OPTIMIZE_PRINTF: the format must be a literal. */
#define os_printf(format, ...)                                                                                     \
    do {                                                                                                           \
        static const char in_flash[] __attribute__((aligned(4), section(".irom.text"))) = format;                  \
        os_printf_plus(in_flash, ##__VA_ARGS__);                                                                   \
    } while (0)
#define os_memcpy ets_memcpy
#define os_memset ets_memset
#define os_strcmp ets_strcmp
#define os_strlen ets_strlen
#define os_strstr ets_strstr
#define os_timer_arm(timer, milliseconds, repeat) ets_timer_arm_new(timer, milliseconds, repeat, 1)
#define os_timer_disarm ets_timer_disarm
#define os_timer_setfn ets_timer_setfn
#endif
