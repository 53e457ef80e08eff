/* Linearizable reads on any node, without a word in the log.
 *
 *   follower:  READ -----> leader: a round             leader:  a round
 *              READ_INDEX <--'                                  |
 *              wait until applied                               wait until applied
 *
 * A round notes the commit index and asks all voters to prove that they are still in this term. When a majority has
 * done so *after* the round began (raft/evidence.h), nobody else can have committed anything before it began, so
 * whoever has applied up to that index has seen everything acknowledged before. Rounds don't overlap; whoever comes
 * meanwhile joins the next.
 *
 * The answer's time: the leader's cluster time, plus all the time since we asked. Never less than cluster time now. */
#include "raft/replica_internal.h"

#include "base/check.h"

#define PROBE_AGAIN_US (50ll * 1000)
#define ASK_AGAIN_US (100ll * 1000)
#define DRIFT_PARTS 100

/* --- Lists --- */

static void unlink_read(struct reads *reads, struct replica_read *read)
{
    struct read_list *list = &reads->lists[read->stage];
    *(read->prev == NULL ? &list->first : &read->prev->next) = read->next;
    *(read->next == NULL ? &list->last : &read->next->prev) = read->prev;
    list->n--;
}

static void link_last(struct reads *reads, struct replica_read *read, enum read_stage stage)
{
    struct read_list *list = &reads->lists[stage];
    read->stage = (uint8_t)stage;
    read->next = NULL;
    read->prev = list->last;
    *(list->last == NULL ? &list->first : &list->last->next) = read;
    list->last = read;
    list->n++;
}

static void move(struct reads *reads, struct replica_read *read, enum read_stage stage)
{
    unlink_read(reads, read);
    link_last(reads, read, stage);
}

void replica_reads_init(struct replica *replica)
{
    replica->reads.due_us = INT64_MAX;
    replica->reads.next_round = replica->life >> 1; /* answers to an earlier life's questions must not fit */
}

/* --- Taking and ending --- */

static uint32_t waiting(const struct reads *reads)
{
    return reads->lists[READ_NEW].n + reads->lists[READ_ASKED].n + reads->lists[READ_APPLYING].n;
}

void replica_read(struct replica *replica, struct replica_read *read, int64_t timeout_ms)
{
    struct reads *reads = &replica->reads;
    CHECK(timeout_ms > 0 && read->done != NULL);
    replica->io.clock(replica->arg, &replica->now);
    read->deadline_us = replica->now.boot_us + timeout_ms * 1000;
    read->result = lapse_ok();
    if (replica->stopped)
        read->result = lapse_failed(LAPSE_UNAVAILABLE);
    else if (waiting(reads) >= replica->options.waiting_max)
        read->result = lapse_failed(LAPSE_RESOURCE_EXHAUSTED);
    link_last(reads, read, lapse_is_ok(read->result) ? READ_NEW : READ_FINISHED);
    if (read->deadline_us < reads->due_us)
        reads->due_us = read->deadline_us;
}

void replica_cancel_read(struct replica *replica, struct replica_read *read)
{
    unlink_read(&replica->reads, read);
}

static void give_up(struct reads *reads, struct replica_read *read)
{
    read->result = lapse_failed(LAPSE_UNAVAILABLE);
    move(reads, read, READ_FINISHED);
}

void replica_reads_stop(struct replica *replica)
{
    struct reads *reads = &replica->reads;
    for (int stage = READ_NEW; stage <= READ_APPLYING; stage++) {
        while (reads->lists[stage].first != NULL)
            give_up(reads, reads->lists[stage].first);
    }
}

/* An upper bound of cluster time now, from what the leader said and how long ago it can have been at most. */
static int64_t time_of(const struct replica *replica, const struct replica_read *read)
{
    int64_t age = replica->now.boot_us - read->leader_stamp_us;
    int64_t time_us = read->leader_time_us + age + age / DRIFT_PARTS;
    int64_t time_ms = (time_us + 999) / 1000, applied_ms = store_time_ms(replica->store);
    return time_ms > applied_ms ? time_ms : applied_ms;
}

