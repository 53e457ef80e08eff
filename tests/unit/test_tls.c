/* TLS streams over real sockets on a real loop. Good peers are streams of ours; bad ones are plain OpenSSL in a thread,
 * since our own side can't be made to misbehave. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/tls_internal.h"
#include "tests/unit/tls_fixture.h"

#define ALPN "lapse-test/1"

/* One end of a connection and all that happened to it. */
struct end {
    struct stream *stream;
    bool opened, closed;
    struct stream_peer peer;
    struct lapse_error why;
    size_t received, data_calls, drains;
    uint64_t sum; /* order-sensitive */
    bool echo, close_on_data, pause_on_data;
    size_t to_send;
};

static uv_loop_t loop;
static char *dir;
static struct tls_listener *listener;
static struct end server; /* the last accepted */
static unsigned accepted;
static struct tls_options options;
static bool refuse_all;
static bool close_on_accept;

static uint64_t mix(uint64_t sum, struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        sum = sum * 31 + bytes.data[i];
    return sum;
}

static void on_open(struct stream *stream, const struct stream_peer *peer)
{
    struct end *end = stream->owner;
    cr_assert_not(end->opened);
    end->opened = true;
    end->peer = *peer;
}

static void on_data(struct stream *stream, struct slice bytes)
{
    struct end *end = stream->owner;
    end->received += bytes.len;
    end->data_calls++;
    end->sum = mix(end->sum, bytes);
    if (end->echo) {
        cr_assert(lapse_is_ok(stream_write(stream, bytes)));
        if (stream_pending(stream) >= LIMIT_STREAM_LOW_WATER)
            stream_pause_reading(stream, true);
    }
    if (end->pause_on_data)
        stream_pause_reading(stream, true);
    if (end->close_on_data)
        stream_close(stream, NULL);
}

/* Writes what is left until the stream has enough. */
static void send_more(struct end *end)
{
    static uint8_t block[50000];
    while (end->to_send > 0 && stream_pending(end->stream) < LIMIT_STREAM_LOW_WATER) {
        size_t len = end->to_send < sizeof block ? end->to_send : sizeof block;
        for (size_t i = 0; i < len; i++)
            block[i] = (uint8_t)((end->to_send - i) % 251);
        cr_assert(lapse_is_ok(stream_write(end->stream, slice_of(block, len))));
        end->to_send -= len;
    }
}

static void on_drain(struct stream *stream)
{
    struct end *end = stream->owner;
    end->drains++;
    if (end->echo)
        stream_pause_reading(stream, false);
    send_more(end);
}

static void on_close(struct stream *stream, const struct lapse_error *why)
{
    struct end *end = stream->owner;
    cr_assert_not(end->closed);
    end->closed = true;
    end->why = *why;
    end->stream = NULL;
}

static const struct stream_handler handler = {on_open, on_data, on_drain, on_close};

static bool on_accept(void *arg, struct stream *stream, const char *address)
{
    (void)arg;
    cr_assert_not_null(strstr(address, "127.0.0.1:"));
    accepted++;
    if (refuse_all)
        return false;
    bool echo = server.echo, close_on_data = server.close_on_data, pause_on_data = server.pause_on_data;
    server =
        (struct end){.stream = stream, .echo = echo, .close_on_data = close_on_data, .pause_on_data = pause_on_data};
    stream_set_handler(stream, handler, &server);
    if (close_on_accept)
        stream_close(stream, NULL);
    return true;
}

static void set_up(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    cr_assert_eq(uv_loop_init(&loop), 0);
    dir = fixture_authority("example.org");
    fixture_issue(dir, "lapse/node/1", "node");
    fixture_issue(dir, "user/dev1", "user");
    options = (struct tls_options){.alpn = ALPN};
}

static void tear_down(void)
{
    if (listener != NULL)
        tls_listener_close(listener, NULL, NULL);
    listener = NULL;
    cr_assert_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    cr_assert_eq(uv_loop_close(&loop), 0);
    fixture_remove(dir);
}

TestSuite(tls, .init = set_up, .fini = tear_down);

static void listen_as(const char *name, const char *deny_list)
{
    struct lapse_error error = {0};
    struct tls_identity *identity = NULL;
    struct tls_files files = fixture_files(dir, name);
    files.deny_list = deny_list;
    cr_assert(lapse_is_ok(tls_identity_load(&files, &identity, &error)), "%s", error.message);
    cr_assert(
        lapse_is_ok(tls_listen(&loop, "127.0.0.1", 0, false, identity, &options, on_accept, NULL, &listener, &error)),
        "%s", error.message);
    tls_identity_unref(identity);
}

