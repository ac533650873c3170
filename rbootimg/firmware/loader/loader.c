/* Boot loader that selects the ROM to boot like rBoot's master branch of 2019-08, which reports v1.4.2. It is used
 * where rBoot's sources are not available, and needs the mask ROM only.
 *
 * Options, under rBoot's names: BOOT_BIG_FLASH, BOOT_CONFIG_CHKSUM, BOOT_IROM_CHKSUM, BOOT_RTC_ENABLED,
 * BOOT_GPIO_ENABLED or BOOT_GPIO_SKIP_ENABLED with BOOT_GPIO_NUM, MAX_ROMS. It prints them on the UART at each boot, in
 * rBoot's wording. With OLD_FLASH_SIZES it supports only the flash sizes of the v1.4.2 release. The maximum size of its
 * image is 4,096 bytes, as the config sector is at 0x1000.
 *
 * rbootimg/flash/bootlogic.py implements the same decision in Python; change both together.
 */
#include "../ota/rboot.h"

#ifndef BOOT_GPIO_NUM
#define BOOT_GPIO_NUM 16
#endif

extern int ets_printf(const char *format, ...);
extern void ets_delay_us(uint32_t microseconds);
extern int SPIRead(uint32_t address, void *to, uint32_t size);
extern int SPIWrite(uint32_t address, const void *from, uint32_t size);
extern int SPIEraseSector(uint32_t sector);

#define MEGABYTE ESP8266_WINDOW_SIZE
#define REGISTER(address) (*(volatile uint32_t *)(address))

/* The complete config sector: the application's data after the config are preserved. */
static union {
    rboot_config config;
    uint32_t words[SECTOR_SIZE / 4];
} sector;

static uint32_t buffer[SECTOR_SIZE / 4];

#if defined BOOT_CONFIG_CHKSUM || defined BOOT_RTC_ENABLED
static uint8_t checksum(const void *data, uint32_t size)
{
    const uint8_t *bytes = data;
    uint8_t sum = RBOOT_CHECKSUM_SEED;
    while (size--) {
        sum ^= *bytes++;
    }
    return sum;
}
#endif

static bool read(uint32_t address, void *to, uint32_t size)
{
    return SPIRead(address, to, size) == 0;
}

/* XOR `size` bytes at flash address `address` into `sum`; false on failure. */
static bool add_to_sum(uint32_t address, uint32_t size, uint32_t *sum)
{
    if (size % 4) {
        return false; /* no packer writes such a section, and the chip reads words */
    }
    while (size) {
        uint32_t chunk = size < sizeof buffer ? size : sizeof buffer;
        if (!read(address, buffer, chunk)) {
            return false;
        }
        for (uint32_t i = 0; i < chunk / 4; i++) {
            *sum ^= buffer[i];
        }
        address += chunk;
        size -= chunk;
    }
    return true;
}

/* Return the flash address of the image with the RAM sections of the ROM at `address`; 0 if the ROM is invalid. */
static uint32_t check_rom(uint32_t address)
{
    esp8266_image_header header;
    esp8266_section_header section;
    uint32_t image, sum = 0;

    if (address == 0 || address == 0xFFFFFFFF || !read(address, &header, sizeof header)) {
        return 0;
    }
    if (header.magic == RBOOT_ROM_MAGIC && header.count == RBOOT_ROM_COUNT) {
        address += sizeof header;
        if (!read(address, &section, sizeof section)) {
            return 0;
        }
        address += sizeof section;
#ifdef BOOT_IROM_CHKSUM
        if (!add_to_sum(address, section.length, &sum)) {
            return 0;
        }
#endif
        address += section.length;
        image = address;
        if (!read(image, &header, sizeof header)) {
            return 0;
        }
    } else if (header.magic == ESP8266_IMAGE_MAGIC) {
        image = address;
    } else {
        return 0;
    }
    address = image + sizeof header;
    for (uint32_t sections_left = header.count; sections_left; sections_left--) {
        if (!read(address, &section, sizeof section)) {
            return 0;
        }
        address += sizeof section;
        if (!add_to_sum(address, section.length, &sum)) {
            return 0;
        }
        address += section.length;
    }
    /* The checksum is the last byte of its block; the chip reads words. */
    if (!read((address | (RBOOT_ALIGNMENT - 1)) - 3, buffer, 4)) {
        return 0;
    }
    sum ^= sum >> 16;
    sum ^= sum >> 8;
    return ((sum ^ RBOOT_CHECKSUM_SEED) & 0xFF) == buffer[0] >> 24 ? image : 0;
}

