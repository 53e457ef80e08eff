/* What the parts of base/tls share. Nobody else includes this.
 *
 *   tls_identity.c   files -> SSL_CTX, deny list        tls_verify.c   is this certificate let in?
 *   tls_loop.c       one per loop: buffers, turns       tls_error.c    OpenSSL's words -> ours
 *   tls_stream.c     one connection's life              tls_connect.c, tls_listen.c   how it begins
 *   tls_bio.c        OpenSSL's view of it               tls_socket.c   options of the socket, addresses */
#ifndef LAPSE_BASE_TLS_INTERNAL_H
#define LAPSE_BASE_TLS_INTERNAL_H

#include <sys/queue.h>

#include <openssl/ssl.h>

#include "base/check.h"
#include "base/tls.h"

#define TLS_ALPN_MAX 31
/* Bytes of one read, and of one write's plaintext: 8 full TLS records. */
#define TLS_READ_BYTES (32u * 1024)
#define TLS_WRITE_BYTES (128u * 1024)
#define TLS_RECORD_BYTES (16u * 1024)

struct tls_identity {
    _Atomic(uint32_t) refs;
    SSL_CTX *context; /* both roles */
    char principal[LIMIT_PRINCIPAL + 1];
    char domain[LIMIT_PRINCIPAL + 1];
    char **denied; /* sorted: thumbprints and principals */
    size_t denied_count;
};

struct tls_settings {
    char alpn[TLS_ALPN_MAX + 1];
    uint32_t handshake_timeout_ms;
    uint32_t connect_timeout_ms;
    uint32_t stall_timeout_ms;
    size_t send_max;
};

/*                    tls_connect
 *                        v
 *                    RESOLVING -> CONNECTING --> HANDSHAKE --> OPEN --> DRAINING --> LINGERING --> CLOSED
 *                                     ^------'       ^                  (our close:  (our FIN is
 *                                   next address     |                   sends what   out; waits
 *                                               tls_listen               is queued)   for theirs)
 *
 * Any state may go to CLOSED directly. LINGERING exists because closing a socket with unread bytes resets the
 * connection, and a reset would overtake the last bytes, or the alert, that we sent. */
enum tls_state { TLS_RESOLVING, TLS_CONNECTING, TLS_HANDSHAKE, TLS_OPEN, TLS_DRAINING, TLS_LINGERING, TLS_CLOSED };

struct tls_dial;

struct tls_stream {
    struct stream stream; /* first: a struct stream * is a struct tls_stream * */
    enum tls_state state;
    struct tls_loop *loop;
    struct tls_identity *identity;
    struct tls_settings settings;
    struct tls_dial *dial; /* of a dialled stream until it is open */
    SSL *ssl;
    uv_tcp_t tcp;
    uv_timer_t timer;
    unsigned handles; /* initialised and not yet closed */
    uv_shutdown_t shutdown;
    struct stream_peer peer;
    struct lapse_error why;
    bool refused; /* by the machine, at every address */

    /* Reading. */
    struct slice input; /* ciphertext that OpenSSL may take now; only set during a call into it */
    struct buf held;    /* ciphertext that has to wait: paused, or not our turn */
    bool reading;
    bool paused;  /* the owner's wish */
    bool resting; /* had its share of this turn */
    uint64_t turn;
    size_t turn_bytes;

    /* Writing. */
    struct buf plain; /* accepted by stream_write, not yet encrypted */
    size_t plain_start;
    size_t submitted; /* ciphertext given to libuv so far */
    bool above_mark;  /* owes its owner an on_drain */

    /* Deadlines on uv_now's scale; 0: none. */
    uint64_t phase_deadline; /* resolving, connecting, handshake, lingering */
    uint64_t stall_check;
    size_t stall_moved;
    unsigned stall_strikes;
    uint64_t expiry_check;
    int64_t expires_at; /* Unix seconds: the peer certificate's notAfter */

    /* Messages after the handshake. */
    uint64_t control_window;
    unsigned control_count;
    bool flooded;

    bool dirty;
    TAILQ_ENTRY(tls_stream) dirty_entry;
};

TAILQ_HEAD(tls_stream_list, tls_stream);

/* Everything that the streams of a loop share, so that an idle stream costs little. */
struct tls_loop {
    uv_loop_t *loop;
    unsigned users;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle;
    unsigned handles;
    struct tls_stream_list dirty;
    uint64_t turn;
    unsigned handshake_steps; /* left in this turn */
    struct buf output;        /* ciphertext of the call into OpenSSL that is under way; empty between calls */
    uint8_t input[TLS_READ_BYTES];
    uint8_t record[TLS_RECORD_BYTES];
    struct tls_loop *next;
};

/* tls_loop.c */
struct tls_loop *tls_loop_get(uv_loop_t *loop);
void tls_loop_put(struct tls_loop *loop);
/* Has tls_stream_service run before the loop next sleeps. */
void tls_loop_mark(struct tls_stream *stream);
void tls_loop_unmark(struct tls_stream *stream);

/* tls_stream.c */
struct tls_stream *tls_stream_new(uv_loop_t *loop, struct tls_identity *identity, const struct tls_settings *settings,
                                  bool server);
void tls_stream_service(struct tls_stream *stream);
/* The TCP connection stands: begins the handshake. */
void tls_stream_start(struct tls_stream *stream);
/* Closes at once. `code` and text are kept only if no reason was recorded before. */
void tls_stream_abort(struct tls_stream *stream, enum lapse_code code, const char *format, ...) LAPSE_PRINTF(3, 4);
void tls_stream_handle_closed(struct tls_stream *stream);
void tls_stream_set_deadline(struct tls_stream *stream, uint64_t delay_ms);

/* tls_socket.c */
lapse_result tls_settings_fill(struct tls_settings *settings, const struct tls_options *options,
                               struct lapse_error *error) LAPSE_MUST_USE;
/* Socket options and the printable address. */
void tls_stream_tune(struct tls_stream *stream, uint32_t user_timeout_ms);
void tls_address_print(const struct sockaddr *address, char *out, size_t size);

/* tls_bio.c */
void tls_stream_attach_ssl(struct tls_stream *stream, bool server);

/* tls_connect.c */
void tls_dial_free(struct tls_dial *dial);
/* The principal that a server must have; NULL: any node. */
const char *tls_dial_expect(const struct tls_dial *dial);
/* The connect deadline passed: the next address, or the end. */
void tls_dial_timed_out(struct tls_stream *stream);

/* tls_verify.c */
int tls_verify_certificate(X509_STORE_CTX *store, void *identity);
/* The one URI SAN of a leaf. UNAUTHENTICATED otherwise; `whose` begins the message. */
lapse_result tls_leaf_principal(X509 *leaf, const char *whose, char principal[LIMIT_PRINCIPAL + 1],
                                struct slice *domain, struct slice *path, struct lapse_error *error) LAPSE_MUST_USE;
bool tls_identity_denies(const struct tls_identity *identity, const char *word);
int64_t tls_time_unix(const ASN1_TIME *time);

/* tls_error.c: sets stream->why from OpenSSL's error queue, unless a reason is there. */
void tls_explain(struct tls_stream *stream);

#endif
