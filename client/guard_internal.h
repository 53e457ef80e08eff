/* Inside of a guard: what its parts share. Nobody else includes this but their tests.
 *
 *   any thread                         the guard's thread (its client's: client/client.h)
 *   ----------                         --------------------------------------------------
 *   lapse_guard_check                  guard_stream.c   one stream after another; what they bring goes into state and
 * cache view --> state, cache  <------  guard.c          guard_look: publishes a view, then ends sessions, then
 * confirms lapse_guard_use      --lock-->     guard_speak.c    what is to be said: pings, acks, failures, reports, uses
 *   lapse_guard_session_* --lock-->    guard_sessions.c
 *
 * A *view* is what checks decide from: where the guard stands (guard_state.h), the locks and the cache. It never
 * changes; each change of where the guard stands, or of a lock, publishes a new one. What the cache drops is out of
 * sight at once, in every view. */
#ifndef LAPSE_CLIENT_GUARD_INTERNAL_H
#define LAPSE_CLIENT_GUARD_INTERNAL_H

#include <pthread.h>

#include "base/clock.h"
#include "client/client.h"
#include "client/guard_cache.h"
#include "client/guard_locks.h"
#include "client/guard_sessions.h"
#include "client/guard_state.h"
#include "client/lapse_guard.h"
#include "client/schema.h"

struct guard_view {
    struct guard_garbage garbage;
    struct guard_state state;
    const struct guard_cache *cache;
    const struct guard_lock_set *locks; /* NULL: there is none */
    uint32_t process;                   /* who may decide from it: guard_process() of its guard */
    bool failed;
};

/* Decisions are counted apart from one another, so that threads don't write to the same line. */
#define GUARD_COUNTS 64u
struct guard_count {
    _Alignas(64) _Atomic(uint64_t) permitted;
    _Atomic(uint64_t) denied;
};

/* A lapse_guard_use that waits for the cluster; it lies on its caller's stack. Under the guard's lock. */
struct guard_use {
    TAILQ_ENTRY(guard_use) entry;
    pthread_cond_t changed;
    char request_id[LAPSE_REQUEST_ID_SIZE];
    struct grant_id grant;
    uint32_t count;
    bool sent;        /* on this stream */
    bool ever_sent;   /* so its outcome may be unknown */
    int64_t again_us; /* not before */
    bool ended;       /* the grant has been ended meanwhile, and not by its uses */
    bool done;        /* the two below */
    struct lapse_error outcome;
};
TAILQ_HEAD(guard_uses, guard_use);

struct guard_settings {
    char id[LIMIT_POINT_ID + 1];
    char scope[LIMIT_SCOPE_PATTERNS][LIMIT_RESOURCE + 1];
    size_t n_scope;
    uint32_t lease_ms, grants_max, use_share;
    bool end_sessions_when_stale;
};

/* A signed head of the audit log, as it came: kept for the next registration, and for the next process. */
struct guard_head {
    uint64_t epoch, revision;
    uint8_t bytes[LIMIT_SIGNED_HEAD]; /* lapse.v1.SignedHead */
    size_t len;                       /* 0: none */
};

/* One stream; forgotten when it ends. */
struct guard_stream {
    struct grpc_request *request; /* NULL: none */
    struct link_connection *connection;
    bool admitted;
    bool settled;     /* something came after `registered`: had a resync followed, it would have been that */
    bool half_closed; /* after a goodbye */
    bool full;        /* nothing but what must be said, until it is writable */
    int64_t opened_us, heard_us, promised_us; /* promised: the newest ping that brought a promise, or its admission */
    int64_t pinged_us, ping_due_us;
    uint64_t received, enforced; /* said here */
    uint32_t reports_left;       /* session reports until the next promise */
    struct lapse_error fault;    /* why this side leaves it; code OK: it doesn't */
};

struct lapse_guard {
    struct lapse_client *client;
    struct guard_reaper *reaper;
    struct guard_settings settings;
    struct lapse_guard_callbacks callbacks;
    void *arg;
    uint32_t process; /* that opened it */
    _Atomic(struct guard_view *) view;
    _Atomic(int64_t) clock_shift_us; /* tests: this machine was suspended for so long */
    struct guard_count counts[GUARD_COUNTS];

    pthread_mutex_t lock; /* all up to the next comment */
    pthread_cond_t changed;
    /* The published ones: changed by the guard's thread only, under the lock. */
    struct guard_cache *cache;
    struct guard_lock_set *lock_set; /* NULL: nothing is locked */
    struct guard_sessions sessions;
    struct lapse_guard_session *calling; /* its on_end_session runs */
    struct guard_uses uses;
    uint32_t n_uses;
    char message[LAPSE_ERROR_MESSAGE_SIZE];
    char endpoint[LINK_ENDPOINT_SIZE];
    uint64_t resyncs, reconnects, registrations;
    bool closed;

