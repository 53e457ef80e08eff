/* The `lapse` command before it talks to anybody: parsing, values, help, completion, output. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "client/cli/cli.h"
#include "client/cli/filter.h"
#include "client/cli/output.h"
#include "client/cli/value.h"

#define ARGS_MAX 32

/* cli_parse of words separated by spaces. */
static lapse_result parse(struct cli *cli, const char *line, struct lapse_error *error)
{
    static char text[1024];
    char *argv[ARGS_MAX + 1] = {0};
    int argc = 0;
    error->message[0] = '\0';
    snprintf(text, sizeof text, "%s", line);
    for (char *word = strtok(text, " "); word != NULL && argc < ARGS_MAX; word = strtok(NULL, " "))
        argv[argc++] = word;
    return cli_parse(cli, argc, argv, error);
}

static void clear_environment(void)
{
    for (const struct cli_flag *flag = cli_global_flags; flag->name != NULL; flag++)
        unsetenv(flag->environment);
}

#define REMOTE " --endpoints a:1 --cert c --key k --ca a"

Test(cli, reads_flags_before_between_and_after_the_commands_words)
{
    struct cli cli;
    struct lapse_error error;
    static const char *const lines[] = {
        "lapse --output json --endpoints a:1 --cert c --key k --ca a cluster roles set m approver",
        "lapse cluster --output=json roles --endpoints=a:1 set m approver --cert c --key k --ca a",
        "lapse cluster roles set --output json m" REMOTE " approver",
        "lapse cluster roles set --output json" REMOTE " -- m approver"};
    clear_environment();
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        cr_assert(lapse_is_ok(parse(&cli, lines[i], &error)), "%s: %s", lines[i], error.message);
        cr_assert_str_eq(cli.command->name, "cluster roles set");
        cr_assert_eq(cli.n_operands, 2, "%s", lines[i]);
        cr_assert_str_eq(cli.operands[0], "m");
        cr_assert_eq(cli_output(&cli), CLI_JSON);
    }
}

Test(cli, takes_what_no_flag_says_from_the_environment_and_then_the_default)
{
    struct cli cli;
    struct lapse_error error;
    clear_environment();
    setenv("LAPSE_ENDPOINTS", "e:1", 1);
    setenv("LAPSE_CERTIFICATE", "c", 1);
    setenv("LAPSE_KEY", "k", 1);
    setenv("LAPSE_AUTHORITIES", "a", 1);
    setenv("LAPSE_TIMEOUT", "2s", 1);
    cr_assert(lapse_is_ok(parse(&cli, "lapse get X --key mine", &error)), "%s", error.message);
    cr_assert_str_eq(cli_text(&cli, "endpoints"), "e:1");
    cr_assert_str_eq(cli_text(&cli, "key"), "mine");
    cr_assert_eq(cli_number(&cli, "timeout"), 2000);
    cr_assert_str_eq(cli_text(&cli, "output"), "table");
    setenv("LAPSE_OUTPUT", "yaml", 1);
    cr_assert(!lapse_is_ok(parse(&cli, "lapse get X", &error)));
    cr_assert_not_null(strstr(error.message, "LAPSE_OUTPUT"), "%s", error.message);
    clear_environment();
}

Test(cli, says_what_is_wrong_and_what_to_do)
{
    static const struct {
        const char *line, *says;
    } cases[] = {
        {"lapse", "no command"},
        {"lapse requst", "did you mean \"request\""},
        {"lapse cluster", "subcommand"},
        {"lapse cluster rols", "subcommand"},
        {"lapse get" REMOTE, "needs GRANT-ID"},
        {"lapse get A B" REMOTE, "unexpected \"B\""},
        {"lapse list X" REMOTE, "takes only flags"},
        {"lapse get X", "LAPSE_ENDPOINTS"},
        {"lapse list --stat ACTIVE" REMOTE, "did you mean --state"},
        {"lapse list --state ACTIVE,NONE" REMOTE, "not one of: PENDING"},
        {"lapse list --limit -1" REMOTE, "whole number"},
        {"lapse list --limit 4294967296" REMOTE, "whole number"},
        {"lapse list" REMOTE " --subject", "--subject needs a value"},
        {"lapse list --subject= --limit 1" REMOTE, "is not something"},
        {"lapse list --limit 1 --limit 2" REMOTE, "twice"},
        {"lapse request --wait=yes", "takes no value"},
        {"lapse request --duration 1x --resource r", "a duration like"},
        {"lapse request --deadline tomorrow", "a time like"},
        {"lapse request --resource r --action a" REMOTE, "needs --justification"},
        {"lapse get -x", "two dashes"},
    };
    struct cli cli;
    struct lapse_error error;
    clear_environment();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_assert(!lapse_is_ok(parse(&cli, cases[i].line, &error)), "%s", cases[i].line);
        cr_assert_not_null(strstr(error.message, cases[i].says), "%s: %s", cases[i].line, error.message);
    }
}

