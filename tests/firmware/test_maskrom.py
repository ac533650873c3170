"""The stand-in for the mask ROM: small programs for flash 0, made by the real compiler, that try each function."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import chip

from rbootimg.emulator.qemu import MASK_ROM, BootEnd, BootOptions, BootResult, Operation, PowerCut, SpiStatistics, boot
from rbootimg.flash.bootconfig import RtcData
from rbootimg.rom import elf

pytestmark = pytest.mark.needs("qemu-system-xtensa", "xtensa-lx106-elf-gcc")

DECLARATIONS = """
#include <stdint.h>
extern int ets_printf(const char *, ...);
extern void ets_install_putc1(void (*)(char));
extern void ets_putc(char);
extern void uart_div_modify(uint32_t, uint32_t);
extern int uart_tx_one_char(uint8_t);
extern int uart_rx_one_char(uint8_t *);
extern void ets_delay_us(uint32_t);
extern uint32_t rtc_get_reset_reason(void);
extern void software_reset(void);
extern int SPIRead(uint32_t, void *, uint32_t);
extern int SPIWrite(uint32_t, const void *, uint32_t);
extern int SPIEraseSector(uint32_t);
extern int SPIEraseBlock(uint32_t);
extern int SPIEraseChip(void);
extern int SPIUnlock(void);
extern void Cache_Read_Enable(uint32_t, uint32_t, uint32_t);
extern void Cache_Read_Disable(void);
#define WORD(address) (*(volatile uint32_t *)(address))
"""


def program(body: str, before: str = "") -> bytes:
    """The ELF of a program whose entry does `body`."""
    return chip.compiled(f"{DECLARATIONS}\n{before}\nvoid call_user_start(void) {{\n{body}\n}}\n")


def run(body: str, before: str = "", size: int = 0x80000, **options: object) -> BootResult:
    return boot(chip.flash(program(body, before), size), BootOptions(**options))  # type: ignore[arg-type]


def lines(result: BootResult) -> list[str]:
    """What the program printed, that is without what the mask ROM says before and after it."""
    assert result.ended == BootEnd.DONE, (result.ended, result.uart, result.crash)
    return [line for line in result.uart.split("\n") if line and not line.endswith("\r")]


def c_string(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


# Printing

FORMATS = [
    ("%d %i %u", "-5, 7, 4000000000u", "-5 7 4000000000"),
    ("%d %d", "0x80000000, 0x7fffffff", "-2147483648 2147483647"),
    ("%x %X %08x %02x %p", "0xabcdef, 0xabcdef, 0xabc, 5, 0x3ffe8000", "abcdef ABCDEF 00000abc 05 3ffe8000"),
    ("%o %x %u", "8, 0, 0", "10 0 0"),
    ("[%8d] [%-8d] [%08d]", "-42, -42, -42", "[     -42] [-42     ] [-0000042]"),
    ("[%8s] [%-8s] [%.2s] [%s]", '"abc", "abc", "abc", 0', "[     abc] [abc     ] [ab] [(null)]"),
    ("[%c] [%3c] %%", "'x', 'y'", "[x] [  y] %"),
    ("%ld %lu %lx %hd", "-1l, 1ul, 255l, 3", "-1 1 ff 3"),
    ("[%*d] [%.3d] [%5.3x] [%+d]", "4, 7, 7, 10, 7", "[   7] [007] [  00a] [+7]"),
    (
        "[%d] %s",
        '1, "a line that is longer than any buffer: " LONG',
        "[1] a line that is longer than any buffer: " + "x" * 300,
    ),
    ("no %", "0", "no "),
]


def test_printf_knows_the_usual_formats() -> None:
    calls = [f'ets_printf({c_string(text)}, {values}); ets_printf("\\n");' for text, values, _ in FORMATS]
    result = run("\n".join(calls), f"#define LONG {c_string('x' * 300)}")
    assert lines(result) == [expected for _, _, expected in FORMATS]


def test_printed_text_goes_to_the_programs_own_putc_once_it_is_installed() -> None:
    result = run(
        """
        ets_putc('a');
        uart_tx_one_char('b');
        uart_div_modify(0, 52000000 / 115200);
        ets_install_putc1(upper);
        ets_printf("text %d", 12345);
        ets_putc('\\n');
        """,
        "static void upper(char c) { uart_tx_one_char(c >= 'a' && c <= 'z' ? c - 32 : c); }",
    )
    assert "abTEXT 12345\n" in result.uart


# Strings, memory, numbers

CHECKS = """
extern void *ets_memset(void *, int, uint32_t), *memset(void *, int, uint32_t);
extern void *ets_memcpy(void *, const void *, uint32_t), *memcpy(void *, const void *, uint32_t);
extern void *ets_memmove(void *, const void *, uint32_t);
extern int ets_memcmp(const void *, const void *, uint32_t), memcmp(const void *, const void *, uint32_t);
extern char *ets_strcpy(char *, const char *), *ets_strncpy(char *, const char *, uint32_t);
extern int ets_strcmp(const char *, const char *), strcmp(const char *, const char *);
extern int ets_strncmp(const char *, const char *, uint32_t);
extern uint32_t ets_strlen(const char *), strlen(const char *);
extern char *ets_strstr(const char *, const char *), *strstr(const char *, const char *);
extern void ets_bzero(void *, uint32_t);
static char buffer[64];
static int sign(int value) { return value < 0 ? -1 : value > 0; }
static const char *digits(void) { return ets_strcpy(buffer, "0123456789abcdefghij"); }
#define SHOW(expression) (expression), ets_printf("%s\\n", buffer)
"""


def test_memory_functions() -> None:
    result = run(
        """
        for (int start = 0; start < 5; start++) /* all alignments, both ways, overlapping */
            for (int by = 1; by < 5; by++) {
                digits(), SHOW(ets_memmove(buffer + start + by, buffer + start, 12));
                digits(), SHOW(ets_memmove(buffer + start, buffer + start + by, 12));
            }
        digits(), SHOW(ets_memcpy(buffer, "XYZ", 3));
        digits(), SHOW(memcpy(buffer + 4, "WORDWORD", 8));
        digits(), SHOW(ets_memset(buffer + 1, '*', 7));
        digits(), SHOW(memset(buffer, 0x12d, 2)); /* its low byte, '-' */
        digits(), SHOW(ets_bzero(buffer + 3, 5));
        ets_printf("%d %d %d\\n", sign(ets_memcmp("abc", "abd", 3)), memcmp("abc", "abd", 2),
                   sign(memcmp("\\xff", "\\x01", 1)));
        """,
        CHECKS,
    )
    text = "0123456789abcdefghij"
    expected = []
    for start in range(5):
        for by in range(1, 5):
            up, down = start + by, start
            expected.append(text[:up] + text[start : start + 12] + text[up + 12 :])
            expected.append(text[:down] + text[start + by : start + by + 12] + text[down + 12 :])
    expected += ["XYZ" + text[3:], "0123WORDWORDcdefghij", "0*******89abcdefghij", "--" + text[2:], "012", "-1 0 1"]
    assert lines(result) == expected


def test_string_functions() -> None:
    result = run(
        """
        ets_printf("%d %d\\n", ets_strlen(""), strlen("four"));
        ets_printf("%d %d %d\\n", sign(ets_strcmp("a", "b")), strcmp("same", "same"), sign(strcmp("ab", "a")));
        ets_printf("%d %d\\n", ets_strncmp("abX", "abY", 2), sign(ets_strncmp("\\x80", "a", 1)));
        digits(), SHOW(ets_strncpy(buffer, "abc", 2));
        digits(), SHOW(ets_strncpy(buffer, "abc", 8));
        ets_printf("%d%d%d%d\\n", buffer[3], buffer[7], buffer[8] == '8', buffer[9] == '9');
        ets_printf("%s|%s|%d\\n", ets_strstr("a needle", "need"), strstr("text", ""), (int)strstr("text", "z"));
        """,
        CHECKS,
    )
    assert lines(result) == ["0 4", "-1 0 1", "0 1", "ab23456789abcdefghij", "abc", "0011", "needle|text|0"]


NUMBERS = (0, 1, 2, 3, 7, 10, 255, 0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFFFFFE, 0xFFFFFFFF)


def signed(value: int) -> int:
    return (value & 0xFFFFFFFF) - (value << 1 & 0x100000000)


def test_division_is_c_s() -> None:
    result = run(
        """
        for (int i = 0; i < sizeof numbers / 4; i++)
            for (int j = 1; j < sizeof numbers / 4; j++) {
                uint32_t a = numbers[i], b = numbers[j];
                ets_printf("%u %u %d %d\\n", a / b, a % b, (int32_t)a / (int32_t)b, rest(a, b));
            }
        """,
        # There is no __modsi3 in the mask ROM: not `a % b`, nor what the compiler takes for it.
        f"static volatile uint32_t numbers[] = {{{', '.join(f'{n}u' for n in NUMBERS)}}};\n"
        "static int rest(int32_t a, int32_t b) { volatile int32_t q = a / b; return a - q * b; }",
    )
    expected = []
    for a in NUMBERS:
        for b in NUMBERS[1:]:
            quotient = abs(signed(a)) // abs(signed(b)) * (-1 if (signed(a) < 0) != (signed(b) < 0) else 1)
            expected.append(f"{a // b} {a % b} {signed(quotient)} {signed(signed(a) - quotient * signed(b))}")
    assert lines(result) == expected


def test_division_by_zero_ends() -> None:
    result = run('ets_printf("%u %u\\n", seven / zero, seven % zero);', "static volatile uint32_t seven = 7, zero = 0;")
    assert lines(result) == ["0 7"]


SIZES = (0, 1, 3, 55, 56, 57, 63, 64, 65, 119, 120, 1000)


def test_md5_and_sha1_are_those_of_hashlib() -> None:
    result = run(
        """
        for (int i = 0; i < sizeof data; i++) data[i] = i * 7;
        for (int i = 0; i < sizeof sizes / 2; i++) {
            MD5Init(context), MD5Update(context, data, sizes[i] / 3);
            MD5Update(context, data + sizes[i] / 3, sizes[i] - sizes[i] / 3), MD5Final(digest, context), show(16);
            SHA1Init(context), SHA1Update(context, data, sizes[i] / 2);
            SHA1Update(context, data + sizes[i] / 2, sizes[i] - sizes[i] / 2), SHA1Final(digest, context), show(20);
        }
        """,
        f"""
        static const uint16_t sizes[] = {{{", ".join(map(str, SIZES))}}};
        static uint8_t data[1000], digest[20];
        static uint32_t context[24];
        static void show(int size) {{ for (int i = 0; i < size; i++) ets_printf("%02x", digest[i]); ets_putc('\\n'); }}
        """,
    )
    data = bytes(i * 7 % 256 for i in range(1000))
    expected = [hashlib.new(kind, data[:size]).hexdigest() for size in SIZES for kind in ("md5", "sha1")]
    assert lines(result) == expected


# The flash

SHOW_FLASH = """
static uint32_t words[1024];
static void show(uint32_t address)
{
    uint32_t word = 0;
    int failed = SPIRead(address, &word, 4);
    ets_printf("%x: %d %x\\n", address, failed, word);
}
"""


def test_a_write_clears_bits_and_an_erase_sets_them() -> None:
    result = run(
        """
        words[0] = 0x0ff0ff0f, words[1] = 0x12345678;
        ets_printf("%d %d\\n", SPIUnlock(), SPIWrite(0x10000, words, 8));
        show(0x10000), show(0x10004), show(0x10008);
        words[0] = 0xf0ffffff; /* bits that are 0 already stay so, and that is misuse */
        ets_printf("%d\\n", SPIWrite(0x10000, words, 4)), show(0x10000);
        words[0] = 0; /* only clears: none */
        ets_printf("%d\\n", SPIWrite(0x10000, words, 4)), show(0x10000);
        ets_printf("%d\\n", SPIEraseSector(0x10)), show(0x10000), show(0x10004);
        """,
        SHOW_FLASH,
    )
    assert lines(result) == [
        *("0 0", "10000: 0 ff0ff0f", "10004: 0 12345678", "10008: 0 ffffffff"),
        *("0", "10000: 0 f0ff0f", "0", "10000: 0 0", "0", "10000: 0 ffffffff", "10004: 0 ffffffff"),
    ]
    assert result.misuse == ("write at 10000: bits that are 0 cannot become 1; erase the sector first",)
    assert result.operations == (
        Operation("write", 0x10000, 8),
        Operation("write", 0x10000, 4),
        Operation("write", 0x10000, 4),
        Operation("erase", 0x10000, 0x1000),
    )


def test_a_long_write_is_one_operation_and_reaches_over_sectors() -> None:
    result = run(
        """
        SPIWrite(0x1fffc, (void *)0x3ffe8000, 0x4008);
        ets_printf("%d\\n", SPIEraseBlock(3)), SPIEraseSector(0x7f);
        show(0x1fff8), show(0x30000);
        """,
        SHOW_FLASH,
    )
    assert result.operations[0] == Operation("write", 0x1FFFC, 0x4008)
    assert result.operations[1:] == (Operation("erase", 0x30000, 0x10000), Operation("erase", 0x7F000, 0x1000))
    assert result.flash[0x1FFF8:0x1FFFC] == b"\xff" * 4
    assert result.flash[0x24004:0x30000] == b"\xff" * (0x30000 - 0x24004)
    assert result.flash[0x1FFFC:0x20010] != b"\xff" * 20
    assert result.spi == SpiStatistics(result.spi.reads, result.spi.read_bytes, 1, 0x4008, 2) if result.spi else False


def test_erasing_the_chip_leaves_nothing() -> None:
    result = run("SPIEraseChip();")
    assert result.flash == b"\xff" * 0x80000


def test_what_the_chip_would_not_do_is_refused_and_reported() -> None:
    result = run(
        """
        ets_printf("%d", SPIWrite(0x10002, words, 4));
        ets_printf("%d", SPIWrite(0x10000, words, 6));
        ets_printf("%d", SPIWrite(0x7fffc, words, 8));
        ets_printf("%d", SPIRead(0x80000, words, 1));
        ets_printf("%d", SPIRead(0xfffffffc, words, 8));
        ets_printf("%d", SPIEraseSector(0x80));
        ets_printf("%d", SPIEraseSector(0xffffffff));
        ets_printf("%d", SPIEraseBlock(8));
        ets_printf("%d\\n", SPIRead(0x7ffff, words, 1)); /* the only one that works */
        """,
        SHOW_FLASH,
    )
    assert lines(result) == ["111111110"]
    assert result.misuse == (
        "write of 4 bytes at 10002: not in words",
        "write of 6 bytes at 10000: not in words",
        "write of 8 bytes at 7fffc: outside the flash",
        "read of 1 bytes at 80000: outside the flash",
        "read of 8 bytes at fffffffc: outside the flash",
        "erase of 4096 bytes at 80000: outside the flash",
        "erase of 4096 bytes at ffffffff: outside the flash",
        "erase of 65536 bytes at 80000: outside the flash",
    )
    assert result.operations == ()


def test_each_megabyte_of_16_can_be_mapped() -> None:
    flash = bytearray(
        chip.flash(
            program(
                """
                for (int megabyte = 0; megabyte < 16; megabyte++) {
                    Cache_Read_Enable(megabyte % 2, megabyte / 2, 1);
                    ets_printf("%d %d\\n", WORD(0x40280000), WORD(0x402ffffc));
                    Cache_Read_Disable();
                }
                """
            ),
            0x1000000,
        )
    )
    for megabyte in range(16):
        for offset, value in ((0x80000, megabyte), (0xFFFFC, 100 + megabyte)):
            at = megabyte * 0x100000 + offset
            flash[at : at + 4] = value.to_bytes(4, "little")
    assert lines(boot(bytes(flash))) == [f"{megabyte} {100 + megabyte}" for megabyte in range(16)]


def test_what_is_mapped_shows_what_is_written_and_only_that() -> None:
    result = run(
        """
        Cache_Read_Enable(1, 0, 1);
        words[0] = 0x11111111;
        SPIWrite(0x180000, words, 4), ets_printf("%x ", WORD(0x40280000));
        SPIWrite(0x080000, words, 4), SPIEraseSector(0x180), ets_printf("%x ", WORD(0x40280000));
        Cache_Read_Enable(0, 0, 1), ets_printf("%x\\n", WORD(0x40280000));
        """,
        SHOW_FLASH,
        size=0x200000,
    )
    assert lines(result) == ["11111111 ffffffff 11111111"]
    assert result.misuse == ()


def test_mapping_a_megabyte_that_is_not_there_is_misuse() -> None:
    result = run("Cache_Read_Enable(1, 0, 1), Cache_Read_Enable(0, 0, 1);")
    assert result.ended == BootEnd.DONE
    assert result.misuse == ("cache: megabyte 1 is outside the flash",)


# Power

THREE_STEPS = (
    'SPIEraseSector(0x20), SPIWrite(0x20000, (void *)0x40100000, 32), SPIEraseSector(0x20), ets_printf("on\\n");'
)


@pytest.mark.parametrize(("operation", "part"), [(n, part) for n in (1, 2, 3) for part in (0, 1, 2)])
def test_power_can_go_before_in_the_middle_of_and_after_each_operation(operation: int, part: int) -> None:
    built = program(THREE_STEPS)
    text = elf.parse_elf(built).find(".text")
    assert text is not None
    code, blank, old = text.data[:32], b"\xff" * 4096, bytes(4096)
    flash = bytearray(chip.flash(built))
    flash[0x20000:0x21000] = old
    written = code + blank[32:]
    half_erased = blank[:2048] + bytes(2048)
    states = {
        (1, 0): old,
        (1, 1): half_erased,
        (1, 2): blank,
        (2, 0): blank,
        (2, 1): code[:16] + blank[16:],
        (2, 2): written,
        (3, 0): written,
        (3, 1): blank,  # the second half was blank before
        (3, 2): blank,
    }
    result = boot(bytes(flash), BootOptions(cut=PowerCut(operation, part)))
    assert result.ended == BootEnd.POWER_CUT
    assert "on\n" not in result.uart
    assert result.flash[0x20000:0x21000] == states[operation, part]
    assert len(result.operations) == operation


def test_a_power_cut_that_does_not_come_changes_nothing() -> None:
    result = run(THREE_STEPS, cut=PowerCut(4))
    assert lines(result) == ["on"]


def test_what_was_written_is_there_although_the_program_never_ends() -> None:
    result = run('SPIWrite(0x20000, "durable", 8); ets_printf("now"); for (;;) ;', until="now")
    assert result.ended == BootEnd.UNTIL
    assert result.flash[0x20000:0x20008] == b"durable\0"
    assert result.operations == (Operation("write", 0x20000, 8),)
    assert (result.spi, result.rtc) == (None, None)


# Resets


def test_a_software_reset_keeps_rtc_memory_and_has_its_reason() -> None:
    result = run(
        """
        ets_printf("reason %d, counted %d\\n", rtc_get_reset_reason(), WORD(0x60001300));
        if (WORD(0x60001300)++ < 3) software_reset();
        """
    )
    assert lines(result) == ["reason 1, counted 0", *(f"reason 3, counted {n}" for n in (1, 2, 3))]
    assert result.resets == 3
    assert "rst cause:1" in result.uart
    assert "rst cause:3" in result.uart


def test_resets_without_end_are_ended() -> None:
    result = run("software_reset();", max_resets=5)
    assert (result.ended, result.resets) == (BootEnd.RESETS, 6)
    assert result.uart.count("rst cause") == 6
    assert run("software_reset();", max_resets=0).resets == 1


def test_rboots_data_in_rtc_memory_go_in_and_come_out() -> None:
    before = RtcData(next_mode=2, temp_rom=1)  # type: ignore[arg-type]
    result = run('ets_printf("%x %x %x\\n", WORD(0x60001200), WORD(0x60001204), WORD(0x60001208));', rtc=before)
    words = before.to_bytes()
    assert lines(result) == [" ".join(f"{int.from_bytes(words[at : at + 4], 'little'):x}" for at in (0, 4, 8))]
    assert result.rtc == before
    assert run("WORD(0x60001208) ^= 1;", rtc=before).rtc is None, "the checksum is wrong now"


def test_the_levels_of_the_pins() -> None:
    body = 'ets_printf("%x %x\\n", WORD(0x60000318) & 0xffff, WORD(0x6000078c) & 1);'
    assert lines(run(body)) == ["ffff 1"]
    assert lines(run(body, gpio_low=True)) == ["0 0"]


# Typing


def test_what_is_typed_reaches_the_program() -> None:
    result = run(
        """
        uint8_t c;
        ets_printf("ready\\n");
        do {
            while (uart_rx_one_char(&c)) ets_delay_us(100);
            uart_tx_one_char(c >= 'a' && c <= 'z' ? c - 32 : c);
        } while (c != '.');
        """,
        uart_input=b"all of this is more than sixteen bytes of text, " * 20 + b"end.",
    )
    assert result.ended == BootEnd.DONE
    assert "ready\n" + "ALL OF THIS IS MORE THAN SIXTEEN BYTES OF TEXT, " * 20 + "END." in result.uart


def test_without_typing_there_is_no_character() -> None:
    assert lines(run('uint8_t c; ets_printf("%d\\n", uart_rx_one_char(&c));')) == ["1"]


# What ends badly

CRASHES = [
    ('__asm__ volatile("ill");', "IllegalInstruction (illegal instruction)", None),
    ('__asm__ volatile("syscall");', "Syscall (SYSCALL instruction)", None),
    ("(void)WORD(0x20000010);", "LoadStorePIFAddrError (load or store at an unmapped address)", 0x20000010),
    ("WORD(0x20000020) = 1;", "LoadStorePIFAddrError (load or store at an unmapped address)", 0x20000020),
]


@pytest.mark.parametrize(("body", "cause", "address"), CRASHES, ids=["ill", "syscall", "load", "store"])
def test_an_exception_names_cause_function_and_address(body: str, cause: str, address: int | None) -> None:
    built = program(
        '__asm__ volatile("movi a12, 0x123" ::: "a12"); wrong();',
        f"__attribute__((noinline)) static void wrong(void) {{ {body} }}",
    )
    result = boot(chip.flash(built))
    assert result.ended == BootEnd.CRASH
    assert result.crash is not None
    text = result.crash.describe(elf.elf_symbols(built))
    assert text.startswith(f"{cause} at 0x401000")
    assert "(wrong" in text
    if address is not None:
        assert text.endswith(f", address {address:#x}")
    assert result.crash.registers[12] == 0x123
    assert 0x3FFFF000 < result.crash.registers[1] < 0x40000000, "the stack is at the end of the DRAM"
    assert f"Fatal exception ({result.crash.cause}): pc {result.crash.pc:08x}" in result.uart


def test_a_jump_to_nowhere_is_a_crash() -> None:
    result = run("((void (*)(void))0x20000000)();")
    assert result.crash is not None
    assert result.crash.describe().startswith(
        "InstrPIFAddrError (instruction fetch from an unmapped address) at 0x20000000"
    )


def test_an_exception_in_an_exception_is_a_double_exception() -> None:
    result = run('__asm__ volatile("rsr a2, ps; movi a3, 16; or a2, a2, a3; wsr a2, ps; rsync; ill" ::: "a2", "a3");')
    assert result.crash is not None
    assert result.crash.describe().startswith("double exception: IllegalInstruction (illegal instruction) at 0x401000")


def test_a_breakpoint_is_a_crash() -> None:
    result = run('__asm__ volatile("break 1, 15");')
    assert result.ended == BootEnd.CRASH
    assert result.crash is not None
    assert result.crash.describe().startswith("debug exception at 0x401000")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ((0, 0xEA), "no image at 0"),
        ((0, 0xFF), "no image at 0"),
        ((11, 0x50), "section at 8"),  # of the load address
        ((15, 0x10), "section at 8"),  # of the length
        ((10, 0x20), "section at 8"),
        ((20, 0x77), "csum err"),
        ((1, 0xFF), "section at"),
    ],
)
def test_a_bad_image_at_0_is_not_started(damage: tuple[int, int], message: str) -> None:
    flash = bytearray(chip.flash(program('ets_printf("started\\n");')))
    flash[damage[0]] = damage[1]
    result = boot(bytes(flash))
    assert result.ended == BootEnd.NO_IMAGE
    assert message in result.uart
    assert "started" not in result.uart


# The file


def test_the_shipped_mask_rom_is_what_its_sources_give(tmp_path: Path) -> None:
    tree = tmp_path / "elsewhere"
    root = chip.PACKAGE.parent
    for name in ("rbootimg", "site_scons"):
        shutil.copytree(root / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "*.elf"))
    (tree / "SConstruct").write_text('SConscript("rbootimg/firmware/SConscript", variant_dir="b", duplicate=False)\n')
    scons = [sys.executable, "-m", "SCons", "-Q", "firmware"]
    subprocess.run(scons, cwd=tree, check=True, capture_output=True, timeout=60)
    rebuilt = tree / "rbootimg" / "firmware" / "maskrom.elf"
    if comment(rebuilt) == comment(MASK_ROM):
        assert rebuilt.read_bytes() == MASK_ROM.read_bytes(), "run `scons firmware` and commit maskrom.elf"
    else:  # another compiler
        result = subprocess.run(
            [sys.executable, "-c", BOOT_WITH, rebuilt],
            input=chip.flash(program('ets_printf("up\\n");')),
            capture_output=True,
        )
        assert b"up\n" in result.stdout


BOOT_WITH = """
import pathlib, sys
from rbootimg import emulator
emulator.MASK_ROM = pathlib.Path(sys.argv[1])
print(emulator.boot(sys.stdin.buffer.read()).uart)
"""


def comment(path: Path) -> bytes:
    """Which compiler made the ELF."""
    dump = ["xtensa-lx106-elf-objcopy", "-O", "binary", "--only-section=.comment", "--set-section-flags"]
    return subprocess.run([*dump, ".comment=alloc", path, "/dev/stdout"], check=True, capture_output=True).stdout