static void write_config(void)
{
#ifdef BOOT_CONFIG_CHKSUM
    sector.config.chksum = checksum(&sector, offsetof(rboot_config, chksum));
#endif
    SPIEraseSector(RBOOT_CONFIG_SECTOR);
    SPIWrite(RBOOT_CONFIG_ADDRESS, &sector, SECTOR_SIZE);
}

/* Read the config; write rBoot's default if it is invalid. */
static void read_config(uint32_t flash_size)
{
    rboot_config *config = &sector.config;
    read(RBOOT_CONFIG_ADDRESS, &sector, SECTOR_SIZE);
    if (config->magic == RBOOT_CONFIG_MAGIC && config->version == RBOOT_CONFIG_VERSION
#ifdef BOOT_CONFIG_CHKSUM
        && config->chksum == checksum(config, offsetof(rboot_config, chksum))
#endif
    ) {
        return;
    }
    ets_printf("Writing default boot config.\r\n");
    for (uint32_t i = 0; i < sizeof *config / 4; i++) {
        sector.words[i] = 0;
    }
    config->magic = RBOOT_CONFIG_MAGIC;
    config->version = RBOOT_CONFIG_VERSION;
#if defined BOOT_GPIO_ENABLED
    config->mode = MODE_GPIO_ROM;
#elif defined BOOT_GPIO_SKIP_ENABLED
    config->mode = MODE_GPIO_SKIP;
#endif
    config->count = 2;
    config->roms[0] = RBOOT_FIRST_SLOT;
    config->roms[1] = RBOOT_FIRST_SLOT + flash_size / 2;
    write_config();
}

/* Print the flash parameters from the header at flash 0. Return the size in bytes of the flash that the loader uses.
 *
 * The sizes are complete strings, as in rBoot: rbootimg/flash/loader.py finds by them which sizes a loader supports. */
static uint32_t report_flash(void)
{
    static const char *const modes[] = {[ESP8266_FLASH_QIO] = "QIO", [ESP8266_FLASH_QOUT] = "QOUT",
                                        [ESP8266_FLASH_DIO] = "DIO", [ESP8266_FLASH_DOUT] = "DOUT"};
    esp8266_image_header header;
    uint32_t size = RBOOT_UNKNOWN_FLASH_SIZE;
    const char *text = "unknown\r\n", *speed = "unknown";

    read(0, &header, sizeof header);
    switch (header.flash_size_and_freq >> 4) {
    case ESP8266_FLASH_512KB: text = "4 Mbit\r\n"; size = MEGABYTE / 2; break;
    case ESP8266_FLASH_256KB: text = "2 Mbit\r\n"; size = MEGABYTE / 4; break;
    case ESP8266_FLASH_1MB: text = "8 Mbit\r\n"; size = MEGABYTE; break;
#ifndef OLD_FLASH_SIZES
    case ESP8266_FLASH_2MB_C1:
#endif
    case ESP8266_FLASH_2MB: text = "16 Mbit\r\n"; size = 2 * MEGABYTE; break;
#ifndef OLD_FLASH_SIZES
    case ESP8266_FLASH_4MB_C1:
#endif
    case ESP8266_FLASH_4MB: text = "32 Mbit\r\n"; size = 4 * MEGABYTE; break;
#ifndef OLD_FLASH_SIZES
    case ESP8266_FLASH_8MB: text = "64 Mbit\r\n"; size = 8 * MEGABYTE; break;
    case ESP8266_FLASH_16MB: text = "128 Mbit\r\n"; size = 16 * MEGABYTE; break;
#endif
    }
    ets_printf("Flash Size:   %s", text);
#ifndef BOOT_BIG_FLASH
    if (size > MEGABYTE) {
        size = MEGABYTE;
    }
#endif
    bool has_mode = header.flash_mode < sizeof modes / sizeof *modes;
    ets_printf("Flash Mode:   %s\r\n", has_mode ? modes[header.flash_mode] : speed);
    switch (header.flash_size_and_freq & 15) {
    case ESP8266_FLASH_40M: speed = "40 MHz"; break;
    case ESP8266_FLASH_26M: speed = "26.7 MHz"; break;
    case ESP8266_FLASH_20M: speed = "20 MHz"; break;
    case ESP8266_FLASH_80M: speed = "80 MHz"; break;
    }
    ets_printf("Flash Speed:  %s\r\n", speed);
    return size;
}

