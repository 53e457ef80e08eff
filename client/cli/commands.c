/* The table of commands: everything that help, manual, completion, usage errors and the examples' test know. See cli.h.
 */
#include "client/cli/cli.h"

#define END                                                                                                            \
    {                                                                                                                  \
        .name = NULL                                                                                                   \
    }
#define NO_EXAMPLES                                                                                                    \
    {                                                                                                                  \
        .what = NULL                                                                                                   \
    }
#define GRANT_ID "GRANT-ID"
#define STATES "PENDING APPROVED ACTIVE EXPIRED REVOKED COMPLETED EXHAUSTED DENIED CANCELLED LAPSED"
#define ROLES "requester approver operator auditor enforcer"

/* clang-format off */
const struct cli_exit_text cli_exit_texts[] = {
    {CLI_OK, "done; a check says yes"},
    {CLI_ERROR, "another error"},
    {CLI_DENIED, "a check says no; a grant waited for was denied; the caller may not do this"},
    {CLI_NOT_FOUND, "there is no such grant or file"},
    {CLI_UNAVAILABLE, "no node answered in time; the command can be repeated"},
    {CLI_CONFLICT, "the grant, or what is there already, is not in the state that this needs"},
    {CLI_USAGE, "the command was used wrongly"},
    {0, NULL}};

const struct cli_flag cli_global_flags[] = {
    {.name = "endpoints", .value = "HOST:PORT,...", .kind = CLI_TEXT, .environment = "LAPSE_ENDPOINTS", .required = true,
     .help = "nodes of the cluster; any of them will do, more of them survive its loss"},
    {.name = "cert", .value = "FILE", .kind = CLI_FILE, .environment = "LAPSE_CERTIFICATE", .required = true,
     .help = "your certificate, PEM"},
    {.name = "key", .value = "FILE", .kind = CLI_FILE, .environment = "LAPSE_KEY", .required = true,
     .help = "its private key, PEM"},
    {.name = "ca", .value = "FILE", .kind = CLI_FILE, .environment = "LAPSE_AUTHORITIES", .required = true,
     .help = "certificates of the authorities to trust, PEM"},
    {.name = "timeout", .value = "DURATION", .kind = CLI_DURATION, .environment = "LAPSE_TIMEOUT", .fallback = "10s",
     .help = "how long one call may take, repeats at other nodes included; at most 1h"},
    {.name = "output", .value = "FORMAT", .kind = CLI_CHOICE, .choices = "table json id", .environment = "LAPSE_OUTPUT",
     .fallback = "table",
     .help = "table for people; json for programs (lists and watches: one object a line); id for grants' ids alone"},
    END};

/* What selects grants, for list, watch and revoke-matching. */
#define FILTER_FLAGS \
    {.name = "subject", .value = "PRINCIPAL", .kind = CLI_TEXT, .help = "only grants of this subject"}, \
    {.name = "resource", .value = "RESOURCE", .kind = CLI_TEXT, .help = "only this resource, or everything below it when it ends in /*"}, \
    {.name = "requester", .value = "PRINCIPAL", .kind = CLI_TEXT, .help = "only what this principal requested"}, \
    {.name = "approver", .value = "PRINCIPAL", .kind = CLI_TEXT, .help = "only what this principal approved"}, \
    {.name = "ticket", .value = "TICKET", .kind = CLI_TEXT, .help = "only grants with this ticket"}, \
    {.name = "policy", .value = "NAME", .kind = CLI_TEXT, .help = "only what this policy allowed"}, \
    {.name = "policy-version", .value = "VERSION", .kind = CLI_NUMBER, .help = "only what this version of --policy allowed"}, \
    {.name = "binding", .value = "SPIFFE-ID", .kind = CLI_TEXT, .help = "only grants bound to this identity"}, \
    {.name = "label", .value = "KEY=VALUE", .kind = CLI_TEXT, .help = "only grants with this label"}, \
    {.name = "person", .value = "PRINCIPAL", .kind = CLI_TEXT, .help = "only grants whose subject or requester it is, under any of its names"}, \
    {.name = "parent", .value = GRANT_ID, .kind = CLI_TEXT, .help = "only children of this grant"}, \
    {.name = "state", .value = "STATE,...", .kind = CLI_CHOICES, .choices = STATES, .help = "only grants in one of these states"}

#define REQUEST_ID_FLAG \
    {.name = "request-id", .value = "ID", .kind = CLI_TEXT, \
     .help = "your idempotency key: the command repeated with it has the first outcome; a random one otherwise"}

#define PRESENTED_FLAGS \
    {.name = "spiffe-id", .value = "SPIFFE-ID", .kind = CLI_TEXT, .help = "the SPIFFE ID that the presenter showed"}, \
    {.name = "certificate-sha256", .value = "HEX", .kind = CLI_TEXT, .help = "the SHA-256 of the presenter's certificate"}, \
    {.name = "address", .value = "IP", .kind = CLI_TEXT, .help = "the presenter's address"}

static const struct cli_flag pki_init_flags[] = {
    {.name = "dir", .value = "DIR", .kind = CLI_DIRECTORY, .fallback = "pki", .help = "where ca.pem and ca.key go"},
    {.name = "domain", .value = "DOMAIN", .kind = CLI_TEXT, .required = true, .help = "the SPIFFE trust domain, for example example.org"},
    {.name = "days", .value = "N", .kind = CLI_NUMBER, .fallback = "3650", .help = "how long the authority is valid"},
    END};
static const struct cli_flag pki_issue_flags[] = {
    {.name = "dir", .value = "DIR", .kind = CLI_DIRECTORY, .fallback = "pki", .help = "where the authority is, and where the files go"},
    {.name = "name", .value = "NAME", .kind = CLI_TEXT, .help = "names the files NAME.pem and NAME.key; otherwise the principal's last part"},
    {.name = "host", .value = "HOST", .kind = CLI_LIST, .help = "a name or address of a server, for its certificate"},
    {.name = "days", .value = "N", .kind = CLI_NUMBER, .fallback = "365", .help = "how long the certificate is valid"},
    END};
