/* argv to `struct cli`, by the table. Every value is checked here, so that a command sees only good ones. */
#include "client/cli/cli.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/clock.h"
#include "client/cli/value.h"

#define WORDS_MAX 3

/* ---- Looking up */

static int words_of(const char *name)
{
    int n = 1;
    for (; *name != '\0'; name++)
        n += *name == ' ';
    return n;
}

bool cli_name_begins(const char *name, const char *const *words, int n)
{
    for (int i = 0; i < n; i++) {
        size_t len = strlen(words[i]);
        if (strncmp(name, words[i], len) != 0 || (name[len] != ' ' && name[len] != '\0'))
            return false;
        name += len;
        name += *name == ' ';
    }
    return true;
}

const struct cli_command *cli_find(const char *const *words, int n, int *used)
{
    for (int take = n < WORDS_MAX ? n : WORDS_MAX; take > 0; take--)
        for (const struct cli_command *command = cli_commands; command->name != NULL; command++)
            if (words_of(command->name) == take && cli_name_begins(command->name, words, take)) {
                *used = take;
                return command;
            }
    return NULL;
}

/* Letters to insert, delete or change to make one of the other; gives up past small numbers. */
static unsigned distance(const char *a, const char *b)
{
    size_t la = strlen(a), lb = strlen(b);
    unsigned row[33];
    if (la > 32 || lb > 32)
        return 99;
    for (size_t j = 0; j <= lb; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= la; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= lb; j++) {
            unsigned change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            unsigned insert = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = change < insert ? change : insert;
        }
    }
    return row[lb];
}

void cli_consider(const char *typed, const char *name, const char **best, unsigned *nearest)
{
    unsigned d = distance(typed, name);
    if (d < *nearest) {
        *nearest = d;
        *best = name;
    }
}

static const char *nearest_flag(const struct cli_command *command, const char *typed)
{
    const char *best = NULL;
    unsigned nearest = 3;
    for (const struct cli_flag *flag = cli_global_flags; flag->name != NULL; flag++)
        cli_consider(typed, flag->name, &best, &nearest);
    for (const struct cli_flag *flag = command == NULL ? NULL : command->flags; flag != NULL && flag->name != NULL;
         flag++)
        cli_consider(typed, flag->name, &best, &nearest);
    return best;
}

static const struct cli_flag *flag_in(const struct cli_flag *flags, struct slice name)
{
    for (; flags != NULL && flags->name != NULL; flags++)
        if (slice_equal(slice_str(flags->name), name))
            return flags;
    return NULL;
}

static const struct cli_flag *flag_find(const struct cli_command *command, struct slice name)
{
    const struct cli_flag *flag = command == NULL ? NULL : flag_in(command->flags, name);
    return flag != NULL ? flag : flag_in(cli_global_flags, name);
}

/* ---- Values */

static bool is_choice(const char *choices, struct slice value)
{
    for (const char *at = choices; *at != '\0';) {
        size_t len = strcspn(at, " ");
        if (slice_equal(slice_of(at, len), value))
            return true;
        at += len;
        at += *at == ' ';
    }
    return false;
}

static bool are_choices(const char *choices, const char *list)
{
    for (;; list++) {
        size_t len = strcspn(list, ",");
        if (!is_choice(choices, slice_of(list, len)))
            return false;
        list += len;
        if (*list == '\0')
            return true;
    }
}

static bool parse_number(const char *text, int64_t *number)
{
    char *end;
    if (strspn(text, "0123456789") != strlen(text) || *text == '\0' || strlen(text) > 10)
        return false;
    *number = strtoll(text, &end, 10);
    return *number <= UINT32_MAX;
}

/* What a value must look like, when it doesn't; NULL when it does. */
static const char *value_fault(const struct cli_flag *flag, const char *text, int64_t *number)
{
    switch (flag->kind) {
    case CLI_NUMBER:
        return parse_number(text, number) ? NULL : "a whole number from 0 to 4294967295";
    case CLI_DURATION:
        return value_parse_duration(text, number) ? NULL : "a duration like 30s, 15m, 8h or 1h30m";
    case CLI_TIME:
        return value_parse_time(text, clock_wall_ms(), number)
                   ? NULL
                   : "a time like 2026-01-31T18:00:00Z, or a duration from now like +15m";
    case CLI_CHOICE:
        return is_choice(flag->choices, slice_str(text)) ? NULL : flag->choices;
    case CLI_CHOICES:
        return are_choices(flag->choices, text) ? NULL : flag->choices;
    default:
        return *text != '\0' ? NULL : "something";
    }
}

