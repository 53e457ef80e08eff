/* Field by field, in the order of the schema. The limits are the generated arrays' own sizes, so nothing is counted
 * twice; a test compares those with base/limits.h. */
#include "proto/convert.h"

#include <pb_decode.h>
#include <stdlib.h>

#include "base/check.h"
#include "proto/codec.h"
#include "store/words.h"

/* --- filling ---------------------------------------------------------------------------------------------------- */

/* Collects the first failure, so that a message is filled straight and checked once. */
struct filler {
    const char *too_long; /* the first field that didn't fit */
};

static void put_text(struct filler *filler, const char *field, struct slice value, char *out, size_t size)
{
    if (!slice_to_cstr(value, out, size) && filler->too_long == NULL)
        filler->too_long = field;
}

static uint32_t put_count(struct filler *filler, const char *field, uint32_t n, size_t max)
{
    if (n <= max)
        return n;
    if (filler->too_long == NULL)
        filler->too_long = field;
    return (uint32_t)max;
}

static lapse_result filled(const struct filler *filler, struct lapse_error *error)
{
    if (filler->too_long == NULL)
        return lapse_ok();
    return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "%s is longer than Lapse allows", filler->too_long);
}

#define PUT_TEXT(filler, value, member) put_text((filler), #member, (value), (member), sizeof(member))

static void put_id(struct grant_id id, char text[GRANT_ID_TEXT_SIZE])
{
    text[0] = '\0';
    if (!grant_id_is_zero(id))
        grant_id_format(id, text);
}

static void put_hash(struct filler *filler, struct slice hash, void *bytes, pb_size_t *size)
{
    if (hash.len > 32) {
        filler->too_long = "certificate_sha256";
        return;
    }
    *size = (pb_size_t)hash.len;
    if (hash.len > 0)
        memcpy(bytes, hash.data, hash.len);
}

static bool binding_is_empty(const struct grant_binding *binding)
{
    return binding->spiffe_id.len == 0 && binding->certificate_sha256.len == 0 && binding->n_networks == 0;
}

static void fill_binding(struct filler *filler, const struct grant_binding *binding, lapse_v1_Binding *out)
{
    PUT_TEXT(filler, binding->spiffe_id, out->spiffe_id);
    put_hash(filler, binding->certificate_sha256, out->certificate_sha256.bytes, &out->certificate_sha256.size);
    out->networks_count = (pb_size_t)put_count(filler, "networks", binding->n_networks, ARRAY_LEN(out->networks));
    for (uint32_t i = 0; i < out->networks_count; i++)
        PUT_TEXT(filler, binding->networks[i], out->networks[i]);
}

static void fill_lists(struct filler *filler, const struct grant *grant, lapse_v1_Grant *out)
{
    out->actions_count = (pb_size_t)put_count(filler, "actions", grant->n_actions, ARRAY_LEN(out->actions));
    for (uint32_t i = 0; i < out->actions_count; i++)
        PUT_TEXT(filler, grant->actions[i], out->actions[i]);
    out->approvals_count = (pb_size_t)put_count(filler, "approvals", grant->n_approvals, ARRAY_LEN(out->approvals));
    for (uint32_t i = 0; i < out->approvals_count; i++) {
        PUT_TEXT(filler, grant->approvals[i].approver, out->approvals[i].approver);
        out->approvals[i].time_ms = grant->approvals[i].time_ms;
        PUT_TEXT(filler, grant->approvals[i].comment, out->approvals[i].comment);
        out->approvals[i].revision = grant->approvals[i].revision;
    }
    out->labels_count = (pb_size_t)put_count(filler, "labels", grant->n_labels, ARRAY_LEN(out->labels));
    for (uint32_t i = 0; i < out->labels_count; i++) {
        PUT_TEXT(filler, grant->labels[i].key, out->labels[i].key);
        PUT_TEXT(filler, grant->labels[i].value, out->labels[i].value);
    }
    out->steps_count = (pb_size_t)put_count(filler, "steps", grant->n_steps, ARRAY_LEN(out->steps));
    for (uint32_t i = 0; i < out->steps_count; i++) {
        out->steps[i].count = grant->steps[i].count;
        PUT_TEXT(filler, grant->steps[i].approvers, out->steps[i].approvers);
    }
}