static void connect_to(uint16_t port, const char *name, const char *expect, struct end *end)
{
    struct lapse_error error = {0};
    struct tls_identity *identity = fixture_identity(dir, name);
    cr_assert(lapse_is_ok(tls_connect(&loop, "127.0.0.1", port, expect, identity, &options, handler, end, &end->stream,
                                      &error)),
              "%s", error.message);
    cr_assert_not(end->opened || end->closed);
    tls_identity_unref(identity);
}

static void connect_as(const char *name, const char *expect, struct end *end)
{
    connect_to(tls_listener_port(listener), name, expect, end);
}

#define RUN_UNTIL(condition)                                                                                           \
    while (!(condition))                                                                                               \
    (void)uv_run(&loop, UV_RUN_ONCE)

static void close_both(struct end *client)
{
    if (client->stream != NULL)
        stream_close(client->stream, NULL);
    RUN_UNTIL(client->closed && server.closed);
}

/* ---- a peer that is not ours ---- */

struct raw {
    const char *certificate; /* base name below dir; NULL: shows none */
    const char *alpn;        /* NULL: offers none */
    int version;             /* 0: TLS 1.3 */
    unsigned key_updates;
    bool hold; /* keeps the connection, reading nothing, until released */
    uint16_t port;
    int socket; /* a listening one: acts as the server */
    bool shook_hands;
    pthread_t thread;
    pthread_mutex_t lock;
};

static int raw_select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                           unsigned in_len, void *arg)
{
    (void)ssl, (void)in_len, (void)arg;
    *out = in + 1;
    *out_len = in[0];
    return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *raw_context(const struct raw *raw)
{
    SSL_CTX *context = SSL_CTX_new(TLS_method());
    if (raw->version != 0)
        CHECK(SSL_CTX_set_max_proto_version(context, raw->version) == 1);
    if (raw->certificate != NULL) {
        char path[300];
        (void)snprintf(path, sizeof path, "%s/%s.pem", dir, raw->certificate);
        CHECK(SSL_CTX_use_certificate_file(context, path, SSL_FILETYPE_PEM) == 1);
        (void)snprintf(path, sizeof path, "%s/%s.key", dir, raw->certificate);
        CHECK(SSL_CTX_use_PrivateKey_file(context, path, SSL_FILETYPE_PEM) == 1);
    }
    SSL_CTX_set_alpn_select_cb(context, raw_select_alpn, NULL);
    return context;
}

static int raw_socket(const struct raw *raw)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(raw->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (raw->socket >= 0)
        return accept(raw->socket, NULL, NULL);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    return fd;
}

static void raw_talk(struct raw *raw, SSL *ssl)
{
    char byte = 'x';
    raw->shook_hands = (raw->socket >= 0 ? SSL_accept(ssl) : SSL_connect(ssl)) == 1;
    if (!raw->shook_hands)
        return;
    (void)SSL_write(ssl, &byte, 1);
    for (unsigned i = 0; i < raw->key_updates; i++)
        if (SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED) != 1 || SSL_do_handshake(ssl) != 1)
            break;
    (void)pthread_mutex_lock(&raw->lock); /* held by the test while `hold` */
    while (SSL_read(ssl, &byte, 1) > 0)
        ;
    (void)pthread_mutex_unlock(&raw->lock);
}

static void *raw_main(void *arg)
{
    struct raw *raw = arg;
    SSL_CTX *context = raw_context(raw);
    SSL *ssl = SSL_new(context);
    int fd = raw_socket(raw);
    if (raw->alpn != NULL) {
        unsigned char wire[64];
        wire[0] = (unsigned char)strlen(raw->alpn);
        memcpy(wire + 1, raw->alpn, wire[0]);
        CHECK(SSL_set_alpn_protos(ssl, wire, wire[0] + 1u) == 0);
    }
    CHECK(SSL_set_fd(ssl, fd) == 1);
    raw_talk(raw, ssl);
    SSL_free(ssl);
    SSL_CTX_free(context);
    (void)close(fd);
    return NULL;
}

static void raw_start(struct raw *raw)
{
    CHECK(pthread_mutex_init(&raw->lock, NULL) == 0);
    if (raw->hold)
        (void)pthread_mutex_lock(&raw->lock);
    CHECK(pthread_create(&raw->thread, NULL, raw_main, raw) == 0);
}

static void raw_release(struct raw *raw)
{
    if (raw->hold)
        (void)pthread_mutex_unlock(&raw->lock);
    raw->hold = false;
}

static void raw_join(struct raw *raw)
{
    raw_release(raw);
    CHECK(pthread_join(raw->thread, NULL) == 0);
    CHECK(pthread_mutex_destroy(&raw->lock) == 0);
}

