/* The inside of the audit, shared by the audit*.c files only.
 *
 *   audit.c          the handle: queue, status, questions, start and end
 *   audit_write.c    the writer thread: its loop, batches, gaps, full disks
 *   audit_book.c     what the writer knows: where the records end, what is missing
 *   audit_verify.c   the writer, bit by bit: is everything that was there at the start still what was hashed?
 *   audit_fetch.c    the writer, missing records: asks other nodes, verifies, adds
 *   audit_heads.c    the writer, every 5 s: signs its head, tells it, and compares what others tell
 *   audit_read.c     the reader thread: questions, in the order in which they can be answered
 *   audit_query.c, audit_evidence.c, audit_answer.c   what it answers
 *   audit_db.c, audit_fields.c, audit_frame.c, audit_sign.c   SQLite, events, frames, keys */
#ifndef LAPSE_NODE_AUDIT_INTERNAL_H
#define LAPSE_NODE_AUDIT_INTERNAL_H

#include <pthread.h>

#include "node/audit.h"
#include "node/audit_db.h"
#include "node/audit_frame.h"
#include "node/audit_sign.h"

/* One thing that the core has told: an event, or (without bytes) where the chain stands now. */
struct audit_item {
    struct audit_item *next;
    struct audit_place place;
    struct chain_head before; /* of the event's predecessor */
    uint32_t len;
    uint8_t event[];
};
struct audit_items {
    struct audit_item *first, **last;
};

/* A frame of a peer. */
struct audit_inbox_frame {
    struct audit_inbox_frame *next;
    uint64_t from;
    uint32_t len;
    uint8_t bytes[];
};
struct audit_inbox {
    struct audit_inbox_frame *first, **last;
    uint32_t n;
};

/* What is where: everything from 1 to `newest` is in the database or in a gap. */
struct audit_book {
    uint64_t newest;
    struct chain_head head; /* of `newest` */
    struct audit_gap gaps[LIMIT_AUDIT_GAPS];
    uint32_t n_gaps;
};
/* All records up to it are there. */
static inline uint64_t audit_book_whole(const struct audit_book *book)
{
    return book->n_gaps > 0 ? book->gaps[0].first - 1 : book->newest;
}
/* Whether some record of `first` to `last` is missing (but not: not written yet). */
bool audit_book_lacks(const struct audit_book *book, uint64_t first, uint64_t last);

/* audit_book.c; on the writer thread, inside a transaction, but for load. Errors are the database's; DATA_LOSS: what is
 * there and what the core says contradict each other. */
lapse_result audit_book_load(struct audit_db *db, struct audit_book *book, struct lapse_error *error) LAPSE_MUST_USE;
lapse_result audit_book_take(struct audit_book *book, struct audit_db *db, const struct audit_item *item,
                             struct lapse_error *error) LAPSE_MUST_USE;
/* Gap `i` has become [first, last], whose last hash is `head`; last < first: it is closed. */
lapse_result audit_book_shrink(struct audit_book *book, struct audit_db *db, uint32_t i, uint64_t last,
                               const struct chain_head *head, struct lapse_error *error) LAPSE_MUST_USE;

struct audit_verify {
    uint64_t next, end; /* records from `next` to `end` are to be looked at; next > end: done */
    bool anchored;      /* `head` is next - 1's; otherwise the next record's own hash is taken as it is */
    struct chain_head head;
};

struct audit_fetch {
    uint64_t sequence; /* of the question that waits; 0: none does */
    uint64_t peer;
    uint64_t first, last;
    int64_t until_us;  /* the answer is waited for, or nobody is asked, until then */
    uint32_t turn;     /* whose it is */
    uint32_t failures; /* in a row */
};

struct audit_heads {
    int64_t next_us;       /* when to sign again */
    int64_t kept_ms;       /* the last one that stays */
    uint64_t signed_until; /* revision of the newest */
};

/* The writer thread's own. */
struct audit_writer {
    struct audit_db *db; /* NULL: it could not be opened yet */
    struct audit_book book;
    struct audit_place told;  /* by the core, as far as it was taken */
    struct audit_items batch; /* taken from the queue, not written yet */
    struct audit_verify verify;
    struct audit_fetch fetch;
    struct audit_heads heads;
    int64_t retry_us; /* the disk failed: nothing before */
    int64_t gather_us; /* records gather until then */
    int64_t space_us; /* when to look at free space next */
    bool reserve_there;
    bool complained; /* about the disk, since it last worked */
    uint64_t peers[LIMIT_PEERS];
    uint32_t n_peers;
};

/* What a writer that sleeps waits for. */
enum audit_sleep {
    AUDIT_AWAKE = 0,
    AUDIT_IDLE,     /* anything */
    AUDIT_GATHERING /* enough records, or somebody who waits for them */
};
/* A transaction writes a page for each index, whole, and costs as much as hundreds of records in one: what comes right
 * behind one gathers for so long, unless there is enough of it or somebody waits for it. */
#define AUDIT_GATHER_US (20ll * 1000)
#define AUDIT_GATHER_BYTES (512u * 1024)

