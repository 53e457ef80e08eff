/* Any bytes as a snapshot: refused, or a store that works and whose own snapshot restores to an equal one. */
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf bytes;
    struct store_outcome outcome;
    struct command advance = {.type = COMMAND_ADVANCE, .count = 1000};
    struct store *store = restore(slice_of(data, size), 7);
    if (store == NULL)
        return 0;
    buf_init(&bytes, 1u << 26);
    snapshot(store, &bytes);
    struct store *again = restore(buf_slice(&bytes), 100000);
    CHECK(again != NULL);
    struct store_digest a = store_digest(store), b = store_digest(again);
    CHECK(a.words[0] == b.words[0] && a.words[1] == b.words[1]);
    store_apply(again, &advance, INT64_MAX, NULL, NULL, &outcome);
    buf_free(&bytes);
    store_free(store);
    store_free(again);
    return 0;
}
