/* One webhook's thread against receivers that misbehave: real sockets, real libcurl. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "node/hook_deliver.h"

/* --- a name server that is silent ----------------------------------------------------------------------------------
 */

static pthread_mutex_t names = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t names_changed = PTHREAD_COND_INITIALIZER;
static bool asked, released;

/* libcurl's, too: the program's own symbol comes first. Addresses are no names. */
int getaddrinfo(const char *restrict name, const char *restrict service, const struct addrinfo *restrict hints,
                struct addrinfo **restrict result)
{
    (void)name, (void)service, (void)hints, (void)result;
    CHECK(pthread_mutex_lock(&names) == 0);
    asked = true;
    CHECK(pthread_cond_broadcast(&names_changed) == 0);
    while (!released)
        CHECK(pthread_cond_wait(&names_changed, &names) == 0);
    CHECK(pthread_mutex_unlock(&names) == 0);
    return EAI_AGAIN;
}

static void wait_asked(void)
{
    CHECK(pthread_mutex_lock(&names) == 0);
    while (!asked)
        CHECK(pthread_cond_wait(&names_changed, &names) == 0);
    CHECK(pthread_mutex_unlock(&names) == 0);
}

static void release_names(void)
{
    CHECK(pthread_mutex_lock(&names) == 0);
    released = true;
    CHECK(pthread_cond_broadcast(&names_changed) == 0 && pthread_mutex_unlock(&names) == 0);
}

/* --- a receiver ----------------------------------------------------------------------------------------------------
 */

struct receiver {
    int listener;
    uint16_t port;
    pthread_t thread;
    const char *answer; /* then `more`, again and again while the other side takes it */
    const char *more;
    bool hangs; /* keeps the connection instead of closing it */
    _Atomic(int) connections;
    char request[4096]; /* the last one's beginning */
};

static void send_all(int fd, const char *text)
{
    (void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
}

static void *receive(void *arg)
{
    struct receiver *receiver = arg;
    int fd;
    while ((fd = accept(receiver->listener, NULL, NULL)) >= 0) {
        receiver->connections++;
        ssize_t len = recv(fd, receiver->request, sizeof receiver->request - 1, 0);
        receiver->request[len < 0 ? 0 : len] = '\0';
        send_all(fd, receiver->answer);
        while (receiver->more != NULL && send(fd, receiver->more, strlen(receiver->more), MSG_NOSIGNAL) > 0)
            continue;
        char byte;
        while (receiver->hangs && recv(fd, &byte, 1, 0) > 0)
            continue;
        (void)shutdown(fd, SHUT_WR);
        while (recv(fd, receiver->request + sizeof receiver->request - 1, 1, 0) > 0)
            continue;
        (void)close(fd);
    }
    return NULL;
}

static void receiver_start(struct receiver *receiver)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    receiver->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(receiver->listener >= 0 && bind(receiver->listener, (struct sockaddr *)&address, len) == 0 &&
              listen(receiver->listener, 8) == 0 &&
              getsockname(receiver->listener, (struct sockaddr *)&address, &len) == 0);
    receiver->port = ntohs(address.sin_port);
    cr_assert_eq(pthread_create(&receiver->thread, NULL, receive, receiver), 0);
}

static void receiver_stop(struct receiver *receiver)
{
    (void)shutdown(receiver->listener, SHUT_RDWR);
    cr_assert_eq(pthread_join(receiver->thread, NULL), 0);
    (void)close(receiver->listener);
}

/* --- the asker -----------------------------------------------------------------------------------------------------
 */

struct asker {
    uv_loop_t loop;
    struct mailbox mailbox;
    struct hook_options options;
    struct hook_thread *thread;
    struct hook_delivery delivery;
    bool answered;
};

static void on_answer(struct mail *mail)
{
    struct asker *asker = CONTAINER_OF(mail, struct asker, delivery.mail);
    asker->answered = true;
    uv_stop(&asker->loop);
}

static void asker_start(struct asker *asker, const char *url, uint32_t timeout_ms)
{
    *asker = (struct asker){.options = {.name = "chat", .timeout_ms = timeout_ms}};
    (void)snprintf(asker->options.url, sizeof asker->options.url, "%s", url);
    cr_assert_eq(uv_loop_init(&asker->loop), 0);
    mailbox_init(&asker->mailbox, &asker->loop, 8);
    asker->thread = hook_thread_start(&asker->options, &asker->mailbox);
    asker->delivery.mail.run = on_answer;
    buf_init(&asker->delivery.headers, LIMIT_HEADER_BYTES);
    buf_init(&asker->delivery.body, LIMIT_MESSAGE_OUT);
    cr_assert(lapse_is_ok(buf_printf(&asker->delivery.headers, "Content-Type: text/plain\nX-One: 1\n")));
    cr_assert(lapse_is_ok(buf_printf(&asker->delivery.body, "the body")));
}

