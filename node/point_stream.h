/* A stream of an enforcement point on its edge: what service_enforcement.c (its life), point_words.c (what the point
 * says), point_writes.c (what of that goes into the log) and point_heads.c (heads of the audit log) share. Nobody else includes this. */
#ifndef LAPSE_NODE_POINT_STREAM_H
#define LAPSE_NODE_POINT_STREAM_H

#include "node/audit.h"
#include "node/core_point.h"
#include "node/feed.h"
#include "proto/h2_budget.h"
#include "proto/lapse/v1/enforcement.pb.h"

/* Something that the point reported and the store decides. */
enum point_write_kind { POINT_WRITE_REGISTER, POINT_WRITE_SESSION, POINT_WRITE_USE };
struct point_write {
    struct point_write *next;
    struct point_stream *stream;
    enum point_write_kind kind;
    struct buf command;                    /* encoded */
    struct random_id session;              /* SESSION */
    char request_id[LIMIT_REQUEST_ID + 1]; /* USE */
    struct lapse_error outcome;            /* USE, once it is known */
};

struct point_write_list {
    struct point_write *head, **tail;
    uint32_t n;
};

struct point_stream {
    struct feed feed;
    struct random_id instance;
    char id[LIMIT_POINT_ID + 1];
    uint32_t lease_ms;
    struct point_write *registration; /* until it is begun */
    struct core_point *core;          /* from its registration to the stream's end */
    bool admitted;                    /* at `admitted_revision` */
    bool served;                      /* Registered was sent */
    uint64_t registered_revision, admitted_revision;

    uint64_t received, enforced; /* as acknowledged on this stream */
    bool in_revocation;          /* the last event was a revocation or what it ended along with it */
    bool owes_mark;              /* events that a barrier may wait for have passed by the point unsent */
    bool left;                   /* it has said goodbye, */
    int64_t left_ms;             /* then; */
    bool gone;                   /* and its instance is ended */

    /* One answer to pings waits while the stream isn't writable, the newest. */
    bool owes_pong;
    uint64_t pong_sequence;
    uint32_t pong_ttl_ms;
    int64_t pong_time_us;

    struct audit_job check; /* `claim`: the head that it has brought */
    bool claims;            /* it has brought one */
    bool checking;          /* the audit was asked */
    bool check_holds;       /* and nothing is served before the answer */
    int64_t check_ms;       /* since then */
    uint64_t head_revision; /* of the head that was sent last; 0: none */
    int64_t head_ms;        /* then */

    struct h2_budget pings, messages;
    struct point_write_list asked;   /* at the core, LIMIT_POINT_WRITES at most together with `results` */
    struct point_write_list waiting; /* for their turn */
    struct point_write_list results; /* of uses, for the stream to be writable */
};

/* service_enforcement.c */
/* What the point did to end its stream, or what it reported in vain: a line in the log, at most one a second. */
void point_complain(const struct point_stream *stream, const char *what, const char *message);
/* The registration is committed, since `revision`; or it is refused. */
void point_registered(struct point_stream *stream, uint64_t revision);
void point_not_registered(struct point_stream *stream, const struct lapse_error *error);

/* Registered and the events, if everything that must come before is there. */
void point_serve_when_ready(struct point_stream *stream);

/* point_heads.c */
/* The head of a registration. INVALID_ARGUMENT. */
lapse_result point_parse_head(struct point_stream *stream, const lapse_v1_SignedHead *head,
                              struct lapse_error *error) LAPSE_MUST_USE;
/* Asks the audit about it, once the registration is committed; its answer may end the stream. */
void point_check_head(struct point_stream *stream);
void point_check_tick(struct point_stream *stream, int64_t now_ms);
/* The stream has ended: nobody waits for that answer. */
void point_check_abandon(struct point_stream *stream);
/* The newest head, if it is new, and time for one. */
void point_send_head(struct point_stream *stream, int64_t now_ms);

/* point_words.c: a message of the point behind its registration. Ends the stream for what it must not say. */
void point_hear(struct point_stream *stream, struct slice message);
/* The first one, into the opening question and `write`. INVALID_ARGUMENT, OUT_OF_RANGE. */
lapse_result point_parse_registration(struct point_stream *stream, struct slice message, struct point_write *write,
                                      struct lapse_error *error) LAPSE_MUST_USE;
bool point_say(struct point_stream *stream, const struct core_point_tell *tell);
void point_send_pong(struct point_stream *stream);

/* point_writes.c */
void point_writes_init(struct point_stream *stream);
struct point_write *point_write_new(struct point_stream *stream, enum point_write_kind kind);
void point_write_free(struct point_write *write);
/* Takes `write` over: in its turn it goes to the core, and what becomes of it is told: to the point (USE), to
 * point_registered (REGISTER; a refusal ends the stream) or to the log. Ends the stream when too many wait. */
void point_write_begin(struct point_stream *stream, struct point_write *write);
/* Uses whose outcome is known, as far as the stream is writable. */
void point_send_results(struct point_stream *stream);
/* Forgets what waits; what is at the core comes back and is dropped. */
void point_writes_drop(struct point_stream *stream);

#endif
