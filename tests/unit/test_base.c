/* Bytes, the wire format, log lines, results, SPIFFE IDs, and stream pairs. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/log.h"
#include "base/random.h"
#include "base/sha256.h"
#include "base/stream_pair.h"
#include "base/tls.h"
#include "base/wake.h"
#include "base/wire.h"

/* ---- result ---- */

Test(result, a_long_message_is_cut_at_a_character)
{
    struct lapse_error error;
    char text[LAPSE_ERROR_MESSAGE_SIZE + 10];
    memset(text, 'a', sizeof text);
    /* A three-byte character across the end: 318 bytes before it, one place left for its first byte. */
    memcpy(text + LAPSE_ERROR_MESSAGE_SIZE - 2, "\xE2\x82\xAC", 4);
    cr_expect_eq(lapse_fail(&error, LAPSE_NOT_FOUND, "%s", text).code, LAPSE_NOT_FOUND);
    cr_expect_eq(error.code, LAPSE_NOT_FOUND);
    cr_expect_eq(strlen(error.message), LAPSE_ERROR_MESSAGE_SIZE - 2);
    cr_expect(slice_is_text(slice_str(error.message), false));
}

Test(result, codes_have_the_names_of_grpc)
{
    cr_expect_str_eq(lapse_code_name(LAPSE_OK), "OK");
    cr_expect_str_eq(lapse_code_name(LAPSE_UNAUTHENTICATED), "UNAUTHENTICATED");
    cr_expect_str_eq(lapse_code_name((enum lapse_code)99), "UNKNOWN");
    cr_expect_eq(lapse_fail(NULL, LAPSE_ABORTED, "no place for it").code, LAPSE_ABORTED);
}

/* ---- bytes ---- */

Test(bytes, slices_compare_like_strings)
{
    cr_expect_lt(slice_compare(slice_str("a"), slice_str("ab")), 0);
    cr_expect_gt(slice_compare(slice_str("b"), slice_str("ab")), 0);
    cr_expect_eq(slice_compare(slice_of(NULL, 0), slice_str("")), 0);
    cr_expect(slice_equal(slice_of(NULL, 0), slice_str("")));
}

Test(bytes, a_string_that_does_not_fit_is_not_copied)
{
    char out[4] = "xyz";
    cr_expect_not(slice_to_cstr(slice_str("abcd"), out, sizeof out));
    cr_expect_str_eq(out, "xyz");
    cr_expect(slice_to_cstr(slice_str("abc"), out, sizeof out));
    cr_expect_str_eq(out, "abc");
}

static bool is_text(const char *bytes)
{
    return slice_is_text(slice_str(bytes), false);
}

Test(bytes, only_well_formed_utf8_without_controls_is_text)
{
    cr_expect(is_text("gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x94\x91"));
    cr_expect_not(is_text("line\nbreak"));
    cr_expect(slice_is_text(slice_str("line\n\tbreak"), true));
    cr_expect_not(slice_is_text(slice_str("carriage\rreturn"), true));
    cr_expect_not(slice_is_text(slice_of("a\0b", 3), true));
    cr_expect_not(is_text("\xC0\xAF"), "overlong");
    cr_expect_not(is_text("\xE0\x80\xAF"), "overlong");
    cr_expect_not(is_text("\xED\xA0\x80"), "surrogate");
    cr_expect_not(is_text("\xF4\x90\x80\x80"), "past U+10FFFF");
    cr_expect_not(is_text("\x80"), "continuation alone");
    cr_expect_not(is_text("\xE2\x82"), "cut off");
    cr_expect_not(is_text("\xC2\x9B"), "a C1 control");
    cr_expect_not(is_text("\x7F"));
}

Test(bytes, a_buffer_never_passes_its_bound)
{
    struct buf buf;
    buf_init(&buf, 100);
    cr_assert(lapse_is_ok(buf_append(&buf, "0123456789", 10)));
    cr_expect_eq(buf_reserve(&buf, SIZE_MAX).code, LAPSE_RESOURCE_EXHAUSTED);
    cr_expect_eq(buf_reserve(&buf, 91).code, LAPSE_RESOURCE_EXHAUSTED);
    cr_expect(lapse_is_ok(buf_reserve(&buf, 90)));
    cr_expect_eq(buf.capacity, 100);
    buf_consume(&buf, 4);
    cr_expect(slice_equal(buf_slice(&buf), slice_str("456789")));
    cr_assert(lapse_is_ok(buf_printf(&buf, "-%d-", 42)));
    cr_expect(slice_equal(buf_slice(&buf), slice_str("456789-42-")));
    buf_free(&buf);
    cr_expect(lapse_is_ok(buf_append(&buf, "again", 5)));
    buf_free(&buf);
}

