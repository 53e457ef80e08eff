#include "proto/authzen.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <stdio.h>
#include <strings.h>

#include "base/check.h"

#define ECHO_MAX 128

/* ---- Members. jansson has refused \u0000. */

static lapse_result take_object(const json_t *from, const char *key, const json_t **object, struct lapse_error *error)
{
    *object = json_object_get(from, key);
    if (json_is_object(*object))
        return lapse_ok();
    return lapse_fail(error, LAPSE_INVALID_ARGUMENT, *object == NULL ? "%s is missing" : "%s must be an object", key);
}

static lapse_result take_text(const json_t *from, const char *path, const char *key, bool required, char *out,
                              size_t size, struct lapse_error *error)
{
    const json_t *value = json_object_get(from, key);
    if (value == NULL && !required)
        return lapse_ok();
    if (json_is_string(value) && (!required || json_string_length(value) > 0) &&
        slice_to_cstr(slice_str(json_string_value(value)), out, size))
        return lapse_ok();
    return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                      value == NULL ? "%s.%s is missing" : "%s.%s must be a string of %d to %zu bytes", path, key,
                      required, size - 1);
}

/* ---- Subject, resource, action */

static lapse_result take_token(const char *path, const char *text, struct authzen_question *question,
                               struct lapse_error *error)
{
    if (!token_hash(slice_str(text), question->token_sha256))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s is no token: " TOKEN_PREFIX " and 43 characters", path);
    question->has_token = true;
    return lapse_ok();
}

static bool begins_with(const char *text, const char *beginning)
{
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

static lapse_result take_subject(const json_t *root, struct authzen_question *question, struct lapse_error *error)
{
    const json_t *subject = NULL;
    char type[LIMIT_SUBJECT + 1] = "", id[LIMIT_SUBJECT + 1] = "";
    lapse_result result = take_object(root, "subject", &subject, error);
    if (lapse_is_ok(result))
        result = take_text(subject, "subject", "type", true, type, sizeof type, error);
    if (lapse_is_ok(result))
        result = take_text(subject, "subject", "id", true, id, sizeof id, error);
    if (!lapse_is_ok(result))
        return result;
    if (strcmp(type, "token") == 0)
        return take_token("subject.id", id, question, error);
    size_t len = strlen(type);
    bool whole = begins_with(id, "spiffe://") || (begins_with(id, type) && id[len] == ':');
    int written = whole ? snprintf(question->subject, sizeof question->subject, "%s", id)
                        : snprintf(question->subject, sizeof question->subject, "%s:%s", type, id);
    if (written < 0 || (size_t)written >= sizeof question->subject)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "subject: type and id together are longer than %d bytes",
                          LIMIT_SUBJECT);
    return lapse_ok();
}

static lapse_result take_resource(const json_t *root, struct authzen_question *question, struct lapse_error *error)
{
    const json_t *resource = NULL;
    char type[LIMIT_RESOURCE + 1];
    lapse_result result = take_object(root, "resource", &resource, error);
    if (lapse_is_ok(result))
        result = take_text(resource, "resource", "type", true, type, sizeof type, error);
    if (lapse_is_ok(result))
        result = take_text(resource, "resource", "id", true, question->resource, sizeof question->resource, error);
    return result;
}

static lapse_result take_action(const json_t *root, struct authzen_question *question, struct lapse_error *error)
{
    const json_t *action = NULL;
    lapse_result result = take_object(root, "action", &action, error);
    if (lapse_is_ok(result))
        result = take_text(action, "action", "name", true, question->action, sizeof question->action, error);
    return result;
}

/* ---- Context */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static lapse_result take_certificate(const json_t *context, struct authzen_question *question,
                                     struct lapse_error *error)
{
    char text[65] = "";
    lapse_result result = take_text(context, "context", "certificate_sha256", false, text, sizeof text, error);
    if (!lapse_is_ok(result) || *text == '\0')
        return result;
    bool good = strlen(text) == 64;
    for (size_t i = 0; i < 32 && good; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        good = high >= 0 && low >= 0;
        question->certificate_sha256[i] = (uint8_t)(good ? high << 4 | low : 0);
    }
    if (!good)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "context.certificate_sha256 must be 64 hexadecimal digits");
    question->has_certificate = true;
    return result;
}

