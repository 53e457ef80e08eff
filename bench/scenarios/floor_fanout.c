/* Bare fan-out: three processes each write one record to each of their connections, one thread reads them all. No
 * framing, no consensus, nothing shared: what any server and reader of so many connections pay at least.
 *
 *   this thread --start--> sender 1..3: for each of its connections: write (SSL_write)
 *        ^                      |
 *        +---- epoll, read (SSL_read) each; the last one's moment counts
 *
 * The record is as long as Lapse's event of a revocation with its frame. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/pki.h"
#include "bench/scenarios/floor.h"

#define SENDERS 3
#define RECORD_BYTES 368
#define EVENTS 1024
#define READ_BYTES 16384
#define WARM_UP 10
#define PATIENCE_MS 10000

struct sender {
    int listener;
    struct sockaddr_in address;
    uint32_t n;
    SSL_CTX *tls; /* NULL: plain */
    struct floor_child child;
};

struct reader {
    int fd;
    SSL *ssl; /* NULL: plain */
};

struct fan {
    struct floor_run *run;
    uint32_t n;
    struct sender senders[SENDERS];
    struct reader *readers;
    SSL_CTX *tls;
    int epoll;
};

/* --- senders ------------------------------------------------------------------------------------------------------ */

static bool sender_accept(const struct sender *sender, struct reader *ends)
{
    int on = 1;
    for (uint32_t i = 0; i < sender->n; i++) {
        ends[i].fd = accept(sender->listener, NULL, NULL);
        if (ends[i].fd < 0)
            return false;
        (void)setsockopt(ends[i].fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (sender->tls == NULL)
            continue;
        ends[i].ssl = SSL_new(sender->tls);
        if (ends[i].ssl == NULL || SSL_set_fd(ends[i].ssl, ends[i].fd) != 1 || SSL_accept(ends[i].ssl) != 1)
            return false;
    }
    return true;
}

static bool sender_write(const struct reader *end, const uint8_t *record)
{
    if (end->ssl != NULL)
        return SSL_write(end->ssl, record, RECORD_BYTES) == RECORD_BYTES;
    return send(end->fd, record, RECORD_BYTES, MSG_NOSIGNAL) == RECORD_BYTES;
}

/* A child's life. What it holds goes with it. */
static void sender_work(void *arg, int fd)
{
    static const uint8_t record[RECORD_BYTES] = {1};
    struct sender *sender = arg;
    struct reader *ends = mem_calloc(sender->n + 1, sizeof *ends);
    bool ok = sender_accept(sender, ends) && floor_say(fd);
    while (ok && floor_hear(fd))
        for (uint32_t i = 0; i < sender->n && ok; i++)
            ok = sender_write(&ends[i], record);
}

/* --- setting up --------------------------------------------------------------------------------------------------- */

static SSL_CTX *context_new(const SSL_METHOD *method)
{
    SSL_CTX *tls = SSL_CTX_new(method);
    CHECK(tls != NULL && SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION) == 1);
    CHECK(SSL_CTX_set_num_tickets(tls, 0) == 1);
    SSL_CTX_set_read_ahead(tls, 1);
    return tls;
}

static lapse_result tls_set_up(struct fan *fan, struct lapse_error *error)
{
    char pki[PROCESS_PATH_SIZE], certificate[PROCESS_PATH_SIZE], key[PROCESS_PATH_SIZE];
    snprintf(pki, sizeof pki, "%.200s/pki-%u", fan->run->dir, fan->n);
    snprintf(certificate, sizeof certificate, "%.230s/sender.pem", pki);
    snprintf(key, sizeof key, "%.230s/sender.key", pki);
    lapse_result result = pki_init(pki, "bench.lapse", 1, error);
    if (lapse_is_ok(result))
        result = pki_issue(pki, &(struct pki_request){"sender", "sender", NULL, 1}, error);
    if (!lapse_is_ok(result))
        return result;
    SSL_CTX *tls = context_new(TLS_server_method());
    CHECK(SSL_CTX_use_certificate_chain_file(tls, certificate) == 1 &&
          SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) == 1);
    for (int i = 0; i < SENDERS; i++)
        fan->senders[i].tls = tls;
    fan->tls = context_new(TLS_client_method()); /* whom it talks to is no question here */
    return result;
}

static lapse_result sender_start(struct sender *sender, struct lapse_error *error)
{
    socklen_t len = sizeof sender->address;
    sender->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sender->address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (sender->listener < 0 || bind(sender->listener, (struct sockaddr *)&sender->address, len) != 0 ||
        listen(sender->listener, 128) != 0 ||
        getsockname(sender->listener, (struct sockaddr *)&sender->address, &len) != 0)
        return lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED, "loopback: %s", strerror(errno));
    return floor_child_start(&sender->child, sender_work, sender, error);
}

