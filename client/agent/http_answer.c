#include "client/agent/http_answer.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/token.h"
#include "client/cli/value.h"
#include "proto/authzen.h"

#define TYPE_TEXT "text/plain; charset=utf-8"
#define TYPE_JSON "application/json"
#define TYPE_METRICS "text/plain; version=0.0.4; charset=utf-8"

/* ---- Plain answers */

/* Nothing here is a page, and no answer may be kept: the next one may be another. */
static struct MHD_Response *response_new(struct slice body, const char *type)
{
    /* libmicrohttpd copies, though it wants a pointer that is not const. */
    struct MHD_Response *response =
        MHD_create_response_from_buffer(body.len, (void *)(uintptr_t)body.data, MHD_RESPMEM_MUST_COPY);
    if (response == NULL)
        return NULL;
    if (MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type) == MHD_YES &&
        MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store") == MHD_YES &&
        MHD_add_response_header(response, "X-Content-Type-Options", "nosniff") == MHD_YES)
        return response;
    MHD_destroy_response(response);
    return NULL;
}

/* Takes the response over. MHD_NO closes the connection, which no proxy takes for a permit. */
static enum MHD_Result send_response(struct MHD_Connection *connection, unsigned status, struct MHD_Response *response)
{
    if (response == NULL)
        return MHD_NO;
    enum MHD_Result queued = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return queued;
}

enum MHD_Result http_answer_text(struct MHD_Connection *connection, unsigned status, const char *text)
{
    char line[LAPSE_ERROR_MESSAGE_SIZE + 2];
    int len = snprintf(line, sizeof line, "%.*s\n", LAPSE_ERROR_MESSAGE_SIZE, text);
    return send_response(connection, status, response_new(slice_of(line, (size_t)len), TYPE_TEXT));
}

enum MHD_Result http_answer_readiness(struct MHD_Connection *connection, struct lapse_guard *guard)
{
    char line[256];
    struct lapse_guard_status status;
    lapse_guard_get_status(guard, &status);
    if (status.state == LAPSE_GUARD_DECIDING)
        return http_answer_text(connection, MHD_HTTP_OK, "ready");
    (void)snprintf(line, sizeof line, "not ready: %s%s%.160s", lapse_guard_state_name(status.state),
                   status.message == NULL || *status.message == '\0' ? "" : ": ",
                   status.message == NULL ? "" : status.message);
    return http_answer_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE, line);
}

enum MHD_Result http_answer_metrics(struct MHD_Connection *connection, struct agent_decider *decider)
{
    struct buf text;
    enum MHD_Result sent;
    buf_init(&text, LIMIT_METRICS_BYTES);
    if (lapse_is_ok(agent_metrics_render(decider, &text)))
        sent = send_response(connection, MHD_HTTP_OK, response_new(buf_slice(&text), TYPE_METRICS));
    else
        sent = http_answer_text(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "the metrics are longer than their limit");
    buf_free(&text);
    return sent;
}

/* ---- Decisions */

static bool add_number(struct MHD_Response *response, const char *name, long long number)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%lld", number);
    return MHD_add_response_header(response, name, text) == MHD_YES;
}

static bool add_text(struct MHD_Response *response, const char *name, const char *text)
{
    return MHD_add_response_header(response, name, text) == MHD_YES;
}

static bool add_decision(struct MHD_Response *response, const struct agent_answer *answer)
{
    const struct lapse_guard_decision *decision = &answer->decision;
    return add_text(response, "X-Lapse-Decision", answer->permit ? "permit" : "deny") &&
           add_text(response, "X-Lapse-Reason", answer->reason) &&
           (decision->grant[0] == '\0' || add_text(response, "X-Lapse-Grant", decision->grant)) &&
           (!answer->permit || (add_text(response, "X-Lapse-Subject", decision->subject) &&
                                add_number(response, "X-Lapse-Valid-For-Ms", decision->valid_for_ms))) &&
           add_number(response, "X-Lapse-Revision", (long long)decision->revision) &&
           (answer->challenge == NULL || add_text(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, answer->challenge));
}

enum MHD_Result http_answer_auth(struct MHD_Connection *connection, const struct agent_answer *answer)
{
    char line[AGENT_DETAIL_SIZE + 64];
    int len =
        snprintf(line, sizeof line, "%s%s%s\n", answer->reason, answer->detail[0] == '\0' ? "" : ": ", answer->detail);
    struct MHD_Response *response = response_new(slice_of(line, (size_t)len), TYPE_TEXT);
    if (response != NULL && !add_decision(response, answer)) {
        MHD_destroy_response(response);
        response = NULL;
    }
    return send_response(connection, answer->status, response);
}

enum MHD_Result http_answer_evaluated(struct MHD_Connection *connection, const char *body)
{
    const char *id = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "X-Request-ID");
    struct MHD_Response *response = response_new(slice_str(body), TYPE_JSON);
    if (response != NULL && id != NULL && authzen_may_echo(id) && !add_text(response, "X-Request-ID", id)) {
        MHD_destroy_response(response);
        response = NULL;
    }
    return send_response(connection, MHD_HTTP_OK, response);
}

