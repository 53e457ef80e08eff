/* The agent's HTTP ends over real sockets, with a guard that says what the test wants. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/token.h"
#include "client/agent/http.h"
#include "tests/unit/fake_guard.h"

static struct lapse_guard guard;
static struct agent_config config;
static struct agent_decider *decider;
static struct agent_pool *pool;
static struct agent_http *http, *metrics;
static char reply[65536];

static void set(const char *key, const char *value)
{
    struct lapse_error error;
    cr_assert(lapse_is_ok(agent_map_set(agent_maps_get(&config.maps, "all"), key, value, &error)), "%s", error.message);
}

static struct agent_http *listen_at(enum agent_http_use use, const char *address)
{
    struct lapse_error error;
    struct agent_http *made = NULL;
    const struct agent_http_options options = {use, address, &config, decider, pool};
    cr_assert(lapse_is_ok(agent_http_start(&options, &made, &error)), "%s", error.message);
    return made;
}

static void start(void)
{
    log_setup(LOG_ERROR, LOG_TEXT, STDERR_FILENO);
    fake_guard_init(&guard);
    (void)snprintf(config.uri_header, sizeof config.uri_header, "X-Original-URI");
    (void)snprintf(config.method_header, sizeof config.method_header, "X-Original-Method");
    (void)snprintf(config.host_header, sizeof config.host_header, "X-Original-Host");
    (void)snprintf(config.address_header, sizeof config.address_header, "X-Real-IP");
    (void)snprintf(config.certificate_header, sizeof config.certificate_header, "X-Client-Certificate");
    set("subject", "user:${header:X-Forwarded-User}");
    set("resource", "web/${path}");
    set("action", "${method}");
    decider = agent_decider_new(&guard, &config.maps);
    pool = agent_pool_new(2);
    http = listen_at(AGENT_HTTP_CHECKS, "127.0.0.1:0");
    metrics = listen_at(AGENT_HTTP_METRICS, "127.0.0.1:0");
}

static void stop(void)
{
    agent_http_quiesce(http);
    agent_pool_end(pool);
    agent_http_stop(http);
    agent_http_stop(metrics);
    agent_pool_free(pool);
    agent_decider_free(decider);
}

TestSuite(agent_http, .init = start, .fini = stop);

static int dial(const struct agent_http *to)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(agent_http_port(to)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void send_text(int fd, const char *text)
{
    cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Until the server closes. */
static const char *read_all(int fd)
{
    size_t len = 0;
    ssize_t n = 0;
    while ((n = recv(fd, reply + len, sizeof reply - 1 - len, 0)) > 0)
        len += (size_t)n;
    reply[len] = '\0';
    (void)close(fd);
    return reply;
}

static const char *ask_at(const struct agent_http *to, const char *request)
{
    int fd = dial(to);
    send_text(fd, request);
    return read_all(fd);
}

#define END "Host: agent\r\nConnection: close\r\n\r\n"

static const char *auth(const char *headers)
{
    char request[8192];
    (void)snprintf(request, sizeof request, "GET /auth HTTP/1.1\r\n%s" END, headers);
    return ask_at(http, request);
}

static const char *check(const char *json)
{
    static char request[65536];
    (void)snprintf(request, sizeof request,
                   "POST /v1/check HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n" END "%s",
                   strlen(json), json);
    return ask_at(http, request);
}

static void assert_says(const char *answer, const char *text)
{
    cr_assert_not_null(strstr(answer, text), "\"%s\" is not in:\n%s", text, answer);
}

#define ASKED "X-Original-URI: /reports/q3?x=1\r\nX-Original-Method: GET\r\nX-Forwarded-User: dev1\r\n"

Test(agent_http, a_grant_permits_and_the_headers_say_which)
{
    fake_guard_grant(&guard, "user:dev1", "web/reports/q3", "get");
    const char *answer = auth(ASKED);
    assert_says(answer, "HTTP/1.1 200 ");
    assert_says(answer, "X-Lapse-Decision: permit\r\n");
    assert_says(answer, "X-Lapse-Reason: ALLOWS\r\n");
    assert_says(answer, "X-Lapse-Grant: 01M0000000000000000000TEST\r\n");
    assert_says(answer, "X-Lapse-Valid-For-Ms: 2900\r\n");
    assert_says(answer, "X-Lapse-Revision: 7\r\n");
    assert_says(answer, "Cache-Control: no-store\r\n");
}

