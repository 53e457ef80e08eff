/* Making, opening and closing a node's log. What recovery found is carried out here, after all of it has been verified.
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/limits.h"
#include "raft/log_internal.h"

/* A new log's first segment holds little more than a bootstrap; the next one has the configured size. */
#define FIRST_SEGMENT_BYTES 1024u

static lapse_result identity_write(struct disk *disk, const char *name, const struct log_identity *identity,
                                   struct lapse_error *error)
{
    struct disk_file *file = NULL;
    struct buf out;
    buf_init(&out, CELL_SIZE);
    size_t mark = frame_begin(&out);
    identity_encode(&out, identity);
    (void)frame_end(&out, mark, FRAME_IDENTITY, 0);
    lapse_result result = disk->ops->open(disk, name, true, &file, error);
    if (lapse_is_ok(result)) {
        result = disk->ops->truncate(disk, file, 0, error);
        if (lapse_is_ok(result))
            result = disk->ops->write(disk, file, 0, out.data, out.len, error);
        if (lapse_is_ok(result))
            result = disk->ops->sync(disk, file, error);
        disk->ops->close(disk, file);
    }
    buf_free(&out);
    return result;
}

static lapse_result identity_publish(struct disk *disk, const char *temporary, struct lapse_error *error)
{
    lapse_result result = disk->ops->rename(disk, temporary, NAME_IDENTITY, error);
    return lapse_is_ok(result) ? disk->ops->sync_directory(disk, error) : result;
}

static lapse_result remove_if_there(struct disk *disk, const char *name, struct lapse_error *error)
{
    lapse_result result = disk->ops->unlink(disk, name, error);
    return result.code == LAPSE_NOT_FOUND ? lapse_ok() : result;
}

static lapse_result remove_temporaries(struct disk *disk, struct lapse_error *error)
{
    static const char *const names[] = {NAME_IDENTITY_TMP, NAME_FORMAT_TMP, NAME_NEXT_TMP, NAME_SAVING_TMP,
                                        NAME_RECEIVING_TMP};
    lapse_result result = lapse_ok();
    for (size_t i = 0; i < ARRAY_LEN(names) && lapse_is_ok(result); i++)
        result = remove_if_there(disk, names[i], error);
    return result;
}

static struct log *log_new(struct disk *disk)
{
    struct log *log = mem_calloc(1, sizeof *log);
    log->disk = disk;
    buf_init(&log->tail.pending, LOG_WRITE_BYTES + 2 * FRAME_BODY_MAX);
    int rc = pthread_mutex_init(&log->shared.lock, NULL);
    CHECK(rc == 0);
    return log;
}

void log_close(struct log *log)
{
    if (log == NULL)
        return;
    snapshot_lane_close(log);
    cell_close(&log->vote);
    cell_close(&log->mark_cell);
    if (log->hint != NULL)
        log->disk->ops->close(log->disk, log->hint);
    if (log->tail.file != NULL)
        log->disk->ops->close(log->disk, log->tail.file);
    buf_free(&log->tail.pending);
    free(log->segments);
    pthread_mutex_destroy(&log->shared.lock);
    free(log);
}

/* ---- format ---- */

/* An interrupted log_format left format.tmp and no identity: whatever else is there is its work, never acknowledged. */
static lapse_result check_formattable(struct disk *disk, struct lapse_error *error)
{
    struct name_list names;
    char name[LOG_NAME_SIZE];
    lapse_result result = names_list(disk, &names, error);
    if (lapse_is_ok(result) && (names.identity || (names.any && !names.format_tmp)))
        result =
            lapse_fail(error, LAPSE_FAILED_PRECONDITION,
                       "the data directory already holds a log: start lapsed with it, or choose an empty directory");
    for (size_t i = 0; lapse_is_ok(result) && i < names.n_segments; i++) {
        segment_name(names.segments[i], name);
        result = disk->ops->unlink(disk, name, error);
    }
    name_list_free(&names);
    return result;
}

