/* Committed entries into the store: the only caller of store_apply.
 *
 * A slice at a time, so that catching up after a restart never holds the loop. */
#include "raft/replica_internal.h"

#include <raft.h>

#include "base/check.h"

#define SLICE_COMMANDS 20000u
#define SLICE_BYTES (4u * 1024 * 1024)

static void on_event(void *arg, const struct store_event *event)
{
    const struct replica *replica = arg;
    if (replica->observer.on_event != NULL)
        replica->observer.on_event(replica->arg, event);
}

static lapse_result apply_item(struct replica *replica, uint64_t index, const struct entry_item *item, int64_t time_ms,
                               struct lapse_error *error)
{
    struct command command;
    struct store_outcome outcome;
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
    else if (item->node == 0 && item->sequence == replica->term)
        replica->batch.advancing = false;
    return lapse_ok();
}

static lapse_result apply_commands(struct replica *replica, uint64_t index, const struct log_entry *entry,
                                   uint32_t *commands, struct lapse_error *error)
{
    struct entry_reader reader;
    struct entry_item item;
    if (entry->data == NULL)
        return lapse_fail(error, LAPSE_DATA_LOSS, "entry %llu is empty", (unsigned long long)index);
    lapse_result result = entry_open(blob_slice(entry->data), &reader, error);
    while (lapse_is_ok(result) && entry_next(&reader, &item)) {
        result = apply_item(replica, index, &item, reader.time_ms, error);
        ++*commands;
    }
    cluster_clock_applied(&replica->clock, store_time_ms(replica->store));
    return result;
}

static lapse_result apply_entry(struct replica *replica, uint64_t index, const struct log_entry *entry,
                                uint32_t *commands, struct lapse_error *error)
{
    switch (entry->type) {
    case RAFT_COMMAND:
        return apply_commands(replica, index, entry, commands, error);
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
    uint32_t commands = 0;
    size_t bytes = 0;
    replica->more_to_apply = false;
    /* While a snapshot is being installed the commit index is ahead of what we hold. */
    while (!replica->stopped && !consensus_installing(replica->core) &&
           replica->applied < consensus_commit(replica->core)) {
        uint64_t index = replica->applied + 1;
        const struct log_entry *entry = tail_at(tail, index);
        CHECK(entry != NULL);
        if (commands >= SLICE_COMMANDS || bytes >= SLICE_BYTES) {
            replica->more_to_apply = true;
            return;
        }
        bytes += entry->data == NULL ? 0 : entry->data->len;
        /* Whoever is called back while this entry is applied must already find it counted. */
        replica->applied = index;
        lapse_result result = apply_entry(replica, index, entry, &commands, &error);
        (void)replica_survived(replica, result, &error);
    }
}
