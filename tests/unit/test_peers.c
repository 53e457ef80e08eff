/* Whole sets of peers on one loop, over real sockets and certificates; and the frame reader alone. */
#include <criterion/criterion.h>
#include <signal.h>

#include "raft/peer_frame.h"
#include "raft/peers.h"
#include "tests/unit/tls_fixture.h"

#define NODES 3

struct node {
    struct peers *peers;
    uint64_t id;
    unsigned frames;
    uint64_t last_from;
    size_t last_len;
    uint8_t last_byte;
    unsigned ups, downs;
    unsigned gone;
    uint64_t last_gone;
    struct lapse_error last_error;
    bool last_outgoing;
    bool closed;
    bool close_on_frame;
};

static uv_loop_t loop;
static char *dir;
static struct node nodes[NODES + 1];

static void on_closed(void *arg)
{
    struct node *node = arg;
    cr_assert_not(node->closed);
    node->closed = true;
    node->peers = NULL;
}

static void on_frame(void *arg, uint64_t from, struct slice frame)
{
    struct node *node = arg;
    cr_assert_not(node->closed);
    node->frames++;
    node->last_from = from;
    node->last_len = frame.len;
    node->last_byte = frame.data[frame.len - 1];
    if (node->close_on_frame)
        peers_close(node->peers, on_closed, node);
}

static void on_link(void *arg, uint64_t id, bool outgoing, bool up, const struct lapse_error *error)
{
    struct node *node = arg;
    (void)id;
    cr_assert_not(node->closed);
    cr_assert_eq(up, error == NULL);
    node->ups += up;
    node->downs += !up;
    node->last_outgoing = outgoing;
    if (error != NULL)
        node->last_error = *error;
}

static void on_gone(void *arg, uint64_t id)
{
    struct node *node = arg;
    cr_assert_not(node->closed);
    node->gone++;
    node->last_gone = id;
}

static const struct peers_handler handler = {.on_frame = on_frame, .on_link = on_link, .on_gone = on_gone};

#define RUN_UNTIL(condition)                                                                                           \
    while (!(condition))                                                                                               \
    (void)uv_run(&loop, UV_RUN_ONCE)

static void start_as(struct node *node, uint64_t id, const char *certificate, const char *cluster, size_t queue_max)
{
    struct lapse_error error = {0};
    struct peers_options options = {id, cluster, "127.0.0.1", 0, queue_max, 50, 7};
    struct tls_identity *identity = fixture_identity(dir, certificate);
    *node = (struct node){.id = id};
    cr_assert(lapse_is_ok(peers_start(&loop, &options, identity, &handler, node, &node->peers, &error)), "%s",
              error.message);
    tls_identity_unref(identity);
}

static void start(uint64_t id, const char *cluster)
{
    char name[16];
    (void)snprintf(name, sizeof name, "n%d", (int)id);
    start_as(&nodes[id], id, name, cluster, 0);
}

static void set_peer(struct node *node, struct node *other, uint64_t id)
{
    char address[40];
    struct lapse_error error = {0};
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", peers_port(other->peers));
    cr_assert(lapse_is_ok(peers_set(node->peers, id, address, &error)), "%s", error.message);
}

static void introduce(uint64_t a, uint64_t b)
{
    set_peer(&nodes[a], &nodes[b], b);
    set_peer(&nodes[b], &nodes[a], a);
}

static bool linked(uint64_t a, uint64_t b)
{
    return peers_is_up(nodes[a].peers, b, true) && peers_is_up(nodes[b].peers, a, false);
}

static void close_node(struct node *node)
{
    if (node->peers != NULL)
        peers_close(node->peers, on_closed, node);
    RUN_UNTIL(node->closed);
}

static void set_up(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    cr_assert_eq(uv_loop_init(&loop), 0);
    dir = fixture_authority("example.org");
    fixture_issue(dir, "lapse/node/1", "n1");
    fixture_issue(dir, "lapse/node/2", "n2");
    fixture_issue(dir, "lapse/node/3", "n3");
    fixture_issue(dir, "user/dev1", "user");
}

