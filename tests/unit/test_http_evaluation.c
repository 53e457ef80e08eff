/* POST /access/v1/evaluation on a node, over real sockets, with a core that the test plays. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "node/http.h"
#include "node/http_evaluation.h"
#include "proto/encode.h"

static struct http_server *server;
static char reply[65536];

/* The core: answers on a thread of its own, as the test says. */
static struct {
    struct lapse_error error;
    bool busy, allows, finds;
    uint32_t n_asked;
    char subject[64], resource[64], action[64], address[64];
    bool has_token, has_certificate;
} core;

static void *answer_main(void *arg)
{
    struct core_call *call = arg;
    struct proto_point point = {.epoch = 1, .revision = 4711, .time_ms = 5};
    static const uint8_t random[10] = {1};
    const struct grant grant = {
        .id = grant_id_make(1700000000000, random), .state = GRANT_ACTIVE, .subject = slice_str("user:dev1")};
    usleep(1000);
    call->error = core.error;
    CHECK(lapse_is_ok(proto_encode_check(&point, core.allows, core.allows ? "ALLOWS" : "LOCKED",
                                         core.finds ? &grant : NULL, core.allows ? 2900 : 0, &call->response)));
    call->answered(call);
    return NULL;
}

bool core_ask(struct core *asked, struct core_call *call)
{
    pthread_t thread;
    cr_assert_eq((void *)asked, (void *)&core);
    cr_assert_eq(call->op, CORE_EVALUATE);
    if (core.busy)
        return false;
    core.n_asked++;
    cr_assert(slice_to_cstr(call->query.subject, core.subject, sizeof core.subject));
    cr_assert(slice_to_cstr(call->query.resource, core.resource, sizeof core.resource));
    cr_assert(slice_to_cstr(call->query.action, core.action, sizeof core.action));
    cr_assert(slice_to_cstr(call->query.address, core.address, sizeof core.address));
    core.has_token = call->query.token_sha256.len == 32;
    core.has_certificate = call->query.certificate_sha256.len == 32;
    CHECK(pthread_create(&thread, NULL, answer_main, call) == 0);
    CHECK(pthread_detach(thread) == 0);
    return true;
}

static void start(void)
{
    struct lapse_error error;
    cr_assert(lapse_is_ok(http_start("127.0.0.1", 0, &server, &error)), "%s", error.message);
}

static void stop(void)
{
    http_close_evaluations(server);
    http_stop(server);
}

TestSuite(http_evaluation, .init = start, .fini = stop);

static const char *ask(const char *head, const char *body)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(http_port(server)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char request[32768];
    size_t len = 0;
    ssize_t n;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    int size = snprintf(request, sizeof request, "%sHost: x\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
                        head, strlen(body), body);
    cr_assert_eq(send(fd, request, (size_t)size, MSG_NOSIGNAL), size);
    while ((n = recv(fd, reply + len, sizeof reply - 1 - len, 0)) > 0)
        len += (size_t)n;
    reply[len] = '\0';
    close(fd);
    return reply;
}

#define POST "POST /access/v1/evaluation HTTP/1.1\r\n"
#define JSON "Content-Type: application/json\r\n"
#define QUESTION(more)                                                                                                 \
    "{\"subject\":{\"type\":\"user\",\"id\":\"dev1\"},\"resource\":{\"type\":\"t\",\"id\":\"db/orders\"},"             \
    "\"action\":{\"name\":\"read\"}" more "}"

static void serve(void)
{
    http_serve_evaluations(server, http_evaluator_new((struct core *)&core));
}

static void assert_says(const char *answer, const char *text)
{
    cr_assert_not_null(strstr(answer, text), "\"%s\" is not in:\n%s", text, answer);
}

Test(http_evaluation, is_not_there_unless_it_is_switched_on)
{
    assert_says(ask(POST JSON, QUESTION("")), "HTTP/1.1 404 ");
    cr_assert_eq(core.n_asked, 0);
}

Test(http_evaluation, the_cores_answer_goes_out_as_a_decision)
{
    serve();
    core.allows = core.finds = true;
    const char *answer =
        ask(POST JSON "X-Request-ID: r-1\r\n", QUESTION(",\"context\":{\"address\":\"10.2.0.7\",\"token\":"
                                                        "\"lps_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\"}"));
    assert_says(answer, "HTTP/1.1 200 ");
    assert_says(answer, "Content-Type: application/json\r\n");
    assert_says(answer, "X-Request-ID: r-1\r\n");
    assert_says(answer, "{\"decision\":true,\"context\":{\"reason\":\"ALLOWS\",\"grant\":\"01HF");
    assert_says(answer, "\"subject\":\"user:dev1\",\"revision\":4711,\"valid_for_ms\":2900}}");
    cr_assert_str_eq(core.subject, "user:dev1");
    cr_assert_str_eq(core.resource, "db/orders");
    cr_assert_str_eq(core.action, "read");
    cr_assert_str_eq(core.address, "10.2.0.7");
    cr_assert(core.has_token && !core.has_certificate);
    core.allows = core.finds = false;
    answer = ask(POST JSON, QUESTION(""));
    assert_says(answer, "HTTP/1.1 200 ");
    assert_says(answer, "{\"decision\":false,\"context\":{\"reason\":\"LOCKED\",\"revision\":4711}}");
    cr_assert_not(core.has_token);
}

Test(http_evaluation, what_is_no_question_never_reaches_the_core)
{
    static char longer[LIMIT_HTTP_BODY + 10];
    serve();
    memset(longer, ' ', sizeof longer - 1);
    assert_says(ask(POST JSON, "{"), "HTTP/1.1 400 ");
    assert_says(ask(POST JSON, "{}"), "subject is missing");
    assert_says(ask(POST, QUESTION("")), "HTTP/1.1 415 ");
    assert_says(ask(POST JSON, longer), "HTTP/1.1 413 ");
    const char *answer = ask("GET /access/v1/evaluation HTTP/1.1\r\n", "");
    assert_says(answer, "HTTP/1.1 405 ");
    assert_says(answer, "Allow: POST\r\n");
    assert_says(ask(POST JSON, "{\"subject\":{\"type\":\"user\",\"id\":\"dev1\"},\"resource\":{\"type\":\"t\",\"id\":"
                               "\"db/../hr\"},\"action\":{\"name\":\"read\"}}"),
                "{\"decision\":false,\"context\":{\"reason\":\"BAD_VALUE\"");
    cr_assert_eq(core.n_asked, 0);
}

Test(http_evaluation, a_node_that_can_not_answer_says_503)
{
    serve();
    (void)lapse_fail(&core.error, LAPSE_UNAVAILABLE, "no quorum answered in time");
    assert_says(ask(POST JSON, QUESTION("")), "HTTP/1.1 503 ");
    assert_says(reply, "no quorum");
    core.busy = true;
    assert_says(ask(POST JSON, QUESTION("")), "HTTP/1.1 503 ");
    core.busy = false;
    http_close_evaluations(server);
    uint32_t before = core.n_asked;
    assert_says(ask(POST JSON, QUESTION("")), "HTTP/1.1 503 ");
    cr_assert_eq(core.n_asked, before, "a core that is about to close is not asked");
}

Test(http_evaluation, the_other_paths_are_served_as_before)
{
    serve();
    assert_says(ask("GET /healthz HTTP/1.1\r\n", ""), "HTTP/1.1 200 ");
    assert_says(ask("POST /healthz HTTP/1.1\r\n", "x"), "HTTP/1.1 405 ");
}
