/* Replacement for the ESP8266's mask ROM, for QEMU's lx106 only. It loads the image at flash 0, and implements the
 * functions that boot loaders and applications without an SDK call, at their addresses (vectors.S).
 *
 * The flash is a file on the host. Each write and erase is in the file when the function returns, so stopping QEMU has
 * the effect of a power cut. UART output goes to the first serial port. Events for the emulator go to the report file,
 * one per line; rbootimg/emulator/qemu.py reads it.
 *
 * Settings are NAME=VALUE words of QEMU's -append:
 *   flash=FILE report=FILE       the two files
 *   size=BYTES                   size of the flash
 *   uart-in=FILE uart-out=FILE   UART input and output, instead of the serial port
 *   gpio=MASK gpio16=0|1         levels of the pins (default: all high)
 *   rtc=HEX                      three words of RTC memory, starting at user block 64
 *   resets=N                     maximum number of resets; the run ends at the next one
 *   cut=N part=0|1|2             power cut at the Nth write or erase: before, in the middle, or after it
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "../rboot_format.h"
#include "host.h"

#define BLOCK 0x10000u
#define WINDOW ((uint8_t *)ESP8266_WINDOW_START)
#define REGISTER(address) (*(volatile uint32_t *)(address))

enum { POWER_ON = 1, SOFTWARE_RESET = 3 }; /* reset reasons */

/* Stacks for the code before the image at flash 0, and for the crash handler. */
uint32_t reset_stack[1024], crash_stack[1024];

struct crash {
    uint32_t a[16], pc, cause, address, kind;
} crash;

static struct {
    bool is_initialized; /* false until the first reset */
    uint32_t reason, size, window, cut, part, operations, resets, max_resets;
    int flash, report, uart_in, uart_out;
    uint32_t reads, read_bytes, writes, written_bytes, erases;
    void (*putc)(char);
    uint8_t input[16];
    uint32_t input_size, input_used;
} rom;

static const uint32_t NONE = 0xFFFFFFFF;

/* Strings and memory */

void *rom_ets_memset(void *to, int value, uint32_t size)
{
    uint8_t *out = to;
    while (size--) {
        *out++ = value;
    }
    return to;
}

void *rom_ets_memmove(void *to, const void *from, uint32_t size)
{
    uint8_t *out = to;
    const uint8_t *in = from;
    if (((uintptr_t)out | (uintptr_t)in | size) % 4 == 0 && (out < in || out >= in + size)) {
        for (uint32_t i = 0; i < size / 4; i++) {
            ((uint32_t *)out)[i] = ((const uint32_t *)in)[i];
        }
    } else if (out < in) {
        while (size--) {
            *out++ = *in++;
        }
    } else {
        while (size--) {
            out[size] = in[size];
        }
    }
    return to;
}

void *rom_ets_memcpy(void *to, const void *from, uint32_t size)
{
    return rom_ets_memmove(to, from, size);
}

int rom_ets_memcmp(const void *one, const void *other, uint32_t size)
{
    const uint8_t *a = one, *b = other;
    for (; size; size--, a++, b++) {
        if (*a != *b) {
            return *a - *b;
        }
    }
    return 0;
}

void rom_ets_bzero(void *to, uint32_t size)
{
    rom_ets_memset(to, 0, size);
}

uint32_t rom_ets_strlen(const char *text)
{
    uint32_t size = 0;
    while (text[size]) {
        size++;
    }
    return size;
}

int rom_ets_strncmp(const char *one, const char *other, uint32_t size)
{
    for (; size; size--, one++, other++) {
        if (*one != *other || !*one) {
            return (uint8_t)*one - (uint8_t)*other;
        }
    }
    return 0;
}

int rom_ets_strcmp(const char *one, const char *other)
{
    return rom_ets_strncmp(one, other, NONE);
}

char *rom_ets_strcpy(char *to, const char *from)
{
    rom_ets_memmove(to, from, rom_ets_strlen(from) + 1);
    return to;
}

char *rom_ets_strncpy(char *to, const char *from, uint32_t size)
{
    char *out = to;
    for (; size; size--) {
        *out++ = *from;
        from += *from != 0;
    }
    return to;
}

