/* The subcommands that make and check data directories: init, join, verify. */
#include "node/lapsed.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "node/bootstrap.h"
#include "node/lapsed_args.h"
#include "raft/disk.h"
#include "raft/log.h"

const char lapsed_init_help[] =
    "Usage: lapsed init --cluster NAME --members LIST --operator SPIFFE-ID --node-id N --data-dir DIR [--token T]\n"
    "\n"
    "Makes the data directory of one of the first members of a cluster. Run it once on each of them, with the same\n"
    "arguments but for --node-id (and --data-dir): all of them then make the same cluster, whose id is printed.\n"
    "\n"
    "  --cluster NAME        the cluster's name: a-z, 0-9 and '-'\n"
    "  --members LIST        all first members and their peer ports, as the others reach them: "
    "1=host:port,2=host:port,...\n"
    "  --operator SPIFFE-ID  the first operator, who gives roles to others\n"
    "  --node-id N           which of the members this one is\n"
    "  --data-dir DIR        made if absent (its parent must be there), mode 0700; must be empty\n"
    "  --token T             tells clusters apart that have the same name, members and operator\n"
    "\n"
    "Never to bring back a member whose directory is lost: it would vote again without its memory, and the others\n"
    "refuse it. Remove it and let a new node join: lapsed join --help.\n"
    "\n"
    "Three members go on without any one of them, five without any two. Use --cluster and --members as they will "
    "stay.\n"
    "\n"
    "Example, on the first of three machines:\n"
    "  lapsed init --cluster prod --operator spiffe://example.org/user/operator --node-id 1 --data-dir /var/lib/lapse "
    "\\\n"
    "      --members 1=lapse1.example.org:7401,2=lapse2.example.org:7401,3=lapse3.example.org:7401\n";

const char lapsed_join_help[] =
    "Usage: lapsed join --cluster ID --node-id N --data-dir DIR\n"
    "\n"
    "Makes the data directory of a node that will be added to a cluster that runs already. It is empty: the node gets "
    "its\n"
    "data from the leader. Its configuration names some members (node.join) so that it can answer them.\n"
    "\n"
    "  --cluster ID    the cluster's id, as `lapse cluster status` prints it\n"
    "  --node-id N     a number that no node of the cluster has or ever had\n"
    "  --data-dir DIR  made if absent (its parent must be there), mode 0700; must be empty\n"
    "\n"
    "Example:\n"
    "  lapsed join --cluster prod-0123456789abcdef --node-id 4 --data-dir /var/lib/lapse\n";

const char lapsed_verify_help[] = "Usage: lapsed verify --data-dir DIR\n"
                                  "\n"
                                  "Reads a stopped node's whole data directory, checks every record, and says where "
                                  "the first fault is. Changes nothing.\n"
                                  "Exit code 0: no fault; 65: the data is damaged; 74: it can't be read; 78: there is "
                                  "no node's data, or a node has it open.\n"
                                  "\n"
                                  "Example:\n"
                                  "  lapsed verify --data-dir /var/lib/lapse\n";

static lapse_result need(const char *flag, const char *value, struct lapse_error *error)
{
    if (value != NULL)
        return lapse_ok();
    return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s is missing", flag);
}

static lapse_result need_node(const char *node_id, const char *data_dir, uint64_t *id, struct lapse_error *error)
{
    struct lapse_error inner;
    lapse_result result = need("--node-id", node_id, error);
    if (lapse_is_ok(result))
        result = need("--data-dir", data_dir, error);
    if (lapse_is_ok(result) && !lapse_is_ok(node_id_parse(node_id, id, &inner)))
        result = lapse_fail(error, LAPSE_INVALID_ARGUMENT, "--node-id: %s", inner.message);
    return result;
}

struct init_args {
    const char *cluster, *members, *operator, * token, *node_id, *data_dir;
};

