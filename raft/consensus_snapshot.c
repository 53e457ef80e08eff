/* Snapshots: the leader's, which takes the place of the log, and our own, behind which the log is dropped. */
#include "base/check.h"
#include "raft/consensus_check.h"
#include "raft/consensus_internal.h"

lapse_result consensus_snapshot_offered(struct consensus *core, int64_t now_ms, uint64_t from, uint64_t term,
                                        const struct snapshot_meta *meta, bool *wanted, struct lapse_error *error)
{
    *wanted = false;
    /* Of an older term: see refuse_stale; what libraft answers to those is not to be sent. */
    if (term < consensus_term(core) || consensus_installing(core) || meta->index == 0 || meta->term == 0 ||
        meta->term > term || meta->index >= CONSENSUS_INDEX_MAX)
        return lapse_ok();
    if (core->raft.state == RAFT_LEADER && term == consensus_term(core))
        return lapse_fail(error, LAPSE_INTERNAL, "node %llu and this node both lead term %llu",
                          (unsigned long long)from, (unsigned long long)term);
    struct raft_message message = {
        .type = RAFT_INSTALL_SNAPSHOT,
        .server_id = from,
        .install_snapshot = {
            .term = term, .last_index = meta->index, .last_term = meta->term, .conf_index = meta->configuration_index}};
    lapse_result result =
        consensus_load_configuration(blob_slice(meta->configuration), &message.install_snapshot.conf, error);
    if (!lapse_is_ok(result))
        return result;
    struct raft_update update;
    result = consensus_deliver(core, now_ms, &message, &update, "a snapshot", error);
    if (lapse_is_ok(result) && (update.flags & RAFT_UPDATE_SNAPSHOT)) {
        raft_configuration_close(&update.snapshot.metadata.configuration);
        tail_reset(&core->tail, meta->index, meta->term);
        *wanted = true;
    }
    return result;
}

lapse_result consensus_snapshot_installed(struct consensus *core, int64_t now_ms, const struct snapshot_meta *meta,
                                          struct lapse_error *error)
{
    CHECK(consensus_installing(core) && core->raft.state == RAFT_FOLLOWER);
    struct raft_event event = {.type = RAFT_PERSISTED_SNAPSHOT, .persisted_snapshot.last = true};
    struct raft_update update;
    lapse_result result = consensus_load_metadata(meta, &event.persisted_snapshot.metadata, error);
    return lapse_is_ok(result) ? consensus_run(core, now_ms, &event, &update, "an installed snapshot", error) : result;
}

uint64_t consensus_keep_from(const struct consensus *core, uint64_t index, uint64_t trailing)
{
    if (index <= trailing || tail_at(&core->tail, index - trailing) == NULL)
        return core->tail.first;
    return index - trailing + 1;
}

lapse_result consensus_snapshot_taken(struct consensus *core, int64_t now_ms, const struct snapshot_meta *meta,
                                      uint64_t trailing, struct lapse_error *error)
{
    CHECK(!consensus_installing(core) && tail_at(&core->tail, meta->index) != NULL &&
          meta->index > core->tail.snapshot_index && trailing <= UINT32_MAX);
    uint64_t keep_from = consensus_keep_from(core, meta->index, trailing);
    struct raft_event event = {.type = RAFT_SNAPSHOT, .snapshot.trailing = (unsigned)trailing};
    struct raft_update update;
    lapse_result result = consensus_load_metadata(meta, &event.snapshot.metadata, error);
    if (lapse_is_ok(result))
        result = consensus_run(core, now_ms, &event, &update, "a snapshot taken", error);
    if (lapse_is_ok(result))
        tail_snapshot(&core->tail, meta->index, meta->term, keep_from);
    return result;
}
