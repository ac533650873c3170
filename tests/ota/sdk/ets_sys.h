#ifndef ETS_SYS_H
#define ETS_SYS_H
#include "c_types.h"
typedef void ETSTimerFunc(void *timer_arg);
typedef struct ETSTIMER {
    struct ETSTIMER *timer_next;
    uint32_t timer_expire, timer_period;
    ETSTimerFunc *timer_func;
    void *timer_arg;
} ETSTimer;
#endif
