#include "tests/unit/replica_fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "raft/message.h"
#include "tests/sim/virtual_disk.h"

/* --- What the replica is given --- */

static void on_clock(void *arg, struct replica_time *now)
{
    const struct fixture_node *node = arg;
    now->boot_us = node->fixture->now_us;
    now->wall_ms = FIXTURE_WALL_MS + node->fixture->now_us / 1000 + node->wall_offset_ms;
}

static void on_storage(void *arg, struct storage_job *job)
{
    struct fixture_node *node = arg;
    job->next = NULL;
    *node->jobs_end = job;
    node->jobs_end = &job->next;
}

static void on_send(void *arg, uint64_t to, struct slice bytes)
{
    struct fixture_node *node = arg;
    struct fixture *fixture = node->fixture;
    struct message message;
    fixture->frames_sent++;
    CHECK(lapse_is_ok(frame_decode(bytes, &message, NULL)));
    node->early_times +=
        message.envelope.leading && message.envelope.time_us > 0 && fixture_status(node).time_ms == 0;
    struct fixture_frame *frame = mem_calloc(1, sizeof *frame);
    frame->from = node->id;
    frame->to = to;
    buf_init(&frame->bytes, SIZE_MAX);
    cr_assert(lapse_is_ok(buf_append(&frame->bytes, bytes.data, bytes.len)));
    *fixture->frames_end = frame;
    fixture->frames_end = &frame->next;
}

static void on_event(void *arg, const struct store_event *event)
{
    struct fixture_node *node = arg;
    node->expired += event->type == STORE_EVENT_EXPIRED;
}

static void on_applied(void *arg, uint64_t index, const struct command *command, const struct store_outcome *outcome)
{
    struct fixture_node *node = arg;
    (void)index, (void)command, (void)outcome;
    node->applied++;
}

static void on_store_replaced(void *arg)
{
    ((struct fixture_node *)arg)->stores++;
}

static void on_leadership(void *arg, enum replica_state state, uint64_t leader, uint64_t term)
{
    struct fixture_node *node = arg;
    (void)leader;
    if (state == REPLICA_LEADER)
        node->led_term = term;
}

static void on_members(void *arg, const struct replica_member *members, uint32_t n)
{
    struct fixture_node *node = arg;
    node->n_members = n;
    node->n_voters = 0;
    for (uint32_t i = 0; i < n; i++)
        node->n_voters += members[i].role == REPLICA_VOTER;
}

static void on_fatal(void *arg, const struct lapse_error *error)
{
    (void)error;
    ((struct fixture_node *)arg)->fatals++;
}

static bool may_drop(void *arg, uint64_t revision)
{
    const struct fixture_node *node = arg;
    return revision > 0 && !node->hold_log;
}

static void on_lease(void *arg, uint64_t from, uint64_t life, uint64_t term, struct slice frame)
{
    struct fixture_node *node = arg;
    node->leases++;
    node->lease_from = from;
    node->lease_life = life;
    node->lease_term = term;
    (void)slice_to_cstr(frame, node->lease, sizeof node->lease);
}

static void on_warning(void *arg, const struct lapse_error *error)
{
    (void)error;
    ((struct fixture_node *)arg)->warnings++;
}

static const struct replica_io io = {on_clock, on_storage, on_send};
static const struct replica_observer observer = {.on_event = on_event,
                                                 .on_applied = on_applied,
                                                 .on_store_replaced = on_store_replaced,
                                                 .on_members = on_members,
                                                 .on_fatal = on_fatal,
                                                 .on_lease = on_lease,
                                                 .may_drop = may_drop,
                                                 .on_leadership = on_leadership,
                                                 .on_warning = on_warning};

/* --- Life --- */

struct fixture *fixture_new(uint32_t n, uint32_t voters)
{
    static const char *const addresses[FIXTURE_NODES] = {"n1:1", "n2:1", "n3:1", "n4:1", "n5:1"};
    struct fixture *fixture = mem_calloc(1, sizeof *fixture);
    struct replica_member members[FIXTURE_NODES];
    struct log_entry entries[2];
    struct lapse_error error;
    fixture->n = n;
    fixture->now_us = 1000000;
    fixture->frames_end = &fixture->frames;
    fixture->options.seed = 7;
    for (uint32_t i = 0; i < voters; i++)
        members[i] = (struct replica_member){i + 1, addresses[i], REPLICA_VOTER};
    cr_assert(lapse_is_ok(replica_bootstrap(members, voters, "test-01", "user:operator", entries, &error)), "%s",
              error.message);
    for (uint32_t i = 0; i < n; i++) {
        struct fixture_node *node = &fixture->nodes[i];
        struct log_identity identity = {.node_id = i + 1};
        *node = (struct fixture_node){.fixture = fixture, .id = i + 1, .disk = virtual_disk_new()};
        node->jobs_end = &node->jobs;
        (void)snprintf(identity.cluster, sizeof identity.cluster, "test-01");
        cr_assert(
            lapse_is_ok(log_format(node->disk, &identity, i < voters ? entries : NULL, i < voters ? 2 : 0, &error)),
            "%s", error.message);
    }
    blob_unref(entries[0].data);
    blob_unref(entries[1].data);
    return fixture;
}

