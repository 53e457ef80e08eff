#include "node/host_port.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

static lapse_result parse_port(const char *text, uint16_t *port, struct lapse_error *error)
{
    uint32_t value = 0;
    size_t len = strlen(text);
    bool digits = len >= 1 && len <= 5;
    for (size_t i = 0; digits && i < len; i++) {
        digits = text[i] >= '0' && text[i] <= '9';
        value = value * 10 + (uint32_t)(text[i] - '0');
    }
    if (!digits || value > UINT16_MAX)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "the port \"%s\" is not a number from 0 to 65535", text);
    *port = (uint16_t)value;
    return lapse_ok();
}

static lapse_result parse_ipv6(const char *text, size_t len, char host[HOST_SIZE], struct lapse_error *error)
{
    char copy[INET6_ADDRSTRLEN] = "";
    struct in6_addr parsed;
    if (len < sizeof copy)
        memcpy(copy, text, len);
    if (len >= sizeof copy || inet_pton(AF_INET6, copy, &parsed) != 1)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "\"[%.*s]\" is not an IPv6 address", (int)len, text);
    (void)inet_ntop(AF_INET6, &parsed, host, HOST_SIZE);
    return lapse_ok();
}

static lapse_result parse_name(const char *text, size_t len, char host[HOST_SIZE], struct lapse_error *error)
{
    if (len == 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "the host is missing (0.0.0.0 or [::] mean all addresses of this machine)");
    if (memchr(text, ':', len) != NULL)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "an IPv6 address stands in brackets: [::1]:7400");
    if (len > 253)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "a host name has at most 253 characters");
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)text[i]) && text[i] != '.' && text[i] != '-')
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                              "a host name has only letters, digits, '.' and '-', not \"%c\"", text[i]);
    for (size_t i = 0; i < len; i++)
        host[i] = (char)tolower((unsigned char)text[i]);
    host[len] = '\0';
    return lapse_ok();
}

lapse_result host_port_parse(const char *text, struct host_port *address, struct lapse_error *error)
{
    struct host_port parsed = {.port = 0};
    const char *colon = strrchr(text, ':');
    if (colon == NULL || strchr(colon, ']') != NULL)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "\"%s\" has no port; accepted: host:port", text);

    size_t len = (size_t)(colon - text);
    lapse_result result = len >= 2 && text[0] == '[' && colon[-1] == ']'
                              ? parse_ipv6(text + 1, len - 2, parsed.host, error)
                              : parse_name(text, len, parsed.host, error);
    if (lapse_is_ok(result))
        result = parse_port(colon + 1, &parsed.port, error);
    if (lapse_is_ok(result))
        *address = parsed;
    return result;
}

void host_port_format(const struct host_port *address, char text[HOST_PORT_SIZE])
{
    const char *form = strchr(address->host, ':') != NULL ? "[%s]:%u" : "%s:%u";
    (void)snprintf(text, HOST_PORT_SIZE, form, address->host, (unsigned)address->port);
}

bool host_is_wildcard(const char *host)
{
    return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

bool host_is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 || strcmp(host, "localhost") == 0;
}
