/* What is on the disk after a stop of any kind, and whether it may be believed. Reads only; log.c carries out what is
 * found.
 *
 * The order is: identity, vote, mark and hints, the newest snapshot, then the segments in order, each continuing the
 * one before. A record that does not verify ends the log as a torn tail only if all of these hold, else the data is
 * damaged:
 *   - it stands in the last segment,
 *   - no later record proves that it had been synced (log_scan.h),
 *   - its index is above every acknowledged one that mark, hints and snapshot know of. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "raft/log_internal.h"

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static int compare_snapshots(const void *a, const void *b)
{
    const struct snapshot_id *x = a, *y = b;
    return x->index != y->index ? compare_numbers(&x->index, &y->index) : compare_numbers(&x->term, &y->term);
}

static void *grow(void *array, size_t n, size_t *capacity, size_t size)
{
    if (n < *capacity)
        return array;
    *capacity = *capacity == 0 ? 16 : 2 * *capacity;
    return mem_realloc(array, *capacity * size);
}

static void note_name(void *arg, const char *name)
{
    struct name_list *names = arg;
    struct snapshot_id id;
    uint64_t first;
    if (segment_name_parse(name, &first)) {
        names->segments = grow(names->segments, names->n_segments, &names->segments_capacity, sizeof first);
        names->segments[names->n_segments++] = first;
    } else if (snapshot_name_parse(name, &id.index, &id.term)) {
        names->snapshots = grow(names->snapshots, names->n_snapshots, &names->snapshots_capacity, sizeof id);
        names->snapshots[names->n_snapshots++] = id;
    } else if (strcmp(name, NAME_IDENTITY) == 0) {
        names->identity = true;
    } else if (strcmp(name, NAME_FORMAT_TMP) == 0) {
        names->format_tmp = true;
    } else if (strcmp(name, NAME_HINT) != 0 && strncmp(name, "vote-", 5) != 0 && strncmp(name, "mark-", 5) != 0) {
        return; /* other rooms may keep their files beside ours; leftovers in *.tmp prove nothing */
    }
    names->any = true;
}

lapse_result names_list(struct disk *disk, struct name_list *names, struct lapse_error *error)
{
    *names = (struct name_list){0};
    lapse_result result = disk->ops->list(disk, note_name, names, error);
    if (names->n_segments > 0)
        qsort(names->segments, names->n_segments, sizeof *names->segments, compare_numbers);
    if (names->n_snapshots > 0)
        qsort(names->snapshots, names->n_snapshots, sizeof *names->snapshots, compare_snapshots);
    return result;
}

void name_list_free(struct name_list *names)
{
    free(names->segments);
    free(names->snapshots);
    *names = (struct name_list){0};
}

/* Opening a file whose name was durable: when it is gone, data is. */
static lapse_result open_known(struct disk *disk, const char *name, struct disk_file **file, struct lapse_error *error)
{
    lapse_result result = disk->ops->open(disk, name, false, file, error);
    return result.code == LAPSE_NOT_FOUND ? log_corrupt(error, name, 0, "the file is missing") : result;
}

static lapse_result read_identity(struct recovery *recovery, struct lapse_error *error)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    struct frame frame;
    if (!recovery->names.identity && (recovery->names.format_tmp || !recovery->names.any))
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION,
                          "the data directory is empty: run lapsed init for a new cluster, or lapsed join");
    if (!recovery->names.identity)
        return log_corrupt(error, NAME_IDENTITY, 0, "the file is missing");
    lapse_result result = segment_load(recovery->disk, NAME_IDENTITY, &bytes, &len, error);
    if (!lapse_is_ok(result))
        return result;
    if (!frame_parse(slice_of(bytes, len), FRAME_IDENTITY, &frame) || frame.size != len ||
        !identity_decode(frame.body, &recovery->state.identity))
        result = log_corrupt(error, NAME_IDENTITY, 0, "it does not verify or is of a newer version");
    free(bytes);
    return result;
}

static lapse_result read_vote(struct recovery *recovery, struct lapse_error *error)
{
    struct vote vote;
    lapse_result result = cell_open(&recovery->vote, recovery->disk, "vote", error);
    if (!lapse_is_ok(result))
        return result;
    if (!vote_decode(cell_value(&recovery->vote), &vote))
        return log_corrupt(error, "vote-0", 0, "it is of a newer version");
    recovery->state.term = vote.term;
    recovery->state.voted_for = vote.voted_for;
    return result;
}

static lapse_result read_mark(struct recovery *recovery, struct lapse_error *error)
{
    struct hint hint;
    struct mark *mark = &recovery->mark;
    lapse_result result = cell_open(&recovery->mark_cell, recovery->disk, "mark", error);
    if (!lapse_is_ok(result))
        return result;
    if (!mark_decode(cell_value(&recovery->mark_cell), mark))
        return log_corrupt(error, "mark-0", 0, "it is of a newer version");
    result = open_known(recovery->disk, NAME_HINT, &recovery->hint, error);
    if (!lapse_is_ok(result))
        return result;
    recovery->acked_index = mark->index;
    recovery->acked_term = mark->term;
    if (hint_read(recovery->disk, recovery->hint, recovery->mark_cell.sequence, &hint) && hint.index > mark->index) {
        recovery->acked_index = hint.index;
        recovery->acked_term = hint.term;
    }
    return result;
}