Test(agent_http, without_a_grant_it_denies_with_the_reason)
{
    const char *answer = auth(ASKED);
    assert_says(answer, "HTTP/1.1 403 ");
    assert_says(answer, "X-Lapse-Decision: deny\r\n");
    assert_says(answer, "X-Lapse-Reason: NO_GRANT\r\n");
}

Test(agent_http, nobody_presented_is_401)
{
    const char *answer = auth("X-Original-URI: /reports/q3\r\nX-Original-Method: GET\r\n");
    assert_says(answer, "HTTP/1.1 401 ");
    assert_says(answer, "X-Lapse-Reason: NO_SUBJECT\r\n");
    assert_says(answer, "WWW-Authenticate: ");
}

Test(agent_http, a_guard_that_may_not_decide_denies)
{
    fake_guard_grant(&guard, "user:dev1", "web/reports/q3", "get");
    guard.state = LAPSE_GUARD_STALE;
    const char *answer = auth(ASKED);
    assert_says(answer, "HTTP/1.1 403 ");
    assert_says(answer, "X-Lapse-Reason: STALE\r\n");
}

Test(agent_http, what_the_proxy_says_twice_is_refused)
{
    fake_guard_grant(&guard, "user:dev1", "web/reports/q3", "get");
    assert_says(auth(ASKED "x-original-uri: /reports/q4\r\n"), "X-Lapse-Reason: BAD_REQUEST\r\n");
    assert_says(auth(ASKED "X-Forwarded-User: oncall\r\n"), "X-Lapse-Reason: UNCLEAR_VALUE\r\n");
    assert_says(auth("X-Original-Method: GET\r\nX-Forwarded-User: dev1\r\n"), "X-Lapse-Reason: BAD_REQUEST\r\n");
}

Test(agent_http, too_many_headers_are_refused)
{
    char headers[6000] = ASKED;
    fake_guard_grant(&guard, "user:dev1", "web/reports/q3", "get");
    for (unsigned i = 0; i < LIMIT_AGENT_HEADERS; i++)
        (void)snprintf(headers + strlen(headers), sizeof headers - strlen(headers), "X-%u: y\r\n", i);
    assert_says(auth(headers), "X-Lapse-Reason: BAD_REQUEST\r\n");
}

Test(agent_http, a_grant_that_counts_its_uses_is_used)
{
    struct fake_grant *grant = fake_guard_grant(&guard, "user:dev1", "web/reports/q3", "get");
    grant->counts = true;
    grant->uses = 2;
    assert_says(auth(ASKED), "HTTP/1.1 200 ");
    assert_says(auth(ASKED), "HTTP/1.1 200 ");
    assert_says(auth(ASKED), "X-Lapse-Reason: USED_UP\r\n");
    guard.use_fails = true;
    const char *answer = auth(ASKED);
    assert_says(answer, "HTTP/1.1 403 ");
    assert_says(answer, "X-Lapse-Reason: NOT_KNOWN\r\n");
}

Test(agent_http, a_use_that_waits_holds_up_nobody_else)
{
    struct fake_grant *grant = fake_guard_grant(&guard, "user:dev1", "web/counted", "get");
    grant->counts = true;
    grant->uses = 5;
    fake_guard_grant(&guard, "user:dev1", "web/reports/q3", "get");
    guard.hold = true;
    int waiting[3];
    for (size_t i = 0; i < ARRAY_LEN(waiting); i++) {
        waiting[i] = dial(http);
        send_text(waiting[i], "GET /auth HTTP/1.1\r\nX-Original-URI: /counted\r\nX-Original-Method: GET\r\n"
                              "X-Forwarded-User: dev1\r\n" END);
    }
    while (atomic_load(&guard.holding) < 2)
        (void)usleep(1000);
    assert_says(auth(ASKED), "HTTP/1.1 200 ");
    guard.hold = false;
    for (size_t i = 0; i < ARRAY_LEN(waiting); i++)
        assert_says(read_all(waiting[i]), "HTTP/1.1 200 ");
}

