/* Bearer tokens: whoever shows the token of a grant is taken for its subject, within the grant's own limits.
 *
 *   token (drawn by the caller, never here) --SHA-256--> kept with the grant (extras.c) --> book: hash -> slot
 *
 * A token is set once and is dead with its grant. The book has live grants only; it is derived, and rebuilt by a
 * restore. */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "store/extras.h"
#include "store/governance.h"
#include "store/hash.h"

struct entry {
    uint32_t next; /* in the hash chain */
    uint32_t slot;
};

struct token_book {
    const struct store *store;
    struct pool entries;
    struct table table;
};

static struct entry *entry_at(const struct token_book *book, uint32_t item)
{
    return pool_at(&book->entries, item);
}

/* The seed is this process's secret: nobody chooses hashes that collide here. */
static uint64_t hash_token(const struct store *store, struct slice sha256)
{
    return hash_chain(store->seed, sha256.data, sha256.len);
}

static uint64_t hash_entry(const void *owner, uint32_t item)
{
    const struct token_book *book = owner;
    return hash_token(book->store, extras_token(book->store, entry_at(book, item)->slot));
}

static uint32_t *next_entry(const void *owner, uint32_t item)
{
    return &entry_at(owner, item)->next;
}

static const void *key_of_entry(const void *owner, uint32_t item)
{
    return entry_at(owner, item);
}

static const struct table_ops ops = {hash_entry, next_entry, key_of_entry};

static struct token_book *book_of(struct store *store)
{
    if (store->tokens == NULL) {
        store->tokens = mem_calloc(1, sizeof *store->tokens);
        store->tokens->store = store;
        pool_init(&store->tokens->entries, sizeof(struct entry));
        table_init(&store->tokens->table, &ops, store->tokens);
    }
    return store->tokens;
}

void tokens_free(struct store *store)
{
    if (store->tokens == NULL)
        return;
    table_free(&store->tokens->table);
    pool_free(&store->tokens->entries);
    free(store->tokens);
    store->tokens = NULL;
}

size_t tokens_bytes(const struct store *store)
{
    const struct token_book *book = store->tokens;
    return book == NULL ? 0 : sizeof *book + pool_bytes(&book->entries) + table_bytes(&book->table);
}

/* Its entry; 0: none. */
static uint32_t find_entry(const struct store *store, struct slice sha256)
{
    const struct token_book *book = store->tokens;
    if (book == NULL || sha256.len != TOKEN_HASH_BYTES)
        return 0;
    uint32_t item = table_first(&book->table, hash_token(store, sha256));
    while (item != 0 && !slice_equal(extras_token(store, entry_at(book, item)->slot), sha256))
        item = entry_at(book, item)->next;
    return item;
}

uint32_t tokens_find(const struct store *store, struct slice sha256)
{
    uint32_t item = find_entry(store, sha256);
    return item == 0 ? 0 : entry_at(store->tokens, item)->slot;
}

static void add(struct store *store, uint32_t slot)
{
    struct token_book *book = book_of(store);
    uint32_t item = pool_take(&book->entries);
    entry_at(book, item)->slot = slot;
    table_insert(&book->table, item, hash_entry(book, item));
}

void tokens_forget(struct store *store, uint32_t slot)
{
    struct slice token = store->tokens == NULL ? (struct slice){0} : extras_token(store, slot);
    if (token.len == 0)
        return;
    uint32_t item = find_entry(store, token);
    CHECK(item != 0 && entry_at(store->tokens, item)->slot == slot);
    table_remove(&store->tokens->table, item, hash_token(store, token));
    pool_give(&store->tokens->entries, item);
}

const char *tokens_link(struct store *store)
{
    for (uint32_t slot = slot_next_live(store, 1); slot != 0; slot = slot_next_live(store, slot + 1)) {
        struct slice token = extras_token(store, slot);
        if (token.len == 0)
            continue;
        /* snapshot_grant.c lets none in that was never active. */
        CHECK(store_record(store, slot)->state == GRANT_ACTIVE);
        if (tokens_find(store, token) != 0)
            return "two live grants with one token";
        add(store, slot);
    }
    return NULL;
}