static lapse_result take_address(const json_t *context, struct authzen_question *question, struct lapse_error *error)
{
    struct in6_addr parsed;
    lapse_result result =
        take_text(context, "context", "address", false, question->address, sizeof question->address, error);
    if (lapse_is_ok(result) && question->address[0] != '\0' && inet_pton(AF_INET, question->address, &parsed) != 1 &&
        inet_pton(AF_INET6, question->address, &parsed) != 1)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "context.address must be an IP address");
    return result;
}

static lapse_result take_context_token(const json_t *context, struct authzen_question *question,
                                       struct lapse_error *error)
{
    char text[TOKEN_LENGTH + 1] = "";
    const json_t *value = json_object_get(context, "token");
    if (value == NULL)
        return lapse_ok();
    if (question->has_token)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "context.token: the subject is a token already");
    if (json_is_string(value))
        (void)slice_to_cstr(slice_str(json_string_value(value)), text, sizeof text);
    return take_token("context.token", text, question, error);
}

static lapse_result take_context(const json_t *root, struct authzen_question *question, struct lapse_error *error)
{
    const json_t *context = json_object_get(root, "context");
    if (context == NULL)
        return lapse_ok();
    if (!json_is_object(context))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "context must be an object");
    lapse_result result =
        take_text(context, "context", "spiffe_id", false, question->spiffe_id, sizeof question->spiffe_id, error);
    if (lapse_is_ok(result))
        result = take_certificate(context, question, error);
    if (lapse_is_ok(result))
        result = take_address(context, question, error);
    return lapse_is_ok(result) ? take_context_token(context, question, error) : result;
}

/* ---- The whole */

static lapse_result take_all(const json_t *root, struct authzen_question *question, struct lapse_error *error)
{
    lapse_result result = take_subject(root, question, error);
    if (lapse_is_ok(result))
        result = take_resource(root, question, error);
    if (lapse_is_ok(result))
        result = take_action(root, question, error);
    return lapse_is_ok(result) ? take_context(root, question, error) : result;
}

lapse_result authzen_parse(struct slice json, struct authzen_question *question, struct lapse_error *error)
{
    json_error_t where;
    lapse_result result;
    struct authzen_question taken = {.has_token = false};
    json_t *root = json_loadb((const char *)json.data, json.len, JSON_REJECT_DUPLICATES, &where);
    if (json_is_object(root))
        result = take_all(root, &taken, error);
    else if (root != NULL)
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "the body is JSON, but no object");
    else /* what jansson says may quote the body, and with it a token */
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "the body is not a JSON object: line %d, column %d",
                            where.line, where.column);
    json_decref(root);
    if (lapse_is_ok(result))
        *question = taken;
    return result;
}

static void put_text(json_t *object, const char *key, const char *text)
{
    json_t *value = text == NULL || *text == '\0' ? NULL : json_string(text);
    if (value != NULL)
        CHECK(json_object_set_new(object, key, value) == 0);
}

char *authzen_render(const struct authzen_answer *answer)
{
    json_t *context = json_object(), *root = json_object();
    CHECK(context != NULL && root != NULL);
    put_text(context, "reason", answer->reason);
    put_text(context, "detail", answer->detail);
    put_text(context, "grant", answer->grant);
    put_text(context, "subject", answer->subject);
    CHECK(json_object_set_new(context, "revision", json_integer((json_int_t)answer->revision)) == 0);
    if (answer->decision)
        CHECK(json_object_set_new(context, "valid_for_ms", json_integer(answer->valid_for_ms)) == 0);
    CHECK(json_object_set_new(root, "decision", json_boolean(answer->decision)) == 0);
    CHECK(json_object_set_new(root, "context", context) == 0);
    char *text = json_dumps(root, JSON_COMPACT);
    CHECK(text != NULL);
    json_decref(root);
    return text;
}

bool authzen_is_json(const char *content_type)
{
    static const char json[] = "application/json";
    if (content_type == NULL || strncasecmp(content_type, json, sizeof json - 1) != 0)
        return false;
    char next = content_type[sizeof json - 1];
    return next == '\0' || next == ';' || next == ' ';
}

bool authzen_may_echo(const char *request_id)
{
    size_t len = strlen(request_id);
    for (size_t i = 0; i < len; i++)
        if (request_id[i] <= ' ' || request_id[i] > '~')
            return false;
    return len > 0 && len <= ECHO_MAX;
}