/* A raw client with `certificate` comes to our server, which ends it: how? */
static void refuse_client(struct raw raw, enum lapse_code code, const char *message)
{
    raw.socket = -1;
    raw.port = tls_listener_port(listener);
    raw_start(&raw);
    RUN_UNTIL(server.closed);
    raw_join(&raw);
    cr_expect_eq(server.why.code, code, "%s: %s", lapse_code_name(server.why.code), server.why.message);
    cr_expect_not_null(strstr(server.why.message, message), "%s", server.why.message);
    cr_expect_not_null(strstr(server.why.message, "127.0.0.1:"), "names no address: %s", server.why.message);
    cr_expect_eq(server.received, 0);
}

static void refuse_crafted(struct fixture_leaf leaf, const char *message)
{
    listen_as("node", NULL);
    fixture_craft(dir, "crafted", &leaf);
    refuse_client((struct raw){.certificate = "crafted", .alpn = ALPN}, LAPSE_UNAUTHENTICATED, message);
    cr_expect_not(server.opened);
}

/* ---- handshakes ---- */

Test(tls, two_sides_of_one_domain_meet_and_know_each_other)
{
    struct end client = {0};
    listen_as("node", NULL);
    connect_as("user", "spiffe://example.org/lapse/node/1", &client);
    RUN_UNTIL(client.opened && server.opened);
    cr_expect_str_eq(client.peer.principal, "spiffe://example.org/lapse/node/1");
    cr_expect_str_eq(server.peer.principal, "spiffe://example.org/user/dev1");
    cr_expect_not_null(strstr(server.peer.address, "127.0.0.1:"));
    cr_expect_str_eq(SSL_get_version(((struct tls_stream *)server.stream)->ssl), "TLSv1.3");
    close_both(&client);
    cr_expect_eq(client.why.code, LAPSE_OK);
    cr_expect_eq(server.why.code, LAPSE_UNAVAILABLE);
}

Test(tls, a_name_is_resolved_and_its_addresses_tried_in_turn)
{
    struct end client = {0};
    struct lapse_error error = {0};
    struct tls_identity *identity = fixture_identity(dir, "user");
    listen_as("node", NULL); /* on 127.0.0.1 only; "localhost" may mean ::1 first */
    cr_assert(lapse_is_ok(tls_connect(&loop, "localhost", tls_listener_port(listener), NULL, identity, &options,
                                      handler, &client, &client.stream, &error)));
    tls_identity_unref(identity);
    RUN_UNTIL((client.opened && server.opened) || client.closed);
    cr_assert(client.opened, "%s", client.why.message);
    close_both(&client);
}

Test(tls, a_port_where_nobody_listens_is_unavailable)
{
    struct end client = {0};
    listen_as("node", NULL);
    uint16_t port = tls_listener_port(listener);
    tls_listener_close(listener, NULL, NULL);
    listener = NULL;
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    connect_to(port, "user", NULL, &client);
    RUN_UNTIL(client.closed);
    cr_expect_eq(client.why.code, LAPSE_UNAVAILABLE);
    cr_expect_not_null(strstr(client.why.message, "connection refused"), "%s", client.why.message);
}

Test(tls, a_client_without_a_certificate_is_refused)
{
    listen_as("node", NULL);
    refuse_client((struct raw){.alpn = ALPN}, LAPSE_UNAUTHENTICATED, "showed no certificate");
}

Test(tls, a_client_of_another_authority_is_refused)
{
    char *mine = dir;
    listen_as("node", NULL);
    dir = fixture_authority("example.org");
    fixture_issue(dir, "user/dev1", "user");
    refuse_client((struct raw){.certificate = "user", .alpn = ALPN}, LAPSE_UNAUTHENTICATED,
                  "signed by an authority this side doesn't trust: compare ca.pem on both sides");
    fixture_remove(dir);
    dir = mine;
}

Test(tls, an_expired_client_is_refused)
{
    refuse_crafted((struct fixture_leaf){.names = "URI:spiffe://example.org/user/a", .from_s = -7200, .until_s = -60},
                   "has expired");
}

Test(tls, a_client_from_the_future_is_refused)
{
    refuse_crafted((struct fixture_leaf){.names = "URI:spiffe://example.org/user/a", .from_s = 3600, .until_s = 7200},
                   "not valid yet");
}

Test(tls, a_client_with_two_uri_names_is_refused)
{
    refuse_crafted((struct fixture_leaf){.names = "URI:spiffe://example.org/user/a,URI:spiffe://example.org/user/b"},
                   "has 2 URI names");
}

Test(tls, a_client_without_a_uri_name_is_refused)
{
    refuse_crafted((struct fixture_leaf){.names = "DNS:a.example.org"}, "has 0 URI names");
}

