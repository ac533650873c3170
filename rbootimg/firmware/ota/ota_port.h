/* What the update client needs of a machine. A port has the functions below, and calls the events. */
#ifndef OTA_PORT_H
#define OTA_PORT_H

#include "rboot-types.h"

/* The network. False if there can be no connection now; else one of the events comes. */
bool ota_port_connect(const uint8 *ip, uint16 port);
bool ota_port_send(const uint8 *data, uint16 size);
/* Ends the connection, or the attempt: ota_event_closed comes, at once or later, and no more data. Never called in an
 * event of the network. */
void ota_port_close(void);

/* The flash: addresses, sizes and buffers in whole words. */
bool ota_port_read(uint32 address, uint32 *to, uint32 size);
bool ota_port_write(uint32 address, const uint32 *from, uint32 size);
bool ota_port_erase(uint32 sector);

/* RTC memory: words from user block `block` on. */
bool ota_port_rtc_read(uint32 block, uint32 *to, uint32 words);
bool ota_port_rtc_write(uint32 block, const uint32 *from, uint32 words);

/* ota_event_timer comes once after so many milliseconds, unless it is set anew before; 0: never. */
void ota_port_timer(uint32 milliseconds);

/* The client's; only ota_event_closed may be called within a function of the port, ota_port_close. */
void ota_event_connected(void);
void ota_event_received(const uint8 *data, uint16 size);
void ota_event_closed(void); /* by the server, or after ota_port_close */
void ota_event_failed(void); /* there is no connection, or no longer */
void ota_event_timer(void);

#endif