static const struct cli_flag request_flags[] = {
    {.name = "resource", .value = "RESOURCE", .kind = CLI_TEXT, .required = true, .help = "what to reach, for example db/prod/orders, or a subtree: db/prod/*"},
    {.name = "action", .value = "ACTION,...", .kind = CLI_LIST, .required = true, .help = "what to do with it, for example read,connect"},
    {.name = "justification", .value = "TEXT", .kind = CLI_TEXT, .required = true, .help = "why"},
    {.name = "subject", .value = "PRINCIPAL", .kind = CLI_TEXT, .help = "who gets access; otherwise you"},
    {.name = "duration", .value = "DURATION", .kind = CLI_DURATION, .help = "how long, from the grant's beginning; this or --deadline is needed"},
    {.name = "deadline", .value = "TIME", .kind = CLI_TIME, .help = "until when"},
    {.name = "not-before", .value = "TIME", .kind = CLI_TIME, .help = "from when on; otherwise as soon as it is approved"},
    {.name = "decide-by", .value = "TIME", .kind = CLI_TIME, .help = "the request lapses when undecided by then; otherwise after 24 hours"},
    {.name = "max-uses", .value = "N", .kind = CLI_NUMBER, .help = "how often it can be used; otherwise without limit"},
    {.name = "ticket", .value = "TICKET", .kind = CLI_TEXT, .help = "the ticket that this is about"},
    {.name = "task", .value = "TASK", .kind = CLI_TEXT, .help = "the task that this is for"},
    {.name = "label", .value = "KEY=VALUE", .kind = CLI_LIST, .help = "a label; may be repeated"},
    {.name = "parent", .value = GRANT_ID, .kind = CLI_TEXT, .help = "the grant that this one is derived from"},
    {.name = "bind-spiffe-id", .value = "SPIFFE-ID", .kind = CLI_TEXT, .help = "only for a presenter with this SPIFFE ID"},
    {.name = "bind-certificate-sha256", .value = "HEX", .kind = CLI_TEXT, .help = "only for a presenter with this certificate"},
    {.name = "bind-network", .value = "CIDR", .kind = CLI_LIST, .help = "only from this network; may be repeated"},
    {.name = "policy", .value = "NAME", .kind = CLI_TEXT, .help = "under this policy and no other; otherwise the first that allows it"},
    {.name = "break-glass", .kind = CLI_SWITCH, .help = "it is an emergency: under a break-glass rule, and reviewed afterwards"},
    REQUEST_ID_FLAG,
    {.name = "wait", .kind = CLI_SWITCH, .help = "wait until it is active, or decided otherwise"},
    END};
static const struct cli_flag break_glass_list_flags[] = {
    {.name = "overdue", .kind = CLI_SWITCH, .help = "only those whose time is over: they bar their requester and subject from requesting"}, END};
static const struct cli_flag break_glass_close_flags[] = {
    {.name = "verdict", .value = "VERDICT", .kind = CLI_CHOICE, .choices = "justified misused", .required = true, .help = "justified or misused"},
    {.name = "comment", .value = "TEXT", .kind = CLI_TEXT, .required = true, .help = "what you have found, for the record"},
    REQUEST_ID_FLAG, END};
static const struct cli_flag decision_flags[] = {
    {.name = "comment", .value = "TEXT", .kind = CLI_TEXT, .help = "for the record"},
    REQUEST_ID_FLAG, END};
static const struct cli_flag end_flags[] = {
    {.name = "reason", .value = "TEXT", .kind = CLI_TEXT, .help = "why, for the record"},
    REQUEST_ID_FLAG, END};
#define WAIT_FLAGS(fallback_) \
    {.name = "until", .value = "LEVEL", .kind = CLI_CHOICE, .choices = "committed received enforced", .fallback = (fallback_), \
     .help = "what to wait for: that it is committed; that every enforcement point denies; that every session is ended, too"}, \
    {.name = "progress", .kind = CLI_SWITCH, .help = "tell who has confirmed and who is waited for"}

#define LOCK_FLAGS \
    {.name = "reason", .value = "TEXT", .kind = CLI_TEXT, .required = true, .help = "why; whoever is refused is told"}, \
    {.name = "for", .value = "DURATION", .kind = CLI_DURATION, .help = "until so much later; otherwise until it is lifted"}
#define UNTIL_FLAG \
    {.name = "until", .value = "LEVEL", .kind = CLI_CHOICE, .choices = "committed received enforced", .fallback = "enforced", \
     .help = "what to wait for: that it is committed; that every enforcement point denies; that every session is ended, too"}

static const struct cli_flag lock_flags[] = {LOCK_FLAGS, UNTIL_FLAG, REQUEST_ID_FLAG, END};
static const struct cli_flag lock_point_flags[] = {LOCK_FLAGS, REQUEST_ID_FLAG, END};
static const struct cli_flag unlock_flags[] = {
    {.name = "reason", .value = "TEXT", .kind = CLI_TEXT, .help = "why, for the record"},
    REQUEST_ID_FLAG, END};
static const struct cli_flag locks_flags[] = {
    {.name = "prefix", .value = "TEXT", .kind = CLI_TEXT, .help = "only names that begin with it, for example subject:"},
    END};
static const struct cli_flag offboard_flags[] = {
    {.name = "reason", .value = "TEXT", .kind = CLI_TEXT, .required = true, .help = "why, for the record"},
    UNTIL_FLAG, REQUEST_ID_FLAG, END};
static const struct cli_flag revoke_flags[] = {
    {.name = "reason", .value = "TEXT", .kind = CLI_TEXT, .help = "why, for the record"},
    WAIT_FLAGS("enforced"), REQUEST_ID_FLAG, END};
static const struct cli_flag revoke_matching_flags[] = {
    FILTER_FLAGS,
    {.name = "reason", .value = "TEXT", .kind = CLI_TEXT, .help = "why, for the record"},
    WAIT_FLAGS("enforced"), REQUEST_ID_FLAG, END};
static const struct cli_flag use_flags[] = {
    {.name = "count", .value = "N", .kind = CLI_NUMBER, .fallback = "1", .help = "how many uses"},
    REQUEST_ID_FLAG, END};
static const struct cli_flag list_flags[] = {
    FILTER_FLAGS,
    {.name = "limit", .value = "N", .kind = CLI_NUMBER, .help = "stop after so many grants; otherwise all"},
    END};
static const struct cli_flag check_flags[] = {
    PRESENTED_FLAGS,
    {.name = "token-file", .value = "FILE", .kind = CLI_FILE, .help = "the bearer token that was shown, in a file; - for standard input. Only its grant counts"},
    END};
#define REASON_FLAG {.name = "reason", .value = "TEXT", .kind = CLI_TEXT, .help = "why, for the record"}
#define PREFIX_FLAG {.name = "prefix", .value = "NAME", .kind = CLI_TEXT, .help = "only names that begin with this"}
static const struct cli_flag token_flags[] = {
    {.name = "file", .value = "FILE", .kind = CLI_FILE, .help = "write it to this new file, readable by you alone, and print nothing"},
    END};
