/* What the benchmark's clients of ZooKeeper and NATS make of a server's bytes, however these are cut; and requests that
 * wait for answers by number. The servers themselves are met in tests/e2e/test_bench_peers.py. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "bench/peers/nats_link.h"
#include "bench/peers/peer_link.h"
#include "bench/peers/peer_pending.h"
#include "bench/peers/zookeeper_link.h"

static struct {
    uint32_t ready, answers, failures, gone;
    uint32_t numbers[8], items[8];
} seen;

static void on_ready(struct peer_link *link)
{
    (void)link;
    seen.ready++;
}

static void on_answer(struct peer_link *link, uint32_t number, const struct lapse_error *error)
{
    (void)link;
    seen.failures += error != NULL;
    seen.numbers[seen.answers++ % 8] = number;
}

static void on_gone(struct peer_link *link, uint32_t item)
{
    (void)link;
    seen.items[seen.gone++ % 8] = item;
}

static void on_closed(struct peer_link *link, const struct lapse_error *why)
{
    (void)link, (void)why;
}

static const struct peer_link_user user = {on_ready, on_answer, on_gone, on_closed};

/* A link whose stream was just opened, without a stream: what it writes goes nowhere. */
static struct peer_link fresh(const struct peer_link_protocol *protocol, int32_t session_ms)
{
    struct peer_link link;
    peer_link_init(&link, NULL, "127.0.0.1:1", protocol, &user);
    link.state = LINK_GREETING;
    link.session_ms = session_ms;
    memset(&seen, 0, sizeof seen);
    return link;
}

static void finish(struct peer_link *link)
{
    link->state = LINK_CLOSED;
    peer_link_free(link);
}

/* The bytes in two pieces, cut at each place in turn. */
static void feed_cut(struct peer_link *link, struct slice bytes, size_t cut)
{
    peer_link_feed(link, slice_of(bytes.data, cut));
    peer_link_feed(link, slice_of(bytes.data + cut, bytes.len - cut));
}

/* --- ZooKeeper ---------------------------------------------------------------------------------------------------- */

#define GREETING(b1, b0)                                                                                               \
    "\0\0\0\x25\0\0\0\0\0\0" b1 b0 "\1\2\3\4\5\6\7\x8\0\0\0\x10"                                                       \
    "0123456789abcdef\0"
#define ANSWER(n, e3, e0) "\0\0\0\x10\0\0\0" n "\0\0\0\0\0\0\0\x9" e3 e3 e3 e0
#define EVENT(type, path)                                                                                              \
    "\0\0\0\x2b\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0" type "\0\0\0\3\0\0\0\xf" path

static struct slice zookeeper_talk(void)
{
    static const char bytes[] = GREETING("\x27", "\x10") ANSWER("\5", "\0", "\0") EVENT("\2", "/items/00000042")
        EVENT("\1", "/items/00000043") ANSWER("\6", "\xff", "\x9b") ANSWER("\7", "\xff", "\xfc");
    return slice_of(bytes, sizeof bytes - 1);
}

Test(zookeeper_link, takes_messages_apart_wherever_they_are_cut)
{
    struct slice talk = zookeeper_talk();
    for (size_t cut = 0; cut <= talk.len; cut++) {
        struct peer_link link = fresh(&zookeeper_protocol, 30000);
        feed_cut(&link, talk, cut);
        cr_assert(seen.ready == 1 && link.session_ms == 10000, "cut at %zu", cut);
        cr_assert(seen.gone == 1 && seen.items[0] == 42, "only deletions count: cut at %zu", cut);
        cr_assert(seen.answers == 3 && seen.numbers[0] == 5 && seen.numbers[2] == 7);
        cr_assert(seen.failures == 1, "no such node means that it was deleted before: cut at %zu", cut);
        cr_assert(link.rest.len == 0);
        finish(&link);
    }
}

Test(zookeeper_link, a_deadline_must_be_given_as_it_was_asked_for)
{
    static const char given[] = GREETING("\x27", "\x10");
    struct peer_link link = fresh(&zookeeper_deadline_protocol, 9999);
    peer_link_feed(&link, slice_of(given, sizeof given - 1));
    cr_assert(seen.ready == 0 && link.ending);
    finish(&link);
    link = fresh(&zookeeper_deadline_protocol, 10000);
    peer_link_feed(&link, slice_of(given, sizeof given - 1));
    cr_assert(seen.ready == 1 && !link.ending);
    finish(&link);
}

Test(zookeeper_link, refuses_a_session_that_is_over_and_messages_that_are_none)
{
    static const char over[] = GREETING("\0", "\0"), negative[] = "\xff\xff\xff\xff", shorter[] = "\0\0\0\2ab";
    const struct slice bad[] = {slice_of(over, sizeof over - 1), slice_of(negative, 4), slice_of(shorter, 6)};
    for (size_t i = 0; i < 3; i++) {
        struct peer_link link = fresh(&zookeeper_protocol, 30000);
        peer_link_feed(&link, bad[i]);
        cr_assert(link.ending && seen.ready == 0, "case %zu", i);
        finish(&link);
    }
}

