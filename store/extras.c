#include "store/extras.h"

#include <stdlib.h>

#include "base/check.h"
#include "store/hash.h"
#include "store/internal.h"

static struct extra *item_at(const struct store *store, uint32_t item)
{
    return slabs_at(&store->extras.items, item);
}

static uint64_t hash_slot(const struct store *store, uint32_t slot)
{
    return XXH3_64bits_withSeed(&slot, sizeof slot, store->seed);
}

static uint64_t hash_item(const void *owner, uint32_t item)
{
    return hash_slot(owner, item_at(owner, item)->slot);
}

static uint32_t *next_item(const void *owner, uint32_t item)
{
    return &item_at(owner, item)->next;
}

static const void *key_of_item(const void *owner, uint32_t item)
{
    return item_at(owner, item);
}

static const struct table_ops table_ops = {hash_item, next_item, key_of_item};

void extras_init(struct store *store)
{
    slabs_init(&store->extras.items, sizeof(struct extra));
    table_init(&store->extras.table, &table_ops, store);
}

void extras_free(struct store *store)
{
    slabs_free(&store->extras.items);
    table_free(&store->extras.table);
}

size_t extras_bytes(const struct store *store)
{
    return slabs_bytes(&store->extras.items) + table_bytes(&store->extras.table);
}

/* --- by slot ------------------------------------------------------------------------------------------------------ */

/* 0: none. */
static uint32_t find_item(const struct store *store, uint32_t slot)
{
    if (!links_at(store, slot)->has_extra)
        return 0;
    uint32_t item = table_first(&store->extras.table, hash_slot(store, slot));
    while (item != 0 && item_at(store, item)->slot != slot)
        item = item_at(store, item)->next;
    CHECK(item != 0);
    return item;
}

const struct extra *extras_find(const struct store *store, uint32_t slot)
{
    uint32_t item = find_item(store, slot);
    return item == 0 ? NULL : item_at(store, item);
}

struct list_place *extras_place(const struct store *store, uint32_t slot, uint32_t i)
{
    CHECK(i > 0 && i < store_record(store, slot)->n_approvals);
    return &item_at(store, find_item(store, slot))->places[i - 1];
}

/* All of it in one part. */
static struct store_digest digest_extra(const struct store *store, const struct extra *extra)
{
    const struct record *record = store_record(store, extra->slot);
    uint8_t *const *chunks = store->strings.chunks;
    struct digest_message message;
    message.len = 0;
    digest_put(&message, record->id.bytes, sizeof record->id.bytes);
    digest_put(&message, &extra->first_revision, sizeof extra->first_revision);
    for (uint32_t i = 1; i < record->n_approvals; i++) {
        const struct approval *approval = &extra->more[i - 1];
        digest_put(&message, &approval->time_ms, sizeof approval->time_ms);
        digest_put(&message, &approval->revision, sizeof approval->revision);
        digest_put_string(&message, chunks, approval->approver);
        digest_put_string(&message, chunks, approval->comment);
    }
    if (extra->has_token)
        digest_put(&message, extra->token, sizeof extra->token);
    return digest_of_message(DIGEST_EXTRA, &message);
}

static uint32_t add_item(struct store *store, uint32_t slot)
{
    uint32_t item = slabs_take(&store->extras.items);
    struct extra *extra = slabs_edit(&store->extras.items, item);
    extra->slot = slot;
    table_insert(&store->extras.table, item, hash_slot(store, slot));
    links_at(store, slot)->has_extra = 1;
    return item;
}

/* For writing, off the digest. A new one has what the record says so far. */
static struct extra *begin_edit(struct store *store, uint32_t slot)
{
    uint32_t item = find_item(store, slot);
    if (item != 0) {
        digest_sub(&store->sum, digest_extra(store, item_at(store, item)));
        return slabs_edit(&store->extras.items, item);
    }
    struct extra *extra = slabs_edit(&store->extras.items, add_item(store, slot));
    extra->first_revision = store_record(store, slot)->approved_revision;
    return extra;
}

static void end_edit(struct store *store, const struct extra *extra)
{
    digest_add(&store->sum, digest_extra(store, extra));
}

void extras_drop(struct store *store, uint32_t slot)
{
    uint32_t item = find_item(store, slot);
    if (item == 0)
        return;
    const struct extra *extra = item_at(store, item);
    digest_sub(&store->sum, digest_extra(store, extra));
    for (uint32_t i = 1; i < store_record(store, slot)->n_approvals; i++) {
        strings_unref(&store->strings, extra->more[i - 1].approver);
        strings_unref(&store->strings, extra->more[i - 1].comment);
    }
    table_remove(&store->extras.table, item, hash_slot(store, slot));
    slabs_give(&store->extras.items, item);
    links_at(store, slot)->has_extra = 0;
}

/* --- approvals ---------------------------------------------------------------------------------------------------- */