static const struct cli_flag eligibility_put_flags[] = {
    {.name = "member", .value = "PRINCIPAL", .kind = CLI_TEXT, .required = true, .help = "whom it is for: a principal, or a prefix of principals ended by one asterisk"},
    {.name = "resource", .value = "RESOURCE,...", .kind = CLI_LIST, .required = true, .help = "what they may request: paths, subtrees db/prod/*, or *; at most 8"},
    {.name = "action", .value = "ACTION,...", .kind = CLI_LIST, .help = "to do what with it; otherwise anything"},
    {.name = "expires", .value = "TIME", .kind = CLI_TIME, .required = true, .help = "its end, at most a year away"},
    {.name = "reason", .value = "TEXT", .kind = CLI_TEXT, .required = true, .help = "why they need it"},
    REQUEST_ID_FLAG, END};
static const struct cli_flag eligibility_certify_flags[] = {
    {.name = "expires", .value = "TIME", .kind = CLI_TIME, .required = true, .help = "its new end, at most a year away"},
    {.name = "comment", .value = "TEXT", .kind = CLI_TEXT, .help = "why it is needed still: takes the place of its reason"},
    REQUEST_ID_FLAG, END};
static const struct cli_flag remove_flags[] = {REASON_FLAG, REQUEST_ID_FLAG, END};
static const struct cli_flag prefix_flags[] = {PREFIX_FLAG, END};
static const struct cli_flag review_flags[] = {
    {.name = "since", .value = "DURATION", .kind = CLI_DURATION, .fallback = "30d", .help = "the period to look at, up to now"},
    {.name = "dormant", .value = "DURATION", .kind = CLI_DURATION, .fallback = "30d", .help = "eligibility that was not used for so long is dormant"},
    {.name = "ends-within", .value = "DURATION", .kind = CLI_DURATION, .fallback = "14d", .help = "name eligibility that ends so soon"},
    {.name = "long", .value = "DURATION", .kind = CLI_DURATION, .fallback = "12h", .help = "name grants for longer than this"},
    {.name = "gap", .value = "DURATION", .kind = CLI_DURATION, .fallback = "10m", .help = "a grant that begins so soon after the end of another one for the same has renewed it"},
    {.name = "in-a-row", .value = "N", .kind = CLI_NUMBER, .fallback = "3", .help = "name so many grants that renew one another"},
    {.name = "standing", .value = "PERCENT", .kind = CLI_NUMBER, .fallback = "50", .help = "who had something for more of the period than this has standing access in disguise"},
    END};
static const struct cli_flag campaign_start_flags[] = {
    {.name = "due", .value = "TIME", .kind = CLI_TIME, .required = true, .help = "what is not certified by then, lapses"},
    {.name = "member", .value = "PRINCIPAL,...", .kind = CLI_LIST, .help = "only eligibility of these members, or prefixes of them; at most 8"},
    {.name = "resource", .value = "RESOURCE,...", .kind = CLI_LIST, .help = "only eligibility for something in these; at most 8"},
    REASON_FLAG, REQUEST_ID_FLAG, END};
static const struct cli_flag watch_flags[] = {
    FILTER_FLAGS,
    {.name = "snapshot", .kind = CLI_SWITCH, .help = "begin with the grants in scope that are there now"},
    {.name = "from", .value = "EPOCH/REVISION", .kind = CLI_TEXT, .help = "resume behind this point, the last one seen"},
    {.name = "count", .value = "N", .kind = CLI_NUMBER, .help = "end after so many events"},
    {.name = "until-ended", .value = GRANT_ID, .kind = CLI_TEXT, .help = "end after the event that ends this grant"},
    {.name = "progress", .kind = CLI_SWITCH, .help = "show signs of life, too"},
    END};
static const struct cli_flag roles_set_flags[] = {
    {.name = "remove", .kind = CLI_SWITCH, .help = "take all roles away"},
    {.name = "scope", .value = "RESOURCE,...", .kind = CLI_LIST, .help = "what an enforcer may guard, paths or subtrees; otherwise everything"},
    REQUEST_ID_FLAG, END};
static const struct cli_flag agent_flags[] = {
    {.name = "config", .value = "FILE", .kind = CLI_FILE, .help = "its settings, see lapse-agent(5)"},
    {.name = "check-config", .kind = CLI_SWITCH, .help = "say whether the settings are right, and end"},
    {.name = "example", .kind = CLI_SWITCH, .help = "print an example of the settings, and end"},
    {.name = "accept-new-history", .kind = CLI_SWITCH, .help = "put the kept head of the audit log aside: the cluster has lost history, and somebody has looked into it"},
    END};
static const struct cli_flag policy_apply_flags[] = {
    {.name = "expect-version", .value = "N", .kind = CLI_NUMBER, .help = "refuse unless it replaces this version"},
    {.name = "source", .value = "TEXT", .kind = CLI_TEXT, .help = "where it is kept, for the record: a repository and commit"},
    {.name = "dry-run", .kind = CLI_SWITCH, .help = "only say what would change"},
    REQUEST_ID_FLAG, END};
static const struct cli_flag policy_remove_flags[] = {
    {.name = "last", .kind = CLI_SWITCH, .help = "also the last one: then the built-in rule holds, and requesters may ask for anything"},
    {.name = "reason", .value = "TEXT", .kind = CLI_TEXT, .help = "why, for the record"},
    REQUEST_ID_FLAG, END};
static const struct cli_flag policy_test_flags[] = {
    {.name = "verbose", .kind = CLI_SWITCH, .help = "show what passed, too"},
    END};
static const struct cli_flag policy_example_flags[] = {
    {.name = "tests", .kind = CLI_SWITCH, .help = "its tests"},
    END};
#define KEYS_FLAG \
    {.name = "keys", .value = "FILE|DIR", .kind = CLI_LIST, .help = "public keys of the nodes, as `lapse audit keys` prints them; may be repeated"}
#define EXPORT_FLAG \
    {.name = "export", .value = "FILE", .kind = CLI_FILE, .help = "from this export, without a cluster"}
#define DOCUMENT_FLAG \
    {.name = "format", .value = "FORMAT", .kind = CLI_CHOICE, .choices = "text json html", .fallback = "text", \
     .help = "text for a terminal, json for programs, html for auditors: one page that needs nothing else"}
#define RECORD_FLAGS \
    {.name = "grant", .value = GRANT_ID, .kind = CLI_TEXT, .help = "only records about this grant"}, \
    {.name = "subject", .value = "PRINCIPAL", .kind = CLI_TEXT, .help = "only records about grants of this subject"}, \
    {.name = "resource", .value = "RESOURCE", .kind = CLI_TEXT, .help = "only about this resource, or everything below it when it ends in /*"}, \
    {.name = "actor", .value = "PRINCIPAL", .kind = CLI_TEXT, .help = "only what this principal did"}, \
    {.name = "type", .value = "TYPE,...", .kind = CLI_LIST, .help = "only events of these types, for example REVOKED,LOCKED"}
