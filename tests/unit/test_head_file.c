/* The head of the audit log that the agent keeps over its restarts. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/wire.h"
#include "client/agent/head_file.h"
#include "client/audit_schema.h"

static char directory[64], path[128];
static struct agent_pool *pool;
static struct head_file *file;
static struct lapse_error error;

static void start(void)
{
    strcpy(directory, "/tmp/lapse-head-XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/" HEAD_FILE_NAME, directory);
    pool = agent_pool_new(2);
}

static void close_file(void)
{
    agent_pool_end(pool);
    head_file_free(file);
    agent_pool_free(pool);
    file = NULL;
    pool = agent_pool_new(2);
}

static void stop(void)
{
    char command[128];
    agent_pool_end(pool);
    head_file_free(file);
    agent_pool_free(pool);
    snprintf(command, sizeof command, "rm -r %s", directory);
    cr_assert_eq(system(command), 0);
}

TestSuite(head_file, .init = start, .fini = stop);

static lapse_result open_file(bool accept_new)
{
    return head_file_open(directory, accept_new, pool, &file, &error);
}

static void make_head(uint64_t revision, struct buf *out)
{
    static const uint8_t bytes[64] = {7, 1};
    const struct lapse_signed_head head = {.cluster = "01J",
                                           .epoch = 3,
                                           .revision = revision,
                                           .hash = {bytes, 32},
                                           .time_ms = 1700000000000,
                                           .node_id = 2,
                                           .public_key = {bytes, 32},
                                           .signature = {bytes, 64}};
    buf_init(out, LAPSE_GUARD_HEAD_MAX);
    cr_assert(lapse_is_ok(codec_encode(&schema_signed_head, &head, out)));
}

static void keep(uint64_t revision)
{
    struct buf head;
    make_head(revision, &head);
    head_file_keep(file, (struct lapse_bytes){head.data, head.len});
    buf_free(&head);
}

static void assert_kept(uint64_t revision)
{
    struct buf head;
    make_head(revision, &head);
    struct lapse_bytes kept = head_file_kept(file);
    cr_assert_eq(kept.len, head.len);
    cr_assert_arr_eq(kept.data, head.data, head.len);
    buf_free(&head);
}

Test(head_file, what_is_kept_is_there_for_the_next_process_byte_by_byte)
{
    struct stat status;
    cr_assert(lapse_is_ok(open_file(false)), "%s", error.message);
    cr_assert_eq(head_file_kept(file).len, 0);
    for (uint64_t revision = 1; revision <= 200; revision++)
        keep(revision);
    close_file();
    cr_assert(lapse_is_ok(open_file(false)), "%s", error.message);
    assert_kept(200);
    cr_assert_eq(stat(path, &status), 0);
    cr_assert_eq(status.st_mode & 0777, 0600);
}

Test(head_file, what_is_there_and_no_head_is_refused)
{
    FILE *made = fopen(path, "w");
    fputs("{\"key\":{}}\n", made);
    fclose(made);
    cr_assert_eq(open_file(false).code, LAPSE_FAILED_PRECONDITION);
    cr_assert_not_null(strstr(error.message, path));
}

Test(head_file, a_new_history_puts_the_old_head_aside)
{
    cr_assert(lapse_is_ok(open_file(false)));
    keep(9);
    close_file();
    cr_assert(lapse_is_ok(open_file(true)), "%s", error.message);
    cr_assert_eq(head_file_kept(file).len, 0);
    cr_assert_eq(access(path, F_OK), -1);
    DIR *entries = opendir(directory);
    unsigned aside = 0;
    for (struct dirent *entry = readdir(entries); entry != NULL; entry = readdir(entries))
        aside += strncmp(entry->d_name, HEAD_FILE_NAME ".before-", sizeof HEAD_FILE_NAME ".before-" - 1) == 0;
    closedir(entries);
    cr_assert_eq(aside, 1, "it is evidence");
    close_file();
    cr_assert(lapse_is_ok(open_file(true)), "nothing is there to put aside: %s", error.message);
}

Test(head_file, a_directory_that_can_not_be_is_said)
{
    cr_assert_eq(head_file_open("/proc/nowhere", false, pool, &file, &error).code, LAPSE_UNAVAILABLE);
    cr_assert_not_null(strstr(error.message, "state-directory"));
}
