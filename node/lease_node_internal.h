/* The inside of lease_node, shared by lease_node.c (streams and promises), lease_report.c (what the leader is told) and
 * lease_answer.c (what the leader says). */
#ifndef LAPSE_NODE_LEASE_NODE_INTERNAL_H
#define LAPSE_NODE_LEASE_NODE_INTERNAL_H

#include <sys/queue.h>

#include "node/lease_frame.h"
#include "node/lease_index.h"
#include "node/lease_node.h"

/* A point that confirms as fast as most do is not reported as cut. */
#define CUT_REPORT_US (20 * 1000ll)
/* A wish that was not answered by then is lost, or the leader can't admit yet. */
#define WANT_AGAIN_US (1000 * 1000ll)
/* How often followed barriers are looked up, and streams compared with the store. */
#define LOOK_US (20 * 1000ll)
#define REGISTRATIONS_US (100 * 1000ll)

/* A stream as its owner holds it. Once it has ended it is without a seat, and waits for its callback. */
struct lease_stream {
    struct lease_seat *seat;
    void *owner;
    bool admitted_note, again; /* on_admitted is due */
    enum lease_end ended;      /* 0: not; on_ended is due */
    TAILQ_ENTRY(lease_stream) noted;
};

struct failure {
    STAILQ_ENTRY(failure) next;
    uint64_t first, last;
    bool told; /* in this session */
    char reason[LIMIT_RECEIPT_REASON + 1];
};

/* What this node knows of an instance. Outlives the stream until the last promise has run out. */
struct lease_seat {
    struct lease_link link;
    struct lease_stream *stream; /* NULL: GONE */
    enum lease_state state;
    uint64_t want;            /* WANTED: the wish; its answer names it */
    int64_t asked_us;         /* when it was sent */
    uint64_t revision;        /* ADMITTED: no promise from an older store */
    int64_t promise_until_us; /* such that no clock of a point can be behind it then; INT64_MIN: none was made */
    uint64_t received, enforced;
    uint64_t cut;         /* what it must have received: the revision of ... */
    uint64_t cut_barrier; /* the newest barrier that waits for it, as far as this node has applied */
    int64_t cut_us;       /* since when */
    bool served;          /* on_admitted was called */
    bool goodbye;
    bool dirty; /* has news for the leader */
    uint32_t n_failures;
    STAILQ_HEAD(, failure) failures;
    /* Of its registration. */
    char point[LIMIT_POINT_ID + 1];
    uint64_t registered;
    uint32_t lease_ms;
    TAILQ_ENTRY(lease_seat) all;
    TAILQ_ENTRY(lease_seat) news;
};

struct follow {
    TAILQ_ENTRY(follow) all;
    uint64_t barrier;
    uint32_t n;
    bool told; /* that it is done */
};

/* Followed or no longer followed, and not told yet. */
struct follow_news {
    STAILQ_ENTRY(follow_news) next;
    uint64_t barrier;
    bool begin;
};

struct lease_node {
    uint64_t id, life;
    const struct store *store;
    struct lease_node_io io;
    void *arg;
    int64_t born_us;

    uint64_t term, leader;
    int64_t lease_until_us; /* of this term; INT64_MIN: none */
    uint64_t session;       /* 0: the leader has given none yet */
    uint64_t sequence;      /* of the last frame sent in it */
    bool complete_due;      /* the session begins with the next frame */
    bool urgent;            /* something must not wait for the next ping */
    int64_t ping_due_us;
    uint64_t last_want;

    uint64_t seen_revision;        /* of the store, when barriers were last looked for */
    uint64_t seen_barrier;         /* the newest one's id */
    uint64_t sweeps[LIMIT_SWEEPS]; /* open barriers without a revision */
    uint32_t n_sweeps;
    int64_t cut_due_us;        /* when to report who is still cut */
    uint64_t checked_revision; /* of the store, when registrations were last compared */
    int64_t check_due_us, look_due_us;

    struct lease_index seats;
    TAILQ_HEAD(seat_list, lease_seat) all;
    struct seat_list news;
    TAILQ_HEAD(, lease_stream) noted;
    TAILQ_HEAD(, follow) follows;
    STAILQ_HEAD(, follow_news) follow_news;
    uint32_t n_streams, n_in[LEASE_GONE + 1]; /* seats by state */
    uint64_t promises, refused_promises;
};

/* --- lease_node.c --- */
/* The only place where a seat's state changes; keeps the counts. */
void lease_seat_set(struct lease_node *node, struct lease_seat *seat, enum lease_state state);
void lease_seat_want(struct lease_node *node, struct lease_seat *seat);
void lease_seat_news(struct lease_node *node, struct lease_seat *seat, bool urgent);
void lease_seat_free_failures(struct lease_seat *seat);
/* Its stream is over; the callback follows. */
void lease_seat_end(struct lease_node *node, struct lease_seat *seat, enum lease_end why);
void lease_seat_free(struct lease_node *node, struct lease_seat *seat);
void lease_note_admitted(struct lease_node *node, struct lease_stream *stream, bool again);

/* --- lease_cut.c --- */
/* Cuts the points in scope of barriers that the store has got. */
void lease_cut_look(struct lease_node *node, int64_t now_us);
/* The same for one seat that was not there when they came. */
void lease_cut_seat(struct lease_node *node, struct lease_seat *seat, int64_t now_us);
/* A seat that is cut was admitted: its report is due anew. */
void lease_cut_admitted(struct lease_node *node, struct lease_seat *seat, int64_t now_us);
/* No barrier waits for it any more: what it confirmed elsewhere counts. */
void lease_cut_lift(struct lease_node *node, int64_t now_us);
/* Withdraws the admission of those that have been cut for a while. */
void lease_cut_report(struct lease_node *node, int64_t now_us);
/* Ends the streams of instances that are no longer registered, or fenced. */
void lease_cut_registrations(struct lease_node *node);

/* --- lease_report.c --- */
void lease_report_send(struct lease_node *node, int64_t now_us);
/* All that was reported in this session is forgotten by the leader. */
void lease_report_restart(struct lease_node *node, uint64_t session);
void lease_report_follow(struct lease_node *node, uint64_t barrier, bool begin);
void lease_report_free(struct lease_node *node);

#endif