void replica_reads_finish(struct replica *replica)
{
    struct reads *reads = &replica->reads;
    struct replica_read *next;
    for (struct replica_read *read = reads->lists[READ_APPLYING].first; read != NULL; read = next) {
        next = read->next;
        if (read->index <= replica->applied)
            move(reads, read, READ_FINISHED);
    }
    for (uint32_t n = reads->lists[READ_FINISHED].n; n > 0 && reads->lists[READ_FINISHED].first != NULL; n--) {
        struct replica_read *read = reads->lists[READ_FINISHED].first;
        unlink_read(reads, read);
        read->done(read, read->result, lapse_is_ok(read->result) ? time_of(replica, read) : 0);
    }
}

static void index_known(struct replica *replica, struct replica_read *read, uint64_t index, int64_t time_us,
                        int64_t stamp_us)
{
    read->index = index;
    read->leader_time_us = time_us;
    read->leader_stamp_us = stamp_us;
    move(&replica->reads, read, READ_APPLYING);
}

/* --- The leader's rounds --- */

static void probe_voters(struct replica *replica)
{
    uint64_t voters[LIMIT_PEERS];
    uint32_t n = members_voters(consensus_members(replica->core), voters);
    for (uint32_t i = 0; i < n; i++) {
        struct message probe = {.type = MESSAGE_PROBE};
        if (voters[i] != replica->options.node_id)
            replica_send(replica, voters[i], &probe);
    }
    replica->reads.probed_us = replica->now.boot_us;
}

static void begin_round(struct replica *replica)
{
    struct reads *reads = &replica->reads;
    reads->round_running = true;
    reads->round = ++reads->next_round;
    /* Frames made from now on have later stamps; those made before prove nothing about reads that have come since. */
    reads->round_stamp = replica_next_stamp(replica);
    reads->round_index = consensus_commit(replica->core);
    memcpy(reads->remote[0], reads->remote[1], sizeof reads->remote[0]);
    reads->n_remote[0] = reads->n_remote[1];
    reads->n_remote[1] = 0;
    while (reads->lists[READ_NEW].first != NULL) {
        reads->lists[READ_NEW].first->round = reads->round;
        move(reads, reads->lists[READ_NEW].first, READ_ASKED);
    }
    probe_voters(replica);
}

static void end_round(struct replica *replica)
{
    struct reads *reads = &replica->reads;
    struct replica_read *next;
    int64_t time_us = cluster_clock_now(&replica->clock, replica->now.boot_us);
    reads->round_running = false;
    for (struct replica_read *read = reads->lists[READ_ASKED].first; read != NULL; read = next) {
        next = read->next;
        index_known(replica, read, reads->round_index, time_us, replica->now.boot_us);
    }
    for (uint32_t i = 0; i < reads->n_remote[0]; i++) {
        struct message answer = {
            .type = MESSAGE_READ_INDEX, .sequence = reads->remote[0][i].sequence, .index = reads->round_index};
        replica_send(replica, reads->remote[0][i].from, &answer);
    }
    reads->n_remote[0] = 0;
}

static void lead_rounds(struct replica *replica)
{
    struct reads *reads = &replica->reads;
    for (;;) {
        if (reads->round_running) {
            if (evidence_since(&replica->evidence, replica->options.node_id) < reads->round_stamp)
                break;
            end_round(replica);
        }
        if (!replica_is_ready(replica) || (reads->lists[READ_NEW].n == 0 && reads->n_remote[1] == 0))
            return;
        begin_round(replica);
    }
    if (replica->now.boot_us - reads->probed_us >= PROBE_AGAIN_US)
        probe_voters(replica);
}

