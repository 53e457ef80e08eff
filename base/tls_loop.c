/* What the TLS streams of one loop share: buffers, and the turns.
 *
 * A turn is one iteration of the loop. Streams with something to do are marked; marked streams are served twice a turn:
 *
 *   timers  pending  idle  PREPARE  poll  CHECK  closing
 *     \________writes______^          \___^
 *
 * so that all writes of the callbacks before leave together and none waits for the poll to time out. While anything is
 * marked an idle handle is active: it makes the poll return at once, which covers writes from the remaining places
 * (closing callbacks, later prepare and check handles, and outside of the loop). */
#include "base/tls_internal.h"

#include <pthread.h>
#include <stdlib.h>

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct tls_loop *registry;

static void on_idle(uv_idle_t *idle)
{
    (void)idle; /* being active is its work */
}

static void serve_marked(struct tls_loop *loop)
{
    struct tls_stream_list marked = TAILQ_HEAD_INITIALIZER(marked);
    /* Those marked meanwhile have their turn next time: nobody can keep us here. */
    TAILQ_CONCAT(&marked, &loop->dirty, dirty_entry);
    while (!TAILQ_EMPTY(&marked)) {
        struct tls_stream *stream = TAILQ_FIRST(&marked);
        TAILQ_REMOVE(&marked, stream, dirty_entry);
        stream->dirty = false;
        tls_stream_service(stream);
    }
    if (TAILQ_EMPTY(&loop->dirty))
        CHECK(uv_idle_stop(&loop->idle) == 0);
}

static void on_prepare(uv_prepare_t *prepare)
{
    serve_marked(prepare->data);
}

static void on_check(uv_check_t *check)
{
    struct tls_loop *loop = check->data;
    loop->turn++;
    loop->handshake_steps = LIMIT_HANDSHAKE_STEPS;
    serve_marked(loop);
}

static struct tls_loop *loop_new(uv_loop_t *uv)
{
    struct tls_loop *loop = mem_calloc(1, sizeof *loop);
    loop->loop = uv;
    loop->handles = 3;
    loop->handshake_steps = LIMIT_HANDSHAKE_STEPS;
    TAILQ_INIT(&loop->dirty);
    /* A record carries at most 22 bytes more than its text; a handshake flight is bounded by our own chain. */
    buf_init(&loop->output, 2 * TLS_WRITE_BYTES + LIMIT_TLS_FILE);
    CHECK(uv_prepare_init(uv, &loop->prepare) == 0 && uv_check_init(uv, &loop->check) == 0);
    CHECK(uv_idle_init(uv, &loop->idle) == 0);
    loop->prepare.data = loop->check.data = loop->idle.data = loop;
    CHECK(uv_prepare_start(&loop->prepare, on_prepare) == 0 && uv_check_start(&loop->check, on_check) == 0);
    uv_unref((uv_handle_t *)&loop->prepare);
    uv_unref((uv_handle_t *)&loop->check);
    return loop;
}

struct tls_loop *tls_loop_get(uv_loop_t *uv)
{
    CHECK(pthread_mutex_lock(&registry_lock) == 0);
    struct tls_loop *loop = registry;
    while (loop != NULL && loop->loop != uv)
        loop = loop->next;
    if (loop == NULL) {
        loop = loop_new(uv);
        loop->next = registry;
        registry = loop;
    }
    loop->users++;
    CHECK(pthread_mutex_unlock(&registry_lock) == 0);
    return loop;
}

static void on_closed(uv_handle_t *handle)
{
    struct tls_loop *loop = handle->data;
    if (--loop->handles > 0)
        return;
    buf_free(&loop->output);
    free(loop);
}

static void loop_remove(struct tls_loop *loop)
{
    struct tls_loop **at = &registry;
    while (*at != loop)
        at = &(*at)->next;
    *at = loop->next;
}

void tls_loop_put(struct tls_loop *loop)
{
    CHECK(pthread_mutex_lock(&registry_lock) == 0);
    bool last = --loop->users == 0;
    if (last)
        loop_remove(loop);
    CHECK(pthread_mutex_unlock(&registry_lock) == 0);
    if (!last)
        return;
    CHECK(TAILQ_EMPTY(&loop->dirty));
    uv_close((uv_handle_t *)&loop->prepare, on_closed);
    uv_close((uv_handle_t *)&loop->check, on_closed);
    uv_close((uv_handle_t *)&loop->idle, on_closed);
}

void tls_loop_mark(struct tls_stream *stream)
{
    struct tls_loop *loop = stream->loop;
    if (stream->dirty)
        return;
    stream->dirty = true;
    TAILQ_INSERT_TAIL(&loop->dirty, stream, dirty_entry);
    CHECK(uv_idle_start(&loop->idle, on_idle) == 0);
}

void tls_loop_unmark(struct tls_stream *stream)
{
    if (!stream->dirty)
        return;
    stream->dirty = false;
    TAILQ_REMOVE(&stream->loop->dirty, stream, dirty_entry);
}