Test(cli, help_is_shown_whatever_else_is_missing)
{
    struct cli cli;
    struct lapse_error error;
    clear_environment();
    cr_assert(lapse_is_ok(parse(&cli, "lapse request --help", &error)), "%s", error.message);
    cr_assert(cli.help);
    cr_assert_str_eq(cli.command->name, "request");
    cr_assert(lapse_is_ok(parse(&cli, "lapse -h", &error)));
    cr_assert(cli.help && cli.command == NULL);
}

Test(cli, lists_are_split_at_commas_and_may_be_repeated)
{
    struct cli cli;
    struct lapse_error error;
    struct cli_filter filter;
    char **values;
    clear_environment();
    cr_assert(lapse_is_ok(parse(&cli, "lapse list --state ACTIVE,PENDING --state LAPSED,ACTIVE" REMOTE, &error)), "%s",
              error.message);
    size_t n = cli_list(&cli, "state", &values);
    cr_assert_eq(n, 4);
    cr_assert_str_eq(values[2], "LAPSED");
    cli_list_free(values, n);
    cli_filter_take(&cli, &filter);
    cr_assert_eq(filter.filter.n_states, 3, "a state named twice counts once");
    cr_assert_eq(filter.states[0], LAPSE_STATE_ACTIVE);
    cr_assert_eq(filter.states[2], LAPSE_STATE_LAPSED);
}

/* ---- Values */

Test(cli, durations_have_units_in_falling_order)
{
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"30s", 30000}, {"15m", 900000},      {"8h", 28800000},  {"1h30m", 5400000},
                {"250ms", 250}, {"2d12h", 216000000}, {"1m500ms", 60500}};
    static const char *const bad[] = {"",     "30",   "s",   "0s",  "-5s",          "5x",    "30m1h",
                                      "1h1h", "1.5h", " 5s", "5s ", "99999999999d", "4000d", "5mss"};
    int64_t ms;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        cr_assert(value_parse_duration(good[i].text, &ms), "%s", good[i].text);
        cr_assert_eq(ms, good[i].ms, "%s", good[i].text);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert(!value_parse_duration(bad[i], &ms), "\"%s\"", bad[i]);
}

Test(cli, times_are_rfc_3339_or_relative)
{
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"1970-01-01T00:00:01Z", 1000},
                {"2026-01-31T18:00:00Z", 1769882400000},
                {"2026-01-31T19:00:00+01:00", 1769882400000},
                {"2026-01-31t12:30:00.25-05:30", 1769882400250},
                {"2024-02-29 00:00:00Z", 1709164800000},
                {"+15m", 900500}};
    static const char *const bad[] = {"",
                                      "2026-01-31",
                                      "2026-01-31T18:00:00",
                                      "2026-02-30T00:00:00Z",
                                      "2026-13-01T00:00:00Z",
                                      "2026-01-31T24:00:00Z",
                                      "2026-01-31T18:00:00.Z",
                                      "2026-01-31T18:00:00Zx",
                                      "15m",
                                      "+",
                                      "+0s",
                                      "2026-01-31T18:00:00+1:00"};
    int64_t ms;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        cr_assert(value_parse_time(good[i].text, 500, &ms), "%s", good[i].text);
        cr_assert_eq(ms, good[i].ms, "%s: %lld", good[i].text, (long long)ms);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert(!value_parse_time(bad[i], 500, &ms), "\"%s\"", bad[i]);
}

