/* Sending a snapshot: see raft/transfer.h. The file is read chunk by chunk; what is on its way is bounded by what the
 * follower has acknowledged as written. */
#include "raft/replica_internal.h"

#include "base/check.h"

#define WINDOW_BYTES (8ull * LIMIT_SNAPSHOT_CHUNK)
#define RESEND_US (500ll * 1000)
#define GIVE_UP_US (5ll * 1000 * 1000)
#define PAUSE_US (1000ll * 1000)

static void read_next(struct replica *replica)
{
    struct transfer_send *send = &replica->sending;
    if (send->to == 0 || send->reading || send->at_end || send->read - send->acked >= WINDOW_BYTES)
        return;
    struct storage_job *job = replica_job(STORAGE_READ);
    job->offset = send->read;
    job->tag = send->id;
    send->reading = true;
    replica->io.storage(replica->arg, job);
}

static void end(struct replica *replica)
{
    replica_meta_free(&replica->sending.meta);
    replica->sending = (struct transfer_send){.quiet_until_us = replica->now.boot_us + PAUSE_US};
}

void replica_sending_abort(struct replica *replica)
{
    if (replica->sending.to != 0)
        end(replica);
}

void replica_sending_want(struct replica *replica, uint64_t to)
{
    struct transfer_send *send = &replica->sending;
    if (send->to != 0 || replica->now.boot_us < send->quiet_until_us)
        return; /* libraft asks again */
    *send = (struct transfer_send){.to = to,
                                   .id = replica_next_stamp(replica),
                                   .progress_us = replica->now.boot_us,
                                   .resent_us = replica->now.boot_us};
    read_next(replica);
}

static void send_chunk(struct replica *replica, const struct storage_job *job)
{
    const struct transfer_send *send = &replica->sending;
    struct message chunk = {.type = MESSAGE_CHUNK,
                            .term = send->meta.term,
                            .index = send->meta.index,
                            .sequence = send->id,
                            .offset = job->offset,
                            .size = send->size,
                            .configuration_index = send->meta.configuration_index,
                            .configuration = blob_slice(send->meta.configuration),
                            .data = blob_slice(job->chunk),
                            .last = job->last};
    replica_send(replica, send->to, &chunk);
}

/* False when the file is no longer the one that the transfer began with. */
static bool same_file(struct transfer_send *send, const struct storage_job *job)
{
    if (send->meta.index == 0) {
        send->meta = replica_meta_copy(&job->meta);
        send->size = job->size;
    }
    return send->meta.index == job->meta.index && send->meta.term == job->meta.term && send->size == job->size;
}

void replica_sending_read(struct replica *replica, struct storage_job *job)
{
    struct transfer_send *send = &replica->sending;
    if (send->to == 0 || job->tag != send->id)
        return;
    send->reading = false;
    if (!lapse_is_ok(job->result))
        replica_warn(replica, &job->error);
    if (!lapse_is_ok(job->result) || job->chunk == NULL || job->chunk->len == 0 || !same_file(send, job)) {
        end(replica);
        return;
    }
    if (job->offset == send->read) { /* else the transfer was set back meanwhile */
        send->read += job->chunk->len;
        send->at_end = job->last;
        send_chunk(replica, job);
    }
    read_next(replica);
}

void replica_sending_ack(struct replica *replica, uint64_t from, const struct message *message)
{
    struct transfer_send *send = &replica->sending;
    if (send->to != from || message->sequence != send->id || message->offset > send->read)
        return;
    if (message->offset > send->acked) {
        send->acked = message->offset;
        send->progress_us = replica->now.boot_us;
    }
    if (message->busy || (send->at_end && send->acked == send->size))
        end(replica);
    else
        read_next(replica);
}

static int64_t resend_at(const struct transfer_send *send)
{
    return (send->progress_us > send->resent_us ? send->progress_us : send->resent_us) + RESEND_US;
}

void replica_sending_tick(struct replica *replica)
{
    struct transfer_send *send = &replica->sending;
    int64_t now = replica->now.boot_us;
    if (send->to == 0 || now < resend_at(send))
        return;
    if (now - send->progress_us >= GIVE_UP_US) {
        end(replica);
        return;
    }
    send->resent_us = now;
    send->read = send->acked;
    send->at_end = false;
    read_next(replica);
}

int64_t replica_sending_due_us(const struct replica *replica)
{
    return replica->sending.to == 0 ? INT64_MAX : resend_at(&replica->sending);
}
