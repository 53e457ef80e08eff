/* What a link says and hears: HTTP/2's frames (RFC 9113) and gRPC's messages in them. The server is trusted: what it
 * does wrong ends the connection with a message, nothing worse. Windows are opened once, as wide as they go. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "bench/harness/grpc_call.h"
#include "proto/grpc_wire.h"

#define OPEN_DEFAULT 100
#define WINDOW_DEFAULT 65535
#define WINDOW_REFILL (1u << 30)
#define CANCEL 8
#define BLOCK_MAX 2048

/* --- saying ------------------------------------------------------------------------------------------------------- */

static void put_u32(uint8_t *at, uint32_t value)
{
    value = htonl(value);
    memcpy(at, &value, 4);
}

static uint32_t get_u32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, 4);
    return ntohl(value);
}

static void put_head(uint8_t *at, size_t len, enum h2_type type, uint8_t flags, uint32_t id)
{
    put_u32(at, (uint32_t)len << 8 | type);
    at[4] = flags;
    put_u32(at + 5, id);
}

static void say(struct grpc_link *link, enum h2_type type, uint8_t flags, uint32_t id, struct slice payload)
{
    uint8_t frame[H2_HEAD + 32];
    CHECK(payload.len <= 32);
    put_head(frame, payload.len, type, flags, id);
    memcpy(frame + H2_HEAD, payload.data, payload.len);
    socket_write(link->socket, slice_of(frame, H2_HEAD + payload.len));
}

static void say_u32(struct grpc_link *link, enum h2_type type, uint32_t id, uint32_t value)
{
    uint8_t payload[4];
    put_u32(payload, value);
    say(link, type, 0, id, slice_of(payload, sizeof payload));
}

void grpc_frames_reset(struct grpc_link *link, uint32_t id)
{
    say_u32(link, H2_RST_STREAM, id, CANCEL);
}

void grpc_frames_begin(struct grpc_link *link)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    /* ENABLE_PUSH 0, INITIAL_WINDOW_SIZE 2^31 - 1. */
    static const uint8_t settings[] = {0, 2, 0, 0, 0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff};
    buf_init(&link->rest, GRPC_MESSAGE_MAX);
    buf_init(&link->block, GRPC_MESSAGE_MAX);
    CHECK(nghttp2_hd_deflate_new(&link->deflater, 4096) == 0);
    link->next_id = 1;
    link->n_open = 0;
    link->open_max = OPEN_DEFAULT;
    link->window = WINDOW_DEFAULT;
    link->received = 0;
    link->corked = false;
    socket_cork(link->socket, true);
    socket_write(link->socket, slice_of(preface, sizeof preface - 1));
    say(link, H2_SETTINGS, 0, 0, slice_of(settings, sizeof settings));
    say_u32(link, H2_WINDOW_UPDATE, 0, H2_WINDOW - WINDOW_DEFAULT);
    socket_cork(link->socket, false);
}

void grpc_frames_end(struct grpc_link *link)
{
    /* Neither is there when the connection never stood. */
    if (link->deflater != NULL)
        nghttp2_hd_deflate_del(link->deflater);
    if (link->inflater != NULL)
        nghttp2_hd_inflate_del(link->inflater);
    link->deflater = NULL;
    link->inflater = NULL;
    buf_free(&link->rest);
    buf_free(&link->block);
}

static nghttp2_nv field(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value), 0};
}

static size_t request_block(struct grpc_link *link, const struct grpc_call *call, uint8_t block[BLOCK_MAX])
{
    char timeout[GRPC_TIMEOUT_TEXT_SIZE];
    nghttp2_nv fields[] = {field(":method", "POST"),
                           field(":scheme", link->target.tls != NULL ? "https" : "http"),
                           field(":path", call->path),
                           field(":authority", link->target.text),
                           field("te", "trailers"),
                           field("content-type", "application/grpc"),
                           field("", "")};
    size_t n = ARRAY_LEN(fields) - 1;
    if (call->timeout_ms != 0) {
        grpc_timeout_format(call->timeout_ms, timeout);
        fields[n++] = field("grpc-timeout", timeout);
    }
    ssize_t len = nghttp2_hd_deflate_hd(link->deflater, block, BLOCK_MAX, fields, n);
    CHECK(len > 0);
    return (size_t)len;
}

