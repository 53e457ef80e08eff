/* What a proxy tells the agent about a request that it holds back, however it told it (HTTP headers, ext_authz): the
 * input of the mapping. Everything is borrowed, as the proxy wrote it, and believed only as far as it is well-formed.
 */
#ifndef LAPSE_CLIENT_AGENT_REQUEST_H
#define LAPSE_CLIENT_AGENT_REQUEST_H

#include "base/bytes.h"
#include "base/limits.h"

struct agent_header {
    struct slice name; /* compared without regard to case */
    struct slice value;
};

/* Empty members: not told. */
struct agent_request {
    const char *fault; /* not NULL: what was told contradicts itself; static */
    struct slice method;
    struct slice target; /* as in the request line: "/reports/a%20b?x=1" */
    struct slice host;   /* may have a port */
    struct slice address;
    struct slice principal;   /* the peer's URI SAN, when the proxy says it */
    struct slice certificate; /* the client's, PEM, percent-encoded (nginx, Envoy) */
    struct agent_header headers[LIMIT_AGENT_HEADERS];
    size_t n_headers;
};

/* One header too many is a fault. */
void agent_request_add(struct agent_request *request, struct slice name, struct slice value);
/* How often the header stands there; `*value` is the first one, untouched when there is none. */
size_t agent_request_header(const struct agent_request *request, struct slice name, struct slice *value);
/* The value of a header that the proxy sets, so that it must not stand there twice; empty when it is not there. */
struct slice agent_request_told(struct agent_request *request, const char *name);

#endif