Test(agent_http, stopping_answers_what_waits)
{
    struct fake_grant *grant = fake_guard_grant(&guard, "user:dev1", "web/reports/q3", "get");
    grant->counts = true;
    grant->uses = 1;
    int fd = dial(http);
    send_text(fd, "GET /auth HTTP/1.1\r\n" ASKED END);
    while (atomic_load(&guard.holding) < 1)
        (void)usleep(1000);
    stop();
    (void)read_all(fd);
    http = metrics = NULL;
    pool = agent_pool_new(1);
    decider = NULL;
}

Test(agent_http, connections_are_kept)
{
    fake_guard_grant(&guard, "user:dev1", "web/reports/q3", "get");
    int fd = dial(http);
    for (int i = 0; i < 100; i++) {
        send_text(fd, "GET /auth HTTP/1.1\r\nHost: agent\r\n" ASKED "\r\n");
        ssize_t n = recv(fd, reply, sizeof reply - 1, 0);
        cr_assert_gt(n, 0);
        reply[n] = '\0';
        assert_says(reply, "HTTP/1.1 200 ");
    }
    (void)close(fd);
}

/* ---- Programs */

Test(agent_http, programs_ask_in_json)
{
    fake_guard_grant(&guard, "user:dev1", "db/orders", "read");
    const char *answer = check("{\"subject\":\"user:dev1\",\"resource\":\"db/orders\",\"action\":\"read\"}");
    assert_says(answer, "HTTP/1.1 200 ");
    assert_says(answer, "\"permit\":true");
    assert_says(answer, "\"valid_for_ms\":2900");
    answer = check("{\"subject\":\"user:dev1\",\"resource\":\"db/orders\",\"action\":\"write\"}");
    assert_says(answer, "HTTP/1.1 200 ");
    assert_says(answer, "\"permit\":false,\"reason\":\"NO_GRANT\"");
}

Test(agent_http, what_is_presented_in_json_reaches_the_guard)
{
    uint8_t hash[32];
    memset(hash, 0xAB, sizeof hash);
    struct fake_grant *grant = fake_guard_grant(&guard, "user:dev1", "db/orders", "read");
    grant->certificate_sha256 = hash;
    grant->address = "192.0.2.7";
    grant->spiffe_id = "spiffe://example.org/x";
    assert_says(check("{\"subject\":\"user:dev1\",\"resource\":\"db/orders\",\"action\":\"read\"}"), "BINDING_MISSING");
    assert_says(
        check("{\"subject\":\"user:dev1\",\"resource\":\"db/orders\",\"action\":\"read\",\"address\":\"192.0.2.7\","
              "\"spiffe_id\":\"spiffe://example.org/x\",\"certificate_sha256\":"
              "\"ABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABAB\"}"),
        "\"permit\":true");
}

Test(agent_http, an_answer_can_be_asked_for_at_a_revision)
{
    fake_guard_grant(&guard, "user:dev1", "db/orders", "read");
    assert_says(check("{\"subject\":\"user:dev1\",\"resource\":\"db/orders\",\"action\":\"read\",\"revision\":12}"),
                "\"revision\":12");
    const char *answer =
        check("{\"subject\":\"user:dev1\",\"resource\":\"db/orders\",\"action\":\"read\",\"revision\":5000}");
    assert_says(answer, "\"permit\":false,\"reason\":\"BEHIND\"");
}

Test(agent_http, wrong_questions_are_told_what_is_wrong)
{
    static char long_question[LIMIT_AGENT_BODY + 100];
    assert_says(check("nonsense"), "HTTP/1.1 400 ");
    assert_says(check("[]"), "HTTP/1.1 400 ");
    assert_says(check("{\"subject\":\"a\",\"subject\":\"b\"}"), "HTTP/1.1 400 ");
    assert_says(check("{\"subject\":1}"), "subject must be a string");
    assert_says(check("{\"subject\":\"a\\u0000b\"}"), "HTTP/1.1 400 ");
    assert_says(check("{\"address\":\"nowhere\"}"), "address must be an IP address");
    assert_says(check("{\"certificate_sha256\":\"00\"}"), "32 bytes");
    assert_says(check("{\"revision\":-1}"), "revision must be");
    assert_says(check("{\"who\":\"a\"}"), "accepted: subject, resource");
    assert_says(check("{\"subject\":\"user:dev1\",\"resource\":\"db/*\",\"action\":\"read\"}"), "BAD_VALUE");
    memset(long_question, ' ', sizeof long_question - 1);
    assert_says(check(long_question), "HTTP/1.1 413 ");
    assert_says(ask_at(http, "GET /v1/check HTTP/1.1\r\n" END), "HTTP/1.1 405 ");
}

