#ifndef OS_TYPE_H
#define OS_TYPE_H
#include "ets_sys.h"
#define os_timer_t ETSTimer
#define os_timer_func_t ETSTimerFunc
#endif