static void fill_texts(struct filler *filler, const struct grant *grant, lapse_v1_Grant *out)
{
    PUT_TEXT(filler, grant->subject, out->subject);
    PUT_TEXT(filler, grant->resource, out->resource);
    PUT_TEXT(filler, grant->justification, out->justification);
    PUT_TEXT(filler, grant->ticket, out->ticket);
    PUT_TEXT(filler, grant->task, out->task);
    PUT_TEXT(filler, grant->requester, out->requester);
    PUT_TEXT(filler, grant->policy, out->policy);
    PUT_TEXT(filler, grant->ended_by, out->ended_by);
    PUT_TEXT(filler, grant->reason, out->reason);
    PUT_TEXT(filler, grant->rule, out->rule);
    PUT_TEXT(filler, grant->reviewers, out->reviewers);
    put_hash(filler, grant->token_sha256, out->token_sha256.bytes, &out->token_sha256.size);
}

/* What is plain numbers on both sides, under the same names. */
#define COPY_NUMBERS(from, to)                                                                                         \
    do {                                                                                                               \
        (to)->policy_version = (from)->policy_version;                                                                 \
        (to)->break_glass = (from)->break_glass;                                                                       \
        (to)->automatic = (from)->automatic;                                                                           \
        (to)->self_approval = (from)->self_approval;                                                                   \
        (to)->held = (from)->held;                                                                                     \
        (to)->delegation_depth = (from)->delegation_depth;                                                             \
        (to)->review_within_ms = (from)->review_within_ms;                                                             \
        (to)->token_rule = (from)->token_rule;                                                                         \
        (to)->duration_ms = (from)->duration_ms;                                                                       \
        (to)->not_before_ms = (from)->not_before_ms;                                                                   \
        (to)->deadline_ms = (from)->deadline_ms;                                                                       \
        (to)->pending_until_ms = (from)->pending_until_ms;                                                             \
        (to)->max_uses = (from)->max_uses;                                                                             \
        (to)->uses = (from)->uses;                                                                                     \
        (to)->requested_ms = (from)->requested_ms;                                                                     \
        (to)->approved_ms = (from)->approved_ms;                                                                       \
        (to)->activated_ms = (from)->activated_ms;                                                                     \
        (to)->ended_ms = (from)->ended_ms;                                                                             \
        (to)->requested_revision = (from)->requested_revision;                                                         \
        (to)->approved_revision = (from)->approved_revision;                                                           \
        (to)->activated_revision = (from)->activated_revision;                                                         \
        (to)->ended_revision = (from)->ended_revision;                                                                 \
        (to)->revision = (from)->revision;                                                                             \
    } while (0)

lapse_result proto_grant_fill(const struct grant *grant, lapse_v1_Grant *out, struct lapse_error *error)
{
    struct filler filler = {NULL};
    memset(out, 0, sizeof *out);
    put_id(grant->id, out->id);
    put_id(grant->parent, out->parent);
    out->state = (lapse_v1_GrantState)grant->state;
    fill_texts(&filler, grant, out);
    fill_lists(&filler, grant, out);
    out->has_binding = !binding_is_empty(&grant->binding);
    fill_binding(&filler, &grant->binding, &out->binding);
    COPY_NUMBERS(grant, out);
    return filled(&filler, error);
}

lapse_result proto_filter_fill(const struct store_filter *filter, lapse_v1_Filter *out, struct lapse_error *error)
{
    struct filler filler = {NULL};
    memset(out, 0, sizeof *out);
    PUT_TEXT(&filler, filter->subject, out->subject);
    PUT_TEXT(&filler, filter->resource, out->resource);
    PUT_TEXT(&filler, filter->requester, out->requester);
    PUT_TEXT(&filler, filter->approver, out->approver);
    PUT_TEXT(&filler, filter->ticket, out->ticket);
    PUT_TEXT(&filler, filter->policy, out->policy);
    put_id(filter->parent, out->parent);
    out->policy_version = filter->policy_version;
    PUT_TEXT(&filler, filter->binding, out->binding);
    PUT_TEXT(&filler, filter->label, out->label);
    PUT_TEXT(&filler, filter->person, out->person);
    for (int state = GRANT_PENDING; state <= GRANT_LAPSED; state++)
        if (filter->states & 1u << state)
            out->states[out->states_count++] = (lapse_v1_GrantState)state;
    return filled(&filler, error);
}

