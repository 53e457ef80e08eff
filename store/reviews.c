/* Break-glass reviews: every break-glass grant, until somebody else has looked at what was done with it.
 *
 *   ACTIVATED --> open --+-- CLOSE_REVIEW --> gone (its verdict is in the event)
 *                        '-- due --> overdue: its requester and subject are barred --> CLOSE_REVIEW --> gone
 *
 * The review has all that it takes to be closed, since the grant may have left memory by then. The overdue ones stand
 * in a book in the order of their names: who is barred is asked with every request. They are few, and LIMIT_REVIEWS at
 * the most (0.2 ms). */
#include "store/review.h"

#include <stdlib.h>

#include "base/check.h"
#include "store/governance.h"
#include "store/policy.h"

struct barred {
    const struct object *object;
    struct slice requester, subject;
};

struct review_book {
    struct barred *overdue;
    uint32_t n, capacity;
};

static struct lapse_error *error_of(struct apply *apply)
{
    return &apply->outcome->error;
}

/* --- the book ----------------------------------------------------------------------------------------------------- */

static struct review_book *book_of(struct store *store)
{
    if (store->reviews == NULL)
        store->reviews = mem_calloc(1, sizeof *store->reviews);
    return store->reviews;
}

void reviews_free(struct store *store)
{
    if (store->reviews != NULL)
        free(store->reviews->overdue);
    free(store->reviews);
    store->reviews = NULL;
}

/* One that is in the table has been checked. */
static void read_review(const struct object *object, struct review *review)
{
    const char *why = review_decode(object->value, review);
    CHECK(why == NULL);
}

static uint32_t book_place(const struct review_book *book, struct slice name)
{
    uint32_t i = 0;
    while (i < book->n && slice_compare(book->overdue[i].object->name, name) < 0)
        i++;
    return i;
}

static void comes(struct store *store, const struct object *object)
{
    struct review review;
    struct review_book *book = book_of(store);
    read_review(object, &review);
    if (!review.overdue)
        return;
    if (book->n == book->capacity) {
        book->capacity = book->capacity == 0 ? 8 : 2 * book->capacity;
        book->overdue = mem_realloc(book->overdue, book->capacity * sizeof book->overdue[0]);
    }
    uint32_t i = book_place(book, object->name);
    memmove(&book->overdue[i + 1], &book->overdue[i], (book->n - i) * sizeof book->overdue[0]);
    book->overdue[i] = (struct barred){object, review.requester, review.subject};
    book->n++;
}

static void goes(struct store *store, const struct object *object)
{
    struct review_book *book = book_of(store);
    uint32_t i = book_place(book, object->name);
    if (i == book->n || book->overdue[i].object != object)
        return;
    book->n--;
    memmove(&book->overdue[i], &book->overdue[i + 1], (book->n - i) * sizeof book->overdue[0]);
}

const struct object *reviews_bar(const struct store *store, struct slice principal)
{
    const struct review_book *book = store->reviews;
    for (uint32_t i = 0; book != NULL && i < book->n; i++)
        if (principal_same(book->overdue[i].requester, principal) ||
            principal_same(book->overdue[i].subject, principal))
            return book->overdue[i].object;
    return NULL;
}

bool reviews_have_room(const struct store *store)
{
    return store->objects.kinds[OBJECT_REVIEW].n < LIMIT_REVIEWS;
}

/* Only break-glass asks, so all of them are looked at (1 ms). */
uint32_t reviews_of_requester(const struct store *store, struct slice principal)
{
    uint32_t n = 0;
    const struct object *object;
    for (uint32_t i = 0; (object = object_at(&store->objects, OBJECT_REVIEW, i)) != NULL; i++) {
        struct review review;
        read_review(object, &review);
        n += principal_same(review.requester, principal);
    }
    return n;
}

/* --- from open to overdue ----------------------------------------------------------------------------------------- */

static struct object object_of(struct apply *apply, struct review *review)
{
    review->revision = apply->store->revision + 1; /* of the event that tells it */
    review_encode(review, &apply->store->scratch);
    return (struct object){.kind = OBJECT_REVIEW,
                           .name = review->name,
                           .value = buf_slice(&apply->store->scratch),
                           .due_ms = review->overdue || review->verdict != 0 ? 0 : review->due_ms};
}

