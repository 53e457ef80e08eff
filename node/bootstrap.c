#include "node/bootstrap.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/tls.h"
#include "raft/log.h"
#include "raft/replica.h"

/* ---- the plan ---- */

lapse_result node_id_parse(const char *text, uint64_t *id, struct lapse_error *error)
{
    uint64_t value = 0;
    bool digits = text[0] != '\0' && strlen(text) <= 19;
    for (size_t i = 0; digits && text[i] != '\0'; i++) {
        digits = text[i] >= '0' && text[i] <= '9';
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    if (!digits || value == 0 || value > INT64_MAX)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "\"%s\" is not a node's number; accepted: 1 to %" PRId64, text,
                          INT64_MAX);
    *id = value;
    return lapse_ok();
}

static lapse_result take_name(const char *name, struct cluster_plan *plan, struct lapse_error *error)
{
    bool good = name[0] != '\0' && name[0] != '-' && strlen(name) <= CLUSTER_NAME_MAX;
    for (size_t i = 0; good && name[i] != '\0'; i++)
        good = islower((unsigned char)name[i]) || isdigit((unsigned char)name[i]) || name[i] == '-';
    if (!good)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "--cluster: \"%s\" is not accepted; accepted: 1 to %d of a-z, 0-9 and '-', not '-' first",
                          name, CLUSTER_NAME_MAX);
    memcpy(plan->name, name, strlen(name) + 1);
    return lapse_ok();
}

static lapse_result take_operator(const char *operator, struct cluster_plan * plan, struct lapse_error *error)
{
    struct slice domain, path;
    struct lapse_error inner;
    if (!lapse_is_ok(spiffe_id_parse(slice_str(operator), &domain, &path, &inner)))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "--operator: %s", inner.message);
    CHECK(slice_to_cstr(slice_str(operator), plan->operator, sizeof plan->operator));
    return lapse_ok();
}

static lapse_result take_token(const char *token, struct cluster_plan *plan, struct lapse_error *error)
{
    plan->token[0] = '\0';
    if (token == NULL)
        return lapse_ok();
    if (token[0] == '\0' || !slice_is_text(slice_str(token), false) ||
        !slice_to_cstr(slice_str(token), plan->token, sizeof plan->token))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "--token: accepted: 1 to %d bytes of text", CLUSTER_TOKEN_MAX);
    return lapse_ok();
}

/* One "ID=host:port", cut out of the list. */
static lapse_result parse_member(char *text, struct cluster_member *member, struct lapse_error *error)
{
    struct lapse_error inner;
    char *equals = strchr(text, '=');
    if (equals == NULL)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "--members: \"%s\" is not accepted; accepted: 1=host:port,2=...", text);
    *equals = '\0';
    if (!lapse_is_ok(node_id_parse(text, &member->id, &inner)) ||
        !lapse_is_ok(host_port_parse(equals + 1, &member->address, &inner)))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "--members: %s", inner.message);
    if (member->address.port == 0 || host_is_wildcard(member->address.host))
        return lapse_fail(
            error, LAPSE_INVALID_ARGUMENT,
            "--members: %s: the other nodes can't connect to it; give the peer port's address as they reach it",
            equals + 1);
    return lapse_ok();
}

/* Keeps the list sorted, so that the order in which members were typed does not matter. */
static lapse_result add_member(struct cluster_plan *plan, const struct cluster_member *member,
                               struct lapse_error *error)
{
    uint32_t at = plan->n_members;
    for (uint32_t i = 0; i < plan->n_members; i++) {
        const struct cluster_member *other = &plan->members[i];
        if (other->id == member->id)
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "--members: number %" PRIu64 " is given twice",
                              member->id);
        if (other->address.port == member->address.port && strcmp(other->address.host, member->address.host) == 0)
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "--members: %s port %u is given twice",
                              member->address.host, (unsigned)member->address.port);
    }
    if (plan->n_members == LIMIT_PEERS)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "--members: a cluster has at most %u members", LIMIT_PEERS);
    for (; at > 0 && plan->members[at - 1].id > member->id; at--)
        plan->members[at] = plan->members[at - 1];
    plan->members[at] = *member;
    plan->n_members++;
    return lapse_ok();
}

lapse_result cluster_members_parse(const char *members, struct cluster_plan *plan, struct lapse_error *error)
{
    char copy[LIMIT_PEERS * 2 * HOST_PORT_SIZE];
    plan->n_members = 0;
    if (!slice_to_cstr(slice_str(members), copy, sizeof copy))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "--members: is too long");
    for (char *at = copy, *next; at != NULL; at = next) {
        struct cluster_member member;
        next = strchr(at, ',');
        if (next != NULL)
            *next++ = '\0';
        lapse_result result = parse_member(at, &member, error);
        if (lapse_is_ok(result))
            result = add_member(plan, &member, error);
        if (!lapse_is_ok(result))
            return result;
    }
    return lapse_ok();
}

lapse_result cluster_plan_make(const char *name, const char *members, const char *operator, const char * token,
                               struct cluster_plan *plan, struct lapse_error *error)
{
    lapse_result result = take_name(name, plan, error);
    if (lapse_is_ok(result))
        result = cluster_members_parse(members, plan, error);
    if (lapse_is_ok(result))
        result = take_operator(operator, plan, error);
    if (lapse_is_ok(result))
        result = take_token(token, plan, error);
    return result;
}

