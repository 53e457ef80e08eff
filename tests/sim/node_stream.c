/* The node's end of a point's stream.
 *
 *   REGISTRATION --REGISTER committed--> open --admitted(R), store at R--> snapshot or resume --> events, marks, pongs
 *
 * What it sends comes from the ring, behind its own cursor, and only while the point reads. */
#include "tests/sim/node_lease.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "tests/sim/oracle_points.h"
#include "tests/sim/point.h"
#include "tests/sim/subscriber.h"

/* Messages that a connection's buffers hold. */
#define UNREAD_MAX 48u
#define BATCH 16u
#define SLICE 8u
#define MARK_US (SIM_SECOND)
#define SILENCE_US (8 * SIM_SECOND)

static struct sim_node *node_of(const struct node_stream *stream)
{
    return node_lease_owner(stream->lease);
}

static const struct store *store_of(const struct node_stream *stream)
{
    return replica_store(node_of(stream)->replica);
}

static void say(struct node_stream *stream, struct point_message message)
{
    link_send(stream->link, SIDE_NODE, &message);
}

/* --- Registration --- */

static void on_registered(struct replica_write *write, const struct store_outcome *outcome)
{
    struct node_stream *stream = write->owner;
    struct sim_node *node = node_of(stream);
    stream->writing = false;
    if (node->ending) {
        return;
    }
    struct point point;
    sim_trace(node->sim, node->id, "registered", link_point(stream->link)->number, outcome->error.code,
              outcome->revision);
    if (outcome->error.code != LAPSE_OK || !store_point_get(store_of(stream), stream->instance, &point)) {
        /* Its instance was registered once, and is over. */
        bool over = outcome->error.code == LAPSE_OK || outcome->error.code == LAPSE_FAILED_PRECONDITION;
        say(stream, over ? (struct point_message){.kind = MESSAGE_ENDED, .why = LEASE_END_UNKNOWN}
                         : (struct point_message){.kind = MESSAGE_CLOSED});
        stream->heard_us = INT64_MIN; /* the next pump closes it */
        return;
    }
    stream->registered = point.revision;
    stream->promises = lease_node_open(node_lease_node(stream->lease), stream->instance, stream, node_boot_us(node));
}

/* The key is that of the instance: registering again is the same request. */
static void write_registration(struct node_stream *stream)
{
    const struct sim_point *point = link_point(stream->link);
    struct command command = {.type = COMMAND_REGISTER,
                              .principal = slice_str(point->principal),
                              .text = slice_str(point->id),
                              .scope = slice_str(stream->scope),
                              .instance = stream->instance,
                              .lease_ms = point->lease_ms};
    memcpy(command.key.bytes, stream->instance.bytes, sizeof(command.key.bytes));
    stream->writing = true;
    stream->write = (struct replica_write){.done = on_registered, .owner = stream};
    replica_write(node_of(stream)->replica, &stream->write, &command, 1000);
}

struct node_stream *stream_open(struct node_lease *lease, struct point_link *link, const struct point_message *message)
{
    struct node_stream *stream = mem_calloc(1, sizeof(*stream));
    *stream = (struct node_stream){.lease = lease,
                                   .link = link,
                                   .instance = message->instance,
                                   .epoch = message->epoch,
                                   .resume = message->revision,
                                   .heard_us = node_boot_us(node_lease_owner(lease))};
    snprintf(stream->scope, sizeof(stream->scope), "%s", link_point(link)->scope);
    link_set_stream(link, stream);
    write_registration(stream);
    return stream;
}

void stream_close(struct node_stream *stream, bool told)
{
    struct sim_node *node = node_of(stream);
    if (stream->writing) {
        replica_cancel_write(node->replica, &stream->write);
    }
    if (stream->promises != NULL) {
        lease_node_close(node_lease_node(stream->lease), stream->promises, node_boot_us(node));
    }
    link_close(stream->link, SIDE_NODE, told);
    free(stream);
}

/* --- What the point says --- */

static void answer_ping(struct node_stream *stream, const struct point_message *ping)
{
    struct sim_node *node = node_of(stream);
    struct replica_status status;
    uint32_t ttl_ms = 0;
    if (stream->promises != NULL) {
        ttl_ms = lease_node_promise(node_lease_node(stream->lease), stream->promises, node_boot_us(node));
    }
    replica_get_status(node->replica, &status);
    sim_trace(node->sim, node->id, "promise", link_point(stream->link)->number, ttl_ms, ping->sequence);
    if (ttl_ms > 0) {
        points_model_promised(node->sim->points_oracle, stream->instance, status.term, ping->sent_us, ttl_ms);
    }
    say(stream,
        (struct point_message){
            .kind = MESSAGE_PONG, .sequence = ping->sequence, .ttl_ms = ttl_ms, .time_us = status.time_ms * 1000});
}