static const char *check(const struct store *store, const struct object *object)
{
    struct review review;
    const char *why = review_decode(object->value, &review);
    if (why != NULL)
        return why;
    bool good = slice_equal(review.name, object->name) && object->due_ms == (review.overdue ? 0 : review.due_ms);
    good = good && review.verdict == 0 && review.comment.len == 0 && review.closed_by.len == 0 && review.closed_ms == 0;
    good = good && review.revision > 0 && review.revision <= store->revision && review.opened_ms <= store->time_ms;
    return good ? NULL : "a review that contradicts itself";
}

/* `text` has room for all of them. */
static struct slice join_approvers(const struct grant *grant, char *text)
{
    size_t len = 0;
    for (uint32_t i = 0; i < grant->n_approvals; i++) {
        struct slice approver = grant->approvals[i].approver;
        if (i > 0)
            text[len++] = ' ';
        memcpy(text + len, approver.data, approver.len);
        len += approver.len;
    }
    return slice_of(text, len);
}

void reviews_open(struct apply *apply, uint32_t slot)
{
    struct grant grant;
    char id[GRANT_ID_TEXT_SIZE], approvers[LIMIT_APPROVALS * (LIMIT_PRINCIPAL + 1)];
    slot_read(apply->store, slot, &grant);
    grant_id_format(grant.id, id);
    int64_t within_ms = grant.review_within_ms > 0 ? grant.review_within_ms : LIMIT_REVIEW_MS_DEFAULT;
    struct review review = {.name = slice_str(id),
                            .subject = grant.subject,
                            .requester = grant.requester,
                            .resource = grant.resource,
                            .justification = grant.justification,
                            .policy = grant.policy,
                            .rule = grant.rule,
                            .reviewers = grant.reviewers,
                            .opened_ms = apply->now_ms,
                            .due_ms = apply->now_ms + within_ms,
                            .approvers = join_approvers(&grant, approvers)};
    const struct object object = object_of(apply, &review);
    governance_put(apply, STORE_EVENT_REVIEW_OPENED, &object);
}

static void due(struct apply *apply, const struct object *object)
{
    struct review review;
    read_review(object, &review);
    review.overdue = true;
    const struct object overdue = object_of(apply, &review);
    governance_put(apply, STORE_EVENT_REVIEW_OVERDUE, &overdue);
}

const struct object_module review_module = {.check = check, .comes = comes, .goes = goes, .due = due};

/* --- CLOSE_REVIEW ------------------------------------------------------------------------------------------------- */

lapse_result reviews_validate(const struct command *command, struct lapse_error *error)
{
    if (command->count != REVIEW_JUSTIFIED && command->count != REVIEW_MISUSED)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "verdict is missing; give justified or misused");
    if (command->text.len == 0)
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "comment is missing; say what you have found");
    return lapse_ok();
}

static lapse_result check_reviewer(struct apply *apply, const struct review *review)
{
    struct slice who = apply->command->principal;
    if (review_concerns(review, who))
        return lapse_fail(error_of(apply), LAPSE_PERMISSION_DENIED,
                          "whoever requested, had or approved a grant doesn't review it; ask another approver%s%.*s",
                          review->reviewers.len > 0 ? ", one of " : "", SHOWN(review->reviewers));
    if (!principal_matches_any(review->reviewers, who))
        return lapse_fail(error_of(apply), LAPSE_PERMISSION_DENIED, "it is reviewed by one of %.*s; ask one of them",
                          SHOWN(review->reviewers));
    return lapse_ok();
}

lapse_result reviews_apply(struct apply *apply)
{
    struct store *store = apply->store;
    const struct command *command = apply->command;
    char id[GRANT_ID_TEXT_SIZE];
    struct review review;
    grant_id_format(command->grant, id);
    lapse_result result =
        rules_permit(store, rules_find(COMMAND_CLOSE_REVIEW, GRANT_NONE), command->principal, 0, error_of(apply));
    if (!lapse_is_ok(result))
        return result;
    const struct object *object = object_find(&store->objects, OBJECT_REVIEW, slice_str(id));
    if (object == NULL)
        return lapse_fail(error_of(apply), LAPSE_NOT_FOUND,
                          "no review of grant %s is open; look at the list of open reviews", id);
    read_review(object, &review);
    result = check_reviewer(apply, &review);
    if (!lapse_is_ok(result))
        return result;
    review.verdict = command->count;
    review.comment = command->text;
    review.closed_by = command->principal;
    review.closed_ms = apply->now_ms;
    const struct object closed = object_of(apply, &review);
    governance_remove(apply, STORE_EVENT_REVIEW_CLOSED, OBJECT_REVIEW, object->name, &closed);
    return lapse_ok();
}
