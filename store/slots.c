/* Slots: where a grant lives. A slot number names the same grant in records (state) and in links (indexes) until the
 * grant leaves; ids find slots through a hash table. */

#include "base/check.h"
#include "store/command_internal.h"
#include "store/hash.h"
#include "store/internal.h"
#include "store/pair.h"
#include "store/terms.h"

static uint64_t hash_id(const struct store *store, struct grant_id id)
{
    return XXH3_64bits_withSeed(id.bytes, sizeof id.bytes, store->seed);
}

uint32_t slot_find(const struct store *store, struct grant_id id)
{
    uint32_t slot = table_first(&store->ids, hash_id(store, id));
    while (slot != 0 && grant_id_compare(store_record(store, slot)->id, id) != 0)
        slot = links_at(store, slot)->next_id;
    return slot;
}

void slot_prefetch(const struct store *store, uint32_t slot)
{
    const struct record *record = store_record(store, slot);
    __builtin_prefetch(links_at(store, slot), 1);
    __builtin_prefetch((const uint8_t *)record + 64, 1);
    __builtin_prefetch(string_cell(store->strings.chunks, record->subject));
    __builtin_prefetch(string_cell(store->strings.chunks, record->requester));
    if (record->story != 0)
        __builtin_prefetch(string_cell(store->strings.chunks, record->story));
}

void slot_paths(const struct store *store, const struct command *command, struct command_paths *paths)
{
    paths->n = 0;
    if (!request_key_is_zero(&command->key))
        paths->paths[paths->n++] = keys_path(&store->keys, &command->key);
    paths->paths[paths->n++] = table_path(&store->ids, hash_id(store, command->grant));
    if (command->type != COMMAND_REQUEST)
        return;
    const struct slice texts[] = {command->terms.justification, command->terms.subject, command->terms.resource,
                                  command->terms.ticket};
    _Static_assert(2 + ARRAY_LEN(texts) <= COMMAND_PATHS, "a path for each");
    /* Not validated yet: what is too long will be refused. */
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (texts[i].len > 0 && texts[i].len <= STRING_BYTES_MAX)
            paths->paths[paths->n++] = strings_path(&store->strings, texts[i]);
}

void slot_paths_step(struct command_paths *paths)
{
    for (uint32_t i = 0; i < paths->n; i++)
        table_path_step(&paths->paths[i]);
}

uint32_t slot_take(struct store *store, struct grant_id id)
{
    uint32_t slot = store->free_slot;
    if (slot != 0) {
        store->free_slot = links_at(store, slot)->next_id;
        memset(links_at(store, slot), 0, sizeof(struct links));
    } else {
        slot = records_grow(&store->records);
        uint32_t same = pool_take(&store->links);
        CHECK(same == slot);
    }
    struct record *record = records_edit(&store->records, slot);
    memset(record, 0, sizeof *record);
    record->id = id;
    table_insert(&store->ids, slot, hash_id(store, id));
    return slot;
}

#define LIVE_WORDS 1024u /* by which the bits grow */

static void grow_live(struct store *store, uint32_t n_words)
{
    n_words = (n_words + LIVE_WORDS - 1) / LIVE_WORDS * LIVE_WORDS;
    store->live = mem_realloc(store->live, n_words * sizeof store->live[0]);
    memset(store->live + store->n_live_words, 0, (n_words - store->n_live_words) * sizeof store->live[0]);
    store->n_live_words = n_words;
}

void slot_mark_live(struct store *store, uint32_t slot, bool live)
{
    uint64_t bit = 1ULL << slot % 64;
    if (slot / 64 >= store->n_live_words)
        grow_live(store, slot / 64 + 1);
    if (live)
        store->live[slot / 64] |= bit;
    else
        store->live[slot / 64] &= ~bit;
}

uint32_t slot_next_live(const struct store *store, uint32_t from)
{
    uint64_t mask = ~0ULL << from % 64;
    for (uint32_t i = from / 64; i < store->n_live_words; i++, mask = ~0ULL)
        if ((store->live[i] & mask) != 0)
            return i * 64 + (uint32_t)__builtin_ctzll(store->live[i] & mask);
    return 0;
}