void fixture_start(struct fixture_node *node)
{
    struct log_options options = {.store = &node->fixture->options.store};
    struct replica_options replica = node->fixture->options;
    struct log_state state = {0};
    struct lapse_error error;
    cr_assert(lapse_is_ok(log_open(node->disk, &options, &node->log, &state, &error)), "%s", error.message);
    replica.node_id = node->id;
    node->replica = replica_new(&replica, &io, &observer, node);
    cr_assert(lapse_is_ok(replica_start(node->replica, &state, &error)), "%s", error.message);
    log_state_free(&state);
}

static void drop_jobs(struct fixture_node *node)
{
    while (node->jobs != NULL) {
        struct storage_job *job = node->jobs;
        node->jobs = job->next;
        storage_job_free(job);
    }
    node->jobs_end = &node->jobs;
}

void fixture_kill(struct fixture_node *node)
{
    if (node->replica == NULL)
        return;
    drop_jobs(node);
    replica_free(node->replica);
    node->replica = NULL;
    log_close(node->log);
    node->log = NULL;
}

void fixture_start_all(struct fixture *fixture)
{
    for (uint32_t i = 0; i < fixture->n; i++) {
        if (fixture->nodes[i].replica == NULL)
            fixture_start(&fixture->nodes[i]);
    }
}

static void pop_frame(struct fixture *fixture)
{
    struct fixture_frame *frame = fixture->frames;
    fixture->frames = frame->next;
    if (fixture->frames == NULL)
        fixture->frames_end = &fixture->frames;
    buf_free(&frame->bytes);
    free(frame);
}

void fixture_free(struct fixture *fixture)
{
    for (uint32_t i = 0; i < fixture->n; i++) {
        fixture_kill(&fixture->nodes[i]);
        virtual_disk_free(fixture->nodes[i].disk);
    }
    while (fixture->frames != NULL)
        pop_frame(fixture);
    free(fixture);
}

/* --- Running --- */

bool fixture_do_job(struct fixture_node *node)
{
    struct storage_job *job = node->jobs;
    if (job == NULL)
        return false;
    node->jobs = job->next;
    if (node->jobs == NULL)
        node->jobs_end = &node->jobs;
    job->next = NULL;
    storage_execute(node->log, job);
    replica_storage_done(node->replica, job);
    return true;
}

static bool do_jobs(struct fixture_node *node)
{
    bool any = false;
    while (!node->hold_disk && fixture_do_job(node))
        any = true;
    return any;
}

static bool deliver(struct fixture *fixture)
{
    bool any = fixture->frames != NULL;
    struct fixture_frame **end = fixture->frames_end;
    /* Only what was there at the beginning. */
    for (bool last = false; fixture->frames != NULL && !last;) {
        struct fixture_frame *frame = fixture->frames;
        struct fixture_node *from = &fixture->nodes[frame->from - 1], *to = &fixture->nodes[frame->to - 1];
        last = &frame->next == end;
        if (to->replica != NULL && !to->cut_off && !from->cut_off)
            replica_receive(to->replica, frame->from, buf_slice(&frame->bytes));
        pop_frame(fixture);
    }
    return any;
}

static void settle(struct fixture *fixture)
{
    bool again = true;
    for (int rounds = 0; again; rounds++) {
        cr_assert(rounds < 100000, "the cluster does not come to rest");
        again = false;
        for (uint32_t i = 0; i < fixture->n; i++) {
            struct fixture_node *node = &fixture->nodes[i];
            if (node->replica == NULL)
                continue;
            again = do_jobs(node) || again;
            replica_flush(node->replica);
        }
        again = deliver(fixture) || again;
        for (uint32_t i = 0; i < fixture->n; i++)
            again = again || (fixture->nodes[i].jobs != NULL && !fixture->nodes[i].hold_disk);
    }
}

