#include "bench/peers/zookeeper_link.h"

#include "base/check.h"
#include "bench/peers/peer.h"

enum {
    OP_CREATE = 1,
    OP_DELETE = 2,
    OP_PING = 11,
    OP_ADD_WATCH = 106,
    XID_EVENT = -1,
    XID_PING = -2,
    EVENT_DELETED = 2,
    ERROR_NO_NODE = -101,
    ERROR_NODE_EXISTS = -110,
    CREATE_EPHEMERAL = 1,
    WATCH_PERSISTENT_RECURSIVE = 1,
    ALL_PERMISSIONS = 31,
    HEADER_LEN = 16, /* of an answer: number, transaction, error */
    GREETING_LEN = 16
};

#define MESSAGE_MAX 1024
/* Sessions that last longer need no pings in a benchmark. */
#define PING_BELOW_MS 600000

/* --- writing ------------------------------------------------------------------------------------------------------ */

struct message {
    uint8_t bytes[MESSAGE_MAX];
    size_t len;
};

static void put(struct message *message, const void *bytes, size_t len)
{
    CHECK(len <= MESSAGE_MAX - message->len);
    if (len > 0)
        memcpy(message->bytes + message->len, bytes, len);
    message->len += len;
}

static void put_int(struct message *message, int32_t value)
{
    uint32_t bits = (uint32_t)value;
    const uint8_t bytes[4] = {(uint8_t)(bits >> 24), (uint8_t)(bits >> 16), (uint8_t)(bits >> 8), (uint8_t)bits};
    put(message, bytes, sizeof bytes);
}

static void put_bytes(struct message *message, struct slice bytes)
{
    put_int(message, (int32_t)bytes.len);
    put(message, bytes.data, bytes.len);
}

static struct message message_begin(int32_t number, int32_t op)
{
    struct message message = {.len = 4}; /* its length */
    put_int(&message, number);
    put_int(&message, op);
    return message;
}

static struct slice message_end(struct message *message)
{
    size_t len = message->len;
    message->len = 0;
    put_int(message, (int32_t)len - 4);
    message->len = len;
    return slice_of(message->bytes, len);
}

void zookeeper_create(struct peer_link *link, uint32_t number, const char *path, struct slice data, bool ephemeral)
{
    struct message message = message_begin((int32_t)(number & INT32_MAX), OP_CREATE);
    put_bytes(&message, slice_str(path));
    put_bytes(&message, data);
    put_int(&message, 1); /* who may: one entry, everybody may do everything */
    put_int(&message, ALL_PERMISSIONS);
    put_bytes(&message, slice_str("world"));
    put_bytes(&message, slice_str("anyone"));
    put_int(&message, ephemeral ? CREATE_EPHEMERAL : 0);
    peer_link_write(link, message_end(&message));
}

void zookeeper_delete(struct peer_link *link, uint32_t number, const char *path)
{
    struct message message = message_begin((int32_t)(number & INT32_MAX), OP_DELETE);
    put_bytes(&message, slice_str(path));
    put_int(&message, -1); /* whatever its version */
    peer_link_write(link, message_end(&message));
}

void zookeeper_watch_below(struct peer_link *link, uint32_t number, const char *path)
{
    struct message message = message_begin((int32_t)(number & INT32_MAX), OP_ADD_WATCH);
    put_bytes(&message, slice_str(path));
    put_int(&message, WATCH_PERSISTENT_RECURSIVE);
    peer_link_write(link, message_end(&message));
}

static void ping(struct peer_link *link)
{
    struct message message = message_begin(XID_PING, OP_PING);
    if (link->session_ms < PING_BELOW_MS)
        peer_link_write(link, message_end(&message));
}

static void greet(struct peer_link *link)
{
    static const uint8_t nothing[16];
    struct message message = {.len = 4};
    put_int(&message, 0);      /* protocol version */
    put(&message, nothing, 8); /* the last transaction seen */
    put_int(&message, link->session_ms);
    put(&message, nothing, 8); /* a new session */
    put_bytes(&message, slice_of(nothing, 16));
    put(&message, nothing, 1); /* not read-only */
    peer_link_write_now(link, message_end(&message));
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static int32_t get_int(const uint8_t *at)
{
    return (int32_t)((uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3]);
}

static void on_greeting(struct peer_link *link, struct slice body)
{
    int32_t asked = link->session_ms, given = body.len >= 8 ? get_int(body.data + 4) : 0;
    if (body.len < GREETING_LEN || given <= 0) {
        peer_link_break(link, LAPSE_UNAVAILABLE, "%s gives no session", link->address);
        return;
    }
    link->session_ms = given;
    if (link->protocol == &zookeeper_deadline_protocol && given != asked)
        peer_link_break(link, LAPSE_OUT_OF_RANGE, "%s gives sessions of %d ms, not %d: see its minSessionTimeout",
                        link->address, given, asked);
    else
        peer_link_ready(link);
}

/* type, state, path */
static void on_event(struct peer_link *link, struct slice event)
{
    uint32_t item;
    if (event.len < 12 || get_int(event.data) != EVENT_DELETED)
        return;
    struct slice path = slice_of(event.data + 12, event.len - 12);
    if (path.len > 1 && path.data[0] == '/' && (size_t)get_int(event.data + 8) == path.len &&
        peer_item(slice_of(path.data + 1, path.len - 1), &item))
        link->user->on_gone(link, item);
}

static void on_answer(struct peer_link *link, int32_t number, int32_t code)
{
    struct lapse_error error;
    if (code == 0 || code == ERROR_NO_NODE || code == ERROR_NODE_EXISTS) {
        link->user->on_answer(link, (uint32_t)number, NULL);
        return;
    }
    (void)lapse_fail(&error, LAPSE_UNAVAILABLE, "%s: ZooKeeper's error %d", link->address, code);
    link->user->on_answer(link, (uint32_t)number, &error);
}

static void on_message(struct peer_link *link, struct slice body)
{
    if (body.len < HEADER_LEN) {
        peer_link_break(link, LAPSE_INTERNAL, "%s sent an answer that is none", link->address);
        return;
    }
    int32_t number = get_int(body.data);
    if (number == XID_EVENT)
        on_event(link, slice_of(body.data + HEADER_LEN, body.len - HEADER_LEN));
    else if (number >= 0)
        on_answer(link, number, get_int(body.data + 12));
}

static size_t take(struct peer_link *link, struct slice bytes)
{
    if (bytes.len < 4)
        return 0;
    int32_t len = get_int(bytes.data);
    if (len < 0) {
        peer_link_break(link, LAPSE_INTERNAL, "%s sent a message that is none", link->address);
        return bytes.len;
    }
    if (bytes.len - 4 < (size_t)len)
        return 0;
    struct slice body = slice_of(bytes.data + 4, (size_t)len);
    if (link->state == LINK_GREETING)
        on_greeting(link, body);
    else
        on_message(link, body);
    return 4 + (size_t)len;
}

const struct peer_link_protocol zookeeper_protocol = {greet, take, ping};
const struct peer_link_protocol zookeeper_deadline_protocol = {greet, take, NULL};