static void add_first(struct store *store, uint32_t slot, const struct grant_approval *approval, bool last)
{
    struct record *record = records_edit(&store->records, slot);
    record->approver = strings_intern(&store->strings, approval->approver);
    record->comment = strings_intern(&store->strings, approval->comment);
    record->approval_ms = u48_of((uint64_t)approval->time_ms);
    record->n_approvals = 1;
    digest_add(&store->sum, digest_grant_approval(record, store->strings.chunks));
    if (last)
        return; /* its revision is the record's approved_revision */
    struct extra *extra = begin_edit(store, slot);
    extra->first_revision = u48_of(approval->revision);
    end_edit(store, extra);
}

void approvals_add(struct store *store, uint32_t slot, const struct grant_approval *approval, bool last)
{
    uint32_t n = store_record(store, slot)->n_approvals;
    CHECK(n < LIMIT_APPROVALS && approval->revision > 0);
    if (n == 0) {
        add_first(store, slot, approval, last);
        return;
    }
    struct extra *extra = begin_edit(store, slot);
    extra->more[n - 1] = (struct approval){.approver = strings_intern(&store->strings, approval->approver),
                                           .comment = strings_intern(&store->strings, approval->comment),
                                           .time_ms = u48_of((uint64_t)approval->time_ms),
                                           .revision = u48_of(approval->revision)};
    records_edit(&store->records, slot)->n_approvals++;
    end_edit(store, extra);
}

struct approval approval_of(const struct record *record, const struct extra *extra, uint32_t i)
{
    if (i > 0)
        return extra->more[i - 1];
    return (struct approval){.approver = record->approver,
                             .comment = record->comment,
                             .time_ms = record->approval_ms,
                             .revision = extra != NULL ? extra->first_revision : record->approved_revision};
}

struct approval approval_at(const struct store *store, uint32_t slot, uint32_t i)
{
    return approval_of(store_record(store, slot), extras_find(store, slot), i);
}

uint32_t approval_by(const struct store *store, uint32_t slot, string_id approver)
{
    const struct record *record = store_record(store, slot);
    uint32_t i = 0;
    if (record->n_approvals == 0 || record->approver == approver)
        return 0;
    const struct extra *extra = extras_find(store, slot);
    while (++i < record->n_approvals && extra->more[i - 1].approver != approver) {
    }
    return i;
}

uint64_t approved_at(const struct store *store, uint32_t slot, string_id approver)
{
    uint32_t i = approval_by(store, slot, approver);
    return i < store_record(store, slot)->n_approvals ? u48_get(approval_at(store, slot, i).revision) : 0;
}

/* --- tokens ------------------------------------------------------------------------------------------------------- */

void extras_set_token(struct store *store, uint32_t slot, struct slice sha256)
{
    CHECK(sha256.len == TOKEN_HASH_BYTES);
    struct extra *extra = begin_edit(store, slot);
    CHECK(!extra->has_token);
    extra->has_token = true;
    memcpy(extra->token, sha256.data, sizeof extra->token);
    end_edit(store, extra);
}

struct slice extras_token(const struct store *store, uint32_t slot)
{
    const struct extra *extra = extras_find(store, slot);
    return extra == NULL || !extra->has_token ? (struct slice){0} : slice_of(extra->token, sizeof extra->token);
}

/* --- views -------------------------------------------------------------------------------------------------------- */

void extras_freeze(struct store *store, struct extras_view *view)
{
    struct slabs *items = &store->extras.items;
    *view = (struct extras_view){.n_slabs = items->n_slabs, .n_items = items->n_items};
    view->directory = slabs_freeze(items);
}

void extras_thaw(struct store *store, struct extras_view *view)
{
    slabs_thaw(&store->extras.items, view->directory, view->n_slabs);
    free(view->sorted);
}

static const struct extra *frozen_at(const struct extras_view *view, uint32_t item)
{
    return slabs_in(view->directory, sizeof(struct extra), item);
}

static int compare_slots(const void *a, const void *b, void *arg)
{
    uint32_t x = frozen_at(arg, *(const uint32_t *)a)->slot, y = frozen_at(arg, *(const uint32_t *)b)->slot;
    return x < y ? -1 : x > y;
}

void extras_view_sort(struct extras_view *view)
{
    view->sorted = mem_alloc(view->n_items * sizeof view->sorted[0]);
    for (uint32_t item = 1; item < view->n_items; item++)
        if (frozen_at(view, item)->slot != 0)
            view->sorted[view->n++] = item;
    if (view->n > 0)
        qsort_r(view->sorted, view->n, sizeof view->sorted[0], compare_slots, view);
}

const struct extra *extras_view_find(const struct extras_view *view, uint32_t slot)
{
    uint32_t low = 0, high = view->n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (frozen_at(view, view->sorted[middle])->slot < slot)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < view->n && frozen_at(view, view->sorted[low])->slot == slot;
    return found ? frozen_at(view, view->sorted[low]) : NULL;
}
