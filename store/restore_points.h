/* Points, barriers, receipts and sessions of a snapshot on their way in. Internal to store/. Each function returns
 * NULL, or what is wrong. */
#ifndef LAPSE_STORE_RESTORE_POINTS_H
#define LAPSE_STORE_RESTORE_POINTS_H

#include "store/internal.h"

struct restored_points {
    uint64_t n_points, n_barriers, n_receipts, n_sessions; /* records read */
    uint64_t revision;                                     /* of the last point, or the id of the last barrier */
    struct random_id session;                              /* the last one */
};

const char *restore_point(struct store *store, struct restored_points *read, struct slice bytes);
const char *restore_barrier(struct store *store, struct restored_points *read, struct slice bytes);
const char *restore_receipts(struct store *store, struct restored_points *read, struct slice bytes);
const char *restore_session(struct store *store, struct restored_points *read, struct slice bytes);
/* Once all is read: what they are to one another, and the digests of barriers. */
const char *restore_points_link(struct store *store);

#endif
