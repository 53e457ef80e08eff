/* "host:port" as people write it: in the configuration, in --members, in what is printed.
 *
 *   127.0.0.1:7400   node1.example.org:7400   [::1]:7400
 *
 * An IPv6 address stands in brackets; the host is never empty (0.0.0.0 and [::] mean all addresses). */
#ifndef LAPSE_NODE_HOST_PORT_H
#define LAPSE_NODE_HOST_PORT_H

#include <stdint.h>

#include "base/result.h"

/* A host name has at most 253 characters. */
#define HOST_SIZE 256
#define HOST_PORT_SIZE (HOST_SIZE + sizeof "[]:65535")

struct host_port {
    char host[HOST_SIZE]; /* without brackets; letters in lower case; IPv6 in its shortest form */
    uint16_t port;        /* 0: to be chosen by the system; only for listening */
};

/* INVALID_ARGUMENT with what is wrong; `address` is then untouched. Two spellings of one address give the same struct.
 */
lapse_result host_port_parse(const char *text, struct host_port *address, struct lapse_error *error) LAPSE_MUST_USE;
void host_port_format(const struct host_port *address, char text[HOST_PORT_SIZE]);
/* Whether the host means all addresses of the machine, or only itself. */
bool host_is_wildcard(const char *host);
bool host_is_loopback(const char *host);

#endif
