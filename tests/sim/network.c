/* Links as queues of deliveries on the virtual time line. */
#include "tests/sim/network.h"

#include <stdlib.h>

#include "base/check.h"
#include "tests/sim/node.h"

/* A held connection keeps about what socket buffers keep. */
#define HELD_FRAMES_MAX 256u

struct link {
    uint64_t incarnation;  /* of the connection */
    int64_t up_at_us;      /* dialling until then */
    int64_t last_us;       /* delivery time of the latest frame: connections keep order */
    int64_t delay_us;      /* mean, now */
    int64_t base_delay_us; /* mean, on a good day */
    bool cut, hold;
    struct flight *held, **held_tail;
    uint32_t n_held;
};

struct network {
    struct sim *sim;
    uint32_t n;
    struct link links[SIM_NODES_MAX][SIM_NODES_MAX];
};

/* A frame under way. */
struct flight {
    struct network *network;
    uint32_t from, to;
    uint64_t incarnation;
    struct blob *frame;
    struct flight *next;
};

static void flight_free(void *arg, uint64_t tag)
{
    (void)tag;
    struct flight *flight = arg;
    blob_unref(flight->frame);
    free(flight);
}

static struct link *link_of(struct network *network, uint32_t from, uint32_t to)
{
    CHECK(from < network->n && to < network->n && from != to);
    return &network->links[from][to];
}

struct network *network_new(struct sim *sim)
{
    struct network *network = mem_calloc(1, sizeof(*network));
    network->sim = sim;
    network->n = sim->n_nodes;
    /* Without faults no frame takes as long as an election's timeout. */
    int64_t typical = sim_between(sim, 100, sim->profile->fault_gap_us == 0 ? 1000 : 3000);
    for (uint32_t i = 0; i < network->n; i++) {
        for (uint32_t j = 0; j < network->n; j++) {
            struct link *link = &network->links[i][j];
            link->base_delay_us = sim_between(sim, typical / 2, typical * 2);
            link->delay_us = link->base_delay_us;
            link->held_tail = &link->held;
        }
    }
    return network;
}

static void held_drop(struct link *link)
{
    while (link->held != NULL) {
        struct flight *flight = link->held;
        link->held = flight->next;
        flight_free(flight, 0);
    }
    link->held_tail = &link->held;
    link->n_held = 0;
}

void network_free(struct network *network)
{
    if (network == NULL) {
        return;
    }
    for (uint32_t i = 0; i < network->n; i++) {
        for (uint32_t j = 0; j < network->n; j++) {
            held_drop(&network->links[i][j]);
        }
    }
    free(network);
}

static void hold_frame(struct link *link, struct flight *flight)
{
    if (link->n_held == HELD_FRAMES_MAX) {
        flight_free(flight, 0);
        return;
    }
    flight->next = NULL;
    *link->held_tail = flight;
    link->held_tail = &flight->next;
    link->n_held++;
}

static void arrive(void *arg, uint64_t tag)
{
    (void)tag;
    struct flight *flight = arg;
    struct network *network = flight->network;
    struct link *link = link_of(network, flight->from, flight->to);
    if (flight->incarnation != link->incarnation || (link->cut && !link->hold)) {
        flight_free(flight, 0);
    } else if (link->cut) {
        hold_frame(link, flight);
    } else {
        node_receive(network->sim->nodes[flight->to], network->sim->nodes[flight->from]->id, flight->frame);
        flight_free(flight, 0);
    }
}

static int64_t draw_delay(struct sim *sim, const struct link *link)
{
    int64_t delay = link->delay_us / 2 + (int64_t)sim_below(sim, (uint64_t)link->delay_us + 1);
    if (sim_chance(sim, 5000)) {
        delay += sim_around(sim, 5 * link->delay_us); /* a retransmission */
    }
    return delay;
}

static void dispatch(struct network *network, struct link *link, uint32_t from, uint32_t to, struct slice frame)
{
    struct sim *sim = network->sim;
    struct flight *flight = mem_calloc(1, sizeof(*flight));
    *flight = (struct flight){network, from, to, link->incarnation, blob_new(frame), NULL};
    int64_t at = sim->now_us + draw_delay(sim, link);
    if (!sim->profile->datagrams) {
        at = at > link->last_us ? at : link->last_us + 1;
        link->last_us = at;
    }
    events_add(&sim->events, (struct event){.at_us = at, .run = arrive, .drop = flight_free, .arg = flight});
}

void network_send(struct network *network, uint32_t from, uint32_t to, struct slice frame)
{
    struct sim *sim = network->sim;
    struct link *link = link_of(network, from, to);
    bool lost = link->up_at_us > sim->now_us || (link->cut && !link->hold);
    if (lost || (!sim->healed && sim_chance(sim, sim->profile->loss_ppm))) {
        return;
    }
    dispatch(network, link, from, to, frame);
    if (sim->profile->datagrams && !sim->healed && sim_chance(sim, 20000)) {
        dispatch(network, link, from, to, frame);
    }
}

void network_cut(struct network *network, uint32_t from, uint32_t to, bool hold)
{
    struct link *link = link_of(network, from, to);
    link->cut = true;
    link->hold = hold;
}

void network_mend(struct network *network, uint32_t from, uint32_t to)
{
    struct sim *sim = network->sim;
    struct link *link = link_of(network, from, to);
    link->cut = false;
    while (link->held != NULL) {
        struct flight *flight = link->held;
        link->held = flight->next;
        link->last_us = (link->last_us > sim->now_us ? link->last_us : sim->now_us) + 1;
        events_add(&sim->events,
                   (struct event){.at_us = link->last_us, .run = arrive, .drop = flight_free, .arg = flight});
    }
    held_drop(link);
}

void network_break(struct network *network, uint32_t from, uint32_t to)
{
    struct sim *sim = network->sim;
    struct link *link = link_of(network, from, to);
    held_drop(link);
    link->incarnation++;
    link->up_at_us = sim->now_us + sim_between(sim, 500, 60 * SIM_MILLISECOND);
    link->last_us = 0;
}

static void hear_gone(void *arg, uint64_t id)
{
    node_hear_gone(arg, id);
}

void network_tell_gone(struct network *network, uint32_t gone, uint32_t to)
{
    struct sim *sim = network->sim;
    const struct link *link = link_of(network, gone, to);
    if (link->cut || link_of(network, to, gone)->cut) {
        return;
    }
    int64_t at = sim->now_us + draw_delay(sim, link);
    at = at > link->last_us ? at : link->last_us + 1;
    sim_after(sim, at - sim->now_us, hear_gone, sim->nodes[to], sim->nodes[gone]->id);
}

void network_set_delay(struct network *network, uint32_t from, uint32_t to, int64_t delay_us)
{
    struct link *link = link_of(network, from, to);
    link->delay_us = delay_us == 0 ? link->base_delay_us : delay_us;
}

void network_heal(struct network *network)
{
    for (uint32_t i = 0; i < network->n; i++) {
        for (uint32_t j = 0; j < network->n; j++) {
            if (i != j) {
                network_mend(network, i, j);
                network_set_delay(network, i, j, 0);
            }
        }
    }
}

int64_t network_delay_max_us(const struct network *network)
{
    int64_t max = 0;
    for (uint32_t i = 0; i < network->n; i++) {
        for (uint32_t j = 0; j < network->n; j++) {
            int64_t delay = network->links[i][j].base_delay_us;
            max = delay > max ? delay : max;
        }
    }
    return max * 42; /* 1.5 means, and a retransmission of up to 8 times 5 means */
}