/* --- borrowing -------------------------------------------------------------------------------------------------- */

/* An empty text is the zero id. */
static lapse_result borrow_id(const char *text, const char *field, struct grant_id *id, struct lapse_error *error)
{
    struct grant_id parsed = {{0}};
    if (text[0] != '\0' && !lapse_is_ok(grant_id_parse(slice_str(text), &parsed)))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "%s is no grant id: send 26 characters like 01JD8Z5M3N0V6Q2R4T8W9X1Y7Z", field);
    *id = parsed;
    return lapse_ok();
}

static void borrow_binding(const lapse_v1_Binding *message, struct grant_binding *binding)
{
    binding->spiffe_id = slice_str(message->spiffe_id);
    binding->certificate_sha256 = slice_of(message->certificate_sha256.bytes, message->certificate_sha256.size);
    binding->n_networks = message->networks_count;
    for (uint32_t i = 0; i < message->networks_count; i++)
        binding->networks[i] = slice_str(message->networks[i]);
}

static void borrow_labels(const lapse_v1_Label *labels, uint32_t n, struct grant *grant)
{
    grant->n_labels = n;
    for (uint32_t i = 0; i < n; i++)
        grant->labels[i] = (struct grant_label){slice_str(labels[i].key), slice_str(labels[i].value)};
}

static void borrow_lists(const lapse_v1_Grant *message, struct grant *grant)
{
    grant->n_actions = message->actions_count;
    for (uint32_t i = 0; i < grant->n_actions; i++)
        grant->actions[i] = slice_str(message->actions[i]);
    grant->n_approvals = message->approvals_count;
    for (uint32_t i = 0; i < grant->n_approvals; i++)
        grant->approvals[i] = (struct grant_approval){
            .approver = slice_str(message->approvals[i].approver),
            .time_ms = message->approvals[i].time_ms,
            .comment = slice_str(message->approvals[i].comment),
            .revision = message->approvals[i].revision,
        };
    grant->n_steps = message->steps_count;
    for (uint32_t i = 0; i < grant->n_steps; i++)
        grant->steps[i] = (struct grant_step){message->steps[i].count, slice_str(message->steps[i].approvers)};
    borrow_labels(message->labels, message->labels_count, grant);
    if (message->has_binding)
        borrow_binding(&message->binding, &grant->binding);
}

static void borrow_texts(const lapse_v1_Grant *message, struct grant *grant)
{
    grant->subject = slice_str(message->subject);
    grant->resource = slice_str(message->resource);
    grant->justification = slice_str(message->justification);
    grant->ticket = slice_str(message->ticket);
    grant->task = slice_str(message->task);
    grant->requester = slice_str(message->requester);
    grant->policy = slice_str(message->policy);
    grant->ended_by = slice_str(message->ended_by);
    grant->reason = slice_str(message->reason);
    grant->rule = slice_str(message->rule);
    grant->reviewers = slice_str(message->reviewers);
    grant->token_sha256 = slice_of(message->token_sha256.bytes, message->token_sha256.size);
}

static bool state_is_known(lapse_v1_GrantState state)
{
    return (int)state >= GRANT_PENDING && (int)state <= GRANT_LAPSED;
}

lapse_result proto_grant_borrow(const lapse_v1_Grant *message, struct grant *grant, struct lapse_error *error)
{
    struct grant_id id, parent;
    lapse_result result = borrow_id(message->id, "id", &id, error);
    if (lapse_is_ok(result))
        result = borrow_id(message->parent, "parent", &parent, error);
    if (!lapse_is_ok(result))
        return result;
    if (!state_is_known(message->state))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "the grant's state %d is unknown here: the other side may be newer", (int)message->state);
    memset(grant, 0, sizeof *grant);
    grant->id = id;
    grant->parent = parent;
    grant->state = (enum grant_state)message->state;
    borrow_texts(message, grant);
    borrow_lists(message, grant);
    COPY_NUMBERS(message, grant);
    return lapse_ok();
}