static lapse_result connect_one(struct fan *fan, uint32_t i, struct lapse_error *error)
{
    struct reader *reader = &fan->readers[i];
    const struct sender *sender = &fan->senders[i % SENDERS];
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
    reader->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (reader->fd < 0 || connect(reader->fd, (const struct sockaddr *)&sender->address, sizeof sender->address) != 0)
        return lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED, "loopback: %s", strerror(errno));
    if (fan->tls != NULL) {
        reader->ssl = SSL_new(fan->tls);
        CHECK(reader->ssl != NULL && SSL_set_fd(reader->ssl, reader->fd) == 1);
        if (SSL_connect(reader->ssl) != 1)
            return lapse_fail(error, LAPSE_UNAVAILABLE, "TLS over loopback failed");
    }
    CHECK(fcntl(reader->fd, F_SETFL, O_NONBLOCK) == 0);
    CHECK(epoll_ctl(fan->epoll, EPOLL_CTL_ADD, reader->fd, &event) == 0);
    return lapse_ok();
}

static lapse_result set_up(struct fan *fan, struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    for (uint32_t i = 0; i < SENDERS && lapse_is_ok(result); i++) {
        fan->senders[i].n = fan->n / SENDERS + (i < fan->n % SENDERS ? 1 : 0);
        result = sender_start(&fan->senders[i], error);
    }
    for (uint32_t i = 0; i < fan->n && lapse_is_ok(result); i++) {
        progress("connecting readers", i, fan->n);
        result = bench_interrupted() ? lapse_fail(error, LAPSE_CANCELLED, "interrupted") : connect_one(fan, i, error);
    }
    for (uint32_t i = 0; i < SENDERS && lapse_is_ok(result); i++)
        if (!floor_hear(fan->senders[i].child.fd))
            result = lapse_fail(error, LAPSE_UNAVAILABLE, "a sender did not come into being");
    return result;
}

static void tear_down(struct fan *fan)
{
    SSL_CTX *server = fan->senders[0].tls;
    for (uint32_t i = 0; i < SENDERS; i++) {
        floor_child_end(&fan->senders[i].child);
        if (fan->senders[i].listener > 0)
            close(fan->senders[i].listener);
    }
    for (uint32_t i = 0; i < fan->n; i++) {
        SSL_free(fan->readers[i].ssl);
        if (fan->readers[i].fd > 0)
            close(fan->readers[i].fd);
    }
    SSL_CTX_free(server);
    SSL_CTX_free(fan->tls);
    close(fan->epoll);
    free(fan->readers);
}

/* --- measuring ---------------------------------------------------------------------------------------------------- */

/* Bytes; 0: none, or it has ended. */
static size_t read_one(const struct reader *reader, uint8_t *into)
{
    ssize_t n = reader->ssl != NULL ? SSL_read(reader->ssl, into, READ_BYTES) : recv(reader->fd, into, READ_BYTES, 0);
    if (n <= 0)
        ERR_clear_error();
    return n > 0 ? (size_t)n : 0;
}

/* One record to all. False when not all came. */
static bool one_round(struct fan *fan, int64_t *last_ns)
{
    static uint8_t bytes[READ_BYTES];
    struct epoll_event events[EVENTS];
    size_t need = (size_t)fan->n * RECORD_BYTES, got = 0;
    int64_t start = bench_now_ns();
    for (int i = 0; i < SENDERS; i++)
        if (!floor_say(fan->senders[i].child.fd))
            return false;
    while (got < need) {
        int n = epoll_wait(fan->epoll, events, EVENTS, PATIENCE_MS);
        if (n <= 0)
            return false;
        for (int i = 0; i < n; i++)
            got += read_one(&fan->readers[events[i].data.u32], bytes);
    }
    *last_ns = bench_now_ns() - start;
    return true;
}

static lapse_result measure(struct fan *fan, const char *kind, struct lapse_error *error)
{
    char name[64], what[80];
    uint32_t rounds = fan->run->rounds / (fan->n >= 1000 ? 4 : 1); /* each is long */
    snprintf(name, sizeof name, "fanout_%s_%u", kind, fan->n);
    snprintf(what, sizeof what, "bare fan-out, %s, to the last of %u", kind, fan->n);
    struct samples *last = report_samples(fan->run->bench->report, name, what);
    for (uint32_t i = 0; i < WARM_UP + rounds; i++) {
        int64_t last_ns = 0;
        progress(what, i, WARM_UP + rounds);
        floor_pause();
        if (bench_interrupted())
            return lapse_fail(error, LAPSE_CANCELLED, "interrupted");
        if (!one_round(fan, &last_ns))
            return lapse_fail(error, LAPSE_UNAVAILABLE, "the bare fan-out did not reach all");
        if (i >= WARM_UP)
            samples_add(last, last_ns);
    }
    return lapse_ok();
}

lapse_result floor_fanout(struct floor_run *run, uint32_t n, bool tls, struct lapse_error *error)
{
    struct fan fan = {.run = run, .n = n, .epoll = epoll_create1(EPOLL_CLOEXEC)};
    CHECK(fan.epoll >= 0);
    fan.readers = mem_calloc(n, sizeof *fan.readers);
    lapse_result result = tls ? tls_set_up(&fan, error) : lapse_ok();
    if (lapse_is_ok(result))
        result = set_up(&fan, error);
    if (lapse_is_ok(result))
        result = measure(&fan, tls ? "tls" : "plain", error);
    tear_down(&fan);
    return result;
}
