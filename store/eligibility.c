/* Eligibility: a standing permission to *request*, itself with an end. A rule that says `eligibility` asks for one.
 *
 *   PUT --> there --> CERTIFY: another end      it ends: REMOVED, EXPIRED, NOT_CERTIFIED (campaigns.c), OFFBOARDED
 *
 * Nobody prolongs their own: neither by CERTIFY, nor by putting another in its place. Nobody is eligible by their own
 * hand: a prefix may take in who put it, but doesn't serve them until somebody else has certified it. Its end holds by
 * the clock, also while its ADVANCE is still to come. */
#include <stdlib.h>

#include "base/check.h"
#include "store/campaigns.h"
#include "store/eligibility_book.h"
#include "store/identifiers.h"
#include "store/policy.h"

static struct lapse_error *error_of(struct apply *apply)
{
    return &apply->outcome->error;
}

static struct eligibility decoded(const struct object *object)
{
    struct eligibility eligibility;
    lapse_result result = eligibility_decode(object->value, true, &eligibility, NULL);
    CHECK(lapse_is_ok(result));
    return eligibility;
}

/* The object that it is kept as; its bytes lie in store->scratch. */
static struct object object_of(struct store *store, const struct eligibility *eligibility)
{
    buf_clear(&store->scratch);
    lapse_result result = eligibility_encode(eligibility, &store->scratch);
    CHECK(lapse_is_ok(result));
    return (struct object){.kind = OBJECT_ELIGIBILITY,
                           .name = eligibility->name,
                           .value = buf_slice(&store->scratch),
                           .due_ms = eligibility->expires_ms};
}

static bool is_over(const struct store *store, const struct eligibility *eligibility, int64_t now_ms)
{
    return now_ms >= eligibility->expires_ms || campaigns_have_ended(store, eligibility, now_ms);
}

/* --- form --------------------------------------------------------------------------------------------------------- */

lapse_result eligibility_validate(const struct command *command, struct lapse_error *error)
{
    struct eligibility eligibility;
    struct campaign campaign;
    switch (command->type) {
    case COMMAND_PUT_ELIGIBILITY:
        return eligibility_decode(command->value, false, &eligibility, error);
    case COMMAND_START_CAMPAIGN:
        return campaign_decode(command->value, false, &campaign, error);
    case COMMAND_CERTIFY:
        if (command->until_ms <= 0)
            return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "expires_ms is missing; say until when it is needed");
        return object_name_validate(command->name, "name", error);
    default:
        return object_name_validate(command->name, "name", error);
    }
}

/* --- commands ----------------------------------------------------------------------------------------------------- */

static lapse_result check_end(struct apply *apply, int64_t expires_ms)
{
    if (expires_ms <= apply->now_ms)
        return lapse_fail(error_of(apply), LAPSE_OUT_OF_RANGE, "expires_ms has passed already; name a later end");
    if (expires_ms > apply->now_ms + LIMIT_ELIGIBILITY_MS_MAX)
        return lapse_fail(error_of(apply), LAPSE_OUT_OF_RANGE,
                          "expires_ms is more than %lld days away; certify it again when its end is near",
                          (long long)(LIMIT_ELIGIBILITY_MS_MAX / 86400000));
    return lapse_ok();
}

struct tally {
    struct slice member, name;
    uint32_t n;
};

static void count_other(void *arg, const struct object *object, const struct eligibility *eligibility)
{
    struct tally *tally = arg;
    tally->n += principal_same(eligibility->member, tally->member) && !slice_equal(object->name, tally->name);
}

static bool is_prefix(struct slice member)
{
    return member.data[member.len - 1] == '*';
}

static lapse_result check_room(struct apply *apply, const struct eligibility *eligibility, bool replaces)
{
    const struct store *store = apply->store;
    struct tally tally = {eligibility->member, eligibility->name, 0};
    if (!replaces && store->objects.kinds[OBJECT_ELIGIBILITY].n == LIMIT_ELIGIBILITIES)
        return lapse_fail(error_of(apply), LAPSE_RESOURCE_EXHAUSTED,
                          "there are %u eligibilities, which is the limit; remove some, or use prefixes",
                          LIMIT_ELIGIBILITIES);
    if (!is_prefix(eligibility->member))
        eligibility_each_of(store, eligibility->member, count_other, &tally);
    if (tally.n >= LIMIT_ELIGIBILITIES_PER_MEMBER)
        return lapse_fail(error_of(apply), LAPSE_RESOURCE_EXHAUSTED,
                          "this member has %u eligibilities, which is the limit; remove some, or join their resources",
                          LIMIT_ELIGIBILITIES_PER_MEMBER);
    return lapse_ok();
}

