/* The client's connection to the cluster: one at a time, to one of several endpoints.
 *
 *   IDLE --wanted--> CONNECTING --open--> READY --lost, GOAWAY, can't serve--> CONNECTING (the next endpoint)
 *                        |  ^
 *     a round of failures v  | pause, doubling, jittered
 *                       PAUSING
 *
 * A connection that is left while calls still run on it is *retired*: it gets no new ones and closes with its last. The
 * pause shrinks back only when a node has answered a call, so a node that accepts and hangs up can't make the link
 * spin. Certificate files are read again for each connection: renewed ones are picked up without a restart.
 *
 * One loop's thread. Handlers are never called on the stack of a call into the link. */
#ifndef LAPSE_CLIENT_LINK_H
#define LAPSE_CLIENT_LINK_H

#include "base/tls.h"
#include "proto/grpc_client.h"

#define LINK_ENDPOINTS_MAX 16
#define LINK_ENDPOINT_SIZE 264

struct lapse_client_options;
struct link;
struct link_connection;

struct link_handler {
    /* New calls can be started, or a place for one became free. */
    void (*on_ready)(void *arg);
    /* An attempt failed. `hopeless`: all endpoints refused this client for its certificate; waiting won't help. */
    void (*on_failure)(void *arg, const struct lapse_error *why, bool hopeless);
    /* Whether somebody waits for a connection. */
    bool (*is_wanted)(void *arg);
    /* After link_close: the last callback. The link is freed when this returns. */
    void (*on_closed)(void *arg);
};

/* Parses the endpoints and reads the certificate files. Any thread; the loop need not run yet. */
lapse_result link_new(uv_loop_t *loop, const struct lapse_client_options *options, const struct link_handler *handler,
                      void *arg, struct link **link, struct lapse_error *error) LAPSE_MUST_USE;
/* Closes every connection (their calls end first); on_closed follows from the loop. Once. */
void link_close(struct link *link);

/* Whether the certificate files can be used as they are now. Any thread, from link_new to link_close. UNAUTHENTICATED
 * and others, naming the file. */
lapse_result link_check_files(const struct link *link, struct lapse_error *error) LAPSE_MUST_USE;
/* They were renewed: what is started from now on goes over a new connection. Calls under way go on over the old one. */
void link_renew(struct link *link);

bool link_is_ready(const struct link *link);
/* Somebody waits: connect, unless that is under way. */
void link_want(struct link *link);

/* Starts a call on the current connection, which `connection` then names until link_call_ended. UNAVAILABLE when not
 * ready. */
lapse_result link_call(struct link *link, const char *path, struct slice message, int64_t timeout_ms,
                       const struct grpc_request_handler *handler, void *owner, struct grpc_request **request,
                       struct link_connection **connection) LAPSE_MUST_USE;
/* The same for a call that both sides keep talking on: more messages by grpc_request_send. It has no timeout. */
lapse_result link_stream(struct link *link, const char *path, struct slice message,
                         const struct grpc_request_handler *handler, void *owner, struct grpc_request **request,
                         struct link_connection **connection) LAPSE_MUST_USE;
/* From the call's on_end. `can_serve`: false when the node said that it can't: then the link moves on, if it has
 * somewhere to go. */
void link_call_ended(struct link_connection *connection, bool can_serve);
/* A node has proved itself: failures are forgotten. */
void link_succeeded(struct link *link);
/* "host:port" of a connection. */
const char *link_connection_endpoint(const struct link_connection *connection);

/* One endpoint: "host:port" or "[address]:port". INVALID_ARGUMENT. */
lapse_result link_endpoint_parse(struct slice text, char host[LINK_ENDPOINT_SIZE], uint16_t *port,
                                 struct lapse_error *error) LAPSE_MUST_USE;

#endif
