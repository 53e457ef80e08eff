#include "bench/harness/tally.h"

#include <stdlib.h>
#include <time.h>

#include "base/bytes.h"
#include "base/check.h"

#define WATCHERS_MAX 64
#define POLL_MS 2
#define LOOK_EVERY_NS 200000000LL

struct told {
    struct tally *tally;
    int64_t *at_ns; /* by item; 0: not told */
};

struct place {
    struct system_watcher *watchers; /* NULL: left out */
    bool awaited;
};

struct tally {
    struct system *system;
    struct bench_loop *loop;
    uint32_t per_node, n_items, n_watchers;
    struct place places[SYSTEM_NODES_MAX];
    struct told told[WATCHERS_MAX]; /* those of node 1 first */
    uint64_t events;                /* the watchers' loop's */
};

static void on_gone(void *arg, uint32_t item)
{
    struct told *told = arg;
    if (item >= told->tally->n_items || told->at_ns[item] != 0)
        return;
    told->at_ns[item] = bench_now_ns();
    told->tally->events++;
}

lapse_result tally_take_in(struct tally *tally, uint32_t node, struct lapse_error *error)
{
    struct place *place = &tally->places[node - 1];
    CHECK(place->watchers == NULL);
    lapse_result result = tally->system->kind->watchers_open(tally->system, tally->loop, tally->per_node, node, on_gone,
                                                             &tally->told[(node - 1) * tally->per_node],
                                                             sizeof(struct told), &place->watchers, error);
    if (lapse_is_ok(result))
        place->awaited = true;
    return result;
}

void tally_leave_out(struct tally *tally, uint32_t node)
{
    struct place *place = &tally->places[node - 1];
    if (place->watchers != NULL)
        tally->system->kind->watchers_close(place->watchers);
    *place = (struct place){0};
}

void tally_await(struct tally *tally, uint32_t node, bool awaited)
{
    struct place *place = &tally->places[node - 1];
    place->awaited = awaited && place->watchers != NULL;
}

lapse_result tally_open(struct system *system, struct bench_loop *loop, uint32_t per_node, uint32_t n_items,
                        struct tally **out, struct lapse_error *error)
{
    struct tally *tally = mem_calloc(1, sizeof *tally);
    lapse_result result = lapse_ok();
    CHECK(system->n_nodes * per_node <= WATCHERS_MAX);
    tally->system = system;
    tally->loop = loop;
    tally->per_node = per_node;
    tally->n_items = n_items;
    tally->n_watchers = system->n_nodes * per_node;
    for (uint32_t i = 0; i < tally->n_watchers; i++)
        tally->told[i] = (struct told){tally, mem_calloc(n_items, sizeof(int64_t))};
    for (uint32_t node = 1; node <= system->n_nodes && lapse_is_ok(result); node++)
        result = tally_take_in(tally, node, error);
    if (lapse_is_ok(result))
        *out = tally;
    else
        tally_close(tally);
    return result;
}

void tally_close(struct tally *tally)
{
    if (tally == NULL)
        return;
    for (uint32_t node = 1; node <= tally->system->n_nodes; node++)
        tally_leave_out(tally, node);
    for (uint32_t i = 0; i < tally->n_watchers; i++)
        free(tally->told[i].at_ns);
    free(tally);
}

lapse_result tally_arm(struct tally *tally, uint32_t first, uint32_t n, struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    if (tally->system->kind->watchers_arm == NULL)
        return result;
    for (uint32_t i = 0; i < tally->system->n_nodes && lapse_is_ok(result); i++)
        if (tally->places[i].watchers != NULL)
            result = tally->system->kind->watchers_arm(tally->places[i].watchers, first, n, error);
    return result;
}

/* --- waiting ------------------------------------------------------------------------------------------------------ */

struct look {
    const struct tally *tally;
    uint32_t first, n;
    uint64_t events, missing;
};

static bool is_awaited(const struct tally *tally, uint32_t watcher)
{
    return tally->places[watcher / tally->per_node].awaited;
}

static void look(void *arg)
{
    struct look *look = arg;
    const struct tally *tally = look->tally;
    look->missing = 0;
    look->events = tally->events;
    for (uint32_t i = 0; i < tally->n_watchers; i++)
        for (uint32_t item = look->first; is_awaited(tally, i) && item < look->first + look->n; item++)
            look->missing += tally->told[i].at_ns[item] == 0;
}

static void look_at_events(void *arg)
{
    struct look *look = arg;
    look->events = look->tally->events;
}

/* All are counted when nothing is missing so far as is known, or seldom: a million items take their time. */
static void look_again(struct look *now, uint64_t *counted_at)
{
    bench_loop_call(now->tally->loop, look_at_events, now);
    if (now->events - *counted_at < now->missing)
        return;
    *counted_at = now->events;
    bench_loop_call(now->tally->loop, look, now);
}

lapse_result tally_wait(struct tally *tally, uint32_t first, uint32_t n, uint32_t patience_ms, uint64_t *missing,
                        struct lapse_error *error)
{
    struct look now = {.tally = tally, .first = first, .n = n};
    int64_t since_ns = bench_now_ns(), checked_ns = since_ns;
    uint64_t counted_at = 0, events;
    lapse_result result = lapse_ok();
    CHECK(first + n <= tally->n_items);
    bench_loop_call(tally->loop, look, &now);
    counted_at = events = now.events;
    while (now.missing > 0 && !bench_interrupted() && bench_now_ns() - since_ns < (int64_t)patience_ms * 1000000) {
        (void)nanosleep(&(struct timespec){0, POLL_MS * 1000000}, NULL);
        look_again(&now, &counted_at);
        if (now.events != events)
            since_ns = bench_now_ns();
        events = now.events;
        if (bench_now_ns() - checked_ns > LOOK_EVERY_NS) {
            checked_ns = bench_now_ns();
            result = system_check(tally->system, error);
            if (!lapse_is_ok(result))
                return result;
        }
    }
    bench_loop_call(tally->loop, look, &now);
    *missing = now.missing;
    return bench_interrupted() ? lapse_fail(error, LAPSE_CANCELLED, "interrupted") : result;
}

int64_t tally_first_ns(const struct tally *tally, uint32_t item)
{
    int64_t first_ns = 0;
    for (uint32_t i = 0; i < tally->n_watchers; i++) {
        int64_t at_ns = tally->told[i].at_ns[item];
        if (is_awaited(tally, i) && at_ns != 0 && (first_ns == 0 || at_ns < first_ns))
            first_ns = at_ns;
    }
    return first_ns;
}

int64_t tally_last_ns(const struct tally *tally, uint32_t item)
{
    int64_t last_ns = 0;
    for (uint32_t i = 0; i < tally->n_watchers; i++) {
        int64_t at_ns = tally->told[i].at_ns[item];
        if (is_awaited(tally, i) && at_ns == 0)
            return 0;
        if (is_awaited(tally, i) && at_ns > last_ns)
            last_ns = at_ns;
    }
    return last_ns;
}
