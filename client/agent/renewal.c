/* See renewal.h. Certificate and key are two files, so for a moment they don't belong together: they are read when none
 * of them has changed for a while. What can't be used changes nothing, and is tried again with the next change. Files
 * are looked at by name, not by inotify: secrets are often mounted as links that are exchanged. */
#include "client/agent/renewal.h"

#include "base/check.h"

#define LOOK_MS 2000
#define SETTLE_MS 500

void agent_renewal_now(struct agent_renewal *renewal)
{
    struct lapse_error error;
    if (lapse_is_ok(lapse_guard_reload(renewal->guard, &error)))
        log_info("the certificate was read anew");
    else
        log_error("the certificate can't be read anew; the one in use stays", LOG_STR("error", error.message));
}

static void on_settled(uv_timer_t *timer)
{
    agent_renewal_now(timer->data);
}

static void on_change(uv_fs_poll_t *file, int status, const uv_stat_t *before, const uv_stat_t *after)
{
    struct agent_renewal *renewal = file->data;
    (void)before, (void)after;
    if (status == 0) /* else it is gone, for now */
        CHECK(uv_timer_start(&renewal->settle, on_settled, SETTLE_MS, 0) == 0);
}

void agent_renewal_start(struct agent_renewal *renewal, uv_loop_t *loop, const struct agent_config *config,
                         struct lapse_guard *guard)
{
    const char *const paths[] = {config->certificate, config->key, config->authorities};
    renewal->guard = guard;
    renewal->settle.data = renewal;
    CHECK(uv_timer_init(loop, &renewal->settle) == 0);
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        renewal->files[i].data = renewal;
        CHECK(uv_fs_poll_init(loop, &renewal->files[i]) == 0);
        CHECK(uv_fs_poll_start(&renewal->files[i], on_change, paths[i], LOOK_MS) == 0);
    }
}

void agent_renewal_stop(struct agent_renewal *renewal)
{
    for (size_t i = 0; i < ARRAY_LEN(renewal->files); i++)
        uv_close((uv_handle_t *)&renewal->files[i], NULL);
    uv_close((uv_handle_t *)&renewal->settle, NULL);
}
