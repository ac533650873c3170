/* The platform-independent part of the application, and the functions that each platform implements. */
#ifndef APP_H
#define APP_H

#include "rboot-types.h"

/* Print the version and the prompt. */
void app_start(void);

/* Handle a character received on the UART. */
void app_key(char character);

/* Implemented by the platform. */
void machine_restart(void);

/* Return a text that differs between devices. */
const char *machine_get_id(void);

#define SSID_SIZE 33 /* maximum length, and the terminating 0 */
#define PASSWORD_SIZE 65

/* Store the name and password of the Wi-Fi network, and connect to it; false on failure. */
bool machine_set_wifi(const char *ssid, const char *password);

/* Get the stored name; false if there is none. */
bool machine_get_wifi(char ssid[SSID_SIZE]);

#endif
