/* The wiring of the leases in one process. */
#include "tests/sim/node_lease.h"

#include <stdlib.h>

#include "base/check.h"
#include "node/lease_frame.h"
#include "tests/sim/oracle_points.h"

#define LOOK_US (20 * SIM_MILLISECOND)

struct mail_item {
    struct point_link *link;
    struct point_message message;
    struct mail_item *next;
};

struct proposal {
    struct sim_node *node; /* outlives the lease */
    struct replica_write write;
};

struct node_lease {
    struct sim_node *node;
    struct lease_node *promises;
    struct lease_leader *leader;
    bool leading;
    uint64_t term;
    bool applied; /* since the last flush */
    bool dirty;   /* something was heard since then */
    struct node_stream *streams;
    struct mail_item *mail, **mail_tail;
    struct node_wait *waits;
};

static int64_t now_us(const struct node_lease *lease)
{
    return node_boot_us(lease->node);
}

/* --- What the leases do to the world --- */

static void on_send(void *arg, uint64_t to, struct slice frame)
{
    struct node_lease *lease = arg;
    replica_send_lease(lease->node->replica, to, frame);
}

static void on_admitted(void *arg, void *owner, uint64_t revision, bool again)
{
    (void)arg;
    if (!again) {
        stream_on_admitted(owner, revision);
    }
}

static void unlink_stream(struct node_lease *lease, struct node_stream *stream)
{
    struct node_stream **at = &lease->streams;
    while (*at != stream) {
        at = &(*at)->next;
    }
    *at = stream->next;
}

static void on_ended(void *arg, void *owner, enum lease_end why)
{
    struct node_lease *lease = arg;
    struct node_stream *stream = owner;
    sim_trace(lease->node->sim, lease->node->id, "stream-ended", why, 0, 0);
    stream->promises = NULL;
    link_send(stream->link, SIDE_NODE, &(struct point_message){.kind = MESSAGE_ENDED, .why = why});
    stream->heard_us = INT64_MIN; /* the next pump closes it */
}

/* The first that is listed is the furthest behind. */
static void on_progress(void *arg, const struct lease_progress *progress)
{
    struct node_lease *lease = arg;
    for (struct node_wait *wait = lease->waits; wait != NULL; wait = wait->next) {
        if (wait->barrier == progress->barrier) {
            wait->received = progress->done || progress->n == 0 || progress->points[0].level != RECEIPT_WAITING;
        }
    }
}

static void on_proposed(struct replica_write *write, const struct store_outcome *outcome)
{
    struct proposal *proposal = write->owner;
    struct sim_node *node = proposal->node;
    if (!node->ending && outcome->error.code != LAPSE_OK) {
        sim_trace(node->sim, node->id, "not-proposed", outcome->error.code, 0, 0);
        lease_leader_refused(node->lease->leader, node_boot_us(node));
        node->lease->dirty = true;
    }
    free(proposal);
}

static void on_propose(void *arg, const struct command *command)
{
    struct node_lease *lease = arg;
    struct sim_node *node = lease->node;
    struct proposal *proposal = mem_calloc(1, sizeof(*proposal));
    *proposal = (struct proposal){node, {.done = on_proposed, .owner = proposal, .leader_only = true}};
    points_model_decided(node->sim->points_oracle, lease->term, command);
    sim_trace(node->sim, node->id, "propose", command->type, 0, 0);
    replica_write(node->replica, &proposal->write, command, 1000);
}

static int64_t on_evidence(void *arg)
{
    struct node_lease *lease = arg;
    return replica_evidence_us(lease->node->replica);
}

static int64_t on_time(void *arg)
{
    struct node_lease *lease = arg;
    struct replica_status status;
    replica_get_status(lease->node->replica, &status);
    return status.time_ms;
}

/* --- From the replica --- */

void node_lease_on_frame(struct node_lease *lease, uint64_t from, uint64_t life, uint64_t term, struct slice frame)
{
    lease->dirty = true;
    if (lease_frame_for_leader(frame)) {
        lease_leader_receive(lease->leader, from, life, term, frame, now_us(lease));
    } else {
        lease_node_receive(lease->promises, from, term, frame, now_us(lease));
    }
}

