/* What the log does when all is well, what it refuses, and how it stops. Damage and crashes have files of their own. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/check.h"
#include "tests/unit/log_fixture.h"

static uint64_t nonces[64];

static struct node fresh(uint64_t segment_bytes)
{
    struct node node = {.disk = virtual_disk_new(), .segment_bytes = segment_bytes};
    for (uint64_t i = 0; i < 64; i++)
        nonces[i] = 500 + i;
    cr_assert(lapse_is_ok(node_format(&node, &nonces[1], 1)));
    cr_assert(lapse_is_ok(node_open(&node)));
    return node;
}

static void reopen(struct node *node)
{
    node_close(node);
    cr_assert(lapse_is_ok(node_open(node)), "%s", node->error.message);
}

static bool holds(const struct node *node, uint64_t index, uint64_t term, uint64_t nonce)
{
    const struct log_state *state = &node->state;
    return index >= state->first_index && index < state->first_index + state->n_entries &&
           entry_is(&state->entries[index - state->first_index], term, nonce);
}

Test(log, an_empty_directory_has_to_be_formatted_first)
{
    struct node node = {.disk = virtual_disk_new()};
    cr_assert_eq(node_open(&node).code, LAPSE_FAILED_PRECONDITION);
    cr_assert_not_null(strstr(node.error.message, "lapsed init"));
    node_free(&node);
}

Test(log, a_directory_is_formatted_only_once)
{
    struct node node = fresh(4096);
    node_close(&node);
    struct disk *before = virtual_disk_clone(node.disk);
    cr_assert_eq(node_format(&node, nonces, 2).code, LAPSE_FAILED_PRECONDITION);
    cr_assert(virtual_disk_equal(before, node.disk));
    virtual_disk_free(before);
    node_free(&node);
}

Test(log, a_directory_without_identity_is_not_formatted_over)
{
    struct node node = fresh(4096);
    node_close(&node);
    cr_assert(virtual_disk_remove(node.disk, "identity"));
    cr_assert_eq(node_format(&node, nonces, 2).code, LAPSE_FAILED_PRECONDITION);
    cr_assert_eq(node_open(&node).code, LAPSE_DATA_LOSS);
    node_free(&node);
}

Test(log, bootstrap_entries_stand_at_term_1)
{
    struct node node = fresh(4096);
    cr_assert(node.state.term == 1 && node.state.voted_for == 0);
    cr_assert(node.state.first_index == 1 && node.state.n_entries == 1 && holds(&node, 1, 1, nonces[1]));
    cr_assert(strcmp(node.state.identity.cluster, FIXTURE_CLUSTER) == 0 && node.state.identity.node_id == 7);
    node_free(&node);
}

Test(log, a_newcomer_is_empty_and_adopts_its_cluster_once)
{
    struct node node = {.disk = virtual_disk_new()};
    cr_assert(lapse_is_ok(node_format(&node, NULL, 0)));
    cr_assert(lapse_is_ok(node_open(&node)));
    cr_assert(node.state.term == 0 && node.state.n_entries == 0 && node.state.first_index == 1);
    cr_assert_eq(node.state.identity.cluster[0], '\0');
    cr_assert(lapse_is_ok(log_adopt_cluster(node.log, "prod-1", NULL)));
    cr_assert(lapse_is_ok(log_adopt_cluster(node.log, "prod-1", NULL)));
    cr_assert_eq(log_adopt_cluster(node.log, "other", NULL).code, LAPSE_FAILED_PRECONDITION);
    reopen(&node);
    cr_assert_str_eq(node.state.identity.cluster, "prod-1");
    node_free(&node);
}

Test(log, entries_of_every_size_are_read_back_across_segments)
{
    struct node node = fresh(1024);
    cr_assert(lapse_is_ok(node_append(&node, 2, 1, &nonces[2], 60)));
    reopen(&node);
    cr_assert_eq(node.state.n_entries, 61);
    for (uint64_t i = 1; i <= 61; i++)
        cr_assert(holds(&node, i, 1, nonces[i]), "entry %llu", (unsigned long long)i);
    cr_assert_not(node.state.torn_tail_cut);
    node_free(&node);
}

Test(log, an_entry_larger_than_a_segment_gets_a_segment_of_its_size)
{
    struct node node = fresh(1024);
    struct storage_job *job = job_append(2, 1, &nonces[2], 1);
    uint8_t *large = mem_calloc(1, 300000);
    memset(large, 0xA5, 300000);
    blob_unref(job->entries[0].data);
    job->entries[0].data = blob_new(slice_of(large, 300000));
    cr_assert(lapse_is_ok(node_do(&node, job)));
    cr_assert(lapse_is_ok(node_append(&node, 3, 1, &nonces[3], 1)));
    reopen(&node);
    cr_assert(slice_equal(blob_slice(node.state.entries[1].data), slice_of(large, 300000)));
    cr_assert(holds(&node, 3, 1, nonces[3]));
    free(large);
    node_free(&node);
}

Test(log, an_entry_larger_than_an_empty_segment_enlarges_it)
{
    struct node node = fresh(1024);
    uint8_t *large = mem_calloc(1, 5000);
    cr_assert(lapse_is_ok(node_append(&node, 2, 1, &nonces[2], 30)));
    uint64_t first = node.log->segments[node.log->n_segments - 1];
    cr_assert(first > 2);
    for (int i = 0; i < 2; i++) {
        /* Replacing the segment's first entry empties it. */
        struct storage_job *job = job_append(first, 1, &nonces[40], 1);
        blob_unref(job->entries[0].data);
        job->entries[0].data = blob_new(slice_of(large, 5000));
        size_t segments = node.log->n_segments;
        cr_assert(lapse_is_ok(node_do(&node, job)), "%s", node.error.message);
        cr_assert_eq(node.log->n_segments, segments);
        reopen(&node);
        cr_assert_eq(node.state.n_entries, first);
        cr_assert(holds(&node, first - 1, 1, nonces[first - 1]));
        cr_assert(slice_equal(blob_slice(node.state.entries[first - 1].data), slice_of(large, 5000)));
    }
    free(large);
    node_free(&node);
}

