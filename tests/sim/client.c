/* A client is one operation at a time:
 *
 *   thinking --> asking --> waiting --(OK, refused)--> thinking
 *                  ^           |   \--(a revocation that waits)--> following --(enforced)--> thinking
 *                  '--backing--'  not known, not available, connection lost, or no answer in time: the same command,
 * the same key, any node */
#include "tests/sim/client.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/check.h"
#include "tests/sim/node_lease.h"
#include "tests/sim/oracle.h"
#include "tests/sim/oracle_points.h"
#include "tests/sim/workload.h"

#define CLIENTS_MAX (8u + SIM_NODES_MAX)
#define ATTEMPTS_MAX 25u

struct client {
    struct clients *clients;
    uint32_t number;
    struct sim_node *pinned; /* a probe: always asks this node */
    uint32_t probe_steps;    /* of a probe: operations still to be served */
    struct workload_op op;
    uint32_t attempts;
    uint64_t attempt; /* tag of the present one: answers and time-outs of older ones are stale */
    struct sim_node *node;
    uint64_t incarnation;
    int64_t asked_us;
    bool waiting, inside, following;
    struct replica_write write;
    struct replica_read read;
    struct node_wait wait;
    struct oracle_read seen;
};

struct clients {
    struct sim *sim;
    struct workload *workload;
    struct client all[CLIENTS_MAX];
    uint32_t n;
    bool stopped;
};

static void begin(void *arg, uint64_t tag);
static void ask(void *arg, uint64_t tag);

static void think(struct client *client)
{
    struct sim *sim = client->clients->sim;
    client->attempt++;
    sim_after(sim, sim_around(sim, sim->profile->think_us), begin, client, client->attempt);
}

static void finish(struct client *client)
{
    client->waiting = client->following = false;
    if (client->pinned != NULL) {
        client->probe_steps--;
    }
    think(client);
}

static void back_off(struct client *client)
{
    struct sim *sim = client->clients->sim;
    bool slow = client->following; /* a barrier may take as long as a lease */
    client->waiting = client->following = false;
    client->attempt++;
    if (client->asked_us > sim->quiet_at_us && !slow && !client->node->ending && node_votes(client->node)) {
        sim_fail(sim, "liveness", "node %" PRIu64 " did not serve client %u although nothing is wrong",
                 client->node->id, client->number);
    }
    if (client->attempts >= ATTEMPTS_MAX && client->pinned == NULL) {
        think(client);
        return;
    }
    sim_after(sim, sim_around(sim, 60 * SIM_MILLISECOND), ask, client, client->attempt);
}

/* --- Answers --- */

/* What holds for every answer; false when it is none. */
static bool answered(struct client *client)
{
    struct sim *sim = client->clients->sim;
    if (client->inside) {
        sim_fail(sim, "contract", "an operation was answered on its caller's stack");
    }
    if (!client->waiting) {
        sim_fail(sim, "contract", "an operation was answered twice");
        return false;
    }
    if (client->node->ending) {
        back_off(client); /* the connection broke */
        return false;
    }
    return true;
}

static bool asks_again(enum lapse_code code)
{
    return code == LAPSE_UNKNOWN || code == LAPSE_UNAVAILABLE;
}

static void on_enforced(struct node_wait *wait, bool ok)
{
    struct client *client = wait->owner;
    struct sim *sim = client->clients->sim;
    if (!answered(client)) {
        return;
    }
    sim_trace(sim, client->node->id, "enforced", client->number, wait->barrier, ok);
    if (ok) {
        points_model_told(sim->points_oracle, wait->barrier, wait->level);
    }
    finish(client);
}

/* The revocation is committed; its caller wants to know more. */
static void follow(struct client *client, uint64_t barrier)
{
    client->following = true;
    client->wait =
        (struct node_wait){.done = on_enforced, .owner = client, .barrier = barrier, .level = client->op.wait};
    node_lease_wait(client->node->lease, &client->wait);
}

static void on_written(struct replica_write *write, const struct store_outcome *outcome)
{
    struct client *client = write->owner;
    struct sim *sim = client->clients->sim;
    if (!answered(client)) {
        return;
    }
    sim_trace(sim, client->node->id, "answer", client->number, outcome->error.code, outcome->revision);
    if (outcome->error.code == LAPSE_OK) {
        if (store_revision(replica_store(client->node->replica)) < outcome->revision) {
            sim_fail(sim, "G1", "node %" PRIu64 " acknowledges revision %" PRIu64 " before it has applied it",
                     client->node->id, outcome->revision);
        }
        oracle_acknowledged(sim->oracle, client->op.command.key, outcome);
        workload_succeeded(client->clients->workload, &client->op);
    }
    if (asks_again(outcome->error.code)) {
        back_off(client);
    } else if (outcome->error.code == LAPSE_OK && client->op.wait != 0) {
        follow(client, outcome->revision);
    } else {
        finish(client);
    }
}

static void look(struct client *client, int64_t time_ms)
{
    struct sim *sim = client->clients->sim;
    const struct store *store = replica_store(client->node->replica);
    oracle_read_done(sim->oracle, &client->seen, store, time_ms);
    struct grant_query query;
    workload_query(&client->op, &query);
    struct grant grant;
    bool found;
    if (store_check(store, &query, time_ms, &grant, &found) == GRANT_ALLOWS) {
        oracle_allowed(sim->oracle, &client->seen, &grant, time_ms);
        oracle_allowed_here(sim->oracle, store, &query, &grant, time_ms);
    }
}

