#ifndef IP_ADDR_H
#define IP_ADDR_H
#include "c_types.h"
typedef struct ip_addr {
    uint32 addr;
} ip_addr_t;
#endif