void grpc_frames_request(struct grpc_link *link, const struct grpc_call *call, struct slice message)
{
    uint8_t head[H2_HEAD + BLOCK_MAX + H2_HEAD + GRPC_PREFIX];
    size_t block = request_block(link, call, head + H2_HEAD);
    put_head(head, block, H2_HEADERS, H2_END_HEADERS, call->id);
    uint8_t *data = head + H2_HEAD + block;
    put_head(data, GRPC_PREFIX + message.len, H2_DATA, call->open ? 0 : H2_END_STREAM, call->id);
    data[H2_HEAD] = 0; /* not compressed */
    put_u32(data + H2_HEAD + 1, (uint32_t)message.len);
    if (!link->corked)
        socket_cork(link->socket, true);
    socket_write(link->socket, slice_of(head, 2 * H2_HEAD + block + GRPC_PREFIX));
    socket_write(link->socket, message);
    if (!link->corked)
        socket_cork(link->socket, false);
}

/* --- messages ----------------------------------------------------------------------------------------------------- */

/* The length of the gRPC message that `bytes` begin with, prefix included; SIZE_MAX: not known yet. */
static size_t message_len(struct slice bytes)
{
    return bytes.len < GRPC_PREFIX ? SIZE_MAX : GRPC_PREFIX + (size_t)get_u32(bytes.data + 1);
}

/* Hands out complete messages; the number of bytes that they took. The call may end meanwhile, with the link. */
static size_t hand_out(struct grpc_link *link, struct grpc_call *call, struct slice bytes)
{
    size_t used = 0;
    for (;;) {
        struct slice left = slice_of(bytes.data + used, bytes.len - used);
        size_t len = message_len(left);
        if (len > left.len || link->dropping)
            return used;
        if (left.data[0] != 0) {
            grpc_link_drop(link, "a compressed message");
            return used;
        }
        call->handler.on_message(call->arg, slice_of(left.data + GRPC_PREFIX, len - GRPC_PREFIX));
        used += len;
    }
}

static void take_stream(struct grpc_link *link, struct grpc_call *call, struct slice bytes)
{
    size_t used = 0;
    if (call->message.len == 0) { /* as almost always: a frame of whole messages */
        used = hand_out(link, call, bytes);
        if (used == bytes.len)
            return;
    }
    if (!lapse_is_ok(buf_append(&call->message, bytes.data + used, bytes.len - used))) {
        grpc_link_drop(link, "a message that is too large");
        return;
    }
    if (used == 0)
        buf_consume(&call->message, hand_out(link, call, buf_slice(&call->message)));
}

static void take_answer(struct grpc_link *link, struct grpc_call *call, struct slice bytes)
{
    /* The prefix has done its work: END_STREAM says where the one message ends. */
    size_t skip = call->received < GRPC_PREFIX ? GRPC_PREFIX - call->received : 0;
    skip = skip < bytes.len ? skip : bytes.len;
    if (!lapse_is_ok(buf_append(&call->message, bytes.data + skip, bytes.len - skip)))
        grpc_link_drop(link, "an answer that is too large");
}

static void refill(struct grpc_link *link, uint64_t *received, uint32_t id)
{
    if (*received < WINDOW_REFILL)
        return;
    say_u32(link, H2_WINDOW_UPDATE, id, (uint32_t)*received);
    *received = 0;
}

static void take_data(struct grpc_link *link, struct grpc_call *call, size_t frame_len, struct slice bytes)
{
    link->received += frame_len;
    refill(link, &link->received, 0);
    if (call == NULL)
        return;
    if (call->answer != NULL)
        take_answer(link, call, bytes);
    else
        take_stream(link, call, bytes);
    call->received += frame_len;
    if (call->answer == NULL)
        refill(link, &call->received, call->id);
}

