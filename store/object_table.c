#include "store/object_table.h"

#include <stdlib.h>

#include "base/check.h"
#include "store/command_internal.h"
#include "store/digest.h"
#include "store/terms.h"

enum { OBJECT_FIELD_KIND = 1, OBJECT_FIELD_NAME = 2, OBJECT_FIELD_VALUE = 3, OBJECT_FIELD_DUE_MS = 4 };

uint32_t object_kind_max(enum object_kind kind)
{
    static const uint32_t most[OBJECT_KINDS] = {
        [OBJECT_POLICY] = LIMIT_POLICIES,          [OBJECT_LOCK] = LIMIT_LOCKS,
        [OBJECT_ELIGIBILITY] = LIMIT_ELIGIBILITIES, [OBJECT_CAMPAIGN] = LIMIT_CAMPAIGNS,
        [OBJECT_REVIEW] = LIMIT_REVIEWS,           [OBJECT_HOOK] = LIMIT_HOOKS,
    };
    return most[kind];
}

static void unref(struct held_object *held)
{
    if (--held->refs == 0)
        free(held);
}

void object_table_free(struct object_table *table)
{
    for (int kind = OBJECT_POLICY; kind < OBJECT_KINDS; kind++) {
        for (uint32_t i = 0; i < table->kinds[kind].n; i++)
            unref(table->kinds[kind].held[i]);
        free(table->kinds[kind].held);
    }
    free(table->heap);
    *table = (struct object_table){0};
}

/* --- by name ------------------------------------------------------------------------------------------------------ */

