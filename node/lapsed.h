/* What the files of the `lapsed` program share. */
#ifndef LAPSE_NODE_LAPSED_H
#define LAPSE_NODE_LAPSED_H

#include "node/node.h"

/* The exit code that stands for a failure (sysexits.h; lapsed.8 lists them). */
int lapsed_exit_code(enum lapse_code code);
/* Says on standard error what went wrong and returns its exit code. */
int lapsed_fail(const struct lapse_error *error);
/* The same for wrong use, with the way to the help of `command` (NULL: the program's own): EX_USAGE. */
int lapsed_misused(const char *command, const struct lapse_error *error);

/* The subcommands. `args` stand behind the command's name. */
int lapsed_init(int n, char **args);
int lapsed_join(int n, char **args);
int lapsed_verify(int n, char **args);
/* Without a subcommand: the daemon, and what looks at its configuration. */
int lapsed_run(int n, char **args);
extern const char lapsed_init_help[], lapsed_join_help[], lapsed_verify_help[], lapsed_run_help[];

/* What is done once the node serves; the node is stopped when it fails. */
typedef lapse_result (*lapsed_serving_cb)(void *arg, struct node *node, struct lapse_error *error);

struct lapsed_service {
    const struct config *config;
    bool core_dumps;           /* only where no secrets are */
    lapsed_serving_cb serving; /* may be NULL */
    void *arg;
};
/* Runs a node until it is told to stop or fails; returns the exit code. */
int lapsed_serve(const struct lapsed_service *service);

/* `lapsed --dev`. `dir` NULL: a fresh directory. `flags` are settings that override the generated ones. */
int lapsed_dev(const char *dir, int n_flags, char *const *flags);

#endif
