#include "client/agent/facts.h"

#include <arpa/inet.h>

/* Methods are case-sensitive, but not to everybody. */
static bool take_method(struct slice method, char *out, size_t size)
{
    if (method.len >= size)
        return false;
    for (size_t i = 0; i < method.len; i++) {
        uint8_t c = method.data[i];
        if ((c < 'A' || c > 'Z') && c != '-')
            return false;
        out[i] = (char)(c == '-' ? c : c | 0x20);
    }
    out[method.len] = '\0';
    return true;
}

static bool is_host_character(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == ':';
}

/* Without port and brackets. */
static struct slice host_alone(struct slice host)
{
    const uint8_t *bracket = host.len == 0 || host.data[0] != '[' ? NULL : memchr(host.data, ']', host.len);
    if (bracket != NULL)
        return slice_of(host.data + 1, (size_t)(bracket - host.data) - 1);
    const uint8_t *colon = host.len == 0 ? NULL : memchr(host.data, ':', host.len);
    return colon == NULL ? host : slice_of(host.data, (size_t)(colon - host.data));
}

static bool take_host(struct slice host, char *out, size_t size)
{
    struct slice name = host_alone(host);
    if (name.len >= size)
        return false;
    if (name.len > 0 && name.data[name.len - 1] == '.')
        name.len--;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        out[i] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
        if (!is_host_character((uint8_t)out[i]))
            return false;
    }
    out[name.len] = '\0';
    return true;
}

/* nginx says "unix:" for a client on a Unix socket, who has no address. */
static bool take_address(struct slice address, char *out, size_t size)
{
    struct in6_addr parsed;
    if (slice_equal(address, slice_str("unix:")))
        address.len = 0;
    if (!slice_to_cstr(address, out, size))
        return false;
    return *out == '\0' || inet_pton(AF_INET, out, &parsed) == 1 || inet_pton(AF_INET6, out, &parsed) == 1;
}

const char *agent_facts_take(const struct agent_request *request, struct agent_facts *facts)
{
    facts->request = request;
    facts->certificate_sha256[0] = facts->spiffe_id[0] = '\0';
    if (request->fault != NULL)
        return request->fault;
    const char *fault = agent_target_parse(request->target, &facts->target);
    if (fault != NULL)
        return fault;
    if (!take_method(request->method, facts->method, sizeof facts->method))
        return "the method is none: capital letters and dashes, at most 32";
    if (!take_host(request->host, facts->host, sizeof facts->host))
        return "the host is not a name or an address";
    if (!take_address(request->address, facts->address, sizeof facts->address))
        return "the client's address is not an IP address";
    if (request->certificate.len > 0 && !agent_certificate_read(request->certificate, facts))
        return "the client's certificate is not a percent-encoded PEM certificate";
    return NULL;
}
