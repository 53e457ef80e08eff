/* "host:port" as people write it: in the configuration, in --members, in what is printed.
 *
 *   127.0.0.1:7400   node1.example.org:7400   [::1]:7400
 *
 * An IPv6 address stands in brackets; the host is never empty (0.0.0.0 and [::] mean all addresses). */
#ifndef LAPSE_NODE_ADDRESS_H
#define LAPSE_NODE_ADDRESS_H

#include <stdint.h>

#include "base/result.h"

/* A host name has at most 253 characters. */
#define ADDRESS_HOST_SIZE 256
#define ADDRESS_TEXT_SIZE (ADDRESS_HOST_SIZE + sizeof "[]:65535")

struct address {
    char host[ADDRESS_HOST_SIZE]; /* without brackets; letters in lower case; IPv6 in its shortest form */
    uint16_t port;                /* 0: to be chosen by the system; only for listening */
};

/* INVALID_ARGUMENT with what is wrong; `address` is then untouched. Two spellings of one address give the same struct. */
lapse_result address_parse(const char *text, struct address *address, struct lapse_error *error) LAPSE_MUST_USE;
void address_format(const struct address *address, char text[ADDRESS_TEXT_SIZE]);
/* Whether the host means all addresses of the machine, or only itself. */
bool address_is_wildcard(const char *host);
bool address_is_loopback(const char *host);

#endif
