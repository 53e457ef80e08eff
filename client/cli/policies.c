#include "client/cli/policies.h"

#include "base/check.h"
#include "client/lapse_governance.h"
#include "client/schema.h"

lapse_result policy_from_message(const struct lapse_policy *message, struct policy **policy, struct lapse_error *error)
{
    struct buf bytes;
    buf_init(&bytes, LIMIT_MESSAGE_OUT);
    lapse_result result = codec_encode(&schema_policy, message, &bytes);
    if (lapse_is_ok(result))
        result = policy_decode(buf_slice(&bytes), policy, error);
    else
        result = lapse_fail(error, LAPSE_INTERNAL, "the cluster's policy \"%.64s\" is too long", message->name);
    buf_free(&bytes);
    return result;
}

lapse_result policy_to_message(const struct policy *policy, struct lapse_policy *message, struct lapse_error *error)
{
    struct buf bytes;
    buf_init(&bytes, LIMIT_OBJECT_BYTES);
    lapse_result result = policy_encode(policy, &bytes);
    if (lapse_is_ok(result))
        result = codec_decode(&schema_policy, buf_slice(&bytes), message, error);
    else
        result =
            lapse_fail(error, LAPSE_INVALID_ARGUMENT, "policy %.*s is longer than the %u bytes that a policy can have",
                       (int)policy->name.len, (const char *)policy->name.data, LIMIT_OBJECT_BYTES);
    buf_free(&bytes);
    return result;
}

lapse_result policy_fetch(struct cli *cli, const char *name, struct policy **policy, struct lapse_error *error)
{
    /* In the order of names the prefix itself is the first that begins with it. */
    struct lapse_list_objects_args args = {.page_size = 1, .prefix = name};
    struct lapse_policy_list list;
    lapse_result result = lapse_list_policies(cli->client, &args, cli->timeout_ms, &list, error);
    if (!lapse_is_ok(result))
        return result;
    if (list.n_policies > 0 && strcmp(list.policies[0].name, name) == 0)
        result = policy_from_message(&list.policies[0], policy, error);
    else
        *policy = NULL;
    lapse_policy_list_free(&list);
    return result;
}

lapse_result policy_any(struct cli *cli, bool *any, struct lapse_error *error)
{
    struct lapse_list_objects_args args = {.page_size = 1};
    struct lapse_policy_list list;
    lapse_result result = lapse_list_policies(cli->client, &args, cli->timeout_ms, &list, error);
    if (!lapse_is_ok(result))
        return result;
    *any = list.n_policies > 0;
    lapse_policy_list_free(&list);
    return result;
}

static const struct yaml_at *name_place(const struct policy_file *file)
{
    return yaml_member(yaml_root(file->tree), "policy");
}

static lapse_result check_names(const struct policy_files *files, struct lapse_error *error)
{
    const struct policy_file *last = &files->files[files->n - 1];
    for (uint32_t i = 0; i + 1 < files->n; i++)
        if (slice_equal(files->files[i].policy.name, last->policy.name))
            return yaml_fail(last->tree, name_place(last), error, "%.100s has this policy, too: give one of them",
                             yaml_file(files->files[i].tree));
    return lapse_ok();
}

lapse_result policy_files_read(const struct cli *cli, int from, struct policy_files *files, struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    *files = (struct policy_files){.n = 0};
    for (int i = from; i < cli->n_operands && lapse_is_ok(result); i++) {
        result = policy_yaml_read(cli->operands[i], &files->files[files->n], error);
        if (!lapse_is_ok(result))
            break;
        files->n++;
        result = check_names(files, error);
    }
    if (!lapse_is_ok(result))
        policy_files_free(files);
    return result;
}

void policy_files_free(struct policy_files *files)
{
    while (files->n > 0)
        policy_file_free(&files->files[--files->n]);
}

const char *policy_name(const struct policy *policy, char out[LIMIT_POLICY + 1])
{
    CHECK(slice_to_cstr(policy->name, out, LIMIT_POLICY + 1));
    return out;
}
