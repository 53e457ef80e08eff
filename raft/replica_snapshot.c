/* Snapshots of our own: the store is frozen (cheap), written beside the log, made the snapshot, and the log behind it
 * goes.
 *
 *   enough applied --> freeze, SAVE --> [held until the driver lets the log go] --> COMMIT --> consensus forgets, the tail is trimmed
 *
 * Never while one from the leader is arriving, and none is let in meanwhile: the two would disagree about the log. */
#include "raft/replica_internal.h"

#include "base/check.h"

#define RETRY_US (10ll * 1000 * 1000)

static bool is_due(const struct replica *replica)
{
    const struct tail *tail = consensus_tail(replica->core);
    uint64_t since = tail->snapshot_index;
    return replica->applied > since && tail_at(tail, replica->applied) != NULL &&
           (replica->applied - since >= replica->options.snapshot_entries ||
            tail_bytes(tail, since + 1, replica->applied) >= replica->options.snapshot_bytes);
}

/* What is derived from the log must be safe before the log goes, but not at the price of the disk. */
static bool may_drop(const struct replica *replica)
{
    const struct tail *tail = consensus_tail(replica->core);
    return replica->observer.may_drop == NULL || replica->observer.may_drop(replica->arg, replica->held_revision) ||
           tail_bytes(tail, tail->snapshot_index + 1, tail_last(tail)) >=
               LIMIT_LOG_HELD_SNAPSHOTS * replica->options.snapshot_bytes;
}

static void let_go(struct replica *replica)
{
    if (replica->stopped || replica->held == NULL || !may_drop(replica))
        return;
    struct storage_job *job = replica->held;
    replica->held = NULL;
    /* As it is now: followers may have come nearer. */
    job->keep_from = consensus_keep_from(replica->core, job->meta.index, replica->options.trailing_entries);
    replica->io.storage(replica->arg, job);
}

void replica_snapshot_give_way(struct replica *replica)
{
    if (replica->held == NULL)
        return;
    storage_job_free(replica->held);
    replica->held = NULL;
    replica->taking = false;
    replica->snapshot_retry_us = replica->now.boot_us + RETRY_US;
}

void replica_snapshot_maybe_take(struct replica *replica)
{
    let_go(replica);
    if (replica->stopped || replica->taking || replica->view != NULL || replica->configuration == NULL ||
        replica_receiving_busy(replica) || consensus_installing(replica->core) ||
        replica->now.boot_us < replica->snapshot_retry_us || !is_due(replica))
        return;
    replica->view = store_freeze(replica->store);
    if (replica->view == NULL)
        return;
    replica->taking = true;
    replica->held_revision = store_revision(replica->store);
    struct storage_job *job = replica_job(STORAGE_SAVE);
    job->meta = (struct snapshot_meta){.index = replica->applied,
                                       .term = tail_term(consensus_tail(replica->core), replica->applied),
                                       .configuration_index = replica->configuration_index,
                                       .configuration = blob_ref(replica->configuration)};
    job->view = replica->view;
    replica->io.storage(replica->arg, job);
}

void replica_snapshot_saved(struct replica *replica, struct storage_job *saved)
{
    CHECK(replica->taking && saved->view == replica->view);
    store_view_free(replica->view);
    replica->view = NULL;
    if (!lapse_is_ok(saved->result)) {
        replica->taking = false;
        replica->snapshot_retry_us = replica->now.boot_us + RETRY_US;
        replica_warn(replica, &saved->error);
        return;
    }
    struct storage_job *job = replica_job(STORAGE_SNAPSHOT_COMMIT);
    job->meta = replica_meta_copy(&saved->meta);
    replica->held = job;
    let_go(replica);
}

void replica_snapshot_committed(struct replica *replica, struct storage_job *job)
{
    struct lapse_error error;
    CHECK(replica->taking);
    lapse_result result = consensus_snapshot_taken(replica->core, replica_now_ms(replica), &job->meta,
                                                   replica->options.trailing_entries, &error);
    replica->taking = false;
    if (replica_survived(replica, result, &error))
        replica->snapshots_taken++;
}

void replica_swap_store(struct replica *replica, struct store *store, const struct snapshot_meta *meta)
{
    CHECK(replica->view == NULL && meta->index > replica->applied);
    store_free(replica->store);
    replica->store = store;
    replica->applied = meta->index;
    blob_unref(replica->configuration);
    replica->configuration = blob_ref(meta->configuration);
    replica->configuration_index = meta->configuration_index;
    cluster_clock_applied(&replica->clock, store_time_ms(store));
    if (replica->observer.on_store_replaced != NULL)
        replica->observer.on_store_replaced(replica->arg);
    /* The entries with our commands may lie inside the snapshot, and will never be seen here. */
    replica_writes_lost(replica);
}