static lapse_result read_init_args(int n, char **args, struct cluster_plan *plan, uint64_t *node_id,
                                   const char **data_dir, struct lapse_error *error)
{
    struct init_args given = {NULL};
    const struct arg_flag flags[] = {{"--cluster", &given.cluster, NULL}, {"--members", &given.members, NULL},
                                     {
                                         "--operator",
                                         &given.operator,
                                         NULL },
                                         {"--token", &given.token, NULL},
                                         {"--node-id", &given.node_id, NULL},
                                         {"--data-dir", &given.data_dir, NULL},
                                         {NULL, NULL, NULL},
    };
    lapse_result result = args_parse(n, args, flags, NULL, error);
    if (lapse_is_ok(result))
        result = need("--cluster", given.cluster, error);
    if (lapse_is_ok(result))
        result = need("--members", given.members, error);
    if (lapse_is_ok(result))
        result = need("--operator", given.operator, error);
    if (lapse_is_ok(result))
        result = need_node(given.node_id, given.data_dir, node_id, error);
    if (lapse_is_ok(result))
        result = cluster_plan_make(given.cluster, given.members, given.operator, given.token, plan, error);
    *data_dir = given.data_dir;
    return result;
}

int lapsed_init(int n, char **args)
{
    struct lapse_error error;
    struct cluster_plan plan;
    uint64_t node_id = 0;
    const char *data_dir = NULL;
    char cluster[CLUSTER_PLAN_ID_SIZE];

    if (!lapse_is_ok(read_init_args(n, args, &plan, &node_id, &data_dir, &error)))
        return lapsed_misused("init", &error);
    if (plan.n_members % 2 == 0)
        fprintf(stderr, "lapsed: warning: %u members survive no more failures than %u; use an odd number\n",
                plan.n_members, plan.n_members - 1);
    (void)umask(077);
    if (!lapse_is_ok(bootstrap_member(&plan, node_id, data_dir, &error)))
        return error.code == LAPSE_INVALID_ARGUMENT ? lapsed_misused("init", &error) : lapsed_fail(&error);
    cluster_plan_id(&plan, cluster);
    printf("cluster %s: node %" PRIu64 " of %u in %s\n", cluster, node_id, plan.n_members, data_dir);
    return EX_OK;
}

int lapsed_join(int n, char **args)
{
    struct lapse_error error;
    const char *cluster = NULL, *node_id = NULL, *data_dir = NULL;
    const struct arg_flag flags[] = {{"--cluster", &cluster, NULL},
                                     {"--node-id", &node_id, NULL},
                                     {"--data-dir", &data_dir, NULL},
                                     {NULL, NULL, NULL}};
    uint64_t id = 0;

    lapse_result result = args_parse(n, args, flags, NULL, &error);
    if (lapse_is_ok(result))
        result = need("--cluster", cluster, &error);
    if (lapse_is_ok(result))
        result = need_node(node_id, data_dir, &id, &error);
    if (!lapse_is_ok(result))
        return lapsed_misused("join", &error);
    (void)umask(077);
    if (!lapse_is_ok(bootstrap_newcomer(cluster, id, data_dir, &error)))
        return error.code == LAPSE_INVALID_ARGUMENT ? lapsed_misused("join", &error) : lapsed_fail(&error);
    printf("node %" PRIu64 " in %s waits for cluster %s; set node.join, start it, then: lapse cluster add-node %" PRIu64
           " HOST:PORT\n",
           id, data_dir, cluster, id);
    return EX_OK;
}

int lapsed_verify(int n, char **args)
{
    struct lapse_error error;
    const char *data_dir = NULL;
    const struct arg_flag flags[] = {{"--data-dir", &data_dir, NULL}, {NULL, NULL, NULL}};
    struct disk *disk = NULL;

    lapse_result result = args_parse(n, args, flags, NULL, &error);
    if (lapse_is_ok(result))
        result = need("--data-dir", data_dir, &error);
    if (!lapse_is_ok(result))
        return lapsed_misused("verify", &error);
    result = disk_posix_open(data_dir, &disk, &error);
    if (lapse_is_ok(result))
        result = log_verify(disk, &error);
    if (disk != NULL)
        disk->ops->destroy(disk);
    if (!lapse_is_ok(result))
        return lapsed_fail(&error);
    printf("%s: no fault found\n", data_dir);
    return EX_OK;
}