/* ---- Bearer tokens */

#define TOKEN "lps_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
#define OTHER_TOKEN "lps_zzECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"

static struct fake_grant *grant_with_token(const char *resource)
{
    static uint8_t hash[32];
    cr_assert(token_hash(slice_str(TOKEN), hash));
    struct fake_grant *grant = fake_guard_grant(&guard, "user:dev1", resource, "get");
    grant->token = hash;
    return grant;
}

static void take_tokens(void)
{
    set("subject", "user:${header:X-Forwarded-User}");
    set("token", "${header:Authorization}");
    set("resource", "web/${path}");
    set("action", "${method}");
    agent_decider_set_maps(decider, &config.maps);
}

#define ASKED_BY_TOKEN "X-Original-URI: /reports/q3\r\nX-Original-Method: GET\r\nAuthorization: "

Test(agent_http, a_token_stands_for_its_grants_subject_whatever_else_is_named)
{
    take_tokens();
    grant_with_token("web/reports/q3");
    const char *answer = auth(ASKED_BY_TOKEN "Bearer " TOKEN "\r\nX-Forwarded-User: oncall\r\n");
    assert_says(answer, "HTTP/1.1 200 ");
    assert_says(answer, "X-Lapse-Subject: user:dev1\r\n");
    assert_says(auth(ASKED_BY_TOKEN "bearer " TOKEN "\r\n"), "HTTP/1.1 200 ");
    assert_says(auth(ASKED_BY_TOKEN TOKEN "\r\n"), "HTTP/1.1 200 ");
    guard.locked = true;
    answer = auth(ASKED_BY_TOKEN "Bearer " TOKEN "\r\n");
    assert_says(answer, "HTTP/1.1 403 ");
    assert_says(answer, "X-Lapse-Reason: LOCKED\r\n");
}

Test(agent_http, a_token_that_is_none_or_that_nobody_knows_is_401)
{
    take_tokens();
    grant_with_token("web/reports/q3");
    const char *answer = auth(ASKED_BY_TOKEN "Bearer " OTHER_TOKEN "\r\nX-Forwarded-User: dev1\r\n");
    assert_says(answer, "HTTP/1.1 401 ");
    assert_says(answer, "X-Lapse-Reason: UNKNOWN_TOKEN\r\n");
    assert_says(answer, "WWW-Authenticate: Bearer realm=\"lapse\", error=\"invalid_token\"\r\n");
    answer = auth(ASKED_BY_TOKEN "Bearer lps_short\r\nX-Forwarded-User: dev1\r\n");
    assert_says(answer, "HTTP/1.1 401 ");
    assert_says(answer, "X-Lapse-Reason: BAD_TOKEN\r\n");
    assert_says(answer, "invalid_token");
    cr_assert_null(strstr(answer, "lps_short"), "it is repeated to nobody");
    answer = auth(ASKED_BY_TOKEN "Bearer " TOKEN "\r\nAuthorization: Bearer " TOKEN "\r\n");
    assert_says(answer, "X-Lapse-Reason: UNCLEAR_VALUE\r\n");
    answer = auth("X-Original-URI: /reports/q3\r\nX-Original-Method: GET\r\n");
    assert_says(answer, "X-Lapse-Reason: NO_SUBJECT\r\n");
    assert_says(answer, "WWW-Authenticate: Bearer realm=\"lapse\"\r\n");
}

Test(agent_http, a_bound_token_without_its_binding_is_403)
{
    take_tokens();
    grant_with_token("web/reports/q3")->address = "192.0.2.7";
    const char *answer = auth(ASKED_BY_TOKEN "Bearer " TOKEN "\r\n");
    assert_says(answer, "HTTP/1.1 403 ");
    assert_says(answer, "X-Lapse-Reason: BINDING_MISSING\r\n");
    assert_says(auth(ASKED_BY_TOKEN "Bearer " TOKEN "\r\nX-Real-IP: 192.0.2.7\r\n"), "HTTP/1.1 200 ");
}