/* --- SET_TOKEN ---------------------------------------------------------------------------------------------------- */

lapse_result tokens_validate(const struct command *command, struct lapse_error *error)
{
    if (command->value.len != TOKEN_HASH_BYTES)
        return lapse_fail(
            error, LAPSE_INVALID_ARGUMENT,
            "token_sha256 has %zu bytes; send the SHA-256 of the whole token, \"lps_\" included: %d bytes",
            command->value.len, TOKEN_HASH_BYTES);
    return lapse_ok();
}

static bool is_bound(const struct grant_binding *binding)
{
    return binding->spiffe_id.len > 0 || binding->certificate_sha256.len > 0 || binding->n_networks > 0;
}

/* Rule and policy are names of at most LIMIT_POLICY bytes. */
#define RULE_TEXT (2 * LIMIT_POLICY + 32)

/* A child has the stricter one of its parent's rule and its own. */
static const char *rule_of(const struct grant *grant, char text[RULE_TEXT])
{
    if (!grant_id_is_zero(grant->parent))
        return "its own rule, or its parent's,";
    (void)snprintf(text, RULE_TEXT, "rule %.*s of policy %.*s", (int)grant->rule.len, (const char *)grant->rule.data,
                   (int)grant->policy.len, (const char *)grant->policy.data);
    return text;
}

/* What its rule said when it was requested. */
static lapse_result check_rule(struct apply *apply, uint32_t slot)
{
    struct lapse_error *error = &apply->outcome->error;
    struct grant grant;
    char text[RULE_TEXT];
    slot_read(apply->store, slot, &grant);
    if (grant.token_rule == TOKEN_RULE_FORBIDDEN)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION, "%s lets its grants have no token", rule_of(&grant, text));
    if (grant.token_rule == TOKEN_RULE_BOUND && !is_bound(&grant.binding))
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION,
                          "%s wants a grant with a token bound: request one with a SPIFFE ID, a certificate or a "
                          "network",
                          rule_of(&grant, text));
    if (grant.token_sha256.len > 0)
        return lapse_fail(error, LAPSE_FAILED_PRECONDITION,
                          "the grant has a token already, and there is no second one; request a new grant");
    if (tokens_find(apply->store, apply->command->value) != 0)
        return lapse_fail(error, LAPSE_ALREADY_EXISTS, "another live grant has this token; draw a new one");
    return lapse_ok();
}

/* Permission comes before state: nobody learns from a refusal what they may not ask. */
static lapse_result find(struct apply *apply, uint32_t *slot)
{
    struct store *store = apply->store;
    const struct command *command = apply->command;
    struct lapse_error *error = &apply->outcome->error;
    const struct rule *rule = rules_find(COMMAND_SET_TOKEN, GRANT_ACTIVE);
    char id[GRANT_ID_TEXT_SIZE];
    grant_id_format(command->grant, id);
    *slot = slot_find(store, command->grant);
    if (*slot == 0)
        return lapse_fail(error, LAPSE_NOT_FOUND, "no grant %s here; check the id", id);
    lapse_result result = rules_permit(store, rule, command->principal, *slot, error);
    if (lapse_is_ok(result) && state_at(store, *slot, apply->now_ms) != GRANT_ACTIVE)
        result = rules_wrong_state(store, COMMAND_SET_TOKEN, *slot, apply->now_ms, error);
    if (lapse_is_ok(result))
        result = locks_permit_grant(apply, *slot);
    /* Its requester may be somebody else, and needs no role for it that the lock would take away. */
    if (lapse_is_ok(result))
        result = locks_permit(apply, command->principal, (struct slice){0});
    return result;
}

lapse_result tokens_apply(struct apply *apply)
{
    uint32_t slot;
    lapse_result result = find(apply, &slot);
    if (lapse_is_ok(result))
        result = check_rule(apply, slot);
    if (!lapse_is_ok(result))
        return result;
    extras_set_token(apply->store, slot, apply->command->value);
    add(apply->store, slot);
    (void)transition_edit(apply, slot);
    transition_move(apply, slot, rules_find(COMMAND_SET_TOKEN, GRANT_ACTIVE));
    return lapse_ok();
}