Test(log, adjacent_appends_share_one_sync)
{
    struct node node = fresh(1 << 20);
    struct storage_job *jobs[8];
    /* Past the small first segment, so that none of the jobs has to start another. */
    cr_assert(lapse_is_ok(node_append(&node, 2, 1, &nonces[2], 20)));
    for (uint64_t i = 0; i < 8; i++) {
        jobs[i] = job_append(22 + i, 1, &nonces[22 + i], 1);
        if (i > 0)
            jobs[i - 1]->next = jobs[i];
    }
    uint64_t before = virtual_disk_counts(node.disk).syncs;
    storage_execute(node.log, jobs[0]);
    cr_assert_eq(virtual_disk_counts(node.disk).syncs - before, 1);
    for (int i = 0; i < 8; i++) {
        cr_assert(lapse_is_ok(jobs[i]->result));
        storage_job_free(jobs[i]);
    }
    node_free(&node);
}

Test(log, an_append_replaces_what_stood_there)
{
    struct node node = fresh(1024);
    cr_assert(lapse_is_ok(node_append(&node, 2, 1, &nonces[2], 40)));
    cr_assert(lapse_is_ok(node_vote(&node, 3, 0)));
    cr_assert(lapse_is_ok(node_append(&node, 7, 3, &nonces[50], 2)));
    reopen(&node);
    cr_assert_eq(node.state.n_entries, 8);
    cr_assert(holds(&node, 6, 1, nonces[6]) && holds(&node, 7, 3, nonces[50]) && holds(&node, 8, 3, nonces[51]));
    node_free(&node);
}

Test(log, a_gap_is_refused_and_stops_the_log)
{
    struct node node = fresh(4096);
    cr_assert_eq(node_append(&node, 5, 1, nonces, 1).code, LAPSE_FAILED_PRECONDITION);
    cr_assert_eq(node_append(&node, 2, 1, nonces, 1).code, LAPSE_ABORTED);
    node_free(&node);
}

