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
    REQUEST_ID_FLAG,
    {.name = "wait", .kind = CLI_SWITCH, .help = "wait until it is active, or decided otherwise"},
    END};
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
static const struct cli_flag check_flags[] = {PRESENTED_FLAGS, END};
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
    END};
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
     "lapse request --subject spiffe://dev.lapse/ci/deploy --bind-spiffe-id spiffe://dev.lapse/ci/deploy --resource k8s/prod/* --action deploy --max-uses 3 --deadline +2h --justification \"release 4.2\"", DEV, NULL, 0}, NO_EXAMPLES};
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
    {"may they, right now?", "lapse check user:dev9@example.com db/prod/orders read", PROXY, NULL, CLI_DENIED}, NO_EXAMPLES};
EXAMPLES(watch_examples) = {
    {"what is there now, and end",
     "lapse watch --snapshot --resource 'db/prod/*' --count 0", PROXY, NULL, 0},
    {"resume where a program stopped, as JSON", "lapse watch --from 1/1 --count 1 --output json", PROXY, "ACTIVE", 0}, NO_EXAMPLES};
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
    {"barrier", "GRANT-ID|REVISION", 1, 1, "show how far a revocation has reached, with every enforcement point's receipt", "The newest one of a grant, or the one with the revision that revoke printed. The exit code is 0 when it is enforced everywhere, 5 when it is not yet or failed somewhere.",
     NULL, barrier_examples, cmd_barrier, true},
    {"points", "", 0, 0, "list the enforcement points that are registered", "Needs the role operator or auditor.", NULL, points_examples, cmd_points, true},
    {"get", GRANT_ID, 1, 1, "show one grant", NULL, NULL, get_examples, cmd_get, true},
    {"list", "", 0, 0, "list grants", "All flags that are given must match.", list_flags, list_examples, cmd_list, true},
    {"check", "SUBJECT RESOURCE ACTION", 3, 3, "ask whether some grant allows this right now", "The exit code is 0 for yes and 2 for no.", check_flags, check_examples, cmd_check, true},
    {"watch", "", 0, 0, "print events as they happen", "Reconnects by itself and misses none. When the cluster can't connect to where it was, it says \"resync\" and sends the grants in scope anew.\n\nWith --snapshot, --count 0 ends after the snapshot.",
     watch_flags, watch_examples, cmd_watch, true},
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
