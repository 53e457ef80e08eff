#include "store/governance.h"

lapse_result tokens_validate(const struct command *command, struct lapse_error *error)
{
    (void)command;
    return lapse_fail(error, LAPSE_UNIMPLEMENTED, "not yet");
}

lapse_result tokens_apply(struct apply *apply)
{
    (void)apply;
    return lapse_failed(LAPSE_UNIMPLEMENTED);
}

uint32_t tokens_find(const struct store *store, struct slice sha256)
{
    (void)store;
    (void)sha256;
    return 0;
}

void tokens_free(struct store *store)
{
    (void)store;
}