static const struct cli_flag audit_query_flags[] = {
    RECORD_FLAGS,
    {.name = "from", .value = "TIME", .kind = CLI_TIME, .help = "not before this moment"},
    {.name = "to", .value = "TIME", .kind = CLI_TIME, .help = "before this moment"},
    {.name = "newest-first", .kind = CLI_SWITCH, .help = "in the other order"},
    {.name = "limit", .value = "N", .kind = CLI_NUMBER, .help = "stop after so many records; otherwise all"},
    END};
static const struct cli_flag audit_tail_flags[] = {
    RECORD_FLAGS,
    {.name = "from-revision", .value = "REVISION", .kind = CLI_NUMBER, .help = "the first record; otherwise from now on"},
    {.name = "count", .value = "N", .kind = CLI_NUMBER, .help = "end after so many records"},
    END};
static const struct cli_flag audit_export_flags[] = {
    {.name = "from-revision", .value = "REVISION", .kind = CLI_NUMBER, .help = "the first record; otherwise 1"},
    {.name = "to-revision", .value = "REVISION", .kind = CLI_NUMBER, .help = "the last record; otherwise the newest"},
    {.name = "format", .value = "FORMAT", .kind = CLI_CHOICE, .choices = "lapse ocsf", .fallback = "lapse",
     .help = "lapse can be verified; ocsf is for a SIEM, and can't"},
    END};
static const struct cli_flag audit_verify_flags[] = {
    {.name = "keys", .value = "FILE|DIR", .kind = CLI_LIST, .required = true,
     .help = "public keys of the nodes, as `lapse audit keys` prints them; may be repeated"},
    {.name = "head", .value = "FILE", .kind = CLI_LIST, .help = "signed heads that were kept elsewhere: what they say must be in the export; may be repeated"},
    END};
static const struct cli_flag evidence_flags[] = {DOCUMENT_FLAG, EXPORT_FLAG, KEYS_FLAG, END};
static const struct cli_flag report_flags[] = {
    {.name = "from", .value = "TIME", .kind = CLI_TIME, .help = "the period's beginning; otherwise the first record"},
    {.name = "to", .value = "TIME", .kind = CLI_TIME, .help = "its end; otherwise the last record"},
    DOCUMENT_FLAG, EXPORT_FLAG, KEYS_FLAG, END};
static const struct cli_flag help_flags[] = {
    {.name = "man", .kind = CLI_SWITCH, .help = "print the manual page, mdoc"},
    {.name = "examples", .kind = CLI_SWITCH, .help = "print every example, a line each: who runs it, the state that $GRANT is in, the exit code, the command, separated by tabs"},
    END};

#define EXAMPLES(name) static const struct cli_example name[]
#define DEV "dev1"
#define ONCALL "oncall"
#define OPERATOR "operator"
#define PROXY "proxy1"

EXAMPLES(agent_examples) = {
    {"settings to begin with", "lapse agent --example >agent.conf", "", NULL, 0}, NO_EXAMPLES};
EXAMPLES(pki_init_examples) = {
    {"an authority of your own, in ./pki", "lapse pki init --domain example.org", "", NULL, 0}, NO_EXAMPLES};
EXAMPLES(pki_issue_examples) = {
    {"a person", "lapse pki issue user/dev2 --days 30", "", NULL, 0},
    {"a node, with the addresses that it is reached by",
     "lapse pki issue lapse/node/1 --name node1 --host node1.example.org --host 127.0.0.1", "", NULL, 0}, NO_EXAMPLES};
EXAMPLES(request_examples) = {
    {"an hour of reading one database, for a ticket",
     "lapse request --resource db/prod/orders --action read,connect --duration 1h --ticket INC-1 --justification \"slow query\"", DEV, NULL, 0},
    {"only the id, for a script",
     "GRANT=$(lapse request --resource host/web1 --action sudo --duration 15m --justification restart --output id)", DEV, NULL, 0},
    {"for a workload, bound to its identity, at most three uses",
     "lapse request --subject spiffe://dev.lapse/ci/deploy --bind-spiffe-id spiffe://dev.lapse/ci/deploy --resource k8s/prod/* --action deploy --max-uses 3 --deadline +2h --justification \"release 4.2\"", DEV, NULL, 0},
    {"under one policy and no other",
     "lapse request --resource db/prod/orders --action read --duration 30m --policy emergency --justification \"slow query\"", DEV, "REVIEW", 0},
    {"in an emergency, where a policy has a break-glass rule: at once, and somebody looks at it afterwards",
     "lapse request --break-glass --resource db/prod/orders --action read,write --duration 30m --justification \"orders are lost, nobody to ask\"", DEV, "REVIEW", 0}, NO_EXAMPLES};
EXAMPLES(break_glass_list_examples) = {
    {"what nobody has looked at yet", "lapse break-glass list", ONCALL, "REVIEW", 0},
    {"who is barred from requesting until it is closed", "lapse break-glass list --overdue", ONCALL, NULL, 0}, NO_EXAMPLES};
EXAMPLES(break_glass_close_examples) = {
    {"it was right", "lapse break-glass close $GRANT --verdict justified --comment \"restored 14 orders, INC-4711\"", ONCALL, "REVIEW", 0},
    {"it was not", "lapse break-glass close $GRANT --verdict misused --comment \"there was no incident\"", ONCALL, "REVIEW", 0}, NO_EXAMPLES};
EXAMPLES(approve_examples) = {
    {"say yes", "lapse approve $GRANT --comment \"agreed in the incident call\"", ONCALL, "PENDING", 0}, NO_EXAMPLES};
EXAMPLES(deny_examples) = {
    {"say no", "lapse deny $GRANT --comment \"use the replica\"", ONCALL, "PENDING", 0}, NO_EXAMPLES};
EXAMPLES(cancel_examples) = {
    {"not needed after all", "lapse cancel $GRANT --reason \"found another way\"", DEV, "PENDING", 0}, NO_EXAMPLES};
EXAMPLES(complete_examples) = {
    {"done before the deadline", "lapse complete $GRANT --reason \"index added\"", DEV, "ACTIVE", 0}, NO_EXAMPLES};
EXAMPLES(use_examples) = {
    {"a proxy let somebody in", "lapse use $GRANT", PROXY, "ACTIVE", 0}, NO_EXAMPLES};
