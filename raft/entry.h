/* What a log entry of type RAFT_COMMAND holds: a batch of commands under one cluster time.
 *
 * Schema: proto/lapse/disk/v1/entry.proto. Each command carries (node, sequence): the node that took it finds its
 * caller again when it applies the entry. Node 0 stands for the cluster itself (expiry). */
#ifndef LAPSE_RAFT_ENTRY_H
#define LAPSE_RAFT_ENTRY_H

#include "base/bytes.h"
#include "base/limits.h"

#define ENTRY_VERSION 1u

struct entry_item {
    uint64_t node;
    uint64_t sequence;
    struct slice command; /* encoded, borrowed */
};

/* Writing: begin, add until it refuses, take. */
struct entry_writer {
    struct buf bytes;
    uint32_t n;
};
void entry_begin(struct entry_writer *writer, int64_t time_ms);
/* False, and nothing added, when the batch is full (LIMIT_ENTRY_COMMANDS or LIMIT_ENTRY_BYTES); an empty batch takes
 * any one command of up to LIMIT_COMMAND_BYTES. */
bool entry_add(struct entry_writer *writer, struct entry_item item);
/* The finished payload, one reference; the writer is empty afterwards. */
struct blob *entry_take(struct entry_writer *writer);
void entry_abort(struct entry_writer *writer);

/* Reading. entry_open verifies everything, so that the reader can't fail: DATA_LOSS unless `payload` is exactly one
 * well-formed batch of a version that this program knows. */
struct entry_reader {
    struct slice rest;
    int64_t time_ms;
};
lapse_result entry_open(struct slice payload, struct entry_reader *reader, struct lapse_error *error) LAPSE_MUST_USE;
bool entry_next(struct entry_reader *reader, struct entry_item *item);

#endif