Test(log, a_failed_sync_fails_its_whole_group_and_everything_after)
{
    struct node node = fresh(1 << 20);
    struct storage_job *jobs[4] = {job_append(2, 1, &nonces[2], 1), job_append(3, 1, &nonces[3], 1), job_vote(2, 1),
                                   job_append(4, 2, &nonces[4], 1)};
    for (int i = 0; i < 3; i++)
        jobs[i]->next = jobs[i + 1];
    virtual_disk_fail_sync(node.disk, 1);
    storage_execute(node.log, jobs[0]);
    uint64_t syncs = virtual_disk_counts(node.disk).syncs;
    const enum lapse_code expected[4] = {LAPSE_UNAVAILABLE, LAPSE_UNAVAILABLE, LAPSE_ABORTED, LAPSE_ABORTED};
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(jobs[i]->result.code, expected[i], "job %d", i);
        cr_assert_eq(jobs[i]->error.code, expected[i], "job %d", i);
        storage_job_free(jobs[i]);
    }
    /* The disk is well again, and yet nothing is tried any more. */
    cr_assert_eq(node_vote(&node, 9, 1).code, LAPSE_ABORTED);
    cr_assert_eq(virtual_disk_counts(node.disk).syncs, syncs);
    node_free(&node);
}

Test(log, a_failed_write_stops_the_log_at_any_write)
{
    for (uint64_t n = 1; n <= 12; n++) {
        struct node node = fresh(1024);
        struct prng prng = {n};
        virtual_disk_fail_write(node.disk, n);
        uint64_t acked = 1;
        while (acked < 40 && lapse_is_ok(node_append(&node, acked + 1, 1, &nonces[acked + 1], 1)))
            acked++;
        cr_assert(acked < 40);
        cr_assert_eq(node.error.code, LAPSE_UNAVAILABLE);
        cr_assert_eq(node_append(&node, acked + 1, 1, nonces, 1).code, LAPSE_ABORTED);
        node_close(&node);
        virtual_disk_crash(node.disk, &prng);
        cr_assert(lapse_is_ok(node_open(&node)), "%s", node.error.message);
        cr_assert(node.state.n_entries >= acked);
        node_free(&node);
    }
}

Test(log, a_full_disk_is_an_error_of_its_own_and_loses_nothing)
{
    struct node node = fresh(1024);
    struct prng prng = {1};
    uint64_t acked = 1;
    virtual_disk_set_capacity(node.disk, 22000);
    while (acked < 63 && lapse_is_ok(node_append(&node, acked + 1, 1, &nonces[acked + 1], 1)))
        acked++;
    while (node.error.code == LAPSE_OK) {
        cr_assert(acked < 2000);
        if (lapse_is_ok(node_append(&node, acked + 1, 1, &nonces[acked % 64], 1)))
            acked++;
    }
    cr_assert_eq(node.error.code, LAPSE_RESOURCE_EXHAUSTED);
    node_close(&node);
    virtual_disk_crash(node.disk, &prng);
    cr_assert(lapse_is_ok(node_open(&node)), "%s", node.error.message);
    cr_assert_eq(node.state.n_entries, acked);
    node_free(&node);
}

Test(log, low_space_is_told_before_the_disk_is_full)
{
    struct node node = {.disk = virtual_disk_new(), .segment_bytes = 1024, .reserve_bytes = 10000};
    cr_assert(lapse_is_ok(node_format(&node, NULL, 0)));
    virtual_disk_set_capacity(node.disk, 40000);
    cr_assert(lapse_is_ok(node_open(&node)));
    cr_assert_not(log_is_low_on_space(node.log));
    uint64_t index = 1, nonce = 1;
    while (!log_is_low_on_space(node.log)) {
        cr_assert(lapse_is_ok(node_append(&node, index, 0, &nonce, 1)), "%s", node.error.message);
        index++;
        nonce++;
    }
    cr_assert(lapse_is_ok(node_append(&node, index, 0, &nonce, 1)), "there is still room for what ends access");
    node_free(&node);
}

