/* The other end of an HTTP/2 connection, made of hand-written frames: what no well-behaved library would send. Header
 * blocks are HPACK literals without indexing, what comes back is cut into frames and its headers decompressed. */
#ifndef LAPSE_TESTS_GRPC_RAW_H
#define LAPSE_TESTS_GRPC_RAW_H

#include <criterion/criterion.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/stream_pair.h"

enum {
    F_DATA = 0,
    F_HEADERS = 1,
    F_PRIORITY = 2,
    F_RST_STREAM = 3,
    F_SETTINGS = 4,
    F_PING = 6,
    F_GOAWAY = 7,
    F_WINDOW_UPDATE = 8,
    F_CONTINUATION = 9
};
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4 };

#define RAW_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

struct raw {
    struct stream *stream; /* NULL once closed */
    bool open, closed;
    struct buf in;     /* not yet parsed */
    bool skip_preface; /* the other end is a client: its preface comes first */
    nghttp2_hd_inflater *inflater;
    char headers[8192]; /* all headers received, "name: value\n" */
    struct buf data;    /* all DATA received */
    int goaway;         /* its error code; -1: none */
    int reset;          /* the last RST_STREAM's error code; -1: none */
    unsigned ends, settings, ping_acks;
};

static inline void raw_note_headers(struct raw *raw, struct slice block)
{
    for (;;) {
        nghttp2_nv nv;
        int flags = 0;
        ssize_t n = nghttp2_hd_inflate_hd2(raw->inflater, &nv, &flags, block.data, block.len, 1);
        CHECK(n >= 0);
        block = slice_of(block.data + n, block.len - (size_t)n);
        size_t used = strlen(raw->headers);
        if (flags & NGHTTP2_HD_INFLATE_EMIT)
            (void)snprintf(raw->headers + used, sizeof raw->headers - used, "%s: %s\n", (char *)nv.name,
                           (char *)nv.value);
        if (flags & NGHTTP2_HD_INFLATE_FINAL)
            break;
    }
    CHECK(nghttp2_hd_inflate_end_headers(raw->inflater) == 0);
}

static inline int raw_u32(const uint8_t *at)
{
    return (int)((unsigned)at[0] << 24 | (unsigned)at[1] << 16 | (unsigned)at[2] << 8 | at[3]);
}

static inline void raw_note_frame(struct raw *raw, uint8_t type, uint8_t flags, struct slice payload)
{
    if (type == F_HEADERS)
        raw_note_headers(raw, payload);
    if (type == F_DATA)
        CHECK(lapse_is_ok(buf_append(&raw->data, payload.data, payload.len)));
    if (type == F_GOAWAY)
        raw->goaway = raw_u32(payload.data + 4);
    if (type == F_RST_STREAM)
        raw->reset = raw_u32(payload.data);
    raw->settings += type == F_SETTINGS && !(flags & ACK);
    raw->ping_acks += type == F_PING && (flags & ACK);
    raw->ends += (type == F_DATA || type == F_HEADERS) && (flags & END_STREAM);
}

static inline void raw_on_open(struct stream *stream, const struct stream_peer *peer)
{
    struct raw *raw = stream->owner;
    (void)peer;
    raw->open = true;
}

static inline void raw_on_data(struct stream *stream, struct slice bytes)
{
    struct raw *raw = stream->owner;
    CHECK(lapse_is_ok(buf_append(&raw->in, bytes.data, bytes.len)));
    if (raw->skip_preface && raw->in.len >= strlen(RAW_PREFACE)) {
        buf_consume(&raw->in, strlen(RAW_PREFACE));
        raw->skip_preface = false;
    }
    while (!raw->skip_preface && raw->in.len >= 9) {
        const uint8_t *at = raw->in.data;
        size_t len = (size_t)at[0] << 16 | (size_t)at[1] << 8 | at[2];
        if (raw->in.len < 9 + len)
            return;
        raw_note_frame(raw, at[3], at[4], slice_of(at + 9, len));
        buf_consume(&raw->in, 9 + len);
    }
}

static inline void raw_on_close(struct stream *stream, const struct lapse_error *why)
{
    struct raw *raw = stream->owner;
    (void)why;
    raw->closed = true;
    raw->stream = NULL;
}

static inline void raw_begin(struct raw *raw, struct stream *stream, bool as_server)
{
    *raw = (struct raw){.stream = stream, .skip_preface = as_server, .goaway = -1, .reset = -1};
    buf_init(&raw->in, SIZE_MAX);
    buf_init(&raw->data, SIZE_MAX);
    CHECK(nghttp2_hd_inflate_new(&raw->inflater) == 0);
    stream_set_handler(stream, (struct stream_handler){raw_on_open, raw_on_data, NULL, raw_on_close}, raw);
}

static inline void raw_end(struct raw *raw)
{
    nghttp2_hd_inflate_del(raw->inflater);
    buf_free(&raw->in);
    buf_free(&raw->data);
}

static inline void raw_send(struct raw *raw, const void *bytes, size_t len)
{
    /* A server that hung up is what some tests are about. */
    if (raw->stream != NULL)
        (void)!lapse_is_ok(stream_write(raw->stream, slice_of(bytes, len)));
}

static inline void raw_frame(struct raw *raw, uint8_t type, uint8_t flags, uint32_t stream_id, const void *payload,
                             size_t len)
{
    uint8_t *frame = mem_alloc(9 + len);
    const uint8_t header[9] = {(uint8_t)(len >> 16),
                               (uint8_t)(len >> 8),
                               (uint8_t)len,
                               type,
                               flags,
                               (uint8_t)(stream_id >> 24),
                               (uint8_t)(stream_id >> 16),
                               (uint8_t)(stream_id >> 8),
                               (uint8_t)stream_id};
    memcpy(frame, header, 9);
    if (len > 0)
        memcpy(frame + 9, payload, len);
    raw_send(raw, frame, 9 + len);
    free(frame);
}

/* Appends one field as a literal without indexing; lengths below 127. */
static inline size_t raw_field(uint8_t *out, const char *name, const char *value)
{
    size_t n = strlen(name), m = strlen(value);
    CHECK(n < 127 && m < 127);
    out[0] = 0;
    out[1] = (uint8_t)n;
    memcpy(out + 2, name, n);
    out[2 + n] = (uint8_t)m;
    memcpy(out + 3 + n, value, m);
    return 3 + n + m;
}

/* HEADERS from name, value, ..., NULL. */
static inline void raw_headers(struct raw *raw, uint8_t flags, uint32_t stream_id, const char *const *fields)
{
    uint8_t block[4096];
    size_t len = 0;
    for (; *fields != NULL; fields += 2)
        len += raw_field(block + len, fields[0], fields[1]);
    raw_frame(raw, F_HEADERS, flags, stream_id, block, len);
}

/* DATA with one gRPC message; `flag` is the compressed flag, `claimed` the length that its prefix claims. */
static inline void raw_message(struct raw *raw, uint8_t flags, uint32_t stream_id, uint8_t flag, uint32_t claimed,
                               const char *text)
{
    uint8_t payload[1024] = {flag, (uint8_t)(claimed >> 24), (uint8_t)(claimed >> 16), (uint8_t)(claimed >> 8),
                             (uint8_t)claimed};
    size_t len = strlen(text);
    CHECK(len + 5 <= sizeof payload);
    memcpy(payload + 5, text, len);
    raw_frame(raw, F_DATA, flags, stream_id, payload, 5 + len);
}

#endif
