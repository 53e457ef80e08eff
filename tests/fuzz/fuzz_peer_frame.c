/* Frames from another node, as its certificate alone would let them in: decoded, then given to a follower that runs.
 * Whatever comes in: no crash, no read out of bounds, nothing in the store that was not committed. */
#include <stdlib.h>

#include "base/check.h"
#include "raft/message.h"
#include "raft/replica.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct follower {
    struct replica *replica;
    struct storage_job *jobs;
    int64_t now_us;
};

static void on_clock(void *arg, struct replica_time *now)
{
    const struct follower *follower = arg;
    *now = (struct replica_time){follower->now_us, 1800000000000};
}

static void on_storage(void *arg, struct storage_job *job)
{
    struct follower *follower = arg;
    job->next = follower->jobs;
    follower->jobs = job;
}

static void on_send(void *arg, uint64_t to, struct slice frame)
{
    struct message message;
    (void)arg, (void)to;
    lapse_result result = frame_decode(frame, &message, NULL);
    CHECK(lapse_is_ok(result));
}

/* The disk of a fuzzer does everything it is asked, except that what was received never makes a store. */
static void do_jobs(struct follower *follower)
{
    while (follower->jobs != NULL) {
        struct storage_job *job = follower->jobs;
        follower->jobs = job->next;
        job->result = lapse_ok();
        if (job->type == STORAGE_RESTORE || job->type == STORAGE_READ)
            job->result = lapse_fail(&job->error, LAPSE_DATA_LOSS, "no such snapshot");
        replica_storage_done(follower->replica, job);
    }
}

static void start(struct follower *follower)
{
    static const struct replica_member members[] = {
        {1, "n1:1", REPLICA_VOTER}, {2, "n2:1", REPLICA_VOTER}, {3, "n3:1", REPLICA_VOTER}};
    const struct replica_options options = {.node_id = 1, .seed = 1};
    const struct replica_io io = {on_clock, on_storage, on_send};
    const struct replica_observer observer = {.on_event = NULL};
    struct log_state state = {.term = 1, .first_index = 1, .n_entries = 2};
    struct lapse_error error;
    state.entries = mem_calloc(2, sizeof *state.entries);
    lapse_result result = replica_bootstrap(members, 3, "fuzz", "user:operator", state.entries, &error);
    CHECK(lapse_is_ok(result));
    *follower = (struct follower){.now_us = 1000000};
    follower->replica = replica_new(&options, &io, &observer, follower);
    result = replica_start(follower->replica, &state, &error);
    CHECK(lapse_is_ok(result));
    free(state.entries);
}

/* The input is a list of frames: one byte sender and time, two bytes length, the frame. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct follower follower;
    start(&follower);
    while (size > 3) {
        size_t len = (size_t)data[1] << 8 | data[2];
        len = len < size - 3 ? len : size - 3;
        follower.now_us += (data[0] >> 2) * 5000;
        replica_tick(follower.replica);
        replica_receive(follower.replica, 2 + (data[0] & 1), slice_of(data + 3, len));
        do_jobs(&follower);
        replica_flush(follower.replica);
        data += 3 + len;
        size -= 3 + len;
    }
    while (follower.jobs != NULL)
        do_jobs(&follower);
    replica_free(follower.replica);
    return 0;
}
