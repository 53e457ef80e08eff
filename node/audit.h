/* The audit database of one node: every event of the store as a record, hash-chained, signed, and answered from
 * (docs/decisions/0013-audit.md).
 *
 *   core loop --audit_event--> queue --> writer thread --> audit.db <-- reader thread <--audit_ask-- edges, core
 *                                          |      ^                          |
 *                     ranges of peers, heads      frames of peers <----------+
 *
 * The core never waits for it: what the queue has no room for becomes a gap, and gaps are closed from other nodes,
 * from their end backwards, so that every piece is verified by a hash that is known already. Nothing that a peer says
 * ever replaces what is in the database.
 *
 * Files in the data directory: audit.db (SQLite, WAL), audit.key (Ed25519, PEM, 0600), audit.pub (its public key, PEM),
 * audit.reserve (given up when the disk is full), audit.db.bad-TIME (a database that did not verify, kept aside). */
#ifndef LAPSE_NODE_AUDIT_H
#define LAPSE_NODE_AUDIT_H

#include <stdatomic.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "node/mailbox.h"
#include "store/chain.h"

#define AUDIT_KEY_BYTES 32
#define AUDIT_SIGNATURE_BYTES 64

struct audit;

/* Where the chain stands, as the store knows it. */
struct audit_place {
    uint64_t epoch, revision;
    struct chain_head head;
};

struct audit_options {
    const char *dir;
    const char *cluster; /* its id */
    uint64_t node_id;
    uint64_t reserve_bytes;
    int64_t gather_us; /* how long records gather for one transaction; 0: 20 ms */
    struct audit_place start; /* of the store, before anything is applied in this life */
};

struct audit_handler {
    /* On the audit's threads: a frame for node `to`, borrowed. Best effort. */
    void (*send)(void *arg, uint64_t to, struct slice frame);
};

/* Loads or makes the key and starts the threads. A database that can't be opened now is tried again later; one that
 * does not verify is put aside. Fails (FAILED_PRECONDITION, UNAVAILABLE) only over the key. */
lapse_result audit_open(const struct audit_options *options, const struct audit_handler *handler, void *arg,
                        struct audit **audit, struct lapse_error *error) LAPSE_MUST_USE;
/* Writes what is queued, answers what is asked with UNAVAILABLE, ends the threads. `handler` is not called any more.
 * Nobody may ask during or after it. Accepts NULL. */
void audit_close(struct audit *audit);

/* --- the core loop ------------------------------------------------------------------------------------------------ */

/* The event at `place`, right behind the last one that was told; its bytes are copied. Handed over by audit_flush. */
void audit_event(struct audit *audit, const struct audit_place *place, struct slice event);
/* Never waits: false leaves it for the next time, which must come soon. */
bool audit_flush(struct audit *audit);
/* The store was replaced by a snapshot: what lies between is a gap. */
void audit_replaced(struct audit *audit, const struct audit_place *place);
/* Whether the log may be dropped up to `revision`: everything up to it is on the disk, but for gaps. False asks the
 * writer to make it so. */
bool audit_is_durable(struct audit *audit, uint64_t revision);
/* Cluster time, for heads. */
void audit_set_time(struct audit *audit, int64_t time_ms);
/* Those that may be asked for records; not ourselves. */
void audit_set_peers(struct audit *audit, const uint64_t *ids, uint32_t n);
/* A frame of node `from`: authenticated, but untrusted in form. */
void audit_receive(struct audit *audit, uint64_t from, struct slice frame);

/* --- any thread --------------------------------------------------------------------------------------------------- */

/* What is known without asking; for metrics, status and the leader's refusals. */
struct audit_status {
    uint64_t revision;   /* all records up to it are in the database */
    uint64_t newest;     /* the newest record's */
    uint64_t gaps_total; /* that have come about since the start */
    uint64_t corrupt;    /* databases put aside since the start */
    bool full;           /* the disk is: only what ends or denies access should be done */
};
void audit_get_status(const struct audit *audit, struct audit_status *status);
/* How full the queue is, in percent: whoever makes events should slow down before it is full on all nodes. 0 while the
 * database can't be written at all: then waiting doesn't help. */
