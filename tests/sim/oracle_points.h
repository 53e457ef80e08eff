/* The oracle's part for enforcement points: G5, G6, and G3 and G7 where they concern points. */
#ifndef LAPSE_SIM_ORACLE_POINTS_H
#define LAPSE_SIM_ORACLE_POINTS_H

#include "store/store.h"
#include "tests/sim/point.h"

struct points_model;
struct clock_model;

struct points_model *points_model_new(struct sim *sim, const struct clock_model *clock);
void points_model_free(struct points_model *model);

/* --- From the one history (oracle.c). --- */

void points_model_event(struct points_model *model, const struct store_event *event);
/* After the command's events. */
void points_model_applied(struct points_model *model, const struct command *command,
                          const struct store_outcome *outcome);
/* Somebody leads that term. */
void points_model_led(struct points_model *model, uint64_t term);

/* --- What points and nodes do. --- */

/* A process of a point has drawn its instance. */
void points_model_instance(struct points_model *model, const struct sim_point *point);
void points_model_said(struct points_model *model, struct random_id instance, uint64_t received, uint64_t enforced);
/* It could not end that session. */
void points_model_failed(struct points_model *model, struct random_id instance, const struct point_session *session);
void points_model_left(struct points_model *model, struct random_id instance);
/* A node in `term` answers a ping that was sent at the true time `sent_us`. */
void points_model_promised(struct points_model *model, struct random_id instance, uint64_t term, int64_t sent_us,
                           uint32_t ttl_ms);
/* The leader of `term` is about to propose RECEIPTS or END_POINT. Of one whose term is over only what gets applied counts:
 * it may have slept, and nothing that it proposes can be committed. */
void points_model_decided(struct points_model *model, uint64_t term, const struct command *command);
/* The point would permit `grant` at this moment. */
void points_model_permitted(struct points_model *model, const struct sim_point *point, const struct point_grant *grant);
/* Looks at a point's cache: true when it is as new as the history, and equal to it. */
bool points_model_cached(struct points_model *model, const struct sim_point *point);

/* --- What callers are told. --- */

/* A revocation that waited is answered with OK. */
void points_model_told(struct points_model *model, uint64_t barrier, enum receipt_level level);

/* --- The end of a run. --- */

/* Whether every barrier is done. */
bool points_model_quiet(const struct points_model *model);

struct oracle_point_counts {
    uint64_t registrations, promises, permits, compared, barriers, told, locks;
    uint64_t receipts[8]; /* by level */
};
void points_model_counts(const struct points_model *model, struct oracle_point_counts *counts);

#endif
