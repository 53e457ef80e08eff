/* IP networks in CIDR form, parsed into comparable bytes. Internal to store/. */
#ifndef LAPSE_STORE_NETWORK_H
#define LAPSE_STORE_NETWORK_H

#include "base/bytes.h"

struct network {
    int family; /* AF_INET or AF_INET6 */
    uint8_t bytes[16];
    unsigned prefix; /* bits */
};

/* "10.0.0.0/8", "2001:db8::/32": canonical text only, host bits zero. On failure `why` (may be NULL) says what is
 * wrong. */
bool network_parse_strict(struct slice text, struct network *network, const char **why);
bool network_parse(struct slice text, struct network *network);
/* An address without a prefix. An IPv4 address in IPv6 form (::ffff:10.0.0.1) is read as IPv4: dual-stack sockets show
 * it so. */
bool address_parse(struct slice text, struct network *address);
bool network_contains(const struct network *network, const struct network *address);
/* Whether each address of `inner` is one of `outer`. */
bool network_covers(const struct network *outer, const struct network *inner);

#endif
