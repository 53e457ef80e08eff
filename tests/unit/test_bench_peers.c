/* What the benchmark's peers say and are told, byte by byte; and how items are written down for them. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "bench/peers/etcd_messages.h"
#include "bench/peers/kinds.h"
#include "bench/peers/peer.h"
#include "bench/peers/redis_push.h"

#define BYTES(...) slice_of((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* --- items -------------------------------------------------------------------------------------------------------- */

Test(bench_peers, a_key_says_which_item_it_is)
{
    static const uint32_t items[] = {0, 42, 99999999, 100000000, UINT32_MAX};
    for (size_t i = 0; i < sizeof items / sizeof items[0]; i++) {
        char key[PEER_KEY_SIZE];
        uint32_t item = 7;
        peer_key(key, items[i]);
        cr_assert(peer_item(slice_str(key), &item), "%s", key);
        cr_assert_eq(item, items[i], "%s", key);
    }
}

Test(bench_peers, other_keys_are_no_items)
{
    static const char *const keys[] = {"",
                                       "items/",
                                       "item/00000001",
                                       "quiet/00000001",
                                       "items/0000x",
                                       "items/-1",
                                       "items/4294967296",
                                       "items/000000000000000001",
                                       "items/ 1"};
    uint32_t item = 7;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        cr_assert(!peer_item(slice_str(keys[i]), &item), "%s", keys[i]);
}

Test(bench_peers, values_are_200_bytes_and_differ)
{
    char one[PEER_VALUE_LEN + 1], other[PEER_VALUE_LEN + 1];
    peer_value(one, 1);
    peer_value(other, UINT32_MAX);
    cr_assert_eq(strlen(one), 200);
    cr_assert_eq(strlen(other), 200);
    cr_assert_str_neq(one, other);
}

Test(bench_peers, quiet_items_are_those_from_a_number_on)
{
    struct system system = {.quiet_from = 0};
    cr_assert(!system_is_quiet(&system, 0) && !system_is_quiet(&system, 1000));
    system.quiet_from = 10;
    cr_assert(!system_is_quiet(&system, 9) && system_is_quiet(&system, 10));
}

/* --- beginning ---------------------------------------------------------------------------------------------------- */

Test(bench_peers, endpoints_and_tunings_are_checked)
{
    static const struct {
        const char *endpoints, *tuning;
        enum lapse_code code;
    } given[] = {{"a:1,b:2,c:3", "default", LAPSE_OK},
                 {"a:1", "tuned", LAPSE_OK},
                 {"a:1", "quickest", LAPSE_INVALID_ARGUMENT},
                 {"", "default", LAPSE_INVALID_ARGUMENT},
                 {"a", "default", LAPSE_INVALID_ARGUMENT},
                 {"a:1,,b:2", "default", LAPSE_INVALID_ARGUMENT},
                 {"a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1", "default", LAPSE_INVALID_ARGUMENT}};
    for (size_t i = 0; i < sizeof given / sizeof given[0]; i++) {
        struct peer peer = {0};
        struct lapse_error error;
        const struct system_options options = {.nodes = 3, .tuning = given[i].tuning, .endpoints = given[i].endpoints};
        lapse_result result = peer_begin(&peer, &kind_etcd, &options, "etcd", 1, &error);
        cr_assert_eq(result.code, given[i].code, "%s %s", given[i].endpoints, given[i].tuning);
        peer_end(&peer);
    }
}

Test(bench_peers, a_program_that_is_not_here_is_named_with_its_package)
{
    struct peer peer = {0};
    struct lapse_error error;
    const struct system_options options = {.nodes = 3};
    lapse_result result = peer_begin(&peer, &kind_etcd, &options, "no-such-program", 1, &error);
    cr_assert_eq(result.code, LAPSE_NOT_FOUND);
    cr_assert_str_eq(error.message, "no-such-program is not here: install etcd-server");
    peer_end(&peer);
}

Test(bench_peers, the_report_has_the_flags_but_not_the_places)
{
    struct peer_args args = {0};
    peer_place(&args, "--data-dir=%s", "/somewhere");
    peer_flag(&args, "--heartbeat-interval=%d", 20);
    peer_flag(&args, "%s", "");
    cr_assert_str_eq(args.flags, "--heartbeat-interval=20 \"\"");
    cr_assert_eq(args.n, 3);
    cr_assert_str_eq(args.at[0], "--data-dir=/somewhere");
    cr_assert_str_eq(args.at[2], "");
    cr_assert_null(args.at[3]);
}

/* --- etcd --------------------------------------------------------------------------------------------------------- */

static struct buf out;

static void buf_begin(void)
{
    buf_init(&out, 4096);
}

static void buf_end(void)
{
    buf_free(&out);
}

TestSuite(etcd_messages, .init = buf_begin, .fini = buf_end);

Test(etcd_messages, requests_are_as_documented)
{
    etcd_put_request(&out, slice_str("k"), slice_str("v"), 300);
    cr_assert(slice_equal(buf_slice(&out), BYTES(0x0a, 1, 'k', 0x12, 1, 'v', 0x18, 0xac, 2)));
    buf_clear(&out);
    etcd_delete_request(&out, slice_str("k"));
    cr_assert(slice_equal(buf_slice(&out), BYTES(0x0a, 1, 'k')));
    buf_clear(&out);
    etcd_lease_request(&out, 10);
    cr_assert(slice_equal(buf_slice(&out), BYTES(0x08, 10)));
    buf_clear(&out);
    etcd_watch_request(&out, slice_str("a"), slice_str("b"));
    cr_assert(slice_equal(buf_slice(&out), BYTES(0x0a, 9, 0x0a, 1, 'a', 0x12, 1, 'b', 0x2a, 1, 0)));
}

