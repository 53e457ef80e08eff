/* lapse agent: an enforcement point beside a proxy. See client/agent/agent.h. */
#include <stdlib.h>

#include "base/bytes.h"
#include "base/check.h"
#include "client/agent/agent.h"
#include "client/cli/cli.h"

#define EXAMPLE_MAX (16u * 1024)

static int print_example(struct cli *cli)
{
    struct buf text;
    buf_init(&text, EXAMPLE_MAX);
    CHECK(lapse_is_ok(agent_config_example(&text)));
    (void)fwrite(text.data, 1, text.len, cli->out); /* main looks at the stream */
    buf_free(&text);
    return CLI_OK;
}

int cmd_agent(struct cli *cli)
{
    struct lapse_error error;
    const char *file = cli_text(cli, "config");
    if (cli_given(cli, "example"))
        return print_example(cli);
    if (file == NULL)
        return cli_usage_error(cli, "--config FILE says what to do; --example prints one");
    struct agent_config *config = mem_calloc(1, sizeof *config);
    lapse_result result = agent_config_load(file, config, &error);
    if (lapse_is_ok(result))
        result = agent_config_check(config, &error);
    if (lapse_is_ok(result) && cli_given(cli, "check-config"))
        fputs("the configuration is right\n", cli->out);
    else if (lapse_is_ok(result))
        result = agent_run(file, config, cli_given(cli, "accept-new-history"), &error);
    agent_config_free(config);
    free(config);
    return lapse_is_ok(result) ? CLI_OK : cli_fail(&error);
}
