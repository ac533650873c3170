/* An application on the NONOS SDK, 2.1 or later: it says which address it runs from. */
#include "c_types.h"
#include "ets_sys.h"
#include "osapi.h"
#include "user_interface.h"
#include "version.h"

/* The SDK's own sectors, the last five of a 1 MB flash: the slots end before them. */
#define SECTOR 0x1000
#define RF_CAL 0xFB000
#define PHY_DATA 0xFC000
#define SDK_PARAMETERS 0xFD000

#if ESP_SDK_VERSION_MAJOR >= 3
#define FLASH_SIZE_1MB 2 /* the SDK's number for 512 KB + 512 KB */

void ICACHE_FLASH_ATTR user_pre_init(void)
{
    static const partition_item_t partitions[] = {
        {SYSTEM_PARTITION_RF_CAL, RF_CAL, SECTOR},
        {SYSTEM_PARTITION_PHY_DATA, PHY_DATA, SECTOR},
        {SYSTEM_PARTITION_SYSTEM_PARAMETER, SDK_PARAMETERS, 3 * SECTOR},
    };

    if (!system_partition_table_regist(partitions, sizeof partitions / sizeof *partitions, FLASH_SIZE_1MB))
        os_printf("the partition table does not suit the SDK\r\n");
}
#endif

uint32 ICACHE_FLASH_ATTR user_rf_cal_sector_set(void)
{
    return RF_CAL / SECTOR;
}

void ICACHE_FLASH_ATTR user_init(void)
{
    os_printf("\r\nSDK %s, flash code around %p\r\n", system_get_sdk_version(), user_init);
}