/* ---- wire ---- */

Test(wire, what_is_written_is_read_back)
{
    struct buf out;
    struct wire_field field;
    buf_init(&out, 1000);
    struct wire_writer writer = wire_writer(&out);
    wire_put_uint(&writer, 1, UINT64_MAX);
    wire_put_uint(&writer, 2, 0);
    size_t mark = wire_begin(&writer, 3);
    wire_put_fixed64(&writer, 1, 0x0102030405060708u);
    wire_put_bytes(&writer, 536870911, slice_str("x"));
    wire_end(&writer, mark);
    cr_assert_not(writer.failed);

    struct wire_reader reader = wire_reader(buf_slice(&out));
    cr_assert(wire_next(&reader, &field));
    cr_expect(field.number == 1 && field.type == WIRE_VARINT && field.value == UINT64_MAX);
    cr_assert(wire_next(&reader, &field));
    cr_expect(field.number == 3 && field.type == WIRE_BYTES, "zero is left out");
    struct wire_reader nested = wire_reader(field.bytes);
    cr_assert(wire_next(&nested, &field));
    cr_expect_eq(field.value, 0x0102030405060708u);
    cr_assert(wire_next(&nested, &field));
    cr_expect(field.number == 536870911 && slice_equal(field.bytes, slice_str("x")));
    cr_expect(!wire_next(&nested, &field) && !nested.failed);
    cr_expect(!wire_next(&reader, &field) && !reader.failed);
    buf_free(&out);
}

static bool is_malformed(const void *bytes, size_t len)
{
    struct wire_field field;
    struct wire_reader reader = wire_reader(slice_of(bytes, len));
    while (wire_next(&reader, &field))
        ;
    return reader.failed;
}

