/* Commands that need no cluster: pki, help, completion, version. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/pki.h"
#include "client/cli/cli.h"

int cmd_help(struct cli *cli)
{
    int used;
    if (cli_given(cli, "man")) {
        cli_print_man(cli->out);
    } else if (cli_given(cli, "examples")) {
        cli_print_examples(cli->out);
    } else if (cli->n_operands == 0) {
        cli_print_overview(cli->out);
    } else {
        const struct cli_command *command = cli_find(cli->operands, cli->n_operands, &used);
        if (command != NULL && used == cli->n_operands)
            cli_print_command(cli->out, command);
        else if (!cli_print_group(cli->out, cli->operands, cli->n_operands))
            return cli_usage_error(cli, "no such command; \"lapse help\" lists them");
    }
    return CLI_OK;
}

int cmd_completion(struct cli *cli)
{
    if (!cli_print_completion(cli->out, cli->operands[0]))
        return cli_usage_error(cli, "no completion for \"%s\": bash, zsh or fish", cli->operands[0]);
    return CLI_OK;
}

int cmd_version(struct cli *cli)
{
    fprintf(cli->out, "lapse %s\n", lapse_version());
    return CLI_OK;
}

int cmd_pki_init(struct cli *cli)
{
    struct lapse_error error;
    const char *dir = cli_text(cli, "dir"), *domain = cli_text(cli, "domain");
    if (!lapse_is_ok(pki_init(dir, domain, (uint32_t)cli_number(cli, "days"), &error)))
        return cli_fail(&error);
    fprintf(cli->out, "Made %s/ca.pem (give it to all nodes and clients) and %s/ca.key (keep it safe).\n", dir, dir);
    return CLI_OK;
}

int cmd_pki_issue(struct cli *cli)
{
    char **hosts;
    size_t n = cli_list(cli, "host", &hosts);
    const char *slash = strrchr(cli->operands[0], '/');
    const char *name = cli_given(cli, "name") ? cli_text(cli, "name") : slash == NULL ? cli->operands[0] : slash + 1;
    struct lapse_error error;

    hosts = mem_realloc(hosts, (n + 1) * sizeof *hosts);
    hosts[n] = NULL;
    struct pki_request request = {.principal = cli->operands[0],
                                  .name = name,
                                  .hosts = (const char *const *)hosts,
                                  .days = (uint32_t)cli_number(cli, "days")};
    lapse_result result = pki_issue(cli_text(cli, "dir"), &request, &error);
    cli_list_free(hosts, n);
    if (!lapse_is_ok(result))
        return cli_fail(&error);
    fprintf(cli->out, "Made %s/%s.pem and %s/%s.key for %s.\n", cli_text(cli, "dir"), name, cli_text(cli, "dir"), name,
            cli->operands[0]);
    return CLI_OK;
}
