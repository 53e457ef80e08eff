/* Bearer tokens in files: never on the command line, where every process of the machine could read them. */
#ifndef LAPSE_CLIENT_CLI_TOKEN_H
#define LAPSE_CLIENT_CLI_TOKEN_H

#include "client/cli/cli.h"
#include "client/lapse_governance.h"

/* The SHA-256 of the token in the first line of a file; "-": of standard input. INVALID_ARGUMENT when there is none. */
lapse_result cli_token_read(const char *path, uint8_t sha256[32], struct lapse_error *error) LAPSE_MUST_USE;

#endif
