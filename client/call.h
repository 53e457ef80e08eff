/* The one core under every call of lapse.h: what differs between them is a line in a table and a typed wrapper (api.c).
 */
#ifndef LAPSE_CLIENT_CALL_H
#define LAPSE_CLIENT_CALL_H

#include "client/client.h"
#include "client/codec.h"

#define CALL_NO_REQUEST_ID SIZE_MAX

struct call_method {
    const char *path;
    const struct codec_message *input, *output;
    size_t request_id_offset; /* in the arguments; CALL_NO_REQUEST_ID for what has none */
};

/* Tells the application, once, on the client's thread: `result` is the method's output struct, NULL on failure.
 * `callback` is what was given to call_start, cast back by the wrapper that knows its type. */
typedef void (*call_deliver)(void (*callback)(void), void *arg, const void *result, const struct lapse_error *error);

/* Of a server's stream: each of its messages as it comes, the last one too. */
typedef void (*call_deliver_message)(void (*each)(void), void *arg, const void *message);

struct call_callback {
    call_deliver deliver;
    void (*callback)(void);
    void *arg;
    call_deliver_message deliver_message; /* NULL for all but streams */
    void (*each)(void);
};

/* `args` may be NULL: all defaults. Errors as lapse.h says of asynchronous calls. */
lapse_result call_start(struct lapse_client *client, const struct call_method *method, const void *args,
                        uint32_t timeout_ms, struct call_callback callback, struct lapse_call **call,
                        struct lapse_error *error) LAPSE_MUST_USE;
/* Starts, waits for the outcome, and moves the result into `result`. */
lapse_result call_blocking(struct lapse_client *client, const struct call_method *method, const void *args,
                           uint32_t timeout_ms, void *result, struct lapse_error *error) LAPSE_MUST_USE;
/* The same for a server's stream; its last message is dropped after `each` has seen it. */
lapse_result call_blocking_stream(struct lapse_client *client, const struct call_method *method, const void *args,
                                  uint32_t timeout_ms, call_deliver_message deliver_message, void (*each)(void),
                                  void *arg, struct lapse_error *error) LAPSE_MUST_USE;

#endif