uint32_t audit_pressure(const struct audit *audit);

/* The newest signed head of this node as the bytes of a lapse.v1.SignedHead, and a reference for the caller; NULL:
 * there is none yet. Never waits for the database. audit_head_revision() is 0 until there is one and changes with it.
 */
struct blob *audit_head(struct audit *audit);
uint64_t audit_head_revision(const struct audit *audit);

enum audit_op {
    AUDIT_QUERY, /* `filter`, `cursor`, `page`, `descending` -> records, then `cursor` of the rest or 0 */
    AUDIT_TAIL,  /* `filter`, `cursor` .. `last` -> records and heads; waits until something is new. `cursor` goes on */
    AUDIT_EVIDENCE, /* `filter.grant`, `cursor` (0: begin) -> records, at last the head; `cursor` 0: that was all */
    AUDIT_HEAD,     /* -> a head signed now, and the keys of all nodes that are known */
    AUDIT_CHECK     /* `claim`, `upto` -> `verdict` */
};

/* All that is set must hold. The slices point into the caller's memory, which lives as long as the job. */
struct audit_filter {
    uint8_t grant[16]; /* all zero: any */
    struct slice subject, resource, actor;
    uint64_t types;         /* bits 1 << type; 0: all */
    int64_t from_ms, to_ms; /* to: exclusive; 0: none */
};

/* A head that somebody outside has kept. */
struct audit_claim {
    uint64_t epoch, revision;
    int64_t time_ms;
    uint64_t node_id;
    uint8_t hash[CHAIN_HASH_BYTES];
    uint8_t public_key[AUDIT_KEY_BYTES];
    uint8_t signature[AUDIT_SIGNATURE_BYTES];
};
enum audit_verdict {
    AUDIT_AGREES = 1,
    AUDIT_UNKNOWN, /* of an older epoch, or not in this database (yet), or by a key that this node doesn't know */
    AUDIT_FORGED,  /* its signature is not that of its key: it proves nothing about us */
    AUDIT_ROLLBACK /* the cluster once signed it, and has lost or changed it since: logged and counted already */
};

/* A question and its answer. The asker owns the struct before audit_ask and from `mail.run` on. */
struct audit_job {
    struct mail mail; /* `run` is the asker's: called on `reply_to`'s loop */
    struct mailbox *reply_to;
    enum audit_op op;
    /* The question. */
    struct audit_filter filter;
    uint64_t cursor;
    uint64_t last;      /* TAIL: the last revision wanted; 0: no end */
    uint64_t head_seen; /* TAIL: of the newest head that was told; goes on */
    uint32_t page;      /* records at most */
    bool descending;
    uint64_t upto;            /* answered once the database has everything up to it */
    int64_t deadline_us;      /* boot time; UNAVAILABLE after it */
    struct audit_claim claim; /* CHECK; `upto`: what was applied when the claimant's registration had been */
    uint64_t epoch;           /* CHECK: the cluster's */
    /* The answer: `error.code` LAPSE_OK, or why not. QUERY: QueryResponse fields 4 and 5; TAIL and EVIDENCE:
     * TailResponse messages, each as field 1 of a list; HEAD: a HeadResponse. */
    struct lapse_error error;
    struct buf response;
    enum audit_verdict verdict;
    uint64_t revision; /* TAIL: everything up to it has been told. HEAD: the head's */
    bool more;         /* QUERY, EVIDENCE: `cursor` says where it goes on */
    /* private */
    uint64_t *found; /* EVIDENCE: the revisions */
    uint32_t n_found;
    _Atomic(bool) abandoned;
    struct audit_job *next;
};
void audit_job_init(struct audit_job *job, enum audit_op op);
/* Frees what the job holds, not the job. */
void audit_job_clear(struct audit_job *job);
/* False (RESOURCE_EXHAUSTED is the right answer) when LIMIT_AUDIT_JOBS wait. */
bool audit_ask(struct audit *audit, struct audit_job *job);
/* Nobody waits for it any more: it is answered (CANCELLED) soon. */
void audit_abandon(struct audit *audit, struct audit_job *job);

#endif
