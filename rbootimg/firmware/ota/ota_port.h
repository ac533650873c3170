/* The port: what the update client needs of a platform. A port implements the ota_port_ functions and calls the
 * ota_event_ functions. */
#ifndef OTA_PORT_H
#define OTA_PORT_H

#include "rboot-types.h"

/* Network. */

/* Connect to a server. Return false if that is not possible now; otherwise ota_event_connected, ota_event_failed or
 * ota_event_closed follows. */
bool ota_port_connect(const uint8 *ip, uint16 port);
bool ota_port_send(const uint8 *data, uint16 size);
/* Close the connection, or abort the attempt to connect. ota_event_closed follows, immediately or later; no data may
 * follow. The client does not call it from a network event. */
void ota_port_close(void);

/* Flash. Addresses, sizes and buffers are multiples of 4 bytes. Return false on failure. */
bool ota_port_read(uint32 address, uint32 *to, uint32 size);
bool ota_port_write(uint32 address, const uint32 *from, uint32 size);
bool ota_port_erase(uint32 sector);

/* RTC memory: `words` words of 4 bytes, starting at user block `block`. Return false on failure. */
bool ota_port_rtc_read(uint32 block, uint32 *to, uint32 words);
bool ota_port_rtc_write(uint32 block, const uint32 *from, uint32 words);

/* Call ota_event_timer once after `milliseconds`. Each call replaces the previous one; 0 stops the timer. */
void ota_port_timer(uint32 milliseconds);

/* Events, implemented by the client. A port must not call them from its own ota_port_ functions, except
 * ota_event_closed from ota_port_close. */
void ota_event_connected(void);
void ota_event_received(const uint8 *data, uint16 size);
void ota_event_closed(void); /* closed by the server, or after ota_port_close */
void ota_event_failed(void); /* could not connect, or the connection was lost */
void ota_event_timer(void);

#endif
