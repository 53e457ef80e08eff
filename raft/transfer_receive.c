/* Receiving a snapshot: see raft/transfer.h. */
#include "raft/replica_internal.h"

#include "base/check.h"

#define SILENCE_US (5ll * 1000 * 1000)

static void reset(struct replica *replica)
{
    struct transfer_receive *receive = &replica->receiving;
    replica_meta_free(&receive->meta);
    store_free(receive->store);
    *receive = (struct transfer_receive){.state = RECEIVE_IDLE};
}

bool replica_receiving_busy(const struct replica *replica)
{
    return replica->receiving.state != RECEIVE_IDLE;
}

void replica_receiving_free(struct replica *replica)
{
    reset(replica);
}

void replica_receiving_tick(struct replica *replica)
{
    const struct transfer_receive *receive = &replica->receiving;
    if (receive->state == RECEIVE_RECEIVING && replica->now.boot_us - receive->heard_us >= SILENCE_US)
        reset(replica);
}

static void acknowledge(struct replica *replica, uint64_t to, uint64_t id, uint64_t offset, bool busy)
{
    struct message ack = {.type = MESSAGE_CHUNK_ACK, .sequence = id, .offset = offset, .busy = busy};
    replica_send(replica, to, &ack);
}

/* --- Chunks --- */

static bool chunk_is_possible(const struct message *chunk)
{
    struct members members;
    return chunk->term > 0 && chunk->term <= chunk->envelope.term && chunk->index > 0 && chunk->data.len > 0 &&
           chunk->offset <= chunk->size && chunk->data.len <= chunk->size - chunk->offset &&
           chunk->last == (chunk->offset + chunk->data.len == chunk->size) &&
           chunk->configuration_index <= chunk->index &&
           lapse_is_ok(members_decode(chunk->configuration, &members, NULL));
}

static void begin(struct replica *replica, uint64_t from, const struct message *chunk)
{
    reset(replica);
    replica->receiving = (struct transfer_receive){.state = RECEIVE_RECEIVING,
                                                   .from = from,
                                                   .id = chunk->sequence,
                                                   .term = chunk->envelope.term,
                                                   .size = chunk->size,
                                                   .meta = {.index = chunk->index,
                                                            .term = chunk->term,
                                                            .configuration_index = chunk->configuration_index,
                                                            .configuration = blob_new(chunk->configuration)}};
}

static bool belongs(const struct transfer_receive *receive, uint64_t from, const struct message *chunk)
{
    return receive->state == RECEIVE_RECEIVING && receive->from == from && receive->id == chunk->sequence &&
           receive->size == chunk->size && receive->meta.index == chunk->index && receive->meta.term == chunk->term;
}

static void write_chunk(struct replica *replica, const struct message *chunk)
{
    struct transfer_receive *receive = &replica->receiving;
    struct storage_job *job = replica_job(STORAGE_RECEIVE);
    job->offset = chunk->offset;
    job->chunk = blob_new(chunk->data);
    job->last = chunk->last;
    job->tag = receive->id;
    job->meta = replica_meta_copy(&receive->meta);
    receive->offset += chunk->data.len;
    receive->heard_us = replica->now.boot_us;
    replica->io.storage(replica->arg, job);
}

static bool may_begin(const struct replica *replica, const struct message *chunk)
{
    const struct transfer_receive *receive = &replica->receiving;
    bool free = receive->state == RECEIVE_IDLE || receive->state == RECEIVE_RECEIVING;
    return free && !replica->taking && !consensus_installing(replica->core) && chunk->index > replica->applied;
}

void replica_receiving_chunk(struct replica *replica, uint64_t from, const struct message *chunk)
{
    struct transfer_receive *receive = &replica->receiving;
    struct lapse_error error;
    if (!chunk->envelope.leading || chunk->envelope.term != replica->term || replica->state == REPLICA_LEADER)
        return;
    if (!chunk_is_possible(chunk)) {
        (void)lapse_fail(&error, LAPSE_INVALID_ARGUMENT, "node %llu sent an impossible piece of a snapshot",
                         (unsigned long long)from);
        replica_warn(replica, &error);
        return;
    }
    if (!belongs(receive, from, chunk) && chunk->offset == 0) {
        replica_snapshot_give_way(replica);
        if (!may_begin(replica, chunk)) {
            acknowledge(replica, from, chunk->sequence, 0, true);
            return;
        }
        begin(replica, from, chunk);
    }
    if (!belongs(receive, from, chunk))
        return;
    if (chunk->offset == receive->offset)
        write_chunk(replica, chunk);
    else /* a gap or a repetition: say where we are */
        acknowledge(replica, from, chunk->sequence, receive->offset, false);
}

/* --- Jobs --- */

static void received(struct replica *replica, struct storage_job *job)
{
    struct transfer_receive *receive = &replica->receiving;
    acknowledge(replica, receive->from, receive->id, job->offset + job->chunk->len, false);
    if (!job->last)
        return;
    receive->state = RECEIVE_RESTORING;
    struct storage_job *restore = replica_job(STORAGE_RESTORE);
    restore->tag = receive->id;
    restore->meta = replica_meta_copy(&receive->meta);
    replica->io.storage(replica->arg, restore);
}

static void restored(struct replica *replica, struct storage_job *job)
{
    struct transfer_receive *receive = &replica->receiving;
    struct lapse_error error;
    bool wanted = false;
    receive->store = job->store;
    job->store = NULL;
    lapse_result result = consensus_snapshot_offered(replica->core, replica_now_ms(replica), receive->from,
                                                     receive->term, &receive->meta, &wanted, &error);
    if (!replica_survived(replica, result, &error))
        return;
    replica_watch(replica);
    if (!wanted) {
        reset(replica);
        return;
    }
    receive->state = RECEIVE_INSTALLING;
    struct storage_job *install = replica_job(STORAGE_SNAPSHOT_INSTALL);
    install->meta = replica_meta_copy(&receive->meta);
    replica->io.storage(replica->arg, install);
}

void replica_receiving_done(struct replica *replica, struct storage_job *job)
{
    struct transfer_receive *receive = &replica->receiving;
    enum receive_state expected = job->type == STORAGE_RECEIVE ? RECEIVE_RECEIVING : RECEIVE_RESTORING;
    if (receive->state != expected || receive->id != job->tag) {
        store_free(job->store); /* of a transfer that was given up */
        job->store = NULL;
    } else if (!lapse_is_ok(job->result)) {
        replica_warn(replica, &job->error);
        reset(replica);
    } else if (job->type == STORAGE_RECEIVE)
        received(replica, job);
    else
        restored(replica, job);
}

void replica_receiving_installed(struct replica *replica, struct storage_job *job)
{
    struct transfer_receive *receive = &replica->receiving;
    struct lapse_error error;
    CHECK(receive->state == RECEIVE_INSTALLING && receive->meta.index == job->meta.index);
    lapse_result result = consensus_snapshot_installed(replica->core, replica_now_ms(replica), &receive->meta, &error);
    if (!replica_survived(replica, result, &error))
        return;
    struct store *store = receive->store;
    receive->store = NULL;
    replica->snapshots_installed++;
    replica_swap_store(replica, store, &receive->meta);
    reset(replica);
    replica_watch(replica);
}