static void tear_down(void)
{
    for (size_t i = 0; i <= NODES; i++)
        if (nodes[i].peers != NULL)
            close_node(&nodes[i]);
    cr_assert_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    cr_assert_eq(uv_loop_close(&loop), 0);
    fixture_remove(dir);
}

TestSuite(peers, .init = set_up, .fini = tear_down);

/* ---- frames ---- */

Test(peers, three_nodes_exchange_frames_both_ways)
{
    for (uint64_t id = 1; id <= 3; id++)
        start(id, "lab-1");
    introduce(1, 2);
    introduce(2, 3);
    introduce(1, 3);
    for (uint64_t a = 1; a <= 3; a++)
        for (uint64_t b = 1; b <= 3; b++)
            if (a != b)
                RUN_UNTIL(linked(a, b));
    for (uint64_t a = 1; a <= 3; a++)
        for (uint64_t b = 1; b <= 3; b++)
            if (a != b)
                peers_send(nodes[a].peers, b, slice_of((uint8_t[]){(uint8_t)a, (uint8_t)(10 * a + b)}, 2));
    RUN_UNTIL(nodes[1].frames == 2 && nodes[2].frames == 2 && nodes[3].frames == 2);
    for (uint64_t b = 1; b <= 3; b++)
        cr_expect_eq(nodes[b].last_byte, 10 * nodes[b].last_from + b);
    cr_expect_eq(nodes[1].downs, 0);
    cr_expect_eq(nodes[1].ups, 4);
}

Test(peers, frames_of_all_sizes_arrive_whole)
{
    static uint8_t bytes[LIMIT_PEER_FRAME];
    static const size_t sizes[] = {1, 3, 4, 16379, 16380, 16381, 32768, 100000, LIMIT_PEER_FRAME};
    start(1, "lab-1");
    start(2, "lab-1");
    introduce(1, 2);
    RUN_UNTIL(linked(1, 2));
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        bytes[sizes[i] - 1] = (uint8_t)(i + 1);
        peers_send(nodes[1].peers, 2, slice_of(bytes, sizes[i]));
        RUN_UNTIL(nodes[2].frames == i + 1);
        cr_expect_eq(nodes[2].last_len, sizes[i]);
        cr_expect_eq(nodes[2].last_byte, i + 1);
        bytes[sizes[i] - 1] = 0;
    }
    cr_expect_eq(peers_dropped(nodes[1].peers, 2), 0);
}

Test(peers, a_full_queue_and_a_missing_link_drop_whole_frames_and_count_them)
{
    static uint8_t bytes[60000];
    start_as(&nodes[1], 1, "n1", "lab-1", 200000);
    start(2, "lab-1");
    set_peer(&nodes[1], &nodes[2], 2);
    peers_send(nodes[1].peers, 2, slice_of(bytes, sizeof bytes));
    cr_expect_eq(peers_dropped(nodes[1].peers, 2), 1);
    RUN_UNTIL(linked(1, 2));
    for (int i = 0; i < 5; i++)
        peers_send(nodes[1].peers, 2, slice_of(bytes, sizeof bytes));
    cr_expect_eq(peers_dropped(nodes[1].peers, 2), 3);
    RUN_UNTIL(nodes[2].frames == 3);
    peers_send(nodes[1].peers, 2, slice_of(bytes, 17));
    RUN_UNTIL(nodes[2].frames == 4);
    cr_expect_eq(nodes[2].last_len, 17);
}

/* ---- links come and go ---- */

Test(peers, a_restarted_peer_is_found_again)
{
    start(1, "lab-1");
    start(2, "lab-1");
    introduce(1, 2);
    RUN_UNTIL(linked(1, 2) && linked(2, 1));
    close_node(&nodes[2]);
    RUN_UNTIL(!peers_is_up(nodes[1].peers, 2, true) && !peers_is_up(nodes[1].peers, 2, false));
    cr_expect_geq(nodes[1].downs, 1);
    start(2, "lab-1");
    introduce(1, 2);
    RUN_UNTIL(linked(1, 2) && linked(2, 1));
    peers_send(nodes[1].peers, 2, slice_str("again"));
    RUN_UNTIL(nodes[2].frames == 1);
}

