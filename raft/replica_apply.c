/* Committed entries into the store: the only caller of store_apply.
 *
 * A slice at a time, so that catching up after a restart never holds the loop. */
#include "raft/replica_internal.h"

#include <raft.h>

#include "base/check.h"

/* Commands and the events that they lead to: less than a millisecond, with what listens to them. Frames of peers wait
 * for no longer than that: a follower that is behind must still acknowledge what comes. */
#define SLICE_WORK 256u
#define SLICE_BYTES (4u * 1024 * 1024)

static void on_event(void *arg, const struct store_event *event)
{
    const struct replica *replica = arg;
    if (replica->observer.on_event != NULL)
        replica->observer.on_event(replica->arg, event);
}

static int64_t boot_us(const struct replica *replica)
{
    struct replica_time now;
    replica->io.clock(replica->arg, &now);
    return now.boot_us;
}

/* The one ADVANCE that this leader has in the log. */
static void advanced(struct replica *replica, int64_t since_us)
{
    int64_t now_us = boot_us(replica);
    replica->batch.advancing = false;
    pace_advanced(&replica->pace, now_us, now_us - since_us,
                  store_next_due_ms(replica->store) <= store_time_ms(replica->store));
}

static lapse_result apply_item(struct replica *replica, uint64_t index, const struct entry_item *item, int64_t time_ms,
                               uint32_t *work, struct lapse_error *error)
{
    struct command command;
    struct store_outcome outcome;
    bool own_advance = item->node == 0 && item->sequence == replica->term;
    int64_t since_us = own_advance ? boot_us(replica) : 0;
    lapse_result result = command_decode(item->command, &command);
    if (!lapse_is_ok(result))
        return lapse_fail(error, LAPSE_DATA_LOSS,
                          "entry %llu holds a command that this program does not know: upgrade this node",
                          (unsigned long long)index);
    store_apply(replica->store, &command, time_ms, on_event, replica, &outcome);
    if (replica->observer.on_applied != NULL)
        replica->observer.on_applied(replica->arg, index, &command, &outcome);
    if (item->node == replica->options.node_id)
        replica_write_applied(replica, item->sequence, &outcome);
    else if (own_advance)
        advanced(replica, since_us);
    *work += 1 + outcome.n_events;
    return lapse_ok();
}

static lapse_result apply_commands(struct replica *replica, uint64_t index, const struct log_entry *entry,
                                   uint32_t *work, struct lapse_error *error)
{
    struct entry_reader reader;
    struct entry_item item;
    if (entry->data == NULL)
        return lapse_fail(error, LAPSE_DATA_LOSS, "entry %llu is empty", (unsigned long long)index);
    lapse_result result = entry_open(blob_slice(entry->data), &reader, error);
    while (lapse_is_ok(result) && entry_next(&reader, &item))
        result = apply_item(replica, index, &item, reader.time_ms, work, error);
    cluster_clock_applied(&replica->clock, store_time_ms(replica->store));
    return result;
}

static lapse_result apply_entry(struct replica *replica, uint64_t index, const struct log_entry *entry, uint32_t *work,
                                struct lapse_error *error)
{
    switch (entry->type) {
    case RAFT_COMMAND:
        return apply_commands(replica, index, entry, work, error);
    case RAFT_CHANGE:
        blob_unref(replica->configuration);
        replica->configuration = blob_ref(entry->data);
        replica->configuration_index = index;
        return lapse_ok();
    default:
        return lapse_ok(); /* a barrier: that it is applied is all it says */
    }
}

void replica_apply(struct replica *replica)
{
    const struct tail *tail = consensus_tail(replica->core);
    struct lapse_error error;
    uint32_t work = 0;
    size_t bytes = 0;
    replica->more_to_apply = false;
    /* While a snapshot is being installed the commit index is ahead of what we hold. */
    while (!replica->stopped && !consensus_installing(replica->core) &&
           replica->applied < consensus_commit(replica->core)) {
        uint64_t index = replica->applied + 1;
        const struct log_entry *entry = tail_at(tail, index);
        CHECK(entry != NULL);
        if (work >= SLICE_WORK || bytes >= SLICE_BYTES) {
            replica->more_to_apply = true;
            return;
        }
        bytes += entry->data == NULL ? 0 : entry->data->len;
        /* Whoever is called back while this entry is applied must already find it counted. */
        replica->applied = index;
        lapse_result result = apply_entry(replica, index, entry, &work, &error);
        (void)replica_survived(replica, result, &error);
    }
}
