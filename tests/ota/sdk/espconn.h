#ifndef ESPCONN_H
#define ESPCONN_H
#include "c_types.h"
#define ESPCONN_OK 0
#define ESPCONN_MEM -1
#define ESPCONN_RTE -4
#define ESPCONN_INPROGRESS -5
#define ESPCONN_ARG -12
#define ESPCONN_ISCONN -15
typedef void (*espconn_connect_callback)(void *arg);
typedef void (*espconn_reconnect_callback)(void *arg, sint8 err);
typedef void (*espconn_recv_callback)(void *arg, char *data, unsigned short size);
typedef void (*espconn_sent_callback)(void *arg);
enum espconn_type { ESPCONN_INVALID = 0, ESPCONN_TCP = 0x10, ESPCONN_UDP = 0x20 };
enum espconn_state { ESPCONN_NONE, ESPCONN_WAIT, ESPCONN_LISTEN, ESPCONN_CONNECT, ESPCONN_WRITE, ESPCONN_READ, ESPCONN_CLOSE };
typedef struct {
    int remote_port, local_port;
    uint8 local_ip[4], remote_ip[4];
    espconn_connect_callback connect_callback;
    espconn_reconnect_callback reconnect_callback;
    espconn_connect_callback disconnect_callback, write_finish_fn;
} esp_tcp;
struct espconn {
    enum espconn_type type;
    enum espconn_state state;
    union {
        esp_tcp *tcp;
    } proto;
    espconn_recv_callback recv_callback;
    espconn_sent_callback sent_callback;
    uint8 link_cnt;
    void *reverse;
};
typedef sint8 err_t;
typedef void (*dns_found_callback)(const char *name, ip_addr_t *ipaddr, void *callback_arg);
err_t espconn_gethostbyname(struct espconn *connection, const char *hostname, ip_addr_t *addr, dns_found_callback found);
uint32 espconn_port(void);
sint8 espconn_connect(struct espconn *connection);
sint8 espconn_disconnect(struct espconn *connection);
sint8 espconn_abort(struct espconn *connection);
sint8 espconn_send(struct espconn *connection, uint8 *data, uint16 size);
sint8 espconn_regist_connectcb(struct espconn *connection, espconn_connect_callback function);
sint8 espconn_regist_disconcb(struct espconn *connection, espconn_connect_callback function);
sint8 espconn_regist_reconcb(struct espconn *connection, espconn_reconnect_callback function);
sint8 espconn_regist_recvcb(struct espconn *connection, espconn_recv_callback function);
#endif