Test(cli, what_it_says_about_time_reads_well)
{
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {{450, "450ms"},     {32000, "32s"},  {80000, "1m20s"}, {840000, "14m"},
                 {7500000, "2h05m"}, {7200000, "2h"}, {86400000, "1d"}, {90000000, "1d01h"}};
    char text[64];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        value_format_duration(cases[i].ms, text, sizeof text);
        cr_assert_str_eq(text, cases[i].text);
    }
    setenv("TZ", "UTC", 1);
    tzset();
    value_format_time(1769882400000, 1769882400000 - 840000, text, sizeof text);
    cr_assert_str_eq(text, "2026-01-31 18:00:00 (in 14m)");
    value_format_time(1769882400000, 1769882400000 + 3000, text, sizeof text);
    cr_assert_str_eq(text, "2026-01-31 18:00:00 (3s ago)");
}

Test(cli, thumbprints_are_hex_of_the_exact_length)
{
    uint8_t bytes[3];
    cr_assert(value_parse_hex("00ffA1", bytes, 3));
    cr_assert_eq(bytes[2], 0xA1);
    cr_assert(value_parse_hex("00:ff:a1", bytes, 3));
    cr_assert(!value_parse_hex("00ffa", bytes, 3));
    cr_assert(!value_parse_hex("00ffa1b2", bytes, 3));
    cr_assert(!value_parse_hex("00ffg1", bytes, 3));
}

/* ---- Output */

static char *captured(void (*print)(FILE *out, const void *arg), const void *arg)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    print(out, arg);
    fclose(out);
    return text;
}

static void print_text(FILE *out, const void *arg)
{
    output_text(out, arg);
}

Test(cli, nothing_from_outside_reaches_the_terminal_unescaped)
{
    char *text = captured(print_text, "a\033[2Jb\nc\xC2\x9B"
                                      "d\xC3\xA4");
    cr_assert_str_eq(text, "a\\x1b[2Jb\\nc\\x9bd\xC3\xA4");
    free(text);
}

static void print_table(FILE *out, const void *arg)
{
    static const char *const titles[] = {"A", "B", "C"};
    struct output_table *table = output_table_new(3, titles);
    (void)arg;
    output_table_cell(table, "%s", "\xC3\xA4\xC3\xA4\xC3\xA4");
    output_table_cell(table, "%d", 1);
    output_table_cell(table, "%s", "");
    output_table_print(table, out, "None.");
    output_table_free(table);
}

Test(cli, columns_are_aligned_by_characters)
{
    char *text = captured(print_table, NULL);
    cr_assert_str_eq(text, "A    B  C\n\xC3\xA4\xC3\xA4\xC3\xA4  1  -\n");
    free(text);
}

static void print_json(FILE *out, const void *arg)
{
    output_json_message(out, &schema_grant, arg);
}

Test(cli, json_has_every_field_under_its_name_in_the_api)
{
    const char *actions[] = {"read"};
    struct lapse_grant grant = {.id = "G",
                                .state = LAPSE_STATE_ACTIVE,
                                .subject = "s",
                                .resource = "r",
                                .actions = actions,
                                .n_actions = 1,
                                .justification = "\"q\"",
                                .ticket = "",
                                .task = "",
                                .requester = "",
                                .parent = "",
                                .policy = "",
                                .ended_by = "",
                                .reason = "",
                                .deadline_ms = 1769882400000,
                                .binding = {.spiffe_id = ""}};
    char *text = captured(print_json, &grant);
    json_t *json = json_loads(text, 0, NULL);
    cr_assert_not_null(json);
    cr_assert_eq(json_object_size(json), schema_grant.n_fields);
    cr_assert_str_eq(json_string_value(json_object_get(json, "state")), "ACTIVE");
    cr_assert_eq(json_integer_value(json_object_get(json, "deadline_ms")), 1769882400000);
    cr_assert_str_eq(json_string_value(json_object_get(json, "justification")), "\"q\"");
    cr_assert(json_is_null(json_object_get(json, "binding")));
    cr_assert_eq(json_array_size(json_object_get(json, "actions")), 1);
    json_decref(json);
    free(text);
}