static void take_ack(struct node_stream *stream, const struct point_message *message)
{
    struct sim_node *node = node_of(stream);
    if (message->received > stream->sent) {
        sim_fail(node->sim, "contract", "a point acknowledges %llu, and was sent up to %llu",
                 (unsigned long long)message->received, (unsigned long long)stream->sent);
        return;
    }
    lease_node_ack(node_lease_node(stream->lease), stream->promises, message->received, message->enforced);
}

void stream_take(struct node_stream *stream, const struct point_message *message)
{
    struct lease_node *lease = node_lease_node(stream->lease);
    stream->heard_us = stream->heard_us == INT64_MIN ? INT64_MIN : node_boot_us(node_of(stream));
    if (message->kind == MESSAGE_PING) {
        answer_ping(stream, message);
    } else if (stream->promises == NULL) {
        return; /* ended meanwhile */
    } else if (message->kind == MESSAGE_ACK) {
        take_ack(stream, message);
    } else if (message->kind == MESSAGE_FAILURE) {
        lease_node_fail(lease, stream->promises, message->revision, slice_str("a session goes on"));
    } else if (message->kind == MESSAGE_GOODBYE) {
        lease_node_goodbye(lease, stream->promises);
    }
}

/* --- What the point is told --- */

void stream_on_admitted(struct node_stream *stream, uint64_t revision)
{
    struct sim_node *node = node_of(stream);
    sim_trace(node->sim, node->id, "admitted", link_point(stream->link)->number, revision, 0);
    stream->wanted = revision;
    stream->admitted = true;
}

static bool in_scope(const struct node_stream *stream, struct slice resource)
{
    return scope_overlaps(slice_str(stream->scope), resource);
}

static bool send_grant(void *arg, const struct grant *grant)
{
    struct node_stream *stream = arg;
    if (in_scope(stream, grant->resource)) {
        struct point_message message = {.kind = MESSAGE_SNAPSHOT_GRANT};
        subscribers_show_grant(grant, &message.grant);
        say(stream, message);
    }
    return true;
}

/* docs/decisions/0005: in slices, while the store goes on changing. */
static void begin_snapshot(struct node_stream *stream, bool resync)
{
    const struct store *store = store_of(stream);
    if (resync) {
        say(stream, (struct point_message){.kind = MESSAGE_RESYNC});
    }
    stream->in_snapshot = true;
    stream->scans_locks = false;
    stream->snapshot_cursor = 0;
    stream->epoch = store_epoch(store);
    stream->revision = store_revision(store);
}

static bool send_grants(struct node_stream *stream)
{
    struct store_filter filter = {.states = 1u << GRANT_ACTIVE};
    return store_list(store_of(stream), &filter, &stream->snapshot_cursor, SLICE, send_grant, stream);
}

/* The next one by name, since locks come and go between two slices. False: there is none. */
static bool send_next_lock(struct node_stream *stream)
{
    const struct store *store = store_of(stream);
    struct slice after = slice_str(stream->after_lock);
    uint32_t i = store_object_from(store, OBJECT_LOCK, after);
    const struct object *object = store_object_at(store, OBJECT_LOCK, i);
    if (object != NULL && slice_equal(object->name, after)) {
        object = store_object_at(store, OBJECT_LOCK, i + 1);
    }
    if (object == NULL) {
        return false;
    }
    CHECK(slice_to_cstr(object->name, stream->after_lock, sizeof(stream->after_lock)));
    struct point_message message = {.kind = MESSAGE_SNAPSHOT_LOCK};
    subscribers_show_lock(object, false, &message.lock);
    if (message.lock.kind != LOCK_POINT) {
        say(stream, message);
    }
    return true;
}

/* The locks come behind the grants. */
static bool send_slice(struct node_stream *stream)
{
    if (stream->scans_locks) {
        return send_next_lock(stream);
    }
    stream->scans_locks = !send_grants(stream);
    stream->after_lock[0] = '\0';
    return true;
}

static void send_slices(struct node_stream *stream)
{
    bool more = true;
    while (more && link_unread(stream->link) < UNREAD_MAX) {
        more = send_slice(stream);
        if (sim_chance(node_of(stream)->sim, 200000)) {
            break; /* other work is waiting */
        }
    }
    if (!more) {
        stream->in_snapshot = false;
        stream->sent = stream->revision;
        say(stream,
            (struct point_message){.kind = MESSAGE_SNAPSHOT_END, .epoch = stream->epoch, .revision = stream->revision});
    }
}

