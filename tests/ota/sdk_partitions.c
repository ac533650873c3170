/* In place of the function of that name in SDK 3.0.4 and 3.0.6: false for each table that the real one refuses, as
 * found by calling it. It is stricter in one thing: no type stands twice. */
#include "spi_flash.h"
#include "user_interface.h"

enum { SECTOR = 0x1000, MEGABYTE = 0x100000 };

/* By the size code in byte 3 of flash 0: the flash's bytes, and where OTA_2 is. */
static const struct {
    uint32 bytes, ota_2;
} maps[16] = {
    [2] = {MEGABYTE, 0x81000},      [3] = {2 * MEGABYTE, 0x81000},   [4] = {4 * MEGABYTE, 0x81000},
    [5] = {2 * MEGABYTE, 0x101000}, [6] = {4 * MEGABYTE, 0x101000},  [8] = {8 * MEGABYTE, 0x101000},
    [9] = {16 * MEGABYTE, 0x101000},
};

static bool row_is_good(const partition_item_t *row, uint32 map)
{
    if (row->addr % SECTOR || row->size % SECTOR || row->size == 0 || row->size > maps[map].bytes ||
        row->addr > maps[map].bytes - row->size) {
        return false;
    }
    switch (row->type) {
    case SYSTEM_PARTITION_BOOTLOADER: return row->addr == 0 && row->size == SECTOR;
    case SYSTEM_PARTITION_OTA_1: return row->addr == SECTOR && row->size <= MEGABYTE;
    case SYSTEM_PARTITION_OTA_2: return row->addr == maps[map].ota_2 && row->size <= MEGABYTE;
    case SYSTEM_PARTITION_RF_CAL:
    case SYSTEM_PARTITION_PHY_DATA: return row->size == SECTOR;
    case SYSTEM_PARTITION_SYSTEM_PARAMETER: return row->size == 3 * SECTOR;
    default: return row->type != SYSTEM_PARTITION_INVALID;
    }
}

bool system_partition_table_regist(const partition_item_t *table, uint32 count, uint32 map)
{
    uint32 flash_0, required = 0, i, other;

    if (spi_flash_read(0, &flash_0, sizeof flash_0) != SPI_FLASH_RESULT_OK || flash_0 >> 28 != map ||
        maps[map].bytes == 0) {
        return false;
    }
    for (i = 0; i < count; i++) {
        const partition_item_t *row = table + i;
        if (!row_is_good(row, map)) {
            return false;
        }
        for (other = 0; other < i; other++) {
            if (row->type == table[other].type || (row->addr < table[other].addr + table[other].size &&
                                                   table[other].addr < row->addr + row->size)) {
                return false;
            }
        }
        required += row->type == SYSTEM_PARTITION_RF_CAL || row->type == SYSTEM_PARTITION_PHY_DATA ||
                    row->type == SYSTEM_PARTITION_SYSTEM_PARAMETER;
    }
    return required == 3;
}
