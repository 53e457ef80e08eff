/* One history.
 *
 * The first node that applies a command writes it down; every other node, and the same one after each restart, must
 * apply the same command at the same place, with the same outcome, and reach the same digest. A cursor for each node
 * says where it stands. */
#include "tests/sim/oracle.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/check.h"
#include "tests/sim/node.h"
#include "tests/sim/oracle_internal.h"

struct history_command {
    uint64_t index;
    uint64_t hash;
    struct store_digest digest;
};

struct history_key {
    struct request_key key;
    uint64_t revision;
    int64_t time_ms;
    bool unchanged;    /* what it asked for was there already, since `revision`: the store doesn't remember the key */
    bool acknowledged; /* and its caller was told so */
};

struct cursor {
    size_t next;       /* position in the history of the command that this node applies next */
    uint64_t revision; /* of its store */
    uint64_t events;   /* hash over the events since the last command */
};

struct oracle {
    struct sim *sim;
    struct grants_model *grants;
    struct clock_model clock;
    struct chain_model *chain;
    struct governance_model *governance;

    struct history_command *commands;
    size_t n_commands, commands_max;
    uint64_t *event_hashes; /* by revision - 1 */
    uint64_t n_events, events_max;
    struct history_key *keys; /* keys that took effect, in order */
    size_t n_keys, keys_max;
    struct cursor cursors[SIM_NODES_MAX];
    uint64_t *leaders; /* by term: node id */
    uint64_t terms_max;
    uint64_t highest_term;

    /* What every read that begins now must see. */
    uint64_t visible_revision;
    int64_t visible_time_ms;
    int64_t applied_time_ms; /* the greatest time applied anywhere */
    struct oracle_counts counts;
};

struct oracle *oracle_new(struct sim *sim)
{
    struct oracle *oracle = mem_calloc(1, sizeof(*oracle));
    oracle->sim = sim;
    oracle->grants = grants_model_new(sim);
    oracle->chain = chain_model_new(sim);
    oracle->governance = governance_model_new(sim);
    clock_model_init(&oracle->clock, sim);
    sim->points_oracle = points_model_new(sim, &oracle->clock);
    return oracle;
}

void oracle_free(struct oracle *oracle)
{
    if (oracle == NULL) {
        return;
    }
    grants_model_free(oracle->grants);
    chain_model_free(oracle->chain);
    governance_model_free(oracle->governance);
    points_model_free(oracle->sim->points_oracle);
    free(oracle->commands);
    free(oracle->event_hashes);
    free(oracle->keys);
    free(oracle->leaders);
    free(oracle);
}

/* --- Hashes --- */

static uint64_t hash_id(struct grant_id id)
{
    return sim_hash_bytes(7, slice_of(id.bytes, sizeof(id.bytes)));
}

uint64_t oracle_hash_live(const struct grant *grant)
{
    if (grant_state_is_ended(grant->state)) {
        return 0;
    }
    uint64_t hash = sim_mix(hash_id(grant->id), grant->state);
    hash = sim_mix(hash, (uint64_t)grant->deadline_ms);
    hash = sim_mix(hash, grant->uses);
    hash = sim_mix(hash, grant->revision);
    return sim_hash_bytes(hash, grant->subject) | 1;
}

uint64_t oracle_hash_event(const struct store_event *event)
{
    uint64_t hash = sim_mix(event->revision, (uint64_t)event->time_ms);
    hash = sim_mix(hash, event->type);
    if (event->grant != NULL) {
        hash = sim_mix(hash, hash_id(event->grant->id));
        hash = sim_mix(hash, event->grant->state);
        hash = sim_mix(hash, oracle_hash_live(event->grant));
    }
    if (event->point != NULL) {
        hash = sim_hash_bytes(hash, slice_of(event->point->instance.bytes, sizeof(event->point->instance.bytes)));
    }
    if (event->barrier != NULL) {
        hash = sim_mix(sim_mix(hash, event->barrier->id), event->barrier->points);
    }
    if (event->sweep != NULL) {
        hash = sim_mix(sim_mix(hash, event->sweep->id), event->sweep->grants);
    }
    hash = sim_hash_bytes(sim_mix(hash, event->roles), event->member);
    return sim_hash_bytes(hash, event->encoded) | 1;
}

