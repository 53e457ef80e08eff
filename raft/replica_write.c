/* Writes that wait on the node that took them. See enum write_stage for their way.
 *
 * The rule that makes it safe to send again: a write with a request key may be in the log twice, since the store
 * carries it out once. One without is sent again only when every earlier sending was refused. */
#include "raft/replica_internal.h"

#include <stdlib.h>

#include "base/check.h"

/* Most commands fit. */
#define USUAL_COMMAND_BYTES 512u
#define RESEND_US (200ll * 1000)
#define RESEND_DOUBLINGS 4u
/* Who refuses because it is not the leader will not be it at once. */
#define REFUSED_RETRY_US (20ll * 1000)

/* --- Lists and lookup --- */

static void unlink_write(struct writes *writes, struct replica_write *write)
{
    struct write_list *list = &writes->lists[write->stage];
    *(write->prev == NULL ? &list->first : &write->prev->next) = write->next;
    *(write->next == NULL ? &list->last : &write->next->prev) = write->prev;
    list->n--;
}

static void link_last(struct writes *writes, struct replica_write *write, enum write_stage stage)
{
    struct write_list *list = &writes->lists[stage];
    write->stage = (uint8_t)stage;
    write->next = NULL;
    write->prev = list->last;
    *(list->last == NULL ? &list->first : &list->last->next) = write;
    list->last = write;
    list->n++;
}

static void link_first(struct writes *writes, struct replica_write *write, enum write_stage stage)
{
    struct write_list *list = &writes->lists[stage];
    write->stage = (uint8_t)stage;
    write->prev = NULL;
    write->next = list->first;
    *(list->first == NULL ? &list->last : &list->first->prev) = write;
    list->first = write;
    list->n++;
}

static struct replica_write **bucket_of(struct writes *writes, uint64_t sequence)
{
    return &writes->buckets[sequence & (writes->n_buckets - 1)];
}

static void remember(struct writes *writes, struct replica_write *write)
{
    write->sequence = writes->next_sequence++;
    struct replica_write **bucket = bucket_of(writes, write->sequence);
    write->chain = *bucket;
    *bucket = write;
}

static void forget(struct writes *writes, struct replica_write *write)
{
    struct replica_write **at = bucket_of(writes, write->sequence);
    while (*at != write)
        at = &(*at)->chain;
    *at = write->chain;
}

static struct replica_write *find(struct writes *writes, uint64_t sequence)
{
    struct replica_write *write = *bucket_of(writes, sequence);
    while (write != NULL && write->sequence != sequence)
        write = write->chain;
    return write;
}

void replica_writes_init(struct replica *replica)
{
    struct writes *writes = &replica->writes;
    writes->n_buckets = 1024;
    while (writes->n_buckets < replica->options.waiting_max)
        writes->n_buckets *= 2;
    writes->buckets = mem_calloc(writes->n_buckets, sizeof *writes->buckets);
    writes->due_us = INT64_MAX;
}

void replica_writes_free(struct replica *replica)
{
    free(replica->writes.buckets);
    replica->writes.buckets = NULL;
}

/* --- Taking and ending --- */

static void due_by(struct writes *writes, int64_t due_us)
{
    if (due_us < writes->due_us)
        writes->due_us = due_us;
}

static bool is_zero(const struct request_key *key)
{
    static const struct request_key zero;
    return memcmp(key, &zero, sizeof zero) == 0;
}

static lapse_result admit(const struct replica *replica, const struct command *command, bool leader_only,
                          struct lapse_error *error)
{
    const struct writes *writes = &replica->writes;
    if (replica->stopped)
        return lapse_fail(error, LAPSE_UNAVAILABLE, "this node has stopped: %.200s", replica->why_stopped.message);
    if (leader_only && replica->state != REPLICA_LEADER)
        return lapse_fail(error, LAPSE_ABORTED, "this node does not lead");
    /* The leader's own are few, and evidence of revocations: a flood of callers must not hold them up. */
    if (!leader_only &&
        writes->lists[WRITE_UNSENT].n + writes->lists[WRITE_SENT].n >= replica->options.waiting_max)
        return lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED, "%u writes are waiting on this node; try again later",
                          replica->options.waiting_max);
    return replica_admits(replica, command, error);
}

