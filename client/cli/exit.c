/* How the command ends: exit codes, and errors on standard error. */
#include "client/cli/cli.h"

#include <stdarg.h>

int cli_exit_code(enum lapse_code code)
{
    switch (code) {
    case LAPSE_OK:
        return CLI_OK;
    case LAPSE_PERMISSION_DENIED:
    case LAPSE_UNAUTHENTICATED:
        return CLI_DENIED;
    case LAPSE_NOT_FOUND:
        return CLI_NOT_FOUND;
    case LAPSE_UNAVAILABLE:
    case LAPSE_DEADLINE_EXCEEDED:
    case LAPSE_UNKNOWN:
        return CLI_UNAVAILABLE;
    case LAPSE_ALREADY_EXISTS:
    case LAPSE_FAILED_PRECONDITION:
    case LAPSE_ABORTED:
        return CLI_CONFLICT;
    default:
        return CLI_ERROR;
    }
}

int cli_fail(const struct lapse_error *error)
{
    fprintf(stderr, "lapse: %s (%s)\n", error->message, lapse_code_name(error->code));
    return cli_exit_code(error->code);
}

static void point_to_help(const struct cli *cli)
{
    if (cli->command == NULL)
        fprintf(stderr, "Try: lapse --help\n");
    else
        fprintf(stderr, "Try: lapse %s --help\n", cli->command->name);
}

int cli_usage_error(const struct cli *cli, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("lapse: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    point_to_help(cli);
    return CLI_USAGE;
}
