/* The application's command line, whatever machine it runs on. */
#ifndef APP_H
#define APP_H

#include "rboot-types.h"

/* The version and the prompt. */
void app_start(void);

/* A character has come on the UART. */
void app_key(char character);

/* The machine's part. */
void machine_restart(void);

#define SSID_SIZE 33 /* the longest, and a 0 */
#define PASSWORD_SIZE 65

/* Keeps name and password of the Wi-Fi network and connects to it; false if there is no Wi-Fi. */
bool machine_set_wifi(const char *ssid, const char *password);

/* The name that is kept; false if there is none. */
bool machine_get_wifi(char ssid[SSID_SIZE]);

#endif