char *rom_ets_strstr(const char *text, const char *pattern)
{
    uint32_t size = rom_ets_strlen(pattern);
    for (;; text++) {
        if (rom_ets_strncmp(text, pattern, size) == 0) {
            return (char *)text;
        }
        if (!*text) {
            return 0;
        }
    }
}

/* Aliases: the names that the compiler calls, and the second copies that the chip has. */
void *memset(void *, int, uint32_t) __attribute__((alias("rom_ets_memset")));
void *memcpy(void *, const void *, uint32_t) __attribute__((alias("rom_ets_memcpy")));
void *rom_ets_memset2(void *, int, uint32_t) __attribute__((alias("rom_ets_memset")));
void *rom_ets_memcpy2(void *, const void *, uint32_t) __attribute__((alias("rom_ets_memcpy")));
int rom_ets_memcmp2(const void *, const void *, uint32_t) __attribute__((alias("rom_ets_memcmp")));
int rom_ets_strcmp2(const char *, const char *) __attribute__((alias("rom_ets_strcmp")));
uint32_t rom_ets_strlen2(const char *) __attribute__((alias("rom_ets_strlen")));
char *rom_ets_strstr2(const char *, const char *) __attribute__((alias("rom_ets_strstr")));

/* Division by shift and subtract, as the CPU has no division. Division by 0 is not trapped, as on the chip. */

static uint32_t divide(uint32_t dividend, uint32_t divisor, uint32_t *remainder)
{
    uint32_t quotient = 0, rest = 0;
    for (int bit = 31; bit >= 0; bit--) {
        bool carry = rest >> 31;
        rest = rest << 1 | (dividend >> bit & 1);
        if (divisor && (carry || rest >= divisor)) {
            rest -= divisor;
            quotient |= 1u << bit;
        }
    }
    *remainder = rest;
    return quotient;
}

uint32_t rom_udivsi3(uint32_t dividend, uint32_t divisor)
{
    uint32_t remainder;
    return divide(dividend, divisor, &remainder);
}

uint32_t rom_umodsi3(uint32_t dividend, uint32_t divisor)
{
    uint32_t remainder;
    divide(dividend, divisor, &remainder);
    return remainder;
}

int32_t rom_divsi3(int32_t dividend, int32_t divisor)
{
    uint32_t quotient = rom_udivsi3(dividend < 0 ? -(uint32_t)dividend : (uint32_t)dividend,
                                    divisor < 0 ? -(uint32_t)divisor : (uint32_t)divisor);
    return (dividend ^ divisor) < 0 ? -quotient : quotient;
}

uint32_t __udivsi3(uint32_t, uint32_t) __attribute__((alias("rom_udivsi3")));
uint32_t __umodsi3(uint32_t, uint32_t) __attribute__((alias("rom_umodsi3")));
int32_t __divsi3(int32_t, int32_t) __attribute__((alias("rom_divsi3")));

/* Formatted output: buffered, written when the buffer is full and at the end of each call */

struct text {
    int file;
    uint32_t used;
    char buffer[128];
};

static void flush(struct text *text)
{
    host_write_all(text->file, text->buffer, text->used);
    text->used = 0;
}

static void add(struct text *text, char character)
{
    if (text->file == (int)NONE) { /* putc installed by the application */
        rom.putc(character);
        return;
    }
    if (text->used == sizeof text->buffer) {
        flush(text);
    }
    text->buffer[text->used++] = character;
}

struct field {
    uint32_t width, precision;
    bool left, zeros, plus, has_precision;
};

static void add_field(struct text *text, const char *sign, const char *body, uint32_t size, struct field field)
{
    uint32_t used = rom_ets_strlen(sign) + size;
    uint32_t padding = field.width > used ? field.width - used : 0;
    if (!field.left && !field.zeros) {
        for (; padding; padding--) {
            add(text, ' ');
        }
    }
    while (*sign) {
        add(text, *sign++);
    }
    if (!field.left) {
        for (; padding; padding--) {
            add(text, '0');
        }
    }
    while (size--) {
        add(text, *body++);
    }
    for (; padding; padding--) {
        add(text, ' ');
    }
}

