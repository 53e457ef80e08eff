#include "bench/peers/peer_fleet.h"

#define OPENING_MAX 64
#define PATIENCE_MS 60000

uint32_t peer_fleet_node(const struct peer_fleet *fleet, uint32_t i)
{
    return fleet->node != 0 ? fleet->node : i % fleet->peer->system.n_nodes + 1;
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static void open_more(struct peer_fleet *fleet)
{
    while (fleet->begun < fleet->n && fleet->begun - fleet->in_place < OPENING_MAX && fleet->error.code == LAPSE_OK)
        fleet->ops->dial(fleet, fleet->begun++);
}

void peer_fleet_in_place(struct peer_fleet *fleet)
{
    fleet->in_place++;
    if (fleet->in_place < fleet->n)
        open_more(fleet);
    else if (fleet->opening != NULL && fleet->error.code == LAPSE_OK)
        bench_gate_step(fleet->opening);
}

void peer_fleet_failed(struct peer_fleet *fleet, uint32_t i, const char *why)
{
    if (fleet->opening == NULL || fleet->error.code != LAPSE_OK)
        return;
    (void)lapse_fail(&fleet->error, LAPSE_UNAVAILABLE, "%s at %s: %s (watcher %u of %u)",
                     fleet->peer->system.kind->name, fleet->peer->address[peer_fleet_node(fleet, i) - 1], why,
                     fleet->in_place + 1, fleet->n);
    bench_gate_step(fleet->opening);
}

static void open_work(void *arg)
{
    struct peer_fleet *fleet = arg;
    bench_gate_expect(fleet->opening, 1);
    open_more(fleet);
}

static void opened_work(void *arg)
{
    struct peer_fleet *fleet = arg;
    fleet->opening = NULL;
}

lapse_result peer_fleet_open(struct peer_fleet *fleet, struct lapse_error *error)
{
    struct bench_gate *gate = bench_gate_new();
    fleet->opening = gate;
    bench_loop_call(fleet->loop, open_work, fleet);
    bool opened = bench_gate_wait(gate, PATIENCE_MS);
    bench_loop_call(fleet->loop, opened_work, fleet);
    bench_gate_free(gate);
    if (!opened)
        (void)lapse_fail(&fleet->error, bench_interrupted() ? LAPSE_CANCELLED : LAPSE_UNAVAILABLE,
                         "%s: %u of %u watchers are in place after %d s", fleet->peer->system.kind->name,
                         fleet->in_place, fleet->n, PATIENCE_MS / 1000);
    return fleet->error.code == LAPSE_OK ? lapse_ok()
                                         : lapse_fail(error, fleet->error.code, "%s", fleet->error.message);
}

/* --- closing ------------------------------------------------------------------------------------------------------ */

void peer_fleet_closed(struct peer_fleet *fleet)
{
    if (fleet->closing != NULL)
        bench_gate_step(fleet->closing);
}

static void close_work(void *arg)
{
    struct peer_fleet *fleet = arg;
    for (uint32_t i = 0; i < fleet->n; i++) {
        bench_gate_expect(fleet->closing, 1);
        if (!fleet->ops->hang_up(fleet, i))
            bench_gate_step(fleet->closing);
    }
}

void peer_fleet_close(struct peer_fleet *fleet)
{
    fleet->closing = bench_gate_new();
    bench_loop_call(fleet->loop, close_work, fleet);
    while (!bench_gate_wait(fleet->closing, PATIENCE_MS))
        uv_sleep(1);
    bench_gate_free(fleet->closing);
}