uint32_t object_lower_bound(const struct object_table *table, enum object_kind kind, struct slice name)
{
    const struct object_list *list = &table->kinds[kind];
    uint32_t low = 0, high = list->n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (slice_compare(list->held[middle]->object.name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool found_at(const struct object_list *list, uint32_t i, struct slice name)
{
    return i < list->n && slice_equal(list->held[i]->object.name, name);
}

const struct object *object_at(const struct object_table *table, enum object_kind kind, uint32_t i)
{
    const struct object_list *list = &table->kinds[kind];
    return i < list->n ? &list->held[i]->object : NULL;
}

const struct object *object_find(const struct object_table *table, enum object_kind kind, struct slice name)
{
    uint32_t i = object_lower_bound(table, kind, name);
    return found_at(&table->kinds[kind], i, name) ? object_at(table, kind, i) : NULL;
}

static void list_insert(struct object_list *list, uint32_t at, struct held_object *held)
{
    if (list->n == list->capacity) {
        list->capacity = list->capacity == 0 ? 8 : list->capacity * 2;
        list->held = mem_realloc(list->held, list->capacity * sizeof(struct held_object *));
    }
    memmove(list->held + at + 1, list->held + at, (list->n - at) * sizeof(struct held_object *));
    list->held[at] = held;
    list->n++;
}

/* --- by the time when they are due ------------------------------------------------------------------------------- */

static bool before(const struct held_object *a, const struct held_object *b)
{
    if (a->object.due_ms != b->object.due_ms)
        return a->object.due_ms < b->object.due_ms;
    if (a->object.kind != b->object.kind)
        return a->object.kind < b->object.kind;
    /* From the last name on: what is taken off the end of its list moves little. */
    return slice_compare(a->object.name, b->object.name) > 0;
}

static void heap_set(struct object_table *table, uint32_t place, struct held_object *held)
{
    table->heap[place] = held;
    held->place = place;
}

static void heap_up(struct object_table *table, uint32_t place, struct held_object *held)
{
    for (; place > 1 && before(held, table->heap[place / 2]); place /= 2)
        heap_set(table, place, table->heap[place / 2]);
    heap_set(table, place, held);
}

static void heap_down(struct object_table *table, uint32_t place, struct held_object *held)
{
    for (uint32_t child = 2 * place; child <= table->n_heap; child = 2 * place) {
        if (child < table->n_heap && before(table->heap[child + 1], table->heap[child]))
            child++;
        if (!before(table->heap[child], held))
            break;
        heap_set(table, place, table->heap[child]);
        place = child;
    }
    heap_set(table, place, held);
}

static void heap_add(struct object_table *table, struct held_object *held)
{
    if (table->n_heap + 1 >= table->heap_capacity) {
        table->heap_capacity = table->heap_capacity == 0 ? 16 : table->heap_capacity * 2;
        table->heap = mem_realloc(table->heap, table->heap_capacity * sizeof(struct held_object *));
    }
    heap_up(table, ++table->n_heap, held);
}

static void heap_remove(struct object_table *table, struct held_object *held)
{
    uint32_t place = held->place;
    struct held_object *last = table->heap[table->n_heap--];
    held->place = 0;
    if (last == held)
        return;
    if (place > 1 && before(last, table->heap[place / 2]))
        heap_up(table, place, last);
    else
        heap_down(table, place, last);
}

const struct object *object_next_due(const struct object_table *table)
{
    return table->n_heap == 0 ? NULL : &table->heap[1]->object;
}

/* --- changes ------------------------------------------------------------------------------------------------------ */

/* Name and value follow each other behind their lengths: no two objects have the same bytes. */
static struct store_digest digest_of_object(const struct held_object *held)
{
    const struct object *object = &held->object;
    const uint64_t numbers[] = {object->kind, (uint64_t)object->due_ms, object->name.len, object->value.len};
    struct store_digest sum = digest_of(DIGEST_OBJECT, held->bytes, object->name.len + object->value.len);
    /* The numbers ride on the bytes' hash: both have to be right. */
    uint64_t mixed[ARRAY_LEN(numbers) + 2];
    memcpy(mixed, numbers, sizeof numbers);
    memcpy(mixed + ARRAY_LEN(numbers), sum.words, sizeof sum.words);
    return digest_of(DIGEST_OBJECT, mixed, sizeof mixed);
}

static struct held_object *hold(const struct object *object)
{
    struct held_object *held = mem_alloc(sizeof *held + object->name.len + object->value.len);
    uint8_t *value = held->bytes + object->name.len;
    memcpy(held->bytes, object->name.data, object->name.len);
    if (object->value.len > 0)
        memcpy(value, object->value.data, object->value.len);
    held->object = *object;
    held->object.name = slice_of(held->bytes, object->name.len);
    held->object.value = slice_of(value, object->value.len);
    held->refs = 1;
    held->place = 0;
    return held;
}

static void forget(struct object_table *table, struct store_digest *sum, struct held_object *held)
{
    digest_sub(sum, digest_of_object(held));
    if (held->place != 0)
        heap_remove(table, held);
    unref(held);
}

const struct object *object_put(struct object_table *table, struct store_digest *sum, const struct object *object)
{
    struct object_list *list = &table->kinds[object->kind];
    uint32_t at = object_lower_bound(table, object->kind, object->name);
    /* Its bytes may be those of the one that goes. */
    struct held_object *held = hold(object);
    if (found_at(list, at, object->name)) {
        forget(table, sum, list->held[at]);
        list->held[at] = held;
    } else {
        CHECK(list->n < object_kind_max(object->kind));
        list_insert(list, at, held);
    }
    digest_add(sum, digest_of_object(held));
    if (held->object.due_ms != 0)
        heap_add(table, held);
    return &held->object;
}

void object_remove(struct object_table *table, struct store_digest *sum, enum object_kind kind, struct slice name)
{
    struct object_list *list = &table->kinds[kind];
    uint32_t at = object_lower_bound(table, kind, name);
    CHECK(found_at(list, at, name));
    struct held_object *held = list->held[at];
    list->n--;
    memmove(list->held + at, list->held + at + 1, (list->n - at) * sizeof(struct held_object *));
    forget(table, sum, held);
}

size_t object_table_bytes(const struct object_table *table)
{
    size_t bytes = table->heap_capacity * sizeof(struct held_object *);
    for (int kind = OBJECT_POLICY; kind < OBJECT_KINDS; kind++) {
        const struct object_list *list = &table->kinds[kind];
        bytes += list->capacity * sizeof(struct held_object *);
        for (uint32_t i = 0; i < list->n; i++)
            bytes += sizeof(struct held_object) + list->held[i]->object.name.len + list->held[i]->object.value.len;
    }
    return bytes;
}

/* --- views and snapshots ------------------------------------------------------------------------------------------ */

struct held_object **object_table_freeze(const struct object_table *table, uint32_t *n)
{
    uint32_t count = 0;
    for (int kind = OBJECT_POLICY; kind < OBJECT_KINDS; kind++)
        count += table->kinds[kind].n;
    struct held_object **frozen = mem_alloc((count + 1) * sizeof(struct held_object *));
    *n = 0;
    for (int kind = OBJECT_POLICY; kind < OBJECT_KINDS; kind++)
        for (uint32_t i = 0; i < table->kinds[kind].n; i++) {
            frozen[*n] = table->kinds[kind].held[i];
            frozen[(*n)++]->refs++;
        }
    return frozen;
}

void object_table_thaw(struct held_object **held, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        unref(held[i]);
    free(held);
}

void object_write(struct wire_writer *writer, const struct object *object)
{
    wire_put_uint(writer, OBJECT_FIELD_KIND, object->kind);
    wire_put_bytes(writer, OBJECT_FIELD_NAME, object->name);
    wire_put_bytes(writer, OBJECT_FIELD_VALUE, object->value);
    wire_put_uint(writer, OBJECT_FIELD_DUE_MS, (uint64_t)object->due_ms);
}

static bool decode(struct slice bytes, struct object *object)
{
    struct wire_reader reader = wire_reader(bytes);
    struct wire_field field;
    uint32_t last = 0, kind = 0;
    bool good = true;
    while (good && wire_next(&reader, &field)) {
        good = field.number > last && (field.number == OBJECT_FIELD_KIND     ? field_u32(&field, &kind)
                                       : field.number == OBJECT_FIELD_NAME   ? field_bytes(&field, &object->name)
                                       : field.number == OBJECT_FIELD_VALUE  ? field_bytes(&field, &object->value)
                                       : field.number == OBJECT_FIELD_DUE_MS ? field_ms(&field, &object->due_ms)
                                                                             : false);
        last = field.number;
    }
    if (!good || reader.failed || kind < OBJECT_POLICY || kind >= OBJECT_KINDS)
        return false;
    object->kind = (enum object_kind)kind;
    return object->name.len > 0 && object->name.len <= LIMIT_OBJECT_NAME && object->value.len <= LIMIT_OBJECT_BYTES;
}

/* None has come that belongs behind it. */
static bool in_order(const struct object_table *table, const struct object *object)
{
    for (int kind = object->kind + 1; kind < OBJECT_KINDS; kind++)
        if (table->kinds[kind].n > 0)
            return false;
    const struct object_list *list = &table->kinds[object->kind];
    return list->n == 0 || slice_compare(list->held[list->n - 1]->object.name, object->name) < 0;
}

const char *object_read(struct object_table *table, struct store_digest *sum, struct slice bytes)
{
    struct object object = {0};
    if (!decode(bytes, &object))
        return "bad object";
    if (!in_order(table, &object))
        return "objects out of order";
    if (table->kinds[object.kind].n == object_kind_max(object.kind))
        return "too many objects";
    (void)object_put(table, sum, &object);
    return NULL;
}