json_t *http_answer_members(const struct agent_answer *answer)
{
    const struct lapse_guard_decision *decision = &answer->decision;
    return json_pack("{s:b,s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:I}", "permit", answer->permit, "reason", answer->reason,
                     "detail", answer->detail, "subject", decision->subject, "grant", decision->grant, "epoch",
                     (json_int_t)decision->epoch, "revision", (json_int_t)decision->revision, "staleness_ms",
                     (json_int_t)decision->staleness_ms, "valid_for_ms", (json_int_t)decision->valid_for_ms);
}

enum MHD_Result http_answer_json(struct MHD_Connection *connection, const struct agent_answer *answer)
{
    json_t *json = http_answer_members(answer);
    char *text = json == NULL ? NULL : json_dumps(json, JSON_COMPACT);
    enum MHD_Result sent =
        send_response(connection, MHD_HTTP_OK, text == NULL ? NULL : response_new(slice_str(text), TYPE_JSON));
    free(text);
    json_decref(json);
    return sent;
}

/* ---- The question */

/* jansson has refused \\u0000. */
static lapse_result take_text(const json_t *value, const char *key, char *out, size_t size, struct lapse_error *error)
{
    if (!json_is_string(value) || !slice_to_cstr(slice_str(json_string_value(value)), out, size))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s must be a string of at most %zu bytes", key, size - 1);
    return lapse_ok();
}

static lapse_result take_thumbprint(const json_t *value, struct agent_question *question, struct lapse_error *error)
{
    if (!json_is_string(value) ||
        !value_parse_hex(json_string_value(value), question->certificate_sha256, sizeof question->certificate_sha256))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "certificate_sha256 must be 32 bytes in hexadecimal digits");
    question->has_certificate = true;
    return lapse_ok();
}

static lapse_result take_revision(const json_t *value, struct agent_question *question, struct lapse_error *error)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "revision must be a whole number from 0");
    question->revision = (uint64_t)json_integer_value(value);
    return lapse_ok();
}

static lapse_result take_address(const json_t *value, struct agent_question *question, struct lapse_error *error)
{
    struct in6_addr parsed;
    lapse_result result = take_text(value, "address", question->address, sizeof question->address, error);
    if (lapse_is_ok(result) && question->address[0] != '\0' && inet_pton(AF_INET, question->address, &parsed) != 1 &&
        inet_pton(AF_INET6, question->address, &parsed) != 1)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "address must be an IP address");
    return result;
}

static lapse_result take_token(const json_t *value, struct agent_question *question, struct lapse_error *error)
{
    if (!json_is_string(value) || !token_hash(slice_str(json_string_value(value)), question->token_sha256))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "token must be " TOKEN_PREFIX " and 43 characters");
    question->has_token = true;
    return lapse_ok();
}

static lapse_result take_member(const char *key, const json_t *value, struct agent_question *question,
                                struct lapse_error *error)
{
    if (strcmp(key, "subject") == 0)
        return take_text(value, key, question->subject, sizeof question->subject, error);
    if (strcmp(key, "resource") == 0)
        return take_text(value, key, question->resource, sizeof question->resource, error);
    if (strcmp(key, "action") == 0)
        return take_text(value, key, question->action, sizeof question->action, error);
    if (strcmp(key, "spiffe_id") == 0)
        return take_text(value, key, question->spiffe_id, sizeof question->spiffe_id, error);
    if (strcmp(key, "address") == 0)
        return take_address(value, question, error);
    if (strcmp(key, "certificate_sha256") == 0)
        return take_thumbprint(value, question, error);
    if (strcmp(key, "token") == 0)
        return take_token(value, question, error);
    if (strcmp(key, "revision") == 0)
        return take_revision(value, question, error);
    return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                      "there is no member \"%.40s\"; accepted: subject, resource, action, spiffe_id, "
                      "certificate_sha256, address, token, revision",
                      key);
}

lapse_result http_question_take(json_t *object, struct agent_question *question, struct lapse_error *error)
{
    const char *key;
    json_t *value;
    lapse_result result = lapse_ok();
    struct agent_question taken = {.revision = 0};
    json_object_foreach(object, key, value) if (lapse_is_ok(result)) result = take_member(key, value, &taken, error);
    if (lapse_is_ok(result))
        *question = taken;
    return result;
}

lapse_result http_question_parse(struct slice json, struct agent_question *question, struct lapse_error *error)
{
    json_error_t where;
    lapse_result result;
    json_t *object = json_loadb((const char *)json.data, json.len, JSON_REJECT_DUPLICATES, &where);
    if (json_is_object(object))
        result = http_question_take(object, question, error);
    else
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "the body is not a JSON object%s%.160s",
                            object == NULL ? ": " : "", object == NULL ? where.text : "");
    json_decref(object);
    return result;
}
