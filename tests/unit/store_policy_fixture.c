#include "tests/unit/store_policy_fixture.h"

#include <criterion/criterion.h>

static void hear(void *arg, const struct store_event *event)
{
    struct heard *heard = arg;
    if (heard->n < 64)
        heard->types[heard->n] = event->type;
    heard->n++;
    if (event->object == NULL || event->object->kind != OBJECT_POLICY)
        return;
    buf_free(&heard->policy);
    buf_init(&heard->policy, 2 * LIMIT_OBJECT_BYTES);
    cr_assert(lapse_is_ok(buf_append(&heard->policy, event->object->value.data, event->object->value.len)));
}

struct store_outcome fixture_apply_heard(struct store *store, struct command command, int64_t time_ms,
                                         struct heard *heard)
{
    struct store_outcome outcome;
    store_apply(store, &command, time_ms, hear, heard, &outcome);
    return outcome;
}

struct command fixture_applying(const struct policy *policy)
{
    static struct buf bytes;
    buf_free(&bytes);
    buf_init(&bytes, LIMIT_OBJECT_BYTES);
    cr_assert(lapse_is_ok(policy_encode(policy, &bytes)));
    return (struct command){.type = COMMAND_APPLY_POLICY, .principal = S("user:ops"), .value = buf_slice(&bytes)};
}

struct command fixture_removing(const char *name)
{
    return (struct command){
        .type = COMMAND_REMOVE_POLICY, .principal = S("user:ops"), .name = S(name), .text = S("not needed")};
}

struct grant fixture_get(const struct store *store, uint64_t number)
{
    struct grant grant = {0};
    cr_assert(store_get(store, fixture_id(number), &grant));
    return grant;
}

struct policy fixture_open_policy(struct policy_rule *rule)
{
    static struct slice requesters = {(const uint8_t *)"user:req*", 9}, everything = {(const uint8_t *)"*", 1};
    *rule = (struct policy_rule){
        .name = S("r"), .requesters = {&requesters, 1}, .subjects = {&everything, 1}, .resources = {&everything, 1}};
    return (struct policy){.name = S("p"), .rules = rule, .n_rules = 1};
}