static lapse_result hint_create(struct log *log, struct lapse_error *error)
{
    lapse_result result = log->disk->ops->open(log->disk, NAME_HINT, true, &log->hint, error);
    if (lapse_is_ok(result))
        result = log->disk->ops->truncate(log->disk, log->hint, 0, error);
    if (lapse_is_ok(result))
        result = log->disk->ops->reserve(log->disk, log->hint, 2 * CELL_SIZE, error);
    if (lapse_is_ok(result))
        result = log->disk->ops->sync(log->disk, log->hint, error);
    return result;
}

static lapse_result cells_create(struct log *log, uint64_t term, struct lapse_error *error)
{
    struct vote vote = {term, 0};
    struct buf out;
    buf_init(&out, CELL_VALUE_MAX);
    vote_encode(&out, &vote);
    lapse_result result = cell_create(&log->vote, log->disk, "vote", buf_slice(&out), error);
    if (lapse_is_ok(result))
        result = cell_create(&log->mark_cell, log->disk, "mark", slice_of(NULL, 0), error);
    buf_free(&out);
    return result;
}

static lapse_result format_files(struct log *log, const struct log_entry *first, uint32_t n_first,
                                 struct lapse_error *error)
{
    const struct log_position empty = {0};
    lapse_result result = cells_create(log, n_first > 0 ? 1 : 0, error);
    if (lapse_is_ok(result))
        result = hint_create(log, error);
    if (lapse_is_ok(result))
        result = segment_start(log, &empty, 0, error);
    if (lapse_is_ok(result))
        result = log_append(log, 1, first, n_first, error);
    if (lapse_is_ok(result))
        result = log_sync(log, error);
    if (lapse_is_ok(result)) {
        struct mark mark = mark_now(log);
        result = mark_write(log, &mark, error);
    }
    return lapse_is_ok(result) ? log->disk->ops->sync_directory(log->disk, error) : result;
}

lapse_result log_format(struct disk *disk, const struct log_identity *identity, const struct log_entry *first,
                        uint32_t n_first, struct lapse_error *error)
{
    lapse_result result = check_formattable(disk, error);
    if (lapse_is_ok(result))
        result = identity_write(disk, NAME_FORMAT_TMP, identity, error);
    if (lapse_is_ok(result))
        result = disk->ops->sync_directory(disk, error);
    if (!lapse_is_ok(result))
        return result;
    struct log *log = log_new(disk);
    log->segment_bytes = FIRST_SEGMENT_BYTES;
    result = format_files(log, first, n_first, error);
    log_close(log);
    return lapse_is_ok(result) ? identity_publish(disk, NAME_FORMAT_TMP, error) : result;
}

lapse_result log_adopt_cluster(struct log *log, const char *cluster, struct lapse_error *error)
{
    struct log_identity identity = log->identity;
    if (cluster[0] == '\0' || !slice_is_text(slice_str(cluster), false) ||
        !slice_to_cstr(slice_str(cluster), identity.cluster, sizeof identity.cluster))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "a cluster id is text of 1 to %d bytes", CLUSTER_ID_SIZE - 1);
    if (strcmp(log->identity.cluster, cluster) == 0)
        return lapse_ok();
    if (log->identity.cluster[0] != '\0')
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "this node belongs to cluster %s", log->identity.cluster);
    lapse_result result = identity_write(log->disk, NAME_IDENTITY_TMP, &identity, error);
    if (lapse_is_ok(result))
        result = identity_publish(log->disk, NAME_IDENTITY_TMP, error);
    if (lapse_is_ok(result))
        log->identity = identity;
    return result;
}

/* ---- open ---- */

/* Names that survived only in memory, because the process died before it synced the directory, are made durable before
 * anything that relies on them is removed. */
