/* The `lapse` command, from one table of commands.
 *
 *   argv, environment --> parse.c --> struct cli --> command->run --> exit code
 *                            |
 *      commands.c (the table) +--> help.c, man.c, completion.c
 *
 * Parsing, --help, the manual page, usage errors, shell completion and the examples (which a test runs) all come from
 * commands.c, so they can't disagree. */
#ifndef LAPSE_CLIENT_CLI_CLI_H
#define LAPSE_CLIENT_CLI_CLI_H

#include <stdio.h>

#include "client/lapse.h"

/* Documented in the manual; scripts rely on them. */
enum cli_exit {
    CLI_OK = 0,
    CLI_ERROR = 1,
    CLI_DENIED = 2, /* the check says no; the grant was denied; PERMISSION_DENIED, UNAUTHENTICATED */
    CLI_NOT_FOUND = 3,
    CLI_UNAVAILABLE = 4, /* no node answered in time: ask again */
    CLI_CONFLICT = 5,    /* not in the state that the command needs */
    CLI_USAGE = 64
};

enum cli_flag_kind {
    CLI_SWITCH,
    CLI_TEXT,
    CLI_FILE,
    CLI_DIRECTORY,
    CLI_LIST,     /* may be repeated, or separated by commas */
    CLI_NUMBER,   /* 0 to 4294967295 */
    CLI_DURATION, /* to milliseconds */
    CLI_TIME,     /* to milliseconds since the epoch */
    CLI_CHOICE,   /* one of `choices` */
    CLI_CHOICES   /* a list of them */
};

struct cli_flag {
    const char *name;  /* without the dashes; NULL ends a table */
    const char *value; /* what the value is called in help; NULL for switches */
    enum cli_flag_kind kind;
    const char *help;
    const char *choices;     /* separated by spaces */
    const char *environment; /* where the value comes from when the flag is not given */
    const char *fallback;    /* and when that is not set */
    bool required;
};

/* Each example can be run as it stands by the principal `as`, who needs $GRANT to be a grant in the state `grant`
 * (NULL: none; REVIEW: a break-glass grant whose review is open, its policy in force), and ends with `exit`. */
struct cli_example {
    const char *what; /* NULL ends a table */
    const char *text;
    const char *as;
    const char *grant;
    int exit;
};

struct cli;
struct cli_command {
    const char *name;     /* "cluster roles set"; NULL ends the table */
    const char *operands; /* as shown in help; "" for none */
    int operands_min, operands_max;
    const char *summary;
    const char *details; /* paragraphs separated by an empty line; may be NULL */
    const struct cli_flag *flags;
    const struct cli_example *examples;
    int (*run)(struct cli *cli);
    bool remote; /* needs endpoints and a certificate */
    const char *offline; /* the flag with which it needs none, or NULL */
};

extern const struct cli_command cli_commands[];
extern const struct cli_flag cli_global_flags[];
extern const struct cli_exit_text {
    int code;
    const char *text;
} cli_exit_texts[]; /* ends with a NULL text */

enum cli_output { CLI_TABLE, CLI_JSON, CLI_ID };

#define CLI_VALUES_MAX 128
#define CLI_OPERANDS_MAX 16

struct cli_value {
    const struct cli_flag *flag;
    const char *text;
    int64_t number;
};

/* One run of the command. Borrows argv and the environment. */
struct cli {
    const struct cli_command *command;
    const char *operands[CLI_OPERANDS_MAX];
    int n_operands;
    struct cli_value values[CLI_VALUES_MAX];
    int n_values;
    bool help;
    FILE *out;
    struct lapse_client *client; /* of remote commands */
    uint32_t timeout_ms;
};

/* ---- parse.c */

/* INVALID_ARGUMENT with what is wrong and what to do. `cli->command` is NULL when none was named (then `cli->help` may
 * be set), and is set as soon as it is known, also on failure, for the hint at its help. */
lapse_result cli_parse(struct cli *cli, int argc, char *const *argv, struct lapse_error *error) LAPSE_MUST_USE;
/* The command whose name is `words[0..n)`, or the longest beginning of them; *used is how many words that took. */
const struct cli_command *cli_find(const char *const *words, int n, int *used);
/* `name` becomes the best guess at what was meant by `typed`, if it is nearer than `*nearest` letters. */
void cli_consider(const char *typed, const char *name, const char **best, unsigned *nearest);
/* Whether a command's name is `words[0..n)`, or these and more words. */
bool cli_name_begins(const char *name, const char *const *words, int n);

