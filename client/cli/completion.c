/* Completion scripts from the table.
 *
 * bash and zsh: a function with one case for each command, which offers its flags, or the values of the flag before the
 * cursor. zsh runs bash's script through bashcompinit. fish: one `complete` line for each command and flag. */
#include "client/cli/cli.h"

#include <string.h>

static void print_flag_names(FILE *out, const struct cli_flag *flags)
{
    for (; flags != NULL && flags->name != NULL; flags++)
        fprintf(out, " --%s", flags->name);
}

/* What may follow these words of a command's name: "" -> request, cluster, ...; "cluster" -> status, roles, ... */
static void print_next_words(FILE *out, const char *prefix)
{
    size_t len = strlen(prefix);
    char last[64] = "";
    for (const struct cli_command *command = cli_commands; command->name != NULL; command++) {
        if (strncmp(command->name, prefix, len) != 0 || (len > 0 && command->name[len] != ' '))
            continue;
        const char *word = command->name + len + (len > 0);
        int n = (int)strcspn(word, " ");
        if ((int)strlen(last) == n && strncmp(last, word, (size_t)n) == 0)
            continue;
        fprintf(out, " %.*s", n, word);
        snprintf(last, sizeof last, "%.*s", n, word);
    }
}

static void print_bash_value(FILE *out, const struct cli_flag *flag)
{
    if (flag->kind == CLI_FILE)
        fprintf(out, "        --%s) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", flag->name);
    else if (flag->kind == CLI_DIRECTORY)
        fprintf(out, "        --%s) COMPREPLY=($(compgen -d -- \"$cur\")); return ;;\n", flag->name);
    else if (flag->choices != NULL)
        fprintf(out, "        --%s) COMPREPLY=($(compgen -W \"%s\" -- \"$cur\")); return ;;\n", flag->name,
                flag->choices);
    else if (flag->kind != CLI_SWITCH)
        fprintf(out, "        --%s) return ;;\n", flag->name);
}

/* A flag's values are the same for every command that has it: the first one in the table speaks for all. */
static bool seen_before(const struct cli_command *command, const struct cli_flag *flag)
{
    for (const struct cli_command *other = cli_commands; other != command; other++)
        for (const struct cli_flag *f = other->flags; f != NULL && f->name != NULL; f++)
            if (strcmp(f->name, flag->name) == 0)
                return true;
    return false;
}

static void print_bash_values(FILE *out)
{
    fputs("    case \"$prev\" in\n", out);
    for (const struct cli_flag *flag = cli_global_flags; flag->name != NULL; flag++)
        print_bash_value(out, flag);
    for (const struct cli_command *command = cli_commands; command->name != NULL; command++)
        for (const struct cli_flag *flag = command->flags; flag != NULL && flag->name != NULL; flag++)
            if (!seen_before(command, flag))
                print_bash_value(out, flag);
    fputs("    esac\n", out);
}

/* The words before the cursor that are no flags and no flags' values, joined. */
static void print_bash_words(FILE *out)
{
    fputs(
        "    local cur=\"${COMP_WORDS[COMP_CWORD]}\" prev=\"${COMP_WORDS[COMP_CWORD-1]}\" words=\"\" i word skip=\"\"\n"
        "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
        "        word=\"${COMP_WORDS[i]}\"\n"
        "        if [[ -n $skip ]]; then skip=\"\"; continue; fi\n"
        "        case \"$word\" in\n"
        "        --*=*) ;;\n"
        "        ",
        out);
    const char *between = "";
    for (const struct cli_flag *flag = cli_global_flags; flag->name != NULL; flag++, between = "|")
        fprintf(out, "%s--%s", between, flag->name);
    fputs(") skip=1 ;;\n"
          "        -*) break ;;\n"
          "        *) words=\"${words:+$words }$word\" ;;\n"
          "        esac\n"
          "    done\n",
          out);
}

static void print_bash_case(FILE *out, const struct cli_command *command)
{
    fprintf(out, "    \"%s\"|\"%s \"*) offer=\"", command->name, command->name);
    if (strcmp(command->name, "completion") == 0)
        fputs("bash zsh fish", out);
    else if (strcmp(command->name, "cluster roles set") == 0)
        fputs("requester approver operator auditor enforcer", out);
    else if (strcmp(command->name, "help") == 0)
        print_next_words(out, "");
    print_flag_names(out, command->flags);
    if (command->remote)
        print_flag_names(out, cli_global_flags);
    fputs(" --help\" ;;\n", out);
}