EXAMPLES(revoke_examples) = {
    {"at once, everywhere: returns when nobody permits it any more", "lapse revoke $GRANT --reason \"laptop lost\"", OPERATOR, "ACTIVE", 0},
    {"the same, and see who confirms", "lapse revoke $GRANT --reason \"laptop lost\" --progress", OPERATOR, "ACTIVE", 0},
    {"only commit it", "lapse revoke $GRANT --until committed", OPERATOR, "ACTIVE", 0}, NO_EXAMPLES};
EXAMPLES(revoke_matching_examples) = {
    {"everything of somebody who leaves", "lapse revoke-matching --subject user:dev9@example.com --reason \"left the company\"", OPERATOR, NULL, 0},
    {"everything below db/prod that a ticket allowed", "lapse revoke-matching --resource 'db/prod/*' --ticket INC-1 --reason \"incident closed\"", OPERATOR, NULL, 0}, NO_EXAMPLES};
EXAMPLES(lock_subject_examples) = {
    {"at once, everywhere, until somebody has looked", "lapse lock subject user:dev9@example.com --reason \"laptop stolen\"", OPERATOR, NULL, 0},
    {"for an hour, only committed", "lapse lock subject spiffe://dev.lapse/ci/deploy --reason \"odd deployments\" --for 1h --until committed", OPERATOR, NULL, 0}, NO_EXAMPLES};
EXAMPLES(lock_resource_examples) = {
    {"nobody reaches anything below db/prod for now", "lapse lock resource 'db/staging/*' --reason \"restoring a backup\" --for 30m", OPERATOR, NULL, 0}, NO_EXAMPLES};
EXAMPLES(lock_point_examples) = {
    {"an edge whose key is lost", "lapse lock point edge-eu-9 --reason \"key lost\"", OPERATOR, NULL, 0}, NO_EXAMPLES};
EXAMPLES(unlock_examples) = {
    {"the laptop was found", "lapse lock subject user:dev8@example.com --reason \"laptop stolen\"; lapse unlock subject:user:dev8@example.com --reason \"found again\"", OPERATOR, NULL, 0}, NO_EXAMPLES};
EXAMPLES(locks_examples) = {
    {"who and what is locked", "lapse locks", OPERATOR, NULL, 0},
    {"only resources", "lapse locks --prefix resource: --output json", OPERATOR, NULL, 0}, NO_EXAMPLES};
EXAMPLES(offboard_examples) = {
    {"somebody has left, with the evidence", "lapse offboard user:dev7@example.com --reason \"left the company\"", OPERATOR, NULL, 0}, NO_EXAMPLES};
EXAMPLES(points_examples) = {
    {"who enforces what", "lapse points", OPERATOR, NULL, 0}, NO_EXAMPLES};
EXAMPLES(barrier_examples) = {
    {"which enforcement point stopped honouring a grant, and when", "lapse barrier $GRANT", OPERATOR, "REVOKED", 0}, NO_EXAMPLES};
EXAMPLES(get_examples) = {
    {"everything about one grant", "lapse get $GRANT", DEV, "ACTIVE", 0},
    {"its state, for a script", "lapse get $GRANT --output json", DEV, "ACTIVE", 0}, NO_EXAMPLES};
EXAMPLES(list_examples) = {
    {"what is active below db/prod", "lapse list --state ACTIVE --resource 'db/prod/*'", OPERATOR, NULL, 0},
    {"the ids of what waits for a decision", "lapse list --state PENDING --output id", OPERATOR, NULL, 0}, NO_EXAMPLES};
EXAMPLES(check_examples) = {
    {"may they, right now?", "lapse check user:dev9@example.com db/prod/orders read", PROXY, NULL, CLI_DENIED},
    {"may whoever shows this token?", "lapse check --token-file grant.token db/prod/orders read", PROXY, NULL, 0}, NO_EXAMPLES};
EXAMPLES(token_examples) = {
    {"for a program that can only show a secret", "lapse token $GRANT --file grant.token", DEV, "ACTIVE", 0},
    {"for the environment of one program", "TOKEN=$(lapse token $GRANT)", DEV, "ACTIVE", 0}, NO_EXAMPLES};
EXAMPLES(eligibility_put_examples) = {
    {"a developer may request one database, for a quarter",
     "lapse eligibility put orders-dev1 --member user:dev1@example.com --resource 'db/prod/orders/*' --action read,connect --expires +90d --reason \"on call for orders\"", OPERATOR, NULL, 0},
    {"all whose names begin alike",
     "lapse eligibility put deployers --member 'spiffe://dev.lapse/ci/*' --resource 'k8s/prod/*' --expires +30d --reason \"release pipeline\"", OPERATOR, NULL, 0}, NO_EXAMPLES};
EXAMPLES(eligibility_list_examples) = {
    {"who may request what, until when, and when they last did", "lapse eligibility list", OPERATOR, NULL, 0}, NO_EXAMPLES};
EXAMPLES(eligibility_certify_examples) = {
    {"it is needed for another quarter", "lapse eligibility certify deployers --expires +90d --comment \"still releasing\"", OPERATOR, NULL, 0}, NO_EXAMPLES};
EXAMPLES(eligibility_remove_examples) = {
    {"not needed any more", "lapse eligibility remove orders-dev1 --reason \"moved to another team\"", OPERATOR, NULL, 0}, NO_EXAMPLES};
EXAMPLES(campaign_start_examples) = {
    {"what nobody certifies within two weeks, lapses",
     "lapse campaign start 2026-q1 --due +14d --resource 'db/prod/*' --reason \"quarterly recertification\"", OPERATOR, NULL, 0}, NO_EXAMPLES};
EXAMPLES(campaign_list_examples) = {
    {"what is under way", "lapse campaign list", OPERATOR, NULL, 0}, NO_EXAMPLES};
EXAMPLES(campaign_close_examples) = {
    {"before its time: nothing lapses", "lapse campaign close 2026-q1 --reason \"begun by mistake\"", OPERATOR, NULL, 0}, NO_EXAMPLES};
EXAMPLES(review_examples) = {
    {"before a recertification", "lapse review --since 90d", OPERATOR, NULL, 0},
    {"for a program: one finding a line", "lapse review --output json", OPERATOR, NULL, 0}, NO_EXAMPLES};
EXAMPLES(watch_examples) = {
    {"what is there now, and end",
     "lapse watch --snapshot --resource 'db/prod/*' --count 0", PROXY, NULL, 0},
    {"resume where a program stopped, as JSON", "lapse watch --from 1/1 --count 1 --output json", PROXY, "ACTIVE", 0}, NO_EXAMPLES};
EXAMPLES(audit_query_examples) = {
    {"what was revoked or locked, the newest first", "lapse audit query --type REVOKED,LOCKED --newest-first --limit 20", OPERATOR, "REVOKED", 0},
    {"all about one grant, as JSON", "lapse audit query --grant $GRANT --output json", OPERATOR, "ACTIVE", 0}, NO_EXAMPLES};