static void drop_strings(struct store *store, const struct record *record)
{
    const string_id ids[] = {record->subject, record->resource, record->requester, record->ticket,   record->policy,
                             record->shared,  record->story,    record->ending,    record->approver, record->comment};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        strings_unref(&store->strings, ids[i]);
}

void slot_give(struct store *store, uint32_t slot)
{
    extras_drop(store, slot);
    struct record *record = records_edit(&store->records, slot);
    table_remove(&store->ids, slot, hash_id(store, record->id));
    drop_strings(store, record);
    memset(record, 0, sizeof *record);
    links_at(store, slot)->next_id = store->free_slot;
    store->free_slot = slot;
}

static string_id intern_pair(struct store *store, struct slice first, struct slice second)
{
    uint8_t bytes[LIMIT_JUSTIFICATION + 1 + LIMIT_TASK];
    _Static_assert(sizeof bytes >= LIMIT_PRINCIPAL + 1 + LIMIT_REASON, "both pairs fit");
    if (second.len == 0)
        return strings_intern(&store->strings, first);
    CHECK(first.len + 1 + second.len <= sizeof bytes);
    return strings_intern(&store->strings, pair_join(first, second, bytes));
}

static string_id intern_shared(struct store *store, const struct grant *terms)
{
    struct wire_writer writer = wire_writer(&store->scratch);
    buf_clear(&store->scratch);
    terms_encode_shared(&writer, terms);
    CHECK(!writer.failed);
    return strings_intern(&store->strings, buf_slice(&store->scratch));
}

void slot_set_terms(struct store *store, uint32_t slot, const struct grant *terms, struct slice requester)
{
    struct record *record = records_edit(&store->records, slot);
    record->subject = strings_intern(&store->strings, terms->subject);
    record->resource = strings_intern(&store->strings, terms->resource);
    /* Most ask for themselves. */
    record->requester = slice_equal(requester, terms->subject) ? strings_ref(&store->strings, record->subject)
                                                               : strings_intern(&store->strings, requester);
    record->ticket = strings_intern(&store->strings, terms->ticket);
    record->policy = strings_intern(&store->strings, terms->policy);
    record->shared = intern_shared(store, terms);
    record->story = intern_pair(store, terms->justification, terms->task);
    record->deadline_ms = u48_of((uint64_t)terms->deadline_ms);
}

void slot_set_ending(struct store *store, uint32_t slot, struct slice ended_by, struct slice reason)
{
    records_edit(&store->records, slot)->ending = intern_pair(store, ended_by, reason);
}

void slot_read(const struct store *store, uint32_t slot, struct grant *grant)
{
    record_read(store_record(store, slot), extras_find(store, slot), store->strings.chunks, grant);
}

/* What the rule of a policy says; nothing under the built-in one. */
static void clear_rule(struct grant *terms)
{
    terms->rule = terms->reviewers = (struct slice){0};
    terms->n_steps = terms->delegation_depth = terms->token_rule = 0;
    terms->automatic = terms->self_approval = terms->held = terms->break_glass = false;
    terms->review_within_ms = 0;
}

void slot_read_shared(const struct store *store, uint32_t slot, struct grant *terms)
{
    clear_rule(terms);
    terms->n_actions = terms->n_labels = terms->binding.n_networks = terms->max_uses = 0;
    terms->duration_ms = terms->not_before_ms = terms->pending_until_ms = 0;
    lapse_result result = terms_decode(store_string(store, store_record(store, slot)->shared), terms);
    CHECK(lapse_is_ok(result));
    terms->deadline_ms = (int64_t)u48_get(store_record(store, slot)->deadline_ms);
}

uint32_t store_live(const struct store *store)
{
    return store->states[GRANT_PENDING] + store->states[GRANT_APPROVED] + store->states[GRANT_ACTIVE];
}

uint32_t store_ended(const struct store *store)
{
    uint32_t n = 0;
    for (int state = GRANT_EXPIRED; state <= GRANT_LAPSED; state++)
        n += store->states[state];
    return n;
}