/* `was`: what it takes the place of, if anything. */
static lapse_result check_own(struct apply *apply, const struct eligibility *eligibility, const struct eligibility *was)
{
    struct slice caller = apply->command->principal;
    if (!is_prefix(eligibility->member) && principal_same(eligibility->member, caller))
        return lapse_fail(error_of(apply), LAPSE_PERMISSION_DENIED,
                          "nobody makes themselves eligible; ask another operator");
    bool own =
        was != NULL && (principal_matches(was->member, caller) || principal_matches(eligibility->member, caller));
    if (own && eligibility->expires_ms > was->expires_ms)
        return lapse_fail(error_of(apply), LAPSE_PERMISSION_DENIED,
                          "nobody prolongs their own eligibility; ask another operator");
    return lapse_ok();
}

static lapse_result check_put(struct apply *apply, const struct eligibility *eligibility)
{
    const struct object *object = object_find(&apply->store->objects, OBJECT_ELIGIBILITY, eligibility->name);
    struct eligibility was;
    if (object != NULL)
        was = decoded(object);
    lapse_result result = check_end(apply, eligibility->expires_ms);
    if (lapse_is_ok(result))
        result = check_own(apply, eligibility, object != NULL ? &was : NULL);
    if (lapse_is_ok(result))
        result = check_room(apply, eligibility, object != NULL);
    return result;
}

static lapse_result put(struct apply *apply)
{
    struct store *store = apply->store;
    struct eligibility eligibility;
    lapse_result result = eligibility_decode(apply->command->value, false, &eligibility, error_of(apply));
    if (lapse_is_ok(result))
        result = check_put(apply, &eligibility);
    if (!lapse_is_ok(result))
        return result;
    eligibility.put_by = apply->command->principal;
    eligibility.put_ms = apply->now_ms;
    eligibility.revision = store->revision + 1;
    const struct object object = object_of(store, &eligibility);
    governance_put(apply, STORE_EVENT_ELIGIBILITY_PUT, &object);
    return lapse_ok();
}

/* The one that the command names, if it has not ended. */
static lapse_result find(struct apply *apply, const struct object **out)
{
    const struct object *object = object_find(&apply->store->objects, OBJECT_ELIGIBILITY, apply->command->name);
    if (object == NULL)
        return lapse_fail(error_of(apply), LAPSE_NOT_FOUND,
                          "no eligibility of this name; look at the list of eligibilities");
    const struct eligibility eligibility = decoded(object);
    if (is_over(apply->store, &eligibility, apply->now_ms))
        return lapse_fail(error_of(apply), LAPSE_FAILED_PRECONDITION, "this eligibility has ended; put a new one");
    *out = object;
    return lapse_ok();
}

static lapse_result certify(struct apply *apply)
{
    struct store *store = apply->store;
    const struct command *command = apply->command;
    const struct object *object;
    lapse_result result = find(apply, &object);
    if (lapse_is_ok(result))
        result = check_end(apply, command->until_ms);
    if (!lapse_is_ok(result))
        return result;
    struct eligibility eligibility = decoded(object);
    if (principal_matches(eligibility.member, command->principal))
        return lapse_fail(error_of(apply), LAPSE_PERMISSION_DENIED,
                          "nobody certifies their own eligibility; ask an operator whom it doesn't take in");
    eligibility.expires_ms = command->until_ms;
    eligibility.certified_by = command->principal;
    eligibility.certified_ms = apply->now_ms;
    eligibility.revision = store->revision + 1;
    if (command->text.len > 0)
        eligibility.reason = command->text;
    const struct object certified = object_of(store, &eligibility);
    governance_put(apply, STORE_EVENT_ELIGIBILITY_CERTIFIED, &certified);
    return lapse_ok();
}

void eligibility_end(struct apply *apply, const struct object *object, const char *ended, struct slice reason)
{
    struct eligibility eligibility = decoded(object);
    eligibility.ended = slice_str(ended);
    if (reason.len > 0)
        eligibility.reason = reason;
    const struct object last = object_of(apply->store, &eligibility);
    governance_remove(apply, STORE_EVENT_ELIGIBILITY_ENDED, OBJECT_ELIGIBILITY, object->name, &last);
}

static lapse_result remove_one(struct apply *apply)
{
    const struct object *object;
    lapse_result result = find(apply, &object);
    if (lapse_is_ok(result))
        eligibility_end(apply, object, "REMOVED", apply->command->text);
    return result;
}