Test(tls, a_client_whose_name_is_no_spiffe_id_is_refused)
{
    refuse_crafted((struct fixture_leaf){.names = "URI:spiffe://example.org/user/../lapse"}, "no SPIFFE ID");
}

Test(tls, a_client_of_a_foreign_trust_domain_is_refused)
{
    refuse_crafted((struct fixture_leaf){.names = "URI:spiffe://example.org.evil.org/user/a"},
                   "not of the trust domain example.org");
}

Test(tls, an_authority_posing_as_a_client_is_refused)
{
    refuse_crafted((struct fixture_leaf){.names = "URI:spiffe://example.org/user/a", .constraints = "critical,CA:TRUE"},
                   "needs a leaf");
}

Test(tls, a_server_only_certificate_is_no_client)
{
    refuse_crafted((struct fixture_leaf){.names = "URI:spiffe://example.org/user/a", .usage = "serverAuth"},
                   "not made for this use");
}

Test(tls, a_certificate_without_extended_key_usage_is_no_client)
{
    refuse_crafted((struct fixture_leaf){.names = "URI:spiffe://example.org/user/a", .usage = ""}, "lacks clientAuth");
}

Test(tls, a_tls_1_2_client_is_refused)
{
    listen_as("node", NULL);
    refuse_client((struct raw){.certificate = "user", .alpn = ALPN, .version = TLS1_2_VERSION}, LAPSE_UNAUTHENTICATED,
                  "does not speak TLS 1.3");
}

Test(tls, a_client_of_another_protocol_is_refused)
{
    listen_as("node", NULL);
    refuse_client((struct raw){.certificate = "user", .alpn = "h3"}, LAPSE_UNAUTHENTICATED, "ALPN");
}

Test(tls, a_client_that_names_no_protocol_is_refused)
{
    listen_as("node", NULL);
    refuse_client((struct raw){.certificate = "user"}, LAPSE_UNAUTHENTICATED, "ALPN");
    cr_expect_not(server.opened);
}

static void print_of(const char *name, char out[65])
{
    uint8_t digest[32];
    unsigned len = 0;
    X509 *leaf = fixture_read_certificate(fixture_path(dir, name));
    cr_assert_eq(X509_digest(leaf, EVP_sha256(), digest, &len), 1);
    X509_free(leaf);
    for (size_t i = 0; i < 32; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

static const char *write_deny_list(const char *word)
{
    const char *path = fixture_path(dir, "deny");
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    (void)fprintf(file, "# left the team\nspiffe://example.org/user/zoe\n\n  %s  # why\n", word);
    (void)fclose(file);
    return path;
}

Test(tls, a_denied_thumbprint_is_refused)
{
    char print[65];
    print_of("user.pem", print);
    listen_as("node", write_deny_list(print));
    refuse_client((struct raw){.certificate = "user", .alpn = ALPN}, LAPSE_UNAUTHENTICATED, "on the deny list");
}

Test(tls, a_denied_principal_is_refused)
{
    listen_as("node", write_deny_list("spiffe://example.org/user/dev1"));
    refuse_client((struct raw){.certificate = "user", .alpn = ALPN}, LAPSE_UNAUTHENTICATED, "on the deny list");
}

static void send_plain(const char *text)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(tls_listener_port(listener))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    RUN_UNTIL(server.closed);
    (void)close(fd);
}

Test(tls, plain_text_is_refused)
{
    listen_as("node", NULL);
    send_plain("GET / HTTP/1.1\r\n\r\n");
    cr_expect_eq(server.why.code, LAPSE_UNAUTHENTICATED);
    cr_expect_not_null(strstr(server.why.message, "plain HTTP"), "%s", server.why.message);
    server.closed = false;
    send_plain("\x01\x02garbage garbage garbage garbage garbage");
    cr_expect_eq(server.why.code, LAPSE_UNAUTHENTICATED);
}

Test(tls, a_silent_client_is_cut_off_by_the_handshake_timeout)
{
    options.handshake_timeout_ms = 50;
    listen_as("node", NULL);
    send_plain("");
    cr_expect_eq(server.why.code, LAPSE_DEADLINE_EXCEEDED);
}

/* ---- what a client checks of its server ---- */

static uint16_t raw_serve(struct raw *raw)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    raw->socket = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(raw->socket, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(raw->socket, 4), 0);
    cr_assert_eq(getsockname(raw->socket, (struct sockaddr *)&address, &len), 0);
    raw_start(raw);
    return ntohs(address.sin_port);
}

