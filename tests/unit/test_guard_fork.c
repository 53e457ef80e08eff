/* A guard's process forks: the child has the cache and the promise, but nobody who hears of revocations. Whatever it
 * does with them, it must permit nothing; and its parent must not notice. */
#include <sys/wait.h>

#include "tests/unit/guard_fixture.h"

/* Runs in a child; its result is the exit code. */
static int in_child(struct fixture *f, int (*child)(struct fixture *f))
{
    int status = 0;
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0)
        _exit(child(f));
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

enum { DENIED, PERMITTED, BAD_VERDICT, NO_ERROR };

static int check_in_child(struct fixture *f)
{
    struct lapse_guard_query query = {"user:dev1@example.com", "db/prod/orders", "read", NULL, {NULL, 0}, NULL, {NULL, 0}};
    struct lapse_guard_decision decision;
    if (lapse_guard_check(f->guard, &query, &decision))
        return PERMITTED;
    return strcmp(decision.verdict, "FAILED") == 0 ? DENIED : BAD_VERDICT;
}

Test(guard_fork, a_child_permits_nothing_by_the_promise_that_it_inherited)
{
    struct fixture f;
    begin(&f);
    cr_assert(permits(&f));
    cr_assert_eq(in_child(&f, check_in_child), DENIED);
    ready(&f);
    cr_assert(permits(&f), "the parent goes on");
    end(&f);
}

static int use_in_child(struct fixture *f)
{
    struct lapse_guard_query query = {"user:dev1@example.com", "db/prod/orders", "spend", NULL, {NULL, 0}, NULL, {NULL, 0}};
    struct lapse_guard_decision decision = {.permit = false};
    struct lapse_error error;
    lapse_result result = lapse_guard_use(f->guard, &query, 1000, &decision, &error);
    if (decision.permit)
        return PERMITTED;
    return result.code == LAPSE_FAILED_PRECONDITION ? DENIED : NO_ERROR;
}

Test(guard_fork, a_child_has_none_of_the_uses_that_are_left_of_a_share)
{
    struct fixture f;
    struct lapse_guard_query query = {"user:dev1@example.com", "db/prod/orders", "spend", NULL, {NULL, 0}, NULL, {NULL, 0}};
    struct lapse_guard_decision decision;
    struct lapse_error error;
    prepare(&f);
    f.options.use_share = 4;
    fake_edge_put(f.edge, &(struct fake_grant){.number = 2, .action = "spend", .max_uses = 10, .state = GRANT_ACTIVE});
    open_guard(&f);
    ready(&f);
    cr_assert(lapse_is_ok(lapse_guard_use(f.guard, &query, 60000, &decision, &error)));
    cr_assert(decision.permit);
    cr_assert_eq(in_child(&f, use_in_child), DENIED);
    end(&f);
}

static int call_all_in_child(struct fixture *f)
{
    struct lapse_guard_session *session;
    struct lapse_guard_status status;
    struct lapse_error error;
    if (lapse_guard_wait_ready(f->guard, 60000, &error).code != LAPSE_FAILED_PRECONDITION ||
        lapse_guard_wait_revision(f->guard, UINT64_MAX, 60000, &error).code != LAPSE_FAILED_PRECONDITION ||
        lapse_guard_reload(f->guard, &error).code != LAPSE_FAILED_PRECONDITION ||
        lapse_guard_session_begin(f->guard, fake_edge_id(1), "", NULL, &session, &error).code !=
            LAPSE_FAILED_PRECONDITION)
        return NO_ERROR;
    lapse_guard_get_status(f->guard, &status);
    if (status.state != LAPSE_GUARD_FAILED || strstr(status.message, "forked") == NULL)
        return BAD_VERDICT;
    lapse_guard_close(f->guard);
    return DENIED;
}

/* The parent's guard may hold any of its locks at the moment of the fork. */
Test(guard_fork, no_call_of_a_child_waits_for_threads_that_it_does_not_have)
{
    struct fixture f;
    begin(&f);
    pthread_mutex_lock(&f.guard->lock);
    cr_assert_eq(in_child(&f, call_all_in_child), DENIED);
    pthread_mutex_unlock(&f.guard->lock);
    ready(&f);
    cr_assert(permits(&f));
    end(&f);
}

/* A sanitizer's allocator is not made for forks: its locks may be held by threads that the child doesn't have, and a
 * new thread allocates. Then the child checks on the thread that it has. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static void *check_in_thread(void *arg)
{
    return check_in_child(arg) == DENIED ? arg : NULL;
}

/* A thread's first check tells liburcu of it, under a lock of liburcu's. */
static int check_in_thread_of_child(struct fixture *f)
{
    pthread_t thread;
    void *answer = NULL;
    if (SANITIZED)
        return check_in_child(f);
    if (pthread_create(&thread, NULL, check_in_thread, f) != 0 || pthread_join(thread, &answer) != 0)
        return NO_ERROR;
    return answer == f ? DENIED : PERMITTED;
}

static void *read_for_good(void *arg)
{
    struct fixture *f = arg;
    bool over = false;
    while (!over) {
        (void)permits(f);
        pthread_mutex_lock(&f->seen.lock);
        over = f->seen.n_ends == UINT32_MAX;
        pthread_mutex_unlock(&f->seen.lock);
    }
    return NULL;
}

/* Threads of the parent are in the middle of a check then, and the reaper in the middle of a grace period. */
Test(guard_fork, a_child_of_a_busy_process_is_denied_at_once)
{
    struct fixture f;
    pthread_t reader;
    begin(&f);
    cr_assert_eq(pthread_create(&reader, NULL, read_for_good, &f), 0);
    for (int i = 0; i < 50; i++) {
        fake_edge_put(f.edge, &(struct fake_grant){.number = 5, .action = "drop", .state = GRANT_ACTIVE});
        cr_assert_eq(in_child(&f, check_in_thread_of_child), DENIED);
    }
    SET(&f.seen, n_ends, UINT32_MAX);
    pthread_join(reader, NULL);
    ready(&f);
    cr_assert(permits(&f));
    end(&f);
}
