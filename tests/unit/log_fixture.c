#include "tests/unit/log_fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"

struct blob *payload_of(uint64_t nonce)
{
    uint8_t bytes[512];
    struct prng prng = {nonce};
    size_t len = (size_t)prng_below(&prng, 8) == 0 ? 0 : 8 + (size_t)prng_below(&prng, 200);
    if (prng_chance(&prng, 4))
        len = sizeof bytes;
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)prng_next(&prng);
    return len == 0 ? NULL : blob_new(slice_of(bytes, len));
}

struct log_entry entry_of(uint64_t term, uint64_t nonce)
{
    return (struct log_entry){.term = term, .type = (uint8_t)(1 + nonce % 3), .data = payload_of(nonce)};
}

bool entry_is(const struct log_entry *entry, uint64_t term, uint64_t nonce)
{
    struct log_entry expected = entry_of(term, nonce);
    struct slice want = expected.data == NULL ? slice_of(NULL, 0) : blob_slice(expected.data);
    struct slice have = entry->data == NULL ? slice_of(NULL, 0) : blob_slice(entry->data);
    bool same = entry->term == expected.term && entry->type == expected.type && slice_equal(want, have);
    blob_unref(expected.data);
    return same;
}

lapse_result node_format(struct node *node, const uint64_t *nonces, uint32_t n)
{
    struct log_identity identity = {.node_id = 7};
    struct log_entry *first = mem_calloc(n, sizeof *first);
    (void)snprintf(identity.cluster, sizeof identity.cluster, "%s", n > 0 ? FIXTURE_CLUSTER : "");
    for (uint32_t i = 0; i < n; i++)
        first[i] = entry_of(1, nonces[i]);
    lapse_result result = log_format(node->disk, &identity, first, n, &node->error);
    for (uint32_t i = 0; i < n; i++)
        blob_unref(first[i].data);
    free(first);
    return result;
}

lapse_result node_open(struct node *node)
{
    struct log_options options = {.segment_bytes = node->segment_bytes, .reserve_bytes = node->reserve_bytes};
    CHECK(node->log == NULL);
    node->error = (struct lapse_error){0};
    return log_open(node->disk, &options, &node->log, &node->state, &node->error);
}

void node_close(struct node *node)
{
    log_close(node->log);
    node->log = NULL;
    log_state_free(&node->state);
}

void node_free(struct node *node)
{
    node_close(node);
    virtual_disk_free(node->disk);
    node->disk = NULL;
}

struct storage_job *job_append(uint64_t index, uint64_t term, const uint64_t *nonces, uint32_t n)
{
    struct storage_job *job = mem_calloc(1, sizeof *job);
    job->type = STORAGE_APPEND;
    job->index = index;
    job->entries = mem_calloc(n, sizeof *job->entries);
    job->n_entries = n;
    for (uint32_t i = 0; i < n; i++)
        job->entries[i] = entry_of(term, nonces[i]);
    return job;
}

struct storage_job *job_vote(uint64_t term, uint64_t voted_for)
{
    struct storage_job *job = mem_calloc(1, sizeof *job);
    job->type = STORAGE_VOTE;
    job->term = term;
    job->voted_for = voted_for;
    return job;
}

lapse_result node_do(struct node *node, struct storage_job *job)
{
    storage_execute(node->log, job);
    lapse_result result = job->result;
    node->error = job->error;
    storage_job_free(job);
    return result;
}

lapse_result node_append(struct node *node, uint64_t index, uint64_t term, const uint64_t *nonces, uint32_t n)
{
    return node_do(node, job_append(index, term, nonces, n));
}

lapse_result node_vote(struct node *node, uint64_t term, uint64_t voted_for)
{
    return node_do(node, job_vote(term, voted_for));
}