static void add_number(struct text *text, const char *sign, uint32_t value, uint32_t base, char ten, struct field field)
{
    char digits[32], *end = digits + sizeof digits, *start = end;
    if (field.has_precision) {
        field.zeros = false;
    }
    while (value || start == end) {
        uint32_t digit;
        value = divide(value, base, &digit);
        *--start = digit < 10 ? '0' + digit : ten + digit - 10;
    }
    while ((uint32_t)(end - start) < field.precision && start > digits) {
        *--start = '0';
    }
    add_field(text, sign, start, end - start, field);
}

static void format_to(struct text *text, const char *format, va_list values)
{
    for (; *format; format++) {
        if (*format != '%') {
            add(text, *format);
            continue;
        }
        struct field field = {0};
        for (format++;; format++) {
            if (*format == '-') {
                field.left = true;
            } else if (*format == '0') {
                field.zeros = true;
            } else if (*format == '+') {
                field.plus = true;
            } else if (*format != '#' && *format != ' ') {
                break;
            }
        }
        if (*format == '*') {
            field.width = va_arg(values, int);
            format++;
        }
        for (; *format >= '0' && *format <= '9'; format++) {
            field.width = field.width * 10 + *format - '0';
        }
        if (*format == '.') {
            field.has_precision = true;
            if (*++format == '*') {
                field.precision = va_arg(values, int);
                format++;
            }
            for (; *format >= '0' && *format <= '9'; format++) {
                field.precision = field.precision * 10 + *format - '0';
            }
        }
        while (*format == 'l' || *format == 'h' || *format == 'z') {
            format++;
        }
        switch (*format) {
        case 'd':
        case 'i': {
            int32_t value = va_arg(values, int32_t);
            const char *sign = value < 0 ? "-" : field.plus ? "+" : "";
            add_number(text, sign, value < 0 ? -(uint32_t)value : (uint32_t)value, 10, 'a', field);
            break;
        }
        case 'u':
            add_number(text, "", va_arg(values, uint32_t), 10, 'a', field);
            break;
        case 'o':
            add_number(text, "", va_arg(values, uint32_t), 8, 'a', field);
            break;
        case 'p':
        case 'x':
            add_number(text, "", va_arg(values, uint32_t), 16, 'a', field);
            break;
        case 'X':
            add_number(text, "", va_arg(values, uint32_t), 16, 'A', field);
            break;
        case 'c': {
            char character = va_arg(values, int);
            field.zeros = false;
            add_field(text, "", &character, 1, field);
            break;
        }
        case 's': {
            const char *string = va_arg(values, const char *);
            uint32_t size = 0;
            string = string ? string : "(null)";
            while (string[size] && (!field.has_precision || size < field.precision)) {
                size++;
            }
            field.zeros = false;
            add_field(text, "", string, size, field);
            break;
        }
        case 0:
            return;
        default: /* %%, and unknown conversions */
            add(text, *format);
        }
    }
}

/* Write a line to the report file. */
static void report(const char *format, ...)
{
    struct text text = {.file = rom.report};
    va_list values;
    va_start(values, format);
    format_to(&text, format, values);
    va_end(values);
    add(&text, '\n');
    flush(&text);
}

/* End the run: report `how`, the flash statistics and the RTC data. */
__attribute__((noreturn)) static void end_run(const char *how, int status)
{
    report("spi %u %u %u %u %u", rom.reads, rom.read_bytes, rom.writes, rom.written_bytes, rom.erases);
    report("rtc %08x %08x %08x", REGISTER(RBOOT_RTC_START), REGISTER(RBOOT_RTC_START + 4),
           REGISTER(RBOOT_RTC_START + 8));
    report("end %s", how);
    host_exit(status);
}

/* UART */

void rom_uart_div_modify(uint32_t port, uint32_t divisor)
{
    (void)port;
    (void)divisor;
}

int rom_uart_tx_one_char(uint8_t character)
{
    host_write_all(rom.uart_out, &character, 1);
    return 0;
}

/* Return 0 and a byte, or 1 if no byte is available. */
int rom_uart_rx_one_char(uint8_t *character)
{
    if (rom.input_used == rom.input_size) {
        rom.input_used = rom.input_size = 0;
        if (host_is_ready(rom.uart_in)) {
            int got = host_read(rom.uart_in, rom.input, sizeof rom.input);
            rom.input_size = got > 0 ? got : 0;
        }
    }
    if (rom.input_used == rom.input_size) {
        return 1;
    }
    *character = rom.input[rom.input_used++];
    return 0;
}