struct audit {
    char dir[512];
    char cluster[LIMIT_CLUSTER + 1];
    uint64_t node_id, reserve_bytes;
    int64_t gather_us;
    struct audit_handler handler;
    void *handler_arg;
    struct audit_key *key;

    /* The core's own. */
    struct audit_items telling;
    struct audit_place last; /* that it was told of */
    bool dropped;            /* since the last item that was queued */

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t work;  /* for the writer */
    pthread_cond_t asked; /* for the reader */
    struct audit_items queue;
    struct audit_items written; /* for the core to free */
    struct audit_inbox for_writer, for_reader;
    struct audit_job *jobs, **jobs_last;
    uint32_t n_jobs;
    struct audit_book published; /* what is committed, and told in this life; its `head` is not that of `newest` */
    struct blob *head;
    uint64_t peers[LIMIT_PEERS];
    uint32_t n_peers;
    enum audit_sleep writer_sleeps;
    bool closing;

    pthread_mutex_t file; /* guards `reading`: held by the reader while it works, by the writer to put the file aside */
    struct audit_db *reading;
    _Atomic(bool) reader_stops; /* the writer wants `file` */

    _Atomic(uint64_t) queued_bytes;
    _Atomic(uint64_t) durable, durable_wanted;
    _Atomic(uint64_t) whole, newest, head_revision;
    _Atomic(uint64_t) gaps_total, corrupt;
    _Atomic(int64_t) time_ms;
    _Atomic(bool) gives_back; /* `written` is not empty */
    _Atomic(bool) full;
    _Atomic(bool) stuck; /* the last transaction failed */

    struct audit_writer writer;
    pthread_t write_thread, read_thread;
};

static inline void audit_items_init(struct audit_items *items)
{
    items->first = NULL;
    items->last = &items->first;
}
/* All of `from` behind what `to` has. */
void audit_items_move(struct audit_items *to, struct audit_items *from);
void audit_items_free(struct audit_items *items);
struct audit_inbox_frame *audit_inbox_take(struct audit_inbox *inbox);

void *audit_write_main(void *arg);
void *audit_read_main(void *arg);

/* On the writer thread. A transaction has failed and is rolled back: what is damaged is put aside and fetched anew, a
 * full disk gets the reserve, anything else is tried again in a while. */
void audit_write_failed(struct audit *audit, const struct lapse_error *why);
/* What is found damaged is put aside and fetched anew. */
void audit_set_aside(struct audit *audit, const struct lapse_error *why);
/* The book has changed and is committed. */
void audit_publish(struct audit *audit);
void audit_verify_begin(struct audit_verify *verify, uint64_t newest);
bool audit_verify_is_over(const struct audit_verify *verify);
/* Looks at some more. DATA_LOSS names the first bad record. */
lapse_result audit_verify_step(struct audit *audit, struct lapse_error *error) LAPSE_MUST_USE;
void audit_fetch_step(struct audit *audit, int64_t now_us);
void audit_fetch_answer(struct audit *audit, uint64_t from, const struct audit_frame *frame, int64_t now_us);
void audit_heads_step(struct audit *audit, int64_t now_us);
void audit_heads_told(struct audit *audit, uint64_t from, struct slice head);

/* A signed head: 300 bytes and the cluster's name. */
#define AUDIT_HEAD_BYTES_MAX 1024u
/* A piece of a stream ends past this: what a slow reader of one may bind. */
#define AUDIT_PIECE_BYTES (64u * 1024)
/* On the reader thread. `book` is what was published when it began. */
void audit_serve_range(struct audit *audit, struct audit_db *db, uint64_t from, const struct audit_frame *frame);
lapse_result audit_query_run(struct audit_db *db, const struct audit_book *book, struct audit_job *job) LAPSE_MUST_USE;
lapse_result audit_tail_run(struct audit *audit, struct audit_db *db, const struct audit_book *book,
                            struct audit_job *job) LAPSE_MUST_USE;
lapse_result audit_evidence_run(struct audit *audit, struct audit_db *db, const struct audit_book *book,
                                struct audit_job *job) LAPSE_MUST_USE;
lapse_result audit_head_run(struct audit *audit, struct audit_db *db, const struct audit_book *book,
                            struct audit_job *job) LAPSE_MUST_USE;
lapse_result audit_check_run(struct audit *audit, struct audit_db *db, const struct audit_book *book,
                             struct audit_job *job) LAPSE_MUST_USE;
/* A head of what the database has now; UNAVAILABLE before it has anything. */
lapse_result audit_sign_now(struct audit *audit, struct audit_db *db, const struct audit_book *book, struct buf *out,
                            uint64_t *revision, struct lapse_error *error) LAPSE_MUST_USE;
/* Appends one of a list of lapse.v1.TailResponse. */
lapse_result audit_put_record(const struct audit_record *record, struct buf *out) LAPSE_MUST_USE;
lapse_result audit_put_head_now(struct audit *audit, struct audit_db *db, const struct audit_book *book,
                                struct audit_job *job) LAPSE_MUST_USE;
lapse_result audit_put_head(struct slice signed_head, struct buf *out) LAPSE_MUST_USE;

#endif
