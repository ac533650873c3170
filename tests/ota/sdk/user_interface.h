#ifndef USER_INTERFACE_H
#define USER_INTERFACE_H
#include "c_types.h"
#include "ip_addr.h"
typedef void (*init_done_cb_t)(void);
enum { NULL_MODE, STATION_MODE, SOFTAP_MODE, STATIONAP_MODE };
struct station_config {
    uint8 ssid[32];
    uint8 password[64];
    uint8 channel;
    uint8 bssid_set;
    uint8 bssid[6];
};
enum { EVENT_STAMODE_GOT_IP = 3 };
typedef struct {
    uint32 event;
} System_Event_t;
typedef void (*wifi_event_handler_cb_t)(System_Event_t *event);
void wifi_set_event_handler_cb(wifi_event_handler_cb_t function);
bool wifi_set_opmode_current(uint8 mode);
bool wifi_station_set_config(struct station_config *config);
bool wifi_station_get_config_default(struct station_config *config);
bool wifi_station_connect(void);
bool wifi_station_disconnect(void);
void system_init_done_cb(init_done_cb_t function);
void system_restart(void);
uint32 system_get_chip_id(void);
enum rst_reason {
    REASON_DEFAULT_RST,
    REASON_WDT_RST,
    REASON_EXCEPTION_RST,
    REASON_SOFT_WDT_RST,
    REASON_SOFT_RESTART,
    REASON_DEEP_SLEEP_AWAKE,
    REASON_EXT_SYS_RST
};
struct rst_info {
    uint32 reason, exccause, epc1, epc2, epc3, excvaddr, depc;
};
struct rst_info *system_get_rst_info(void);
void system_soft_wdt_feed(void);
const char *system_get_sdk_version(void);
typedef enum {
    SYSTEM_PARTITION_INVALID,
    SYSTEM_PARTITION_BOOTLOADER,
    SYSTEM_PARTITION_OTA_1,
    SYSTEM_PARTITION_OTA_2,
    SYSTEM_PARTITION_RF_CAL,
    SYSTEM_PARTITION_PHY_DATA,
    SYSTEM_PARTITION_SYSTEM_PARAMETER,
    SYSTEM_PARTITION_CUSTOMER_BEGIN = 100
} partition_type_t;
typedef struct {
    partition_type_t type;
    uint32 addr, size;
} partition_item_t;
bool system_partition_table_regist(const partition_item_t *table, uint32 count, uint32 map);
bool system_rtc_mem_read(uint8 block, void *to, uint16 size);
bool system_rtc_mem_write(uint8 block, const void *from, uint16 size);
#endif
