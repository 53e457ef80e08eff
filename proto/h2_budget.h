/* A token bucket: what a peer may spend in a second, with a burst. Time comes in from outside. */
#ifndef LAPSE_PROTO_H2_BUDGET_H
#define LAPSE_PROTO_H2_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

struct h2_budget {
    uint32_t per_second;
    uint32_t burst;
    int64_t millitokens;
    int64_t at_ms; /* of the last refill */
};

void h2_budget_init(struct h2_budget *budget, uint32_t per_second, uint32_t burst, int64_t now_ms);
/* Takes one token; false when there is none. */
bool h2_budget_take(struct h2_budget *budget, int64_t now_ms);
/* Gives tokens back, up to the burst. */
void h2_budget_earn(struct h2_budget *budget, uint32_t tokens);

#endif