EXAMPLES(audit_tail_examples) = {
    {"the first records, and end", "lapse audit tail --from-revision 1 --count 3", OPERATOR, NULL, 0}, NO_EXAMPLES};
EXAMPLES(audit_head_examples) = {
    {"keep what proves later that nothing was lost", "lapse audit head >head.json", OPERATOR, "ACTIVE", 0}, NO_EXAMPLES};
EXAMPLES(audit_keys_examples) = {
    {"once, when the cluster is set up", "lapse audit keys >keys.json", OPERATOR, NULL, 0}, NO_EXAMPLES};
EXAMPLES(audit_export_examples) = {
    {"everything, for an auditor", "lapse audit export >audit.jsonl", OPERATOR, "REVOKED", 0},
    {"for a SIEM", "lapse audit export --format ocsf >ocsf.jsonl", OPERATOR, "REVOKED", 0}, NO_EXAMPLES};
EXAMPLES(audit_verify_examples) = {
    {"without a cluster: nothing was changed, left out or put in, and nothing is missing at the end",
     "lapse audit verify audit.jsonl --keys keys.json --head head.json", "", NULL, 0}, NO_EXAMPLES};
EXAMPLES(evidence_examples) = {
    {"who asked, who decided, what was done, how it ended", "lapse evidence $GRANT", OPERATOR, "REVOKED", 0},
    {"a page for an auditor", "lapse evidence $GRANT --format html >evidence.html", OPERATOR, "REVOKED", 0}, NO_EXAMPLES};
EXAMPLES(report_examples) = {
    {"is it working?", "lapse report", OPERATOR, "REVOKED", 0},
    {"a page, from an export", "lapse report --export audit.jsonl --keys keys.json --format html >report.html", "", NULL, 0}, NO_EXAMPLES};
EXAMPLES(policy_example_examples) = {
    {"a policy to begin with", "lapse policy example >production.yaml", "", NULL, 0},
    {"its tests", "lapse policy example --tests >production-tests.yaml", "", NULL, 0}, NO_EXAMPLES};
EXAMPLES(policy_test_examples) = {
    {"in the pipeline of the repository that holds your policies", "lapse policy test production-tests.yaml production.yaml", "", NULL, 0}, NO_EXAMPLES};
EXAMPLES(policy_diff_examples) = {
    {"before it is applied", "lapse policy diff production.yaml", OPERATOR, NULL, 0}, NO_EXAMPLES};
EXAMPLES(policy_apply_examples) = {
    {"what would be done", "lapse policy apply production.yaml --dry-run", OPERATOR, NULL, 0},
    {"from a pipeline: files that are applied already are left alone", "lapse policy apply production.yaml --source policies@1f3c9a2", OPERATOR, NULL, 0}, NO_EXAMPLES};
EXAMPLES(policy_list_examples) = {
    {"what governs requests", "lapse policy list", OPERATOR, NULL, 0}, NO_EXAMPLES};
EXAMPLES(policy_show_examples) = {
    {"as a file again", "lapse policy show production", OPERATOR, NULL, 0}, NO_EXAMPLES};
EXAMPLES(policy_remove_examples) = {
    {"with the last one the built-in rule holds again", "lapse policy remove production --last --reason \"moved to another cluster\"", OPERATOR, NULL, 0}, NO_EXAMPLES};
EXAMPLES(status_examples) = {
    {"who leads, who is there", "lapse cluster status", OPERATOR, NULL, 0}, NO_EXAMPLES};
EXAMPLES(roles_list_examples) = {
    {"who may do what", "lapse cluster roles list", OPERATOR, NULL, 0}, NO_EXAMPLES};
EXAMPLES(roles_set_examples) = {
    {"a proxy that may guard one part of the resources", "lapse cluster roles set spiffe://dev.lapse/proxy/edge1 enforcer --scope 'web/*'", OPERATOR, NULL, 0},
    {"a team of approvers, by prefix", "lapse cluster roles set 'spiffe://dev.lapse/user/lead-*' approver", OPERATOR, NULL, 0},
    {"the team is dissolved", "lapse cluster roles set 'spiffe://dev.lapse/user/lead-*' --remove", OPERATOR, NULL, 0}, NO_EXAMPLES};
EXAMPLES(transfer_examples) = {
    {"before maintenance of the leader: to node 2", "lapse cluster transfer 2", OPERATOR, NULL, -1}, NO_EXAMPLES};
EXAMPLES(add_node_examples) = {
    {"a node made with lapsed join, by the address of its peer port", "lapse cluster add-node 4 lapse4.example.org:7401", OPERATOR, NULL, -1}, NO_EXAMPLES};
EXAMPLES(remove_node_examples) = {
    {"a node whose disk is lost", "lapse cluster remove-node 2", OPERATOR, NULL, -1}, NO_EXAMPLES};
EXAMPLES(help_examples) = {
    {"about one command", "lapse help request", "", NULL, 0}, NO_EXAMPLES};
EXAMPLES(completion_examples) = {
    {"in bash", "source <(lapse completion bash)", "", NULL, 0},
    {"in fish, for good", "lapse completion fish > lapse.fish", "", NULL, 0}, NO_EXAMPLES};

