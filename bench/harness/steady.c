#include "bench/harness/steady.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/check.h"
#include "bench/harness/pacer.h"

#define NS_PER_S 1000000000LL

struct steady_write {
    struct steady *steady;
    int64_t due_ns;
};

struct steady {
    struct system *system;
    struct bench_loop *loop;
    struct steady_options options;
    struct system_writer *writer;
    struct pacer *pacer;
    struct steady_write *writes;
    int64_t begin_ns;
    uint32_t started;
    /* Of the loop. */
    struct samples acks;
    uint64_t failed;
};

static int64_t due_of(const struct steady *steady, uint32_t i)
{
    return steady->begin_ns + (int64_t)((double)i * NS_PER_S / steady->options.rate);
}

static void on_done(void *arg, const struct lapse_error *error)
{
    struct steady_write *write = arg;
    struct steady *steady = write->steady;
    if (error == NULL)
        samples_add(&steady->acks, bench_now_ns() - write->due_ns);
    else if (error->code != LAPSE_CANCELLED)
        steady->failed++;
}

static void on_due(void *arg)
{
    struct steady *steady = arg;
    int64_t now = bench_now_ns();
    while (steady->started < steady->options.n && due_of(steady, steady->started) <= now) {
        uint32_t i = steady->started++;
        steady->writes[i] = (struct steady_write){steady, due_of(steady, i)};
        steady->system->kind->item_make(steady->writer, steady->options.first + i, 0, on_done, &steady->writes[i]);
    }
    if (steady->started < steady->options.n)
        pacer_set(steady->pacer, due_of(steady, steady->started));
}

static void begin(void *arg)
{
    struct steady *steady = arg;
    steady->begin_ns = bench_now_ns();
    steady->pacer = pacer_new(bench_loop_uv(steady->loop), on_due, steady);
    pacer_set(steady->pacer, steady->begin_ns);
}

static void end(void *arg)
{
    struct steady *steady = arg;
    pacer_close(steady->pacer);
}

lapse_result steady_start(struct system *system, struct bench_loop *loop, const struct steady_options *options,
                          struct steady **out, struct lapse_error *error)
{
    struct system_writer *writer;
    CHECK(options->rate > 0);
    lapse_result result = system->kind->writer_open(system, loop, options->node, &writer, error);
    if (!lapse_is_ok(result))
        return result;
    struct steady *steady = mem_calloc(1, sizeof *steady);
    *steady = (struct steady){.system = system, .loop = loop, .options = *options, .writer = writer};
    steady->writes = mem_calloc(options->n, sizeof *steady->writes);
    bench_loop_call(loop, begin, steady);
    *out = steady;
    return result;
}

void steady_stop(struct steady *steady, struct samples *acks, uint64_t *failed)
{
    if (steady == NULL)
        return;
    bench_loop_call(steady->loop, end, steady);
    steady->system->kind->writer_close(steady->writer); /* after this the loop is through with it */
    for (size_t i = 0; acks != NULL && i < steady->acks.n; i++)
        samples_add(acks, steady->acks.ns[i]);
    *failed += steady->failed;
    samples_free(&steady->acks);
    free(steady->writes);
    free(steady);
}