/* One line a fact. No value can hold a newline, so two plans give the same text only when they are equal. */
static void canonical_text(const struct cluster_plan *plan, struct buf *text)
{
    lapse_result result = buf_printf(text, "lapse cluster 1\nname %s\n", plan->name);
    for (uint32_t i = 0; i < plan->n_members && lapse_is_ok(result); i++) {
        char address[HOST_PORT_SIZE];
        host_port_format(&plan->members[i].address, address);
        result = buf_printf(text, "member %" PRIu64 " %s\n", plan->members[i].id, address);
    }
    if (lapse_is_ok(result))
        result = buf_printf(text, "operator %s\ntoken %s\n", plan->operator, plan->token);
    CHECK(lapse_is_ok(result));
}

void cluster_plan_id(const struct cluster_plan *plan, char id[CLUSTER_PLAN_ID_SIZE])
{
    struct buf text;
    uint8_t digest[EVP_MAX_MD_SIZE];

    buf_init(&text, sizeof *plan + 4096);
    canonical_text(plan, &text);
    CHECK(EVP_Digest(text.data, text.len, digest, NULL, EVP_sha256(), NULL) == 1);
    buf_free(&text);
    int n = snprintf(id, CLUSTER_PLAN_ID_SIZE, "%s-", plan->name);
    for (size_t i = 0; i < 8; i++)
        n += snprintf(id + n, 3, "%02x", digest[i]);
}

/* ---- the data directory ---- */

struct contents {
    bool any;
    bool interrupted; /* an earlier attempt did not finish; log_format begins anew */
};

static void note_name(void *arg, const char *name)
{
    struct contents *contents = arg;
    contents->any = true;
    if (strcmp(name, "format.tmp") == 0)
        contents->interrupted = true;
}

static lapse_result check_empty(struct disk *disk, const char *data_dir, struct lapse_error *error)
{
    struct contents contents = {false, false};
    lapse_result result = disk->ops->list(disk, note_name, &contents, error);
    if (lapse_is_ok(result) && contents.any && !contents.interrupted)
        return lapse_fail(
            error, LAPSE_ALREADY_EXISTS,
            "%s is not empty; a node's data is never overwritten: choose another directory, or remove this one",
            data_dir);
    return result;
}

static lapse_result make_directory(const char *path, struct lapse_error *error)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return lapse_ok();
    enum lapse_code code = errno == EACCES || errno == EPERM ? LAPSE_PERMISSION_DENIED : LAPSE_UNAVAILABLE;
    return lapse_fail(error, code, "%s can't be made: %s", path, strerror(errno));
}

static lapse_result format_directory(const char *data_dir, const struct log_identity *identity,
                                     const struct log_entry *first, uint32_t n_first, struct lapse_error *error)
{
    struct disk *disk = NULL;
    lapse_result result = make_directory(data_dir, error);
    if (lapse_is_ok(result))
        result = disk_posix_open(data_dir, &disk, error);
    if (lapse_is_ok(result))
        result = check_empty(disk, data_dir, error);
    if (lapse_is_ok(result))
        result = log_format(disk, identity, first, n_first, error);
    if (disk != NULL)
        disk->ops->destroy(disk);
    return result;
}

static bool has_member(const struct cluster_plan *plan, uint64_t id)
{
    for (uint32_t i = 0; i < plan->n_members; i++)
        if (plan->members[i].id == id)
            return true;
    return false;
}

static lapse_result first_entries(const struct cluster_plan *plan, const char *cluster, struct log_entry entries[2],
                                  struct lapse_error *error)
{
    struct replica_member members[LIMIT_PEERS];
    char addresses[LIMIT_PEERS][HOST_PORT_SIZE];
    for (uint32_t i = 0; i < plan->n_members; i++) {
        host_port_format(&plan->members[i].address, addresses[i]);
        members[i] = (struct replica_member){plan->members[i].id, addresses[i], REPLICA_VOTER};
    }
    return replica_bootstrap(members, plan->n_members, cluster, plan->operator, entries, error);
}

lapse_result bootstrap_member(const struct cluster_plan *plan, uint64_t node_id, const char *data_dir,
                              struct lapse_error *error)
{
    struct log_entry entries[2] = {0};
    struct log_identity identity = {.node_id = node_id};
    char cluster[CLUSTER_PLAN_ID_SIZE];
    _Static_assert(sizeof cluster <= sizeof identity.cluster, "a cluster's id fits");

    if (!has_member(plan, node_id))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "--node-id: %" PRIu64 " is not one of --members; a node that comes later uses lapsed join",
                          node_id);
    cluster_plan_id(plan, cluster);
    memcpy(identity.cluster, cluster, sizeof cluster);
    lapse_result result = first_entries(plan, cluster, entries, error);
    if (lapse_is_ok(result))
        result = format_directory(data_dir, &identity, entries, 2, error);
    blob_unref(entries[0].data);
    blob_unref(entries[1].data);
    return result;
}

lapse_result bootstrap_newcomer(const char *cluster, uint64_t node_id, const char *data_dir, struct lapse_error *error)
{
    struct log_identity identity = {.node_id = node_id};
    if (cluster[0] == '\0' || !slice_is_text(slice_str(cluster), false) ||
        !slice_to_cstr(slice_str(cluster), identity.cluster, sizeof identity.cluster))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "--cluster: give the cluster's id, as `lapse cluster status` prints it");
    return format_directory(data_dir, &identity, NULL, 0, error);
}