void replica_reads_asked(struct replica *replica, uint64_t from, const struct message *message)
{
    struct reads *reads = &replica->reads;
    if (replica->state != REPLICA_LEADER)
        return; /* it asks again when it hears of the leader */
    /* A later question of the same node covers its earlier ones. */
    for (uint32_t i = 0; i < reads->n_remote[1]; i++) {
        if (reads->remote[1][i].from != from)
            continue;
        if (reads->remote[1][i].sequence < message->sequence)
            reads->remote[1][i].sequence = message->sequence;
        return;
    }
    if (reads->n_remote[1] < REMOTE_READS_MAX)
        reads->remote[1][reads->n_remote[1]++] = (struct remote_read){from, message->sequence};
}

/* --- The follower's questions --- */

static void ask(struct replica *replica)
{
    struct reads *reads = &replica->reads;
    struct message question = {.type = MESSAGE_READ, .sequence = ++reads->next_round};
    while (reads->lists[READ_NEW].first != NULL) {
        reads->lists[READ_NEW].first->round = question.sequence;
        move(reads, reads->lists[READ_NEW].first, READ_ASKED);
    }
    reads->asked_us = replica->now.boot_us;
    replica_send(replica, replica->leader, &question);
}

static bool ask_again_is_due(const struct replica *replica)
{
    return replica->reads.lists[READ_ASKED].n > 0 && replica->now.boot_us - replica->reads.asked_us >= ASK_AGAIN_US;
}

void replica_reads_answered(struct replica *replica, const struct message *message)
{
    struct reads *reads = &replica->reads;
    struct replica_read *next;
    int64_t echo_us = replica_echo_us(replica, &message->envelope);
    if (replica->state == REPLICA_LEADER || message->envelope.time_us == 0 || echo_us == 0)
        return;
    /* An answer to a question covers everything that was asked with it or before it. */
    for (struct replica_read *read = reads->lists[READ_ASKED].first; read != NULL; read = next) {
        next = read->next;
        if (read->round <= message->sequence && message->sequence <= reads->next_round)
            index_known(replica, read, message->index, message->envelope.time_us, echo_us);
    }
}

/* --- Both --- */

void replica_reads_leader_changed(struct replica *replica)
{
    struct reads *reads = &replica->reads;
    reads->round_running = false;
    reads->n_remote[0] = reads->n_remote[1] = 0;
    while (reads->lists[READ_ASKED].first != NULL)
        move(reads, reads->lists[READ_ASKED].first, READ_NEW);
}

void replica_reads_flush(struct replica *replica)
{
    if (replica->state == REPLICA_LEADER)
        lead_rounds(replica);
    else if (replica->leader != 0 && (replica->reads.lists[READ_NEW].n > 0 || ask_again_is_due(replica)))
        ask(replica);
}

static void expire_list(struct replica *replica, enum read_stage stage)
{
    struct reads *reads = &replica->reads;
    struct replica_read *next;
    for (struct replica_read *read = reads->lists[stage].first; read != NULL; read = next) {
        next = read->next;
        if (read->deadline_us <= replica->now.boot_us)
            give_up(reads, read);
        else if (read->deadline_us < reads->due_us)
            reads->due_us = read->deadline_us;
    }
}

void replica_reads_expire(struct replica *replica)
{
    if (replica->now.boot_us < replica->reads.due_us)
        return;
    replica->reads.due_us = INT64_MAX;
    expire_list(replica, READ_NEW);
    expire_list(replica, READ_ASKED);
    expire_list(replica, READ_APPLYING);
}

int64_t replica_reads_due_us(const struct replica *replica)
{
    const struct reads *reads = &replica->reads;
    bool leads = replica->state == REPLICA_LEADER;
    int64_t due = reads->due_us;
    if (reads->lists[READ_NEW].n > 0 &&
        (leads ? replica_is_ready(replica) && !reads->round_running : replica->leader != 0))
        return 0;
    int64_t again = INT64_MAX;
    if (leads && reads->round_running)
        again = reads->probed_us + PROBE_AGAIN_US;
    else if (!leads && replica->leader != 0 && reads->lists[READ_ASKED].n > 0)
        again = reads->asked_us + ASK_AGAIN_US;
    return again < due ? again : due;
}