Test(zookeeper_link, an_event_whose_path_is_cut_short_names_no_item)
{
    static const char event[] = GREETING("\x27", "\x10") "\0\0\0\x2a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0"
                                                         "\0\0\0\0\0\0\2\0\0\0\3\0\0\0\xf/items/0000004";
    struct peer_link link = fresh(&zookeeper_protocol, 30000);
    peer_link_feed(&link, slice_of(event, sizeof event - 1));
    cr_assert(seen.ready == 1 && seen.gone == 0);
    finish(&link);
}

/* --- NATS --------------------------------------------------------------------------------------------------------- */

#define DELETION "NATS/1.0\r\nKV-Operation: DEL\r\n\r\n"
#define FLOW "NATS/1.0 100 FlowControl Request\r\n\r\n"

static const char nats_talk[] = "INFO {\"server_name\":\"n1\"}\r\nPONG\r\n"
                                "MSG _INBOX.x.5 1 26\r\n{\"stream\":\"KV\",\"seq\":1234}\r\n"
                                "HMSG $KV.items.00000042 2 $JS.ACK.a.b 31 31\r\n" DELETION "\r\n"
                                "MSG $KV.items.00000043 2 $JS.ACK.a.b 4\r\nabcd\r\n"
                                "HMSG _INBOX.x.changes 2 $JS.FC.a 36 36\r\n" FLOW "\r\nPING\r\n"
                                "HMSG _INBOX.x.6 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"
                                "MSG _INBOX.x.7 1 24\r\n{\"error\":{\"code\": 503}}}\r\n";

Test(nats_link, takes_messages_apart_wherever_they_are_cut)
{
    struct slice talk = slice_str(nats_talk);
    for (size_t cut = 0; cut <= talk.len; cut++) {
        struct peer_link link = fresh(&nats_protocol, 0);
        feed_cut(&link, talk, cut);
        cr_assert(!link.ending && link.rest.len == 0, "cut at %zu", cut);
        cr_assert(seen.ready == 1 && seen.gone == 1 && seen.items[0] == 42, "cut at %zu", cut);
        cr_assert(seen.answers == 3 && seen.numbers[0] == 5 && seen.numbers[1] == 6 && seen.numbers[2] == 7);
        cr_assert(seen.failures == 2, "no responders, and an error");
        finish(&link);
    }
}

Test(nats_link, refuses_messages_that_are_none)
{
    static const char *const bad[] = {"MSG a 1\r\n", "MSG a b 4\r\nabcd\r\n", "HMSG a 1 9 4\r\nabcd\r\n",
                                      "MSG a 1 99999999999\r\n", "-ERR 'Authorization Violation'\r\n"};
    for (size_t i = 0; i < 5; i++) {
        struct peer_link link = fresh(&nats_protocol, 0);
        peer_link_feed(&link, slice_str("PONG\r\n"));
        peer_link_feed(&link, slice_str(bad[i]));
        cr_assert(link.ending, "%s", bad[i]);
        finish(&link);
    }
}

/* --- pending ------------------------------------------------------------------------------------------------------ */

static struct peer_pending pending;
static uint32_t n_done, n_cancelled, n_again;

static void on_done(void *arg, const struct lapse_error *error)
{
    (void)arg;
    n_done++;
    n_cancelled += error != NULL;
    if (error != NULL && n_again > 0) {
        n_again--;
        (void)peer_pending_add(&pending, on_done, NULL);
    }
}

Test(peer_pending, each_is_done_once_in_whatever_order_answers_come)
{
    for (uint32_t i = 0; i < 1000; i++)
        cr_assert(peer_pending_add(&pending, on_done, NULL) == i);
    for (uint32_t i = 1000; i-- > 0;)
        peer_pending_finish(&pending, i, NULL);
    peer_pending_finish(&pending, 7, NULL);
    peer_pending_finish(&pending, 4000, NULL);
    cr_assert(n_done == 1000 && n_cancelled == 0);
    cr_assert(peer_pending_add(&pending, on_done, NULL) == 1000);
    peer_pending_finish(&pending, 1000, NULL);
    peer_pending_free(&pending);
}

Test(peer_pending, ending_all_leaves_what_is_asked_meanwhile)
{
    const struct lapse_error error = {LAPSE_UNAVAILABLE, "gone"};
    for (uint32_t i = 0; i < 100; i++)
        (void)peer_pending_add(&pending, on_done, NULL);
    n_again = 100;
    peer_pending_finish_all(&pending, &error);
    cr_assert(n_done == 100 && pending.next - pending.first == 100);
    peer_pending_finish_all(&pending, &error);
    cr_assert(n_done == 200 && pending.next == pending.first);
    peer_pending_free(&pending);
}