Test(agent_http, other_credentials_are_left_to_the_subject)
{
    take_tokens();
    fake_guard_grant(&guard, "user:dev2", "web/reports/q3", "get");
    assert_says(auth(ASKED_BY_TOKEN "Basic ZGV2Mjp4\r\nX-Forwarded-User: dev2\r\n"), "HTTP/1.1 200 ");
    char longer[2000];
    snprintf(longer, sizeof longer, ASKED_BY_TOKEN "Bearer %01000d\r\nX-Forwarded-User: dev2\r\n", 7);
    assert_says(auth(longer), "HTTP/1.1 200 ");
}

Test(agent_http, without_the_setting_no_token_counts)
{
    grant_with_token("web/reports/q3");
    const char *answer = auth(ASKED_BY_TOKEN "Bearer " TOKEN "\r\n");
    assert_says(answer, "HTTP/1.1 401 ");
    assert_says(answer, "X-Lapse-Reason: NO_SUBJECT\r\n");
}

Test(agent_http, programs_may_ask_with_a_token)
{
    grant_with_token("db/orders");
    const char *answer = check("{\"token\":\"" TOKEN "\",\"resource\":\"db/orders\",\"action\":\"get\"}");
    assert_says(answer, "\"permit\":true");
    assert_says(answer, "\"subject\":\"user:dev1\"");
    assert_says(check("{\"token\":\"" OTHER_TOKEN "\",\"resource\":\"db/orders\",\"action\":\"get\"}"),
                "\"reason\":\"UNKNOWN_TOKEN\"");
    assert_says(check("{\"token\":\"lps_\",\"resource\":\"db/orders\",\"action\":\"get\"}"), "HTTP/1.1 400 ");
    assert_says(check("{\"token\":7}"), "token must be");
}

/* ---- AuthZEN */

static const char *evaluate_as(const char *type, const char *more, const char *json)
{
    static char request[65536];
    (void)snprintf(request, sizeof request,
                   "POST /access/v1/evaluation HTTP/1.1\r\n%s%s%sContent-Length: %zu\r\n" END "%s",
                   type == NULL ? "" : "Content-Type: ", type == NULL ? "" : type, more, strlen(json), json);
    return ask_at(http, request);
}

static const char *evaluate(const char *json)
{
    return evaluate_as("application/json\r\n", "", json);
}

#define EVALUATION(action)                                                                                             \
    "{\"subject\":{\"type\":\"user\",\"id\":\"dev1\"},\"resource\":{\"type\":\"database\",\"id\":\"db/orders\"},"      \
    "\"action\":{\"name\":\"" action "\"}}"

Test(agent_http, an_evaluation_is_decided_as_authzen_has_it)
{
    fake_guard_grant(&guard, "user:dev1", "db/orders", "read");
    const char *answer = evaluate(EVALUATION("read"));
    assert_says(answer, "HTTP/1.1 200 ");
    assert_says(answer, "Content-Type: application/json\r\n");
    assert_says(answer, "{\"decision\":true,\"context\":{\"reason\":\"ALLOWS\",");
    assert_says(answer, "\"subject\":\"user:dev1\"");
    answer = evaluate(EVALUATION("drop"));
    assert_says(answer, "HTTP/1.1 200 ");
    assert_says(answer, "{\"decision\":false,\"context\":{\"reason\":\"NO_GRANT\",");
    assert_says(evaluate_as("application/json; charset=utf-8\r\n", "X-Request-ID: 7f-1\r\n", EVALUATION("read")),
                "X-Request-ID: 7f-1\r\n");
    cr_assert_null(strstr(evaluate_as("application/json\r\n", "X-Request-ID: a b\r\n", EVALUATION("read")), "a b"));
}

Test(agent_http, an_evaluation_waits_for_a_use_as_any_check)
{
    struct fake_grant *grant = fake_guard_grant(&guard, "user:dev1", "db/orders", "read");
    grant->counts = true;
    grant->uses = 1;
    assert_says(evaluate(EVALUATION("read")), "\"decision\":true");
    assert_says(evaluate(EVALUATION("read")), "\"reason\":\"USED_UP\"");
}

