/* Grants.Watch: the stream of events in a scope (guarantee G7): a feed with a filter.
 *
 *   message --> scope, cursor --> CORE_WATCH_OPEN --> created --> events | snapshot, events | resync, snapshot, events
 */
#include <stdlib.h>

#include "base/check.h"
#include "node/feed.h"
#include "node/service_parse.h"
#include "proto/codec.h"
#include "proto/convert.h"

#define PROGRESS_MS_DEFAULT 5000
#define PROGRESS_MS_MIN 100
#define PROGRESS_MS_MAX 60000

struct watch {
    struct feed feed;
    bool wants_snapshot;
    bool wants_all; /* without a scope, by one who may see everything: most are, and need no look at each event */
};

static struct watch *watch_of(struct feed *feed)
{
    return CONTAINER_OF(feed, struct watch, feed);
}

/* --- what it wants ------------------------------------------------------------------------------------------------ */

static bool has_no_scope(const struct store_filter *filter)
{
    return filter->subject.len == 0 && filter->resource.len == 0 && filter->requester.len == 0 &&
           filter->person.len == 0 && filter->states == 0 && grant_id_is_zero(filter->parent);
}

static void on_judged(struct feed *feed)
{
    watch_of(feed)->wants_all = has_no_scope(&feed->asked->filter) && core_call_sees_all(feed->asked);
}

static bool wants(struct feed *feed, const struct ring_event *event)
{
    if (watch_of(feed)->wants_all)
        return true;
    if (event->state == 0)
        return false; /* about no grant */
    /* store_filter_matches decides, as it does for snapshots, on the members that a scope may have. */
    const struct grant grant = {.id = event->grant,
                                .parent = event->parent,
                                .state = event->state,
                                .subject = event->subject,
                                .resource = event->resource,
                                .requester = event->requester};
    return store_filter_matches(&feed->asked->filter, &grant) && core_call_may_see(feed->asked, &grant);
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static void on_opened(struct feed *feed)
{
    const struct watch *watch = watch_of(feed);
    uint64_t newest = feed->asked->revision;
    bool resumes = feed->epoch != 0 || feed->revision != 0;
    const char *resync = feed_resume(feed);
    if (!resumes) {
        feed->revision = newest;
        resync = NULL;
    }
    feed_mark(feed, resync == NULL ? feed->revision : newest, proto_encode_watch_created);
    if (resync != NULL || (!resumes && watch->wants_snapshot))
        feed_snapshot(feed, resync);
    else
        feed_stream(feed);
}

static void on_ended(struct feed *feed)
{
    (void)feed;
    metric_add(METRIC_WATCHERS, -1);
}

static void free_watch(struct feed *feed)
{
    free(watch_of(feed));
}

static const struct feed_handler watch_handler = {
    .opened = on_opened,
    .judged = on_judged,
    .wants = wants,
    .ended = on_ended,
    .free = free_watch,
    .farewell = "this node is stopping: go on watching on another one, behind the last revision you saw",
    .resyncs = METRIC_RESYNCS,
};

static lapse_result parse_terms(struct watch *watch, const lapse_v1_WatchRequest *message, struct lapse_error *error)
{
    const lapse_v1_Filter *scope = &message->scope;
    uint32_t progress = message->progress_ms == 0 ? PROGRESS_MS_DEFAULT : message->progress_ms;
    if (scope->approver[0] != '\0' || scope->ticket[0] != '\0' || scope->policy[0] != '\0' ||
        scope->policy_version != 0 || scope->binding[0] != '\0' || scope->label[0] != '\0')
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "scope: a watch can be limited by subject, resource, requester, person, parent and states, not "
                          "by approver, ticket, policy, binding or label");
    if (progress < PROGRESS_MS_MIN || progress > PROGRESS_MS_MAX)
        return lapse_fail(error, LAPSE_OUT_OF_RANGE, "progress_ms %u: from %d to %d", progress, PROGRESS_MS_MIN,
                          PROGRESS_MS_MAX);
    watch->feed.progress_ms = progress;
    watch->feed.epoch = message->epoch;
    watch->feed.revision = message->revision;
    watch->wants_snapshot = message->snapshot;
    return message->has_scope ? parse_filter(watch->feed.asked, scope, error) : lapse_ok();
}

static lapse_result parse_watch(struct watch *watch, struct slice bytes, struct lapse_error *error)
{
    lapse_v1_WatchRequest *message = mem_calloc(1, sizeof *message);
    lapse_result result = proto_decode(lapse_v1_WatchRequest_fields, bytes, message, error);
    if (lapse_is_ok(result))
        result = parse_terms(watch, message, error);
    free(message);
    return result;
}

static void on_message(struct grpc_call *grpc, struct slice bytes)
{
    struct lapse_error error;
    struct watch *watch = mem_calloc(1, sizeof *watch);
    metric_add(METRIC_WATCHERS, 1);
    lapse_result result = feed_init(&watch->feed, grpc, CORE_WATCH_OPEN, &watch_handler, &error);
    grpc_call_set_data(grpc, watch);
    if (lapse_is_ok(result))
        result = parse_watch(watch, bytes, &error);
    if (lapse_is_ok(result))
        feed_open(&watch->feed);
    else
        feed_end(&watch->feed, error.code, error.message);
}

static void on_writable(struct grpc_call *grpc)
{
    struct watch *watch = grpc_call_data(grpc);
    feed_writable(&watch->feed);
}

static void on_close(struct grpc_call *grpc)
{
    struct watch *watch = grpc_call_data(grpc);
    feed_closed(&watch->feed);
}

const struct grpc_method *service_watch_methods(size_t *n)
{
    static const struct grpc_method methods[] = {
        {.path = "/lapse.v1.Grants/Watch", .on_message = on_message, .on_writable = on_writable, .on_close = on_close}};
    *n = ARRAY_LEN(methods);
    return methods;
}