static void print_bash_group(FILE *out, const char *words)
{
    fprintf(out, "    \"%s\") offer=\"", words);
    print_next_words(out, words);
    if (*words == '\0') {
        print_flag_names(out, cli_global_flags);
        fputs(" --help", out);
    }
    fputs("\" ;;\n", out);
}

static void print_bash(FILE *out)
{
    fputs("# bash completion for lapse; written by: lapse completion bash\n_lapse()\n{\n", out);
    print_bash_words(out);
    print_bash_values(out);
    fputs("    local offer=\"\"\n    case \"$words\" in\n", out);
    print_bash_group(out, "");
    print_bash_group(out, "cluster");
    print_bash_group(out, "cluster roles");
    print_bash_group(out, "pki");
    for (const struct cli_command *command = cli_commands; command->name != NULL; command++)
        print_bash_case(out, command);
    fputs("    esac\n    COMPREPLY=($(compgen -W \"$offer\" -- \"$cur\"))\n}\ncomplete -F _lapse lapse\n", out);
}

/* A single-quoted string of fish. */
static void print_fish_text(FILE *out, const char *text)
{
    fputc('\'', out);
    for (; *text != '\0'; text++) {
        if (*text == '\'' || *text == '\\')
            fputc('\\', out);
        fputc(*text, out);
    }
    fputc('\'', out);
}

static void print_fish_flag(FILE *out, const char *condition, const struct cli_flag *flag)
{
    fprintf(out, "complete -c lapse%s -l %s", condition, flag->name);
    if (flag->kind == CLI_FILE || flag->kind == CLI_DIRECTORY)
        fputs(" -rF", out);
    else if (flag->choices != NULL)
        fprintf(out, " -xa '%s'", flag->choices);
    else if (flag->kind != CLI_SWITCH)
        fputs(" -x", out);
    fputs(" -d ", out);
    print_fish_text(out, flag->help);
    fputc('\n', out);
}

static void print_fish_command(FILE *out, const struct cli_command *command)
{
    char condition[256], parent[64];
    const char *last = strrchr(command->name, ' ');
    snprintf(parent, sizeof parent, "%.*s", last == NULL ? 0 : (int)(last - command->name), command->name);
    last = last == NULL ? command->name : last + 1;
    if (*parent == '\0')
        fprintf(out, "complete -c lapse -n __fish_use_subcommand -a %s -d ", last);
    else
        fprintf(out, "complete -c lapse -n '__lapse_words %s' -a %s -d ", parent, last);
    print_fish_text(out, command->summary);
    fputc('\n', out);
    snprintf(condition, sizeof condition, " -n '__lapse_words %s'", command->name);
    for (const struct cli_flag *flag = command->flags; flag != NULL && flag->name != NULL; flag++)
        print_fish_flag(out, condition, flag);
}

static void print_fish(FILE *out)
{
    fputs("# fish completion for lapse; written by: lapse completion fish\n"
          "function __lapse_words\n"
          "    set -l words (commandline -opc)\n"
          "    set -e words[1]\n"
          "    string match -q -- \"$argv*\" (string join ' ' -- (string match -v -- '-*' $words))\n"
          "end\n"
          "complete -c lapse -f\n"
          "complete -c lapse -n __fish_use_subcommand -a 'cluster' -d 'the cluster itself'\n"
          "complete -c lapse -n __fish_use_subcommand -a 'pki' -d 'certificates'\n"
          "complete -c lapse -n '__lapse_words cluster' -a roles -d 'who may do what'\n"
          "complete -c lapse -n '__lapse_words completion' -a 'bash zsh fish'\n",
          out);
    for (const struct cli_flag *flag = cli_global_flags; flag->name != NULL; flag++)
        print_fish_flag(out, "", flag);
    for (const struct cli_command *command = cli_commands; command->name != NULL; command++)
        print_fish_command(out, command);
}

bool cli_print_completion(FILE *out, const char *shell)
{
    if (strcmp(shell, "bash") == 0) {
        print_bash(out);
    } else if (strcmp(shell, "zsh") == 0) {
        fputs("#compdef lapse\nautoload -U +X bashcompinit && bashcompinit\n", out);
        print_bash(out);
    } else if (strcmp(shell, "fish") == 0) {
        print_fish(out);
    } else {
        return false;
    }
    return true;
}
