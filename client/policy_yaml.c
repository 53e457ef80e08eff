/* The tables of what may stand in a policy, and how a file becomes one: policy_yaml.h. lapse-policy(5) explains each
 * key, and a test holds it against these tables. */
#include "client/policy_yaml.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/check.h"

#define RULE(member_) offsetof(struct policy_rule, member_)
#define END                                                                                                            \
    {                                                                                                                  \
        .name = NULL                                                                                                   \
    }

/* Side by side, as YAML_FLAGS has them. */
_Static_assert(RULE(bind_certificate) == RULE(bind_spiffe_id) + sizeof(bool), "binding");
_Static_assert(RULE(bind_network) == RULE(bind_spiffe_id) + 2 * sizeof(bool), "binding");
_Static_assert(sizeof(enum token_rule) == sizeof(int), "token");

/* clang-format off */
static const struct yaml_key step_keys[] = {
    {"count", NULL, YAML_NUMBER, offsetof(struct policy_step, count)},
    {"approvers", NULL, YAML_TEXTS, offsetof(struct policy_step, approvers)},
    END};
static const struct yaml_key approval_keys[] = {
    {"automatic", NULL, YAML_FLAG, RULE(automatic)},
    {"self", "self_approval", YAML_FLAG, RULE(self_approval)},
    {"steps", NULL, YAML_STEPS, RULE(steps), .keys = step_keys, .size = sizeof(struct policy_step), .n_offset = RULE(n_steps), .max = LIMIT_STEPS},
    END};
#define TEXT_KEYS(name_) \
    static const struct yaml_key name_##_keys[] = { \
        {"required", NULL, YAML_FLAG, RULE(name_.required)}, \
        {"min_length", NULL, YAML_NUMBER, RULE(name_.min_length)}, \
        {"pattern", NULL, YAML_TEXT, RULE(name_.pattern)}, \
        END}
TEXT_KEYS(justification);
TEXT_KEYS(ticket);
static const struct yaml_key limit_keys[] = {
    {"concurrent", NULL, YAML_NUMBER, RULE(limits.concurrent)},
    {"requests", NULL, YAML_NUMBER, RULE(limits.requests)},
    {"resources", NULL, YAML_NUMBER, RULE(limits.resources)},
    {"window", "window_ms", YAML_DURATION, RULE(limits.window_ms)},
    {"cool_down", "cool_down_ms", YAML_DURATION, RULE(limits.cool_down_ms)},
    {"excess", "hold", YAML_CHOICE_FLAG, RULE(limits.hold), "refuse hold"},
    END};
static const struct yaml_key delegation_keys[] = {
    {"depth", "delegation_depth", YAML_NUMBER, RULE(delegation_depth)},
    END};
static const struct yaml_key review_keys[] = {
    {"within", "review_within_ms", YAML_DURATION, RULE(review_within_ms)},
    {"reviewers", NULL, YAML_TEXTS, RULE(reviewers)},
    END};

const struct yaml_key policy_rule_keys[] = {
    {"name", NULL, YAML_TEXT, RULE(name), .required = true},
    {"description", NULL, YAML_TEXT, RULE(description)},
    {"deny", NULL, YAML_FLAG, RULE(deny)},
    {"break_glass", NULL, YAML_FLAG, RULE(break_glass)},
    {"requesters", NULL, YAML_TEXTS, RULE(requesters)},
    {"subjects", NULL, YAML_TEXTS, RULE(subjects)},
    {"resources", NULL, YAML_TEXTS, RULE(resources)},
    {"actions", NULL, YAML_TEXTS, RULE(actions)},
    {"max_duration", "max_duration_ms", YAML_DURATION, RULE(max_duration_ms)},
    {"max_uses", NULL, YAML_NUMBER, RULE(max_uses)},
    {"eligibility", NULL, YAML_CHOICE_FLAG, RULE(eligibility), "optional required"},
    {"justification", NULL, YAML_KEYS, .keys = justification_keys},
    {"ticket", NULL, YAML_KEYS, .keys = ticket_keys},
    {"binding", "bind_spiffe_id", YAML_FLAGS, RULE(bind_spiffe_id), "spiffe_id certificate network"},
    {"approval", NULL, YAML_KEYS, .keys = approval_keys},
    {"decide_within", "decide_within_ms", YAML_DURATION, RULE(decide_within_ms)},
    {"limits", NULL, YAML_KEYS, .keys = limit_keys},
    {"delegation", NULL, YAML_KEYS, .keys = delegation_keys},
    {"review", NULL, YAML_KEYS, .keys = review_keys},
    {"token", NULL, YAML_CHOICE, RULE(token), "allowed forbidden bound"},
    END};

const struct yaml_key policy_keys[] = {
    {"policy", "name", YAML_TEXT, offsetof(struct policy, name), .required = true},
    {"description", NULL, YAML_TEXT, offsetof(struct policy, description)},
    {"priority", NULL, YAML_NUMBER, offsetof(struct policy, priority)},
    {"on_change", "end_disallowed", YAML_CHOICE_FLAG, offsetof(struct policy, end_disallowed), "keep end"},
    {"source", NULL, YAML_TEXT, offsetof(struct policy, source)},
    {"rules", NULL, YAML_OWN, 0, .required = true},
    END};