/* Whether this run needs the cluster. */
bool cli_is_remote(const struct cli *cli);
bool cli_given(const struct cli *cli, const char *flag); /* on the command line or in the environment */
/* The flag's value or its fallback; NULL when it has neither. */
const char *cli_text(const struct cli *cli, const char *flag);
int64_t cli_number(const struct cli *cli, const char *flag); /* 0 when not given: numbers, durations, times */
/* Values of a list, split at commas. The caller frees the array and its strings with cli_list_free. */
size_t cli_list(const struct cli *cli, const char *flag, char ***values);
void cli_list_free(char **values, size_t n);
enum cli_output cli_output(const struct cli *cli);

/* ---- help.c, man.c, completion.c */

void cli_print_overview(FILE *out);
void cli_print_command(FILE *out, const struct cli_command *command);
/* The commands whose names begin with `words[0..n)`; false when there is none. */
bool cli_print_group(FILE *out, const char *const *words, int n);
void cli_print_examples(FILE *out);
void cli_print_man(FILE *out);
/* False when `shell` is none of bash, zsh, fish. */
bool cli_print_completion(FILE *out, const char *shell);
/* How a flag looks in help: "--duration DURATION". */
void cli_flag_spelling(const struct cli_flag *flag, char *out, size_t size);

/* ---- exit.c */

int cli_exit_code(enum lapse_code code);
/* Says on standard error what went wrong, and returns the exit code for it. */
int cli_fail(const struct lapse_error *error);
int cli_usage_error(const struct cli *cli, const char *format, ...) LAPSE_PRINTF(2, 3);

/* ---- commands: cmd_*.c */

int cmd_agent(struct cli *cli);
int cmd_help(struct cli *cli);
int cmd_completion(struct cli *cli);
int cmd_audit_query(struct cli *cli);
int cmd_audit_tail(struct cli *cli);
int cmd_audit_export(struct cli *cli);
int cmd_audit_verify(struct cli *cli);
int cmd_audit_head(struct cli *cli);
int cmd_audit_keys(struct cli *cli);
int cmd_evidence(struct cli *cli);
int cmd_report(struct cli *cli);
int cmd_version(struct cli *cli);
int cmd_pki_init(struct cli *cli);
int cmd_pki_issue(struct cli *cli);
int cmd_request(struct cli *cli);
int cmd_approve(struct cli *cli);
int cmd_deny(struct cli *cli);
int cmd_cancel(struct cli *cli);
int cmd_complete(struct cli *cli);
int cmd_use(struct cli *cli);
int cmd_revoke(struct cli *cli);
int cmd_revoke_matching(struct cli *cli);
int cmd_lock(struct cli *cli);
int cmd_unlock(struct cli *cli);
int cmd_locks(struct cli *cli);
int cmd_offboard(struct cli *cli);
int cmd_barrier(struct cli *cli);
int cmd_points(struct cli *cli);
int cmd_get(struct cli *cli);
int cmd_list(struct cli *cli);
int cmd_check(struct cli *cli);
int cmd_token(struct cli *cli);
int cmd_review(struct cli *cli);
int cmd_break_glass_list(struct cli *cli);
int cmd_break_glass_close(struct cli *cli);
int cmd_eligibility_put(struct cli *cli);
int cmd_eligibility_list(struct cli *cli);
int cmd_eligibility_certify(struct cli *cli);
int cmd_eligibility_remove(struct cli *cli);
int cmd_campaign_start(struct cli *cli);
int cmd_campaign_list(struct cli *cli);
int cmd_campaign_close(struct cli *cli);
int cmd_watch(struct cli *cli);
int cmd_policy_apply(struct cli *cli);
int cmd_policy_diff(struct cli *cli);
int cmd_policy_example(struct cli *cli);
int cmd_policy_list(struct cli *cli);
int cmd_policy_remove(struct cli *cli);
int cmd_policy_show(struct cli *cli);
int cmd_policy_test(struct cli *cli);
int cmd_cluster_status(struct cli *cli);
int cmd_roles_list(struct cli *cli);
int cmd_roles_set(struct cli *cli);
int cmd_transfer(struct cli *cli);
int cmd_add_node(struct cli *cli);
int cmd_remove_node(struct cli *cli);

#endif
