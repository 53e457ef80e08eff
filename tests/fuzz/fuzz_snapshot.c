/* Any bytes as a snapshot: refused, or a store that works and whose own snapshot restores to an equal one; both go on
 * equally, with commands that ask all books that are derived from objects and grants. */
#include "base/check.h"
#include "store/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct store *restore(struct slice bytes, size_t piece)
{
    struct store *store = NULL;
    struct lapse_error error;
    struct store_restore *run = store_restore_begin(NULL);
    while (bytes.len > 0) {
        size_t len = bytes.len < piece ? bytes.len : piece;
        if (!lapse_is_ok(store_restore_feed(run, slice_of(bytes.data, len), &error))) {
            store_restore_abort(run);
            return NULL;
        }
        bytes = slice_of(bytes.data + len, bytes.len - len);
    }
    return lapse_is_ok(store_restore_end(run, &store, &error)) ? store : NULL;
}

static void snapshot(struct store *store, struct buf *bytes)
{
    bool done = false;
    struct store_view *view = store_freeze(store);
    while (!done)
        CHECK(lapse_is_ok(store_view_read(view, 1000, bytes, &done)));
    store_view_free(view);
}

static void expect_same(const struct store *store, const struct store *again)
{
    struct store_digest a = store_digest(store), b = store_digest(again);
    CHECK(a.words[0] == b.words[0] && a.words[1] == b.words[1]);
}

/* The same command to both. */
static void apply(struct store *store, struct store *again, const struct command *command, int64_t time_ms)
{
    struct store_outcome a, b;
    store_apply(store, command, time_ms, NULL, NULL, &a);
    store_apply(again, command, time_ms, NULL, NULL, &b);
    CHECK(a.error.code == b.error.code && a.revision == b.revision && a.n_events == b.n_events);
    expect_same(store, again);
}

static bool keep_first(void *arg, const struct grant *grant)
{
    *(struct grant *)arg = *grant;
    return false;
}

/* Copies of what the store's own changes would move. */
struct names {
    char operator[LIMIT_PRINCIPAL], subject[LIMIT_PRINCIPAL];
};

static struct slice copy(char *to, struct slice from)
{
    return slice_of(memcpy(to, from.data, from.len), from.len);
}

/* The first operator; empty: there is none. */
static struct slice find_operator(const struct store *store, struct names *names)
{
    struct store_role_binding binding;
    for (uint32_t i = 0; store_role_at(store, i, &binding); i++)
        if ((binding.roles & ROLE_OPERATOR) != 0)
            return copy(names->operator, binding.member);
    return (struct slice){0};
}

/* Of the first grant. */
static struct slice find_subject(const struct store *store, struct names *names)
{
    struct grant first = {.subject = slice_str("user:b")};
    struct store_filter all = {.resource = slice_str("*")};
    uint64_t cursor = 0;
    (void)store_list(store, &all, &cursor, 100, keep_first, &first);
    return copy(names->subject, first.subject);
}

static void go_on(struct store *store, struct store *again)
{
    struct names names;
    struct slice who = find_operator(store, &names), whom = find_subject(store, &names);
    const struct command advance = {.type = COMMAND_ADVANCE, .count = 1000};
    const struct command offboard = {
        .type = COMMAND_OFFBOARD, .principal = who, .member = whom, .text = slice_str("left")};
    const struct command request = {.type = COMMAND_REQUEST,
                                    .principal = who,
                                    .grant = {{255}},
                                    .terms = {.subject = whom,
                                              .resource = slice_str("db/x"),
                                              .actions = {slice_str("read")},
                                              .n_actions = 1,
                                              .justification = slice_str("to be asked"),
                                              .duration_ms = 1000}};
    int64_t now_ms = store_time_ms(store);
    apply(store, again, &request, now_ms);
    apply(store, again, &offboard, now_ms + 1);
    for (int i = 0; i < 4; i++)
        apply(store, again, &advance, now_ms + 2);
    apply(store, again, &advance, INT64_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf bytes;
    struct store *store = restore(slice_of(data, size), 7);
    if (store == NULL)
        return 0;
    buf_init(&bytes, 1u << 26);
    snapshot(store, &bytes);
    struct store *again = restore(buf_slice(&bytes), 100000);
    CHECK(again != NULL);
    expect_same(store, again);
    go_on(store, again);
    buf_free(&bytes);
    store_free(store);
    store_free(again);
    return 0;
}
