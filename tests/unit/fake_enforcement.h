/* Nodes for the guard's tests: real TLS and gRPC servers on 127.0.0.1 that serve lapse.v1.Enforcement/Subscribe from
 * one made-up history, and misbehave on demand. What the guard sends is decoded by the generated codec. */
#ifndef LAPSE_TESTS_FAKE_ENFORCEMENT_H
#define LAPSE_TESTS_FAKE_ENFORCEMENT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"
#include "store/lock.h"

#define FAKE_LOG_MAX 65536
#define FAKE_WORDS_MAX 4096

/* A grant by its number: what is not said is always the same. */
struct fake_grant {
    uint32_t number;
    enum grant_state state;
    uint32_t parent;                 /* number; 0: none */
    const char *subject;             /* NULL: "user:dev1@example.com" */
    const char *resource;            /* NULL: "db/prod/orders" */
    const char *action;              /* NULL: "read" */
    const char *spiffe_id, *network; /* its binding, or NULL */
    int64_t deadline_ms;             /* cluster time; 0: far away */
    uint32_t max_uses, uses;
    const uint8_t *token_sha256; /* 32 bytes, or NULL */
};

/* A lock; without `kind`: none. Its name is its target. */
struct fake_lock {
    enum lock_kind kind;
    const char *target;
    bool lifted;
};

struct fake_registration {
    uint8_t instance[16];
    uint64_t epoch, revision;
    uint32_t lease_ms;
    char scope[257];
    uint64_t head_epoch, head_revision; /* of the head that it brought; 0: none */
};

/* What a guard said, in order; what it said in a loop (pings, acks) is counted or kept as its last. */
struct fake_words {
    struct fake_registration registrations[64];
    uint32_t n_registrations;
    uint32_t n_pings, n_acks, n_goodbyes, n_uses;
    uint64_t received, enforced; /* of the last ack of any stream */
    uint64_t enforced_at_failure;
    char failure[257];
    uint64_t failure_revision;
    uint32_t n_failures, n_began, n_ended;
    uint32_t n_false; /* acks and failures of what the stream had not brought: it was ended for that */
    char began_grant[27], description[257];
};

struct fake_edge {
    pthread_mutex_t lock; /* all of it */
    char *pki;
    uint64_t epoch, revision;
    uint64_t ring;                  /* the first revision that can be resumed behind */
    struct fake_grant grants[4096]; /* by number */
    struct {
        uint64_t revision;
        struct fake_grant grant;
        struct fake_lock lock; /* with a kind: it is about this, not about a grant */
    } log[FAKE_LOG_MAX];
    uint32_t n_log;
    struct fake_lock locks[64]; /* those that are not lifted */
    uint64_t lock_revisions[64];
    uint32_t n_locks;
    uint64_t telling;     /* the revision of the mark that is being made */
    int64_t time_base_us; /* cluster time - this machine's boot clock */
    struct fake_words words;

    uint32_t ttl_ms;              /* of pongs */
    bool mute;                    /* no pongs */
    bool no_time;                 /* pongs don't know the time */
    bool holds_registrations;     /* takes them and says nothing */
    bool holds_uses;              /* likewise */
    bool holds_snapshots;         /* sends grants, never their end */
    enum lapse_code refuses;      /* registrations; OK: none */
    enum lapse_code refuses_uses; /* once */
    struct fake_edge_node *nodes[4];
    uint32_t n_nodes;
};

struct fake_edge *fake_edge_new(void);
void fake_edge_free(struct fake_edge *edge);
struct fake_edge_node;
struct fake_edge_node *fake_edge_start(struct fake_edge *edge, uint16_t port);
uint16_t fake_edge_port(const struct fake_edge_node *node);
void fake_edge_stop(struct fake_edge_node *node); /* like kill -9 */
/* Breaks all connections; new ones are taken. */
void fake_edge_cut(struct fake_edge_node *node);
/* No pongs from this one. */
void fake_edge_mute(struct fake_edge_node *node, bool mute);
uint32_t fake_edge_streams(struct fake_edge_node *node);

/* Changes a grant, and tells all streams by an event. Returns its revision. */
uint64_t fake_edge_put(struct fake_edge *edge, const struct fake_grant *grant);
/* Locks or lifts, likewise. */
uint64_t fake_edge_lock(struct fake_edge *edge, enum lock_kind kind, const char *target);
uint64_t fake_edge_unlock(struct fake_edge *edge, const char *target);
/* A head of the audit log, on all streams. */
void fake_edge_head(struct fake_edge *edge, uint64_t epoch, uint64_t revision);
/* The bytes of one, to be freed. */
void fake_head(uint64_t epoch, uint64_t revision, struct buf *out);
/* The same as fake_edge_put without an event: the next snapshot shows it. */
void fake_edge_put_silently(struct fake_edge *edge, const struct fake_grant *grant);
/* On all streams: */
void fake_edge_progress(struct fake_edge *edge, uint64_t revision);
void fake_edge_resync(struct fake_edge *edge, uint64_t epoch, uint64_t revision);
void fake_edge_end(struct fake_edge *edge, int cause, enum lapse_code code);
void fake_edge_raw(struct fake_edge *edge, const void *bytes, size_t len);
void fake_edge_event(struct fake_edge *edge, uint64_t epoch, uint64_t revision, const struct fake_grant *grant);

int64_t fake_edge_time_ms(struct fake_edge *edge);
const char *fake_edge_id(uint32_t number); /* of a grant, as text; the last 8 stay valid */
const char *fake_edge_endpoints(struct fake_edge *edge);

#endif
