/* CIDR networks: parsing through inet_pton, so that no reading of addresses is our own. */
#include "store/network.h"

#include <arpa/inet.h>

#include "base/limits.h"

static bool parse_ip(const char *text, struct network *out)
{
    out->family = strchr(text, ':') != NULL ? AF_INET6 : AF_INET;
    out->prefix = out->family == AF_INET ? 32 : 128;
    memset(out->bytes, 0, sizeof out->bytes);
    return inet_pton(out->family, text, out->bytes) == 1;
}

bool address_parse(struct slice text, struct network *address)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
    char copy[INET6_ADDRSTRLEN];
    struct network parsed;
    if (!slice_to_cstr(text, copy, sizeof copy) || strlen(copy) != text.len || !parse_ip(copy, &parsed))
        return false;
    if (parsed.family == AF_INET6 && memcmp(parsed.bytes, mapped, sizeof mapped) == 0) {
        memmove(parsed.bytes, parsed.bytes + 12, 4);
        memset(parsed.bytes + 4, 0, 12);
        parsed.family = AF_INET;
        parsed.prefix = 32;
    }
    *address = parsed;
    return true;
}

/* One to three digits without a leading zero, at most `max`. */
static bool parse_prefix(const char *text, unsigned max, unsigned *prefix)
{
    unsigned value = 0;
    size_t len = strlen(text);
    if (len == 0 || len > 3 || (len > 1 && text[0] == '0'))
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        value = value * 10 + (unsigned)(*text - '0');
    }
    *prefix = value;
    return value <= max;
}

static bool bits_equal(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

static bool host_bits_zero(const struct network *network)
{
    unsigned size = network->family == AF_INET ? 32 : 128;
    for (unsigned bit = network->prefix; bit < size; bit++)
        if (network->bytes[bit / 8] >> (7 - bit % 8) & 1)
            return false;
    return true;
}

bool network_parse_strict(struct slice text, struct network *network, const char **why)
{
    char copy[LIMIT_NETWORK + 1], again[INET6_ADDRSTRLEN];
    struct network parsed;
    *why = "write it as address/prefix, like 10.0.0.0/8 or 2001:db8::/32";
    if (!slice_to_cstr(text, copy, sizeof copy) || strlen(copy) != text.len)
        return false;
    char *slash = strchr(copy, '/');
    if (slash == NULL)
        return false;
    *slash = '\0';
    if (!parse_ip(copy, &parsed) || !parse_prefix(slash + 1, parsed.prefix, &parsed.prefix))
        return false;
    *why = "clear the bits behind its prefix";
    if (!host_bits_zero(&parsed))
        return false;
    *why = "write the address in its canonical (shortest, lower-case) form";
    if (inet_ntop(parsed.family, parsed.bytes, again, sizeof again) == NULL || strcmp(again, copy) != 0)
        return false;
    *network = parsed;
    return true;
}

bool network_parse(struct slice text, struct network *network)
{
    const char *why;
    return network_parse_strict(text, network, &why);
}

bool network_contains(const struct network *network, const struct network *address)
{
    return network->family == address->family && bits_equal(network->bytes, address->bytes, network->prefix);
}

bool network_covers(const struct network *outer, const struct network *inner)
{
    return outer->prefix <= inner->prefix && network_contains(outer, inner);
}
