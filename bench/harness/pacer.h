/* Calls back at given moments, to a few microseconds: uv_timer's milliseconds would be seen in what is measured.
 * Belongs to one loop; all functions on its thread. */
#ifndef LAPSE_BENCH_HARNESS_PACER_H
#define LAPSE_BENCH_HARNESS_PACER_H

#include <stdint.h>
#include <uv.h>

struct pacer;

/* `due` runs on the loop's thread, never on the caller's stack. */
struct pacer *pacer_new(uv_loop_t *loop, void (*due)(void *arg), void *arg);
/* Calls once at `at_ns` (bench_now_ns; a moment that has passed: soon), instead of at any moment set before. */
void pacer_set(struct pacer *pacer, int64_t at_ns);
/* `due` isn't called any more; frees in a later iteration. Accepts NULL. */
void pacer_close(struct pacer *pacer);

#endif