static lapse_result value_add(struct cli *cli, const struct cli_flag *flag, const char *text, const char *origin,
                              struct lapse_error *error)
{
    int64_t number = 0;
    const char *fault = flag->kind == CLI_SWITCH ? NULL : value_fault(flag, text, &number);
    if (fault != NULL)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s%s: \"%s\" is not %s%s", origin,
                          *origin == '-' ? flag->name : "", text, flag->choices != NULL ? "one of: " : "", fault);
    bool repeatable = flag->kind == CLI_LIST || flag->kind == CLI_CHOICES;
    for (int i = 0; i < cli->n_values && !repeatable; i++)
        if (cli->values[i].flag == flag)
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "--%s is given twice", flag->name);
    if (cli->n_values == CLI_VALUES_MAX)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "more than %d flags", CLI_VALUES_MAX);
    cli->values[cli->n_values++] = (struct cli_value){flag, text, number};
    return lapse_ok();
}

/* ---- Arguments */

static lapse_result unknown_flag(const struct cli *cli, struct slice name, struct lapse_error *error)
{
    char typed[40];
    const char *near = slice_to_cstr(name, typed, sizeof typed) ? nearest_flag(cli->command, typed) : NULL;
    return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "unknown flag --%.*s%s%s%s", (int)name.len,
                      (const char *)name.data, near == NULL ? "" : "; did you mean --", near == NULL ? "" : near,
                      near == NULL ? "" : "?");
}

/* argv[*at] is a flag; takes its value from behind "=" or from the next argument. */
static lapse_result take_flag(struct cli *cli, int argc, char *const *argv, int *at, struct lapse_error *error)
{
    const char *text = argv[*at] + 2;
    const char *equals = strchr(text, '=');
    struct slice name = slice_of(text, equals == NULL ? strlen(text) : (size_t)(equals - text));
    const struct cli_flag *flag = flag_find(cli->command, name);
    if (flag == NULL)
        return unknown_flag(cli, name, error);
    if (flag->kind == CLI_SWITCH) {
        if (equals != NULL)
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "--%s takes no value", flag->name);
        return value_add(cli, flag, "", "--", error);
    }
    if (equals == NULL && *at + 1 >= argc)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "--%s needs a value: --%s %s", flag->name, flag->name,
                          flag->value);
    return value_add(cli, flag, equals != NULL ? equals + 1 : argv[++*at], "--", error);
}

static bool is_help(const char *argument)
{
    return strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0;
}

static bool takes_value(const struct cli_flag *flag)
{
    return flag != NULL && flag->kind != CLI_SWITCH;
}

static const struct cli_flag *global_flag(const char *argument)
{
    if (strncmp(argument, "--", 2) != 0)
        return NULL;
    return flag_in(cli_global_flags, slice_of(argument + 2, strcspn(argument + 2, "=")));
}

/* The command's words are the first arguments that are neither flags nor their values. Only global flags can stand
 * before or between them. Marks the words in `is_word`. */
static void find_command(struct cli *cli, int argc, char *const *argv, bool *is_word)
{
    const char *words[WORDS_MAX];
    int places[WORDS_MAX], n = 0, used;
    for (int i = 1; i < argc && n < WORDS_MAX && strcmp(argv[i], "--") != 0; i++) {
        if (argv[i][0] == '-') {
            const struct cli_flag *global = global_flag(argv[i]);
            if (takes_value(global) && strchr(argv[i], '=') == NULL)
                i++;
            else if (n > 0 && global == NULL && !is_help(argv[i]))
                break;
            continue;
        }
        places[n] = i;
        words[n++] = argv[i];
    }
    cli->command = n == 0 ? NULL : cli_find(words, n, &used);
    for (int i = 0; cli->command != NULL && i < used; i++)
        is_word[places[i]] = true;
}

static lapse_result take_operand(struct cli *cli, const char *text, struct lapse_error *error)
{
    if (cli->n_operands >= cli->command->operands_max) {
        if (cli->command->operands_max == 0)
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "unexpected \"%s\": lapse %s takes only flags", text,
                              cli->command->name);
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "unexpected \"%s\": lapse %s takes %s", text,
                          cli->command->name, cli->command->operands);
    }
    cli->operands[cli->n_operands++] = text;
    return lapse_ok();
}

static lapse_result take_arguments(struct cli *cli, int argc, char *const *argv, const bool *is_word,
                                   struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    bool only_operands = false;
    for (int i = 1; i < argc && lapse_is_ok(result); i++) {
        if (is_word[i])
            continue;
        if (only_operands || argv[i][0] != '-' || argv[i][1] == '\0')
            result = take_operand(cli, argv[i], error);
        else if (strcmp(argv[i], "--") == 0)
            only_operands = true;
        else if (is_help(argv[i]))
            cli->help = true;
        else if (argv[i][1] != '-')
            result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "unknown flag %s: flags begin with two dashes", argv[i]);
        else
            result = take_flag(cli, argc, argv, &i, error);
    }
    return result;
}

static lapse_result take_environment(struct cli *cli, struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    for (const struct cli_flag *flag = cli_global_flags; flag->name != NULL && lapse_is_ok(result); flag++) {
        const char *text = flag->environment == NULL ? NULL : getenv(flag->environment);
        if (text != NULL && *text != '\0' && !cli_given(cli, flag->name))
            result = value_add(cli, flag, text, flag->environment, error);
    }
    return result;
}

