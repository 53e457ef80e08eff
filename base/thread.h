/* What a thread tells the kernel about itself. */
#ifndef LAPSE_BASE_THREAD_H
#define LAPSE_BASE_THREAD_H

/* The calling thread works in short bursts that others wait for. Its share of a processor stays what it was, but the
 * kernel gives it in many short turns rather than a few long ones, so that it runs soon after it has been woken while
 * others fill all processors; and who gives its turn away (thread_let_others) gives away little. Linux 6.12 or later,
 * and only where it is allowed: without it all works, with more waiting on a full machine. Any thread; threads that it
 * starts inherit it. */
void thread_take_short_turns(void);

/* Nobody waits for what the calling thread does: where processors are short, the others come first (it keeps about a
 * tenth of an equal share). For good: a priority that was given up can't be taken back. Where it must not hold a lock
 * for long that others need, it must not hold it at all: it may be interrupted with it in its hand. */
void thread_give_way(void);

/* In the midst of long work: whoever waits for this processor runs first. Cheap when nobody does. */
void thread_let_others(void);

#endif