void rom_ets_install_putc1(void (*putc)(char))
{
    rom.putc = putc;
}

void rom_ets_putc(char character)
{
    if (rom.putc) {
        rom.putc(character);
    } else {
        rom_uart_tx_one_char(character);
    }
}

int rom_ets_printf(const char *format, ...)
{
    struct text text = {.file = rom.putc ? (int)NONE : rom.uart_out};
    va_list values;
    va_start(values, format);
    format_to(&text, format, values);
    va_end(values);
    flush(&text);
    return 0;
}

void rom_ets_delay_us(uint32_t microseconds)
{
    (void)microseconds; /* there are no peripherals to wait for */
}

/* Flash */

static bool is_misuse(const char *what, uint32_t address, uint32_t size)
{
    bool is_outside = address > rom.size || size > rom.size - address;
    bool is_unaligned = what[0] != 'r' && (address | size) % 4; /* reads are not checked: rBoot reads single bytes */
    if (is_outside || is_unaligned) {
        report("misuse %s of %u bytes at %x: %s", what, size, address,
               is_outside ? "outside the flash" : "not in words");
    }
    return is_outside || is_unaligned;
}

static void transfer(bool to_flash, uint32_t address, void *data, uint32_t size)
{
    int (*move)(int, void *, uint32_t) = to_flash ? (int (*)(int, void *, uint32_t))host_write : host_read;
    uint8_t *bytes = data;
    host_seek(rom.flash, address);
    while (size) {
        int moved = move(rom.flash, bytes, size);
        if (moved <= 0) {
            end_run("host-error", 3);
        }
        bytes += moved;
        size -= moved;
    }
}

int rom_SPIRead(uint32_t address, void *to, uint32_t size)
{
    if (is_misuse("read", address, size)) {
        return 1;
    }
    rom.reads++;
    rom.read_bytes += size;
    transfer(false, address, to, size);
    return 0;
}

/* Write `data` to the flash file, and to the flash window if it maps that address. */
static void write_flash(uint32_t address, const void *data, uint32_t size)
{
    transfer(true, address, (void *)data, size);
    if (address / ESP8266_WINDOW_SIZE == rom.window) {
        rom_ets_memcpy(WINDOW + address % ESP8266_WINDOW_SIZE, data, size);
    }
}

/* Call before each write and erase. Return how many of its `size` bytes to perform: fewer at the power cut. */
static uint32_t limit_to_power_cut(uint32_t size)
{
    if (++rom.operations != rom.cut) {
        return size;
    }
    return rom.part == 0 ? 0 : rom.part == 1 ? size / 8 * 4 : size;
}

static void end_at_power_cut(void)
{
    if (rom.operations == rom.cut) {
        end_run("power-cut", 0);
    }
}

int rom_SPIWrite(uint32_t address, const void *from, uint32_t size)
{
    static uint32_t cells[ESP8266_SECTOR_SIZE / 4];
    const uint32_t *words = from;
    bool needs_erase = false;
    uint32_t start = address;
    if (is_misuse("write", address, size)) {
        return 1;
    }
    report("write %x %u", address, size);
    rom.writes++;
    rom.written_bytes += size;
    size = limit_to_power_cut(size);
    while (size) {
        uint32_t part = size < sizeof cells ? size : sizeof cells;
        transfer(false, address, cells, part);
        for (uint32_t i = 0; i < part / 4; i++) {
            uint32_t word;
            rom_ets_memcpy(&word, words + i, 4);
            needs_erase |= (cells[i] & word) != word;
            cells[i] &= word; /* a write only clears bits */
        }
        write_flash(address, cells, part);
        address += part;
        words += part / 4;
        size -= part;
    }
    if (needs_erase) {
        report("misuse write at %x: bits that are 0 cannot become 1; erase the sector first", start);
    }
    end_at_power_cut();
    return 0;
}

