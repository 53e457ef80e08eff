/* A certificate's files change under the agent: the guard is told, once, when they have settled. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "client/agent/renewal.h"
#include "tests/unit/fake_guard.h"

struct fixture {
    char directory[64];
    struct agent_config config;
    struct lapse_guard guard;
    struct agent_renewal renewal;
    uv_loop_t loop;
};

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    cr_assert_geq(fputs(text, file), 0);
    cr_assert_eq(fclose(file), 0);
}

static void begin(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    snprintf(f->directory, sizeof f->directory, "/tmp/lapse-test-renewal-XXXXXX");
    cr_assert_not_null(mkdtemp(f->directory));
    snprintf(f->config.certificate, AGENT_PATH_SIZE, "%s/a.pem", f->directory);
    snprintf(f->config.key, AGENT_PATH_SIZE, "%s/a.key", f->directory);
    snprintf(f->config.authorities, AGENT_PATH_SIZE, "%s/ca.pem", f->directory);
    write_file(f->config.certificate, "certificate 1");
    write_file(f->config.key, "key 1");
    write_file(f->config.authorities, "authorities");
    fake_guard_init(&f->guard);
    CHECK(uv_loop_init(&f->loop) == 0);
    agent_renewal_start(&f->renewal, &f->loop, &f->config, &f->guard);
}

static void end(struct fixture *f)
{
    agent_renewal_stop(&f->renewal);
    CHECK(uv_run(&f->loop, UV_RUN_DEFAULT) == 0);
    CHECK(uv_loop_close(&f->loop) == 0);
    unlink(f->config.certificate);
    unlink(f->config.key);
    unlink(f->config.authorities);
    rmdir(f->directory);
}

/* Until every file was looked at once: what changes before that is no change to the one who looks. */
static void run_turns(struct fixture *f, int n)
{
    for (int i = 0; i < n; i++)
        (void)uv_run(&f->loop, UV_RUN_ONCE);
}

Test(agent_renewal, a_certificate_that_changed_is_read_anew)
{
    struct fixture f;
    begin(&f);
    run_turns(&f, 6);
    cr_assert_eq(f.guard.reloads, 0);
    write_file(f.config.certificate, "certificate two");
    while (f.guard.reloads == 0)
        run_turns(&f, 1);
    end(&f);
}

Test(agent_renewal, a_key_that_comes_later_is_not_missed)
{
    struct fixture f;
    begin(&f);
    run_turns(&f, 6);
    f.guard.reload_fails = true; /* the certificate is not that key's */
    write_file(f.config.certificate, "certificate two");
    while (f.guard.reloads == 0)
        run_turns(&f, 1);
    f.guard.reload_fails = false;
    write_file(f.config.key, "key number two");
    while (f.guard.reloads == 1)
        run_turns(&f, 1);
    end(&f);
}

Test(agent_renewal, files_that_are_gone_for_a_moment_are_waited_for)
{
    struct fixture f;
    begin(&f);
    run_turns(&f, 6);
    unlink(f.config.certificate);
    run_turns(&f, 6);
    cr_assert_eq(f.guard.reloads, 0);
    write_file(f.config.certificate, "certificate two");
    while (f.guard.reloads == 0)
        run_turns(&f, 1);
    end(&f);
}
