/* The agent's local socket: what is said on it, and which processes belong together. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/agent/local_message.h"
#include "client/agent/local_processes.h"

/* ---- Messages */

static bool parse(const char *text, struct local_request *request, struct lapse_error *error)
{
    return lapse_is_ok(local_request_parse(slice_str(text), request, error));
}

Test(agent_local, a_session_is_begun_with_all_that_is_said)
{
    struct local_request request;
    struct lapse_error error;
    cr_assert(parse("{\"op\":\"session_begin\",\"subject\":\"user:a\",\"resource\":\"host/b\",\"action\":\"sudo\","
                    "\"grant\":\"g\",\"description\":\"d\",\"end_processes\":true,\"address\":\"192.0.2.1\"}",
                    &request, &error),
              "%s", error.message);
    cr_assert_eq(request.op, LOCAL_SESSION_BEGIN);
    cr_assert_str_eq(request.question.subject, "user:a");
    cr_assert_str_eq(request.question.address, "192.0.2.1");
    cr_assert_str_eq(request.grant, "g");
    cr_assert_str_eq(request.description, "d");
    cr_assert(request.end_processes);
}

Test(agent_local, what_is_not_understood_is_refused)
{
    static const char *const wrong[] = {
        "",
        "1",
        "{\"op\":\"chec\"}",
        "{\"op\":\"check\",\"end_processes\":true}",
        "{\"op\":\"check\",\"subject\":1}",
        "{\"op\":\"session_begin\",\"end_processes\":1}",
        "{\"op\":\"session_end\",\"session\":\"a\",\"subject\":\"user:a\"}",
        "{\"op\":\"session_end\",\"session\":\"0123456789012345678901234567890123\"}",
        "{\"op\":\"check\"} {}",
    };
    struct local_request request;
    struct lapse_error error;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        cr_assert_not(parse(wrong[i], &request, &error), "%s was taken", wrong[i]);
        cr_assert_eq(error.code, LAPSE_INVALID_ARGUMENT);
    }
}

/* ---- Processes */

static bool is_marked(const struct process_table *table, pid_t pid)
{
    const struct process *process = process_table_find(table, pid);
    return process != NULL && process->counted;
}

Test(agent_local, descendants_are_found_at_any_depth)
{
    struct process rows[] = {{.pid = 5, .parent = 1, .start = 1}, {.pid = 6, .parent = 9, .start = 4},
                             {.pid = 7, .parent = 1, .start = 1}, {.pid = 8, .parent = 5, .start = 2},
                             {.pid = 9, .parent = 8, .start = 3}, {.pid = 10, .parent = 7, .start = 3}};
    struct process_table table = {.rows = rows, .n = 6, .capacity = 6};
    process_table_find(&table, 5)->counted = true;
    process_table_mark(&table);
    cr_assert(is_marked(&table, 8) && is_marked(&table, 9) && is_marked(&table, 6));
    cr_assert_not(is_marked(&table, 7) || is_marked(&table, 10));
    process_table_unmark(&table);
    cr_assert_not(is_marked(&table, 5) || is_marked(&table, 6));
}

Test(agent_local, a_child_that_is_older_than_its_parent_is_none)
{
    struct process rows[] = {{.pid = 5, .parent = 1, .start = 9}, {.pid = 6, .parent = 5, .start = 8}};
    struct process_table table = {.rows = rows, .n = 2, .capacity = 2};
    rows[0].counted = true;
    process_table_mark(&table);
    cr_assert_not(is_marked(&table, 6), "a process would be killed that only has a number for its parent");
}

static pid_t start_sleeper(void)
{
    pid_t pid = fork();
    if (pid == 0)
        for (;;)
            (void)pause();
    return pid;
}

Test(agent_local, a_handle_is_of_this_process_and_no_other)
{
    struct process process;
    struct process_handle handle;
    pid_t pid = start_sleeper();
    cr_assert(process_read(pid, &process));
    cr_assert_eq(process.parent, getpid());
    process.start++;
    cr_assert_not(process_open(&process, &handle), "another process that had this number was taken for this one");
    process.start--;
    cr_assert(process_open(&process, &handle));
    cr_assert(process_is_alive(&handle));
    cr_assert(process_signal(&handle, SIGKILL));
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
    cr_assert_not(process_is_alive(&handle));
    cr_assert(process_signal(&handle, SIGKILL), "a process that has ended is none to fail on");
    process_close(&handle);
    cr_assert_not(process_open(&process, &handle));
}

Test(agent_local, the_table_has_children_and_says_who_is_dead)
{
    struct process_table table = {0};
    struct lapse_error error;
    siginfo_t info;
    pid_t living = start_sleeper(), dead = start_sleeper();
    cr_assert_eq(kill(dead, SIGKILL), 0);
    cr_assert_eq(waitid(P_PID, (id_t)dead, &info, WEXITED | WNOWAIT), 0);
    cr_assert(lapse_is_ok(process_table_read(&table, &error)));
    process_table_find(&table, getpid())->counted = true;
    process_table_mark(&table);
    cr_assert(is_marked(&table, living) && !process_table_find(&table, living)->zombie);
    cr_assert(is_marked(&table, dead) && process_table_find(&table, dead)->zombie);
    process_table_free(&table);
    cr_assert_eq(kill(living, SIGKILL), 0);
    while (wait(NULL) > 0) {
    }
}
