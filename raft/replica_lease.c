/* Lease frames, and what leases rest on; and audit frames, which only pass through (node/audit_frame.h says what is in
 * them).
 *
 * What lease frames say is the business of node/lease_*: here they only get their term. A frame of another term is dropped
 * at either end, so that both sides of a lease always speak of the same one.
 *
 * A leader is also a node with enforcement points: frames to ourselves take the same way as all others, but for the
 * network. */
#include "raft/replica_internal.h"

#include "base/check.h"

static void keep_for_ourselves(struct replica *replica, struct slice frame)
{
    struct loopback *loopback = &replica->loopback;
    struct buf copy;
    if (loopback->term != replica->term)
        outbox_free(&loopback->frames);
    loopback->term = replica->term;
    buf_init(&copy, LIMIT_SNAPSHOT_CHUNK);
    lapse_result result = buf_append(&copy, frame.data, frame.len);
    CHECK(lapse_is_ok(result));
    outbox_push(&loopback->frames, replica->options.node_id, &copy);
}

void replica_send_lease(struct replica *replica, uint64_t to, struct slice frame)
{
    struct message message = {.type = MESSAGE_LEASE, .data = frame};
    CHECK(to != 0 && frame.len > 0 && frame.len <= LIMIT_SNAPSHOT_CHUNK);
    if (!replica->started || replica->stopped)
        return;
    replica->io.clock(replica->arg, &replica->now);
    if (to == replica->options.node_id)
        keep_for_ourselves(replica, frame);
    else
        replica_send(replica, to, &message);
}

void replica_send_audit(struct replica *replica, uint64_t to, struct slice frame)
{
    struct message message = {.type = MESSAGE_AUDIT, .data = frame};
    CHECK(to != 0 && to != replica->options.node_id && frame.len > 0 && frame.len <= LIMIT_SNAPSHOT_CHUNK);
    if (!replica->started || replica->stopped)
        return;
    replica->io.clock(replica->arg, &replica->now);
    replica_send(replica, to, &message);
}

void replica_audit_received(struct replica *replica, uint64_t from, const struct message *message)
{
    if (message->data.len > 0 && replica->observer.on_audit != NULL)
        replica->observer.on_audit(replica->arg, from, message->data);
}

static void deliver(struct replica *replica, uint64_t from, uint64_t life, uint64_t term, struct slice frame)
{
    if (term == replica->term && frame.len > 0 && replica->observer.on_lease != NULL)
        replica->observer.on_lease(replica->arg, from, life, term, frame);
}

void replica_lease_received(struct replica *replica, uint64_t from, const struct message *message)
{
    deliver(replica, from, message->envelope.life, message->envelope.term, message->data);
}

static void come_back(void *arg, uint64_t to, struct slice frame)
{
    struct replica *replica = arg;
    deliver(replica, to, replica->life, replica->term, frame);
}

void replica_lease_flush(struct replica *replica)
{
    /* What the frames cause to be sent to ourselves comes back with the flush after this one. */
    struct loopback due = replica->loopback;
    replica->loopback = (struct loopback){0};
    if (due.term == replica->term && !replica->stopped)
        outbox_drain(&due.frames, come_back, replica);
    outbox_free(&due.frames);
}

uint64_t replica_life(const struct replica *replica)
{
    return replica->life;
}

int64_t replica_evidence_us(const struct replica *replica)
{
    struct replica_time now;
    if (replica->state != REPLICA_LEADER)
        return INT64_MIN;
    replica->io.clock(replica->arg, &now);
    uint64_t since = evidence_since(&replica->evidence, replica->options.node_id);
    if (since == 0)
        return INT64_MIN;
    /* Stamps increase strictly, so many frames at once run ahead of the clock: none left later than its stamp less
     * that. */
    int64_t at_us = since == UINT64_MAX ? now.boot_us : (int64_t)since - replica->stamp_ahead_us;
    return at_us < now.boot_us ? at_us : now.boot_us;
}

int64_t replica_leading_since_us(const struct replica *replica)
{
    return replica->state == REPLICA_LEADER ? replica->leading_since_us : INT64_MIN;
}
