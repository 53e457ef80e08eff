/* The table of objects against a naive model: an array that is searched from end to end. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "store/digest.h"
#include "store/object_table.h"

#define NAMES 40
#define KINDS 3 /* of objects, in the random test */

/* --- the model -----------------------------------------------------------------------------------------------------
 */

struct entry {
    bool there;
    int64_t due_ms;
    char value[24];
};

static struct entry model[KINDS + 1][NAMES];
static struct object_table table;
static struct store_digest sum;
static uint64_t dice = 1;

static uint32_t roll(uint32_t sides)
{
    dice = dice * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(dice >> 33) % sides;
}

/* Of different lengths, so that "n1" and "n10" stand beside each other. */
static struct slice name_of(uint32_t i, char text[16])
{
    (void)snprintf(text, 16, "n%u", i);
    return slice_str(text);
}

static void put(enum object_kind kind, uint32_t i)
{
    char name[16];
    struct entry *entry = &model[kind][i];
    entry->there = true;
    entry->due_ms = roll(3) == 0 ? 0 : 1 + roll(20);
    (void)snprintf(entry->value, sizeof entry->value, "%.*s", (int)roll(20), "abcdefghijklmnopqrstuvw");
    const struct object object = {
        .kind = kind, .name = name_of(i, name), .value = slice_str(entry->value), .due_ms = entry->due_ms};
    const struct object *held = object_put(&table, &sum, &object);
    cr_assert(held->name.data != object.name.data && slice_equal(held->value, object.value), "it is a copy");
}

static void take(enum object_kind kind, uint32_t i)
{
    char name[16];
    model[kind][i].there = false;
    object_remove(&table, &sum, kind, name_of(i, name));
}

static void expect_equal(enum object_kind kind, uint32_t i)
{
    char name[16];
    const struct entry *entry = &model[kind][i];
    const struct object *object = object_find(&table, kind, name_of(i, name));
    cr_assert_eq(object != NULL, entry->there);
    if (entry->there)
        cr_assert(object->due_ms == entry->due_ms && slice_equal(object->value, slice_str(entry->value)));
}

static void expect_sorted(enum object_kind kind)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < NAMES; i++)
        n += model[kind][i].there;
    cr_assert_eq(table.kinds[kind].n, n);
    cr_assert_null(object_at(&table, kind, n));
    for (uint32_t i = 1; i < n; i++)
        cr_assert_lt(slice_compare(object_at(&table, kind, i - 1)->name, object_at(&table, kind, i)->name), 0);
}

/* By time, then kind, then name from the last on. */
static bool earlier(const struct object *a, const struct object *b)
{
    if (a->due_ms != b->due_ms)
        return a->due_ms < b->due_ms;
    return a->kind != b->kind ? a->kind < b->kind : slice_compare(a->name, b->name) > 0;
}

static void expect_due(void)
{
    const struct object *first = NULL;
    for (int kind = 1; kind <= KINDS; kind++)
        for (uint32_t i = 0; i < table.kinds[kind].n; i++) {
            const struct object *object = object_at(&table, (enum object_kind)kind, i);
            if (object->due_ms != 0 && (first == NULL || earlier(object, first)))
                first = object;
        }
    cr_assert_eq(object_next_due(&table), first);
}

static void expect_model(void)
{
    for (int kind = 1; kind <= KINDS; kind++) {
        for (uint32_t i = 0; i < NAMES; i++)
            expect_equal((enum object_kind)kind, i);
        expect_sorted((enum object_kind)kind);
    }
    expect_due();
}

/* --- a table made anew
 * ------------------------------------------------------------------------------------------------ */

static void write_all(struct held_object **held, uint32_t n, struct object_table *to, struct store_digest *to_sum)
{
    struct buf bytes;
    buf_init(&bytes, LIMIT_OBJECT_BYTES + 1024);
    for (uint32_t i = 0; i < n; i++) {
        buf_clear(&bytes);
        struct wire_writer writer = wire_writer(&bytes);
        object_write(&writer, &held[i]->object);
        cr_assert_not(writer.failed);
        const char *fault = object_read(to, to_sum, buf_slice(&bytes));
        cr_assert_null(fault, "%s", fault);
    }
    buf_free(&bytes);
}

Test(object_table, it_agrees_with_a_naive_one_whatever_is_done)
{
    for (uint32_t step = 0; step < 20000; step++) {
        enum object_kind kind = (enum object_kind)(1 + roll(KINDS));
        uint32_t i = roll(NAMES);
        const struct object *due = object_next_due(&table);
        if (roll(8) == 0 && due != NULL) { /* as the clock does it: what is due goes */
            kind = due->kind;
            char text[16] = {0};
            memcpy(text, due->name.data, due->name.len);
            i = (uint32_t)strtoul(text + 1, NULL, 10);
        }
        if (model[kind][i].there && roll(2) == 0)
            take(kind, i);
        else
            put(kind, i);
        if (step % 16 == 0)
            expect_model();
    }
    expect_model();
    object_table_free(&table);
}

