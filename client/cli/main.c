/* lapse: the command line client. See cli.h for how it hangs together. */
#include "client/cli/cli.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>

#include "base/check.h"

#define TIMEOUT_MAX_MS 3600000

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

static int connect_and_run(struct cli *cli)
{
    struct lapse_client_options options = {.endpoints = cli_text(cli, "endpoints"),
                                           .certificate = cli_text(cli, "cert"),
                                           .key = cli_text(cli, "key"),
                                           .authorities = cli_text(cli, "ca")};
    struct lapse_error error;
    int64_t timeout_ms = cli_number(cli, "timeout");
    if (timeout_ms > TIMEOUT_MAX_MS)
        return cli_usage_error(cli, "--timeout is above 1h");
    cli->timeout_ms = (uint32_t)timeout_ms;
    if (!lapse_is_ok(lapse_client_new(&options, &cli->client, &error)))
        return cli_fail(&error);
    int code = cli->command->run(cli);
    lapse_client_free(cli->client);
    return code;
}

/* A full disk or a closed pipe must not look like success. */
static int flush(FILE *out, int code)
{
    if (fflush(out) == 0 && !ferror(out))
        return code;
    fprintf(stderr, "lapse: can't write the output\n");
    return code == CLI_OK ? CLI_ERROR : code;
}

int main(int argc, char **argv)
{
    static struct cli cli;
    static char version[] = "version";
    struct lapse_error error;
    signal(SIGPIPE, SIG_IGN);
    if (argc == 2 && strcmp(argv[1], "--version") == 0)
        argv[1] = version;
    lapse_result result = cli_parse(&cli, argc, argv, &error);
    cli.out = stdout;
    if (!lapse_is_ok(result))
        return cli_usage_error(&cli, "%s", error.message);
    if (cli.command == NULL)
        cli_print_overview(stdout);
    else if (cli.help)
        cli_print_command(stdout, cli.command);
    else
        return flush(stdout, cli.command->remote ? connect_and_run(&cli) : cli.command->run(&cli));
    return flush(stdout, CLI_OK);
}