static lapse_result settle_files(struct log *log, const struct recovery *recovery, struct lapse_error *error)
{
    lapse_result result = log->disk->ops->sync_directory(log->disk, error);
    if (lapse_is_ok(result))
        result = cell_repair(&log->vote, error);
    if (lapse_is_ok(result))
        result = cell_repair(&log->mark_cell, error);
    if (lapse_is_ok(result))
        result = remove_temporaries(log->disk, error);
    for (size_t i = 0; i + 1 < recovery->names.n_snapshots && lapse_is_ok(result); i++) {
        char name[LOG_NAME_SIZE];
        snapshot_name(recovery->names.snapshots[i].index, recovery->names.snapshots[i].term, name);
        result = log->disk->ops->unlink(log->disk, name, error);
    }
    for (size_t i = recovery->keep_segments; i < recovery->names.n_segments && lapse_is_ok(result); i++) {
        char name[LOG_NAME_SIZE];
        segment_name(recovery->names.segments[i], name);
        result = log->disk->ops->unlink(log->disk, name, error);
    }
    return lapse_is_ok(result) ? log->disk->ops->sync_directory(log->disk, error) : result;
}

/* Everything that was read is made durable, whoever left it unsynced: it is about to count as acknowledged. */
static lapse_result settle_tail(struct log *log, const struct recovery *recovery, struct lapse_error *error)
{
    lapse_result result = segment_resume(log, &recovery->tail, error);
    if (lapse_is_ok(result))
        result = recovery->cut ? tail_cut(log, recovery->tail.end, error)
                               : log->disk->ops->sync(log->disk, log->tail.file, error);
    if (!lapse_is_ok(result))
        return result;
    struct mark mark = mark_now(log);
    return mark_write(log, &mark, error);
}

static lapse_result log_settle(struct log *log, const struct recovery *recovery, struct lapse_error *error)
{
    struct snapshot_id snapshot = {recovery->state.snapshot.index, recovery->state.snapshot.term};
    lapse_result result = settle_files(log, recovery, error);
    if (!lapse_is_ok(result))
        return result;
    log->shared.current = snapshot;
    if (recovery->install_finish)
        return log_restart_behind(log, snapshot, error);
    for (size_t i = 0; i < recovery->keep_segments; i++)
        segments_push(log, recovery->names.segments[i]);
    return settle_tail(log, recovery, error);
}

/* Moves what recovery opened into a new log. */
static struct log *log_from(struct recovery *recovery, const struct log_options *options)
{
    struct log *log = log_new(recovery->disk);
    log->segment_bytes = options->segment_bytes == 0 ? LIMIT_SEGMENT_BYTES : options->segment_bytes;
    log->reserve_bytes = options->reserve_bytes;
    if (options->store != NULL) {
        log->has_store_options = true;
        log->store_options = *options->store;
    }
    log->identity = recovery->state.identity;
    log->vote = recovery->vote;
    log->mark_cell = recovery->mark_cell;
    log->hint = recovery->hint;
    recovery->vote = recovery->mark_cell = (struct cell){0};
    recovery->hint = NULL;
    return log;
}

lapse_result log_open(struct disk *disk, const struct log_options *options, struct log **log, struct log_state *state,
                      struct lapse_error *error)
{
    const struct log_options defaults = {0};
    struct log *opened = NULL;
    if (options == NULL)
        options = &defaults;
    struct recovery recovery = {.disk = disk, .store_options = options->store};
    lapse_result result = recovery_run(&recovery, error);
    if (lapse_is_ok(result)) {
        opened = log_from(&recovery, options);
        result = log_settle(opened, &recovery, error);
    }
    if (lapse_is_ok(result)) {
        log_sample_space(opened);
        *log = opened;
        *state = recovery.state;
        recovery.state = (struct log_state){0};
    } else {
        log_close(opened);
    }
    recovery_free(&recovery);
    return result;
}

void log_state_free(struct log_state *state)
{
    if (state == NULL)
        return;
    for (uint32_t i = 0; i < state->n_entries; i++)
        blob_unref(state->entries[i].data);
    free(state->entries);
    blob_unref(state->snapshot.configuration);
    store_free(state->store);
    *state = (struct log_state){0};
}

bool log_is_low_on_space(const struct log *log)
{
    return atomic_load(&log->low_on_space);
}

lapse_result log_verify(struct disk *disk, struct lapse_error *error)
{
    struct recovery recovery = {.disk = disk};
    lapse_result result = recovery_run(&recovery, error);
    recovery_free(&recovery);
    return result;
}