Test(wire, malformed_input_is_refused)
{
    cr_expect(is_malformed("\x08", 1), "a tag without its value");
    cr_expect(is_malformed("\x0A\x05"
                           "abc",
                           5),
              "fewer bytes than announced");
    cr_expect(is_malformed("\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 11), "a length of 2^64 - 1");
    cr_expect(is_malformed("\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x02", 11), "a varint of 65 bits");
    cr_expect(is_malformed("\x00\x01", 2), "field 0");
    cr_expect(is_malformed("\x0B", 1), "a group");
    cr_expect(is_malformed("\x09\1\2\3\4\5\6\7", 8), "a short fixed64");
    cr_expect_not(is_malformed("\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 11));
}

Test(wire, a_full_buffer_fails_the_whole_message)
{
    struct buf out;
    buf_init(&out, 10);
    struct wire_writer writer = wire_writer(&out);
    wire_put_bytes(&writer, 1, slice_str("0123456789"));
    wire_put_uint(&writer, 2, 1);
    cr_expect(writer.failed);
    buf_free(&out);
}

/* ---- log ---- */

/* The line that logging `value` under both formats writes. */
static const char *logged(enum log_format format, const char *message, struct slice value)
{
    static char line[16384];
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    log_setup(LOG_INFO, format, ends[1]);
    log_info(message, LOG_SLICE("value", value), LOG_I64("n", -7));
    log_debug("not written", LOG_U64("n", 1));
    (void)close(ends[1]);
    ssize_t n = read(ends[0], line, sizeof line - 1);
    (void)close(ends[0]);
    cr_assert_gt(n, 0);
    line[n] = '\0';
    return line;
}

Test(log, a_value_cannot_forge_a_line)
{
    struct slice evil = slice_str("x\n2026-01-01T00:00:00.000Z ERROR forged\" a=\\b");
    const char *line = logged(LOG_TEXT, "event", evil);
    cr_expect_eq(strchr(line, '\n'), line + strlen(line) - 1, "%s", line);
    cr_expect_not_null(
        strstr(line, " INFO  event value=\"x\\u000a2026-01-01T00:00:00.000Z ERROR forged\\\" a=\\\\b\" n=-7"), "%s",
        line);
    line = logged(LOG_JSON, "event", evil);
    cr_expect_eq(strchr(line, '\n'), line + strlen(line) - 1, "%s", line);
    cr_expect_not_null(
        strstr(line, "\"value\":\"x\\u000a2026-01-01T00:00:00.000Z ERROR forged\\\" a=\\\\b\",\"n\":-7}\n"), "%s",
        line);
}

Test(log, a_huge_value_is_cut_and_json_still_closes)
{
    static char huge[20000];
    memset(huge, '"', sizeof huge);
    const char *line = logged(LOG_JSON, "event", slice_of(huge, sizeof huge));
    size_t len = strlen(line);
    cr_expect_lt(len, 8200);
    cr_expect_str_eq(line + len - 2, "}\n");
}

Test(log, plain_values_are_bare_in_text)
{
    cr_expect_not_null(strstr(logged(LOG_TEXT, "event", slice_str("plain")), "event value=plain n=-7\n"));
    cr_expect_not_null(strstr(logged(LOG_TEXT, "event", slice_str("")), "event value=\"\" n=-7\n"));
}

/* ---- SPIFFE IDs ---- */

static bool is_spiffe_id(const char *text)
{
    struct slice domain, path;
    return lapse_is_ok(spiffe_id_parse(slice_str(text), &domain, &path, NULL));
}

Test(spiffe, a_good_id_is_split)
{
    struct slice domain, path;
    cr_assert(lapse_is_ok(spiffe_id_parse(slice_str("spiffe://example.org/lapse/node/1"), &domain, &path, NULL)));
    cr_expect(slice_equal(domain, slice_str("example.org")));
    cr_expect(slice_equal(path, slice_str("lapse/node/1")));
    cr_expect(is_spiffe_id("spiffe://a/B..c/_-.x"));
}

Test(spiffe, everything_else_is_refused)
{
    static const char *const bad[] = {"",
                                      "spiffe:",
                                      "spiffe://",
                                      "spiffe:///x",
                                      "spiffe://example.org",
                                      "spiffe://example.org/",
                                      "SPIFFE://example.org/x",
                                      "spiffe://Example.org/x",
                                      "spiffe://example.org:443/x",
                                      "spiffe://user@example.org/x",
                                      "spiffe://example.org//x",
                                      "spiffe://example.org/x/",
                                      "spiffe://example.org/./x",
                                      "spiffe://example.org/x/..",
                                      "spiffe://example.org/x?y",
                                      "spiffe://example.org/x#y",
                                      "spiffe://example.org/%61",
                                      "spiffe://example.org/gr\xC3\xBC",
                                      "https://example.org/x",
                                      "spiffe://example.org/a b",
                                      "spiffe://example.org/a*"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_expect_not(is_spiffe_id(bad[i]), "%s", bad[i]);
    cr_expect_not(
        lapse_is_ok(spiffe_id_parse(slice_of("spiffe://a/b\0c", 14), &(struct slice){0}, &(struct slice){0}, NULL)));
}

Test(spiffe, an_id_is_bounded)
{
    char text[LIMIT_PRINCIPAL + 2];
    memset(text, 'a', sizeof text);
    memcpy(text, "spiffe://a/", 11);
    text[LIMIT_PRINCIPAL] = '\0';
    cr_expect(is_spiffe_id(text));
    text[LIMIT_PRINCIPAL] = 'a';
    text[LIMIT_PRINCIPAL + 1] = '\0';
    cr_expect_not(is_spiffe_id(text));
}

/* ---- stream pairs ---- */

struct end {
    struct stream *stream;
    unsigned opened, closed, calls, drains;
    size_t received, longest;
    enum lapse_code why;
    char principal[32];
};

static void pair_open(struct stream *stream, const struct stream_peer *peer)
{
    struct end *end = stream->owner;
    end->opened++;
    cr_assert(slice_to_cstr(slice_str(peer->principal), end->principal, sizeof end->principal));
}

static void pair_data(struct stream *stream, struct slice bytes)
{
    struct end *end = stream->owner;
    end->calls++;
    end->received += bytes.len;
    end->longest = bytes.len > end->longest ? bytes.len : end->longest;
}

static void pair_drain(struct stream *stream)
{
    ((struct end *)stream->owner)->drains++;
}

static void pair_close(struct stream *stream, const struct lapse_error *why)
{
    struct end *end = stream->owner;
    end->closed++;
    end->why = why->code;
}

static uv_loop_t loop;
static struct end a, b;

static void make_pair(size_t chunk)
{
    struct stream_handler handler = {pair_open, pair_data, pair_drain, pair_close};
    struct stream_peer peer_a = {.principal = "a"}, peer_b = {.principal = "b"};
    cr_assert_eq(uv_loop_init(&loop), 0);
    stream_pair(&loop, &peer_a, &peer_b, chunk, &a.stream, &b.stream);
    stream_set_handler(a.stream, handler, &a);
    stream_set_handler(b.stream, handler, &b);
    cr_expect_eq(stream_write(a.stream, slice_str("early")).code, LAPSE_FAILED_PRECONDITION);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert(a.opened == 1 && b.opened == 1);
}

static void finish_pair(void)
{
    cr_expect_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    cr_expect(a.closed == 1 && b.closed == 1);
    cr_expect_eq(uv_loop_close(&loop), 0);
}

Test(stream_pair, bytes_arrive_in_chunks_and_an_orderly_close_comes_after_them)
{
    make_pair(7);
    cr_expect_str_eq(a.principal, "b");
    cr_expect_str_eq(b.principal, "a");
    cr_assert(lapse_is_ok(stream_write(a.stream, slice_str("0123456789"))));
    cr_expect_eq(b.calls, 0, "never on the writer's stack");
    stream_close(a.stream, NULL);
    stream_close(a.stream, NULL);
    finish_pair();
    cr_expect(b.received == 10 && b.calls == 2 && b.longest == 7);
    cr_expect(a.why == LAPSE_OK && b.why == LAPSE_UNAVAILABLE);
}

Test(stream_pair, an_error_close_drops_what_was_not_delivered)
{
    struct lapse_error why = {LAPSE_ABORTED, ""};
    make_pair(0);
    cr_assert(lapse_is_ok(stream_write(a.stream, slice_str("0123456789"))));
    stream_close(a.stream, &why);
    finish_pair();
    cr_expect_eq(b.received, 0);
    cr_expect_eq(a.why, LAPSE_ABORTED);
}

Test(stream_pair, a_paused_end_fills_the_other_until_it_resumes)
{
    static uint8_t block[LIMIT_STREAM_SEND / 2 + 1];
    make_pair(0);
    stream_pause_reading(b.stream, true);
    cr_assert(lapse_is_ok(stream_write(a.stream, slice_of(block, sizeof block))));
    cr_expect_eq(stream_write(a.stream, slice_of(block, sizeof block)).code, LAPSE_RESOURCE_EXHAUSTED);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect(b.received == 0 && a.drains == 0 && stream_pending(a.stream) == sizeof block);
    stream_pause_reading(b.stream, false);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect(b.received == sizeof block && a.drains == 1 && stream_pending(a.stream) == 0);
    stream_close(b.stream, NULL);
    finish_pair();
}

/* ---- random ---- */

#define IDS 1000

static int compare_ids(const void *left, const void *right)
{
    return memcmp(left, right, 16);
}

Test(random, no_piece_is_given_out_twice)
{
    static uint8_t ids[IDS][16];
    for (int i = 0; i < IDS; i++)
        random_bytes(ids[i], sizeof ids[i]);
    int zeros = 0; /* what was given out before is erased: no piece begins or ends in it */
    for (int i = 0; i < IDS; i++)
        zeros += (ids[i][0] == 0) + (ids[i][15] == 0);
    cr_expect_lt(zeros, IDS / 20);
    qsort(ids, IDS, sizeof ids[0], compare_ids);
    for (int i = 1; i < IDS; i++)
        cr_assert(memcmp(ids[i - 1], ids[i], sizeof ids[i]) != 0);
}

static void *draw_one(void *out)
{
    random_bytes(out, 16);
    return NULL;
}

Test(random, threads_draw_from_pools_of_their_own)
{
    uint8_t ids[2][16];
    for (int i = 0; i < 2; i++) {
        pthread_t thread;
        cr_assert_eq(pthread_create(&thread, NULL, draw_one, ids[i]), 0);
        cr_assert_eq(pthread_join(thread, NULL), 0);
    }
    cr_expect(memcmp(ids[0], ids[1], sizeof ids[0]) != 0);
}

Test(random, a_child_does_not_repeat_what_its_parent_draws)
{
    uint8_t ours[64], theirs[64];
    int ends[2];
    random_bytes(ours, 16); /* both would go on behind this */
    cr_assert_eq(pipe(ends), 0);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        random_bytes(theirs, sizeof theirs);
        _exit(write(ends[1], theirs, sizeof theirs) == (ssize_t)sizeof theirs ? 0 : 1);
    }
    random_bytes(ours, sizeof ours);
    cr_assert_eq(read(ends[0], theirs, sizeof theirs), (ssize_t)sizeof theirs);
    cr_assert_eq(waitpid(child, NULL, 0), child);
    close(ends[0]);
    close(ends[1]);
    cr_expect(memcmp(ours, theirs, sizeof ours) != 0);
}

/* ---- sha256 ---- */

/* FIPS 180-2, B.1 and B.2. */
Test(sha256, hashes_pieces_as_if_they_stood_one_behind_the_other)
{
    static const uint8_t abc[4] = {0xBA, 0x78, 0x16, 0xBF}, alphabet[4] = {0x24, 0x8D, 0x6A, 0x61};
    const struct slice pieces[] = {slice_str("abcdbcdecdefdefgefghfghighijhijk"), slice_of(NULL, 0),
                                   slice_str("ijkljklmklmnlmnomnopnopq")};
    uint8_t digest[SHA256_BYTES];
    for (int round = 0; round < 2; round++) {
        sha256_of(&(struct slice){(const uint8_t *)"abc", 3}, 1, digest);
        cr_expect_arr_eq(digest, abc, sizeof abc);
        sha256_of(pieces, 3, digest);
        cr_expect_arr_eq(digest, alphabet, sizeof alphabet);
    }
}

/* ---- wake ---- */

#define SENDERS 4
#define SENDINGS 20000

struct woken_loop {
    uv_loop_t loop;
    struct wake wake;
    _Atomic(uint32_t) sent;
    bool closed;
};

static void on_woken(struct wake *wake)
{
    struct woken_loop *woken = CONTAINER_OF(wake, struct woken_loop, wake);
    /* Whatever was sent before is seen now; were one wake-up lost, the loop would never end. */
    if (atomic_load(&woken->sent) == SENDERS * SENDINGS)
        uv_stop(&woken->loop);
}

static void *send_often(void *arg)
{
    struct woken_loop *woken = arg;
    for (int i = 0; i < SENDINGS; i++) {
        atomic_fetch_add(&woken->sent, 1);
        wake_send(&woken->wake);
    }
    return NULL;
}

static void on_wake_closed(struct wake *wake)
{
    CONTAINER_OF(wake, struct woken_loop, wake)->closed = true;
}

Test(wake, no_wake_up_is_lost_and_none_comes_after_the_end)
{
    static struct woken_loop woken;
    pthread_t senders[SENDERS];
    cr_assert_eq(uv_loop_init(&woken.loop), 0);
    cr_assert(wake_init(&woken.wake, &woken.loop, on_woken));
    for (int i = 0; i < SENDERS; i++)
        cr_assert_eq(pthread_create(&senders[i], NULL, send_often, &woken), 0);
    cr_assert_neq(uv_run(&woken.loop, UV_RUN_DEFAULT), 0); /* stopped, with the handle open */
    wake_close(&woken.wake, on_wake_closed);
    for (int i = 0; i < SENDERS; i++)
        cr_assert_eq(pthread_join(senders[i], NULL), 0);
    wake_send(&woken.wake);
    cr_assert_eq(uv_run(&woken.loop, UV_RUN_DEFAULT), 0);
    cr_expect(woken.closed);
    cr_expect_eq(uv_loop_close(&woken.loop), 0);
}
