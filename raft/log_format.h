/* The names and messages of a data directory (proto/lapse/disk/v1/log.proto), and how they are put into frames. Pure.
 */
#ifndef LAPSE_RAFT_LOG_FORMAT_H
#define LAPSE_RAFT_LOG_FORMAT_H

#include "raft/log.h"
#include "raft/log_frame.h"

#define LOG_FORMAT_VERSION 1u

/* A file's name with its NUL: two numbers of 20 digits and a suffix. */
#define LOG_NAME_SIZE 64

#define NAME_IDENTITY "identity"
#define NAME_IDENTITY_TMP "identity.tmp"
#define NAME_FORMAT_TMP "format.tmp" /* becomes `identity` as the last step of log_format */
#define NAME_HINT "mark"
#define NAME_NEXT_TMP "next.tmp" /* a segment being made */
#define NAME_SAVING_TMP "saving.tmp"
#define NAME_RECEIVING_TMP "receiving.tmp"

void segment_name(uint64_t first, char name[LOG_NAME_SIZE]);
void snapshot_name(uint64_t index, uint64_t term, char name[LOG_NAME_SIZE]);
bool segment_name_parse(const char *name, uint64_t *first);
bool snapshot_name_parse(const char *name, uint64_t *index, uint64_t *term);
bool name_is_temporary(const char *name);

struct vote {
    uint64_t term;
    uint64_t voted_for;
};

/* What a crash must not make us forget about the log as a whole. See log_mark.c. */
enum intent { INTENT_NONE, INTENT_TRUNCATE, INTENT_INSTALL };

struct mark {
    uint64_t index;        /* entries up to here were durable when it was written... */
    uint64_t term;         /* ...and this is the term of that entry */
    uint64_t segment;      /* a segment of this name exists */
    uint64_t intent;       /* enum intent: a change under way that recovery finishes */
    uint64_t intent_index; /* TRUNCATE: the first entry to go; INSTALL: the snapshot's index */
    uint64_t intent_term;  /* INSTALL: the snapshot's term */
};

/* A cheaper, later mark, written without a sync: counts only beside the mark with that sequence. */
struct hint {
    uint64_t sequence;
    uint64_t index;
    uint64_t term;
};

struct segment_header {
    uint64_t first;
    uint64_t previous_term; /* of the entry before `first` */
};

struct entry_record {
    uint64_t index;
    uint64_t term;
    uint64_t type;
    uint64_t durable; /* entries up to here were synced before this record was written */
    struct slice data;
};

struct snapshot_end {
    uint64_t bytes; /* of the store's snapshot */
    uint64_t blocks;
};

/* Each appends the message's body, without a frame. */
void identity_encode(struct buf *out, const struct log_identity *identity);
void vote_encode(struct buf *out, const struct vote *vote);
void mark_encode(struct buf *out, const struct mark *mark);
void hint_encode(struct buf *out, const struct hint *hint);
void segment_header_encode(struct buf *out, const struct segment_header *header);
void entry_encode(struct buf *out, const struct entry_record *entry);
void snapshot_meta_encode(struct buf *out, const struct snapshot_meta *meta);
void snapshot_end_encode(struct buf *out, const struct snapshot_end *end);

/* Each reads a body; false (out unspecified) when it is malformed or of another version. Slices borrow from `body`. */
bool identity_decode(struct slice body, struct log_identity *identity);
bool vote_decode(struct slice body, struct vote *vote);
bool mark_decode(struct slice body, struct mark *mark);
bool hint_decode(struct slice body, struct hint *hint);
bool segment_header_decode(struct slice body, struct segment_header *header);
bool entry_decode(struct slice body, struct entry_record *entry);
/* `meta->configuration` is a new blob, the caller's; NULL when empty. */
bool snapshot_meta_decode(struct slice body, struct snapshot_meta *meta);
bool snapshot_end_decode(struct slice body, struct snapshot_end *end);

/* DATA_LOSS with file, offset, what is wrong, and the way out. */
lapse_result log_corrupt(struct lapse_error *error, const char *name, uint64_t offset, const char *format, ...)
    LAPSE_PRINTF(4, 5);

#endif
