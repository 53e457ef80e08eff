/* Enforcement.Subscribe with a core that the test plays: real gRPC, real ring, real feed; the test answers the core's
 * questions, admits and ends the point, and turns the clock. */
#ifndef LAPSE_TESTS_POINT_STREAM_FIXTURE_H
#define LAPSE_TESTS_POINT_STREAM_FIXTURE_H

#include "node/audit.h"
#include "node/core_point.h"
#include "node/feed.h"
#include "node/metrics.h"
#include "proto/lapse/v1/enforcement.pb.h"

#define EPOCH 7
#define SEEN_MAX 4096
#define ASKED_MAX 1024
#define TOLD_MAX 8192

/* What the point got. */
struct seen {
    pb_size_t kind;
    uint64_t epoch, revision; /* of events, marks, registered; a pong's sequence */
    uint32_t number;          /* event type, ttl, code, cause, lease */
    int64_t time_us;
    char text[513]; /* grant id, request_id, reason */
};

struct fixture {
    struct edge edge;
    struct ring *ring;
    int64_t now_ms;
    /* The point. */
    struct grpc_request *request; /* NULL: ended */
    struct seen seen[SEEN_MAX];
    uint32_t n_seen;
    enum lapse_code code;
    char message[LAPSE_ERROR_MESSAGE_SIZE];
    bool ended;
    /* The core. */
    struct core_call *asked[ASKED_MAX]; /* not answered yet */
    uint32_t n_asked;
    bool holds_writes;        /* the test answers them: otherwise they take effect at once */
    struct lapse_error guard; /* the answer to CORE_GUARD_OPEN; OK: it may */
    struct lapse_error write; /* to writes */
    bool superseded;          /* likewise */
    char asked_point[LIMIT_POINT_ID + 1];
    uint64_t quorum_revision;     /* 0: the ring's newest */
    uint64_t registered_revision; /* the answer to REGISTER */
    uint32_t n_guard, n_scans;    /* questions asked */
    char scope[LIMIT_SCOPE + 1];  /* of the last one */
    struct command written[ASKED_MAX];
    char texts[ASKED_MAX][128]; /* their `text` */
    uint32_t n_written;
    struct buf snapshot; /* what a scan answers */
    struct buf locks[2]; /* and the slices of one of locks */
    uint32_t n_locks, n_lock_scans;
    bool is_busy; /* the core has too much waiting */
    /* The audit. */
    bool has_audit, audit_is_busy;
    struct audit_job *checks[8]; /* not answered yet */
    uint32_t n_checks;
    uint64_t head_revision; /* of the newest head, which consists of `head` */
    char head[16];
    const struct core_point_handler *point;
    void *owner;
    uint32_t n_opened, n_closed;
    struct core_point_tell told[TOLD_MAX];
    uint32_t n_told;
};
extern struct fixture f;

void fixture_begin(void);
/* Checks that everything was given back. */
void fixture_end(void);
void fixture_turn(void);
/* Time has passed on the edge. */
void fixture_tick(void);
/* Until nothing moves. */
void fixture_run(void);

/* The point's side. */
lapse_v1_SubscribeRequest registration(void); /* edge-1, db/prod/..., 3 s */
void subscribe(const lapse_v1_SubscribeRequest *first);
void subscribe_bytes(struct slice first);
void say(const lapse_v1_SubscribeRequest *message);
void say_ping(uint64_t sequence);
void say_ack(uint64_t received, uint64_t enforced);
/* Registered, admitted at the ring's newest revision, and its (empty) snapshot complete. */
void be_served(void);
/* How many of a kind were seen, and the last one. */
uint32_t count_seen(pb_size_t kind);
const struct seen *last_seen(pb_size_t kind);

/* The edge's one feed. */
struct feed *first_feed(void);

/* The core's side. */
uint64_t append_event(enum store_event_type type, enum grant_state state, const char *resource);
uint64_t append(const struct store_event *event); /* its revision is the next one */
uint64_t newest(void);
void answer(struct core_call *call, const struct lapse_error *error);
/* The first check that waits. */
void answer_check(enum audit_verdict verdict, enum lapse_code code);
struct grant_id some_grant(void);

#endif
