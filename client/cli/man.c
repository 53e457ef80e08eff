/* The manual page, mdoc(7), from the table. docs/man/lapse.1 is this output; a test compares them. */
#include "client/cli/cli.h"

#include <ctype.h>
#include <string.h>

/* Text on a line of its own. What mdoc would take for a macro or an escape is defused. */
static void print_text(FILE *out, const char *text)
{
    bool line_start = true;
    for (; *text != '\0'; text++) {
        if (line_start && (*text == '.' || *text == '\''))
            fputs("\\&", out);
        line_start = *text == '\n';
        if (text[0] == '\n' && text[1] == '\n') {
            fputs("\n.Pp\n", out);
            text++;
            line_start = true;
        } else if (*text == '\\') {
            fputs("\\e", out);
        } else if (*text == '-') {
            fputs("\\-", out);
        } else {
            fputc(*text, out);
        }
    }
    fputc('\n', out);
}

/* A macro's arguments: quotes are doubled, and the whole is quoted. */
static void print_quoted(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text != '\0'; text++) {
        if (*text == '"')
            fputc('"', out);
        if (*text == '\\')
            fputs("\\e", out);
        else
            fputc(*text, out);
    }
    fputc('"', out);
}

static void print_flag(FILE *out, const struct cli_flag *flag)
{
    fprintf(out, ".It Fl \\-%s", flag->name);
    if (flag->value != NULL) {
        fputs(" Ar ", out);
        print_quoted(out, flag->value);
    }
    fputc('\n', out);
    char help[512];
    snprintf(help, sizeof help, "%c%s%s%s%s%s%s.", toupper((unsigned char)flag->help[0]), flag->help + 1,
             flag->choices == NULL ? "" : " (", flag->choices == NULL ? "" : flag->choices,
             flag->choices == NULL ? "" : ")", flag->fallback == NULL ? "" : "; default ",
             flag->fallback == NULL ? "" : flag->fallback);
    print_text(out, help);
    if (flag->environment != NULL)
        fprintf(out, "Otherwise from the environment:\n.Ev %s .\n", flag->environment);
}

static void print_flags(FILE *out, const struct cli_flag *flags)
{
    if (flags == NULL)
        return;
    fputs(".Bl -tag -width Ds\n", out);
    for (; flags->name != NULL; flags++)
        print_flag(out, flags);
    fputs(".El\n", out);
}

static void print_command(FILE *out, const struct cli_command *command)
{
    fprintf(out, ".Ss lapse %s %s\n", command->name, command->operands);
    char summary[256];
    snprintf(summary, sizeof summary, "%c%s.", toupper((unsigned char)command->summary[0]), command->summary + 1);
    print_text(out, summary);
    if (command->details != NULL) {
        fputs(".Pp\n", out);
        print_text(out, command->details);
    }
    print_flags(out, command->flags);
    for (const struct cli_example *e = command->examples; e != NULL && e->what != NULL; e++) {
        char what[256];
        snprintf(what, sizeof what, "Example: %s.", e->what);
        fputs(".Pp\n", out);
        print_text(out, what);
        fputs(".Dl ", out);
        print_quoted(out, e->text);
        fputc('\n', out);
    }
}

static void print_environment(FILE *out)
{
    fputs(".Sh ENVIRONMENT\nA flag that is given overrides its variable.\n.Bl -tag -width LAPSE_AUTHORITIES\n", out);
    for (const struct cli_flag *flag = cli_global_flags; flag->name != NULL; flag++)
        fprintf(out, ".It Ev %s\nAs\n.Fl \\-%s .\n", flag->environment, flag->name);
    fputs(".El\n", out);
}

static void print_exits(FILE *out)
{
    fputs(".Sh EXIT STATUS\n.Bl -tag -width Ds\n", out);
    for (const struct cli_exit_text *exit = cli_exit_texts; exit->text != NULL; exit++) {
        fprintf(out, ".It %d\n", exit->code);
        char text[256];
        snprintf(text, sizeof text, "%c%s.", toupper((unsigned char)exit->text[0]), exit->text + 1);
        print_text(out, text);
    }
    fputs(".El\n", out);
}

static void print_forms(FILE *out)
{
    fputs(".Sh VALUES\n"
          "Durations are written\n.Ql 250ms ,\n.Ql 30s ,\n.Ql 15m ,\n.Ql 8h ,\n.Ql 2d ,\nor several in falling "
          "order:\n.Ql 1h30m .\n"
          ".Pp\nTimes are RFC 3339, for example\n.Ql 2026\\-01\\-31T18:00:00Z ,\nor a duration from now:\n.Ql +15m .\n"
          "In tables they are shown in local time, in JSON as milliseconds since the Unix epoch.\n"
          ".Pp\nThe keys of\n.Fl \\-output Cm json\nare the field names of the API's messages, and all of them are "
          "there always.\n",
          out);
}

void cli_print_man(FILE *out)
{
    fputs(".\\\" Written by: lapse help --man\n.Dd November 21, 2026\n.Dt LAPSE 1\n.Os\n.Sh NAME\n.Nm lapse\n"
          ".Nd ask for, decide, end and watch just-in-time grants\n"
          ".Sh SYNOPSIS\n.Nm\n.Ar command\n.Op Ar flags\n.Op Ar arguments\n"
          ".Sh DESCRIPTION\nThe command line client of a Lapse cluster.\nAny node takes any command.\n"
          ".Pp\nFlags for all commands:\n",
          out);
    print_flags(out, cli_global_flags);
    fputs(".Sh COMMANDS\n", out);
    for (const struct cli_command *command = cli_commands; command->name != NULL; command++)
        print_command(out, command);
    print_forms(out);
    print_environment(out);
    print_exits(out);
    fputs(".Sh SEE ALSO\n.Xr lapsed 8\n", out);
}
