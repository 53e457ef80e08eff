/* A WatchResponse with an event, as a node makes it in two steps. */
#ifndef LAPSE_TESTS_WATCH_EVENT_H
#define LAPSE_TESTS_WATCH_EVENT_H

#include "proto/encode.h"
#include "store/words.h"

static inline lapse_result encode_watch_event(uint64_t epoch, const struct event_words *event, struct buf *out)
{
    struct buf bytes;
    buf_init(&bytes, LIMIT_MESSAGE_OUT);
    lapse_result result = words_encode_event(event, &bytes);
    if (lapse_is_ok(result))
        result = proto_encode_watch_event(epoch, buf_slice(&bytes), out);
    buf_free(&bytes);
    return result;
}

#endif