const struct cli_command cli_commands[] = {
    {"request", "", 0, 0, "ask for a grant", "You are its requester. An approver who is neither you nor the subject decides.\n\nWith --wait the exit code is 0 once the grant is active (or approved for later), 2 when it was denied, and 5 when it ended otherwise.",
     request_flags, request_examples, cmd_request, true},
    {"approve", GRANT_ID, 1, 1, "approve a pending grant", "Needs the role approver. Nobody approves their own request.", decision_flags, approve_examples, cmd_approve, true},
    {"deny", GRANT_ID, 1, 1, "deny a pending grant", "Needs the role approver.", decision_flags, deny_examples, cmd_deny, true},
    {"cancel", GRANT_ID, 1, 1, "withdraw a request, or an approved grant before it begins", NULL, end_flags, cancel_examples, cmd_cancel, true},
    {"complete", GRANT_ID, 1, 1, "end your active grant: the task is done", NULL, end_flags, complete_examples, cmd_complete, true},
    {"use", GRANT_ID, 1, 1, "report uses of a grant", "For enforcement points (role enforcer). The last of max-uses ends the grant.", use_flags, use_examples, cmd_use, true},
    {"revoke", GRANT_ID, 1, 1, "end an approved or active grant, everywhere",
     "By an operator, its approver or its requester. It returns when every enforcement point in scope denies the grant and has ended the sessions under it, or has provably lapsed.\n\nThe exit code is 4 when some have not confirmed within --timeout: the grant is revoked, those are named, and the cluster goes on; the same command with the same --request-id asks again. It is 5 when one could not end a session.",
     revoke_flags, revoke_examples, cmd_revoke, true},
    {"revoke-matching", "", 0, 0, "end all live grants that match, in one step", "All flags that are given must match, and at least one beside --state is needed. Grants that come later are not touched. Needs the role operator. Exit codes as of revoke.",
     revoke_matching_flags, revoke_matching_examples, cmd_revoke_matching, true},
    {"lock subject", "PRINCIPAL", 1, 1, "deny a person or a workload everything, at once, until lifted",
     "Under all its names: \"user:dev1\" and \"spiffe://DOMAIN/user/dev1\" are one. Its grants stay as they are and allow again when the lock is lifted or its time is over; to end them: offboard, or revoke-matching --person. Locking again replaces the lock. Nobody locks themselves. Needs the role operator. Exit codes as of revoke.",
     lock_flags, lock_subject_examples, cmd_lock, true},
    {"lock resource", "RESOURCE", 1, 1, "deny everybody a resource, at once, until lifted", "A path, or a subtree that ends in /*. Needs the role operator. Exit codes as of revoke.",
     lock_flags, lock_resource_examples, cmd_lock, true},
    {"lock point", "POINT-ID", 1, 1, "end an enforcement point, and refuse new ones of its id, until lifted",
     "Its instances get no promise any more: each denies when its last one has run out, within its lease. An instance that was ended begins anew only when its program is started again. Needs the role operator.",
     lock_point_flags, lock_point_examples, cmd_lock, true},
    {"unlock", "NAME", 1, 1, "lift a lock", "NAME is as `lapse locks` shows it: subject:PRINCIPAL, resource:RESOURCE or point:POINT-ID. Needs the role operator.", unlock_flags, unlock_examples, cmd_unlock, true},
    {"locks", "", 0, 0, "list who and what is locked", "Needs the role operator or auditor.", locks_flags, locks_examples, cmd_locks, true},
    {"offboard", "PRINCIPAL", 1, 1, "lock, revoke, cancel and take away all that somebody has, in one step, with the evidence",
     "Locks it without an end, revokes its grants and those that it requested for others, cancels requests, removes its eligibility and the roles that are bound to exactly its names. Prints each of these as it was committed. Nobody offboards themselves. Needs the role operator. Exit codes as of revoke.",
     offboard_flags, offboard_examples, cmd_offboard, true},
    {"barrier", "GRANT-ID|REVISION", 1, 1, "show how far a revocation has reached, with every enforcement point's receipt", "The newest one of a grant, or the one with the revision that revoke printed. The exit code is 0 when it is enforced everywhere, 5 when it is not yet or failed somewhere.",
     NULL, barrier_examples, cmd_barrier, true},
    {"points", "", 0, 0, "list the enforcement points that are registered", "Needs the role operator or auditor.", NULL, points_examples, cmd_points, true},
    {"get", GRANT_ID, 1, 1, "show one grant", NULL, NULL, get_examples, cmd_get, true},
    {"list", "", 0, 0, "list grants", "All flags that are given must match.", list_flags, list_examples, cmd_list, true},
    {"token", GRANT_ID, 1, 1, "give your active grant its bearer token, once",
     "Whoever shows the token is taken for the grant's subject, within the grant's limits: its binding, its uses, its deadline. It is drawn on this machine and printed once; the cluster keeps its SHA-256. It is dead when the grant ends, and there is no second one.",
     token_flags, token_examples, cmd_token, true},
    {"check", "[SUBJECT] RESOURCE ACTION", 2, 3, "ask whether some grant allows this right now", "The exit code is 0 for yes and 2 for no. With --token-file, SUBJECT may be left out: the token's grant knows whose it is.", check_flags, check_examples, cmd_check, true},
    {"eligibility put", "NAME", 1, 1, "let somebody request, for a time", "A rule of a policy that says `eligibility` asks for one. Takes the place of the one of this name. Nobody makes themselves eligible. Needs the role operator.",
     eligibility_put_flags, eligibility_put_examples, cmd_eligibility_put, true},
    {"eligibility list", "", 0, 0, "list who may request what, and until when", "Needs the role operator or auditor.", prefix_flags, eligibility_list_examples, cmd_eligibility_list, true},
    {"eligibility certify", "NAME", 1, 1, "say that it is needed still: moves its end", "Never by whom it is for. Needs the role operator.", eligibility_certify_flags, eligibility_certify_examples, cmd_eligibility_certify, true},
    {"eligibility remove", "NAME", 1, 1, "end it", "Grants that were requested with it go on. Needs the role operator.", remove_flags, eligibility_remove_examples, cmd_eligibility_remove, true},
    {"campaign start", "NAME", 1, 1, "ask which eligibility is needed still", "What lies in its scope, was there when it began and is not certified by --due, lapses. A member that is a prefix is in scope when one of --member takes in all of it. Needs the role operator.",
     campaign_start_flags, campaign_start_examples, cmd_campaign_start, true},
    {"campaign list", "", 0, 0, "list the campaigns under way", "Needs the role operator or auditor.", prefix_flags, campaign_list_examples, cmd_campaign_list, true},
    {"campaign close", "NAME", 1, 1, "end a campaign before its time: nothing lapses", "Needs the role operator.", remove_flags, campaign_close_examples, cmd_campaign_close, true},
    {"break-glass list", "", 0, 0, "list the reviews of break-glass grants that are open", "Each break-glass grant is reviewed, in the time that its rule gives. When that is over, its requester and its subject can't request anything until the review is closed. Needs the role operator, auditor or approver.",
     break_glass_list_flags, break_glass_list_examples, cmd_break_glass_list, true},
    {"break-glass close", GRANT_ID, 1, 1, "close a break-glass grant's review, with a verdict", "By an approver whom the rule names as reviewer: never one who requested it, had it or approved it.",
     break_glass_close_flags, break_glass_close_examples, cmd_break_glass_close, true},
    {"review", "", 0, 0, "show what a recertification should look at",
     "Eligibility that is dormant or ends soon; broad and long grants, grants without a ticket, grants renewed back to back, standing access in disguise; roles bound by wide prefixes. From what is there now and from the audit log. Needs the role operator or auditor.",
     review_flags, review_examples, cmd_review, true},
    {"watch", "", 0, 0, "print events as they happen", "Reconnects by itself and misses none. When the cluster can't connect to where it was, it says \"resync\" and sends the grants in scope anew.\n\nWith --snapshot, --count 0 ends after the snapshot.",
     watch_flags, watch_examples, cmd_watch, true},
    {"audit query", "", 0, 0, "print records of what happened", "All flags that are given must match. Needs the role auditor or operator, as all that follow here. Types of events: lapse-audit(5).", audit_query_flags, audit_query_examples, cmd_audit_query, true},
    {"audit tail", "", 0, 0, "print records as they are written", "Goes on until it is interrupted. With --output json the signed heads come along.", audit_tail_flags, audit_tail_examples, cmd_audit_tail, true},
    {"audit head", "", 0, 0, "print the newest signed head, to be kept elsewhere", "A node signs it for this call. Whoever keeps it can prove later that records were lost or changed: lapse audit verify --head.", NULL, audit_head_examples, cmd_audit_head, true},
    {"audit keys", "", 0, 0, "print the nodes' public keys", "Fetch them early, when you trust the cluster, and keep them: what they verify later depends on that.", NULL, audit_keys_examples, cmd_audit_keys, true},
    {"audit export", "", 0, 0, "print all records with their hashes and signed heads", "JSON, one object a line: lapse-audit(5). It ends with a head that is signed for this call.", audit_export_flags, audit_export_examples, cmd_audit_export, true},
    {"audit verify", "FILE", 1, 1, "verify an export, offline",
     "Needs no cluster, only public keys. Names the first bad record. FILE may be - for standard input.\n\nThe exit code is 0 when all records are one chain that a node's signature covers to its end, 2 when something was changed, left out, moved, put in or cut off, and 5 when nothing is wrong but no signature covers the last records.",
     audit_verify_flags, audit_verify_examples, cmd_audit_verify, false},
    {"evidence", GRANT_ID, 1, 1, "tell the whole story of a grant, with proof",
     "Request, reason, policy, approvals, uses, sessions, end, receipts of the enforcement points, review; how complete that is and what is missing; and whether the records verify.\n\nThe exit code is 0 when the evidence is complete, 5 when something is missing or not over yet, 2 when records don't verify.",
     evidence_flags, evidence_examples, cmd_evidence, true, "export"},
    {"report", "", 0, 0, "count access in a period: is it working?",
     "Grants by rule and resource, how long they last, how many have complete evidence, how fast revocations reach the enforcement points, sessions without a reason or owner, standing access, break-glass, locks. Reads all records from the first one on.",
     report_flags, report_examples, cmd_report, true, "export"},
    {"policy example", "", 0, 0, "print an example of a policy, or of its tests", NULL, policy_example_flags, policy_example_examples, cmd_policy_example, false},
    {"policy test", "TESTS-FILE POLICY-FILE...", 2, CLI_OPERANDS_MAX, "check policies against expected decisions, offline",
     "Prints what failed and ends with 1 if anything did. The decisions are made by the code that makes them in the cluster. Both kinds of files: lapse-policy(5).", policy_test_flags, policy_test_examples, cmd_policy_test, false},
    {"policy diff", "FILE...", 1, CLI_OPERANDS_MAX, "show what applying policies would change, and which live grants it affects",
     "Compares with what is applied. Limits and eligibility aside, each live grant and undecided request under the policy is looked at.", NULL, policy_diff_examples, cmd_policy_diff, true},
    {"policy apply", "FILE...", 1, CLI_OPERANDS_MAX, "put policies into force", "Each takes the place of the one of its name, as its next version. All files are checked before the first is applied; one that says what is in force already (but for its source) is left alone. Needs the role operator. The file: lapse-policy(5).",
     policy_apply_flags, policy_apply_examples, cmd_policy_apply, true},
    {"policy list", "", 0, 0, "list the policies in force", "Needs the role operator, auditor or approver.", NULL, policy_list_examples, cmd_policy_list, true},
    {"policy show", "NAME", 1, 1, "print a policy as a file", "Needs the role operator, auditor or approver.", NULL, policy_show_examples, cmd_policy_show, true},
    {"policy remove", "NAME", 1, 1, "take a policy out of force", "Grants under it go on. Without any policy the built-in rule holds, by which every requester may ask for anything and one approver decides: so the last one is removed only with --last. Needs the role operator.", policy_remove_flags, policy_remove_examples, cmd_policy_remove, true},
    {"cluster status", "", 0, 0, "show the cluster as one of its nodes sees it", NULL, NULL, status_examples, cmd_cluster_status, true},
    {"cluster roles list", "", 0, 0, "list who may do what", NULL, NULL, roles_list_examples, cmd_roles_list, true},
    {"cluster roles set", "MEMBER [ROLE...]", 1, 6, "set, whole, what a principal may do",
     "MEMBER is a principal, or a prefix of principals ended by one asterisk. Roles: " ROLES ". Needs the role operator.", roles_set_flags, roles_set_examples, cmd_roles_set, true},
    {"cluster transfer", "[NODE-ID]", 0, 1, "hand leadership to another node", "To any voter that is up to date when none is named. Needs the role operator.", NULL, transfer_examples, cmd_transfer, true},
    {"cluster add-node", "NODE-ID HOST:PORT", 2, 2, "add a node to the cluster", "The node was made with `lapsed join` and runs. It catches up, then becomes a voter by itself. Needs the role operator.", NULL, add_node_examples, cmd_add_node, true},
    {"cluster remove-node", "NODE-ID", 1, 1, "take a node out of the cluster for good", "Its id is not used again: a node that comes back joins under a new one. Needs the role operator.", NULL, remove_node_examples, cmd_remove_node, true},
    {"agent", "", 0, 0, "decide for a proxy or a program on this machine, from memory",
     "An enforcement point for nginx (auth_request), HAProxy, Envoy (ext_authz) and programs. Runs until SIGTERM; SIGHUP reads the maps anew. Logs to standard error.",
     agent_flags, agent_examples, cmd_agent, false},
    {"pki init", "", 0, 0, "make a certificate authority", "For development and small deployments. Lapse takes any authority's certificates that carry one SPIFFE ID.", pki_init_flags, pki_init_examples, cmd_pki_init, false},
    {"pki issue", "PRINCIPAL", 1, 1, "issue a certificate", "PRINCIPAL is a full SPIFFE ID, or a path below the authority's trust domain: user/dev1.", pki_issue_flags, pki_issue_examples, cmd_pki_issue, false},
    {"completion", "SHELL", 1, 1, "print a completion script for bash, zsh or fish", NULL, NULL, completion_examples, cmd_completion, false},
    {"help", "[COMMAND]", 0, 3, "show help", NULL, help_flags, help_examples, cmd_help, false},
    {"version", "", 0, 0, "show the version", NULL, NULL, NULL, cmd_version, false},
    {.name = NULL}};
/* clang-format on */
