/* Ed25519 in the emulator: verifies each of the CASES, which test_ed25519.py puts before this source, and prints what
 * that takes. Time is in ticks of CCOUNT, which QEMU derives from the number of instructions. */
#include "ota_ed25519.h"

#define STACK_SIZE 4096
#define PAINT 0x5A5A5A5A
#define CALIBRATION_LOOPS 1000000 /* of two instructions */

extern int ets_printf(const char *format, ...);
extern void Cache_Read_Enable(uint32 odd_even, uint32 mb_count, uint32 no_cache);
extern uint32 _bss_start[], _bss_end[];

static uint32 last_idle, longest;

static inline uint32 ticks(void)
{
    uint32 count;
    __asm__ volatile("rsr %0, ccount" : "=r"(count));
    return count;
}

static void idle(void)
{
    uint32 now = ticks();
    if (now - last_idle > longest) {
        longest = now - last_idle;
    }
    last_idle = now;
}

static void run(const struct test_case *test)
{
    uint32 *end = __builtin_frame_address(0), *stack = end - STACK_SIZE / 4, *word, start;
    bool is_valid;
    for (word = stack; word < end - 64; word++) { /* leave what this function itself has there */
        *word = PAINT;
    }
    longest = 0;
    start = last_idle = ticks();
    is_valid = ota_ed25519_verify(test->signature, test->key, test->message, test->size, idle);
    idle();
    for (word = stack; *word == PAINT;) {
        word++;
    }
    ets_printf("case %d %d %d %d\n", is_valid, last_idle - start, longest, (end - word) * 4);
}

static void calibrate(void)
{
    uint32 start = ticks(), loops = CALIBRATION_LOOPS;
    __asm__ volatile("1: addi %0, %0, -1\n bnez %0, 1b" : "+r"(loops));
    ets_printf("calibration %d\n", ticks() - start);
}

void call_user_start(void)
{
    uint32 *word, i;
    for (word = _bss_start; word < _bss_end; word++) {
        *word = 0;
    }
    Cache_Read_Enable(0, 0, 1);
    calibrate();
    for (i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        run(&CASES[i]);
    }
}