static void asker_stop(struct asker *asker)
{
    hook_thread_stop(asker->thread);
    mailbox_close(&asker->mailbox);
    while (uv_run(&asker->loop, UV_RUN_DEFAULT) != 0)
        continue; /* on_answer stops it */
    cr_assert_eq(uv_loop_close(&asker->loop), 0);
    buf_free(&asker->delivery.headers);
    buf_free(&asker->delivery.body);
}

static void deliver(struct asker *asker)
{
    asker->answered = false;
    hook_deliver(asker->thread, &asker->delivery);
    while (!asker->answered)
        (void)uv_run(&asker->loop, UV_RUN_DEFAULT);
}

static void deliver_to(struct receiver *receiver, struct asker *asker, uint32_t timeout_ms)
{
    char url[64];
    receiver_start(receiver);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/hook", receiver->port);
    asker_start(asker, url, timeout_ms);
    deliver(asker);
}

static void end(struct receiver *receiver, struct asker *asker)
{
    asker_stop(asker);
    receiver_stop(receiver);
}

/* --- */

Test(hook_deliver, a_2xx_is_the_receivers_word_whatever_becomes_of_its_body)
{
    static const struct {
        const char *name, *answer, *more;
        bool hangs;
    } cases[] = {
        {"whole", "HTTP/1.1 204 No Content\r\n\r\n", NULL, false},
        {"body never ends", "HTTP/1.1 200 OK\r\n\r\n", "0123456789abcdef", false},
        {"body never comes", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", NULL, true},
        {"body is cut off", "HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\nab", NULL, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct receiver receiver = {.answer = cases[i].answer, .more = cases[i].more, .hangs = cases[i].hangs};
        struct asker asker;
        deliver_to(&receiver, &asker, cases[i].hangs ? 500 : 60000);
        cr_expect(asker.delivery.taken, "%s: %s", cases[i].name, asker.delivery.message);
        end(&receiver, &asker);
    }
}

Test(hook_deliver, anything_else_is_not_and_says_why)
{
    static const struct {
        const char *answer, *more, *words;
        bool hangs;
    } cases[] = {
        {"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", NULL, "302", false},
        {"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", NULL, "500", false},
        {"", NULL, "", false},
        {"HTTP/1.1 2", NULL, "", false},
        {"no HTTP at all\r\n\r\n", NULL, "", false},
        {"HTTP/1.1 500 Oops\r\n", "X-Endless: 0123456789abcdef\r\n", "", false},
        {"HTTP/1.1 500 Oops\r\n\r\n", "0123456789abcdef", "", false},
        {"HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n", "", false},
        {"", NULL, "", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct receiver receiver = {.answer = cases[i].answer, .more = cases[i].more, .hangs = cases[i].hangs};
        struct asker asker;
        deliver_to(&receiver, &asker, cases[i].hangs ? 500 : 60000);
        cr_expect_not(asker.delivery.taken, "case %zu", i);
        cr_expect_neq(asker.delivery.message[0], '\0', "case %zu", i);
        cr_expect_not_null(strstr(asker.delivery.message, cases[i].words), "case %zu: %s", i, asker.delivery.message);
        end(&receiver, &asker);
    }
}

Test(hook_deliver, it_posts_what_it_was_given_and_nothing_of_its_own)
{
    struct receiver receiver = {.answer = "HTTP/1.1 204 No Content\r\n\r\n"};
    struct asker asker;
    deliver_to(&receiver, &asker, 60000);
    cr_expect_eq(strncmp(receiver.request, "POST /hook HTTP/1.1\r\n", 21), 0);
    cr_expect_not_null(strstr(receiver.request, "\r\nX-One: 1\r\n"));
    cr_expect_not_null(strstr(receiver.request, "\r\nContent-Length: 8\r\n"));
    cr_expect_null(strstr(receiver.request, "Expect:"));
    cr_expect_null(strstr(receiver.request, "x-www-form-urlencoded"));
    end(&receiver, &asker);
}

Test(hook_deliver, a_receiver_that_hangs_does_not_hold_up_the_end)
{
    struct receiver receiver = {.answer = "", .hangs = true};
    struct asker asker;
    char url[64];
    receiver_start(&receiver);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/hook", receiver.port);
    asker_start(&asker, url, 60000);
    hook_deliver(asker.thread, &asker.delivery);
    while (receiver.connections == 0)
        (void)usleep(1000);
    int64_t begin_ms = clock_boot_ms();
    asker_stop(&asker);
    cr_expect_lt(clock_boot_ms() - begin_ms, 30000, "half of its timeout");
    cr_expect(asker.answered, "its mail has come");
    cr_expect_not(asker.delivery.taken);
    receiver_stop(&receiver);
}

/* Ends only when hook_thread_stop does: the name server is released after it. */
Test(hook_deliver, a_name_server_that_is_silent_does_not_hold_up_the_end, .timeout = 120)
{
    struct asker asker;
    asker_start(&asker, "http://receiver.example.org/hook", 60000);
    hook_deliver(asker.thread, &asker.delivery);
    wait_asked();
    asker_stop(&asker);
    cr_expect_not(asker.delivery.taken);
    release_names();
    (void)usleep(200000); /* libcurl's thread goes its way */
}
