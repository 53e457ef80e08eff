/* What reaches the agent from outside: a CheckRequest of Envoy's protocol, and a request's target, which whoever asks
 * chooses. Whatever comes: nothing is read past the input, and what is asked of the guard is a path in one spelling
 * that lies where the map says, never a pattern.
 *
 * The first byte chooses: 0 a CheckRequest, 1 a target, 2 a percent-encoded certificate, 3 an AuthZEN question. */
#include <stdlib.h>

#include "base/check.h"
#include "client/agent/ext_authz.h"
#include "client/agent/facts.h"
#include "proto/authzen.h"
#include "store/grant.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct agent_maps maps;

static void set(const char *map, const char *key, const char *value)
{
    struct lapse_error error;
    CHECK(lapse_is_ok(agent_map_set(agent_maps_get(&maps, map), key, value, &error)));
}

/* Every variable, and maps that are reached by what is chosen. */
static void make_maps(void)
{
    set("whole", "match.path", "/whole/*");
    set("whole", "subject", "user:${header:x-forwarded-user}");
    set("whole", "resource", "web/${path}");
    set("whole", "action", "${method}");
    set("parts", "match.method", "POST");
    set("parts", "subject", "${source.principal}");
    set("parts", "resource", "web/whole/${path:2}-${query:id}-${host}");
    set("parts", "action.POST", "write");
    set("rest", "subject", "${client.certificate.spiffe-id}");
    set("rest", "token", "${header:authorization}");
    set("rest", "resource", "web/whole/${client.ip}/${header:x-tenant}");
    set("rest", "action.*", "read");
}

/* No pattern, and below web/whole in every spelling: where all maps lead. */
static void check_question(const struct agent_question *question)
{
    struct slice resource = slice_str(question->resource);
    CHECK(lapse_is_ok(resource_validate(resource, false, NULL)));
    CHECK(strchr(question->resource, '*') == NULL);
    CHECK(strstr(question->resource, "//") == NULL && strstr(question->resource, "/../") == NULL);
    CHECK(strncmp(question->resource, "web/whole", strlen("web/whole")) == 0);
    CHECK((*question->subject != '\0' || question->has_token) && *question->action != '\0');
}

static void ask(const struct agent_request *request)
{
    struct agent_question question;
    char detail[AGENT_DETAIL_SIZE] = "";
    enum agent_refusal refusal = agent_maps_ask(&maps, request, &question, detail);
    if (refusal == AGENT_ASKS)
        check_question(&question);
    else
        CHECK(detail[0] != '\0' && memchr(detail, '\0', sizeof detail) != NULL);
}

static void ask_target(struct slice target, const char *method)
{
    struct agent_request request = {.target = target,
                                    .method = slice_str(method),
                                    .host = slice_str("web.example.org:8443"),
                                    .address = slice_str("192.0.2.1"),
                                    .principal = slice_str("spiffe://example.org/user/dev1")};
    agent_request_add(&request, slice_str("X-Forwarded-User"), slice_str("dev1"));
    ask(&request);
}

static void ask_ext_authz(struct slice message)
{
    struct agent_request request;
    if (ext_authz_decode(message, &request))
        ask(&request);
}

static void read_certificate(struct slice escaped)
{
    struct agent_facts facts = {.spiffe_id = ""};
    if (agent_certificate_read(escaped, &facts))
        CHECK(strlen(facts.certificate_sha256) == 64 && strlen(facts.spiffe_id) <= LIMIT_PRINCIPAL);
}

/* What is taken is a subject or a token, a resource and an action; what isn't gets a reason that repeats no token. */
static void ask_authzen(struct slice json)
{
    struct authzen_question question;
    struct lapse_error error = {LAPSE_OK, ""};
    if (lapse_is_ok(authzen_parse(json, &question, &error)))
        CHECK((*question.subject != '\0') != (question.has_token && *question.subject == '\0') &&
              *question.resource != '\0' && *question.action != '\0');
    else
        CHECK(error.code == LAPSE_INVALID_ARGUMENT && *error.message != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (maps.n == 0)
        make_maps();
    if (size == 0)
        return 0;
    uint8_t *copy = mem_alloc(size);
    memcpy(copy, data + 1, size - 1);
    struct slice input = slice_of(copy, size - 1);
    switch (data[0] % 4) {
    case 0:
        ask_ext_authz(input);
        break;
    case 1:
        ask_target(input, "GET");
        ask_target(input, "POST");
        break;
    case 2:
        read_certificate(input);
        break;
    default:
        ask_authzen(input);
    }
    free(copy);
    return 0;
}
