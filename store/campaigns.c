/* Campaigns: whoever answers for access is asked, until a day, which eligibility is needed still.
 *
 *   START: counts what lies in its scope       CERTIFY (eligibility.c): this one is       CLOSE: what is left stays
 *
 *   due: ADVANCE after ADVANCE, one eligibility a step, what was there before the campaign (its revision is lower) and
 *        lies in the scope, lapses; then the campaign ends
 *
 * A certification, like a new PUT, gives an eligibility a later revision than the campaign's: so nothing becomes one
 * that lapses while the steps go by, and where the last step has got to needs no place in the state. */
#include "store/campaigns.h"

#include "base/check.h"
#include "store/eligibility_book.h"

static struct campaign decoded(const struct object *object)
{
    struct campaign campaign;
    lapse_result result = campaign_decode(object->value, true, &campaign, NULL);
    CHECK(lapse_is_ok(result));
    return campaign;
}

static struct eligibility decoded_eligibility(const struct object *object)
{
    struct eligibility eligibility;
    lapse_result result = eligibility_decode(object->value, true, &eligibility, NULL);
    CHECK(lapse_is_ok(result));
    return eligibility;
}

/* The object that the campaign is kept as; its bytes lie in store->scratch. */
static struct object object_of(struct store *store, const struct campaign *campaign)
{
    buf_clear(&store->scratch);
    lapse_result result = campaign_encode(campaign, &store->scratch);
    CHECK(lapse_is_ok(result));
    return (struct object){.kind = OBJECT_CAMPAIGN,
                           .name = campaign->name,
                           .value = buf_slice(&store->scratch),
                           .due_ms = campaign->due_ms};
}

/* --- commands ----------------------------------------------------------------------------------------------------- */

static lapse_result check_start(struct apply *apply, const struct campaign *campaign)
{
    const struct object_table *objects = &apply->store->objects;
    struct lapse_error *error = &apply->outcome->error;
    if (campaign->due_ms <= apply->now_ms)
        return lapse_fail(error, LAPSE_OUT_OF_RANGE, "due_ms has passed already; leave people time to certify");
    if (campaign->due_ms > apply->now_ms + LIMIT_ELIGIBILITY_MS_MAX)
        return lapse_fail(error, LAPSE_OUT_OF_RANGE, "due_ms is more than %lld days away",
                          (long long)(LIMIT_ELIGIBILITY_MS_MAX / 86400000));
    if (object_find(objects, OBJECT_CAMPAIGN, campaign->name) != NULL)
        return lapse_fail(error, LAPSE_ALREADY_EXISTS,
                          "a campaign of this name is under way; close it, or choose another name");
    if (objects->kinds[OBJECT_CAMPAIGN].n == LIMIT_CAMPAIGNS)
        return lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED, "%u campaigns are under way, which is the limit; close some",
                          LIMIT_CAMPAIGNS);
    return lapse_ok();
}

static uint32_t count_items(const struct store *store, const struct campaign *campaign)
{
    uint32_t items = 0;
    const struct object *object;
    for (uint32_t i = 0; (object = object_at(&store->objects, OBJECT_ELIGIBILITY, i)) != NULL; i++) {
        const struct eligibility eligibility = decoded_eligibility(object);
        items += campaign_takes(campaign, &eligibility);
    }
    return items;
}

lapse_result campaign_start(struct apply *apply)
{
    struct store *store = apply->store;
    struct campaign campaign;
    lapse_result result = campaign_decode(apply->command->value, false, &campaign, &apply->outcome->error);
    if (lapse_is_ok(result))
        result = check_start(apply, &campaign);
    if (!lapse_is_ok(result))
        return result;
    campaign.started_by = apply->command->principal;
    campaign.started_ms = apply->now_ms;
    campaign.revision = store->revision + 1;
    campaign.items = count_items(store, &campaign);
    const struct object object = object_of(store, &campaign);
    governance_put(apply, STORE_EVENT_CAMPAIGN_STARTED, &object);
    return lapse_ok();
}

static void end_campaign(struct apply *apply, const struct object *object, struct slice reason)
{
    struct campaign campaign = decoded(object);
    if (reason.len > 0)
        campaign.reason = reason;
    const struct object last = object_of(apply->store, &campaign);
    governance_remove(apply, STORE_EVENT_CAMPAIGN_ENDED, OBJECT_CAMPAIGN, object->name, &last);
}

lapse_result campaign_close(struct apply *apply)
{
    const struct object *object = object_find(&apply->store->objects, OBJECT_CAMPAIGN, apply->command->name);
    if (object == NULL)
        return lapse_fail(&apply->outcome->error, LAPSE_NOT_FOUND,
                          "no campaign of this name is under way; look at the list of campaigns");
    end_campaign(apply, object, apply->command->text);
    return lapse_ok();
}

/* --- its end ------------------------------------------------------------------------------------------------------ */

static bool lapses_with(const struct campaign *campaign, const struct eligibility *eligibility)
{
    return eligibility->revision < campaign->revision && campaign_takes(campaign, eligibility);
}

bool campaigns_have_ended(const struct store *store, const struct eligibility *eligibility, int64_t now_ms)
{
    const struct object *object;
    for (uint32_t i = 0; (object = object_at(&store->objects, OBJECT_CAMPAIGN, i)) != NULL; i++) {
        if (object->due_ms > now_ms)
            continue;
        const struct campaign campaign = decoded(object);
        if (lapses_with(&campaign, eligibility))
            return true;
    }
    return false;
}

/* The next one that lapses, from where the last step has got to; NULL: none is left. From the last name to the first,
 * since what is taken off the end of the table moves little. */
static const struct object *next_to_lapse(struct store *store, const struct campaign *campaign)
{
    const struct object_table *objects = &store->objects;
    struct campaign_progress *progress = eligibility_book_progress(store);
    if (progress->revision != campaign->revision)
        *progress = (struct campaign_progress){.revision = campaign->revision};
    uint32_t i = objects->kinds[OBJECT_ELIGIBILITY].n;
    if (progress->len > 0)
        i = object_lower_bound(objects, OBJECT_ELIGIBILITY, slice_of(progress->name, progress->len));
    while (i > 0) {
        const struct object *object = object_at(objects, OBJECT_ELIGIBILITY, --i);
        const struct eligibility eligibility = decoded_eligibility(object);
        if (!lapses_with(campaign, &eligibility))
            continue;
        progress->len = (uint32_t)object->name.len;
        memcpy(progress->name, object->name.data, object->name.len);
        return object;
    }
    return NULL;
}

/* One step. Its due_ms stays: it is what is due first, until none is left. */
static void due(struct apply *apply, const struct object *object)
{
    struct store *store = apply->store;
    struct campaign campaign = decoded(object);
    const struct object *eligibility = next_to_lapse(store, &campaign);
    if (eligibility == NULL) {
        end_campaign(apply, object, (struct slice){0});
        return;
    }
    eligibility_end(apply, eligibility, "NOT_CERTIFIED", (struct slice){0});
    campaign.lapsed++;
    const struct object counted = object_of(store, &campaign);
    governance_touch(store, &counted);
}

static const char *check(const struct store *store, const struct object *object)
{
    struct campaign campaign;
    if (!lapse_is_ok(campaign_decode(object->value, true, &campaign, NULL)) ||
        !slice_equal(campaign.name, object->name) || campaign.due_ms != object->due_ms)
        return "bad campaign";
    return campaign.revision > store->revision ? "a campaign from the future" : NULL;
}

const struct object_module campaign_module = {.check = check, .due = due};
