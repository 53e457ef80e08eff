#include "echo_service.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

_Atomic int echo_calls_open;
_Atomic size_t echo_ahead_max;

struct count {
    unsigned next, end;
};

static void on_close(struct grpc_call *call)
{
    free(grpc_call_data(call));
    atomic_fetch_sub(&echo_calls_open, 1);
}

static void on_unary(struct grpc_call *call, struct slice message)
{
    char text[256];
    atomic_fetch_add(&echo_calls_open, 1);
    if (message.len == 0 || message.data[0] != '!' || !slice_to_cstr(message, text, sizeof text)) {
        if (!slice_equal(message, slice_str("?")))
            grpc_call_reply(call, message);
        return;
    }
    char *rest = NULL;
    long code = strtol(text + 1, &rest, 10);
    grpc_call_finish(call, (enum lapse_code)code, *rest == ' ' ? rest + 1 : rest);
}

static void count_on(struct grpc_call *call)
{
    struct count *count = grpc_call_data(call);
    bool more = true;
    size_t ahead = 0;
    while (more && count->next < count->end) {
        char text[16];
        int len = snprintf(text, sizeof text, "%u", count->next++);
        struct blob *blob = blob_new(slice_of(text, (size_t)len));
        more = grpc_call_send(call, blob);
        ahead += (size_t)len;
        blob_unref(blob);
    }
    if (ahead > atomic_load(&echo_ahead_max))
        atomic_store(&echo_ahead_max, ahead);
    if (count->next == count->end)
        grpc_call_finish(call, LAPSE_OK, NULL);
}

static void on_count(struct grpc_call *call, struct slice message)
{
    char text[16] = "";
    atomic_fetch_add(&echo_calls_open, 1);
    struct count *count = mem_calloc(1, sizeof *count);
    grpc_call_set_data(call, count);
    if (slice_to_cstr(message, text, sizeof text))
        count->end = (unsigned)strtoul(text, NULL, 10);
    count_on(call);
}

/* The first message or half-close of a stream counts it; its data says that this was done. */
static void chat_begins(struct grpc_call *call)
{
    if (grpc_call_data(call) != NULL)
        return;
    grpc_call_set_data(call, mem_calloc(1, 1));
    atomic_fetch_add(&echo_calls_open, 1);
}

static void on_chat(struct grpc_call *call, struct slice message)
{
    chat_begins(call);
    struct blob *blob = blob_new(message);
    (void)grpc_call_send(call, blob); /* the client reads as it sends */
    blob_unref(blob);
}

static void on_chat_end(struct grpc_call *call)
{
    chat_begins(call);
    grpc_call_finish(call, LAPSE_OK, NULL);
}

const struct grpc_method echo_methods[ECHO_METHODS] = {
    {.path = ECHO_UNARY, .on_message = on_unary, .on_close = on_close},
    {.path = ECHO_COUNT, .on_message = on_count, .on_writable = count_on, .on_close = on_close},
    {.path = ECHO_CHAT,
     .client_streams = true,
     .on_message = on_chat,
     .on_half_close = on_chat_end,
     .on_close = on_close},
};