Test(log, a_snapshot_lets_old_segments_and_snapshots_go)
{
    struct node node = fresh(1024);
    cr_assert(lapse_is_ok(node_append(&node, 2, 1, &nonces[2], 60)));
    size_t before = node.log->n_segments;
    cr_assert(lapse_is_ok(node_snapshot(&node, 20, 1, 10)));
    cr_assert(lapse_is_ok(node_snapshot(&node, 60, 1, 50)));
    cr_assert(node.log->n_segments < before);
    uint64_t size = virtual_disk_size(node.disk, "00000000000000000020-00000000000000000001.snapshot");
    cr_assert_eq(size, UINT64_MAX);
    reopen(&node);
    cr_assert(node.state.has_snapshot && node.state.snapshot.index == 60 &&
              node.state.snapshot.configuration_index == 1);
    cr_assert(slice_equal(blob_slice(node.state.snapshot.configuration), slice_str("configuration")));
    cr_assert_eq(store_time_ms(node.state.store), 60);
    cr_assert(node.state.first_index > 1 && node.state.first_index <= 50);
    cr_assert(holds(&node, 50, 1, nonces[50]) && holds(&node, 61, 1, nonces[61]));
    node_free(&node);
}

Test(log, a_commit_without_a_saved_snapshot_is_refused)
{
    struct node node = fresh(4096);
    cr_assert_eq(node_commit(&node, 1, 1, 1).code, LAPSE_FAILED_PRECONDITION);
    node_free(&node);
}

Test(log, an_installed_snapshot_replaces_the_whole_log)
{
    struct node node = fresh(1024);
    cr_assert(lapse_is_ok(node_append(&node, 2, 1, &nonces[2], 30)));
    cr_assert(lapse_is_ok(node_vote(&node, 4, 0)));
    cr_assert(lapse_is_ok(node_install(&node, 1000, 4)), "%s", node.error.message);
    cr_assert(lapse_is_ok(node_append(&node, 1001, 4, &nonces[5], 2)));
    reopen(&node);
    cr_assert(node.state.first_index == 1001 && node.state.n_entries == 2 && node.state.snapshot.index == 1000);
    cr_assert(holds(&node, 1002, 4, nonces[6]));
    cr_assert_eq(store_time_ms(node.state.store), 1000);
    node_free(&node);
}

Test(log, a_damaged_transfer_is_never_installed)
{
    struct node node = fresh(4096);
    struct blob *bytes = snapshot_bytes(50, 1);
    for (size_t at = 0; at < bytes->len; at += 7) {
        struct blob *bad = blob_new(blob_slice(bytes));
        bad->data[at] ^= 0x10;
        cr_assert_eq(node_receive(&node, blob_slice(bad), 256, 50, 1).code, LAPSE_DATA_LOSS, "byte %zu", at);
        blob_unref(bad);
    }
    struct storage_job *restore = mem_calloc(1, sizeof *restore);
    restore->type = STORAGE_RESTORE;
    cr_assert_eq(node_do(&node, restore).code, LAPSE_FAILED_PRECONDITION);
    cr_assert_eq(node_receive(&node, slice_of(bytes->data, bytes->len - 8), 256, 50, 1).code, LAPSE_DATA_LOSS);
    cr_assert_eq(node_receive(&node, blob_slice(bytes), 256, 51, 1).code, LAPSE_DATA_LOSS,
                 "another snapshot than announced");
    cr_assert(lapse_is_ok(node_receive(&node, blob_slice(bytes), 256, 50, 1)));
    /* None of that touched the log. */
    cr_assert(lapse_is_ok(node_append(&node, 2, 1, nonces, 1)));
    blob_unref(bytes);
    node_free(&node);
}

Test(log, a_transfer_out_of_order_is_refused)
{
    struct node node = fresh(4096);
    struct storage_job *job = mem_calloc(1, sizeof *job);
    job->type = STORAGE_RECEIVE;
    job->offset = 10;
    job->chunk = blob_new(slice_str("x"));
    cr_assert_eq(node_do(&node, job).code, LAPSE_OUT_OF_RANGE);
    node_free(&node);
}