static void refuse_server(struct fixture_leaf leaf, const char *expect, const char *message)
{
    struct end client = {0};
    struct raw raw = {.certificate = "crafted"};
    fixture_craft(dir, "crafted", &leaf);
    connect_to(raw_serve(&raw), "user", expect, &client);
    RUN_UNTIL(client.closed);
    raw_join(&raw);
    (void)close(raw.socket);
    cr_expect_not(client.opened);
    cr_expect_eq(client.why.code, LAPSE_UNAUTHENTICATED);
    cr_expect_not_null(strstr(client.why.message, message), "%s", client.why.message);
}

Test(tls, a_server_that_is_not_the_expected_one_is_refused)
{
    refuse_server((struct fixture_leaf){.names = "URI:spiffe://example.org/lapse/node/2"},
                  "spiffe://example.org/lapse/node/1", "is spiffe://example.org/lapse/node/2, not");
}

Test(tls, a_server_with_a_longer_name_than_expected_is_refused)
{
    refuse_server((struct fixture_leaf){.names = "URI:spiffe://example.org/lapse/node/11"},
                  "spiffe://example.org/lapse/node/1", "not spiffe://example.org/lapse/node/1");
}

Test(tls, a_server_outside_of_the_expected_prefix_is_refused)
{
    refuse_server((struct fixture_leaf){.names = "URI:spiffe://example.org/lapse/other/1"},
                  "spiffe://example.org/lapse/node/*", "not spiffe://example.org/lapse/node/*");
}

Test(tls, a_user_posing_as_a_node_is_refused)
{
    refuse_server((struct fixture_leaf){.names = "URI:spiffe://example.org/user/dev1"}, NULL, "not a Lapse node");
}

Test(tls, a_client_only_certificate_is_no_server)
{
    refuse_server((struct fixture_leaf){.names = "URI:spiffe://example.org/lapse/node/1", .usage = "clientAuth"}, NULL,
                  "not made for this use");
}

Test(tls, an_expired_server_is_refused)
{
    refuse_server((struct fixture_leaf){.names = "URI:spiffe://example.org/lapse/node/1", .from_s = -9, .until_s = -5},
                  NULL, "has expired");
}

Test(tls, a_refused_client_learns_why)
{
    struct end client = {0};
    listen_as("node", write_deny_list("spiffe://example.org/user/dev1"));
    connect_as("user", NULL, &client);
    RUN_UNTIL(client.closed && server.closed);
    cr_expect_eq(client.why.code, LAPSE_UNAUTHENTICATED);
    cr_expect_not_null(strstr(client.why.message, "its log says why"), "%s", client.why.message);
}

/* ---- bytes ---- */

Test(tls, fifty_megabytes_are_echoed_under_backpressure)
{
    struct end client = {.to_send = 50u << 20};
    uint64_t sum = 0;
    for (size_t left = client.to_send; left > 0; left--) {
        /* as send_more fills its blocks */
        uint8_t byte = (uint8_t)(left % 251);
        sum = sum * 31 + byte;
    }
    server.echo = true;
    listen_as("node", NULL);
    connect_as("user", NULL, &client);
    RUN_UNTIL(client.opened);
    send_more(&client);
    size_t most = 0;
    while (client.received < 50u << 20) {
        (void)uv_run(&loop, UV_RUN_ONCE);
        cr_assert_not(client.closed, "%s", client.why.message);
        size_t pending = server.stream == NULL ? 0 : stream_pending(server.stream);
        most = pending > most ? pending : most;
    }
    cr_expect_eq(client.sum, sum);
    cr_expect_gt(client.drains, 10);
    cr_expect_lt(most, 1u << 20, "the echo queued %zu bytes", most);
    close_both(&client);
}

Test(tls, many_small_writes_of_one_turn_leave_as_one_record)
{
    struct end client = {0};
    listen_as("node", NULL);
    connect_as("user", NULL, &client);
    RUN_UNTIL(client.opened && server.opened);
    for (int i = 0; i < 1000; i++)
        cr_assert(lapse_is_ok(stream_write(client.stream, slice_str("0123456789"))));
    RUN_UNTIL(server.received == 10000);
    cr_expect_eq(server.data_calls, 1);
    close_both(&client);
}

static void on_late_timer(uv_timer_t *timer)
{
    struct end *client = timer->data;
    cr_assert(lapse_is_ok(stream_write(client->stream, slice_str("from a timer"))));
}

static uint64_t polls_to_arrive(void)
{
    /* No timers are due soon and no sockets are busy: a write that waited for the next event would wait for ever. */
    uint64_t turns = 0;
    for (size_t before = server.received; server.received == before; turns++)
        (void)uv_run(&loop, UV_RUN_ONCE);
    return turns;
}

