/* Options, ours and the kernel's, and printable addresses. */
#include "base/tls_internal.h"

#include <netinet/tcp.h>
#include <stdio.h>

#define HANDSHAKE_TIMEOUT_MS 5000
#define CONNECT_TIMEOUT_MS 1000
#define STALL_TIMEOUT_MS 10000

static uint32_t or_default(uint32_t value, uint32_t fallback)
{
    return value == 0 ? fallback : value;
}

lapse_result tls_settings_fill(struct tls_settings *settings, const struct tls_options *options,
                               struct lapse_error *error)
{
    struct tls_settings filled = {
        .handshake_timeout_ms = or_default(options->handshake_timeout_ms, HANDSHAKE_TIMEOUT_MS),
        .connect_timeout_ms = or_default(options->connect_timeout_ms, CONNECT_TIMEOUT_MS),
        .stall_timeout_ms = or_default(options->stall_timeout_ms, STALL_TIMEOUT_MS),
        .send_max = options->send_max == 0 ? LIMIT_STREAM_SEND : options->send_max,
    };
    struct slice alpn = slice_str(options->alpn);
    if (alpn.len == 0 || !slice_to_cstr(alpn, filled.alpn, sizeof filled.alpn))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "an ALPN name has 1 to %d bytes", TLS_ALPN_MAX);
    *settings = filled;
    return lapse_ok();
}

void tls_stream_tune(struct tls_stream *stream, uint32_t user_timeout_ms)
{
    uv_os_fd_t fd;
    unsigned timeout = user_timeout_ms;
    unsigned idle_s = stream->settings.stall_timeout_ms / 2000;
    /* Best effort: a connection without them works, it only notices a dead peer later. */
    (void)uv_tcp_nodelay(&stream->tcp, 1);
    (void)uv_tcp_keepalive(&stream->tcp, 1, idle_s == 0 ? 1 : idle_s);
    if (uv_fileno((uv_handle_t *)&stream->tcp, &fd) == 0)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof timeout);
}

void tls_address_print(const struct sockaddr *address, char *out, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
        (void)uv_ip6_name(in6, host, sizeof host);
        (void)snprintf(out, size, "[%s]:%u", host, ntohs(in6->sin6_port));
    } else {
        const struct sockaddr_in *in4 = (const struct sockaddr_in *)address;
        (void)uv_ip4_name(in4, host, sizeof host);
        (void)snprintf(out, size, "%s:%u", host, ntohs(in4->sin_port));
    }
}
