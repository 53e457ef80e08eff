#include "proto/h2_budget.h"

#define MILLI 1000
#define REFILL_MS_MAX 60000

static void add(struct h2_budget *budget, int64_t millitokens)
{
    int64_t full = (int64_t)budget->burst * MILLI;
    budget->millitokens = millitokens > full - budget->millitokens ? full : budget->millitokens + millitokens;
}

void h2_budget_init(struct h2_budget *budget, uint32_t per_second, uint32_t burst, int64_t now_ms)
{
    *budget = (struct h2_budget){per_second, burst, (int64_t)burst * MILLI, now_ms};
}

bool h2_budget_take(struct h2_budget *budget, int64_t now_ms)
{
    /* A minute's worth fills any bucket that is used here; more could overflow. */
    int64_t elapsed_ms = now_ms - budget->at_ms;
    budget->at_ms = now_ms;
    add(budget, (elapsed_ms > REFILL_MS_MAX ? REFILL_MS_MAX : elapsed_ms) * budget->per_second);
    if (budget->millitokens < MILLI)
        return false;
    budget->millitokens -= MILLI;
    return true;
}

void h2_budget_earn(struct h2_budget *budget, uint32_t tokens)
{
    add(budget, (int64_t)tokens * MILLI);
}
