#include "client/cli/filter.h"

#include <string.h>

static enum lapse_grant_state state_of(const char *name)
{
    int state = LAPSE_STATE_PENDING;
    while (state < LAPSE_STATE_LAPSED && strcmp(lapse_grant_state_name((enum lapse_grant_state)state), name) != 0)
        state++;
    return (enum lapse_grant_state)state;
}

void cli_filter_take(const struct cli *cli, struct cli_filter *out)
{
    char **names;
    size_t n = cli_list(cli, "state", &names);
    out->filter = (struct lapse_filter){.subject = cli_text(cli, "subject"),
                                        .resource = cli_text(cli, "resource"),
                                        .requester = cli_text(cli, "requester"),
                                        .approver = cli_text(cli, "approver"),
                                        .ticket = cli_text(cli, "ticket"),
                                        .policy = cli_text(cli, "policy"),
                                        .parent = cli_text(cli, "parent"),
                                        .policy_version = (uint64_t)cli_number(cli, "policy-version"),
                                        .binding = cli_text(cli, "binding"),
                                        .label = cli_text(cli, "label"),
                                        .person = cli_text(cli, "person"),
                                        .states = out->states};
    for (size_t i = 0; i < n; i++) {
        enum lapse_grant_state state = state_of(names[i]);
        bool known = false;
        for (size_t j = 0; j < out->filter.n_states; j++)
            known = known || out->states[j] == state;
        if (!known)
            out->states[out->filter.n_states++] = state;
    }
    cli_list_free(names, n);
}
