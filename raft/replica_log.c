/* What consensus wants on disk, and what the disk reports. */
#include "raft/replica_internal.h"

#include "base/check.h"

struct storage_job *replica_job(enum storage_job_type type)
{
    struct storage_job *job = mem_calloc(1, sizeof *job);
    job->type = type;
    return job;
}

struct snapshot_meta replica_meta_copy(const struct snapshot_meta *meta)
{
    struct snapshot_meta copy = *meta;
    if (copy.configuration != NULL)
        blob_ref(copy.configuration);
    return copy;
}

void replica_meta_free(struct snapshot_meta *meta)
{
    blob_unref(meta->configuration);
    *meta = (struct snapshot_meta){0};
}

static void submit(struct replica *replica, struct storage_job *job)
{
    job->submitted_us = replica->now.boot_us;
    replica->io.storage(replica->arg, job);
}

/* A slow write counts at once and is forgotten over the next dozens. */
static void note_duration(struct replica *replica, const struct storage_job *job)
{
    int64_t took_us = replica->now.boot_us - job->submitted_us;
    replica->disk_us -= replica->disk_us / 16;
    if (took_us > replica->disk_us)
        replica->disk_us = took_us;
}

void replica_persist_vote(struct replica *replica, uint64_t term, uint64_t voted_for)
{
    struct storage_job *job = replica_job(STORAGE_VOTE);
    job->term = term;
    job->voted_for = voted_for;
    outbox_raise(&replica->outbox);
    submit(replica, job);
}

void replica_persist_entries(struct replica *replica, uint64_t index)
{
    const struct tail *tail = consensus_tail(replica->core);
    uint64_t n = tail_last(tail) - index + 1;
    CHECK(n > 0 && n <= UINT32_MAX);
    struct storage_job *job = replica_job(STORAGE_APPEND);
    job->index = index;
    job->n_entries = (uint32_t)n;
    job->entries = tail_copy(tail, index, job->n_entries);
    submit(replica, job);
}

static void entries_persisted(struct replica *replica, const struct storage_job *job)
{
    struct lapse_error error;
    lapse_result result =
        consensus_persisted(replica->core, replica_now_ms(replica), job->index, job->entries, job->n_entries, &error);
    if (replica_survived(replica, result, &error))
        replica_watch(replica);
}

void replica_log_done(struct replica *replica, struct storage_job *job)
{
    /* After a failed write nobody knows what the disk holds. */
    if (!replica_survived(replica, job->result, &job->error))
        return;
    switch (job->type) {
    case STORAGE_VOTE:
        note_duration(replica, job);
        outbox_pass(&replica->outbox);
        break;
    case STORAGE_APPEND:
        note_duration(replica, job);
        entries_persisted(replica, job);
        break;
    case STORAGE_SNAPSHOT_COMMIT:
        replica_snapshot_committed(replica, job);
        break;
    case STORAGE_SNAPSHOT_INSTALL:
        replica_receiving_installed(replica, job);
        break;
    default:
        CHECK(false);
    }
}
