#include "bench/peers/peer_link.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/check.h"
#include "base/tcp_stream.h"

#define SEND_MAX (64u << 20)
#define MESSAGE_MAX (4u << 20)

void peer_link_renew(struct peer_link *link)
{
    static _Atomic uint64_t ids;
    CHECK(link->state == LINK_CLOSED);
    link->id = atomic_fetch_add(&ids, 1);
}

void peer_link_init(struct peer_link *link, uv_loop_t *loop, const char *address,
                    const struct peer_link_protocol *protocol, const struct peer_link_user *user)
{
    *link = (struct peer_link){.protocol = protocol, .user = user, .loop = loop, .address = address};
    peer_link_renew(link);
    buf_init(&link->rest, MESSAGE_MAX);
    buf_init(&link->waiting, SEND_MAX);
}

void peer_link_free(struct peer_link *link)
{
    CHECK(link->state == LINK_CLOSED);
    buf_free(&link->rest);
    buf_free(&link->waiting);
}

/* --- the stream's callbacks --------------------------------------------------------------------------------------- */

static void on_open(struct stream *stream, const struct stream_peer *peer)
{
    struct peer_link *link = stream->owner;
    (void)peer;
    link->state = LINK_GREETING;
    link->protocol->greet(link);
}

static void on_data(struct stream *stream, struct slice bytes)
{
    peer_link_feed(stream->owner, bytes);
}

static void on_close(struct stream *stream, const struct lapse_error *why)
{
    struct peer_link *link = stream->owner;
    struct lapse_error error = *why;
    if (error.code == LAPSE_OK)
        (void)lapse_fail(&error, LAPSE_UNAVAILABLE, "the connection was closed");
    link->stream = NULL;
    link->state = LINK_CLOSED;
    buf_free(&link->rest);
    buf_free(&link->waiting);
    link->user->on_closed(link, &error);
}

static const struct stream_handler handler = {.on_open = on_open, .on_data = on_data, .on_close = on_close};

/* --- opening and closing ------------------------------------------------------------------------------------------ */

void peer_link_open(struct peer_link *link)
{
    const struct tcp_options options = {.send_max = SEND_MAX};
    struct lapse_error error;
    CHECK(link->state == LINK_CLOSED);
    link->state = LINK_CONNECTING;
    link->ending = false;
    /* Addresses were looked at when the system was started. */
    lapse_result result = tcp_connect(link->loop, link->address, &options, handler, link, &link->stream, &error);
    CHECK(lapse_is_ok(result));
}

static void end(struct peer_link *link, const struct lapse_error *why)
{
    if (link->state == LINK_CLOSED || link->ending)
        return;
    link->ending = true;
    if (link->stream != NULL)
        stream_close(link->stream, why);
}

void peer_link_close(struct peer_link *link)
{
    /* With an error as its reason a stream doesn't wait until a peer that may be frozen has read what is queued. */
    const struct lapse_error why = {LAPSE_CANCELLED, "closed by this side"};
    end(link, &why);
}

void peer_link_break(struct peer_link *link, enum lapse_code code, const char *format, ...)
{
    struct lapse_error why = {.code = code};
    va_list values;
    va_start(values, format);
    (void)vsnprintf(why.message, sizeof why.message, format, values);
    va_end(values);
    end(link, &why);
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

void peer_link_write_now(struct peer_link *link, struct slice bytes)
{
    if (link->stream == NULL || link->ending)
        return;
    if (!lapse_is_ok(stream_write(link->stream, bytes)))
        peer_link_break(link, LAPSE_UNAVAILABLE, "%s takes nothing more", link->address);
}

void peer_link_write(struct peer_link *link, struct slice bytes)
{
    if (link->state == LINK_READY)
        peer_link_write_now(link, bytes);
    else if (!lapse_is_ok(buf_append(&link->waiting, bytes.data, bytes.len)))
        peer_link_break(link, LAPSE_RESOURCE_EXHAUSTED, "too much waits for %s", link->address);
}

void peer_link_ready(struct peer_link *link)
{
    CHECK(link->state == LINK_GREETING);
    link->state = LINK_READY;
    if (link->waiting.len > 0)
        peer_link_write_now(link, buf_slice(&link->waiting));
    buf_free(&link->waiting);
    link->user->on_ready(link);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* Takes whole messages; how many bytes these were. */
static size_t take_all(struct peer_link *link, struct slice bytes)
{
    size_t used = 0;
    while (used < bytes.len && !link->ending) {
        size_t n = link->protocol->take(link, slice_of(bytes.data + used, bytes.len - used));
        if (n == 0)
            break;
        CHECK(n <= bytes.len - used);
        used += n;
    }
    return used;
}

void peer_link_feed(struct peer_link *link, struct slice bytes)
{
    size_t used;
    if (link->rest.len == 0) {
        used = take_all(link, bytes);
        bytes = slice_of(bytes.data + used, bytes.len - used);
    }
    if (bytes.len == 0 || link->ending)
        return;
    if (!lapse_is_ok(buf_append(&link->rest, bytes.data, bytes.len))) {
        peer_link_break(link, LAPSE_INTERNAL, "%s sent a message that is too long", link->address);
        return;
    }
    used = take_all(link, buf_slice(&link->rest));
    buf_consume(&link->rest, used);
    if (link->rest.len == 0)
        buf_free(&link->rest); /* an idle link holds no buffer */
}