Test(tls, a_write_is_flushed_from_wherever_it_was_made)
{
    struct end client = {0};
    uv_timer_t timer;
    listen_as("node", NULL);
    connect_as("user", NULL, &client);
    RUN_UNTIL(client.opened && server.opened);
    cr_assert(lapse_is_ok(stream_write(client.stream, slice_str("outside of the loop"))));
    cr_expect_leq(polls_to_arrive(), 3);
    cr_assert_eq(uv_timer_init(&loop, &timer), 0);
    timer.data = &client;
    cr_assert_eq(uv_timer_start(&timer, on_late_timer, 1, 0), 0);
    cr_expect_leq(polls_to_arrive(), 4);
    uv_close((uv_handle_t *)&timer, NULL);
    close_both(&client);
}

Test(tls, what_was_queued_before_an_orderly_close_arrives)
{
    struct end client = {0};
    static uint8_t block[3u << 20];
    listen_as("node", NULL);
    connect_as("user", NULL, &client);
    RUN_UNTIL(client.opened && server.opened);
    /* The other side has sent bytes that are never read: a plain close would reset the connection. */
    cr_assert(lapse_is_ok(stream_write(server.stream, slice_str("unread"))));
    cr_assert(lapse_is_ok(stream_write(client.stream, slice_of(block, sizeof block))));
    stream_close(client.stream, NULL);
    stream_close(client.stream, NULL);
    cr_expect_eq(stream_write(client.stream, slice_str("late")).code, LAPSE_FAILED_PRECONDITION);
    RUN_UNTIL(client.closed && server.closed);
    cr_expect_eq(server.received, sizeof block);
    cr_expect_eq(client.received, 0);
    cr_expect_eq(client.why.code, LAPSE_OK, "%s", client.why.message);
}

Test(tls, an_error_close_drops_what_was_queued)
{
    struct end client = {0};
    struct lapse_error why;
    static uint8_t block[3u << 20];
    listen_as("node", NULL);
    connect_as("user", NULL, &client);
    RUN_UNTIL(client.opened && server.opened);
    cr_assert(lapse_is_ok(stream_write(client.stream, slice_of(block, sizeof block))));
    (void)lapse_fail(&why, LAPSE_ABORTED, "changed its mind");
    stream_close(client.stream, &why);
    RUN_UNTIL(client.closed && server.closed);
    cr_expect_eq(server.received, 0);
    cr_expect_eq(client.why.code, LAPSE_ABORTED);
    cr_expect_str_eq(client.why.message, "changed its mind");
}

Test(tls, a_full_stream_refuses_a_write_and_queues_nothing)
{
    struct end client = {0};
    static uint8_t block[60000];
    options.send_max = 100000;
    listen_as("node", NULL);
    connect_as("user", NULL, &client);
    RUN_UNTIL(client.opened && server.opened);
    cr_assert(lapse_is_ok(stream_write(client.stream, slice_of(block, sizeof block))));
    cr_expect_eq(stream_write(client.stream, slice_of(block, sizeof block)).code, LAPSE_RESOURCE_EXHAUSTED);
    cr_expect_eq(stream_pending(client.stream), sizeof block);
    RUN_UNTIL(server.received == sizeof block);
    close_both(&client);
}

Test(tls, a_paused_stream_delivers_nothing_until_resumed)
{
    struct end client = {0};
    static uint8_t block[40000];
    server.pause_on_data = true;
    listen_as("node", NULL);
    connect_as("user", NULL, &client);
    RUN_UNTIL(client.opened && server.opened);
    cr_assert(lapse_is_ok(stream_write(client.stream, slice_of(block, sizeof block))));
    RUN_UNTIL(server.received > 0);
    for (int i = 0; i < 20; i++)
        (void)uv_run(&loop, UV_RUN_NOWAIT);
    cr_expect_eq(server.data_calls, 1);
    server.pause_on_data = false;
    stream_pause_reading(server.stream, false);
    cr_expect_eq(server.data_calls, 1, "no callback on the caller's stack");
    RUN_UNTIL(server.received == sizeof block);
    close_both(&client);
}

/* ---- ends ---- */

Test(tls, a_close_during_the_handshake_calls_back_once)
{
    struct end client = {0};
    listen_as("node", NULL);
    connect_as("user", NULL, &client);
    while (accepted == 0)
        (void)uv_run(&loop, UV_RUN_ONCE);
    stream_close(client.stream, NULL);
    cr_expect_not(client.closed);
    RUN_UNTIL(client.closed && server.closed);
    cr_expect_eq(client.why.code, LAPSE_OK);
}

