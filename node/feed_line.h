/* Whose turn it is: an edge's feeds, told what is new a few at a time.
 *
 *   those whose turn is longest ago                   those that had theirs last
 *     [ d | e | f | ... | y | z | a | b | c ]   <-- goes to the end when it had its turn
 *       ^ the next slice          ^ goal: up to here they are due; the ring has grown, or time has passed, since their
 * turn
 *
 * A slice a turn of the loop: what it queued leaves before the next one, and between two slices the loop takes requests
 * and answers calls. So nobody who asks for something waits for thousands that are being told, and a connection's
 * memory is in the cache when its bytes are encrypted. When the ring grows in the middle, those that had their turn
 * become due again, but behind the others: nobody's turn is put off, and who comes late gets both events at once.
 *
 * All on the edge's loop. */
#ifndef LAPSE_NODE_FEED_LINE_H
#define LAPSE_NODE_FEED_LINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

struct edge;
struct feed;

TAILQ_HEAD(feed_queue, feed);

struct feed_line {
    struct feed_queue feeds; /* by `place`, which only grows */
    uint64_t places;         /* given so far */
    uint64_t goal;           /* who has a place up to this is due */
    size_t left;             /* what this slice may still cost */
    uint64_t ran_from_ns;    /* since when without a break */
    uv_check_t slice;        /* active while somebody is due, as is: */
    uv_idle_t awake;         /* it keeps the loop from sleeping between two slices */
};

void feed_line_open(struct edge *edge);
/* When no feed is left; the loop closes the handles. */
void feed_line_close(struct edge *edge);

/* The ring has grown, or time has passed: each feed has its turn soon. */
void feed_line_all_due(struct edge *edge);

/* A feed comes up to date by itself when it begins. */
void feed_line_join(struct feed_line *line, struct feed *feed);
void feed_line_leave(struct feed_line *line, struct feed *feed);
/* A message of so many bytes was queued for one of them. */
void feed_line_spend(struct feed_line *line, size_t bytes);

#endif