lapse_result proto_filter_borrow(const lapse_v1_Filter *message, struct store_filter *filter, struct lapse_error *error)
{
    struct store_filter found = {
        .subject = slice_str(message->subject),
        .resource = slice_str(message->resource),
        .requester = slice_str(message->requester),
        .approver = slice_str(message->approver),
        .ticket = slice_str(message->ticket),
        .policy = slice_str(message->policy),
        .policy_version = message->policy_version,
        .binding = slice_str(message->binding),
        .label = slice_str(message->label),
        .person = slice_str(message->person),
    };
    lapse_result result = borrow_id(message->parent, "parent", &found.parent, error);
    if (!lapse_is_ok(result))
        return result;
    for (pb_size_t i = 0; i < message->states_count; i++) {
        if (!state_is_known(message->states[i]))
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "state %d is unknown: use those of lapse.v1.GrantState",
                              (int)message->states[i]);
        found.states |= 1u << message->states[i];
    }
    *filter = found;
    return lapse_ok();
}

/* --- requests --------------------------------------------------------------------------------------------------- */

static int by_text(const void *a, const void *b)
{
    return slice_compare(*(const struct slice *)a, *(const struct slice *)b);
}

static int by_key(const void *a, const void *b)
{
    return slice_compare(((const struct grant_label *)a)->key, ((const struct grant_label *)b)->key);
}

static void borrow_actions(const lapse_v1_RequestRequest *message, struct grant *terms)
{
    struct slice sorted[LIMIT_ACTIONS];
    for (pb_size_t i = 0; i < message->actions_count; i++)
        sorted[i] = slice_str(message->actions[i]);
    qsort(sorted, message->actions_count, sizeof sorted[0], by_text);
    for (pb_size_t i = 0; i < message->actions_count; i++)
        if (i == 0 || !slice_equal(sorted[i], sorted[i - 1]))
            terms->actions[terms->n_actions++] = sorted[i];
}

lapse_result proto_request_borrow(const lapse_v1_RequestRequest *message, struct command *command,
                                  struct lapse_error *error)
{
    struct grant_id parent;
    lapse_result result = borrow_id(message->parent, "parent", &parent, error);
    if (!lapse_is_ok(result))
        return result;
    memset(command, 0, sizeof *command);
    command->type = COMMAND_REQUEST;
    struct grant *terms = &command->terms;
    terms->parent = parent;
    terms->subject = slice_str(message->subject);
    terms->resource = slice_str(message->resource);
    terms->justification = slice_str(message->justification);
    terms->ticket = slice_str(message->ticket);
    terms->task = slice_str(message->task);
    terms->duration_ms = message->duration_ms;
    terms->deadline_ms = message->deadline_ms;
    terms->not_before_ms = message->not_before_ms;
    terms->pending_until_ms = message->pending_until_ms;
    terms->max_uses = message->max_uses;
    terms->policy = slice_str(message->policy);
    terms->break_glass = message->break_glass;
    borrow_actions(message, terms);
    borrow_labels(message->labels, message->labels_count, terms);
    qsort(terms->labels, terms->n_labels, sizeof terms->labels[0], by_key);
    if (message->has_binding)
        borrow_binding(&message->binding, &terms->binding);
    return lapse_ok();
}

/* --- roles ------------------------------------------------------------------------------------------------------ */

static uint32_t role_of_name(const char *name)
{
    for (uint32_t role = 1; role <= ROLE_ALL; role <<= 1)
        if (strcmp(name, role_name(role)) == 0)
            return role;
    return 0;
}

lapse_result proto_roles_borrow(const lapse_v1_RoleBinding *message, uint32_t *roles, struct lapse_error *error)
{
    uint32_t found = 0;
    for (pb_size_t i = 0; i < message->roles_count; i++) {
        uint32_t role = role_of_name(message->roles[i]);
        if (role == 0)
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                              "'%s' is no role: use requester, approver, operator, auditor or enforcer",
                              message->roles[i]);
        found |= role;
    }
    *roles = found;
    return lapse_ok();
}