Test(peers, a_peer_that_was_away_is_dialled_until_it_is_there)
{
    struct lapse_error error = {0};
    char address[40];
    start(1, "lab-1");
    start(2, "lab-1");
    uint16_t port = peers_port(nodes[2].peers);
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", port);
    close_node(&nodes[2]);
    cr_assert(lapse_is_ok(peers_set(nodes[1].peers, 2, address, &error)));
    RUN_UNTIL(nodes[1].downs == 1);
    for (int i = 0; i < 20; i++)
        (void)uv_run(&loop, UV_RUN_ONCE); /* further attempts are not reported */
    cr_expect_eq(nodes[1].downs, 1, "%s", nodes[1].last_error.message);
    struct peers_options options = {2, "lab-1", "127.0.0.1", port, 0, 50, 7};
    struct tls_identity *identity = fixture_identity(dir, "n2");
    nodes[2] = (struct node){.id = 2};
    cr_assert(lapse_is_ok(peers_start(&loop, &options, identity, &handler, &nodes[2], &nodes[2].peers, &error)));
    tls_identity_unref(identity);
    RUN_UNTIL(linked(1, 2));
}

Test(peers, a_removed_peer_is_dialled_no_more)
{
    start(1, "lab-1");
    start(2, "lab-1");
    introduce(1, 2);
    RUN_UNTIL(linked(1, 2) && linked(2, 1));
    peers_remove(nodes[2].peers, 1);
    peers_remove(nodes[1].peers, 2);
    RUN_UNTIL(nodes[1].downs == 2 && nodes[2].downs == 2);
    peers_send(nodes[1].peers, 2, slice_str("into the void"));
    cr_expect_not(peers_is_up(nodes[1].peers, 2, true));
    cr_expect_not(peers_is_up(nodes[1].peers, 2, false));
}

Test(peers, a_moved_peer_is_dialled_at_its_new_address)
{
    start(1, "lab-1");
    start(2, "lab-1");
    start_as(&nodes[3], 2, "n2", "lab-1", 0); /* node 2's new place */
    set_peer(&nodes[1], &nodes[2], 2);
    RUN_UNTIL(linked(1, 2));
    set_peer(&nodes[1], &nodes[3], 2);
    RUN_UNTIL(peers_is_up(nodes[1].peers, 2, true) && peers_is_up(nodes[3].peers, 1, false));
    peers_send(nodes[1].peers, 2, slice_str("hello there"));
    RUN_UNTIL(nodes[3].frames == 1);
    cr_expect_eq(nodes[2].frames, 0);
}

Test(peers, a_set_may_be_closed_from_its_own_callback)
{
    start(1, "lab-1");
    start(2, "lab-1");
    introduce(1, 2);
    RUN_UNTIL(linked(1, 2) && linked(2, 1));
    nodes[2].close_on_frame = true;
    for (int i = 0; i < 10; i++)
        peers_send(nodes[1].peers, 2, slice_str("stop"));
    RUN_UNTIL(nodes[2].closed);
    cr_expect_eq(nodes[2].frames, 1);
}

/* ---- a process is gone ---- */

static void turn(unsigned times)
{
    while (times-- > 0)
        (void)uv_run(&loop, UV_RUN_ONCE);
}

Test(peers, a_process_that_ended_is_found_gone_once_each_time)
{
    struct lapse_error error = {0};
    start(1, "lab-1");
    start(2, "lab-1");
    uint16_t port = peers_port(nodes[2].peers);
    for (unsigned times = 1; times <= 2; times++) {
        introduce(1, 2);
        RUN_UNTIL(linked(1, 2) && linked(2, 1));
        cr_expect_eq(nodes[1].gone, times - 1);
        close_node(&nodes[2]);
        RUN_UNTIL(nodes[1].gone == times);
        cr_expect_eq(nodes[1].last_gone, 2);
        turn(20); /* further attempts say nothing new */
        cr_expect_eq(nodes[1].gone, times);
        struct peers_options options = {2, "lab-1", "127.0.0.1", port, 0, 50, 7};
        struct tls_identity *identity = fixture_identity(dir, "n2");
        nodes[2] = (struct node){.id = 2};
        cr_assert(lapse_is_ok(peers_start(&loop, &options, identity, &handler, &nodes[2], &nodes[2].peers, &error)));
        tls_identity_unref(identity);
    }
}