lapse_result eligibility_apply(struct apply *apply)
{
    const struct command *command = apply->command;
    const struct rule *rule = rules_find(command->type, GRANT_NONE);
    lapse_result result = rules_permit(apply->store, rule, command->principal, 0, error_of(apply));
    if (!lapse_is_ok(result))
        return result;
    switch (command->type) {
    case COMMAND_PUT_ELIGIBILITY:
        return put(apply);
    case COMMAND_REMOVE_ELIGIBILITY:
        return remove_one(apply);
    case COMMAND_CERTIFY:
        return certify(apply);
    case COMMAND_START_CAMPAIGN:
        return campaign_start(apply);
    default:
        CHECK(command->type == COMMAND_CLOSE_CAMPAIGN);
        return campaign_close(apply);
    }
}

/* --- what others ask ---------------------------------------------------------------------------------------------- */

struct wanted {
    const struct store *store;
    struct slice requester;
    const struct grant *terms;
    int64_t now_ms;
    const struct object *best;
};

/* Whether the last word on it is this principal's own. */
static bool is_by(const struct eligibility *eligibility, struct slice principal)
{
    return principal_same(eligibility->certified_ms > 0 ? eligibility->certified_by : eligibility->put_by, principal);
}

/* Of several the first by name: all nodes must count the use of the same one. */
static void consider(void *arg, const struct object *object, const struct eligibility *eligibility)
{
    struct wanted *wanted = arg;
    const struct grant *terms = wanted->terms;
    if (wanted->best != NULL && slice_compare(wanted->best->name, object->name) <= 0)
        return;
    if (eligibility_covers(eligibility, terms->resource, terms->actions, terms->n_actions) &&
        !is_by(eligibility, wanted->requester) && !is_over(wanted->store, eligibility, wanted->now_ms))
        wanted->best = object;
}

struct slice eligibility_find(const struct store *store, struct slice requester, const struct grant *terms,
                              int64_t now_ms)
{
    struct wanted wanted = {store, requester, terms, now_ms, NULL};
    eligibility_each_of(store, requester, consider, &wanted);
    return wanted.best == NULL ? (struct slice){0} : wanted.best->name;
}

void eligibility_used(struct apply *apply, struct slice name)
{
    struct store *store = apply->store;
    const struct object *object = object_find(&store->objects, OBJECT_ELIGIBILITY, name);
    CHECK(object != NULL);
    struct eligibility eligibility = decoded(object);
    eligibility.used_ms = apply->now_ms;
    eligibility.uses++;
    const struct object used = object_of(store, &eligibility);
    governance_touch(store, &used);
}

struct collection {
    struct slice principal;
    const struct object **objects;
    uint32_t n, capacity;
};

/* Prefixes are others' as well. */
static void collect(void *arg, const struct object *object, const struct eligibility *eligibility)
{
    struct collection *collection = arg;
    if (!principal_same(eligibility->member, collection->principal))
        return;
    if (collection->n == collection->capacity) {
        collection->capacity = collection->capacity == 0 ? 16 : collection->capacity * 2;
        collection->objects = mem_realloc(collection->objects, collection->capacity * sizeof collection->objects[0]);
    }
    collection->objects[collection->n++] = object;
}

static int compare_names(const void *a, const void *b)
{
    const struct object *const *x = a, *const *y = b;
    return slice_compare((*x)->name, (*y)->name);
}

uint32_t eligibility_remove_all(struct apply *apply, struct slice principal)
{
    struct collection collection = {.principal = principal};
    eligibility_each_of(apply->store, principal, collect, &collection);
    if (collection.n > 0)
        qsort(collection.objects, collection.n, sizeof collection.objects[0], compare_names);
    for (uint32_t i = 0; i < collection.n; i++)
        eligibility_end(apply, collection.objects[i], "OFFBOARDED", apply->command->text);
    free(collection.objects);
    return collection.n;
}

/* --- its module --------------------------------------------------------------------------------------------------- */

static const char *check(const struct store *store, const struct object *object)
{
    struct eligibility eligibility;
    if (!lapse_is_ok(eligibility_decode(object->value, true, &eligibility, NULL)) ||
        !slice_equal(eligibility.name, object->name) || eligibility.expires_ms != object->due_ms)
        return "bad eligibility";
    return eligibility.revision > store->revision ? "an eligibility from the future" : NULL;
}

static void due(struct apply *apply, const struct object *object)
{
    eligibility_end(apply, object, "EXPIRED", (struct slice){0});
}

const struct object_module eligibility_module = {
    .check = check, .comes = eligibility_book_add, .goes = eligibility_book_remove, .due = due};