void node_lease_on_leadership(struct node_lease *lease, enum replica_state state, uint64_t leader, uint64_t term)
{
    lease_node_set_term(lease->promises, term, leader, now_us(lease));
    bool leads = state == REPLICA_LEADER;
    if (lease->leading && (!leads || term != lease->term)) {
        lease_leader_end(lease->leader);
        lease->leading = false;
    }
    if (leads && !lease->leading) {
        lease_leader_begin(lease->leader, term, replica_leading_since_us(lease->node->replica));
        lease->leading = true;
        lease->term = term;
        lease->applied = true; /* its first entry may be applied already */
    }
}

void node_lease_on_members(struct node_lease *lease, const struct replica_member *members, uint32_t n)
{
    uint64_t ids[LIMIT_PEERS];
    CHECK(n <= LIMIT_PEERS);
    for (uint32_t i = 0; i < n; i++) {
        ids[i] = members[i].id;
    }
    lease_leader_set_members(lease->leader, ids, n, now_us(lease));
}

void node_lease_on_applied(struct node_lease *lease)
{
    lease->applied = true;
}

void node_lease_on_store_replaced(struct node_lease *lease)
{
    const struct store *store = replica_store(lease->node->replica);
    lease_node_set_store(lease->promises, store, now_us(lease));
    lease_leader_set_store(lease->leader, store);
    for (struct node_stream *stream = lease->streams; stream != NULL; stream = stream->next) {
        stream_on_store_replaced(stream);
    }
    lease->applied = true;
}

/* --- Waiting calls --- */

static bool barrier_is_over(const struct node_lease *lease, const struct node_wait *wait, bool *ok)
{
    struct barrier barrier;
    *ok = true;
    if (!store_barrier_get(replica_store(lease->node->replica), wait->barrier, &barrier)) {
        return true; /* it was done, and left */
    }
    bool received = wait->level != RECEIPT_ENFORCED;
    if (barrier.done) {
        *ok = received || barrier.failed == 0;
        return true;
    }
    return received && wait->received;
}

/* Calls may make others wait: begin again after each. */
static void answer_waits(struct node_lease *lease)
{
    struct node_wait **at = &lease->waits;
    while (*at != NULL) {
        struct node_wait *wait = *at;
        bool ok;
        if (!barrier_is_over(lease, wait, &ok)) {
            at = &wait->next;
            continue;
        }
        node_lease_cancel(lease, wait);
        wait->done(wait, ok);
        at = &lease->waits;
    }
}

void node_lease_wait(struct node_lease *lease, struct node_wait *wait)
{
    wait->received = false;
    wait->next = lease->waits;
    lease->waits = wait;
    lease->applied = true; /* look at it in this iteration */
    lease_node_follow(lease->promises, wait->barrier);
}

void node_lease_cancel(struct node_lease *lease, struct node_wait *wait)
{
    struct node_wait **at = &lease->waits;
    while (*at != NULL && *at != wait) {
        at = &(*at)->next;
    }
    if (*at == wait) {
        *at = wait->next;
        lease_node_unfollow(lease->promises, wait->barrier);
    }
}

/* --- Streams --- */

static void mail_free(struct mail_item *item)
{
    link_unref(item->link);
    free(item);
}

static void read_mail(struct sim_node *node, void *arg, uint64_t tag)
{
    (void)arg;
    (void)tag;
    struct node_lease *lease = node->lease;
    struct mail_item *item = lease->mail;
    if (item == NULL) {
        return;
    }
    lease->mail = item->next;
    if (lease->mail == NULL) {
        lease->mail_tail = &lease->mail;
    }
    struct node_stream *stream = link_stream(item->link);
    if (item->message.kind == MESSAGE_CLOSED && stream != NULL) {
        unlink_stream(lease, stream);
        stream_close(stream, false);
    } else if (stream != NULL) {
        stream_take(stream, &item->message);
    } else if (item->message.kind == MESSAGE_REGISTRATION) {
        stream = stream_open(lease, item->link, &item->message);
        stream->next = lease->streams;
        lease->streams = stream;
    }
    mail_free(item);
}

void node_lease_mail(struct sim_node *node, struct point_link *link, const struct point_message *message)
{
    struct node_lease *lease = node->lease;
    struct mail_item *item = mem_calloc(1, sizeof(*item));
    *item = (struct mail_item){link, *message, NULL};
    link_ref(link);
    *lease->mail_tail = item;
    lease->mail_tail = &item->next;
    bool taken = node_call(node, read_mail, NULL, 0);
    CHECK(taken);
}

