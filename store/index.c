/* Lists of grants by a string they have in some role: intrusive, doubly linked, appended in revision order. A list
 * exists while it has members, and is found by (kind, string) in a table of its own. */

#include "base/check.h"
#include "store/hash.h"
#include "store/internal.h"

static uint64_t hash_list(const struct store *store, uint32_t kind, string_id string)
{
    /* Our own small numbers, not chosen by anybody: a mix is enough. */
    return XXH3_64bits_withSeed(&(uint32_t[]){kind, string}, 2 * sizeof(uint32_t), store->seed);
}

static struct index_list *list_at(const struct store *store, uint32_t item)
{
    return pool_at(&store->list_pool, item);
}

static uint64_t hash_item(const void *owner, uint32_t item)
{
    const struct index_list *list = list_at(owner, item);
    return hash_list(owner, list->kind, list->string);
}

static uint32_t *next_item(const void *owner, uint32_t item)
{
    return &list_at(owner, item)->next;
}

static const void *key_of_item(const void *owner, uint32_t item)
{
    return list_at(owner, item);
}

static const struct table_ops table_ops = {hash_item, next_item, key_of_item};

void index_init(struct store *store)
{
    pool_init(&store->list_pool, sizeof(struct index_list));
    table_init(&store->lists, &table_ops, store);
}

void index_free(struct store *store)
{
    table_free(&store->lists);
    pool_free(&store->list_pool);
}

static uint32_t find_item(const struct store *store, uint32_t kind, string_id string)
{
    uint32_t item = table_first(&store->lists, hash_list(store, kind, string));
    while (item != 0) {
        const struct index_list *list = list_at(store, item);
        if (list->string == string && list->kind == kind)
            return item;
        item = list->next;
    }
    return 0;
}

static uint32_t find_or_make(struct store *store, uint32_t kind, string_id string)
{
    uint32_t item = find_item(store, kind, string);
    if (item == 0) {
        item = pool_take(&store->list_pool);
        *list_at(store, item) = (struct index_list){.string = string, .kind = kind};
        table_insert(&store->lists, item, hash_list(store, kind, string));
    }
    return item;
}

/* The string that puts a grant into the list of a place. */
static string_id string_of(const struct record *record, uint32_t place)
{
    switch (place) {
    case INDEX_SUBJECT:
        return record->subject;
    case INDEX_RESOURCE:
        return record->resource;
    case INDEX_TICKET:
        return record->ticket;
    case INDEX_POLICY:
        return record->policy;
    default:
        return 0;
    }
}

static string_id string_at_place(const struct store *store, uint32_t slot, uint32_t place)
{
    const struct record *record = store_record(store, slot);
    if (place < INDEX_APPROVER)
        return string_of(record, place);
    uint32_t i = place - INDEX_APPROVER;
    return i < record->n_approvals ? approval_at(store, slot, i).approver : 0;
}

static struct list_place *place_at(const struct store *store, uint32_t slot, uint32_t place)
{
    return place <= INDEX_APPROVER ? &links_at(store, slot)->index[place]
                                   : extras_place(store, slot, place - INDEX_APPROVER);
}

static uint32_t kind_of(uint32_t place)
{
    return place < INDEX_APPROVER ? place : INDEX_APPROVER;
}

/* In which of its places a grant is a member of the list of `string`. */
static uint32_t place_of(const struct store *store, enum index_kind kind, string_id string, uint32_t slot)
{
    if (kind != INDEX_APPROVER)
        return kind;
    uint32_t i = approval_by(store, slot, string);
    return INDEX_APPROVER + (i < store_record(store, slot)->n_approvals ? i : 0);
}

static void append(struct store *store, uint32_t slot, uint32_t place)
{
    string_id string = string_at_place(store, slot, place);
    if (string == 0)
        return;
    struct index_list *list = list_at(store, find_or_make(store, kind_of(place), string));
    *place_at(store, slot, place) = (struct list_place){.prev = list->tail};
    if (list->tail == 0)
        list->head = slot;
    else
        place_at(store, list->tail, place_of(store, kind_of(place), string, list->tail))->next = slot;
    list->tail = slot;
    list->count++;
}

void index_add(struct store *store, uint32_t slot, enum index_kind kind)
{
    CHECK(kind < INDEX_APPROVER);
    append(store, slot, kind);
}

void index_add_approval(struct store *store, uint32_t slot, uint32_t approval)
{
    append(store, slot, INDEX_APPROVER + approval);
}

static void remove_from(struct store *store, uint32_t slot, uint32_t place)
{
    string_id string = string_at_place(store, slot, place);
    if (string == 0)
        return;
    enum index_kind kind = kind_of(place);
    uint32_t item = find_item(store, kind, string);
    CHECK(item != 0);
    struct index_list *list = list_at(store, item);
    uint32_t prev = place_at(store, slot, place)->prev, next = place_at(store, slot, place)->next;
    if (prev == 0)
        list->head = next;
    else
        place_at(store, prev, place_of(store, kind, string, prev))->next = next;
    if (next == 0)
        list->tail = prev;
    else
        place_at(store, next, place_of(store, kind, string, next))->prev = prev;
    if (--list->count > 0)
        return;
    table_remove(&store->lists, item, hash_list(store, kind, string));
    pool_give(&store->list_pool, item);
}

void index_remove_all(struct store *store, uint32_t slot)
{
    const struct links *links = links_at(store, slot);
    for (uint32_t place = 0; place < INDEX_KINDS; place++) {
        __builtin_prefetch(links_at(store, links->index[place].prev), 1);
        __builtin_prefetch(links_at(store, links->index[place].next), 1);
    }
    uint32_t n = INDEX_APPROVER + store_record(store, slot)->n_approvals;
    for (uint32_t place = 0; place < n; place++)
        remove_from(store, slot, place);
}

const struct index_list *index_find(const struct store *store, enum index_kind kind, struct slice text)
{
    string_id string = strings_find(&store->strings, text);
    uint32_t item = string == 0 ? 0 : find_item(store, kind, string);
    return item == 0 ? NULL : list_at(store, item);
}

bool index_holds(const struct store *store, enum index_kind kind, string_id string, uint32_t slot)
{
    return string_at_place(store, slot, place_of(store, kind, string, slot)) == string;
}

uint32_t index_next(const struct store *store, enum index_kind kind, string_id list_string, uint32_t slot)
{
    return place_at(store, slot, place_of(store, kind, list_string, slot))->next;
}

uint64_t index_order(const struct store *store, enum index_kind kind, string_id string, uint32_t slot)
{
    return kind == INDEX_APPROVER ? approved_at(store, slot, string)
                                  : u48_get(store_record(store, slot)->requested_revision);
}