/* clang-format on */

/* ---- Reading */

static lapse_result rules_take(struct policy_file *file, struct lapse_error *error)
{
    const struct yaml_at *list = yaml_member(yaml_root(file->tree), "rules");
    struct policy *policy = &file->policy;
    lapse_result result = lapse_ok();
    if (list->kind != YAML_IS_LIST || list->n == 0)
        return yaml_fail(file->tree, list, error, "\"rules\" is a list of at least one rule");
    if (list->n > LIMIT_RULES_PER_POLICY)
        return yaml_fail(file->tree, list, error, "more than %u rules in one policy", LIMIT_RULES_PER_POLICY);
    policy->rules = yaml_memory(file->tree, list->n * sizeof *policy->rules);
    for (const struct yaml_at *at = list->first; at != NULL && lapse_is_ok(result); at = at->next)
        result = yaml_take(file->tree, at, policy_rule_keys, &policy->rules[policy->n_rules++], error);
    return result;
}

/* Where a fault of policy_validate lies in the file: as near as the file has something there. */
static const struct yaml_at *place_find(const struct yaml_at *root, const struct policy_place *place)
{
    const struct yaml_at *map = root, *found = NULL;
    if (place->rule >= 0) {
        map = yaml_member(root, "rules")->first;
        for (int i = 0; i < place->rule && map->next != NULL; i++)
            map = map->next;
    }
    if (place->member != NULL)
        found = yaml_place(map, place->rule >= 0 ? policy_rule_keys : policy_keys, place->member, place->item);
    return found != NULL ? found : map;
}

/* "rule x: max_duration_ms: ..." as who wrote the file calls it. */
static lapse_result fail_in_words(const struct policy_file *file, const struct policy_place *place, const char *message,
                                  struct lapse_error *error)
{
    const struct yaml_at *at = place_find(yaml_root(file->tree), place);
    char path[64], wanted[64];
    snprintf(wanted, sizeof wanted, ": %s: ", place->member == NULL ? "" : place->member);
    const char *found = strstr(message, wanted);
    if (found == NULL ||
        !yaml_path(place->rule >= 0 ? policy_rule_keys : policy_keys, place->member, path, sizeof path))
        return yaml_fail(file->tree, at, error, "%s", message);
    return yaml_fail(file->tree, at, error, "%.*s: %s: %s", (int)(found - message), message, path,
                     found + strlen(wanted));
}

static lapse_result validate(const struct policy_file *file, struct lapse_error *error)
{
    struct policy_place place = {-1, NULL, -1};
    struct lapse_error found;
    lapse_result result = policy_validate(&file->policy, &place, &found);
    return lapse_is_ok(result) ? result : fail_in_words(file, &place, found.message, error);
}

static lapse_result tree_to_policy(struct yaml_tree *tree, struct policy_file *file, struct lapse_error *error)
{
    struct policy_file taken = {.tree = tree};
    lapse_result result = yaml_take(tree, yaml_root(tree), policy_keys, &taken.policy, error);
    if (lapse_is_ok(result))
        result = rules_take(&taken, error);
    if (lapse_is_ok(result))
        result = validate(&taken, error);
    if (lapse_is_ok(result))
        *file = taken;
    else
        yaml_tree_free(tree);
    return result;
}

lapse_result policy_yaml_parse(struct slice bytes, const char *path, struct policy_file *file,
                               struct lapse_error *error)
{
    struct yaml_tree *tree;
    lapse_result result = yaml_parse(bytes, path, &tree, error);
    return lapse_is_ok(result) ? tree_to_policy(tree, file, error) : result;
}

lapse_result policy_yaml_read(const char *path, struct policy_file *file, struct lapse_error *error)
{
    struct yaml_tree *tree;
    lapse_result result = yaml_read_file(path, &tree, error);
    return lapse_is_ok(result) ? tree_to_policy(tree, file, error) : result;
}

void policy_file_free(struct policy_file *file)
{
    yaml_tree_free(file->tree);
    *file = (struct policy_file){0};
}

/* ---- Writing */

static lapse_result put_header(const struct policy *policy, struct buf *out)
{
    if (policy->version == 0)
        return lapse_ok();
    return buf_printf(out, "# Version %" PRIu64 ", applied by %.*s at revision %" PRIu64 ".\n", policy->version,
                      (int)policy->applied_by.len, (const char *)policy->applied_by.data, policy->revision);
}

static lapse_result put_rule(const struct policy_rule *rule, struct buf *out)
{
    size_t dash = out->len + 2;
    lapse_result result = yaml_put(policy_rule_keys, rule, 4, out);
    if (lapse_is_ok(result))
        out->data[dash] = '-';
    return result;
}

lapse_result policy_yaml_put(const struct policy *policy, struct buf *out)
{
    lapse_result result = put_header(policy, out);
    if (lapse_is_ok(result))
        result = yaml_put(policy_keys, policy, 0, out);
    if (lapse_is_ok(result))
        result = buf_printf(out, "rules:\n");
    for (uint32_t i = 0; i < policy->n_rules && lapse_is_ok(result); i++)
        result = put_rule(&policy->rules[i], out);
    return result;
}