Test(agent_http, an_evaluation_that_is_none_gets_the_right_status)
{
    static char long_question[LIMIT_AGENT_BODY + 100];
    assert_says(evaluate("nonsense"), "HTTP/1.1 400 ");
    assert_says(evaluate("{\"subject\":{\"type\":\"user\",\"id\":\"dev1\"}}"), "resource is missing");
    assert_says(evaluate_as(NULL, "", EVALUATION("read")), "HTTP/1.1 415 ");
    assert_says(evaluate_as("text/plain\r\n", "", EVALUATION("read")), "HTTP/1.1 415 ");
    assert_says(evaluate_as("application/jsonp\r\n", "", EVALUATION("read")), "HTTP/1.1 415 ");
    memset(long_question, ' ', sizeof long_question - 1);
    assert_says(evaluate(long_question), "HTTP/1.1 413 ");
    assert_says(ask_at(http, "GET /access/v1/evaluation HTTP/1.1\r\n" END), "HTTP/1.1 405 ");
    assert_says(ask_at(metrics, "POST /access/v1/evaluation HTTP/1.1\r\nContent-Length: 2\r\n" END "{}"),
                "HTTP/1.1 405 ");
}

/* ---- Health and metrics */

Test(agent_http, readiness_is_whether_the_guard_decides)
{
    assert_says(ask_at(http, "GET /readyz HTTP/1.1\r\n" END), "HTTP/1.1 200 ");
    guard.state = LAPSE_GUARD_STALE;
    const char *answer = ask_at(http, "GET /readyz HTTP/1.1\r\n" END);
    assert_says(answer, "HTTP/1.1 503 ");
    assert_says(answer, "STALE: as the test says");
    assert_says(ask_at(http, "GET /healthz HTTP/1.1\r\n" END), "HTTP/1.1 200 ");
}

Test(agent_http, metrics_count_decisions_by_reason)
{
    fake_guard_grant(&guard, "user:dev1", "web/reports/q3", "get");
    (void)auth(ASKED);
    (void)auth(ASKED);
    (void)auth("X-Original-URI: /reports/q4\r\nX-Original-Method: GET\r\nX-Forwarded-User: dev1\r\n");
    const char *answer = ask_at(metrics, "GET /metrics HTTP/1.1\r\n" END);
    assert_says(answer, "lapse_agent_decisions_total{reason=\"ALLOWS\"} 2\n");
    assert_says(answer, "lapse_agent_decisions_total{reason=\"NO_GRANT\"} 1\n");
    assert_says(answer, "lapse_agent_decision_seconds_count 3\n");
    assert_says(answer, "lapse_agent_deciding 1\n");
    assert_says(ask_at(metrics, "GET /auth HTTP/1.1\r\n" END), "HTTP/1.1 404 ");
    assert_says(ask_at(http, "GET /metrics HTTP/1.1\r\n" END), "HTTP/1.1 404 ");
}

Test(agent_http, maps_are_replaced_while_it_runs)
{
    fake_guard_grant(&guard, "user:dev1", "web/other", "get");
    assert_says(auth(ASKED), "X-Lapse-Reason: NO_GRANT\r\n");
    set("subject", "user:${header:X-Forwarded-User}");
    set("resource", "web/other");
    set("action", "${method}");
    agent_decider_set_maps(decider, &config.maps);
    assert_says(auth(ASKED), "HTTP/1.1 200 ");
}

/* ---- Unix sockets */

Test(agent_http, a_unix_socket_is_for_its_owner_and_group_and_outlives_a_crash)
{
    char dir[] = "/tmp/lapse-test-agent-XXXXXX", address[64];
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct stat there;
    struct lapse_error error;
    cr_assert_not_null(mkdtemp(dir));
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s/x.sock", dir);
    (void)snprintf(address, sizeof address, "unix:%s/x.sock", dir);
    (void)umask(0117);
    /* What a process leaves that was killed. */
    int left = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(left, (struct sockaddr *)&at, sizeof at), 0);
    (void)close(left);
    struct agent_http *local = listen_at(AGENT_HTTP_CHECKS, address);
    cr_assert_eq(stat(at.sun_path, &there), 0);
    cr_assert_eq(there.st_mode & 0777, 0660);
    struct agent_http *second = NULL;
    const struct agent_http_options options = {AGENT_HTTP_CHECKS, address, &config, decider, pool};
    cr_assert_eq(agent_http_start(&options, &second, &error).code, LAPSE_UNAVAILABLE);
    assert_says(error.message, "another process listens there");
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    send_text(fd, "GET /readyz HTTP/1.1\r\n" END);
    assert_says(read_all(fd), "HTTP/1.1 200 ");
    agent_http_stop(local);
    cr_assert_neq(stat(at.sun_path, &there), 0, "the socket was left behind");
    cr_assert_eq(rmdir(dir), 0);
}
