/* lapse: the command line client. See cli.h for how it hangs together. */
#include "client/cli/cli.h"

#include <signal.h>
#include <string.h>

#define TIMEOUT_MAX_MS 3600000

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
        return flush(stdout, cli_is_remote(&cli) ? connect_and_run(&cli) : cli.command->run(&cli));
    return flush(stdout, CLI_OK);
}
