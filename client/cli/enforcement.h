/* What all commands share that deny access and can wait for the enforcement points. */
#ifndef LAPSE_CLIENT_CLI_ENFORCEMENT_H
#define LAPSE_CLIENT_CLI_ENFORCEMENT_H

#include "client/cli/cli.h"

/* The flag --until. */
enum lapse_wait enforcement_wait(const struct cli *cli);
void enforcement_print_barrier(FILE *out, const struct lapse_barrier *barrier);

#endif