Test(object_table, the_digest_knows_content_only_and_ends_where_it_began)
{
    struct store_digest none = sum;
    for (uint32_t step = 0; step < 2000; step++)
        put((enum object_kind)(1 + roll(KINDS)), roll(NAMES));
    uint32_t n = 0;
    struct held_object **held = object_table_freeze(&table, &n);
    struct object_table again = {0};
    struct store_digest again_sum = none;
    write_all(held, n, &again, &again_sum);
    cr_expect_eq(memcmp(&again_sum, &sum, sizeof sum), 0, "made in another order");
    object_table_thaw(held, n);
    for (int kind = 1; kind <= KINDS; kind++)
        for (uint32_t i = 0; i < NAMES; i++)
            if (model[kind][i].there)
                take((enum object_kind)kind, i);
    cr_expect_eq(memcmp(&none, &sum, sizeof sum), 0);
    cr_expect_null(object_next_due(&table));
    object_table_free(&again);
    object_table_free(&table);
}

Test(object_table, each_member_is_in_the_digest)
{
    const struct object base = {.kind = OBJECT_LOCK, .name = slice_str("ab"), .value = slice_str("cd"), .due_ms = 5};
    struct object others[] = {base, base, base, base};
    struct store_digest first = {0};
    others[0].kind = OBJECT_POLICY;
    others[1].name = slice_str("abc"), others[1].value = slice_str("d"); /* the same bytes, cut elsewhere */
    others[2].value = slice_str("ce");
    others[3].due_ms = 6;
    (void)object_put(&table, &first, &base);
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        struct object_table other = {0};
        struct store_digest other_sum = {0};
        (void)object_put(&other, &other_sum, &others[i]);
        cr_expect_neq(memcmp(&first, &other_sum, sizeof first), 0, "case %zu", i);
        object_table_free(&other);
    }
    object_table_free(&table);
}

/* The sanitizer sees what is freed too early or never. */
Test(object_table, a_view_keeps_what_it_has_seen_while_the_table_changes)
{
    char name[16];
    for (uint32_t i = 0; i < NAMES; i++)
        put(OBJECT_POLICY, i);
    uint32_t n = 0, m = 0;
    struct entry seen[NAMES];
    memcpy(seen, model[OBJECT_POLICY], sizeof seen);
    struct held_object **view = object_table_freeze(&table, &n);
    for (uint32_t i = 0; i < NAMES; i += 2)
        take(OBJECT_POLICY, i);
    for (uint32_t i = 1; i < NAMES; i += 4)
        put(OBJECT_POLICY, i);
    struct held_object **second = object_table_freeze(&table, &m);
    cr_assert_eq(n, NAMES);
    cr_assert_eq(m, NAMES / 2);
    object_table_free(&table);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = 0;
        while (at < NAMES && !slice_equal(name_of(at, name), view[i]->object.name))
            at++;
        cr_assert(at < NAMES && slice_equal(view[i]->object.value, slice_str(seen[at].value)) &&
                  view[i]->object.due_ms == seen[at].due_ms);
    }
    object_table_thaw(view, n);
    object_table_thaw(second, m);
}

Test(object_table, an_object_may_be_replaced_by_its_own_bytes)
{
    put(OBJECT_LOCK, 1);
    struct object same = *object_at(&table, OBJECT_LOCK, 0);
    struct store_digest before = sum;
    (void)object_put(&table, &sum, &same);
    cr_expect_eq(memcmp(&before, &sum, sizeof sum), 0);
    expect_equal(OBJECT_LOCK, 1);
    object_table_free(&table);
}

Test(object_table, records_that_no_table_writes_are_refused)
{
    static const struct {
        const char *first, *then, *why;
    } cases[] = {
        {"\x08\x02\x12\x01m\x1A\x01v", "\x08\x02\x12\x01m\x1A\x01v", "out of order"},
        {"\x08\x02\x12\x01m\x1A\x01v", "\x08\x02\x12\x01k\x1A\x01v", "out of order"},
        {"\x08\x02\x12\x01m\x1A\x01v", "\x08\x01\x12\x01z\x1A\x01v", "out of order"},
        {NULL, "\x12\x01m\x1A\x01v", "bad object"},
        {NULL, "\x08\x02\x1A\x01v", "bad object"},
        {NULL, "\x08\x07\x12\x01m", "bad object"},
        {NULL, "\x12\x01m\x08\x02", "bad object"},
        {NULL, "\x08\x02\x08\x02\x12\x01m", "bad object"},
        {NULL, "\x08\x02\x12\x01m\x28\x01", "bad object"},
        {NULL, "\x08\x02\x12\x05m", "bad object"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct object_table some = {0};
        struct store_digest some_sum = {0};
        if (cases[i].first != NULL)
            cr_assert_null(object_read(&some, &some_sum, slice_str(cases[i].first)));
        const char *why = object_read(&some, &some_sum, slice_str(cases[i].then));
        cr_expect(why != NULL && strstr(why, cases[i].why) != NULL, "case %zu: %s", i, why);
        object_table_free(&some);
    }
}