#if defined BOOT_GPIO_ENABLED || defined BOOT_GPIO_SKIP_ENABLED
/* Return true if the pin is low, with the chip's pull-up enabled. */
static bool pin_is_low(void)
{
#if BOOT_GPIO_NUM == 16 /* connected to the RTC */
    REGISTER(0x60000768) |= 1;                                       /* RTC_GPIO_OUT */
    REGISTER(0x600007A0) = (REGISTER(0x600007A0) & 0xFFFFFFBC) | 1; /* PAD_XPD_DCDC_CONF */
    REGISTER(0x60000790) &= ~1u;                                     /* RTC_GPIO_CONF */
    REGISTER(0x60000774) &= ~1u;                                     /* RTC_GPIO_ENABLE */
    return !(REGISTER(ESP8266_RTC_GPIO_IN) & 1);
#else
    /* Offset of each pin's IOMUX register. 0x100 is added if the pin's GPIO function (bits 4 and 5) is 3, not 0. */
    static const uint32_t mux[] = {0x34, 0x118, 0x38, 0x114, 0x3C, 0x40, 0x11C, 0x120,
                                   0x124, 0x128, 0x12C, 0x130, 0x104, 0x108, 0x10C, 0x110};
    uint32_t pin = 1u << BOOT_GPIO_NUM;
    uint32_t address = 0x60000800 + (mux[BOOT_GPIO_NUM] & 0xFF);
    uint32_t function = mux[BOOT_GPIO_NUM] >> 8 ? 0x30 : 0;
    uint32_t old_enable = REGISTER(0x6000030C); /* GPIO_ENABLE */
    uint32_t old_mux = REGISTER(address);
    REGISTER(0x6000030C) = old_enable & ~pin;
    REGISTER(address) = (old_mux & ~0x130u) | function | 0x80; /* 0x80: pull-up */
    ets_delay_us(10);
    bool is_low = !(REGISTER(ESP8266_GPIO_IN) & pin);
    REGISTER(address) = old_mux;
    REGISTER(0x6000030C) = old_enable;
    return is_low;
#endif
}
#endif

#ifdef BOOT_RTC_ENABLED
/* Write the RTC data by words: RTC memory allows only word access. */
static void write_rtc(rboot_rtc_data *rtc)
{
    const uint32_t *words = (const uint32_t *)rtc;
    rtc->chksum = checksum(rtc, RBOOT_RTC_CHECKSUM);
    for (uint32_t i = 0; i < sizeof *rtc / 4; i++) {
        REGISTER(RBOOT_RTC_START + 4 * i) = words[i];
    }
}
#endif

/* Copy the sections of the image to RAM and return its entry point. The loader's own data may be overwritten: see
 * loader.ld. */
static uint32_t load_image(uint32_t image)
{
    esp8266_image_header header;
    esp8266_section_header section;
    SPIRead(image, &header, sizeof header);
    image += sizeof header;
    while (header.count--) {
        SPIRead(image, &section, sizeof section);
        image += sizeof section;
        SPIRead(image, (void *)section.address, section.length);
        image += section.length;
    }
    return header.entry;
}

