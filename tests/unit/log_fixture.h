/* A log over a virtual disk, with the jobs of a replica as one-line calls. Shared by the tests of the log. */
#ifndef LAPSE_TESTS_UNIT_LOG_FIXTURE_H
#define LAPSE_TESTS_UNIT_LOG_FIXTURE_H

#include "raft/log_internal.h"
#include "tests/sim/virtual_disk.h"

#define FIXTURE_CLUSTER "test-01ARZ3NDEKTSV4RRFFQ69G5FAV"

struct node {
    struct disk *disk;
    struct log *log;        /* NULL while closed */
    struct log_state state; /* as of the last open */
    uint64_t segment_bytes;
    uint64_t reserve_bytes;
    struct lapse_error error; /* of the last call that failed */
};

/* An entry's payload is told by its nonce alone, so that a test can say which entry it got. */
struct blob *payload_of(uint64_t nonce);
struct log_entry entry_of(uint64_t term, uint64_t nonce);
bool entry_is(const struct log_entry *entry, uint64_t term, uint64_t nonce);

lapse_result node_format(struct node *node, const uint64_t *nonces, uint32_t n);
lapse_result node_open(struct node *node);
/* Closes the log and forgets the state; the disk stays. */
void node_close(struct node *node);
/* Closes and frees the disk, too. */
void node_free(struct node *node);

struct storage_job *job_append(uint64_t index, uint64_t term, const uint64_t *nonces, uint32_t n);
struct storage_job *job_vote(uint64_t term, uint64_t voted_for);
/* Does one job, frees it, and returns its result (its error in node->error). */
lapse_result node_do(struct node *node, struct storage_job *job);
lapse_result node_append(struct node *node, uint64_t index, uint64_t term, const uint64_t *nonces, uint32_t n);
lapse_result node_vote(struct node *node, uint64_t term, uint64_t voted_for);
/* SAVE and COMMIT of a store whose time is `index`. */
lapse_result node_save(struct node *node, uint64_t index, uint64_t term);
lapse_result node_commit(struct node *node, uint64_t index, uint64_t term, uint64_t keep_from);
lapse_result node_snapshot(struct node *node, uint64_t index, uint64_t term, uint64_t keep_from);
/* RECEIVE in pieces of `piece` bytes, RESTORE and INSTALL of a snapshot made elsewhere. */
lapse_result node_receive(struct node *node, struct slice bytes, size_t piece, uint64_t index, uint64_t term);
lapse_result node_install(struct node *node, uint64_t index, uint64_t term);
/* The bytes of a snapshot file; one reference. */
struct blob *snapshot_bytes(uint64_t index, uint64_t term);
/* A store that holds next to nothing, at that time. */
struct store *store_at(int64_t time_ms);

#endif
