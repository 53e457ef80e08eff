/* The disk's side of a node: jobs wait in their lane, are done together after a while by the real storage_execute()
 * over the virtual disk, and are reported a while later still. A process can end in each of these gaps, and in the
 * middle of the work. */
#include "tests/sim/node.h"

#include <stdlib.h>

#include "base/check.h"
#include "tests/sim/virtual_disk.h"

static void lane_work(void *arg, uint64_t tag);

void lanes_init(struct sim_node *node)
{
    for (uint32_t i = 0; i < 2; i++) {
        node->lanes[i] = (struct lane){.node = node};
        node->lanes[i].tail = &node->lanes[i].first;
    }
}

static int64_t draw_duration(struct lane *lane)
{
    struct sim *sim = lane->node->sim;
    bool is_log = lane == &lane->node->lanes[STORAGE_LANE_LOG];
    int64_t mean = is_log ? 150 : 1500;
    return sim_around(sim, mean * lane->node->disk_slowness);
}

static void lane_begin(struct lane *lane)
{
    struct sim_node *node = lane->node;
    if (lane->busy || lane->first == NULL) {
        return;
    }
    lane->busy = true;
    sim_after(node->sim, draw_duration(lane), lane_work, lane, node->incarnation);
}

/* Takes the jobs of one execution: one alone, or all that have gathered. */
static struct storage_job *lane_take(struct lane *lane)
{
    struct storage_job *jobs = lane->first;
    struct storage_job *last = jobs;
    bool all = sim_chance(lane->node->sim, 700000);
    while (all && last->next != NULL) {
        last = last->next;
    }
    lane->first = last->next;
    last->next = NULL;
    if (lane->first == NULL) {
        lane->tail = &lane->first;
    }
    return jobs;
}

/* --- --break durable and --break vote --- */

static struct storage_job *job_copy(const struct storage_job *job)
{
    struct storage_job *copy = mem_calloc(1, sizeof(*copy));
    copy->type = job->type;
    copy->term = job->term;
    copy->voted_for = job->voted_for;
    copy->index = job->index;
    copy->n_entries = job->n_entries;
    if (job->n_entries > 0) {
        copy->entries = mem_alloc(job->n_entries * sizeof(*copy->entries));
    }
    for (uint32_t i = 0; i < job->n_entries; i++) {
        copy->entries[i] = job->entries[i];
        if (copy->entries[i].data != NULL) {
            blob_ref(copy->entries[i].data);
        }
    }
    return copy;
}

static void late_execute(struct lane *lane)
{
    while (lane->late != NULL) {
        struct storage_job *job = lane->late;
        lane->late = job->next;
        job->next = NULL;
        storage_execute(lane->node->log, job);
        storage_job_free(job);
    }
}

/* True when the job is only said to be done: it waits until something of another kind must be done. */
static bool pretend(struct lane *lane, struct storage_job *job)
{
    enum sim_break broken = lane->node->sim->broken;
    if (job->type != (broken == BREAK_VOTE ? STORAGE_VOTE : STORAGE_APPEND)) {
        late_execute(lane);
        return false;
    }
    struct storage_job **end = &lane->late;
    uint32_t n = 0;
    for (; *end != NULL; end = &(*end)->next) {
        n++;
    }
    *end = job_copy(job);
    if (n > 20) {
        late_execute(lane);
    }
    return true;
}

static void execute_broken(struct lane *lane, struct storage_job *jobs)
{
    for (struct storage_job *job = jobs; job != NULL;) {
        struct storage_job *next = job->next;
        job->next = NULL;
        if (!pretend(lane, job)) {
            storage_execute(lane->node->log, job);
        } else {
            job->result = lapse_ok();
        }
        job->next = next;
        job = next;
    }
}

/* --- */

static void execute(struct lane *lane, struct storage_job *jobs)
{
    struct sim_node *node = lane->node;
    bool is_log = lane == &node->lanes[STORAGE_LANE_LOG];
    if (is_log && (node->sim->broken == BREAK_DURABLE || node->sim->broken == BREAK_VOTE)) {
        execute_broken(lane, jobs);
    } else {
        storage_execute(node->log, jobs);
    }
}

struct report {
    struct sim_node *node;
    struct storage_job *jobs;
};

void lane_job_free(struct storage_job *job)
{
    if (job != NULL && job->type == STORAGE_RESTORE) {
        store_free(job->store);
    }
    storage_job_free(job);
}

static void jobs_free(struct storage_job *jobs)
{
    while (jobs != NULL) {
        struct storage_job *next = jobs->next;
        lane_job_free(jobs);
        jobs = next;
    }
}

static void report_drop(void *arg, uint64_t tag)
{
    (void)tag;
    struct report *report = arg;
    jobs_free(report->jobs);
    free(report);
}

static void report_done(void *arg, uint64_t tag)
{
    struct report *report = arg;
    struct sim_node *node = report->node;
    if (node->incarnation != tag) {
        report_drop(report, 0);
        return;
    }
    while (report->jobs != NULL) {
        struct storage_job *job = report->jobs;
        report->jobs = job->next;
        job->next = NULL;
        if (!lapse_is_ok(job->result)) {
            node->lanes[storage_job_lane(job)].failed = true;
        }
        node_input(node, (struct input_spec){.job = job});
    }
    free(report);
}

static void lane_work(void *arg, uint64_t tag)
{
    struct lane *lane = arg;
    struct sim_node *node = lane->node;
    if (node->incarnation != tag || lane->first == NULL) {
        return;
    }
    lane->busy = false;
    struct report *report = mem_calloc(1, sizeof(*report));
    *report = (struct report){node, lane_take(lane)};
    execute(lane, report->jobs);
    sim_trace(node->sim, node->id, "executed", report->jobs->type, report->jobs->index, report->jobs->result.code);
    int64_t at_us = node->sim->now_us + (int64_t)sim_below(node->sim, 200);
    lane->reported_us = at_us > lane->reported_us ? at_us : lane->reported_us; /* reports keep the lane's order */
    events_add(
        &node->sim->events,
        (struct event){.at_us = lane->reported_us, .run = report_done, .drop = report_drop, .arg = report, .tag = tag});
    lane_begin(lane);
}

void lane_submit(struct sim_node *node, struct storage_job *job)
{
    struct lane *lane = &node->lanes[storage_job_lane(job)];
    job->next = NULL;
    *lane->tail = job;
    lane->tail = &job->next;
    lane_begin(lane);
}

/* Does the first jobs of a lane up to some write or sync. */
static void lane_interrupt(struct lane *lane)
{
    struct sim_node *node = lane->node;
    if (lane->first == NULL || !sim_chance(node->sim, 500000)) {
        return;
    }
    virtual_disk_stop_at(node->disk, 1 + sim_below(node->sim, 8));
    execute(lane, lane->first);
    virtual_disk_heal(node->disk);
}

void lanes_end(struct sim_node *node)
{
    for (uint32_t i = 0; i < 2; i++) {
        struct lane *lane = &node->lanes[i];
        lane_interrupt(lane);
        jobs_free(lane->first);
        jobs_free(lane->late);
    }
    lanes_init(node);
}
