/* The flags that select grants, as a filter. */
#ifndef LAPSE_CLIENT_CLI_FILTER_H
#define LAPSE_CLIENT_CLI_FILTER_H

#include "client/cli/cli.h"

#define CLI_STATES_MAX 10

/* Borrows from the command line; `filter.states` points into the struct, which must not be copied. */
struct cli_filter {
    struct lapse_filter filter;
    enum lapse_grant_state states[CLI_STATES_MAX];
};

void cli_filter_take(const struct cli *cli, struct cli_filter *out);

#endif
