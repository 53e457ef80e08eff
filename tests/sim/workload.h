/* What clients want: commands and questions drawn at random, near to what others did lately, so that they get in each
 * other's way. */
#ifndef LAPSE_SIM_WORKLOAD_H
#define LAPSE_SIM_WORKLOAD_H

#include "store/command.h"
#include "store/lock.h"
#include "tests/sim/sim.h"

struct workload;

/* One operation, with the memory that its slices point to. */
struct workload_op {
    bool is_read;
    struct command command;
    uint32_t wait; /* of a revocation: RECEIPT_ENFORCED, RECEIPT_RECEIVED, or 0: for nothing but the commit */
    char principal[32], subject[32], resource[32], member[32], name[48];
    bool governs; /* one of workload_governance.c */
    enum lock_kind lock_kind;
    uint8_t value[1536]; /* of a policy, lock, ..., or a token's hash */
    bool by_token;       /* a read: `value` is what is presented */
    uint32_t target; /* number of the grant it is about */
};

struct workload *workload_new(struct sim *sim);
void workload_free(struct workload *workload);

/* Decides what comes next; workload_fill completes it when it is sent for the first time, at about this cluster time.
 */
void workload_next(struct workload *workload, struct workload_op *op);
void workload_fill(struct workload *workload, struct workload_op *op, int64_t now_ms);
void workload_succeeded(struct workload *workload, const struct workload_op *op);
/* A write that always succeeds, or a read. */
void workload_probe(struct workload *workload, struct workload_op *op, bool is_read);
void workload_query(const struct workload_op *op, struct grant_query *query);

#endif