void replica_write(struct replica *replica, struct replica_write *write, const struct command *command,
                   int64_t timeout_ms)
{
    struct writes *writes = &replica->writes;
    CHECK(timeout_ms > 0 && write->done != NULL);
    replica->io.clock(replica->arg, &replica->now);
    write->deadline_us = replica->now.boot_us + timeout_ms * 1000;
    write->resend_us = INT64_MAX;
    write->attempts = 0;
    write->has_key = !is_zero(&command->key);
    write->outcome = (struct store_outcome){.revision = store_revision(replica->store)};
    buf_init(&write->command, LIMIT_COMMAND_BYTES);
    lapse_result result = admit(replica, command, write->leader_only, &write->outcome.error);
    if (lapse_is_ok(result) && (!lapse_is_ok(buf_reserve(&write->command, USUAL_COMMAND_BYTES)) ||
                                !lapse_is_ok(command_encode(command, &write->command))))
        result = lapse_fail(&write->outcome.error, LAPSE_INVALID_ARGUMENT, "a command may have %u bytes at most",
                            LIMIT_COMMAND_BYTES);
    if (!lapse_is_ok(result)) {
        link_last(writes, write, WRITE_FINISHED);
        return;
    }
    remember(writes, write);
    link_last(writes, write, WRITE_UNSENT);
    due_by(writes, write->deadline_us);
}

/* Takes a write off everything; it is the caller's again once `done` was called. */
static void finish(struct writes *writes, struct replica_write *write)
{
    forget(writes, write);
    unlink_write(writes, write);
    link_last(writes, write, WRITE_FINISHED);
}

static void end_unfinished(struct writes *writes, struct replica_write *write, const char *why)
{
    if (write->attempts == 0)
        (void)lapse_fail(&write->outcome.error, LAPSE_UNAVAILABLE, "%s; nothing was done", why);
    else
        (void)lapse_fail(&write->outcome.error, LAPSE_UNKNOWN,
                         "%s; it may have happened or may still happen: ask again with the same request id", why);
    finish(writes, write);
}

void replica_cancel_write(struct replica *replica, struct replica_write *write)
{
    if (write->stage != WRITE_FINISHED)
        forget(&replica->writes, write);
    unlink_write(&replica->writes, write);
    buf_free(&write->command);
}

void replica_writes_finish(struct replica *replica)
{
    struct write_list *finished = &replica->writes.lists[WRITE_FINISHED];
    /* Those that a callback adds are called next time. */
    for (uint32_t n = finished->n; n > 0 && finished->first != NULL; n--) {
        struct replica_write *write = finished->first;
        unlink_write(&replica->writes, write);
        buf_free(&write->command);
        write->done(write, &write->outcome);
    }
}

void replica_writes_stop(struct replica *replica)
{
    struct writes *writes = &replica->writes;
    for (int stage = WRITE_UNSENT; stage <= WRITE_SENT; stage++) {
        while (writes->lists[stage].first != NULL)
            end_unfinished(writes, writes->lists[stage].first, "this node has stopped");
    }
}

void replica_write_applied(struct replica *replica, uint64_t sequence, const struct store_outcome *outcome)
{
    struct replica_write *write = find(&replica->writes, sequence);
    if (write == NULL)
        return;
    forget(&replica->writes, write);
    unlink_write(&replica->writes, write);
    buf_free(&write->command);
    write->outcome = *outcome;
    write->done(write, &write->outcome);
}

/* --- Sending, and sending again --- */

void replica_write_sent(struct replica *replica, struct replica_write *write)
{
    struct writes *writes = &replica->writes;
    unlink_write(writes, write);
    link_last(writes, write, WRITE_SENT);
    uint32_t doublings = write->attempts < RESEND_DOUBLINGS ? write->attempts : RESEND_DOUBLINGS;
    write->attempts++;
    writes->sent_to = replica->leader;
    writes->sent_term = replica->term;
    /* Our own log loses nothing while we lead. */
    bool may_be_lost = write->has_key && replica->state != REPLICA_LEADER;
    write->resend_us = may_be_lost ? replica->now.boot_us + (RESEND_US << doublings) : INT64_MAX;
    due_by(writes, write->resend_us);
}

static void lose(struct writes *writes, struct replica_write *write)
{
    if ((!write->has_key || write->leader_only) && write->attempts > 0) {
        end_unfinished(writes, write, "the leader changed while the command was under way");
        return;
    }
    unlink_write(writes, write);
    link_first(writes, write, WRITE_UNSENT);
}

void replica_writes_lost(struct replica *replica)
{
    struct writes *writes = &replica->writes;
    while (writes->lists[WRITE_SENT].last != NULL)
        lose(writes, writes->lists[WRITE_SENT].last);
}

