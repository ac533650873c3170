/* QEMU's semihosting on Xtensa: SIMCALL with a call number in a2, arguments in a3 to a6, and the result in a2. Source:
 * QEMU, target/xtensa/xtensa-semi.c. */
#ifndef HOST_H
#define HOST_H

#include <stdbool.h>
#include <stdint.h>

enum { HOST_READ = 0, HOST_WRITE = 1, HOST_READ_WRITE = 2 };

static inline int host_call(uint32_t number, uint32_t one, uint32_t two, uint32_t three, uint32_t four)
{
    register uint32_t a2 __asm__("a2") = number;
    register uint32_t a3 __asm__("a3") = one;
    register uint32_t a4 __asm__("a4") = two;
    register uint32_t a5 __asm__("a5") = three;
    register uint32_t a6 __asm__("a6") = four;
    __asm__ volatile("simcall" : "+r"(a2), "+r"(a3) : "r"(a4), "r"(a5), "r"(a6) : "memory");
    return a2;
}

__attribute__((noreturn)) static inline void host_exit(int status)
{
    for (;;) {
        host_call(1, status, 0, 0, 0);
    }
}

static inline int host_read(int file, void *to, uint32_t size)
{
    return host_call(3, file, (uint32_t)to, size, 0);
}

static inline int host_write(int file, const void *from, uint32_t size)
{
    return host_call(4, file, (uint32_t)from, size, 0);
}

static inline void host_write_all(int file, const void *from, uint32_t size)
{
    const uint8_t *bytes = from;
    while (size) {
        int written = host_write(file, bytes, size);
        if (written <= 0) {
            return; /* no reader: discard the rest */
        }
        bytes += written;
        size -= written;
    }
}

static inline int host_open(const char *path, int flags)
{
    return host_call(5, (uint32_t)path, flags, 0, 0);
}

static inline int host_seek(int file, uint32_t offset)
{
    return host_call(19, file, offset, 0, 0);
}

/* Return true if a read would not block. */
static inline bool host_is_ready(int file)
{
    uint32_t zero_timeout[2] = {0, 0};
    return host_call(29, file, 1, (uint32_t)zero_timeout, 0) > 0;
}

static inline int host_argument_count(void)
{
    return host_call(1000, 0, 0, 0, 0);
}

static inline int host_argument_size(void)
{
    return host_call(1001, 0, 0, 0, 0);
}

static inline void host_arguments(void *to)
{
    host_call(1002, (uint32_t)to, 0, 0, 0);
}

#endif