void fixture_run(struct fixture *fixture, int64_t ms)
{
    for (int64_t end_us = fixture->now_us + ms * 1000; fixture->now_us < end_us; fixture->now_us += 1000) {
        for (uint32_t i = 0; i < fixture->n; i++) {
            struct fixture_node *node = &fixture->nodes[i];
            if (node->replica != NULL && replica_next_due_us(node->replica) <= fixture->now_us)
                replica_tick(node->replica);
        }
        settle(fixture);
    }
}

struct replica_status fixture_status(const struct fixture_node *node)
{
    struct replica_status status;
    replica_get_status(node->replica, &status);
    return status;
}

static struct fixture_node *agreed_leader(struct fixture *fixture)
{
    struct fixture_node *leader = NULL;
    for (uint32_t i = 0; i < fixture->n; i++) {
        struct fixture_node *node = &fixture->nodes[i];
        if (node->replica == NULL || node->cut_off || node->n_members == 0)
            continue;
        uint64_t id = fixture_status(node).leader;
        if (id == 0 || (leader != NULL && leader->id != id))
            return NULL;
        leader = &fixture->nodes[id - 1];
    }
    bool leads = leader != NULL && leader->replica != NULL && !leader->cut_off;
    return leads && fixture_status(leader).state == REPLICA_LEADER && fixture_status(leader).time_ms != 0 ? leader
                                                                                                          : NULL;
}

struct fixture_node *fixture_leader(struct fixture *fixture)
{
    for (int ms = 0; ms < 5000; ms++) {
        struct fixture_node *leader = agreed_leader(fixture);
        if (leader != NULL)
            return leader;
        fixture_run(fixture, 1);
    }
    cr_assert_fail("no leader within 5 s");
    return NULL;
}

struct fixture_node *fixture_follower(struct fixture *fixture)
{
    struct fixture_node *leader = fixture_leader(fixture);
    for (uint32_t i = 0; i < fixture->n; i++) {
        struct fixture_node *node = &fixture->nodes[i];
        if (node != leader && node->replica != NULL && !node->cut_off && node->n_members > 0)
            return node;
    }
    cr_assert_fail("no follower runs");
    return NULL;
}

/* --- Operations --- */

static void write_done(struct replica_write *write, const struct store_outcome *outcome)
{
    struct fixture_write *self = write->owner;
    self->done++;
    self->outcome = *outcome;
    self->applied = fixture_status(self->node).applied_index;
}

void fixture_command(struct fixture_node *node, struct fixture_write *write, const struct command *command,
                     int64_t timeout_ms)
{
    *write = (struct fixture_write){.node = node, .write = {.done = write_done, .owner = write}};
    replica_write(node->replica, &write->write, command, timeout_ms);
}

void fixture_write(struct fixture_node *node, struct fixture_write *write, uint32_t principal, uint64_t key,
                   int64_t timeout_ms)
{
    char member[32];
    (void)snprintf(member, sizeof member, "user:dev%u", principal);
    struct command command = {.type = COMMAND_SET_ROLES,
                              .principal = slice_str("user:operator"),
                              .member = slice_str(member),
                              .roles = ROLE_REQUESTER};
    memcpy(command.key.bytes, &key, sizeof key);
    fixture_command(node, write, &command, timeout_ms);
}

static void read_done(struct replica_read *read, lapse_result result, int64_t time_ms)
{
    struct fixture_read *self = read->owner;
    self->done++;
    self->result = result;
    self->time_ms = time_ms;
}

void fixture_read(struct fixture_node *node, struct fixture_read *read, int64_t timeout_ms)
{
    *read = (struct fixture_read){.read = {.done = read_done, .owner = read}};
    replica_read(node->replica, &read->read, timeout_ms);
}

void fixture_fill(struct fixture_node *node, uint32_t n, uint32_t first_principal)
{
    struct fixture_write *writes = mem_calloc(n, sizeof *writes);
    for (uint32_t i = 0; i < n; i++)
        fixture_write(node, &writes[i], first_principal + i, first_principal + i + 1000000, 60000);
    for (int ms = 0; ms < 5000 && writes[n - 1].done == 0; ms++)
        fixture_run(node->fixture, 1);
    for (uint32_t i = 0; i < n; i++)
        cr_assert(writes[i].done == 1 && writes[i].outcome.error.code == LAPSE_OK, "%s",
                  writes[i].outcome.error.message);
    free(writes);
}

struct fixture *three(void)
{
    struct fixture *fixture = fixture_new(3, 3);
    fixture_start_all(fixture);
    (void)fixture_leader(fixture);
    return fixture;
}