void stream_on_store_replaced(struct node_stream *stream)
{
    if (stream->in_snapshot) {
        begin_snapshot(stream, true);
    }
}

/* An instance that resumes from before its registration was ended in between: what it has is not to be trusted. */
static bool resumes(const struct node_stream *stream)
{
    uint64_t epoch, oldest, newest;
    ring_bounds(node_of(stream)->ring, &epoch, &oldest, &newest);
    return stream->resume >= stream->registered && epoch == stream->epoch && oldest <= stream->resume &&
           stream->resume <= newest;
}

static void begin_serving(struct node_stream *stream)
{
    struct sim_node *node = node_of(stream);
    const struct store *store = store_of(stream);
    stream->serving = true;
    if (stream->resume > store_revision(store)) {
        sim_fail(node->sim, "G5", "a point that has seen revision %llu is served from %llu",
                 (unsigned long long)stream->resume, (unsigned long long)store_revision(store));
    }
    say(stream, (struct point_message){.kind = MESSAGE_REGISTERED, .revision = store_revision(store)});
    stream->sent = stream->resume;
    if (resumes(stream)) {
        stream->revision = stream->resume;
        return;
    }
    begin_snapshot(stream, stream->resume != 0);
}

static bool tells_points(enum store_event_type type)
{
    return type == STORE_EVENT_ACTIVATED || type == STORE_EVENT_USED || type == STORE_EVENT_EXPIRED ||
           type == STORE_EVENT_REVOKED || type == STORE_EVENT_COMPLETED || type == STORE_EVENT_EXHAUSTED;
}

static void send_lock(struct node_stream *stream, const struct ring_event *event)
{
    struct point_message message = {.kind = MESSAGE_LOCK, .epoch = stream->epoch, .revision = event->revision};
    subscribers_lock(event, &message.lock);
    say(stream, message);
    stream->sent = event->revision;
    stream->marked = false;
}

static void send_event(struct node_stream *stream, const struct ring_event *event)
{
    if (event->locks) {
        send_lock(stream, event);
        return;
    }
    if (!tells_points(event->type) || !in_scope(stream, event->resource)) {
        /* Others' revocations are acknowledged by a mark. */
        stream->marked = stream->marked || event->type == STORE_EVENT_REVOKED || event->type == STORE_EVENT_SWEEP_ENDED;
        return;
    }
    struct point_message message = {.kind = MESSAGE_EVENT, .epoch = stream->epoch, .revision = event->revision};
    subscribers_grant(event, &message.grant);
    say(stream, message);
    stream->sent = event->revision;
    stream->marked = false;
}

static void send_mark(struct node_stream *stream)
{
    struct sim_node *node = node_of(stream);
    int64_t now_us = node_boot_us(node);
    if (!stream->marked && now_us - stream->marked_us < MARK_US) {
        return;
    }
    stream->marked = false;
    stream->marked_us = now_us;
    stream->sent = stream->revision;
    say(stream, (struct point_message){.kind = MESSAGE_PROGRESS, .epoch = stream->epoch, .revision = stream->revision});
}

/* False when the cursor has fallen off the ring. */
static bool send_events(struct node_stream *stream)
{
    struct ring_event *events[BATCH];
    uint32_t n = BATCH;
    while (n == BATCH && link_unread(stream->link) < UNREAD_MAX) {
        if (ring_read(node_of(stream)->ring, stream->epoch, &stream->revision, events, BATCH, &n) == RING_RESYNC) {
            return false;
        }
        for (uint32_t i = 0; i < n; i++) {
            send_event(stream, events[i]);
            ring_event_unref(events[i]);
        }
    }
    return true;
}

bool stream_pump(struct node_stream *stream)
{
    struct sim_node *node = node_of(stream);
    if (stream->heard_us == INT64_MIN || node_boot_us(node) - stream->heard_us > SILENCE_US) {
        return false;
    }
    if (stream->admitted && !stream->serving && store_revision(store_of(stream)) >= stream->wanted) {
        begin_serving(stream);
    }
    if (!stream->serving || link_unread(stream->link) >= UNREAD_MAX) {
        return true;
    }
    if (stream->in_snapshot) {
        send_slices(stream);
    } else if (send_events(stream)) {
        send_mark(stream);
    } else {
        begin_snapshot(stream, true);
    }
    return true;
}
