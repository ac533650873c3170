/* Reset vector, exception vectors, and the entry points of the mask ROM's functions. */

/* Reset vector: QEMU's lx106 starts at 0x50000000. A jump there resets the chip. */
    .section .reset, "ax"
    .global reset
reset:
    j       1f
    .align  4
2:  .word   reset_stack + 4096 - 32
3:  .word   rom_main
1:  movi    a0, 0x20                /* PS: user mode; a CPU reset sets exception mode */
    wsr     a0, ps
    rsync
    l32r    a1, 2b
    l32r    a0, 3b
    jx      a0

/* Each vector saves a0 and jumps to its handler, as there is no space for more. */
    .macro  vector offset, register
    .org    \offset
    wsr     a0, \register
    j       \register\()_handler
    .endm

    .section .vectors, "ax"
    vector  0x10, excsave2          /* debug */
    vector  0x20, excsave3          /* NMI */
    vector  0x30, excsave1          /* kernel */
    .org    0x50
    wsr     a0, excsave1            /* user */
    j       excsave1_handler
    .org    0x70
    wsr     a0, excsave1            /* double */
    j       double_handler

/* Save all registers to `crash` (struct crash in maskrom.c), and call rom_crash to report them. */
    .section .text.handlers, "ax"
    .align  4
4:  .word   crash
5:  .word   crash_stack + 4096
6:  .word   rom_crash

    .macro  save_registers pc, kind
    l32r    a0, 4b
    s32i    a1, a0, 4 * 1
    s32i    a2, a0, 4 * 2
    s32i    a3, a0, 4 * 3
    s32i    a4, a0, 4 * 4
    s32i    a5, a0, 4 * 5
    s32i    a6, a0, 4 * 6
    s32i    a7, a0, 4 * 7
    s32i    a8, a0, 4 * 8
    s32i    a9, a0, 4 * 9
    s32i    a10, a0, 4 * 10
    s32i    a11, a0, 4 * 11
    s32i    a12, a0, 4 * 12
    s32i    a13, a0, 4 * 13
    s32i    a14, a0, 4 * 14
    s32i    a15, a0, 4 * 15
    rsr     a2, \pc
    s32i    a2, a0, 4 * 16
    rsr     a2, exccause
    s32i    a2, a0, 4 * 17
    rsr     a2, excvaddr
    s32i    a2, a0, 4 * 18
    movi    a2, \kind
    s32i    a2, a0, 4 * 19
    .endm

    .macro  finish excsave
    rsr     a2, \excsave
    s32i    a2, a0, 0
    l32r    a1, 5b
    l32r    a0, 6b
    jx      a0
    .endm

    .align  4
excsave1_handler:
    save_registers epc1, 0
    finish  excsave1
double_handler:
    save_registers depc, 1
    finish  excsave1
excsave2_handler:
    save_registers epc2, 2
    finish  excsave2
excsave3_handler:
    save_registers epc3, 3
    finish  excsave3

/* Call the image at flash 0, with the stack that it has on the chip, at the end of the DRAM. */
    .align  4
7:  .word   0x3ffffff0
8:  .word   reset_stack + 4096 - 16
    .global rom_start
rom_start:
    l32r    a3, 8b
    s32i    a0, a3, 0
    s32i    a1, a3, 4
    l32r    a1, 7b
    callx0  a2
    l32r    a3, 8b
    l32i    a0, a3, 0
    l32i    a1, a3, 4
    ret

/* Entry points by address. Each jumps to the function of the same name with the prefix rom_. */
    .section .functions, "ax"
    .macro  function address, name
    .org    \address - 0x40001000
    .global rom_\name
    j       rom_\name
    .endm

    function 0x400018a4, ets_memset
    function 0x400018b4, ets_memcpy
    function 0x400018c4, ets_memmove
    function 0x400018d4, ets_memcmp
    function 0x4000242c, ets_install_putc1
    function 0x400024cc, ets_printf
    function 0x400025e0, rtc_get_reset_reason
    function 0x4000264c, software_reset
    function 0x40002a88, ets_strcpy
    function 0x40002a98, ets_strncpy
    function 0x40002aa8, ets_strcmp
    function 0x40002ab8, ets_strncmp
    function 0x40002ac8, ets_strlen
    function 0x40002ad8, ets_strstr
    function 0x40002ae8, ets_bzero
    function 0x40002be8, ets_putc
    function 0x40002ecc, ets_delay_us
    function 0x400039d8, uart_div_modify
    function 0x40003b30, uart_tx_one_char
    function 0x40003b8c, uart_rx_one_char
    function 0x40004678, Cache_Read_Enable
    function 0x400047f0, Cache_Read_Disable
    function 0x40004878, SPIUnlock
    function 0x40004984, SPIEraseChip
    function 0x400049b4, SPIEraseBlock
    function 0x40004a00, SPIEraseSector
    function 0x40004a4c, SPIWrite
    function 0x40004b1c, SPIRead
    function 0x40009818, MD5Init
    function 0x40009834, MD5Update
    function 0x40009900, MD5Final
    function 0x4000b584, SHA1Init
    function 0x4000b5a8, SHA1Update
    function 0x4000b648, SHA1Final
    function 0x4000bdc8, ets_strcmp2
    function 0x4000bf4c, ets_strlen2
    function 0x4000dc88, divsi3
    function 0x4000dea8, ets_memcmp2
    function 0x4000df48, ets_memcpy2
    function 0x4000e190, ets_memset2
    function 0x4000e1e0, ets_strstr2
    function 0x4000e21c, udivsi3
    function 0x4000e268, umodsi3
