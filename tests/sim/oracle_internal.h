/* The oracle's parts among themselves. */
#ifndef LAPSE_SIM_ORACLE_INTERNAL_H
#define LAPSE_SIM_ORACLE_INTERNAL_H

#include "tests/sim/oracle.h"
#include "tests/sim/oracle_points.h"

/* --- oracle_grants.c --- */

struct grants_model;
struct grants_model *grants_model_new(struct sim *sim);
void grants_model_free(struct grants_model *model);
/* The next event of the history, seen for the first time. */
void grants_model_event(struct grants_model *model, const struct store_event *event);
uint64_t grants_model_live_hash(const struct grants_model *model, uint64_t revision);
/* Whether that grant had ended at or before `revision`; `ended` gets the revision. */
bool grants_model_ended(const struct grants_model *model, struct grant_id id, uint64_t *ended);
/* The earliest deadline of an active grant; INT64_MAX when there is none. */
int64_t grants_model_next_deadline(const struct grants_model *model);

/* --- oracle_governance.c, oracle_access.c --- */

struct governance_model;
struct governance_model *governance_model_new(struct sim *sim);
void governance_model_free(struct governance_model *model);
/* The next event of the history. */
void governance_model_event(struct governance_model *model, const struct store_event *event);
/* A node has applied a command, whose events were shown before; the first one that did. */
void governance_model_applied(struct governance_model *model, uint32_t place, const struct command *command,
                              const struct store_outcome *outcome, const struct store *store);
void governance_model_first(struct governance_model *model, uint32_t place, const struct command *command,
                            const struct store_outcome *outcome, const struct store *store);
/* A check on this store said so. */
void governance_model_allowed(struct governance_model *model, const struct store *store,
                              const struct grant_query *query, const struct grant *grant, int64_t time_ms);
void governance_model_counts(const struct governance_model *model, struct governance_counts *counts);

/* --- oracle_chain.c --- */

struct chain_model;
struct chain_model *chain_model_new(struct sim *sim);
void chain_model_free(struct chain_model *model);
/* Any node's event, in the order of revisions; `epoch` is that of its store. */
void chain_model_event(struct chain_model *model, uint32_t place, uint64_t epoch, const struct store_event *event);
/* The head that the store has now; `when` goes into the message. */
void chain_model_store(struct chain_model *model, uint32_t place, const struct store *store, const char *when);

/* --- oracle_clock.c --- */

/* What true time says about cluster time: two lines through observations, which rise with the drift that clocks may
 * have. */
struct clock_model {
    struct sim *sim;
    bool anchored; /* a majority has known cluster time without a gap since `anchored_us` */
    bool has_low, has_high;
    int64_t anchored_us;
    int64_t lost_us;          /* when nobody could be sure last; 0: never, but for the start */
    int64_t low_us, low_ms;   /* at this true time cluster time was at least this */
    int64_t high_us, high_ms; /* at most */
};
void clock_model_init(struct clock_model *model, struct sim *sim);
/* At the present moment cluster time is proven to be at least `time_ms`. Fails the run when that is more than earlier
 * observations allow. */
void clock_model_at_least(struct clock_model *model, int64_t time_ms);
/* The same for an upper bound that was estimated during the last `estimated_ms`, and may be as much too high. */
void clock_model_at_most(struct clock_model *model, int64_t time_ms, int64_t estimated_ms);
/* The least that cluster time can have been at the true time `at_us`; INT64_MIN when unknown. */
int64_t clock_model_low_ms(const struct clock_model *model, int64_t at_us);
/* After the end of a process: without a majority that knows cluster time a new one may be made from wall clocks. */
void clock_model_recount(struct clock_model *model);

#endif