/* --- headers ------------------------------------------------------------------------------------------------------ */

static void take_field(struct grpc_call *call, const nghttp2_nv *nv)
{
    struct slice name = slice_of(nv->name, nv->namelen), value = slice_of(nv->value, nv->valuelen);
    char text[200], code[8];
    if (slice_equal(name, slice_str("grpc-status"))) {
        call->has_status = grpc_status_parse(value, &call->status.code);
    } else if (slice_equal(name, slice_str("grpc-message"))) {
        grpc_message_decode(value, text, sizeof text);
        snprintf(call->status.message, sizeof call->status.message, "%s", text);
    } else if (slice_equal(name, slice_str(":status")) && !slice_equal(value, slice_str("200"))) {
        call->has_status = slice_to_cstr(value, code, sizeof code);
        (void)lapse_fail(&call->status, LAPSE_UNAVAILABLE, "HTTP status %s", call->has_status ? code : "?");
    }
}

/* False: nonsense. `call` NULL: of a call that is over; the table must be kept right all the same. */
static bool inflate(struct grpc_link *link, struct grpc_call *call, struct slice block)
{
    int flags = 0;
    if (link->inflater == NULL)
        CHECK(nghttp2_hd_inflate_new(&link->inflater) == 0);
    while ((flags & NGHTTP2_HD_INFLATE_FINAL) == 0) {
        nghttp2_nv nv;
        ssize_t used = nghttp2_hd_inflate_hd2(link->inflater, &nv, &flags, block.data, block.len, 1);
        if (used < 0)
            return false;
        block = slice_of(block.data + used, block.len - (size_t)used);
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0 && call != NULL)
            take_field(call, &nv);
    }
    return nghttp2_hd_inflate_end_headers(link->inflater) == 0;
}

static void end_call(struct grpc_link *link, struct grpc_call *call)
{
    struct lapse_error status = call->status;
    if (!call->has_status)
        (void)lapse_fail(&status, LAPSE_UNKNOWN, "%s: it ended without a status", call->path);
    if (call->open)
        grpc_frames_reset(link, call->id);
    grpc_call_end(link, call, &status);
}

static void take_headers(struct grpc_link *link, uint32_t id, uint8_t flags, struct slice block)
{
    struct grpc_call *call = grpc_call_find(link, id);
    if (!inflate(link, call, block))
        grpc_link_drop(link, "headers that make no sense");
    else if (call != NULL && (flags & H2_END_STREAM) != 0)
        end_call(link, call);
}

static void gather_headers(struct grpc_link *link, uint32_t id, uint8_t flags, struct slice part)
{
    if ((flags & H2_END_HEADERS) != 0 && link->block.len == 0) {
        take_headers(link, id, flags, part);
        return;
    }
    if (link->block.len == 0)
        link->block_flags = flags;
    if (!lapse_is_ok(buf_append(&link->block, part.data, part.len)))
        grpc_link_drop(link, "headers that are too long");
    else if ((flags & H2_END_HEADERS) != 0) {
        take_headers(link, id, link->block_flags, buf_slice(&link->block));
        buf_clear(&link->block);
    }
}

/* --- frames ------------------------------------------------------------------------------------------------------- */

