/* Which entries to put into the next frame to each follower: flow control between libraft and the links.
 *
 * libraft says which entries a follower should have (a hint), counts entries and not bytes, and repeats itself: while
 * it probes, every hint starts again behind what was acknowledged. Sent as they come, hints would put hundreds of
 * megabytes on a link, again and again. So hints only move the goal, and this decides what is sent:
 *
 *     match            next                want
 *   ----|===============|-------------------|-->     ===  in flight, at most WINDOW bytes
 *
 *   - pieces of at most a megabyte, each a valid AppendEntries by itself;
 *   - what is in flight is not sent twice, unless nothing was acknowledged for RESEND_US, or the follower refused;
 *   - a follower is told of a commit at once, by an empty AppendEntries behind what it has acknowledged, and not with
 * the next heartbeat.
 *
 * Pure: time and what is acknowledged go in as arguments. Only a leader uses it, one term at a time. */
#ifndef LAPSE_RAFT_SENDER_H
#define LAPSE_RAFT_SENDER_H

#include "raft/tail.h"

#include "base/limits.h"

struct sender_peer {
    uint64_t id;
    uint64_t next;  /* first entry not sent yet; 0: not known, the next hint says */
    uint64_t want;  /* last entry to send */
    uint64_t told;  /* commit index that it was told */
    uint64_t match; /* as of the last progress */
    int64_t progress_us;
    bool heartbeat; /* one is owed, behind `anchor` */
    uint64_t anchor, anchor_term;
};

struct sender {
    uint64_t term;
    struct sender_peer peers[LIMIT_PEERS];
    uint32_t n;
};

/* One AppendEntries: the entries [index + 1, index + n]. */
struct sender_piece {
    uint64_t index, index_term;
    uint32_t n;
};

/* Forgets everything: a new term, or other members. Only what libraft hints at from now on is sent. */
void sender_reset(struct sender *sender, uint64_t term);
/* libraft wants `to` to have the entries behind `index` up to `upto`. */
void sender_hint(struct sender *sender, uint64_t to, uint64_t index, uint64_t index_term, uint64_t upto, uint64_t match,
                 int64_t now_us);
/* `from` refused entries behind `rejected`: what followed is lost. Call it before libraft learns of it. */
void sender_rejected(struct sender *sender, uint64_t from, uint64_t rejected, uint64_t match);
/* The next piece for `to`, until false. `match`: what it has acknowledged. */
bool sender_next(struct sender *sender, const struct tail *tail, uint64_t to, uint64_t match, uint64_t commit,
                 int64_t now_us, struct sender_piece *piece);
/* An empty piece that tells `to` of the commit index, if it doesn't know as much as it may. */
bool sender_announce(struct sender *sender, const struct tail *tail, uint64_t to, uint64_t match, uint64_t commit,
                     struct sender_piece *piece);

#endif