/* Select the ROM to boot. Return the flash address of its image; 0 if there is none. */
static uint32_t choose_image(void)
{
    rboot_config *config = &sector.config;
    bool must_write = false;

    ets_printf("\r\nrbootimg loader, decides as rBoot v1.4.2\r\n");
    uint32_t flash_size = report_flash();
    ets_printf(""
#ifdef BOOT_BIG_FLASH
               "rBoot Option: Big flash\r\n"
#endif
#ifdef BOOT_CONFIG_CHKSUM
               "rBoot Option: Config chksum\r\n"
#endif
    );
#if defined BOOT_GPIO_ENABLED
    ets_printf("rBoot Option: GPIO rom mode (%d)\r\n", BOOT_GPIO_NUM);
#elif defined BOOT_GPIO_SKIP_ENABLED
    ets_printf("rBoot Option: GPIO skip mode (%d)\r\n", BOOT_GPIO_NUM);
#endif
    ets_printf(""
#ifdef BOOT_RTC_ENABLED
               "rBoot Option: RTC data\r\n"
#endif
#ifdef BOOT_IROM_CHKSUM
               "rBoot Option: irom chksum\r\n"
#endif
               "\r\n");

    read_config(flash_size);
    int rom = config->current_rom;

#ifdef BOOT_RTC_ENABLED
    rboot_rtc_data rtc;
    bool is_temp_boot = false;
    for (uint32_t i = 0; i < sizeof rtc / 4; i++) {
        ((uint32_t *)&rtc)[i] = REGISTER(RBOOT_RTC_START + 4 * i);
    }
    if (rtc.chksum == checksum(&rtc, RBOOT_RTC_CHECKSUM) && rtc.next_mode & MODE_TEMP_ROM) {
        if (rtc.temp_rom >= config->count) {
            ets_printf("Invalid temp rom selected.\r\n");
            return 0;
        }
        ets_printf("Booting temp rom.\r\n");
        is_temp_boot = true;
        rom = rtc.temp_rom;
    }
#endif

#if defined BOOT_GPIO_ENABLED || defined BOOT_GPIO_SKIP_ENABLED
    bool is_gpio_boot = pin_is_low(); /* rBoot 1.4.2 ignores the config's mode here too */
    if (is_gpio_boot) {
#ifdef BOOT_GPIO_ENABLED
        if (config->gpio_rom >= config->count) {
            ets_printf("Invalid GPIO rom selected.\r\n");
            return 0;
        }
        ets_printf("Booting GPIO-selected rom.\r\n");
        rom = config->gpio_rom;
#else
        rom = config->current_rom + 1;
        if (rom >= config->count) {
            rom = 0;
        }
        config->current_rom = rom;
#endif
        must_write = true;
        if (config->mode & MODE_GPIO_ERASES_SDKCONFIG) {
            ets_printf("Erasing SDK config sectors before booting.\r\n");
            for (uint32_t i = 1; i < 5; i++) {
                SPIEraseSector(flash_size / SECTOR_SIZE - i);
            }
        }
    }
#endif

    if (config->current_rom >= config->count) {
        ets_printf("Invalid rom selected, defaulting to 0.\r\n");
        rom = 0;
        config->current_rom = 0;
        must_write = true;
    }

    /* If the count is larger than MAX_ROMS, addresses are read past the config, as in rBoot. */
    uint32_t image;
    while (!(image = check_rom(sector.words[RBOOT_CONFIG_ROMS / 4 + rom]))) {
#ifdef BOOT_GPIO_ENABLED
        if (is_gpio_boot) {
            ets_printf("GPIO boot rom (%d) is bad.\r\n", rom);
            return 0;
        }
#endif
#ifdef BOOT_RTC_ENABLED
        if (is_temp_boot) {
            ets_printf("Temp boot rom (%d) is bad.\r\n", rom);
            rtc.next_mode = 0;
            write_rtc(&rtc);
            return 0;
        }
#endif
        ets_printf("Rom %d at %x is bad.\r\n", rom, sector.words[RBOOT_CONFIG_ROMS / 4 + rom]);
        must_write = true;
        if (--rom < 0) {
            rom = config->count ? config->count - 1 : 0;
        }
        if (rom == config->current_rom) {
            ets_printf("No good rom available.\r\n");
            return 0;
        }
    }

    if (must_write) {
        config->current_rom = rom;
        write_config();
    }
#ifdef BOOT_RTC_ENABLED
    rtc.magic = RBOOT_RTC_MAGIC;
    rtc.next_mode = 0;
    rtc.last_mode = is_temp_boot ? MODE_TEMP_ROM : 0;
#ifdef BOOT_GPIO_ENABLED
    rtc.last_mode |= is_gpio_boot ? MODE_GPIO_ROM : 0;
#endif
    rtc.last_rom = rom;
    rtc.temp_rom = 0;
    write_rtc(&rtc);
#endif
    ets_printf("Booting rom %d at %x, load addr %x.\r\n", rom, sector.words[RBOOT_CONFIG_ROMS / 4 + rom], image);
    return image;
}

/* Return the entry point of the loaded ROM; 0 if there is none. */
uint32_t choose_and_load(void)
{
    uint32_t image = choose_image();
    return image ? load_image(image) : 0;
}

/* Entry point. It jumps to the ROM with the stack and return address of the mask ROM: the entry point of an SDK returns
 * there, and by then the flash cache may be in place of this code. */
__asm__(".text\n"
        ".align 4\n"
        ".global call_user_start\n"
        "call_user_start:\n"
        "    addi a1, a1, -16\n"
        "    s32i a0, a1, 0\n"
        "    call0 choose_and_load\n"
        "    l32i a0, a1, 0\n"
        "    addi a1, a1, 16\n"
        "    beqz a2, 1f\n"
        "    jx a2\n"
        "1:  ret\n");
