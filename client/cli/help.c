/* --help in its two depths, and the dump of examples. All from the table. */
#include "client/cli/cli.h"

#include <string.h>

#define WIDTH 100

void cli_flag_spelling(const struct cli_flag *flag, char *out, size_t size)
{
    snprintf(out, size, "--%s%s%s", flag->name, flag->value == NULL ? "" : " ", flag->value == NULL ? "" : flag->value);
}

/* Words wrapped at WIDTH, with `indent` spaces before all lines but the first, which begins at column `at`. */
static void print_wrapped(FILE *out, const char *text, int indent, int at)
{
    while (*text != '\0') {
        int len = (int)strcspn(text, " \n");
        if (at > indent && at + 1 + len > WIDTH) {
            fprintf(out, "\n%*s", indent, "");
            at = indent;
        }
        fprintf(out, "%s%.*s", at > indent ? " " : "", len, text);
        at += len + (at > indent);
        text += len;
        for (int newlines = 0; *text == ' ' || *text == '\n'; text++)
            if (*text == '\n' && ++newlines == 2) {
                fprintf(out, "\n\n%*s", indent, "");
                at = indent;
            }
    }
    fputc('\n', out);
}

static void print_flag(FILE *out, const struct cli_flag *flag)
{
    char spelling[64];
    int column = 32;
    cli_flag_spelling(flag, spelling, sizeof spelling);
    int n = fprintf(out, "  %-*s", column - 2, spelling);
    if (n > column)
        fprintf(out, "\n%*s", column, "");
    char help[512];
    int len = snprintf(help, sizeof help, "%s", flag->help);
    if (flag->choices != NULL)
        len += snprintf(help + len, sizeof help - (size_t)len, " (%s)", flag->choices);
    if (flag->environment != NULL)
        len += snprintf(help + len, sizeof help - (size_t)len, " [%s]", flag->environment);
    if (flag->fallback != NULL)
        snprintf(help + len, sizeof help - (size_t)len, "; default %s", flag->fallback);
    print_wrapped(out, help, column, column);
}

static void print_flags(FILE *out, const char *title, const struct cli_flag *flags)
{
    if (flags == NULL)
        return;
    fprintf(out, "\n%s:\n", title);
    for (; flags->name != NULL; flags++)
        print_flag(out, flags);
}

static void print_exits(FILE *out)
{
    fprintf(out, "\nExit codes:\n");
    for (const struct cli_exit_text *exit = cli_exit_texts; exit->text != NULL; exit++)
        fprintf(out, "  %-4d%s\n", exit->code, exit->text);
}

static void print_summary(FILE *out, const struct cli_command *command)
{
    fprintf(out, "  %-22s%s\n", command->name, command->summary);
}

void cli_print_overview(FILE *out)
{
    fprintf(out, "lapse: just-in-time grants that end when they should\n\nUsage: lapse COMMAND [FLAGS] "
                 "[ARGUMENTS]\n\nCommands:\n");
    for (const struct cli_command *command = cli_commands; command->name != NULL; command++)
        print_summary(out, command);
    print_flags(out, "Flags for all commands", cli_global_flags);
    print_exits(out);
    fprintf(out, "\n\"lapse help COMMAND\" says more, with examples. The manual: man lapse.\n");
}

bool cli_print_group(FILE *out, const char *const *words, int n)
{
    bool any = false;
    for (const struct cli_command *command = cli_commands; command->name != NULL; command++)
        if (cli_name_begins(command->name, words, n)) {
            print_summary(out, command);
            any = true;
        }
    if (any)
        fprintf(out, "\n\"lapse help COMMAND\" says more, with examples.\n");
    return any;
}

void cli_print_command(FILE *out, const struct cli_command *command)
{
    fprintf(out, "lapse %s: %s\n\nUsage: lapse %s%s%s%s\n", command->name, command->summary, command->name,
            command->flags != NULL || command->remote ? " [FLAGS]" : "", *command->operands != '\0' ? " " : "",
            command->operands);
    if (command->details != NULL) {
        fputc('\n', out);
        print_wrapped(out, command->details, 0, 0);
    }
    print_flags(out, "Flags", command->flags);
    if (command->remote) {
        print_flags(out, "Flags for all commands", cli_global_flags);
        print_exits(out);
    }
    const struct cli_example *example = command->examples;
    if (example != NULL)
        fprintf(out, "\nExamples:\n");
    for (; example != NULL && example->what != NULL; example++)
        fprintf(out, "  # %s\n  %s\n", example->what, example->text);
}

/* One line an example: as, state of $GRANT, exit code, command. "-" for none (exit code: any). */
void cli_print_examples(FILE *out)
{
    for (const struct cli_command *command = cli_commands; command->name != NULL; command++)
        for (const struct cli_example *e = command->examples; e != NULL && e->what != NULL; e++) {
            fprintf(out, "%s\t%s\t", *e->as == '\0' ? "-" : e->as, e->grant == NULL ? "-" : e->grant);
            if (e->exit < 0)
                fprintf(out, "-\t%s\n", e->text);
            else
                fprintf(out, "%d\t%s\n", e->exit, e->text);
        }
}