bool cli_is_remote(const struct cli *cli)
{
    return cli->command->remote && (cli->command->offline == NULL || !cli_given(cli, cli->command->offline));
}

static lapse_result check_required(const struct cli *cli, struct lapse_error *error)
{
    if (cli->n_operands < cli->command->operands_min)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "lapse %s needs %s", cli->command->name,
                          cli->command->operands);
    for (const struct cli_flag *flag = cli->command->flags; flag != NULL && flag->name != NULL; flag++)
        if (flag->required && !cli_given(cli, flag->name))
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "lapse %s needs --%s %s: %s", cli->command->name,
                              flag->name, flag->value, flag->help);
    for (const struct cli_flag *flag = cli_global_flags; cli_is_remote(cli) && flag->name != NULL; flag++)
        if (flag->required && !cli_given(cli, flag->name))
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "lapse %s needs --%s %s (or %s in the environment): %s",
                              cli->command->name, flag->name, flag->value, flag->environment, flag->help);
    return lapse_ok();
}

static lapse_result unknown_command(int argc, char *const *argv, struct lapse_error *error)
{
    const char *typed = NULL, *best = NULL;
    unsigned nearest = 3;
    for (int i = 1; i < argc && typed == NULL; i++)
        typed = argv[i][0] != '-' ? argv[i] : NULL;
    if (typed == NULL)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "no command given");
    for (const struct cli_command *command = cli_commands; command->name != NULL; command++) {
        size_t first = strcspn(command->name, " ");
        if (strlen(typed) == first && strncmp(typed, command->name, first) == 0)
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "lapse %s needs a subcommand, for example: lapse %s",
                              typed, command->name);
        cli_consider(typed, command->name, &best, &nearest);
    }
    return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "unknown command \"%s\"%s%s%s", typed,
                      best == NULL ? "" : "; did you mean \"", best == NULL ? "" : best, best == NULL ? "" : "\"?");
}

static bool asks_only_for_help(int argc, char *const *argv)
{
    for (int i = 1; i < argc; i++)
        if (!is_help(argv[i]))
            return false;
    return argc > 1;
}

lapse_result cli_parse(struct cli *cli, int argc, char *const *argv, struct lapse_error *error)
{
    bool *is_word = mem_calloc((size_t)argc + 1, sizeof *is_word);
    lapse_result result;
    memset(cli, 0, sizeof *cli);
    cli->help = asks_only_for_help(argc, argv);
    find_command(cli, argc, argv, is_word);
    if (cli->command == NULL)
        result = cli->help ? lapse_ok() : unknown_command(argc, argv, error);
    else
        result = take_arguments(cli, argc, argv, is_word, error);
    free(is_word);
    if (!lapse_is_ok(result) || cli->help)
        return result;
    result = take_environment(cli, error);
    return lapse_is_ok(result) ? check_required(cli, error) : result;
}

/* ---- Reading values */

static const struct cli_value *value_of(const struct cli *cli, const char *name)
{
    for (int i = 0; i < cli->n_values; i++)
        if (strcmp(cli->values[i].flag->name, name) == 0)
            return &cli->values[i];
    return NULL;
}

bool cli_given(const struct cli *cli, const char *flag)
{
    return value_of(cli, flag) != NULL;
}

const char *cli_text(const struct cli *cli, const char *name)
{
    const struct cli_value *value = value_of(cli, name);
    if (value != NULL)
        return value->text;
    const struct cli_flag *flag = flag_find(cli->command, slice_str(name));
    CHECK(flag != NULL);
    return flag->fallback;
}

int64_t cli_number(const struct cli *cli, const char *name)
{
    const struct cli_value *value = value_of(cli, name);
    const struct cli_flag *flag = flag_find(cli->command, slice_str(name));
    int64_t number = 0;
    CHECK(flag != NULL);
    if (value != NULL)
        return value->number;
    if (flag->fallback != NULL)
        CHECK(value_fault(flag, flag->fallback, &number) == NULL);
    return number;
}

size_t cli_list(const struct cli *cli, const char *name, char ***values)
{
    size_t n = 0;
    *values = NULL;
    for (int i = 0; i < cli->n_values; i++) {
        if (strcmp(cli->values[i].flag->name, name) != 0)
            continue;
        for (const char *at = cli->values[i].text; *at != '\0';) {
            size_t len = strcspn(at, ",");
            *values = mem_realloc(*values, (n + 1) * sizeof **values);
            (*values)[n] = mem_calloc(len + 1, 1);
            memcpy((*values)[n++], at, len);
            at += len;
            at += *at == ',';
        }
    }
    return n;
}

void cli_list_free(char **values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(values[i]);
    free(values);
}

enum cli_output cli_output(const struct cli *cli)
{
    const char *name = cli_text(cli, "output");
    return strcmp(name, "json") == 0 ? CLI_JSON : strcmp(name, "id") == 0 ? CLI_ID : CLI_TABLE;
}