    /* The guard's thread. */
    struct client_task start_task, look_task, reload_task, close_task;
    struct pending pending;
    uv_timer_t timer;
    struct guard_state state;
    struct guard_locks *locks;
    struct guard_cache *staging; /* a snapshot that is being received */
    struct guard_locks *staging_locks;
    struct guard_stream stream;
    uint8_t instance[16];
    struct {
        int64_t time_us, at_us; /* cluster time, as guard_state has it, outliving its instance */
    } clock;
    int64_t tokens, tokens_us;
    struct guard_head head; /* the newest that was told */
    bool failed;            /* waiting won't help */
    bool forgotten;         /* the cluster doesn't know the head any more: for good */
    bool changed_view;
    bool closing;
    int64_t close_by_us;
    enum lapse_guard_state told; /* to on_state; 0: nothing yet */
};

static inline int64_t guard_now_us(const struct lapse_guard *guard)
{
    return clock_boot_us() + atomic_load_explicit(&guard->clock_shift_us, memory_order_relaxed);
}

/* This process is a child of the guard's: it has none of its threads, and locks may be held for good. */
static inline bool guard_is_forked(const struct lapse_guard *guard)
{
    return guard->process != guard_process();
}

/* Why the calls that take a lock can't be served here: a fork, or, when they would wait, a callback. OK: they can. */
lapse_result guard_may_call(const struct lapse_guard *guard, bool waits, struct lapse_error *error) LAPSE_MUST_USE;

/* ---- guard_check.c: any thread */

enum lapse_guard_state guard_view_state(const struct guard_view *view, int64_t now_us);
struct grant_query guard_query_of(const struct lapse_guard_query *query);
bool guard_is_locked(const struct guard_view *view, const struct grant_query *query);
/* Decides and fills `decision`. Returns the grant that it is about (to be used before guard_read_end), or NULL. */
const struct guard_entry *guard_decide(const struct guard_view *view, const struct lapse_guard_query *query,
                                       int64_t now_us, struct lapse_guard_decision *decision);
void guard_count_decision(struct lapse_guard *guard, bool permit);
static inline const struct guard_view *guard_view(const struct lapse_guard *guard)
{
    return atomic_load_explicit(&guard->view, memory_order_acquire);
}

/* ---- guard.c: the guard's thread */

/* Checks that begin from now on see the present state and cache. */
void guard_publish(struct lapse_guard *guard);
/* What was staged takes the place of cache and locks. What it lacks ended, or was locked, at that revision or later. */
void guard_swap_cache(struct lapse_guard *guard, uint64_t missing_since);
/* `locks` have changed at that revision: checks that begin from now on see it, and sessions that are denied are ended.
 */
void guard_publish_locks(struct lapse_guard *guard, uint64_t revision);
/* What the cluster sends as a SignedHead; false: it is none. */
bool guard_head_read(struct slice bytes, struct guard_head *head);
/* Something happened: guard_look comes in the loop's next turn. */
void guard_look_soon(struct lapse_guard *guard);
/* A new instance (or none, when it is fenced): denies everything from here on. */
void guard_begin_anew(struct lapse_guard *guard, bool fenced);
void guard_set_message(struct lapse_guard *guard, const char *message);
/* The last stream after lapse_guard_close is gone. */
void guard_finish(struct lapse_guard *guard);
bool guard_is_own_thread(const struct lapse_guard *guard);
/* Any thread, without the lock: guard_look. */
void guard_wake(struct lapse_guard *guard);

/* ---- guard_stream.c: the guard's thread */

extern const struct pending_ops guard_pending_ops;
/* Ends the stream: it contradicts itself, or is no use. */
void guard_stream_leave(struct lapse_guard *guard, const char *why);
/* When a stream that brings nothing is to be left; leaves it if that is now. INT64_MAX without one. */
int64_t guard_stream_doubt(struct lapse_guard *guard, int64_t now_us);

/* ---- guard_speak.c: the guard's thread */

/* The first message of a stream. */
void guard_registration(const struct lapse_guard *guard, struct buf *out);
/* Says what there is to be said. Returns when there is more; INT64_MAX: when something happens. */
int64_t guard_speak(struct lapse_guard *guard, int64_t now_us);
void guard_speak_acks(struct lapse_guard *guard, int64_t now_us);
void guard_say_goodbye(struct lapse_guard *guard);

/* ---- guard_uses.c */

/* Under the lock: a grant has left the cache. */
void guard_uses_ended(struct lapse_guard *guard, struct grant_id grant, bool by_uses);
void guard_uses_ended_all(struct lapse_guard *guard);
/* The guard's thread. */
void guard_uses_result(struct lapse_guard *guard, const struct guard_use_result *result);
void guard_uses_new_stream(struct lapse_guard *guard);

#endif