struct store *store_at(int64_t time_ms)
{
    struct store *store = store_new(NULL);
    struct command command = {.type = COMMAND_ADVANCE, .count = 1};
    struct store_outcome outcome;
    store_apply(store, &command, time_ms, NULL, NULL, &outcome);
    CHECK(store_time_ms(store) == time_ms);
    return store;
}

static struct storage_job *job_snapshot(enum storage_job_type type, uint64_t index, uint64_t term)
{
    struct storage_job *job = mem_calloc(1, sizeof *job);
    job->type = type;
    job->meta = (struct snapshot_meta){
        .index = index, .term = term, .configuration_index = 1, .configuration = blob_new(slice_str("configuration"))};
    return job;
}

lapse_result node_save(struct node *node, uint64_t index, uint64_t term)
{
    struct store *store = store_at((int64_t)index);
    struct storage_job *save = job_snapshot(STORAGE_SAVE, index, term);
    struct store_view *view = store_freeze(store);
    save->view = view;
    lapse_result result = node_do(node, save);
    store_view_free(view);
    store_free(store);
    return result;
}

lapse_result node_commit(struct node *node, uint64_t index, uint64_t term, uint64_t keep_from)
{
    struct storage_job *commit = job_snapshot(STORAGE_SNAPSHOT_COMMIT, index, term);
    commit->keep_from = keep_from;
    return node_do(node, commit);
}

lapse_result node_snapshot(struct node *node, uint64_t index, uint64_t term, uint64_t keep_from)
{
    lapse_result result = node_save(node, index, term);
    return lapse_is_ok(result) ? node_commit(node, index, term, keep_from) : result;
}

struct blob *snapshot_bytes(uint64_t index, uint64_t term)
{
    struct blob *configuration = blob_new(slice_str("configuration"));
    struct snapshot_meta meta = {index, term, 1, configuration};
    struct disk *disk = virtual_disk_new();
    struct store *store = store_at((int64_t)index);
    struct store_view *view = store_freeze(store);
    uint8_t *bytes = NULL;
    size_t len = 0;
    lapse_result result = snapshot_file_write(disk, "made", &meta, view, NULL);
    CHECK(lapse_is_ok(result));
    result = segment_load(disk, "made", &bytes, &len, NULL);
    CHECK(lapse_is_ok(result));
    struct blob *blob = blob_new(slice_of(bytes, len));
    free(bytes);
    store_view_free(view);
    store_free(store);
    virtual_disk_free(disk);
    blob_unref(configuration);
    return blob;
}

lapse_result node_receive(struct node *node, struct slice bytes, size_t piece, uint64_t index, uint64_t term)
{
    lapse_result result = lapse_ok();
    for (size_t offset = 0; offset < bytes.len && lapse_is_ok(result); offset += piece) {
        size_t len = bytes.len - offset < piece ? bytes.len - offset : piece;
        struct storage_job *job = job_snapshot(STORAGE_RECEIVE, index, term);
        job->offset = offset;
        job->chunk = blob_new(slice_of(bytes.data + offset, len));
        job->last = offset + len == bytes.len;
        result = node_do(node, job);
    }
    return result;
}

static lapse_result node_restore(struct node *node, uint64_t index)
{
    struct storage_job *job = mem_calloc(1, sizeof *job);
    job->type = STORAGE_RESTORE;
    storage_execute(node->log, job);
    lapse_result result = job->result;
    node->error = job->error;
    if (lapse_is_ok(result))
        CHECK(store_time_ms(job->store) == (int64_t)index);
    store_free(job->store);
    storage_job_free(job);
    return result;
}

lapse_result node_install(struct node *node, uint64_t index, uint64_t term)
{
    struct blob *bytes = snapshot_bytes(index, term);
    lapse_result result = node_receive(node, blob_slice(bytes), 100, index, term);
    blob_unref(bytes);
    if (lapse_is_ok(result))
        result = node_restore(node, index);
    return lapse_is_ok(result) ? node_do(node, job_snapshot(STORAGE_SNAPSHOT_INSTALL, index, term)) : result;
}
