#include "client/agent/local_message.h"

#include <jansson.h>

#include "base/check.h"
#include "client/agent/http_answer.h"

/* ---- Questions */

/* Takes a member out of the object, so that what is left is a question. Absent: "". */
static lapse_result take_text(json_t *object, const char *key, char *out, size_t size, struct lapse_error *error)
{
    const json_t *value = json_object_get(object, key);
    if (value == NULL)
        return lapse_ok();
    if (!json_is_string(value) || !slice_to_cstr(slice_str(json_string_value(value)), out, size) ||
        !slice_is_text(slice_str(out), false))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s must be one line of UTF-8, at most %zu bytes", key,
                          size - 1);
    (void)json_object_del(object, key);
    return lapse_ok();
}

static lapse_result take_op(json_t *object, enum local_op *op, struct lapse_error *error)
{
    static const char *const names[] = {"check", "session_begin", "session_end"};
    char name[16] = "";
    lapse_result result = take_text(object, "op", name, sizeof name, error);
    for (size_t i = 0; i < ARRAY_LEN(names) && lapse_is_ok(result); i++)
        if (strcmp(name, names[i]) == 0) {
            *op = (enum local_op)i;
            return result;
        }
    return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "op must be check, session_begin or session_end");
}

static lapse_result take_end_processes(json_t *object, bool *out, struct lapse_error *error)
{
    const json_t *value = json_object_get(object, "end_processes");
    if (!json_is_boolean(value))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "end_processes must be there, true or false: whether the session's processes are ended");
    *out = json_is_true(value);
    (void)json_object_del(object, "end_processes");
    return lapse_ok();
}

static lapse_result take_begin(json_t *object, struct local_request *request, struct lapse_error *error)
{
    lapse_result result = take_text(object, "grant", request->grant, sizeof request->grant, error);
    if (lapse_is_ok(result))
        result = take_text(object, "description", request->description, sizeof request->description, error);
    return lapse_is_ok(result) ? take_end_processes(object, &request->end_processes, error) : result;
}

static lapse_result take_end(json_t *object, struct local_request *request, struct lapse_error *error)
{
    lapse_result result = take_text(object, "session", request->session, sizeof request->session, error);
    if (lapse_is_ok(result) && (request->session[0] == '\0' || json_object_size(object) > 0))
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "session_end takes session, and nothing else");
    return result;
}

static lapse_result take_request(json_t *object, struct local_request *request, struct lapse_error *error)
{
    lapse_result result = take_op(object, &request->op, error);
    if (lapse_is_ok(result) && request->op == LOCAL_SESSION_END)
        return take_end(object, request, error);
    if (lapse_is_ok(result) && request->op == LOCAL_SESSION_BEGIN)
        result = take_begin(object, request, error);
    return lapse_is_ok(result) ? http_question_take(object, &request->question, error) : result;
}

lapse_result local_request_parse(struct slice json, struct local_request *request, struct lapse_error *error)
{
    json_error_t where;
    struct local_request taken = {.op = LOCAL_CHECK};
    lapse_result result;
    json_t *object = json_loadb((const char *)json.data, json.len, JSON_REJECT_DUPLICATES, &where);
    if (json_is_object(object))
        result = take_request(object, &taken, error);
    else
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "the datagram is not a JSON object%s%.160s",
                            object == NULL ? ": " : "", object == NULL ? where.text : "");
    json_decref(object);
    if (lapse_is_ok(result))
        *request = taken;
    return result;
}

/* ---- Answers */

/* Takes the object over. What is in it was valid UTF-8 before. */
static char *dump(json_t *object)
{
    char *text = json_dumps(object, JSON_COMPACT);
    CHECK(text != NULL);
    json_decref(object);
    return text;
}

char *local_answer_decision(const struct agent_answer *answer, const char *session)
{
    json_t *object = http_answer_members(answer);
    if (object == NULL) /* a detail that was cut within a character */
        return dump(json_pack("{s:b,s:s}", "permit", 0, "reason", answer->reason));
    if (session != NULL)
        CHECK(json_object_set_new(object, "session", json_string(session)) == 0);
    return dump(object);
}

char *local_answer_ended(void)
{
    return dump(json_pack("{s:b}", "ended", 1));
}

char *local_answer_error(const struct lapse_error *error)
{
    json_t *object = json_pack("{s:s,s:s}", "error", lapse_code_name(error->code), "message", error->message);
    return dump(object != NULL ? object : json_pack("{s:s}", "error", lapse_code_name(error->code)));
}