static int erase(uint32_t address, uint32_t size)
{
    static uint32_t blank[ESP8266_SECTOR_SIZE / 4];
    if (is_misuse("erase", address, size)) {
        return 1;
    }
    report("erase %x %u", address, size);
    rom.erases++;
    rom_ets_memset(blank, 0xFF, sizeof blank);
    size = limit_to_power_cut(size);
    while (size) {
        uint32_t part = size < sizeof blank ? size : sizeof blank;
        write_flash(address, blank, part);
        address += part;
        size -= part;
    }
    end_at_power_cut();
    return 0;
}

int rom_SPIEraseSector(uint32_t sector)
{
    return erase(sector < NONE / ESP8266_SECTOR_SIZE ? sector * ESP8266_SECTOR_SIZE : NONE, ESP8266_SECTOR_SIZE);
}

int rom_SPIEraseBlock(uint32_t block)
{
    return erase(block < NONE / BLOCK ? block * BLOCK : NONE, BLOCK);
}

int rom_SPIEraseChip(void)
{
    return erase(0, rom.size);
}

int rom_SPIUnlock(void)
{
    return 0;
}

void rom_Cache_Read_Enable(uint32_t odd_megabyte, uint32_t megabyte_pair, uint32_t is_large_cache)
{
    uint32_t megabyte = megabyte_pair * 2 + (odd_megabyte & 1);
    (void)is_large_cache;
    report("cache %u", megabyte);
    if (megabyte != rom.window) {
        uint32_t start = megabyte * ESP8266_WINDOW_SIZE;
        uint32_t after = start < rom.size ? rom.size - start : 0;
        uint32_t available = after < ESP8266_WINDOW_SIZE ? after : ESP8266_WINDOW_SIZE;
        if (!available) {
            report("misuse cache: megabyte %u is outside the flash", megabyte);
        }
        transfer(false, start, WINDOW, available);
        rom.window = megabyte;
    }
}

void rom_Cache_Read_Disable(void)
{
    /* The window stays mapped: code that runs from the flash while the cache is off is not detected. */
}

/* Reset */

uint32_t rom_rtc_get_reset_reason(void)
{
    return rom.reason;
}

__attribute__((noreturn)) void rom_software_reset(void)
{
    rom.reason = SOFTWARE_RESET;
    ((void (*)(void))0x50000000)();
    __builtin_unreachable();
}

__attribute__((noreturn)) void rom_crash(void)
{
    static const char *const kinds[] = {"exception", "double exception", "debug exception", "NMI"};
    bool is_unmapped = rom.window == NONE && crash.pc - ESP8266_WINDOW_START < ESP8266_WINDOW_SIZE;
    report("crash %u %x %x %s", crash.cause, crash.pc, crash.address, is_unmapped ? "unmapped" : kinds[crash.kind]);
    for (int i = 0; i < 16; i += 4) {
        report("a%d %08x %08x %08x %08x", i, crash.a[i], crash.a[i + 1], crash.a[i + 2], crash.a[i + 3]);
    }
    rom.putc = 0;
    rom_ets_printf("\r\nFatal exception (%d): pc %08x, address %08x\r\n", crash.cause, crash.pc, crash.address);
    end_run("crash", 1);
}

/* Settings */

static uint32_t parse_number(const char *text)
{
    uint32_t value = 0;
    for (; *text >= '0' && *text <= '9'; text++) {
        value = value * 10 + *text - '0';
    }
    return value;
}

static uint32_t parse_hex(const char *text, uint32_t digits)
{
    uint32_t value = 0;
    for (; digits && *text; digits--, text++) {
        value = value << 4 | (*text <= '9' ? *text - '0' : (*text | 0x20) - 'a' + 10);
    }
    return value;
}