/* ---- The table itself */

Test(cli, every_command_can_be_found_and_has_examples_that_parse)
{
    struct cli cli;
    struct lapse_error error;
    clear_environment();
    for (const struct cli_command *command = cli_commands; command->name != NULL; command++) {
        char name[64];
        const char *words[4];
        int n = 0, used;
        snprintf(name, sizeof name, "%s", command->name);
        for (char *word = strtok(name, " "); word != NULL; word = strtok(NULL, " "))
            words[n++] = word;
        cr_assert_eq(cli_find(words, n, &used), command, "%s", command->name);
        cr_assert_eq(used, n);
        cr_assert(command->examples != NULL || strcmp(command->name, "version") == 0, "%s has no example",
                  command->name);
        for (const struct cli_example *e = command->examples; e != NULL && e->what != NULL; e++)
            cr_assert_not_null(strstr(e->text, command->name), "an example of %s: %s", command->name, e->text);
        if (command->remote)
            cr_assert(!lapse_is_ok(parse(&cli, "lapse", &error)));
    }
}

static void print_man(FILE *out, const void *arg)
{
    (void)arg;
    cli_print_man(out);
}

Test(cli, the_committed_manual_page_is_up_to_date)
{
    char path[512], *text = captured(print_man, NULL), *committed = NULL;
    size_t size = 0;
    snprintf(path, sizeof path, "%s/docs/man/lapse.1", getenv("SOURCE_ROOT"));
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file, "%s", path);
    cr_assert_geq(getdelim(&committed, &size, '\0', file), 1);
    fclose(file);
    cr_assert_eq(strcmp(committed, text), 0, "run: lapse help --man > docs/man/lapse.1");
    free(committed);
    free(text);
}

static void print_completion(FILE *out, const void *arg)
{
    cr_assert(cli_print_completion(out, arg));
}

/* What bash would offer for a line that ends at the cursor, by running the script in a real bash. */
static char *completed(const char *line)
{
    char *script = captured(print_completion, "bash"), *reply = NULL, path[] = "/tmp/lapse-completion-XXXXXX",
         command[512];
    size_t size = 0;
    FILE *file = fdopen(mkstemp(path), "w");
    fprintf(file, "%s\nCOMP_WORDS=(%s)\nCOMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_lapse\necho \"${COMPREPLY[*]}\"\n",
            script, line);
    fclose(file);
    snprintf(command, sizeof command, "bash --norc %s 2>&1", path);
    FILE *bash = popen(command, "r");
    cr_assert_geq(getdelim(&reply, &size, '\0', bash), 1);
    pclose(bash);
    unlink(path);
    free(script);
    return reply;
}

Test(cli, bash_completes_commands_flags_and_values)
{
    static const struct {
        const char *line, *offers;
    } cases[] = {
        {"lapse re", "request revoke revoke-matching review report\n"},         {"lapse cluster ''", "status roles transfer add-node remove-node\n"},
        {"lapse cluster roles s", "set\n"},       {"lapse --output json clu", "cluster\n"},
        {"lapse --output ''", "table json id\n"}, {"lapse list --state EX", "EXPIRED EXHAUSTED\n"},
        {"lapse revoke G --rea", "--reason\n"},   {"lapse revoke G --reason x --req", "--request-id\n"},
        {"lapse revoke G --until e", "enforced\n"},
        {"lapse request --reason ''", "\n"},      {"lapse completion z", "zsh\n"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *reply = completed(cases[i].line);
        cr_assert_str_eq(reply, cases[i].offers, "%s", cases[i].line);
        free(reply);
    }
}

Test(cli, zsh_and_fish_have_scripts_and_other_shells_do_not)
{
    char *zsh = captured(print_completion, "zsh"), *fish = captured(print_completion, "fish");
    cr_assert_not_null(strstr(zsh, "#compdef lapse"));
    cr_assert_not_null(strstr(fish, "complete -c lapse -n '__lapse_words revoke' -l reason"));
    cr_assert(!cli_print_completion(stdout, "csh"));
    free(zsh);
    free(fish);
}
