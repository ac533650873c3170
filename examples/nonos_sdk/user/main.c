/* An application on the NONOS SDK, 2.0 or later: it says which address it runs from. RF_CAL_SECTOR comes from
 * SConstruct, and SDK_PARTITIONS for an SDK that has them. */
#include "c_types.h"
#include "ets_sys.h"
#include "osapi.h"
#include "user_interface.h"

#ifdef SDK_PARTITIONS
#include "partitions.h" /* from SConstruct, of the layout */

void ICACHE_FLASH_ATTR user_pre_init(void)
{
    if (!system_partition_table_regist(rboot_partitions, RBOOT_PARTITION_COUNT, RBOOT_FLASH_MAP)) {
        os_printf("the partition table does not suit the SDK\r\n");
    }
}
#endif

uint32 ICACHE_FLASH_ATTR user_rf_cal_sector_set(void)
{
    return RF_CAL_SECTOR;
}

void ICACHE_FLASH_ATTR user_init(void)
{
    os_printf("\r\nSDK %s, flash code around %p\r\n", system_get_sdk_version(), user_init);
}