Test(peers, a_process_that_still_holds_a_link_to_us_is_not_gone)
{
    start(1, "lab-1");
    start(2, "lab-1");
    start_as(&nodes[3], 3, "n3", "lab-1", 0);
    introduce(1, 2);
    RUN_UNTIL(linked(1, 2) && linked(2, 1));
    set_peer(&nodes[1], &nodes[3], 2); /* a port that is about to refuse */
    close_node(&nodes[3]);
    RUN_UNTIL(strstr(nodes[1].last_error.message, "refused") != NULL);
    turn(20);
    cr_expect(peers_is_up(nodes[1].peers, 2, false));
    cr_expect_eq(nodes[1].gone, 0);
    close_node(&nodes[2]);
    RUN_UNTIL(nodes[1].gone == 1);
}

Test(peers, a_peer_that_was_never_there_is_not_gone)
{
    start(1, "lab-1");
    start(2, "lab-1");
    set_peer(&nodes[1], &nodes[2], 2);
    close_node(&nodes[2]);
    RUN_UNTIL(nodes[1].downs > 0);
    turn(20);
    cr_expect_eq(nodes[1].gone, 0);
}

/* ---- refusals ---- */

Test(peers, another_cluster_is_refused_and_told_why)
{
    start(1, "lab-1");
    start(2, "lab-2");
    set_peer(&nodes[1], &nodes[2], 2);
    RUN_UNTIL(nodes[1].downs > 0 && nodes[2].downs > 0);
    cr_expect_not_null(strstr(nodes[2].last_error.message, "is of the cluster lab-1, we are of lab-2"), "%s",
                       nodes[2].last_error.message);
    cr_expect_not_null(strstr(nodes[1].last_error.message, "refused us: node 1 is of the cluster lab-1"), "%s",
                       nodes[1].last_error.message);
    cr_expect_eq(nodes[1].ups + nodes[2].ups, 0);
}

Test(peers, a_newcomer_without_a_cluster_is_let_in_and_leaves_when_it_turns_out_to_be_another)
{
    start(1, "lab-1");
    start(2, "");
    introduce(1, 2);
    RUN_UNTIL(linked(1, 2) && linked(2, 1));
    peers_set_cluster(nodes[2].peers, "lab-1");
    for (int i = 0; i < 10; i++)
        (void)uv_run(&loop, UV_RUN_NOWAIT);
    cr_expect(linked(1, 2) && linked(2, 1));
    peers_set_cluster(nodes[2].peers, "lab-9");
    RUN_UNTIL(nodes[1].downs >= 2 && !peers_is_up(nodes[1].peers, 2, true));
}

Test(peers, a_node_under_another_ones_address_is_refused)
{
    start(1, "lab-1");
    start(3, "lab-1");
    set_peer(&nodes[1], &nodes[3], 2); /* node 2's address leads to node 3 */
    RUN_UNTIL(nodes[1].downs > 0);
    cr_expect_eq(nodes[1].last_error.code, LAPSE_UNAUTHENTICATED);
    cr_expect_not_null(strstr(nodes[1].last_error.message,
                              "is spiffe://example.org/lapse/node/3, not spiffe://example.org/lapse/node/2"),
                       "%s", nodes[1].last_error.message);
}

Test(peers, a_second_process_with_the_same_identity_is_refused_while_the_first_lives)
{
    start(1, "lab-1");
    start(2, "lab-1");
    set_peer(&nodes[2], &nodes[1], 1);
    RUN_UNTIL(linked(2, 1));
    start_as(&nodes[3], 2, "n2", "lab-1", 0);
    set_peer(&nodes[3], &nodes[1], 1);
    RUN_UNTIL(nodes[3].downs > 0 && nodes[1].downs > 0);
    cr_expect_not_null(strstr(nodes[3].last_error.message, "another process is connected as node 2"), "%s",
                       nodes[3].last_error.message);
    cr_expect(linked(2, 1));
    close_node(&nodes[2]);
    RUN_UNTIL(peers_is_up(nodes[3].peers, 1, true)); /* the first one is gone: now the second may */
}

