/* Long answers take turns. A page of grants costs milliseconds, and hundreds may be asked for at once; whoever computed
 * them all in one iteration of the core's loop would be silent for longer than an election timeout, and lose its
 * leadership to a reader. So they wait in a line, and each iteration spends only a little on it. */
#include "base/check.h"
#include "node/core_internal.h"

/* At most this much of an iteration; a heartbeat goes out every 10 ms. */
#define TURN_NS (2ull * 1000 * 1000)
/* More than a full house of watchers that all fell off the ring. */
#define WAITING_MAX 16384u

static struct core_call *take_first(struct core *core)
{
    struct mail *mail = core->line_head;
    core->line_head = mail->next;
    if (core->line_head == NULL)
        core->line_tail = &core->line_head;
    core->line_length--;
    return CONTAINER_OF(mail, struct core_call, mail);
}

static void on_turn(uv_idle_t *turns)
{
    struct core *core = turns->data;
    uint64_t until_ns = uv_hrtime() + TURN_NS;
    while (core->line_head != NULL && uv_hrtime() < until_ns)
        core_call_run_long(take_first(core));
    if (core->line_head == NULL)
        CHECK(uv_idle_stop(turns) == 0);
}

void core_turns_init(struct core *core)
{
    CHECK(uv_idle_init(core->loop, &core->turns) == 0);
    core->turns.data = core;
    core->line_tail = &core->line_head;
}

void core_turns_add(struct core_call *call)
{
    struct core *core = call->core;
    if (core->line_length == WAITING_MAX) {
        core_call_refuse(call, LAPSE_RESOURCE_EXHAUSTED,
                         "this node has too many long answers to give: try again, or ask another one");
        return;
    }
    call->mail.next = NULL;
    *core->line_tail = &call->mail;
    core->line_tail = &call->mail.next;
    core->line_length++;
    CHECK(uv_idle_start(&core->turns, on_turn) == 0);
}

void core_turns_end(struct core *core)
{
    while (core->line_head != NULL)
        core_call_refuse(take_first(core), LAPSE_UNAVAILABLE, "this node is stopping: ask another one");
    CHECK(uv_idle_stop(&core->turns) == 0);
}