static void apply_setting(const char *word)
{
    static const char *const names[] = {"flash=", "report=", "size=", "uart-in=", "uart-out=",
                                        "gpio=",  "gpio16=", "rtc=",  "cut=",     "part=",    "resets="};
    for (uint32_t i = 0; i < sizeof names / sizeof *names; i++) {
        uint32_t size = rom_ets_strlen(names[i]);
        const char *value = word + size;
        if (rom_ets_strncmp(word, names[i], size)) {
            continue;
        }
        switch (i) {
        case 0: rom.flash = host_open(value, HOST_READ_WRITE); break;
        case 1: rom.report = host_open(value, HOST_WRITE); break;
        case 2: rom.size = parse_number(value); break;
        case 3: rom.uart_in = host_open(value, HOST_READ); break;
        case 4: rom.uart_out = host_open(value, HOST_WRITE); break;
        case 5: REGISTER(ESP8266_GPIO_IN) = parse_hex(value, 8); break;
        case 6: REGISTER(ESP8266_RTC_GPIO_IN) = parse_number(value); break;
        case 7:
            for (uint32_t word_number = 0; word_number < 3; word_number++) {
                REGISTER(RBOOT_RTC_START + 4 * word_number) = parse_hex(value + 8 * word_number, 8);
            }
            break;
        case 8: rom.cut = parse_number(value); break;
        case 9: rom.part = parse_number(value); break;
        case 10: rom.max_resets = parse_number(value); break;
        }
    }
}

static void read_settings(void)
{
    static uint32_t arguments[256]; /* pointers, then the strings */
    REGISTER(ESP8266_GPIO_IN) = 0xFFFF;
    REGISTER(ESP8266_RTC_GPIO_IN) = 1;
    rom.uart_out = 1;
    rom.report = 2;
    int count = host_argument_count();
    if (host_argument_size() > (int)sizeof arguments) {
        end_run("too many settings", 3);
    }
    host_arguments(arguments);
    for (int i = 0; i < count; i++) {
        apply_setting((const char *)arguments[i]);
    }
    if (rom.flash <= 0 || rom.size == 0) {
        end_run("no flash", 3);
    }
}

/* The image at flash 0: a loader, which may use RAM that the sections of a ROM must not */

#define DRAM_LIMIT 0x40000000
#define IRAM_LIMIT 0x40110000

static bool is_ram_range(uint32_t address, uint32_t size)
{
    return (address >= ESP8266_DRAM_START && address <= DRAM_LIMIT && size <= DRAM_LIMIT - address) ||
           (address >= ESP8266_IRAM_START && address <= IRAM_LIMIT && size <= IRAM_LIMIT - address);
}

/* Load the image at flash 0 and return its entry point; 0, with a message on the UART, if it is invalid. */
static uint32_t load_image(void)
{
    esp8266_image_header header;
    esp8266_section_header section;
    uint32_t place = sizeof header;
    uint8_t sum = RBOOT_CHECKSUM_SEED, stored;

    rom_SPIRead(0, &header, sizeof header);
    if (header.magic != ESP8266_IMAGE_MAGIC) {
        rom_ets_printf("flash read err: no image at 0\r\n");
        return 0;
    }
    for (uint32_t left = header.count; left; left--) {
        if (rom_SPIRead(place, &section, sizeof section) || !is_ram_range(section.address, section.length) ||
            rom_SPIRead(place + sizeof section, (void *)section.address, section.length)) {
            rom_ets_printf("flash read err: section at %x\r\n", place);
            return 0;
        }
        rom_ets_printf("load 0x%08x, len %d\r\n", section.address, section.length);
        for (uint32_t i = 0; i < section.length; i++) {
            sum ^= ((uint8_t *)section.address)[i];
        }
        place += sizeof section + section.length;
    }
    if (rom_SPIRead(place | (RBOOT_ALIGNMENT - 1), &stored, 1) || stored != sum) {
        rom_ets_printf("csum err\r\n");
        return 0;
    }
    return header.entry;
}

extern void rom_start(uint32_t entry);

void rom_main(void)
{
    if (!rom.is_initialized) {
        rom.is_initialized = true;
        rom.reason = POWER_ON;
        read_settings();
    }
    rom.window = NONE;
    rom.putc = 0;
    report("reset %u", rom.reason);
    if (rom.resets++ > rom.max_resets) {
        end_run("resets", 0);
    }
    rom_ets_printf("\r\n ets (rbootimg), rst cause:%d, boot mode:(3,7)\r\n\r\n", rom.reason);
    uint32_t entry = load_image();
    if (!entry) {
        end_run("no-image", 2);
    }
    rom_start(entry);
    rom_ets_printf("user code done\r\n");
    end_run("done", 0);
}