static uint64_t hash_command(const struct command *command, const struct store_outcome *outcome, uint64_t events,
                             int64_t time_ms)
{
    struct buf bytes;
    buf_init(&bytes, LIMIT_COMMAND_BYTES);
    lapse_result result = command_encode(command, &bytes);
    CHECK(lapse_is_ok(result));
    uint64_t hash = sim_hash_bytes(events, buf_slice(&bytes));
    buf_free(&bytes);
    hash = sim_mix(hash, outcome->error.code);
    hash = sim_mix(hash, outcome->revision);
    hash = sim_mix(hash, outcome->n_events);
    hash = sim_mix(hash, outcome->repeated);
    return sim_mix(hash, (uint64_t)time_ms);
}

/* --- G2: positions --- */

/* The first command behind entry `index`. */
static size_t position_behind(const struct oracle *oracle, uint64_t index)
{
    size_t low = 0, high = oracle->n_commands;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (oracle->commands[middle].index <= index) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool digests_equal(struct store_digest a, struct store_digest b)
{
    return a.words[0] == b.words[0] && a.words[1] == b.words[1];
}

static void place_cursor(struct oracle *oracle, uint32_t place, uint64_t applied, const struct store *store,
                         const char *how)
{
    struct cursor *cursor = &oracle->cursors[place];
    *cursor = (struct cursor){.next = position_behind(oracle, applied)};
    if (store == NULL) {
        return;
    }
    cursor->revision = store_revision(store);
    chain_model_store(oracle->chain, place, store, how);
    if (cursor->next == 0 || !digests_equal(oracle->commands[cursor->next - 1].digest, store_digest(store))) {
        sim_fail(oracle->sim, "G2",
                 "node %u has a store %s entry %" PRIu64 " that differs from the history there (its revision: %" PRIu64
                 ")",
                 place + 1, how, applied, store_revision(store));
        return;
    }
    oracle_inspect(oracle, place, store);
}

void oracle_node_starts(struct oracle *oracle, uint32_t place, uint64_t applied, const struct store *store)
{
    place_cursor(oracle, place, applied, store, "restored at");
}

void oracle_store_replaced(struct oracle *oracle, uint32_t place, uint64_t applied, const struct store *store)
{
    if (store_revision(store) < oracle->cursors[place].revision) {
        sim_fail(oracle->sim, "G2", "node %u goes back from revision %" PRIu64 " to a snapshot of %" PRIu64, place + 1,
                 oracle->cursors[place].revision, store_revision(store));
    }
    oracle->counts.snapshots++;
    place_cursor(oracle, place, applied, store, "received at");
}

void oracle_node_ends(struct oracle *oracle, uint32_t place)
{
    oracle->cursors[place].events = 0;
    clock_model_recount(&oracle->clock);
}

/* --- G4, G7: events --- */

void oracle_event(struct oracle *oracle, uint32_t place, uint64_t epoch, const struct store_event *event)
{
    struct cursor *cursor = &oracle->cursors[place];
    uint64_t hash = oracle_hash_event(event);
    if (event->revision != cursor->revision + 1) {
        sim_fail(oracle->sim, "G7", "node %u has an event of revision %" PRIu64 " behind %" PRIu64, place + 1,
                 event->revision, cursor->revision);
        return;
    }
    cursor->revision = event->revision;
    chain_model_event(oracle->chain, place, epoch, event);
    cursor->events = sim_mix(cursor->events, hash);
    if (event->revision <= oracle->n_events) {
        if (oracle->event_hashes[event->revision - 1] != hash) {
            sim_fail(oracle->sim, "G2",
                     "node %u has another event (%s) of revision %" PRIu64 " than the first that applied it", place + 1,
                     store_event_name(event->type), event->revision);
        }
        return;
    }
    if (oracle->n_events == oracle->events_max) {
        oracle->events_max = oracle->events_max == 0 ? 1024 : oracle->events_max * 2;
        oracle->event_hashes = mem_realloc(oracle->event_hashes, oracle->events_max * sizeof(*oracle->event_hashes));
    }
    oracle->event_hashes[oracle->n_events++] = hash;
    grants_model_event(oracle->grants, event);
    points_model_event(oracle->sim->points_oracle, event);
    governance_model_event(oracle->governance, event);
}

uint64_t oracle_revision(const struct oracle *oracle)
{
    return oracle->n_events;
}

uint64_t oracle_event_hash(const struct oracle *oracle, uint64_t revision)
{
    return revision == 0 || revision > oracle->n_events ? 0 : oracle->event_hashes[revision - 1];
}

uint64_t oracle_live_hash(const struct oracle *oracle, uint64_t revision)
{
    return grants_model_live_hash(oracle->grants, revision);
}

struct listing {
    uint64_t hash;
};

static bool listing_add(void *arg, const struct grant *grant)
{
    struct listing *listing = arg;
    listing->hash ^= oracle_hash_live(grant);
    return true;
}

void oracle_inspect(struct oracle *oracle, uint32_t place, const struct store *store)
{
    struct listing listing = {0};
    struct store_filter filter = {0};
    uint64_t cursor = 0;
    while (store_list(store, &filter, &cursor, 1000, listing_add, &listing)) {
    }
    if (listing.hash != oracle_live_hash(oracle, store_revision(store))) {
        sim_fail(oracle->sim, "G4", "the grants listed on node %u at revision %" PRIu64 " are not those of its events",
                 place + 1, store_revision(store));
    }
}

/* --- G1, G2: commands --- */

static struct history_key *find_key(const struct oracle *oracle, struct request_key key)
{
    for (size_t i = oracle->n_keys; i-- > 0;) {
        if (memcmp(&oracle->keys[i].key, &key, sizeof(key)) == 0) {
            return &oracle->keys[i];
        }
    }
    return NULL;
}

/* As long as its caller waits for an answer it may find that something has changed meanwhile, and take effect. */
static void note_unchanged_again(struct oracle *oracle, struct history_key *known, const struct store_outcome *outcome)
{
    known->revision = outcome->revision;
    known->unchanged = outcome->repeated;
    if (known->acknowledged && !known->unchanged) {
        sim_fail(oracle->sim, "G4", "a call that was answered, since all was as it asks for, takes effect later");
    }
}

/* A key takes effect once, however often it is sent, while it is remembered. */
static void note_key(struct oracle *oracle, const struct command *command, const struct store_outcome *outcome,
                     int64_t time_ms)
{
    static const struct request_key none;
    struct request_key key = command->key;
    if (memcmp(&key, &none, sizeof(key)) == 0 || outcome->error.code != LAPSE_OK) {
        return;
    }
    struct history_key *known = find_key(oracle, key);
    if (known != NULL && known->unchanged) {
        note_unchanged_again(oracle, known, outcome);
        return;
    }
    if (known != NULL && !outcome->repeated && time_ms - known->time_ms >= LIMIT_REQUEST_ID_WINDOW_MS) {
        known = NULL;
    }
    bool unchanged = known == NULL && outcome->repeated && command->type == COMMAND_APPLY_POLICY;
    if (!unchanged && outcome->repeated != (known != NULL)) {
        sim_fail(oracle->sim, "G4", "a request key %s",
                 known != NULL ? "took effect twice" : "is called a repetition of nothing");
        return;
    }
    if (known != NULL) {
        return;
    }
    if (oracle->n_keys == oracle->keys_max) {
        oracle->keys_max = oracle->keys_max == 0 ? 256 : oracle->keys_max * 2;
        oracle->keys = mem_realloc(oracle->keys, oracle->keys_max * sizeof(*oracle->keys));
    }
    oracle->keys[oracle->n_keys++] =
        (struct history_key){.key = key, .revision = outcome->revision, .time_ms = time_ms, .unchanged = unchanged};
}

static void history_append(struct oracle *oracle, struct history_command command)
{
    if (oracle->n_commands == oracle->commands_max) {
        oracle->commands_max = oracle->commands_max == 0 ? 1024 : oracle->commands_max * 2;
        oracle->commands = mem_realloc(oracle->commands, oracle->commands_max * sizeof(*oracle->commands));
    }
    oracle->commands[oracle->n_commands++] = command;
}

/* A command that no node has applied before. */
static void first_application(struct oracle *oracle, struct history_command applied, const struct command *command,
                              const struct store_outcome *outcome, int64_t time_ms)
{
    struct sim *sim = oracle->sim;
    if (oracle->n_commands > 0 && applied.index < oracle->commands[oracle->n_commands - 1].index) {
        sim_fail(sim, "G2", "entry %" PRIu64 " is applied first after a later one", applied.index);
    }
    if (time_ms < oracle->applied_time_ms) {
        sim_fail(sim, "G3", "cluster time goes back by %" PRId64 " ms at entry %" PRIu64,
                 oracle->applied_time_ms - time_ms, applied.index);
    }
    oracle->applied_time_ms = time_ms;
    history_append(oracle, applied);
    note_key(oracle, command, outcome, time_ms);
    points_model_applied(oracle->sim->points_oracle, command, outcome);
    if (command->type != COMMAND_INIT) {
        clock_model_at_least(&oracle->clock, time_ms);
    }
}

void oracle_applied(struct oracle *oracle, uint32_t place, uint64_t index, const struct command *command,
                    const struct store_outcome *outcome, const struct store *store)
{
    struct cursor *cursor = &oracle->cursors[place];
    int64_t time_ms = store_time_ms(store);
    struct history_command applied = {index, hash_command(command, outcome, cursor->events, time_ms),
                                      store_digest(store)};
    cursor->events = 0;
    chain_model_store(oracle->chain, place, store, "after a command");
    if (store_revision(store) != cursor->revision) {
        sim_fail(oracle->sim, "G7", "node %u is at revision %" PRIu64 " after an event of %" PRIu64, place + 1,
                 store_revision(store), cursor->revision);
    }
    if (cursor->next == oracle->n_commands) {
        first_application(oracle, applied, command, outcome, time_ms);
        governance_model_first(oracle->governance, place, command, outcome, store);
    } else {
        const struct history_command *known = &oracle->commands[cursor->next];
        if (known->index != index || known->hash != applied.hash) {
            sim_fail(oracle->sim, "G2",
                     "node %u applies another command (type %d) at entry %" PRIu64
                     " than the history has at entry %" PRIu64,
                     place + 1, command->type, index, known->index);
        } else if (!digests_equal(known->digest, applied.digest)) {
            sim_fail(oracle->sim, "G2", "node %u has another digest after entry %" PRIu64, place + 1, index);
        }
    }
    governance_model_applied(oracle->governance, place, command, outcome, store);
    cursor->next++;
}

void oracle_leadership(struct oracle *oracle, uint32_t place, enum replica_state state, uint64_t term)
{
    if (term > oracle->highest_term) {
        oracle->counts.elections++;
        oracle->highest_term = term;
    }
    if (state != REPLICA_LEADER) {
        return;
    }
    if (term >= oracle->terms_max) {
        uint64_t max = 2 * term + 64;
        oracle->leaders = mem_realloc(oracle->leaders, max * sizeof(*oracle->leaders));
        memset(oracle->leaders + oracle->terms_max, 0, (max - oracle->terms_max) * sizeof(*oracle->leaders));
        oracle->terms_max = max;
    }
    if (oracle->leaders[term] != 0 && oracle->leaders[term] != place + 1) {
        sim_fail(oracle->sim, "G2", "term %" PRIu64 " has two leaders: %" PRIu64 " and %u", term, oracle->leaders[term],
                 place + 1);
    }
    oracle->leaders[term] = place + 1;
    points_model_led(oracle->sim->points_oracle, term);
}

void oracle_acknowledged(struct oracle *oracle, struct request_key key, const struct store_outcome *outcome)
{
    struct history_key *known = find_key(oracle, key);
    if (known == NULL || known->revision != outcome->revision) {
        sim_fail(oracle->sim, "G1", "a write is acknowledged at revision %" PRIu64 " that no node has applied%s",
                 outcome->revision, known == NULL ? "" : " there");
        return;
    }
    oracle->counts.acknowledged++;
    known->acknowledged = true;
    if (outcome->revision > oracle->visible_revision) {
        oracle->visible_revision = outcome->revision;
    }
    if (outcome->time_ms > oracle->visible_time_ms) {
        oracle->visible_time_ms = outcome->time_ms;
    }
}

/* --- Reads --- */

void oracle_read_begins(struct oracle *oracle, struct oracle_read *read)
{
    *read = (struct oracle_read){oracle->visible_revision, oracle->visible_time_ms, oracle->sim->now_us};
}

void oracle_read_done(struct oracle *oracle, const struct oracle_read *read, const struct store *store, int64_t time_ms)
{
    struct sim *sim = oracle->sim;
    oracle->counts.reads++;
    if (store_revision(store) < read->revision) {
        sim_fail(sim, "linearizability",
                 "a read begun after revision %" PRIu64 " was acknowledged sees revision %" PRIu64, read->revision,
                 store_revision(store));
        return;
    }
    if (time_ms < read->time_ms) {
        sim_fail(sim, "G3", "a read is told a cluster time that lies %" PRId64 " ms before one seen earlier",
                 read->time_ms - time_ms);
        return;
    }
    int64_t low_ms = clock_model_low_ms(&oracle->clock, read->begun_us);
    if (time_ms < low_ms) {
        sim_fail(sim, "G3", "a read is told a cluster time that lies %" PRId64 " ms behind", low_ms - time_ms);
        return;
    }
    clock_model_at_most(&oracle->clock, time_ms, (sim->now_us - read->begun_us) / 1000);
    if (store_revision(store) > oracle->visible_revision) {
        oracle->visible_revision = store_revision(store);
    }
    if (store_time_ms(store) > oracle->visible_time_ms) {
        oracle->visible_time_ms = store_time_ms(store);
    }
}

void oracle_allowed(struct oracle *oracle, const struct oracle_read *read, const struct grant *grant, int64_t time_ms)
{
    struct sim *sim = oracle->sim;
    uint64_t ended;
    if (grant->deadline_ms <= time_ms || grant->deadline_ms <= read->time_ms) {
        sim_fail(sim, "G3", "a check at %" PRId64 " allows a grant whose deadline is %" PRId64, time_ms,
                 grant->deadline_ms);
    } else if (grant->deadline_ms <= clock_model_low_ms(&oracle->clock, read->begun_us)) {
        sim_fail(sim, "G3", "a check begun after a grant's deadline %" PRId64 " allows it", grant->deadline_ms);
    } else if (grants_model_ended(oracle->grants, grant->id, &ended) && ended <= read->revision) {
        sim_fail(sim, "G4", "a check allows a grant that ended at revision %" PRIu64 ", which was seen before", ended);
    }
}

void oracle_allowed_here(struct oracle *oracle, const struct store *store, const struct grant_query *query,
                         const struct grant *grant, int64_t time_ms)
{
    governance_model_allowed(oracle->governance, store, query, grant, time_ms);
}

/* --- The end --- */

bool oracle_has_converged(const struct oracle *oracle)
{
    const struct sim *sim = oracle->sim;
    for (uint32_t i = 0; i < sim->n_nodes; i++) {
        bool equal = sim->nodes[i]->up && oracle->cursors[i].next == oracle->n_commands;
        if (!equal && node_votes(sim->nodes[i])) {
            return false;
        }
    }
    return nodes_leader(oracle->sim) != NULL;
}

void oracle_check_converged(struct oracle *oracle)
{
    struct sim *sim = oracle->sim;
    if (!oracle_has_converged(oracle)) {
        sim_fail(sim, "G1", "not every node has applied all of the %zu commands that were applied somewhere",
                 oracle->n_commands);
        return;
    }
    struct store_digest first = store_digest(replica_store(nodes_leader(sim)->replica));
    for (uint32_t i = 0; i < sim->n_nodes; i++) {
        if (!node_votes(sim->nodes[i])) {
            continue;
        }
        const struct store *store = replica_store(sim->nodes[i]->replica);
        if (!digests_equal(first, store_digest(store)) || store_revision(store) != oracle->n_events) {
            sim_fail(sim, "G2", "node %u differs at the end (revision %" PRIu64 " of %" PRIu64 ")", i + 1,
                     store_revision(store), oracle->n_events);
        }
        oracle_inspect(oracle, i, store);
        chain_model_store(oracle->chain, i, store, "at the end");
    }
    /* A leader has had time: what is overdue by more than a second should have ended. */
    int64_t low_ms = clock_model_low_ms(&oracle->clock, sim->now_us);
    if (low_ms != INT64_MIN && grants_model_next_deadline(oracle->grants) < low_ms - 1000) {
        sim_fail(sim, "G3", "a grant is still active %" PRId64 " ms after its deadline although a leader is there",
                 low_ms - grants_model_next_deadline(oracle->grants));
    }
}

void oracle_counts(const struct oracle *oracle, struct oracle_counts *counts)
{
    *counts = oracle->counts;
    counts->commands = oracle->n_commands;
    counts->revisions = oracle->n_events;
}

void oracle_governance_counts(const struct oracle *oracle, struct governance_counts *counts)
{
    governance_model_counts(oracle->governance, counts);
}