void replica_writes_leader_changed(struct replica *replica)
{
    struct writes *writes = &replica->writes;
    if (replica->leader == 0 || (writes->sent_to == replica->leader && writes->sent_term == replica->term))
        return;
    replica_writes_lost(replica);
}

void replica_writes_abort_leader_only(struct replica *replica)
{
    struct writes *writes = &replica->writes;
    struct replica_write *next;
    for (struct replica_write *write = writes->lists[WRITE_UNSENT].first; write != NULL; write = next) {
        next = write->next;
        if (!write->leader_only)
            continue;
        (void)lapse_fail(&write->outcome.error, LAPSE_ABORTED, "this node no longer leads; nothing was done");
        finish(writes, write);
    }
}

static void refuse(struct replica *replica, struct replica_write *write, const struct message_refusal *refusal)
{
    struct writes *writes = &replica->writes;
    bool only = write->attempts == 1;
    if (refusal->code == LAPSE_UNAVAILABLE) {
        /* Under a new number: this refusal, should it come twice, must not be taken for one of the next sending. */
        if (only) {
            forget(writes, write);
            remember(writes, write);
            write->attempts = 0;
            write->resend_us = replica->now.boot_us + REFUSED_RETRY_US;
            due_by(writes, write->resend_us);
        }
        return;
    }
    if (!only) {
        end_unfinished(writes, write, "the leader refused a repetition");
        return;
    }
    write->outcome.error.code = refusal->code;
    (void)slice_to_cstr(refusal->text, write->outcome.error.message, sizeof write->outcome.error.message);
    finish(writes, write);
}

void replica_write_refused(struct replica *replica, const struct message *message)
{
    struct slice refusals = message->refusals;
    struct message_refusal refusal;
    while (message_refused_next(&refusals, &refusal)) {
        struct replica_write *write = find(&replica->writes, refusal.sequence);
        if (write != NULL && write->stage == WRITE_SENT)
            refuse(replica, write, &refusal);
    }
}

/* Packs waiting writes into one frame. */
static void forward_some(struct replica *replica)
{
    struct write_list *unsent = &replica->writes.lists[WRITE_UNSENT];
    struct buf commands;
    buf_init(&commands, LIMIT_PEER_FRAME / 2);
    for (uint32_t n = 0; n < LIMIT_ENTRY_COMMANDS && commands.len < LIMIT_ENTRY_BYTES && unsent->first != NULL; n++) {
        struct replica_write *write = unsent->first;
        struct message_command command = {write->sequence, buf_slice(&write->command)};
        lapse_result result = message_forward_add(&commands, command);
        CHECK(lapse_is_ok(result));
        replica_write_sent(replica, write);
    }
    struct message message = {.type = MESSAGE_FORWARD, .commands = buf_slice(&commands)};
    replica_send(replica, replica->leader, &message);
    buf_free(&commands);
}

void replica_writes_forward(struct replica *replica)
{
    if (replica->stopped || replica->state == REPLICA_LEADER || replica->leader == 0)
        return;
    while (replica->writes.lists[WRITE_UNSENT].n > 0)
        forward_some(replica);
}

/* --- Time --- */

static void expire_list(struct replica *replica, enum write_stage stage)
{
    struct writes *writes = &replica->writes;
    struct replica_write *next;
    int64_t now = replica->now.boot_us;
    for (struct replica_write *write = writes->lists[stage].first; write != NULL; write = next) {
        next = write->next;
        if (write->deadline_us <= now) {
            end_unfinished(writes, write, "no answer in time");
            continue;
        }
        due_by(writes, write->deadline_us);
        if (stage == WRITE_SENT && write->resend_us <= now)
            lose(writes, write);
        else if (stage == WRITE_SENT)
            due_by(writes, write->resend_us);
    }
}

void replica_writes_expire(struct replica *replica)
{
    if (replica->now.boot_us < replica->writes.due_us)
        return;
    replica->writes.due_us = INT64_MAX;
    expire_list(replica, WRITE_UNSENT);
    expire_list(replica, WRITE_SENT);
}

int64_t replica_writes_due_us(const struct replica *replica)
{
    bool can_forward = replica->state != REPLICA_LEADER && replica->leader != 0;
    return can_forward && replica->writes.lists[WRITE_UNSENT].n > 0 ? 0 : replica->writes.due_us;
}