/* --- lists ------------------------------------------------------------------------------------------------------ */

lapse_result proto_decode_grant(struct slice bytes, lapse_v1_Grant *message, struct grant *grant,
                                struct lapse_error *error)
{
    lapse_result result = proto_decode(lapse_v1_Grant_fields, bytes, message, error);
    return lapse_is_ok(result) ? proto_grant_borrow(message, grant, error) : result;
}

/* One walk over a page; the storage of an element is allocated once. */
struct walk {
    void *element;
    union {
        proto_visit_grant_cb grant;
        proto_visit_binding_cb binding;
    } visit;
    void *arg;
    bool stopped;
    struct lapse_error error; /* code OK: nanopb's own complaint counts */
};

static bool read_element(pb_istream_t *stream, struct buf *bytes)
{
    size_t len = stream->bytes_left;
    if (!lapse_is_ok(buf_reserve(bytes, len)) || !pb_read(stream, bytes->data, len))
        return false;
    bytes->len = len;
    return true;
}

static bool on_listed_grant(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
    (void)field;
    struct walk *walk = *arg;
    struct grant grant;
    struct buf bytes;
    buf_init(&bytes, LIMIT_MESSAGE_OUT);
    bool ok = read_element(stream, &bytes) &&
              lapse_is_ok(proto_decode_grant(buf_slice(&bytes), walk->element, &grant, &walk->error));
    if (ok)
        ok = !(walk->stopped = !walk->visit.grant(walk->arg, &grant));
    buf_free(&bytes);
    return ok;
}

static bool on_listed_binding(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
    (void)field;
    struct walk *walk = *arg;
    lapse_v1_RoleBinding *binding = walk->element;
    struct buf bytes;
    uint32_t roles = 0;
    buf_init(&bytes, LIMIT_MESSAGE_OUT);
    bool ok = read_element(stream, &bytes) &&
              lapse_is_ok(proto_decode(lapse_v1_RoleBinding_fields, buf_slice(&bytes), binding, &walk->error)) &&
              lapse_is_ok(proto_roles_borrow(binding, &roles, &walk->error));
    if (ok)
        ok = !(walk->stopped = !walk->visit.binding(walk->arg, slice_str(binding->member), roles));
    buf_free(&bytes);
    return ok;
}

static lapse_result run_walk(const pb_msgdesc_t *type, struct slice bytes, void *head, struct walk *walk,
                             size_t element_size, struct lapse_error *error)
{
    walk->element = mem_alloc(element_size);
    lapse_result result = proto_decode(type, bytes, head, error);
    free(walk->element);
    if (lapse_is_ok(result))
        return result;
    if (walk->stopped)
        return lapse_fail(error, LAPSE_CANCELLED, "the walk was ended by its visitor");
    if (walk->error.code != LAPSE_OK)
        return lapse_fail(error, walk->error.code, "%s", walk->error.message);
    return result;
}

lapse_result proto_decode_list(struct slice bytes, lapse_v1_ListResponse *head, proto_visit_grant_cb visit, void *arg,
                               struct lapse_error *error)
{
    struct walk walk = {.visit.grant = visit, .arg = arg};
    *head = (lapse_v1_ListResponse){.grants = {.funcs.decode = on_listed_grant, .arg = &walk}};
    lapse_result result = run_walk(lapse_v1_ListResponse_fields, bytes, head, &walk, sizeof(lapse_v1_Grant), error);
    head->grants = (pb_callback_t){0};
    return result;
}

lapse_result proto_decode_list_roles(struct slice bytes, lapse_v1_ListRolesResponse *head, proto_visit_binding_cb visit,
                                     void *arg, struct lapse_error *error)
{
    struct walk walk = {.visit.binding = visit, .arg = arg};
    *head = (lapse_v1_ListRolesResponse){.bindings = {.funcs.decode = on_listed_binding, .arg = &walk}};
    lapse_result result =
        run_walk(lapse_v1_ListRolesResponse_fields, bytes, head, &walk, sizeof(lapse_v1_RoleBinding), error);
    head->bindings = (pb_callback_t){0};
    return result;
}
