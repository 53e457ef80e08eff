#include "tests/unit/tls_harness.h"

#include <arpa/inet.h>
#include <signal.h>

uv_loop_t loop;
char *dir;
struct tls_listener *listener;
struct end server; /* the last accepted */
unsigned accepted;
struct tls_options options;
bool refuse_all;
bool close_on_accept;

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
void send_more(struct end *end)
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

const struct stream_handler handler = {on_open, on_data, on_drain, on_close};

bool crowded;
unsigned crowd_opened, crowd_closed;

static void crowd_open(struct stream *stream, const struct stream_peer *peer)
{
    (void)stream, (void)peer;
    crowd_opened++;
}

static void crowd_close(struct stream *stream, const struct lapse_error *why)
{
    (void)stream, (void)why;
    crowd_closed++;
}

bool on_accept(void *arg, struct stream *stream, const char *address)
{
    (void)arg;
    cr_assert_not_null(strstr(address, "127.0.0.1:"));
    accepted++;
    if (refuse_all)
        return false;
    if (crowded) {
        stream_set_handler(stream, (struct stream_handler){.on_open = crowd_open, .on_close = crowd_close}, NULL);
        return true;
    }
    bool echo = server.echo, close_on_data = server.close_on_data, pause_on_data = server.pause_on_data;
    server =
        (struct end){.stream = stream, .echo = echo, .close_on_data = close_on_data, .pause_on_data = pause_on_data};
    stream_set_handler(stream, handler, &server);
    if (close_on_accept)
        stream_close(stream, NULL);
    return true;
}

void set_up(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    cr_assert_eq(uv_loop_init(&loop), 0);
    dir = fixture_authority("example.org");
    fixture_issue(dir, "lapse/node/1", "node");
    fixture_issue(dir, "user/dev1", "user");
    options = (struct tls_options){.alpn = ALPN};
}

void tear_down(void)
{
    if (listener != NULL)
        tls_listener_close(listener, NULL, NULL);
    listener = NULL;
    cr_assert_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    cr_assert_eq(uv_loop_close(&loop), 0);
    fixture_remove(dir);
}

void listen_as(const char *name, const char *deny_list)
{
    struct lapse_error error = {0};
    struct tls_identity *identity = NULL;
    struct tls_files files = fixture_files(dir, name);
    files.deny_list = deny_list;
    cr_assert(lapse_is_ok(tls_identity_load(&files, &identity, &error)), "%s", error.message);
    cr_assert(
        lapse_is_ok(tls_listen(&loop, "127.0.0.1", 0, TLS_PORT_ALONE, identity, &options, on_accept, NULL, &listener, &error)),
        "%s", error.message);
    tls_identity_unref(identity);
}

void connect_to(uint16_t port, const char *name, const char *expect, struct end *end)
{
    struct lapse_error error = {0};
    struct tls_identity *identity = fixture_identity(dir, name);
    cr_assert(lapse_is_ok(tls_connect(&loop, "127.0.0.1", port, expect, identity, &options, handler, end, &end->stream,
                                      &error)),
              "%s", error.message);
    cr_assert_not(end->opened || end->closed);
    tls_identity_unref(identity);
}

void connect_as(const char *name, const char *expect, struct end *end)
{
    connect_to(tls_listener_port(listener), name, expect, end);
}

void close_both(struct end *client)
{
    if (client->stream != NULL)
        stream_close(client->stream, NULL);
    RUN_UNTIL(client->closed && server.closed);
}

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

void raw_start(struct raw *raw)
{
    CHECK(pthread_mutex_init(&raw->lock, NULL) == 0);
    if (raw->hold)
        (void)pthread_mutex_lock(&raw->lock);
    CHECK(pthread_create(&raw->thread, NULL, raw_main, raw) == 0);
}

void raw_release(struct raw *raw)
{
    if (raw->hold)
        (void)pthread_mutex_unlock(&raw->lock);
    raw->hold = false;
}

void raw_join(struct raw *raw)
{
    raw_release(raw);
    CHECK(pthread_join(raw->thread, NULL) == 0);
    CHECK(pthread_mutex_destroy(&raw->lock) == 0);
}
