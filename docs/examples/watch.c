/* Prints the grants below a resource, then each change, for as many events as asked. The client reconnects by itself;
 * after on_resync what was printed before no longer counts.
 *
 *   cc watch.c $(pkg-config --cflags --libs lapse) -pthread -o watch
 *   LAPSE_ENDPOINTS=... LAPSE_CERTIFICATE=... LAPSE_KEY=... LAPSE_AUTHORITIES=... ./watch 'db/prod/' EVENTS   (with an
 * asterisk behind the slash) */
#include <inttypes.h>
#include <lapse.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

struct watching {
    long left;
    sem_t done;
    int code;
};

static void on_event(void *arg, uint64_t epoch, const struct lapse_event *event)
{
    struct watching *w = arg;
    if (w->left == 0)
        return;
    printf("%" PRIu64 "/%" PRIu64 " %s %s %s\n", epoch, event->revision, lapse_event_type_name(event->type),
           event->grant.id, event->grant.resource);
    fflush(stdout);
    if (--w->left == 0)
        sem_post(&w->done);
}

static void on_resync(void *arg, const char *reason)
{
    (void)arg;
    printf("forget what was above: %s\n", reason);
}

static void on_snapshot_grant(void *arg, const struct lapse_grant *grant)
{
    (void)arg;
    printf("%s is %s: %s on %s\n", grant->id, lapse_grant_state_name(grant->state), grant->subject, grant->resource);
}

static void on_snapshot_end(void *arg, uint64_t epoch, uint64_t revision, int64_t time_ms)
{
    struct watching *w = arg;
    (void)time_ms;
    printf("as of %" PRIu64 "/%" PRIu64 "\n", epoch, revision);
    if (w->left == 0)
        sem_post(&w->done);
}

static void on_end(void *arg, const struct lapse_error *why)
{
    struct watching *w = arg;
    if (why->code != LAPSE_CANCELLED) {
        fprintf(stderr, "watch: %s\n", why->message);
        w->code = 1;
        sem_post(&w->done);
    }
}

int main(int argc, char **argv)
{
    struct lapse_client_options options = {.endpoints = getenv("LAPSE_ENDPOINTS"),
                                           .certificate = getenv("LAPSE_CERTIFICATE"),
                                           .key = getenv("LAPSE_KEY"),
                                           .authorities = getenv("LAPSE_AUTHORITIES")};
    static const struct lapse_watch_callbacks callbacks = {.on_event = on_event,
                                                           .on_resync = on_resync,
                                                           .on_snapshot_grant = on_snapshot_grant,
                                                           .on_snapshot_end = on_snapshot_end,
                                                           .on_end = on_end};
    struct lapse_client *client;
    struct lapse_watch *watch;
    struct lapse_error error;

    if (argc != 3) {
        fprintf(stderr, "Usage: watch RESOURCE EVENTS\n");
        return 64;
    }
    if (!lapse_is_ok(lapse_client_new(&options, &client, &error))) {
        fprintf(stderr, "watch: %s\n", error.message);
        return 1;
    }
    struct watching w = {.left = strtol(argv[2], NULL, 10)};
    struct lapse_watch_options what = {.scope = {.resource = argv[1]}, .snapshot = true};
    sem_init(&w.done, 0, 0);
    if (!lapse_is_ok(lapse_watch_start(client, &what, &callbacks, &w, &watch, &error))) {
        fprintf(stderr, "watch: %s\n", error.message);
        lapse_client_free(client);
        return 1;
    }
    sem_wait(&w.done);
    lapse_watch_stop(watch);
    lapse_client_free(client); /* after this no callback uses `w` any more */
    sem_destroy(&w.done);
    return w.code;
}