Test(tls, a_close_while_resolving_calls_back_once)
{
    struct end client = {0};
    struct lapse_error error = {0};
    struct tls_identity *identity = fixture_identity(dir, "user");
    cr_assert(lapse_is_ok(
        tls_connect(&loop, "localhost", 1, NULL, identity, &options, handler, &client, &client.stream, &error)));
    tls_identity_unref(identity);
    stream_close(client.stream, NULL);
    RUN_UNTIL(client.closed);
    cr_expect_eq(client.why.code, LAPSE_OK);
}

Test(tls, an_owner_may_close_in_the_accept_callback_or_refuse)
{
    struct end first = {0}, second = {0};
    close_on_accept = true;
    listen_as("node", NULL);
    connect_as("user", NULL, &first);
    RUN_UNTIL(first.closed && server.closed);
    cr_expect_eq(first.why.code, LAPSE_UNAVAILABLE);
    server.closed = false;
    refuse_all = true;
    connect_as("user", NULL, &second);
    RUN_UNTIL(second.closed);
    cr_expect_eq(second.why.code, LAPSE_UNAVAILABLE);
    cr_expect_not(server.closed);
}

Test(tls, an_owner_may_close_from_on_data)
{
    struct end client = {0};
    server.close_on_data = true;
    listen_as("node", NULL);
    connect_as("user", NULL, &client);
    RUN_UNTIL(client.opened);
    client.to_send = 60000;
    send_more(&client);
    RUN_UNTIL(client.closed && server.closed);
    cr_expect_eq(server.data_calls, 1);
    cr_expect_eq(server.why.code, LAPSE_OK);
}

Test(tls, a_peer_that_reads_nothing_is_cut_off)
{
    struct raw raw = {.certificate = "user", .alpn = ALPN, .hold = true, .socket = -1};
    static uint8_t block[1u << 20];
    options.stall_timeout_ms = 200;
    options.send_max = 64u << 20;
    listen_as("node", NULL);
    raw.port = tls_listener_port(listener);
    raw_start(&raw);
    RUN_UNTIL(server.opened);
    for (int i = 0; i < 32; i++)
        cr_assert(lapse_is_ok(stream_write(server.stream, slice_of(block, sizeof block))));
    RUN_UNTIL(server.closed);
    raw_join(&raw);
    /* Our own check or the kernel's TCP_USER_TIMEOUT, whichever looks first. */
    cr_expect(server.why.code == LAPSE_DEADLINE_EXCEEDED || strstr(server.why.message, "timed out") != NULL, "%s",
              server.why.message);
}

Test(tls, a_flood_of_key_updates_ends_the_stream)
{
    struct raw raw = {.certificate = "user", .alpn = ALPN, .key_updates = 2000, .socket = -1};
    listen_as("node", NULL);
    raw.port = tls_listener_port(listener);
    raw_start(&raw);
    RUN_UNTIL(server.closed);
    raw_join(&raw);
    cr_expect_eq(server.why.code, LAPSE_RESOURCE_EXHAUSTED, "%s", server.why.message);
}

Test(tls, a_few_key_updates_are_fine)
{
    struct raw raw = {.certificate = "user", .alpn = ALPN, .key_updates = 20, .socket = -1, .hold = true};
    server.echo = true;
    listen_as("node", NULL);
    raw.port = tls_listener_port(listener);
    raw_start(&raw);
    RUN_UNTIL(server.received == 1);
    for (int i = 0; i < 50; i++) {
        (void)uv_run(&loop, UV_RUN_NOWAIT);
        (void)usleep(1000);
    }
    cr_assert_not(server.closed, "%s", server.why.message);
    stream_close(server.stream, NULL);
    raw_release(&raw);
    RUN_UNTIL(server.closed);
    raw_join(&raw);
}

Test(tls, a_certificate_that_expires_ends_its_open_stream)
{
    struct end client = {0};
    listen_as("node", NULL);
    fixture_craft(dir, "short",
                  &(struct fixture_leaf){.names = "URI:spiffe://example.org/user/a", .from_s = -60, .until_s = 2});
    connect_as("short", NULL, &client);
    RUN_UNTIL(client.opened && server.opened);
    RUN_UNTIL(client.closed && server.closed);
    cr_expect_eq(server.why.code, LAPSE_UNAUTHENTICATED);
    cr_expect_not_null(strstr(server.why.message, "has expired"), "%s", server.why.message);
}

/* ---- reload ---- */

static struct tls_identity *denying_identity(const char *word)
{
    struct lapse_error error = {0};
    struct tls_identity *identity = NULL;
    struct tls_files files = fixture_files(dir, "node");
    files.deny_list = write_deny_list(word);
    cr_assert(lapse_is_ok(tls_identity_load(&files, &identity, &error)), "%s", error.message);
    return identity;
}

