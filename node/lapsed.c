/* The program: which subcommand is meant, and what its failures are called. */
#include "node/lapsed.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "base/check.h"
#include "node/suggest.h"

static const struct command {
    const char *name;
    int (*run)(int n, char **args);
    const char *help;
} commands[] = {
    {"init", lapsed_init, lapsed_init_help},
    {"join", lapsed_join, lapsed_join_help},
    {"verify", lapsed_verify, lapsed_verify_help},
};

/* Which of the exit codes of sysexits.h a failure is: an operator's script, and systemd, tell by it whether another
 * start can help. */
int lapsed_exit_code(enum lapse_code code)
{
    switch (code) {
    case LAPSE_OK:
        return EX_OK;
    case LAPSE_DATA_LOSS:
        return EX_DATAERR;
    case LAPSE_ALREADY_EXISTS:
        return EX_CANTCREAT;
    case LAPSE_UNAVAILABLE:
    case LAPSE_RESOURCE_EXHAUSTED:
        return EX_IOERR;
    case LAPSE_PERMISSION_DENIED:
        return EX_NOPERM;
    case LAPSE_INVALID_ARGUMENT: /* in a file; wrong use goes through lapsed_misused */
    case LAPSE_FAILED_PRECONDITION:
    case LAPSE_UNAUTHENTICATED:
    case LAPSE_NOT_FOUND:
        return EX_CONFIG;
    default:
        return EX_SOFTWARE;
    }
}

int lapsed_fail(const struct lapse_error *error)
{
    fprintf(stderr, "lapsed: %s\n", error->message);
    return lapsed_exit_code(error->code);
}

int lapsed_misused(const char *command, const struct lapse_error *error)
{
    fprintf(stderr, "lapsed: %s\nTry: lapsed %s%s--help\n", error->message, command == NULL ? "" : command,
            command == NULL ? "" : " ");
    return EX_USAGE;
}

static int unknown_command(const char *name)
{
    char hint[SUGGEST_TEXT_SIZE];
    struct suggestion nearest = {.typed = name};
    struct lapse_error error;
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        suggest_offer(&nearest, commands[i].name);
    (void)lapse_fail(&error, LAPSE_INVALID_ARGUMENT, "there is no command \"%s\"%s", name,
                     suggest_text(&nearest, hint));
    return lapsed_misused(NULL, &error);
}

static bool asks_for_help(int n, char **args)
{
    for (int i = 0; i < n; i++)
        if (strcmp(args[i], "--help") == 0 || strcmp(args[i], "-h") == 0)
            return true;
    return false;
}

static int run_command(const struct command *command, int n, char **args)
{
    if (!asks_for_help(n, args))
        return command->run(n, args);
    fputs(command->help, stdout);
    return EX_OK;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argv[1][0] == '-')
        return lapsed_run(argc - 1, argv + 1);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (strcmp(commands[i].name, argv[1]) == 0)
            return run_command(&commands[i], argc - 2, argv + 2);
    if (strcmp(argv[1], "help") == 0) {
        char help[] = "--help";
        return lapsed_run(1, (char *[]){help});
    }
    return unknown_command(argv[1]);
}
