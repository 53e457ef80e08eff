#include "bench/peers/redis_push.h"

/* Longer than any that is subscribed to. */
#define TEXT_MAX 65536

struct cursor {
    const uint8_t *at, *end;
    bool malformed;
};

/* "C<digits>\r\n"; false: not whole, or malformed. */
static bool take_number(struct cursor *cursor, char mark, uint32_t *number)
{
    const uint8_t *at = cursor->at;
    uint32_t value = 0;
    if (at == cursor->end)
        return false;
    if (*at++ != (uint8_t)mark) {
        cursor->malformed = true;
        return false;
    }
    for (; at != cursor->end && *at >= '0' && *at <= '9' && value <= TEXT_MAX; at++)
        value = value * 10 + (uint32_t)(*at - '0');
    if (cursor->end - at < 2)
        return false;
    if (at[0] != '\r' || at[1] != '\n' || value > TEXT_MAX) {
        cursor->malformed = true;
        return false;
    }
    cursor->at = at + 2;
    *number = value;
    return true;
}

static bool take_text(struct cursor *cursor, struct slice *text)
{
    uint32_t len;
    if (!take_number(cursor, '$', &len) || (size_t)(cursor->end - cursor->at) < (size_t)len + 2)
        return false;
    *text = slice_of(cursor->at, len);
    if (cursor->at[len] != '\r' || cursor->at[len + 1] != '\n') {
        cursor->malformed = true;
        return false;
    }
    cursor->at += len + 2;
    return true;
}

static bool take(struct cursor *cursor, struct redis_push *push)
{
    struct slice kind, channel;
    uint32_t n;
    if (!take_number(cursor, '*', &n) || !take_text(cursor, &kind) || !take_text(cursor, &channel))
        return false;
    if (n == 3 && slice_equal(kind, slice_str("message"))) {
        push->kind = REDIS_PUSH_MESSAGE;
        return take_text(cursor, &push->key);
    }
    if (n == 3 && slice_equal(kind, slice_str("subscribe"))) {
        push->kind = REDIS_PUSH_SUBSCRIBED;
        return take_number(cursor, ':', &n);
    }
    cursor->malformed = true;
    return false;
}

size_t redis_push_take(struct slice bytes, struct redis_push *push)
{
    if (bytes.len == 0)
        return 0;
    struct cursor cursor = {bytes.data, bytes.data + bytes.len, false};
    if (take(&cursor, push))
        return (size_t)(cursor.at - bytes.data);
    return cursor.malformed ? REDIS_PUSH_MALFORMED : 0;
}