Test(peers, a_node_that_dials_itself_under_another_address_is_told_so)
{
    start(1, "lab-1");
    start_as(&nodes[3], 1, "n1", "lab-1", 0);
    struct node *twin = &nodes[3];
    char address[40];
    struct lapse_error error = {0};
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", peers_port(nodes[1].peers));
    cr_assert(lapse_is_ok(peers_set(twin->peers, 1, address, &error)));
    for (int i = 0; i < 10; i++)
        (void)uv_run(&loop, UV_RUN_NOWAIT);
    cr_expect_eq(twin->ups + twin->downs, 0, "a node never dials its own id");
}

Test(peers, a_certificate_for_another_node_does_not_start)
{
    struct lapse_error error = {0};
    struct peers *peers = NULL;
    struct peers_options options = {2, "lab-1", "127.0.0.1", 0, 0, 0, 7};
    struct tls_identity *identity = fixture_identity(dir, "n1");
    cr_expect_eq(peers_start(&loop, &options, identity, &handler, NULL, &peers, &error).code,
                 LAPSE_FAILED_PRECONDITION);
    cr_expect_not_null(strstr(error.message, "this is node 2"), "%s", error.message);
    tls_identity_unref(identity);
}

Test(peers, an_address_that_is_none_is_refused)
{
    struct lapse_error error = {0};
    static const char *const bad[] = {"", "host", "host:", "host:0", "host:65536", "host:1x", ":7400", "host:-1"};
    start(1, "lab-1");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_expect_eq(peers_set(nodes[1].peers, 2, bad[i], &error).code, LAPSE_INVALID_ARGUMENT, "%s", bad[i]);
}

/* ---- a peer that misbehaves: a bare TLS stream with a node's certificate ---- */

struct rogue {
    struct stream *stream;
    bool opened, closed;
    struct buf received;
};

static void rogue_open(struct stream *stream, const struct stream_peer *peer)
{
    (void)peer;
    ((struct rogue *)stream->owner)->opened = true;
}

static void rogue_data(struct stream *stream, struct slice bytes)
{
    struct rogue *rogue = stream->owner;
    cr_assert(lapse_is_ok(buf_append(&rogue->received, bytes.data, bytes.len)));
}

static void rogue_close(struct stream *stream, const struct lapse_error *why)
{
    (void)why;
    ((struct rogue *)stream->owner)->closed = true;
}

static void rogue_connect(struct rogue *rogue, const char *certificate)
{
    struct lapse_error error = {0};
    struct tls_options options = {.alpn = "lapse-peer/1"};
    struct stream_handler rogue_handler = {rogue_open, rogue_data, NULL, rogue_close};
    struct tls_identity *identity = fixture_identity(dir, certificate);
    *rogue = (struct rogue){0};
    buf_init(&rogue->received, 1 << 20);
    cr_assert(lapse_is_ok(tls_connect(&loop, "127.0.0.1", peers_port(nodes[1].peers), NULL, identity, &options,
                                      rogue_handler, rogue, &rogue->stream, &error)));
    tls_identity_unref(identity);
    RUN_UNTIL(rogue->opened);
}

static void rogue_write(struct rogue *rogue, const void *bytes, size_t len)
{
    cr_assert(lapse_is_ok(stream_write(rogue->stream, slice_of(bytes, len))));
}

static void rogue_hello(struct rogue *rogue, struct peer_hello hello)
{
    struct buf bytes;
    uint8_t header[PEER_FRAME_HEADER];
    buf_init(&bytes, 4096);
    cr_assert(lapse_is_ok(peer_hello_encode(&hello, &bytes)));
    peer_frame_header((uint32_t)bytes.len, header);
    rogue_write(rogue, header, sizeof header);
    rogue_write(rogue, bytes.data, bytes.len);
    buf_free(&bytes);
}

