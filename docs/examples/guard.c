/* An enforcement point in a program: keeps the grants of a scope in memory, waits until it may decide, and decides
 * once.
 *
 *   cc guard.c $(pkg-config --cflags --libs lapse) -pthread -o guard
 *   LAPSE_ENDPOINTS=... LAPSE_CERTIFICATE=... LAPSE_KEY=... LAPSE_AUTHORITIES=... ./guard SCOPE SUBJECT RESOURCE ACTION
 */
#include <inttypes.h>
#include <lapse_guard.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(const struct lapse_error *error)
{
    fprintf(stderr, "guard: %s (%s)\n", error->message, lapse_code_name(error->code));
    return 1;
}

static void on_state(void *arg, enum lapse_guard_state state, const char *message)
{
    (void)arg;
    fprintf(stderr, "guard: %s %s\n", lapse_guard_state_name(state), message);
}

static bool decide(struct lapse_guard *guard, char **words)
{
    const struct lapse_guard_query query = {.subject = words[0], .resource = words[1], .action = words[2]};
    struct lapse_guard_decision decision;
    if (lapse_guard_check(guard, &query, &decision))
        printf("permitted by %s, for %" PRId64 " ms without asking again\n", decision.grant, decision.valid_for_ms);
    else
        printf("denied: %s\n", decision.verdict);
    return decision.permit;
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: guard SCOPE SUBJECT RESOURCE ACTION\n");
        return 64;
    }
    const char *scope[] = {argv[1]};
    struct lapse_guard_options options = {.client = {.endpoints = getenv("LAPSE_ENDPOINTS"),
                                                     .certificate = getenv("LAPSE_CERTIFICATE"),
                                                     .key = getenv("LAPSE_KEY"),
                                                     .authorities = getenv("LAPSE_AUTHORITIES")},
                                          .id = "example",
                                          .scope = scope,
                                          .n_scope = 1};
    const struct lapse_guard_callbacks callbacks = {.on_state = on_state};
    struct lapse_guard *guard;
    struct lapse_error error;
    bool permitted = false;
    if (!lapse_is_ok(lapse_guard_open(&options, &callbacks, NULL, &guard, &error)))
        return fail(&error);
    lapse_result ready = lapse_guard_wait_ready(guard, 10000, &error);
    if (lapse_is_ok(ready))
        permitted = decide(guard, argv + 2);
    /* It says goodbye, so that no revocation has to wait for it. */
    lapse_guard_close(guard);
    return lapse_is_ok(ready) ? (permitted ? 0 : 2) : fail(&error);
}