static lapse_result read_snapshot(struct recovery *recovery, struct lapse_error *error)
{
    char name[LOG_NAME_SIZE];
    struct disk_file *file = NULL;
    struct log_state *state = &recovery->state;
    if (recovery->names.n_snapshots == 0)
        return lapse_ok();
    struct snapshot_id newest = recovery->names.snapshots[recovery->names.n_snapshots - 1];
    snapshot_name(newest.index, newest.term, name);
    lapse_result result = recovery->disk->ops->open(recovery->disk, name, false, &file, error);
    if (!lapse_is_ok(result))
        return result;
    result = snapshot_file_restore(recovery->disk, file, name, recovery->store_options, &state->snapshot, &state->store,
                                   error);
    recovery->disk->ops->close(recovery->disk, file);
    if (!lapse_is_ok(result))
        return result;
    state->has_snapshot = true;
    if (state->snapshot.index != newest.index || state->snapshot.term != newest.term)
        return log_corrupt(error, name, 0, "it holds a snapshot of another entry");
    recovery->install_finish = recovery->mark.intent == INTENT_INSTALL && recovery->mark.intent_index == newest.index &&
                               recovery->mark.intent_term == newest.term;
    return result;
}

struct collector {
    struct log_state *state;
    size_t capacity;
};

static void collect_entry(void *arg, uint64_t offset, const struct entry_record *record)
{
    struct collector *collector = arg;
    struct log_state *state = collector->state;
    (void)offset;
    CHECK(state->n_entries < UINT32_MAX);
    state->entries = grow(state->entries, state->n_entries, &collector->capacity, sizeof *state->entries);
    state->entries[state->n_entries++] = (struct log_entry){
        .term = record->term,
        .type = (uint8_t)record->type,
        .data = record->data.len == 0 ? NULL : blob_new(record->data),
    };
}

/* The first segment must reach back to the snapshot. */
static lapse_result check_first(const struct recovery *recovery, const char *name, const struct segment_scan *scan,
                                struct lapse_error *error)
{
    uint64_t next = recovery->state.has_snapshot ? recovery->state.snapshot.index + 1 : 1;
    if (scan->header.first > next)
        return log_corrupt(error, name, 0, "the entries %" PRIu64 " to %" PRIu64 " before it are missing", next,
                           scan->header.first - 1);
    if (recovery->state.has_snapshot && scan->header.first == next &&
        scan->header.previous_term != recovery->state.snapshot.term)
        return log_corrupt(error, name, 0, "it does not continue the snapshot");
    return lapse_ok();
}

/* A segment that is not the last must end exactly where the next one begins. */
static lapse_result check_joint(const char *name, const struct segment_scan *before, const char *next_name,
                                const struct segment_scan *next, struct lapse_error *error)
{
    if (!before->clean && !before->stopped)
        return log_corrupt(error, name, before->end, "entry %" PRIu64 " does not verify but a later segment exists",
                           before->at.index + 1);
    if (next->header.first > before->at.index + 1)
        return log_corrupt(error, name, before->end, "entries %" PRIu64 " to %" PRIu64 " are missing",
                           before->at.index + 1, next->header.first - 1);
    if (next->header.first != before->at.index + 1 || next->previous != before->at.chain ||
        next->header.previous_term != before->at.term)
        return log_corrupt(error, next_name, 0, "it does not continue the segment before it");
    return lapse_ok();
}

static lapse_result scan_file(struct recovery *recovery, uint64_t first, const char *name, struct collector *collector,
                              struct segment_scan *scan, struct lapse_error *error)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    uint64_t stop_at = recovery->mark.intent == INTENT_TRUNCATE ? recovery->mark.intent_index : UINT64_MAX;
    lapse_result result = segment_load(recovery->disk, name, &bytes, &len, error);
    if (!lapse_is_ok(result))
        return result;
    segment_scan(slice_of(bytes, len), stop_at, collect_entry, collector, scan);
    free(bytes);
    if (!scan->header_ok)
        return log_corrupt(error, name, 0, "the segment's header does not verify");
    if (scan->header.first != first)
        return log_corrupt(error, name, 0, "it is the segment of entry %" PRIu64, scan->header.first);
    if (scan->fault != NULL)
        return log_corrupt(error, name, scan->end, "entry %" PRIu64 ": %s", scan->at.index + 1, scan->fault);
    return result;
}