static void expect_turned_away(struct rogue *rogue, const char *message)
{
    RUN_UNTIL(rogue->closed && nodes[1].downs > 0);
    cr_expect_not_null(strstr(nodes[1].last_error.message, message), "%s", nodes[1].last_error.message);
    cr_expect_eq(nodes[1].frames, 0);
    buf_free(&rogue->received);
}

static const struct peer_hello good_hello = {
    .version = PEER_PROTOCOL_VERSION, .cluster = {(const uint8_t *)"lab-1", 5}, .node = 2, .instance = 99};

Test(peers, a_hello_with_an_id_that_the_certificate_does_not_bear_is_refused)
{
    struct rogue rogue;
    struct peer_hello hello = good_hello;
    start(1, "lab-1");
    rogue_connect(&rogue, "n2");
    hello.node = 3;
    rogue_hello(&rogue, hello);
    expect_turned_away(&rogue, "says it is node 3, but its certificate is node 2's");
}

Test(peers, another_protocol_version_is_refused)
{
    struct rogue rogue;
    struct peer_hello hello = good_hello;
    start(1, "lab-1");
    rogue_connect(&rogue, "n2");
    hello.version = 2;
    rogue_hello(&rogue, hello);
    expect_turned_away(&rogue, "version 2 of the peer protocol");
}

Test(peers, our_own_identity_dialling_us_is_refused)
{
    struct rogue rogue;
    struct peer_hello hello = good_hello;
    start(1, "lab-1");
    rogue_connect(&rogue, "n1");
    hello.node = 1;
    rogue_hello(&rogue, hello);
    expect_turned_away(&rogue, "two processes have its identity");
}

Test(peers, a_user_is_not_let_in)
{
    struct rogue rogue;
    start(1, "lab-1");
    rogue_connect(&rogue, "user");
    expect_turned_away(&rogue, "this port is for nodes only");
}

Test(peers, garbage_instead_of_a_hello_is_refused)
{
    struct rogue rogue;
    start(1, "lab-1");
    rogue_connect(&rogue, "n2");
    rogue_write(&rogue, "\0\0\0\5garbage", 11);
    expect_turned_away(&rogue, "Hello is malformed");
}

Test(peers, a_hello_that_is_too_long_is_refused_by_its_header)
{
    struct rogue rogue;
    start(1, "lab-1");
    rogue_connect(&rogue, "n2");
    rogue_write(&rogue, "\0\0\4\1", 4);
    expect_turned_away(&rogue, "a frame of 1025 bytes; at most 1024");
}

Test(peers, an_oversized_or_empty_frame_ends_the_link)
{
    struct rogue rogue;
    start(1, "lab-1");
    rogue_connect(&rogue, "n2");
    rogue_hello(&rogue, good_hello);
    RUN_UNTIL(peers_is_up(nodes[1].peers, 2, false));
    rogue_write(&rogue, "\0\x80\0\1", 4);
    expect_turned_away(&rogue, "a frame of 8388609 bytes");
    rogue_connect(&rogue, "n2");
    nodes[1].downs = 0;
    rogue_hello(&rogue, good_hello);
    RUN_UNTIL(peers_is_up(nodes[1].peers, 2, false));
    rogue_write(&rogue, "\0\0\0\0", 4);
    expect_turned_away(&rogue, "an empty frame");
}

Test(peers, the_same_process_dialling_anew_replaces_its_old_link)
{
    struct rogue first, second;
    start(1, "lab-1");
    rogue_connect(&first, "n2");
    rogue_hello(&first, good_hello);
    RUN_UNTIL(peers_is_up(nodes[1].peers, 2, false));
    rogue_connect(&second, "n2");
    rogue_hello(&second, good_hello);
    RUN_UNTIL(first.closed);
    cr_expect_not(second.closed);
    cr_expect(peers_is_up(nodes[1].peers, 2, false));
    cr_expect_eq(nodes[1].downs, 0);
    stream_close(second.stream, NULL);
    RUN_UNTIL(second.closed);
    buf_free(&first.received);
    buf_free(&second.received);
}

/* ---- reload ---- */

