/* The application's command line, whatever machine it runs on. */
#ifndef APP_H
#define APP_H

/* The version and the prompt. */
void app_start(void);

/* A character has come on the UART. */
void app_key(char character);

/* The machine's part. */
void machine_restart(void);

#endif
