/* Mutual TLS 1.3 over libuv's TCP, both ends: the only way ininto a Lapse port.
 *
 * An identity is a certificate, its key, the authorities it trusts, and a trust domain. It is immutable and
 * reference-counted: a reload makes a new one, which new connections use (tls_listener_set_identity); the owner of the
 * old connections asks tls_stream_still_valid of each and closes those that no longer verify. Fixed here: TLS 1.3 only;
 * no tickets, no session cache, no early data; ALPN required; both sides show a certificate; exactly one URI SAN, in
 * the trust domain compared exactly; a leaf, not a CA; the connection ends when the peer's certificate expires.
 *
 * In TLS 1.3 a client's handshake ends before the server has judged its certificate: a refused client may see on_open
 * and then on_close with UNAUTHENTICATED. The first bytes from the server are the proof that it was let in. The program
 * ignores SIGPIPE. */
#ifndef LAPSE_BASE_TLS_H
#define LAPSE_BASE_TLS_H

#include <uv.h>

#include "base/stream.h"

struct tls_identity;

struct tls_files {
    const char *certificate; /* PEM, leaf first */
    const char *key; /* PEM, no passphrase; refused when others can read it (a group may if root owns the file) */
    const char *authorities; /* PEM bundle */
    const char
        *deny_list; /* optional: one lower-case hex SHA-256 certificate thumbprint or principal a line, # comments */
};

/* UNAUTHENTICATED / INVALID_ARGUMENT with the file's name and what is wrong with it. Any thread. */
lapse_result tls_identity_load(const struct tls_files *files, struct tls_identity **identity,
                               struct lapse_error *error) LAPSE_MUST_USE;
/* Reference counting; any thread. Unref accepts NULL. */
struct tls_identity *tls_identity_ref(struct tls_identity *identity);
void tls_identity_unref(struct tls_identity *identity);
/* Our own principal and the trust domain ("example.org") it lies in. Borrowed. */
const char *tls_identity_principal(const struct tls_identity *identity);
const char *tls_identity_domain(const struct tls_identity *identity);

/* "spiffe://DOMAIN/PATH": the one parser of URI SANs. INVALID_ARGUMENT unless well-formed (https://spiffe.io SPIFFE-ID,
 * section 2): lower-case domain, no port, user, query, fragment, empty or dot segments, at most LIMIT_PRINCIPAL bytes.
 * DOMAIN and PATH (without the slash before it, never empty) are borrowed from `text`. */
lapse_result spiffe_id_parse(struct slice text, struct slice *domain, struct slice *path,
                             struct lapse_error *error) LAPSE_MUST_USE;

struct tls_options {
    const char *alpn;              /* "h2", "lapse-peer/1" */
    uint32_t handshake_timeout_ms; /* 0: 5000 */
    uint32_t connect_timeout_ms; /* 0: 1000, for each address of a name; a dialled connection's TCP_USER_TIMEOUT too, so
                                  * a dead (or for so long not reading) server is noticed within it */
    uint32_t
        stall_timeout_ms; /* 0: 10000: queued bytes that do not move for so long (up to a quarter more) end the stream;
                           * an accepted connection's TCP_USER_TIMEOUT too; keepalive probes start after half of it */
    size_t send_max;      /* 0: 8 MiB */
};

/* Called on the loop right after accept, before the handshake, so that the owner can set a handler and count the
 * stream; on_open follows after the handshake, or on_close. Return false to refuse (closed at once, no callback
 * follows). */
typedef bool (*tls_accept_cb)(void *arg, struct stream *stream, const char *address);

struct tls_listener;
enum tls_port {
    TLS_PORT_ALONE, /* the only listener on its port */
    TLS_PORT_FIRST, /* of several of this process (SO_REUSEPORT); nobody else listens there when it begins */
    TLS_PORT_NEXT   /* the others of this process */
};
/* `port` 0: any; ask tls_listener_port. UNAVAILABLE when somebody else has the port. */
lapse_result tls_listen(uv_loop_t *loop, const char *host, uint16_t port, enum tls_port use,
                        struct tls_identity *identity, const struct tls_options *options, tls_accept_cb accept,
                        void *arg, struct tls_listener **listener, struct lapse_error *error) LAPSE_MUST_USE;
uint16_t tls_listener_port(const struct tls_listener *listener);
void tls_listener_set_identity(struct tls_listener *listener, struct tls_identity *identity);
/* Stops accepting; streams live on. `closed` from the loop. */
void tls_listener_close(struct tls_listener *listener, void (*closed)(void *arg), void *arg);

/* Connects. `host` may be a name (resolved) or an address. `expect` is the principal that the server must have, or a
 * prefix ended by one asterisk; NULL: any node of our trust domain (a path below lapse/node/). Outcome through on_open
 * or on_close. */
lapse_result tls_connect(uv_loop_t *loop, const char *host, uint16_t port, const char *expect,
                         struct tls_identity *identity, const struct tls_options *options,
                         struct stream_handler handler, void *owner, struct stream **stream,
                         struct lapse_error *error) LAPSE_MUST_USE;

/* In on_close of a stream that was dialled: whether the server's machine answered that nobody listens there. */
bool tls_stream_was_refused(const struct stream *stream);

/* Whether the peer of an open TLS stream still verifies under `identity`: chain, dates, trust domain, deny list. Costs
 * two signature checks (0.2 ms): spread many over several turns of the loop. */
bool tls_stream_still_valid(const struct stream *stream, const struct tls_identity *identity);

#endif
