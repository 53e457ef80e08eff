#include "client/agent/tally.h"

#include "base/check.h"
#include "base/limits.h"

#define LOG_WINDOW_US 10000000

/* Every reason that there is; the last one stands for those of a newer guard. */
static const char *const names[] = {
    "ALLOWS",       "NO_GRANT",        "STARTING",      "STALE",       "FENCED",        "FAILED",
    "NOT_ACTIVE",   "NOT_YET",         "PAST_DEADLINE", "USED_UP",     "OTHER_SUBJECT", "OTHER_RESOURCE",
    "OTHER_ACTION", "BINDING_MISSING", "USES",          "BAD_REQUEST", "NO_MAP",        "NO_SUBJECT",
    "NO_VALUE",     "UNCLEAR_VALUE",   "BAD_VALUE",     "NO_ACTION",   "BUSY",          "NOT_KNOWN",
    "BEHIND",       "LOCKED",          "UNKNOWN_TOKEN", "BAD_TOKEN",   "OTHER"};
_Static_assert(ARRAY_LEN(names) <= TALLY_REASONS, "one counter for each reason");

static const uint32_t bounds_us[] = {1, 2, 5, 10, 25, 50, 100, 250, 1000, 10000, 100000, 1000000};
_Static_assert(ARRAY_LEN(bounds_us) + 1 == TALLY_BUCKETS, "one bucket for each bound, and one above");

static size_t index_of(const char *reason)
{
    size_t i = 0;
    while (i < ARRAY_LEN(names) - 1 && strcmp(names[i], reason) != 0)
        i++;
    return i;
}

bool tally_count(struct tally *tally, const char *reason, int64_t took_us, int64_t now_us)
{
    size_t i = index_of(reason), bucket = 0;
    int64_t window = now_us / LOG_WINDOW_US;
    while (bucket < ARRAY_LEN(bounds_us) && took_us > (int64_t)bounds_us[bucket])
        bucket++;
    atomic_fetch_add_explicit(&tally->reasons[i].decisions, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&tally->buckets[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&tally->sum_us, (uint64_t)took_us, memory_order_relaxed);
    if (i == 0)
        return false;
    if (atomic_exchange_explicit(&tally->reasons[i].window, window, memory_order_relaxed) != window)
        atomic_store_explicit(&tally->reasons[i].logged, 0, memory_order_relaxed);
    return atomic_fetch_add_explicit(&tally->reasons[i].logged, 1, memory_order_relaxed) < LIMIT_AGENT_DENIALS_LOGGED;
}

static lapse_result render_histogram(struct tally *tally, struct buf *out)
{
    uint64_t total = 0;
    lapse_result result =
        buf_printf(out, "# HELP lapse_agent_decision_seconds Time of a decision, without HTTP or gRPC\n"
                        "# TYPE lapse_agent_decision_seconds histogram\n");
    for (size_t i = 0; i < ARRAY_LEN(bounds_us) && lapse_is_ok(result); i++) {
        total += atomic_load_explicit(&tally->buckets[i], memory_order_relaxed);
        result = buf_printf(out, "lapse_agent_decision_seconds_bucket{le=\"%u.%06u\"} %llu\n", bounds_us[i] / 1000000,
                            bounds_us[i] % 1000000, (unsigned long long)total);
    }
    total += atomic_load_explicit(&tally->buckets[ARRAY_LEN(bounds_us)], memory_order_relaxed);
    uint64_t sum_us = atomic_load_explicit(&tally->sum_us, memory_order_relaxed);
    if (lapse_is_ok(result))
        result = buf_printf(out,
                            "lapse_agent_decision_seconds_bucket{le=\"+Inf\"} %llu\n"
                            "lapse_agent_decision_seconds_sum %llu.%06llu\nlapse_agent_decision_seconds_count %llu\n",
                            (unsigned long long)total, (unsigned long long)(sum_us / 1000000),
                            (unsigned long long)(sum_us % 1000000), (unsigned long long)total);
    return result;
}

lapse_result tally_render(struct tally *tally, struct buf *out)
{
    lapse_result result = buf_printf(out, "# HELP lapse_agent_decisions_total Decisions by reason\n"
                                          "# TYPE lapse_agent_decisions_total counter\n");
    for (size_t i = 0; i < ARRAY_LEN(names) && lapse_is_ok(result); i++)
        result =
            buf_printf(out, "lapse_agent_decisions_total{reason=\"%s\"} %llu\n", names[i],
                       (unsigned long long)atomic_load_explicit(&tally->reasons[i].decisions, memory_order_relaxed));
    return lapse_is_ok(result) ? render_histogram(tally, out) : result;
}
