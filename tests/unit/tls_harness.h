/* What the tests of TLS share: a loop, a listener on it, and both kinds of peers. Good ones are streams of ours; bad
 * ones are plain OpenSSL in a thread, since our own side can't be made to misbehave. */
#ifndef LAPSE_TESTS_TLS_HARNESS_H
#define LAPSE_TESTS_TLS_HARNESS_H

#include <pthread.h>

#include "base/tls_internal.h"
#include "tests/unit/tls_fixture.h"

#define ALPN "lapse-test/1"

/* One end of a connection and all that happened to it. */
struct end {
    struct stream *stream;
    bool opened, closed;
    struct stream_peer peer;
    struct lapse_error why;
    size_t received, data_calls, drains;
    uint64_t sum; /* order-sensitive */
    bool echo, close_on_data, pause_on_data;
    size_t to_send;
};

/* A peer that is not ours. */
struct raw {
    const char *certificate; /* base name below dir; NULL: shows none */
    const char *alpn;        /* NULL: offers none */
    int version;             /* 0: TLS 1.3 */
    unsigned key_updates;
    bool hold; /* keeps the connection, reading nothing, until released */
    uint16_t port;
    int socket; /* a listening one: acts as the server */
    bool shook_hands;
    pthread_t thread;
    pthread_mutex_t lock;
};

extern uv_loop_t loop;
extern char *dir;
extern struct tls_listener *listener;
extern struct end server; /* the last accepted */
extern unsigned accepted;
extern struct tls_options options;
extern bool refuse_all;
extern bool close_on_accept;
extern bool crowded;
extern unsigned crowd_opened, crowd_closed;
extern const struct stream_handler handler; /* its owner is a struct end */

void set_up(void);
void tear_down(void);
/* The listener's: makes the new stream `server`. */
bool on_accept(void *arg, struct stream *stream, const char *address);
/* Writes what is left of to_send until the stream has enough. */
void send_more(struct end *end);
void listen_as(const char *name, const char *deny_list);
void connect_to(uint16_t port, const char *name, const char *expect, struct end *end);
void connect_as(const char *name, const char *expect, struct end *end);
void close_both(struct end *client);
void raw_start(struct raw *raw);
void raw_release(struct raw *raw);
void raw_join(struct raw *raw);

#define RUN_UNTIL(condition)                                                                                           \
    while (!(condition))                                                                                               \
    (void)uv_run(&loop, UV_RUN_ONCE)

#endif