static void pump_streams(struct node_lease *lease)
{
    for (struct node_stream **at = &lease->streams; *at != NULL;) {
        struct node_stream *stream = *at;
        if (stream_pump(stream)) {
            at = &stream->next;
        } else {
            *at = stream->next;
            stream_close(stream, sim_chance(lease->node->sim, 800000));
        }
    }
}

/* --- The loop --- */

void node_lease_tick(struct node_lease *lease)
{
    int64_t at_us = now_us(lease);
    if (lease_node_next_due_us(lease->promises) <= at_us) {
        lease_node_tick(lease->promises, at_us);
    }
    if (lease_leader_next_due_us(lease->leader) <= at_us) {
        lease_leader_tick(lease->leader, at_us);
    }
}

void node_lease_flush(struct node_lease *lease)
{
    lease->dirty = false;
    if (lease->applied) {
        lease->applied = false;
        lease_node_applied(lease->promises, now_us(lease));
        lease_leader_applied(lease->leader, replica_is_ready(lease->node->replica), now_us(lease));
    }
    pump_streams(lease);
    lease_node_flush(lease->promises, now_us(lease));
    lease_leader_flush(lease->leader, now_us(lease));
    answer_waits(lease);
}

/* Streams are looked at now and then even when nothing happens: marks, and points that read again. */
int64_t node_lease_next_due_us(const struct node_lease *lease)
{
    if (lease->dirty || lease->applied) {
        return INT64_MIN;
    }
    int64_t due_us = lease_node_next_due_us(lease->promises);
    int64_t leader_us = lease_leader_next_due_us(lease->leader);
    int64_t marks_us = lease->streams == NULL ? INT64_MAX : now_us(lease) + LOOK_US;
    due_us = due_us < leader_us ? due_us : leader_us;
    return due_us < marks_us ? due_us : marks_us;
}

/* --- Life and death --- */

static enum lease_broken broken_of(const struct sim *sim)
{
    switch (sim->broken) {
    case BREAK_LEASE_POINT:
        return LEASE_BROKEN_POINT;
    case BREAK_LEASE_NODE:
        return LEASE_BROKEN_NODE;
    case BREAK_LEASE_TERM:
        return LEASE_BROKEN_TERM;
    case BREAK_LEASE_LIFE:
        return LEASE_BROKEN_LIFE;
    case BREAK_ADMISSION:
        return LEASE_BROKEN_ADMISSION;
    default:
        return LEASE_BROKEN_NOTHING;
    }
}

struct node_lease *node_lease_new(struct sim_node *node)
{
    static const struct lease_node_io node_io = {on_send, on_admitted, on_ended, on_progress};
    static const struct lease_leader_io leader_io = {on_send, on_propose, on_evidence, on_time};
    struct node_lease *lease = mem_calloc(1, sizeof(*lease));
    const struct store *store = replica_store(node->replica);
    lease->node = node;
    lease->mail_tail = &lease->mail;
    lease->promises = lease_node_new(node->id, replica_life(node->replica), store, now_us(lease), &node_io, lease);
    lease->leader = lease_leader_new(store, now_us(lease), broken_of(node->sim), &leader_io, lease);
    return lease;
}

void node_lease_started(struct node_lease *lease)
{
    node_lease_on_store_replaced(lease);
}

/* Before the replica is freed, whose waiting proposals come back then. */
void node_lease_free(struct node_lease *lease)
{
    bool told = sim_chance(lease->node->sim, 500000);
    while (lease->streams != NULL) {
        struct node_stream *stream = lease->streams;
        lease->streams = stream->next;
        stream_close(stream, told);
    }
    while (lease->mail != NULL) {
        struct mail_item *item = lease->mail;
        lease->mail = item->next;
        mail_free(item);
    }
    lease_node_free(lease->promises);
    lease_leader_free(lease->leader);
    free(lease);
}

struct lease_node *node_lease_node(struct node_lease *lease)
{
    return lease->promises;
}

struct sim_node *node_lease_owner(struct node_lease *lease)
{
    return lease->node;
}