Test(tls, a_reloaded_identity_finds_old_streams_invalid_and_refuses_new_ones)
{
    struct end first = {0}, second = {0};
    listen_as("node", NULL);
    connect_as("user", NULL, &first);
    RUN_UNTIL(first.opened && server.opened);
    struct tls_identity *harmless = denying_identity("spiffe://example.org/user/other");
    cr_expect(tls_stream_still_valid(server.stream, harmless));
    tls_identity_unref(harmless);

    struct tls_identity *denying = denying_identity("spiffe://example.org/user/dev1");
    tls_listener_set_identity(listener, denying);
    cr_expect_not(tls_stream_still_valid(server.stream, denying));
    tls_identity_unref(denying);
    stream_close(server.stream, NULL);
    RUN_UNTIL(first.closed && server.closed);
    connect_as("user", NULL, &second);
    RUN_UNTIL(second.closed && server.closed);
    cr_expect_eq(second.why.code, LAPSE_UNAUTHENTICATED);
}

Test(tls, a_withdrawn_authority_makes_old_streams_invalid)
{
    struct end client = {0};
    char *other = fixture_authority("example.org");
    listen_as("node", NULL);
    fixture_issue(other, "lapse/node/1", "node");
    connect_as("user", NULL, &client);
    RUN_UNTIL(client.opened && server.opened);
    struct tls_identity *identity = fixture_identity(other, "node");
    cr_expect_not(tls_stream_still_valid(server.stream, identity));
    tls_identity_unref(identity);
    fixture_remove(other);
    close_both(&client);
}

/* ---- files ---- */

static void refuse_files(struct tls_files files, const char *message)
{
    struct tls_identity *identity = NULL;
    struct lapse_error error = {0};
    cr_expect_not(lapse_is_ok(tls_identity_load(&files, &identity, &error)));
    cr_expect_null(identity);
    cr_expect_not_null(strstr(error.message, message), "%s", error.message);
}

Test(tls, an_identity_knows_its_principal_and_domain)
{
    struct tls_identity *identity = fixture_identity(dir, "user");
    cr_expect_str_eq(tls_identity_principal(identity), "spiffe://example.org/user/dev1");
    cr_expect_str_eq(tls_identity_domain(identity), "example.org");
    tls_identity_unref(identity);
    tls_identity_unref(NULL);
}

Test(tls, a_key_that_others_can_read_is_refused)
{
    cr_assert_eq(chmod(fixture_path(dir, "user.key"), 0644), 0);
    refuse_files(fixture_files(dir, "user"), "chmod 600");
}

Test(tls, unusable_files_are_refused_by_name)
{
    struct tls_files files = fixture_files(dir, "user");
    files.key = fixture_path(dir, "node.key");
    refuse_files(files, "does not belong to the certificate");
    refuse_files(fixture_files(dir, "nobody"), "nobody.pem");
    files = fixture_files(dir, "user");
    files.authorities = fixture_path(dir, "user.key");
    refuse_files(files, "no PEM certificate of an authority");
    files = fixture_files(dir, "user");
    files.certificate = fixture_path(dir, "ca.pem");
    refuse_files(files, "needs a leaf");
    files = fixture_files(dir, "user");
    files.deny_list = write_deny_list("DEADBEEF");
    refuse_files(files, "deny:4");
    fixture_craft(dir, "old",
                  &(struct fixture_leaf){.names = "URI:spiffe://example.org/user/a", .from_s = -9, .until_s = -5});
    refuse_files(fixture_files(dir, "old"), "has expired");
}

Test(tls, a_taken_port_is_an_error_and_a_shared_one_is_not)
{
    struct lapse_error error = {0};
    struct tls_listener *second = NULL;
    struct tls_identity *identity = fixture_identity(dir, "node");
    listen_as("node", NULL);
    uint16_t port = tls_listener_port(listener);
    cr_expect_eq(tls_listen(&loop, "127.0.0.1", port, false, identity, &options, on_accept, NULL, &second, &error).code,
                 LAPSE_UNAVAILABLE);
    cr_expect_not_null(strstr(error.message, "address already in use"), "%s", error.message);
    tls_listener_close(listener, NULL, NULL);
    cr_assert(
        lapse_is_ok(tls_listen(&loop, "127.0.0.1", 0, true, identity, &options, on_accept, NULL, &listener, &error)));
    port = tls_listener_port(listener);
    cr_assert(
        lapse_is_ok(tls_listen(&loop, "127.0.0.1", port, true, identity, &options, on_accept, NULL, &second, &error)));
    tls_listener_close(second, NULL, NULL);
    tls_identity_unref(identity);
}