/* Reads the current snapshot from `offset`; the chunk's bytes are appended to `out`. */
static lapse_result read_chunk(struct node *node, uint64_t offset, struct buf *out, uint64_t *index, bool *last)
{
    struct storage_job *job = mem_calloc(1, sizeof *job);
    job->type = STORAGE_READ;
    job->offset = offset;
    storage_execute(node->log, job);
    lapse_result result = job->result;
    if (lapse_is_ok(result)) {
        cr_assert(lapse_is_ok(buf_append(out, job->chunk->data, job->chunk->len)));
        *index = job->meta.index;
        *last = job->last;
    }
    storage_job_free(job);
    return result;
}

Test(log, a_snapshot_being_read_outlives_its_replacement)
{
    struct node node = fresh(1024);
    struct buf out;
    uint64_t index;
    bool last;
    buf_init(&out, 1 << 20);
    cr_assert_eq(read_chunk(&node, 0, &out, &index, &last).code, LAPSE_NOT_FOUND);
    cr_assert(lapse_is_ok(node_append(&node, 2, 1, &nonces[2], 30)));
    cr_assert(lapse_is_ok(node_snapshot(&node, 10, 1, 1)));
    cr_assert(lapse_is_ok(read_chunk(&node, 0, &out, &index, &last)));
    cr_assert(index == 10 && last);
    cr_assert(lapse_is_ok(node_snapshot(&node, 20, 1, 1)));
    buf_consume(&out, out.len - 5);
    uint8_t tail[5];
    memcpy(tail, out.data, 5);
    struct blob *old = snapshot_bytes(10, 1);
    buf_clear(&out);
    cr_assert(lapse_is_ok(read_chunk(&node, old->len - 5, &out, &index, &last)));
    cr_assert(index == 10 && last && out.len == 5 && memcmp(out.data, tail, 5) == 0);
    cr_assert(lapse_is_ok(read_chunk(&node, 0, &out, &index, &last)));
    cr_assert_eq(index, 20);
    blob_unref(old);
    buf_free(&out);
    node_free(&node);
}

Test(log, the_bytes_read_are_those_a_follower_installs)
{
    struct node leader = fresh(1024), follower = fresh(1024);
    struct buf out;
    uint64_t index;
    bool last;
    buf_init(&out, 1 << 20);
    cr_assert(lapse_is_ok(node_append(&leader, 2, 1, &nonces[2], 30)));
    cr_assert(lapse_is_ok(node_snapshot(&leader, 25, 1, 1)));
    cr_assert(lapse_is_ok(read_chunk(&leader, 0, &out, &index, &last)));
    cr_assert(lapse_is_ok(node_receive(&follower, buf_slice(&out), 333, 25, 1)));
    buf_free(&out);
    node_free(&leader);
    node_free(&follower);
}

Test(log, other_files_in_the_directory_are_left_alone)
{
    struct node node = fresh(1024);
    node_close(&node);
    virtual_disk_put(node.disk, "audit.db", slice_str("evidence"));
    virtual_disk_put(node.disk, "saving.tmp", slice_str("unfinished"));
    cr_assert(lapse_is_ok(node_open(&node)));
    cr_assert_eq(virtual_disk_size(node.disk, "audit.db"), 8);
    cr_assert_eq(virtual_disk_size(node.disk, "saving.tmp"), UINT64_MAX);
    node_free(&node);
}

Test(log, a_torn_last_write_is_cut_and_reported)
{
    struct node node = fresh(1 << 16);
    cr_assert(lapse_is_ok(node_append(&node, 2, 1, &nonces[2], 10)));
    uint64_t end = node.log->tail.offset;
    char name[LOG_NAME_SIZE];
    memcpy(name, node.log->tail.name, sizeof name);
    node_close(&node);
    /* What a write of the next entry leaves when its first sector did not arrive. */
    cr_assert(virtual_disk_flip(node.disk, name, end + 700, 0xFF));
    cr_assert(lapse_is_ok(node_open(&node)));
    cr_assert(node.state.torn_tail_cut);
    cr_assert_not_null(strstr(node.state.note, name), "%s", node.state.note);
    cr_assert_eq(node.state.n_entries, 11);
    cr_assert(lapse_is_ok(node_append(&node, 12, 1, &nonces[12], 20)));
    reopen(&node);
    cr_assert(node.state.n_entries == 31 && !node.state.torn_tail_cut);
    node_free(&node);
}
