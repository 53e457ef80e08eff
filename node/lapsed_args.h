/* The arguments of `lapsed` and its subcommands: "--flag value", "--flag=value" and switches, in any order. */
#ifndef LAPSE_NODE_LAPSED_ARGS_H
#define LAPSE_NODE_LAPSED_ARGS_H

#include "base/result.h"

/* A flag has a `value` or is a switch that sets `on`. */
struct arg_flag {
    const char *name; /* with its hyphens */
    const char **value;
    bool *on;
};

/* Arguments that no flag took, for config_load. */
struct arg_rest {
    char **args; /* the caller's, room for all */
    int n;
};

/* Fills in what the flags point to; the last entry has no name. With `rest` unknown flags, each with its value, are
 * kept there; without, they are errors. INVALID_ARGUMENT says which argument is wrong, and which name may have been
 * meant. */
lapse_result args_parse(int n, char **args, const struct arg_flag *flags, struct arg_rest *rest,
                        struct lapse_error *error) LAPSE_MUST_USE;

#endif
