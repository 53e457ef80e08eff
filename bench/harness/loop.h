/* A thread with a libuv loop of its own. A scenario has two of them: the *writers'*, whose connections change items,
 * and the *watchers'*, whose connections are told. The scenario itself runs on the main thread and blocks.
 *
 *   scenario thread --bench_loop_call (waits)--> loop thread: connections, time stamps, samples
 *
 * Time stamps are taken on the loop that sends or receives, never by the scenario's thread. */
#ifndef LAPSE_BENCH_HARNESS_LOOP_H
#define LAPSE_BENCH_HARNESS_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct bench_loop;

/* Starts the thread; `name` (up to 15 characters) is what top and perf show. */
struct bench_loop *bench_loop_start(const char *name);
/* Ends the thread once every handle of the loop but its own is closed, so close those first. Accepts NULL. */
void bench_loop_stop(struct bench_loop *loop);

/* The loop, for code that runs on its thread. */
uv_loop_t *bench_loop_uv(struct bench_loop *loop);
/* Runs work(arg) on the loop's thread and returns when it has returned. From any other thread. */
void bench_loop_call(struct bench_loop *loop, void (*work)(void *arg), void *arg);

/* CLOCK_MONOTONIC, nanoseconds: the one clock of all measurements. */
int64_t bench_now_ns(void);

/* Something that several callbacks complete and the scenario waits for. Any thread. */
struct bench_gate;
struct bench_gate *bench_gate_new(void);
void bench_gate_free(struct bench_gate *gate);
/* `need` more steps have to come. */
void bench_gate_expect(struct bench_gate *gate, uint32_t need);
void bench_gate_step(struct bench_gate *gate);
/* Waits until all have come: true. False after `patience_ms`, or when a signal asked the program to end. */
bool bench_gate_wait(struct bench_gate *gate, uint32_t patience_ms);

/* True once SIGINT or SIGTERM came: scenarios stop, and report what they have as partial. */
bool bench_interrupted(void);
void bench_catch_signals(void);

#endif
