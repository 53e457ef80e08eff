/* `lapsed` without a subcommand: what is asked of the configuration, and the daemon itself. */
#include "node/lapsed.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/check.h"
#include "node/lapsed_args.h"

const char lapsed_run_help[] =
    "Usage: lapsed [--config FILE] [--SETTING VALUE]...    run a node\n"
    "       lapsed init ... | join ... | verify ...        make or check a data directory (lapsed COMMAND --help)\n"
    "       lapsed --dev [--dir DIR]                       a cluster of one node to try things with, everything "
    "generated\n"
    "\n"
    "lapsed is a node of Lapse, the replicated store of just-in-time grants.\n"
    "\n"
    "  --config FILE   read settings from FILE, see lapsed.conf(5)\n"
    "  --check-config  say whether the settings are right, and end\n"
    "  --print-config  print the effective settings as a configuration file, and end\n"
    "  --dev           make certificates, a data directory and roles, and run; for development only\n"
    "  --dir DIR       with --dev: where to; kept, and used again the next time (default: a fresh directory)\n"
    "  --version       print the version, and end\n"
    "  --help          print this, and end\n"
    "\n"
    "Examples:\n"
    "  lapsed --dev\n"
    "  lapsed --config /etc/lapse/lapsed.conf --check-config\n"
    "  lapsed --config /etc/lapse/lapsed.conf --log-level debug\n"
    "\n"
    "SIGTERM and SIGINT stop the node, SIGHUP reads certificates and the deny list anew.\n"
    "Exit codes: 0 stopped as asked, 64 wrong use, 65 damaged data, 70 a fault of lapsed, 73 a directory is not "
    "empty,\n"
    "74 disk or network, 77 not permitted, 78 wrong configuration.\n"
    "\n"
    "Settings: the file's name (flag, environment variable); flags win over variables, and those over the file.\n"
    "\n";

struct run_args {
    const char *config, *dir;
    bool help, version, check, print, dev;
    struct arg_rest settings;
};

static lapse_result read_args(int n, char **args, struct run_args *given, struct lapse_error *error)
{
    const struct arg_flag flags[] = {
        {"--config", &given->config, NULL},
        {"--dir", &given->dir, NULL},
        {"--help", NULL, &given->help},
        {"-h", NULL, &given->help},
        {"--version", NULL, &given->version},
        {"--check-config", NULL, &given->check},
        {"--print-config", NULL, &given->print},
        {"--dev", NULL, &given->dev},
        {NULL, NULL, NULL},
    };
    lapse_result result = args_parse(n, args, flags, &given->settings, error);
    if (!lapse_is_ok(result))
        return result;
    if (given->dir != NULL && !given->dev)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "--dir goes with --dev; the daemon's own flag is --data-dir");
    if (given->dev && (given->config != NULL || given->check || given->print))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "--dev makes its own configuration; leave out --config");
    return lapse_ok();
}

/* To standard output, and whether all of it got there. */
static int print(const struct buf *text)
{
    bool written = fwrite(text->data, 1, text->len, stdout) == text->len && fflush(stdout) == 0;
    return written ? EX_OK : EX_IOERR;
}

static int print_help(void)
{
    struct buf text;
    buf_init(&text, 64 * 1024);
    CHECK(lapse_is_ok(buf_printf(&text, "%s", lapsed_run_help)));
    CHECK(lapse_is_ok(config_reference(&text)));
    int code = print(&text);
    buf_free(&text);
    return code;
}

static int print_config(const struct config *config)
{
    struct buf text;
    buf_init(&text, 64 * 1024);
    CHECK(lapse_is_ok(config_print(config, &text)));
    int code = print(&text);
    buf_free(&text);
    return code;
}

static int run_configured(const struct run_args *given)
{
    struct config config;
    struct lapse_error error;
    const struct lapsed_service service = {.config = &config};

    lapse_result result = config_load(&config, given->config, environ, given->settings.n, given->settings.args, &error);
    if (!lapse_is_ok(result))
        return result.code == LAPSE_INVALID_ARGUMENT ? lapsed_misused(NULL, &error) : lapsed_fail(&error);
    if (given->print)
        return print_config(&config);
    if (!lapse_is_ok(config_check(&config, &error)))
        return lapsed_fail(&error);
    if (given->check) {
        puts("the configuration is right");
        return EX_OK;
    }
    return lapsed_serve(&service);
}

static int run(const struct run_args *given)
{
    if (given->help)
        return print_help();
    if (given->version) {
        puts("lapsed " LAPSE_VERSION);
        return EX_OK;
    }
    return given->dev ? lapsed_dev(given->dir, given->settings.n, given->settings.args) : run_configured(given);
}

int lapsed_run(int n, char **args)
{
    struct lapse_error error;
    struct run_args given = {NULL};
    given.settings.args = mem_calloc((size_t)n + 1, sizeof *given.settings.args);
    int code = lapse_is_ok(read_args(n, args, &given, &error)) ? run(&given) : lapsed_misused(NULL, &error);
    free(given.settings.args);
    return code;
}