Test(peers, a_peer_denied_by_a_new_identity_loses_its_links)
{
    struct lapse_error error = {0};
    struct tls_identity *denying = NULL;
    struct tls_files files = fixture_files(dir, "n1");
    start(1, "lab-1");
    start(2, "lab-1");
    introduce(1, 2);
    RUN_UNTIL(linked(1, 2) && linked(2, 1));
    FILE *file = fopen(fixture_path(dir, "deny"), "w");
    cr_assert_not_null(file);
    (void)fputs("spiffe://example.org/lapse/node/2\n", file);
    (void)fclose(file);
    files.deny_list = fixture_path(dir, "deny");
    cr_assert(lapse_is_ok(tls_identity_load(&files, &denying, &error)));
    peers_set_identity(nodes[1].peers, denying);
    tls_identity_unref(denying);
    RUN_UNTIL(nodes[1].downs >= 2 && !peers_is_up(nodes[2].peers, 1, true));
    cr_expect_not(peers_is_up(nodes[1].peers, 2, false));
}

/* ---- the frame reader alone ---- */

static unsigned collected_count;
static struct buf collected;

static bool collect(void *arg, struct slice frame)
{
    (void)arg;
    collected_count++;
    cr_assert(lapse_is_ok(buf_append(&collected, frame.data, frame.len)));
    return true;
}

Test(peer_frame, frames_are_the_same_however_the_bytes_are_cut)
{
    static const uint8_t input[] = {0, 0, 0, 1, 'a', 0, 0, 0, 3, 'b', 'c', 'd', 0, 0, 0, 2, 'e', 'f'};
    for (size_t chunk = 1; chunk <= sizeof input; chunk++) {
        struct peer_frame_reader reader;
        struct lapse_error error;
        peer_frame_reader_init(&reader, 3);
        buf_init(&collected, 100);
        collected_count = 0;
        for (size_t at = 0; at < sizeof input; at += chunk) {
            size_t len = sizeof input - at < chunk ? sizeof input - at : chunk;
            cr_assert(lapse_is_ok(peer_frame_reader_feed(&reader, slice_of(input + at, len), collect, NULL, &error)));
        }
        cr_expect_eq(collected_count, 3);
        cr_expect(slice_equal(buf_slice(&collected), slice_str("abcdef")));
        cr_expect_eq(reader.partial.len, 0);
        buf_free(&collected);
        peer_frame_reader_free(&reader);
    }
}

Test(peer_frame, a_claimed_length_allocates_nothing)
{
    struct peer_frame_reader reader;
    struct lapse_error error;
    peer_frame_reader_init(&reader, LIMIT_PEER_FRAME);
    cr_assert(lapse_is_ok(
        peer_frame_reader_feed(&reader, slice_of((uint8_t[]){0, 0x80, 0, 0, 1}, 5), collect, NULL, &error)));
    cr_expect_leq(reader.partial.capacity, 64);
    peer_frame_reader_free(&reader);
}

Test(peer_frame, a_hello_survives_its_encoding_and_bad_ones_do_not)
{
    struct buf bytes;
    struct peer_hello hello = good_hello, read;
    struct lapse_error error;
    buf_init(&bytes, 4096);
    hello.refusal = slice_str("no");
    cr_assert(lapse_is_ok(peer_hello_encode(&hello, &bytes)));
    cr_assert(lapse_is_ok(peer_hello_decode(buf_slice(&bytes), &read, &error)));
    cr_expect(read.version == 1 && read.node == 2 && read.instance == 99);
    cr_expect(slice_equal(read.cluster, hello.cluster) && slice_equal(read.refusal, hello.refusal));
    for (size_t len = 0; len < bytes.len; len++)
        if (lapse_is_ok(peer_hello_decode(slice_of(bytes.data, len), &read, &error)))
            cr_expect_gt(len, 9, "cut to %zu bytes it is a Hello without a node", len);
    hello.cluster = slice_str("evil\ncluster");
    buf_clear(&bytes);
    cr_assert(lapse_is_ok(peer_hello_encode(&hello, &bytes)));
    cr_expect_not(lapse_is_ok(peer_hello_decode(buf_slice(&bytes), &read, &error)));
    buf_free(&bytes);
}
