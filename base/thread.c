#include "base/thread.h"

#include <sched.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The shortest that the kernel takes. */
#define TURN_NS (100ull * 1000)
#define GIVE_WAY_NICE 10

/* The kernel's struct sched_attr, in the first form in which it was published; C libraries differ in whether they have
 * it. */
struct attributes {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns; /* of threads that are not real-time: how long a turn may be */
    uint64_t deadline_ns, period_ns;
};

void thread_take_short_turns(void)
{
#if defined SYS_sched_getattr && defined SYS_sched_setattr
    struct attributes mine = {.size = sizeof mine};
    if (syscall(SYS_sched_getattr, 0, &mine, sizeof mine, 0) != 0 || mine.policy != SCHED_OTHER)
        return; /* not known, or somebody has decided otherwise */
    mine.runtime_ns = TURN_NS;
    (void)syscall(SYS_sched_setattr, 0, &mine, 0);
#endif
}

void thread_give_way(void)
{
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), GIVE_WAY_NICE);
}

void thread_let_others(void)
{
    (void)sched_yield();
}
