/* The two lanes on real threads over a real directory. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "raft/disk_thread.h"
#include "tests/unit/log_fixture.h"

struct rig {
    char path[64];
    uv_loop_t loop;
    struct node node;
    struct disk_thread *thread;
    struct store *store;
    struct store_view *view;
    uint64_t submitted, done, next_append, next_tag[2];
    uint64_t goal;
    uint64_t reads;
    bool closed;
};

static void make_directory(char path[64])
{
    (void)snprintf(path, 64, "/tmp/lapse-log-XXXXXX");
    cr_assert_not_null(mkdtemp(path));
}

static void remove_directory(const char *path)
{
    DIR *stream = opendir(path);
    struct dirent *entry;
    cr_assert_not_null(stream);
    while ((entry = readdir(stream)) != NULL) {
        if (entry->d_name[0] != '.')
            cr_assert_eq(unlinkat(dirfd(stream), entry->d_name, 0), 0);
    }
    closedir(stream);
    cr_assert_eq(rmdir(path), 0);
}

static void submit(struct rig *rig, struct storage_job *job)
{
    job->owner = rig;
    job->tag = 1000000 * (uint64_t)storage_job_lane(job) + ++rig->submitted;
    disk_thread_submit(rig->thread, job);
}

static void submit_append(struct rig *rig)
{
    uint64_t nonce = rig->next_append;
    submit(rig, job_append(rig->next_append++, 1, &nonce, 1));
}

static struct storage_job *job_of(enum storage_job_type type, uint64_t index)
{
    struct storage_job *job = mem_calloc(1, sizeof *job);
    job->type = type;
    job->meta.index = index;
    job->meta.term = 1;
    job->keep_from = index;
    return job;
}

static void submit_save(struct rig *rig, uint64_t index)
{
    struct storage_job *job = job_of(STORAGE_SAVE, index);
    rig->view = store_freeze(rig->store);
    job->view = rig->view;
    submit(rig, job);
}

static void on_closed(void *arg)
{
    struct rig *rig = arg;
    cr_assert_eq(rig->done, rig->submitted, "closed with %llu jobs outstanding",
                 (unsigned long long)(rig->submitted - rig->done));
    rig->closed = true;
}

/* Keeps both lanes busy: appends without end, a snapshot saved, committed and read again and again. */
static void on_done(void *arg, struct storage_job *job)
{
    struct rig *rig = arg;
    enum storage_lane lane = storage_job_lane(job);
    cr_assert(lapse_is_ok(job->result), "%s", job->error.message);
    cr_assert(job->owner == rig && job->tag > rig->next_tag[lane], "out of order");
    rig->next_tag[lane] = job->tag;
    rig->done++;
    bool more = rig->done < rig->goal;
    if (job->type == STORAGE_SAVE) {
        store_view_free(rig->view);
        rig->view = NULL;
        if (more)
            submit(rig, job_of(STORAGE_SNAPSHOT_COMMIT, job->meta.index));
    } else if (job->type == STORAGE_SNAPSHOT_COMMIT && more) {
        submit(rig, job_of(STORAGE_READ, 0));
    } else if (job->type == STORAGE_READ) {
        rig->reads++;
        cr_assert(job->chunk != NULL && job->chunk->len > 0);
        if (more)
            submit_save(rig, rig->next_append - 1);
    } else if (job->type == STORAGE_APPEND && more) {
        submit_append(rig);
    }
    storage_job_free(job);
    if (rig->done == rig->goal)
        disk_thread_close(rig->thread, on_closed, rig);
}

static void rig_open(struct rig *rig, uint64_t goal)
{
    *rig = (struct rig){.goal = goal, .next_append = 1};
    rig->node.segment_bytes = 64 * 1024;
    make_directory(rig->path);
    cr_assert(lapse_is_ok(disk_posix_open(rig->path, &rig->node.disk, NULL)));
    cr_assert(lapse_is_ok(node_format(&rig->node, NULL, 0)));
    cr_assert(lapse_is_ok(node_open(&rig->node)), "%s", rig->node.error.message);
    /* Entries of term 1 come after the vote in it. */
    cr_assert(lapse_is_ok(node_vote(&rig->node, 1, 7)));
    rig->store = store_at(1);
    cr_assert_eq(uv_loop_init(&rig->loop), 0);
    cr_assert(lapse_is_ok(disk_thread_start(&rig->loop, rig->node.log, on_done, rig, &rig->thread, NULL)));
}

static void rig_close(struct rig *rig)
{
    cr_assert(rig->closed);
    cr_assert_eq(uv_loop_close(&rig->loop), 0, "a handle was left on the loop");
    node_close(&rig->node);
    rig->node.disk->ops->destroy(rig->node.disk);
    store_free(rig->store);
    remove_directory(rig->path);
}

Test(disk_thread, both_lanes_work_at_once_and_nothing_is_lost)
{
    struct rig rig;
    rig_open(&rig, 4000);
    for (int i = 0; i < 20; i++)
        submit_append(&rig);
    submit_save(&rig, 1);
    cr_assert_eq(uv_run(&rig.loop, UV_RUN_DEFAULT), 0);
    cr_assert(rig.reads > 0);
    node_close(&rig.node);
    cr_assert(lapse_is_ok(node_open(&rig.node)), "%s", rig.node.error.message);
    const struct log_state *state = &rig.node.state;
    cr_assert_eq(state->first_index + state->n_entries, rig.next_append);
    for (uint32_t i = 0; i < state->n_entries; i++)
        cr_assert(entry_is(&state->entries[i], 1, state->first_index + i));
    cr_assert(state->has_snapshot);
    rig_close(&rig);
}

