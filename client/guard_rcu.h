/* Read-copy-update, as the guard uses it: checks read without locks, and what a change took out of their sight is freed
 * when no check that might still see it is under way.
 *
 *   any thread            guard_read_begin ... reads ... guard_read_end
 *   the guard's thread    unlinks, then guard_reaper_defer
 *   the reaper's thread   every few milliseconds: waits for the checks of that moment to end, frees
 *
 * The flavour is liburcu-bp, whose readers need not register (docs/decisions/0011-guard-cache.md). A thread of our own
 * instead of call_rcu's: that one can't be ended, and a library must be able to leave its process. */
#ifndef LAPSE_CLIENT_GUARD_RCU_H
#define LAPSE_CLIENT_GUARD_RCU_H

#include <stdatomic.h>
#include <urcu/urcu-bp.h>

#include "base/bytes.h"

#if defined(__SANITIZE_THREAD__)
#define GUARD_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define GUARD_TSAN 1
#endif
#endif

/* ThreadSanitizer can't see that a grace period orders a reader's end before what follows it: it is told here. */
#ifdef GUARD_TSAN
void __tsan_acquire(void *address);
void __tsan_release(void *address);
extern char guard_grace;
#define GUARD_GRACE_BEFORE() __tsan_release(&guard_grace)
#define GUARD_GRACE_AFTER() __tsan_acquire(&guard_grace)
#else
#define GUARD_GRACE_BEFORE() ((void)0)
#define GUARD_GRACE_AFTER() ((void)0)
#endif

static inline void guard_read_begin(void)
{
    urcu_bp_read_lock();
}

static inline void guard_read_end(void)
{
    GUARD_GRACE_BEFORE();
    urcu_bp_read_unlock();
}

/* Waits until all that were reading have ended. Not while reading. */
static inline void guard_grace_wait(void)
{
    urcu_bp_synchronize_rcu();
    GUARD_GRACE_AFTER();
}

/* Forks of this process, counted in their children: what was made under another number belongs to the parent. */
extern _Atomic(uint32_t) guard_forks;

static inline uint32_t guard_process(void)
{
    return atomic_load_explicit(&guard_forks, memory_order_relaxed);
}

/* Embedded in what is freed later. */
struct guard_garbage {
    struct guard_garbage *next;
    void (*release)(struct guard_garbage *garbage); /* on the reaper's thread */
};

struct guard_reaper;

/* Starts the thread, which takes no signals; from the first one on, forks are counted. RESOURCE_EXHAUSTED. */
lapse_result guard_reaper_new(struct guard_reaper **reaper, struct lapse_error *error) LAPSE_MUST_USE;
/* Releases all that was given, and ends the thread. Nobody reads any more. Accepts NULL. */
void guard_reaper_free(struct guard_reaper *reaper);
/* Nobody finds `garbage` any more who begins to read now. Any thread. */
void guard_reaper_defer(struct guard_reaper *reaper, struct guard_garbage *garbage,
                        void (*release)(struct guard_garbage *garbage));

#endif
