/* lapse_audit.h's calls: typed faces of the one core (call.c).
 *
 * A stream that breaks is begun anew by the core, from its first record: what the application has seen already is
 * passed over here, by revision, so that it sees each record once. */
#include "base/check.h"
#include "client/audit_schema.h"
#include "client/call.h"

#define AUDIT "/lapse.v1.Audit/"

static const struct call_method query_method = {AUDIT "Query", &schema_audit_query_args, &schema_audit_page,
                                                CALL_NO_REQUEST_ID};
static const struct call_method head_method = {AUDIT "Head", &schema_audit_head_args, &schema_audit_head,
                                               CALL_NO_REQUEST_ID};
static const struct call_method tail_method = {AUDIT "Tail", &schema_audit_tail_args, &schema_audit_tail_message,
                                               CALL_NO_REQUEST_ID};
static const struct call_method evidence_method = {AUDIT "Evidence", &schema_evidence_args, &schema_audit_tail_message,
                                                   CALL_NO_REQUEST_ID};

lapse_result lapse_audit_query(struct lapse_client *client, const struct lapse_audit_query_args *args,
                               uint32_t timeout_ms, struct lapse_audit_page *result, struct lapse_error *error)
{
    return call_blocking(client, &query_method, args, timeout_ms, result, error);
}

static void query_deliver(void (*callback)(void), void *arg, const void *result, const struct lapse_error *error)
{
    ((lapse_audit_query_cb)callback)(arg, result, error);
}

lapse_result lapse_audit_query_async(struct lapse_client *client, const struct lapse_audit_query_args *args,
                                     uint32_t timeout_ms, lapse_audit_query_cb callback, void *arg,
                                     struct lapse_call **call, struct lapse_error *error)
{
    struct call_callback typed = {query_deliver, (void (*)(void))callback, arg, NULL, NULL};
    return call_start(client, &query_method, args, timeout_ms, typed, call, error);
}

lapse_result lapse_audit_head(struct lapse_client *client, const struct lapse_audit_head_args *args,
                              uint32_t timeout_ms, struct lapse_audit_head *result, struct lapse_error *error)
{
    return call_blocking(client, &head_method, args, timeout_ms, result, error);
}

static void head_deliver(void (*callback)(void), void *arg, const void *result, const struct lapse_error *error)
{
    ((lapse_audit_head_cb)callback)(arg, result, error);
}

lapse_result lapse_audit_head_async(struct lapse_client *client, const struct lapse_audit_head_args *args,
                                    uint32_t timeout_ms, lapse_audit_head_cb callback, void *arg,
                                    struct lapse_call **call, struct lapse_error *error)
{
    struct call_callback typed = {head_deliver, (void (*)(void))callback, arg, NULL, NULL};
    return call_start(client, &head_method, args, timeout_ms, typed, call, error);
}

/* ---- Streams */

struct reading {
    const struct lapse_audit_callbacks *callbacks;
    void *arg;
    uint64_t seen, head_seen; /* the last revisions that were told */
};

static void on_message(void (*each)(void), void *arg, const void *message)
{
    struct reading *reading = arg;
    const struct audit_tail_message *tail = message;
    (void)each;
    if (tail->has_record && tail->record.revision > reading->seen) {
        reading->seen = tail->record.revision;
        reading->callbacks->on_record(reading->arg, &tail->record);
    }
    if (tail->has_head && tail->head.revision > reading->head_seen && reading->callbacks->on_head != NULL) {
        reading->head_seen = tail->head.revision;
        reading->callbacks->on_head(reading->arg, &tail->head);
    }
}

static lapse_result stream(struct lapse_client *client, const struct call_method *method, const void *args,
                           uint32_t timeout_ms, const struct lapse_audit_callbacks *callbacks, void *arg,
                           struct lapse_error *error)
{
    struct reading reading = {.callbacks = callbacks, .arg = arg};
    return call_blocking_stream(client, method, args, timeout_ms, on_message, NULL, &reading, error);
}

lapse_result lapse_audit_tail(struct lapse_client *client, const struct lapse_audit_tail_args *args,
                              uint32_t timeout_ms, const struct lapse_audit_callbacks *callbacks, void *arg,
                              struct lapse_error *error)
{
    return stream(client, &tail_method, args, timeout_ms, callbacks, arg, error);
}

lapse_result lapse_audit_evidence(struct lapse_client *client, const struct lapse_evidence_args *args,
                                  uint32_t timeout_ms, const struct lapse_audit_callbacks *callbacks, void *arg,
                                  struct lapse_error *error)
{
    return stream(client, &evidence_method, args, timeout_ms, callbacks, arg, error);
}

/* ---- Results */

void lapse_audit_page_free(struct lapse_audit_page *page)
{
    if (page != NULL)
        codec_release(&schema_audit_page, page);
}

void lapse_audit_head_free(struct lapse_audit_head *head)
{
    if (head != NULL)
        codec_release(&schema_audit_head, head);
}