Test(disk_thread, closing_finishes_what_was_submitted)
{
    struct rig rig;
    rig_open(&rig, 0);
    for (int i = 0; i < 100; i++)
        submit_append(&rig);
    cr_assert_eq(rig.done, 0, "a callback ran on its caller's stack");
    disk_thread_close(rig.thread, on_closed, &rig);
    cr_assert_not(rig.closed);
    cr_assert_eq(uv_run(&rig.loop, UV_RUN_DEFAULT), 0);
    cr_assert_eq(rig.done, 100);
    rig_close(&rig);
}

static void on_failed(void *arg, struct storage_job *job)
{
    struct rig *rig = arg;
    enum lapse_code expected = rig->done == 0 ? LAPSE_FAILED_PRECONDITION : LAPSE_ABORTED;
    cr_assert_eq(job->result.code, expected, "%s", job->error.message);
    rig->done++;
    storage_job_free(job);
}

Test(disk_thread, after_a_failure_the_log_lane_answers_aborted)
{
    struct rig rig;
    rig_open(&rig, 0);
    disk_thread_close(rig.thread, on_closed, &rig);
    cr_assert_eq(uv_run(&rig.loop, UV_RUN_DEFAULT), 0);
    rig.closed = false;
    cr_assert(lapse_is_ok(disk_thread_start(&rig.loop, rig.node.log, on_failed, &rig, &rig.thread, NULL)));
    submit(&rig, job_of(STORAGE_SNAPSHOT_COMMIT, 5)); /* nothing was saved */
    submit(&rig, job_vote(3, 3));
    submit_append(&rig);
    disk_thread_close(rig.thread, on_closed, &rig);
    cr_assert_eq(uv_run(&rig.loop, UV_RUN_DEFAULT), 0);
    rig_close(&rig);
}

Test(disk_posix, a_directory_belongs_to_one_process_and_to_nobody_else)
{
    char path[64];
    struct disk *disk = NULL, *second = NULL;
    struct lapse_error error;
    make_directory(path);
    cr_assert(lapse_is_ok(disk_posix_open(path, &disk, NULL)));
    cr_assert_eq(disk_posix_open(path, &second, &error).code, LAPSE_FAILED_PRECONDITION);
    disk->ops->destroy(disk);
    cr_assert_eq(chmod(path, 0750), 0);
    cr_assert_eq(disk_posix_open(path, &second, &error).code, LAPSE_PERMISSION_DENIED);
    cr_assert_not_null(strstr(error.message, "chmod"));
    cr_assert_eq(chmod(path, 0700), 0);
    cr_assert_eq(disk_posix_open("/tmp/lapse-log-that-is-not-there", &second, &error).code, LAPSE_NOT_FOUND);
    remove_directory(path);
}

Test(disk_posix, files_do_what_the_contract_says)
{
    char path[64];
    struct disk *disk = NULL;
    struct disk_file *file = NULL;
    struct stat stat;
    uint64_t size = 0, bytes = 0;
    uint8_t back[4];
    make_directory(path);
    cr_assert(lapse_is_ok(disk_posix_open(path, &disk, NULL)));
    const struct disk_ops *ops = disk->ops;
    cr_assert_eq(ops->open(disk, "a", false, &file, NULL).code, LAPSE_NOT_FOUND);
    cr_assert(lapse_is_ok(ops->open(disk, "a", true, &file, NULL)));
    cr_assert(lapse_is_ok(ops->reserve(disk, file, 10000, NULL)));
    cr_assert(lapse_is_ok(ops->write(disk, file, 5000, "abcd", 4, NULL)));
    cr_assert(lapse_is_ok(ops->sync(disk, file, NULL)));
    cr_assert(lapse_is_ok(ops->size(disk, file, &size, NULL)));
    cr_assert_eq(size, 10000);
    cr_assert(lapse_is_ok(ops->read(disk, file, 5000, back, 4, NULL)));
    cr_assert_eq(memcmp(back, "abcd", 4), 0);
    cr_assert(lapse_is_ok(ops->truncate(disk, file, 5002, NULL)));
    cr_assert(lapse_is_ok(ops->reserve(disk, file, 6000, NULL)));
    cr_assert(lapse_is_ok(ops->read(disk, file, 5000, back, 4, NULL)));
    cr_assert_eq(memcmp(back, "ab\0\0", 4), 0);
    cr_assert_eq(ops->read(disk, file, 5998, back, 4, NULL).code, LAPSE_OUT_OF_RANGE);
    ops->close(disk, file);
    cr_assert(lapse_is_ok(ops->rename(disk, "a", "b", NULL)));
    cr_assert(lapse_is_ok(ops->sync_directory(disk, NULL)));
    int fd = open(path, O_RDONLY | O_DIRECTORY);
    cr_assert_eq(fstatat(fd, "b", &stat, 0), 0);
    cr_assert_eq(stat.st_mode & 07777, 0600);
    cr_assert_eq(symlinkat("b", fd, "link"), 0);
    cr_assert_eq(ops->open(disk, "link", false, &file, NULL).code, LAPSE_UNAVAILABLE, "a link must not be followed");
    close(fd);
    cr_assert(lapse_is_ok(ops->free_bytes(disk, &bytes, NULL)));
    cr_assert(bytes > 0);
    cr_assert_eq(ops->unlink(disk, "nothing", NULL).code, LAPSE_NOT_FOUND);
    ops->destroy(disk);
    remove_directory(path);
}