static void take_settings(struct grpc_link *link, uint8_t flags, struct slice payload)
{
    if ((flags & H2_ACK) != 0)
        return;
    for (size_t i = 0; i + 6 <= payload.len; i += 6) {
        uint32_t name = (uint32_t)payload.data[i] << 8 | payload.data[i + 1], value = get_u32(payload.data + i + 2);
        if (name == NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
            link->open_max = value;
        else if (name == NGHTTP2_SETTINGS_HEADER_TABLE_SIZE)
            CHECK(nghttp2_hd_deflate_change_table_size(link->deflater, value < 4096 ? value : 4096) == 0);
    }
    say(link, H2_SETTINGS, H2_ACK, 0, slice_of("", 0));
}

static void take_reset(struct grpc_link *link, uint32_t id, struct slice payload)
{
    struct grpc_call *call = grpc_call_find(link, id);
    struct lapse_error why;
    if (call == NULL || payload.len != 4)
        return;
    uint32_t code = get_u32(payload.data);
    (void)lapse_fail(&why, grpc_code_of_reset(code), "%s: reset with HTTP/2 error %u", call->path, code);
    grpc_call_end(link, call, &why);
}

/* Without padding and priority; false: nonsense. */
static bool bare(uint8_t type, uint8_t flags, struct slice *payload)
{
    size_t before = 0, after = 0;
    if ((flags & H2_PADDED) != 0 && payload->len > 0) {
        before = 1;
        after = payload->data[0];
    }
    if (type == H2_HEADERS && (flags & H2_PRIORITY) != 0)
        before += 5;
    if (before + after > payload->len)
        return false;
    *payload = slice_of(payload->data + before, payload->len - before - after);
    return true;
}

static void take_call_frame(struct grpc_link *link, uint8_t type, uint8_t flags, uint32_t id, struct slice payload)
{
    size_t frame_len = payload.len;
    if (type != H2_CONTINUATION && !bare(type, flags, &payload)) {
        grpc_link_drop(link, "padding that makes no sense");
    } else if (type == H2_DATA) {
        struct grpc_call *call = grpc_call_find(link, id);
        take_data(link, call, frame_len, payload);
        if (call != NULL && (flags & H2_END_STREAM) != 0)
            end_call(link, call);
    } else {
        gather_headers(link, id, flags, payload);
    }
}

static void take_frame(struct grpc_link *link, uint8_t type, uint8_t flags, uint32_t id, struct slice payload)
{
    switch (type) {
    case H2_DATA:
    case H2_HEADERS:
    case H2_CONTINUATION:
        take_call_frame(link, type, flags, id, payload);
        break;
    case H2_RST_STREAM:
        take_reset(link, id, payload);
        break;
    case H2_SETTINGS:
        take_settings(link, flags, payload);
        break;
    case H2_PING:
        if ((flags & H2_ACK) == 0 && payload.len == 8)
            say(link, H2_PING, H2_ACK, 0, payload);
        break;
    case H2_GOAWAY:
        grpc_link_drop(link, "the server is going away");
        break;
    case H2_WINDOW_UPDATE:
        if (id == 0 && payload.len == 4)
            link->window += get_u32(payload.data) & H2_WINDOW;
        break;
    default:
        break; /* others are none of a client's business */
    }
}

/* Takes complete frames; the number of bytes that they had. */
static size_t take_frames(struct grpc_link *link, struct slice bytes)
{
    size_t used = 0;
    while (bytes.len - used >= H2_HEAD && !link->dropping) {
        const uint8_t *at = bytes.data + used;
        size_t len = get_u32(at) >> 8;
        if (bytes.len - used < H2_HEAD + len)
            break;
        take_frame(link, at[3], at[4], get_u32(at + 5) & H2_WINDOW, slice_of(at + H2_HEAD, len));
        used += H2_HEAD + len;
    }
    return used;
}

void grpc_frames_take(struct grpc_link *link, struct slice bytes)
{
    if (link->dropping)
        return;
    link->corked = true;
    socket_cork(link->socket, true);
    if (link->rest.len == 0) {
        size_t used = take_frames(link, bytes);
        bytes = slice_of(bytes.data + used, bytes.len - used);
    }
    if (bytes.len > 0 && !lapse_is_ok(buf_append(&link->rest, bytes.data, bytes.len)))
        grpc_link_drop(link, "a frame that is too large");
    else if (bytes.len > 0 && link->rest.len > bytes.len)
        buf_consume(&link->rest, take_frames(link, buf_slice(&link->rest)));
    grpc_calls_go_on(link);
    link->corked = false;
    socket_cork(link->socket, false);
}
