#include "client/agent/request.h"

#include <strings.h>

void agent_request_add(struct agent_request *request, struct slice name, struct slice value)
{
    if (request->n_headers == LIMIT_AGENT_HEADERS)
        request->fault = "the request has too many headers";
    else
        request->headers[request->n_headers++] = (struct agent_header){name, value};
}

static bool same_name(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || strncasecmp((const char *)a.data, (const char *)b.data, a.len) == 0);
}

size_t agent_request_header(const struct agent_request *request, struct slice name, struct slice *value)
{
    size_t n = 0;
    for (size_t i = 0; i < request->n_headers; i++)
        if (same_name(request->headers[i].name, name) && n++ == 0)
            *value = request->headers[i].value;
    return n;
}

struct slice agent_request_told(struct agent_request *request, const char *name)
{
    struct slice value = {NULL, 0};
    if (agent_request_header(request, slice_str(name), &value) > 1)
        request->fault = "a header that the proxy sets stands there twice";
    return value;
}
