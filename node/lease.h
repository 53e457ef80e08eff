/* Enforcement leases: the figures, and the arithmetic of waiting. What rests on them is argued in
 * docs/decisions/0010-enforcement-leases.md; names P1 to P8 are those of that page. Pure; times are microseconds of a
 * node's own boot clock. */
#ifndef LAPSE_NODE_LEASE_H
#define LAPSE_NODE_LEASE_H

#include <stdint.h>

#include "base/limits.h"

#define LEASE_NODE_US (500 * 1000ll)     /* Ln: how long a node may promise after the sending of its ping */
#define LEASE_EVIDENCE_US (100 * 1000ll) /* X: the oldest evidence of a majority that a grant of it may rest on */
#define LEASE_PING_US (100 * 1000ll)     /* nodes ping the leader this often, and at once when they have news */
#define LEASE_POINT_US_MAX (LIMIT_LEASE_MS_MAX * 1000ll)

/* How a point without a receipt stands, in progress: beside enum receipt_level, both by the numbers of
 * lapse.v1.ReceiptLevel. */
enum lease_level { LEASE_RECEIVED = 5, LEASE_WAITING = 6 };

/* After waiting so long on one clock, `us` have passed on any other: each may be wrong by 1 %. */
static inline int64_t lease_wait_us(int64_t us)
{
    return us + us / 48 + 1;
}

/* When `us` have passed on one clock, so many have on any other. */
static inline int64_t lease_surely_us(int64_t us)
{
    return us - us / 48;
}

#endif