static void on_read(struct replica_read *read, lapse_result result, int64_t time_ms)
{
    struct client *client = read->owner;
    if (!answered(client)) {
        return;
    }
    sim_trace(client->clients->sim, client->node->id, "read", client->number, result.code, (uint64_t)time_ms);
    if (lapse_is_ok(result)) {
        look(client, time_ms);
        finish(client);
    } else {
        back_off(client);
    }
}

/* --- Asking --- */

/* Nothing came in time. */
static void give_up(void *arg, uint64_t tag)
{
    struct client *client = arg;
    if (tag != client->attempt) {
        return;
    }
    if (client->waiting && client->node->up && client->node->incarnation == client->incarnation) {
        if (client->following) {
            node_lease_cancel(client->node->lease, &client->wait);
        } else if (client->op.is_read) {
            replica_cancel_read(client->node->replica, &client->read);
        } else {
            replica_cancel_write(client->node->replica, &client->write);
        }
    }
    back_off(client);
}

static int64_t now_ms(const struct sim_node *node)
{
    struct replica_status status;
    replica_get_status(node->replica, &status);
    return status.time_ms != 0 ? status.time_ms : node_wall_ms(node);
}

static void send_write(struct client *client, int64_t timeout_ms)
{
    client->write = (struct replica_write){.done = on_written, .owner = client};
    replica_write(client->node->replica, &client->write, &client->op.command, timeout_ms);
    if (client->clients->sim->broken == BREAK_ORDER && client->waiting) {
        struct store_outcome early = {.revision = store_revision(replica_store(client->node->replica)) + 1};
        oracle_acknowledged(client->clients->sim->oracle, client->op.command.key, &early);
    }
}

static void send_read(struct client *client, int64_t timeout_ms)
{
    oracle_read_begins(client->clients->sim->oracle, &client->seen);
    if (client->clients->sim->broken == BREAK_READ) {
        struct replica_status status;
        replica_get_status(client->node->replica, &status);
        look(client, status.time_ms);
        finish(client);
        return;
    }
    client->read = (struct replica_read){.done = on_read, .owner = client};
    replica_read(client->node->replica, &client->read, timeout_ms);
}

/* On the node's loop. */
static void arrive(struct sim_node *node, void *arg, uint64_t tag)
{
    struct client *client = arg;
    struct sim *sim = client->clients->sim;
    if (tag != client->attempt || client->waiting) {
        return;
    }
    if (client->attempts == 1) {
        workload_fill(client->clients->workload, &client->op, now_ms(node));
    }
    sim_trace(sim, node->id, "ask", client->number, client->op.is_read ? 0 : client->op.command.type, client->attempts);
    client->waiting = true;
    client->incarnation = node->incarnation;
    client->inside = true;
    int64_t timeout_ms = sim_between(sim, 100, 1500);
    if (client->op.is_read) {
        send_read(client, timeout_ms);
    } else {
        send_write(client, timeout_ms);
    }
    client->inside = false;
}

static void ask(void *arg, uint64_t tag)
{
    struct client *client = arg;
    struct sim *sim = client->clients->sim;
    if (tag != client->attempt) {
        return;
    }
    client->node = client->pinned != NULL ? client->pinned : sim->nodes[sim_below(sim, sim->n_nodes)];
    client->attempts++;
    client->asked_us = sim->now_us;
    if (!node_call(client->node, arrive, client, client->attempt)) {
        client->attempts--;
        back_off(client);
        return;
    }
    int64_t patience = sim_chance(sim, 100000) ? 300 * SIM_MILLISECOND : 2 * SIM_SECOND;
    sim_after(sim, patience, give_up, client, client->attempt);
}

static void begin(void *arg, uint64_t tag)
{
    struct client *client = arg;
    if (tag != client->attempt) {
        return;
    }
    if (client->pinned != NULL) {
        if (client->probe_steps == 0) {
            return;
        }
        workload_probe(client->clients->workload, &client->op, client->probe_steps == 1);
    } else {
        if (client->clients->stopped) {
            return;
        }
        workload_next(client->clients->workload, &client->op);
    }
    client->attempts = 0;
    ask(client, tag);
}

/* --- */

static struct client *client_new(struct clients *clients)
{
    CHECK(clients->n < CLIENTS_MAX);
    struct client *client = &clients->all[clients->n];
    *client = (struct client){.clients = clients, .number = clients->n};
    clients->n++;
    return client;
}

struct clients *clients_new(struct sim *sim)
{
    struct clients *clients = mem_calloc(1, sizeof(*clients));
    clients->sim = sim;
    clients->workload = workload_new(sim);
    uint32_t n = 3 + (uint32_t)sim_below(sim, 6);
    for (uint32_t i = 0; i < n; i++) {
        think(client_new(clients));
    }
    return clients;
}

void clients_free(struct clients *clients)
{
    if (clients == NULL) {
        return;
    }
    workload_free(clients->workload);
    free(clients);
}

void clients_stop(struct clients *clients)
{
    clients->stopped = true;
}

void clients_probe(struct clients *clients)
{
    for (uint32_t i = 0; i < clients->sim->n_nodes; i++) {
        if (!node_votes(clients->sim->nodes[i])) {
            continue;
        }
        struct client *client = client_new(clients);
        client->pinned = clients->sim->nodes[i];
        client->probe_steps = 2;
        think(client);
    }
}

bool clients_probed(const struct clients *clients)
{
    for (uint32_t i = 0; i < clients->n; i++) {
        if (clients->all[i].probe_steps != 0) {
            return false;
        }
    }
    return true;
}