/* The rule at the top of this file, for the last segment. */
static lapse_result judge_tail(struct recovery *recovery, const char *name, struct lapse_error *error)
{
    const struct segment_scan *scan = &recovery->tail;
    uint64_t next = scan->at.index + 1;
    if (scan->stopped) {
        recovery->cut = true;
        return lapse_ok();
    }
    if (scan->witness != 0)
        return log_corrupt(error, name, scan->end, "entry %" PRIu64 " does not verify but a later one does", next);
    if (!scan->clean && next <= recovery->acked_index)
        return log_corrupt(error, name, scan->end, "entry %" PRIu64 " was acknowledged but does not verify", next);
    if (next <= recovery->acked_index)
        return log_corrupt(error, name, scan->end, "less log than was acknowledged (entry %" PRIu64 " of %" PRIu64 ")",
                           scan->at.index, recovery->acked_index);
    if (!scan->clean) {
        recovery->cut = true;
        recovery->state.torn_tail_cut = true;
        (void)snprintf(recovery->state.note, sizeof recovery->state.note,
                       "%s: cut an incomplete last write at byte %" PRIu64 ", behind entry %" PRIu64, name, scan->end,
                       scan->at.index);
    }
    return lapse_ok();
}

static lapse_result check_term_at(const struct recovery *recovery, uint64_t index, uint64_t term, const char *what,
                                  struct lapse_error *error)
{
    const struct log_state *state = &recovery->state;
    if (index < state->first_index || index >= state->first_index + state->n_entries ||
        state->entries[index - state->first_index].term == term)
        return lapse_ok();
    char name[LOG_NAME_SIZE];
    segment_name(recovery->tail.header.first, name);
    return log_corrupt(error, name, 0, "the log's entry %" PRIu64 " is not the one that the %s knows", index, what);
}

/* A segment that was in use when the mark was written can't have gone since. */
static lapse_result check_marked_segment(const struct recovery *recovery, struct lapse_error *error)
{
    char name[LOG_NAME_SIZE];
    for (size_t i = 0; i < recovery->keep_segments; i++) {
        if (recovery->names.segments[i] == recovery->mark.segment)
            return lapse_ok();
    }
    segment_name(recovery->mark.segment, name);
    return log_corrupt(error, name, 0, "the file is missing");
}

static lapse_result read_segments(struct recovery *recovery, struct lapse_error *error)
{
    char name[LOG_NAME_SIZE], before_name[LOG_NAME_SIZE];
    struct collector collector = {&recovery->state, 0};
    lapse_result result = check_marked_segment(recovery, error);
    for (size_t i = 0; i < recovery->keep_segments && lapse_is_ok(result); i++) {
        struct segment_scan before = recovery->tail;
        segment_name(recovery->names.segments[i], name);
        result = scan_file(recovery, recovery->names.segments[i], name, &collector, &recovery->tail, error);
        if (!lapse_is_ok(result))
            break;
        if (i == 0) {
            recovery->state.first_index = recovery->tail.header.first;
            result = check_first(recovery, name, &recovery->tail, error);
        } else {
            result = check_joint(before_name, &before, name, &recovery->tail, error);
        }
        memcpy(before_name, name, sizeof name);
    }
    return lapse_is_ok(result) ? judge_tail(recovery, name, error) : result;
}

static lapse_result read_log(struct recovery *recovery, struct lapse_error *error)
{
    struct log_state *state = &recovery->state;
    if (recovery->install_finish) {
        state->first_index = state->snapshot.index + 1;
        return lapse_ok();
    }
    recovery->keep_segments = recovery->names.n_segments;
    while (recovery->mark.intent == INTENT_TRUNCATE && recovery->keep_segments > 0 &&
           recovery->names.segments[recovery->keep_segments - 1] > recovery->mark.intent_index)
        recovery->keep_segments--;
    if (state->has_snapshot && state->snapshot.index > recovery->acked_index) {
        recovery->acked_index = state->snapshot.index;
        recovery->acked_term = state->snapshot.term;
    }
    lapse_result result = read_segments(recovery, error);
    if (lapse_is_ok(result))
        result = check_term_at(recovery, recovery->acked_index, recovery->acked_term, "mark", error);
    if (lapse_is_ok(result) && state->has_snapshot)
        result = check_term_at(recovery, state->snapshot.index, state->snapshot.term, "snapshot", error);
    /* A node votes in a term before it takes entries of it. */
    if (lapse_is_ok(result) && recovery->tail.at.term > state->term)
        result = log_corrupt(error, "vote-0", 0, "its term is older than the log's");
    return result;
}

lapse_result recovery_run(struct recovery *recovery, struct lapse_error *error)
{
    lapse_result result = names_list(recovery->disk, &recovery->names, error);
    if (lapse_is_ok(result))
        result = read_identity(recovery, error);
    if (lapse_is_ok(result))
        result = read_vote(recovery, error);
    if (lapse_is_ok(result))
        result = read_mark(recovery, error);
    if (lapse_is_ok(result))
        result = read_snapshot(recovery, error);
    if (lapse_is_ok(result))
        result = read_log(recovery, error);
    return result;
}

void recovery_free(struct recovery *recovery)
{
    cell_close(&recovery->vote);
    cell_close(&recovery->mark_cell);
    if (recovery->hint != NULL)
        recovery->disk->ops->close(recovery->disk, recovery->hint);
    name_list_free(&recovery->names);
    log_state_free(&recovery->state);
}