Test(etcd_messages, a_lease_has_an_id)
{
    uint64_t lease = 0;
    cr_assert(etcd_lease_answer(BYTES(0x0a, 2, 0x08, 1, 0x10, 0x96, 1, 0x18, 10), &lease));
    cr_assert_eq(lease, 150);
    cr_assert(!etcd_lease_answer(BYTES(0x18, 10), &lease));
    cr_assert(!etcd_lease_answer(BYTES(0x10), &lease));
}

Test(etcd_messages, a_status_says_who_leads)
{
    struct etcd_status status;
    cr_assert(etcd_status_answer(BYTES(0x0a, 6, 0x10, 7, 0x18, 9, 0x20, 3, 0x12, 3, '3', '.', '4', 0x18, 5, 0x20, 8),
                                 &status));
    cr_assert_eq(status.member, 7);
    cr_assert_eq(status.revision, 9);
    cr_assert_eq(status.term, 3);
    cr_assert_eq(status.leader, 8);
    cr_assert(slice_equal(status.version, slice_str("3.4")));
    cr_assert(!etcd_status_answer(BYTES(0x12, 3, '3', '.', '4'), &status), "nobody answered");
    cr_assert(!etcd_status_answer(BYTES(0x0a, 9, 0x10), &status), "cut off");
}

struct heard {
    uint32_t created, canceled, deleted;
    char last[16], reason[16];
};

static void on_created(void *arg)
{
    ((struct heard *)arg)->created++;
}

static void on_deleted(void *arg, struct slice key)
{
    struct heard *heard = arg;
    heard->deleted++;
    cr_assert(slice_to_cstr(key, heard->last, sizeof heard->last));
}

static void on_canceled(void *arg, struct slice reason)
{
    struct heard *heard = arg;
    heard->canceled++;
    cr_assert(slice_to_cstr(reason, heard->reason, sizeof heard->reason));
}

static const struct etcd_watch_handler handler = {on_created, on_deleted, on_canceled};

Test(etcd_messages, a_watch_tells_deletions_only)
{
    struct heard heard = {0};
    cr_assert(etcd_watch_answer(BYTES(0x0a, 0, 0x18, 1), &handler, &heard));
    cr_assert_eq(heard.created, 1);
    /* A put of "p", deletions of "d" and "e". */
    cr_assert(etcd_watch_answer(BYTES(0x5a, 5, 0x12, 3, 0x0a, 1, 'p', 0x5a, 7, 0x08, 1, 0x12, 3, 0x0a, 1, 'd', 0x5a, 7,
                                      0x08, 1, 0x12, 3, 0x0a, 1, 'e'),
                                &handler, &heard));
    cr_assert_eq(heard.deleted, 2);
    cr_assert_str_eq(heard.last, "e");
    cr_assert(!etcd_watch_answer(BYTES(0x5a, 7, 0x08, 1, 0x12, 9, 0x0a, 1, 'd'), &handler, &heard));
    cr_assert_eq(heard.created + heard.canceled, 1);
}

Test(etcd_messages, a_refused_watch_is_canceled_and_not_created)
{
    struct heard heard = {0};
    cr_assert(etcd_watch_answer(BYTES(0x18, 1, 0x20, 1, 0x32, 2, 'n', 'o'), &handler, &heard));
    cr_assert_eq(heard.created, 0);
    cr_assert_eq(heard.canceled, 1);
    cr_assert_str_eq(heard.reason, "no");
}

/* --- Redis -------------------------------------------------------------------------------------------------------- */

static const char pushes[] =
    "*3\r\n$9\r\nsubscribe\r\n$3\r\ndel\r\n:12\r\n*3\r\n$7\r\nmessage\r\n$3\r\ndel\r\n$5\r\nitems\r\n";

Test(redis_push, pushes_are_taken_one_by_one)
{
    struct redis_push push;
    struct slice bytes = slice_str(pushes);
    size_t len = redis_push_take(bytes, &push);
    cr_assert_eq(push.kind, REDIS_PUSH_SUBSCRIBED);
    bytes = slice_of(bytes.data + len, bytes.len - len);
    cr_assert_eq(redis_push_take(bytes, &push), bytes.len);
    cr_assert_eq(push.kind, REDIS_PUSH_MESSAGE);
    cr_assert(slice_equal(push.key, slice_str("items")));
}

Test(redis_push, what_is_not_whole_is_waited_for)
{
    struct redis_push push;
    size_t first = redis_push_take(slice_str(pushes), &push);
    for (size_t len = 0; len < first; len++)
        cr_assert_eq(redis_push_take(slice_of(pushes, len), &push), 0, "%zu bytes", len);
    for (size_t len = 0; len < sizeof pushes - 1 - first; len++)
        cr_assert_eq(redis_push_take(slice_of(pushes + first, len), &push), 0, "%zu bytes", len);
}

Test(redis_push, anything_else_is_malformed)
{
    static const char *const texts[] = {"-ERR no\r\n",
                                        "+OK\r\n",
                                        "*2\r\n$7\r\nmessage\r\n$3\r\ndel\r\n",
                                        "*3\r\n$4\r\npong\r\n$0\r\n\r\n$0\r\n\r\n",
                                        "*3\r\n$99999999\r\n",
                                        "*3\r\n$65537\r\n",
                                        "*3\r\n$7\r\nmessageX\n$3\r\n",
                                        "*x\r\n",
                                        "*3\r\n$-1\r\n"};
    struct redis_push push;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        cr_assert_eq(redis_push_take(slice_str(texts[i]), &push), REDIS_PUSH_MALFORMED, "%s", texts[i]);
}
