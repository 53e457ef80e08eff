#include "store/eligibility_book.h"

#include <stdlib.h>

#include "base/check.h"
#include "store/hash.h"
#include "store/policy.h"

static const char scheme[] = "spiffe://";
#define SCHEME_LEN (sizeof scheme - 1)

/* What a member or a name is found by. */
enum key_kind {
    KEY_MEMBER,      /* the whole; a user's by "/user/NAME" */
    KEY_PREFIX,      /* a prefix without its asterisk */
    KEY_PATH_PREFIX, /* one that begins with the scheme: what is behind the domain */
    KEY_KINDS
};

struct key {
    enum key_kind kind;
    struct slice text;
};

struct entry {
    uint32_t next; /* in the hash chain */
    const struct object *object;
    uint64_t hash;
};

struct eligibility_book {
    struct pool entries;
    struct table table;
    /* How many prefixes there are of each length. */
    uint32_t lengths[KEY_KINDS][LIMIT_PRINCIPAL + 1];
    struct campaign_progress progress;
    uint64_t seed;
};

/* --- keys --------------------------------------------------------------------------------------------------------- */

/* Of "spiffe://DOMAIN/...": from the slash behind the domain on; empty when there is none. */
static struct slice path_of(struct slice spiffe)
{
    const uint8_t *slash = memchr(spiffe.data + SCHEME_LEN, '/', spiffe.len - SCHEME_LEN);
    return slash == NULL ? (struct slice){0} : slice_of(slash, spiffe.len - (size_t)(slash - spiffe.data));
}

/* "NAME" of "user:NAME" or "spiffe://DOMAIN/user/NAME"; empty when it is neither. */
static struct slice user_of(struct slice principal)
{
    static const char user[] = "user:", path[] = "/user/";
    if (slice_starts_with(principal, slice_str(user)))
        return slice_of(principal.data + strlen(user), principal.len - strlen(user));
    struct slice behind = slice_starts_with(principal, slice_str(scheme)) ? path_of(principal) : (struct slice){0};
    return slice_starts_with(behind, slice_str(path)) ? slice_of(behind.data + strlen(path), behind.len - strlen(path))
                                                      : (struct slice){0};
}

static struct key key_of_member(struct slice member)
{
    if (member.data[member.len - 1] == '*') {
        struct slice stem = slice_of(member.data, member.len - 1);
        return slice_starts_with(stem, slice_str(scheme)) ? (struct key){KEY_PATH_PREFIX, path_of(stem)}
                                                          : (struct key){KEY_PREFIX, stem};
    }
    struct slice user = user_of(member);
    return (struct key){KEY_MEMBER, user.len > 0 ? user : member};
}

static uint64_t hash_key(const struct eligibility_book *book, struct key key)
{
    return hash_chain_text(book->seed + (uint64_t)key.kind, key.text);
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

static uint64_t hash_entry(const void *owner, uint32_t item)
{
    const struct entry *entry = pool_at(&((const struct eligibility_book *)owner)->entries, item);
    return entry->hash;
}

static uint32_t *next_entry(const void *owner, uint32_t item)
{
    struct entry *entry = pool_at(&((const struct eligibility_book *)owner)->entries, item);
    return &entry->next;
}

static const void *key_entry(const void *owner, uint32_t item)
{
    return pool_at(&((const struct eligibility_book *)owner)->entries, item);
}

static const struct table_ops ops = {hash_entry, next_entry, key_entry};

static struct eligibility_book *book_of(struct store *store)
{
    if (store->eligibility == NULL) {
        struct eligibility_book *book = mem_calloc(1, sizeof *book);
        pool_init(&book->entries, sizeof(struct entry));
        table_init(&book->table, &ops, book);
        book->seed = store->seed;
        store->eligibility = book;
    }
    return store->eligibility;
}

void eligibility_free(struct store *store)
{
    if (store->eligibility == NULL)
        return;
    table_free(&store->eligibility->table);
    pool_free(&store->eligibility->entries);
    free(store->eligibility);
    store->eligibility = NULL;
}

size_t eligibility_bytes(const struct store *store)
{
    const struct eligibility_book *book = store->eligibility;
    return book == NULL ? 0 : sizeof *book + pool_bytes(&book->entries) + table_bytes(&book->table);
}

/* What is in the table was checked before it came. */
static struct eligibility decoded(const struct object *object)
{
    struct eligibility eligibility;
    lapse_result result = eligibility_decode(object->value, true, &eligibility, NULL);
    CHECK(lapse_is_ok(result));
    return eligibility;
}

void eligibility_book_add(struct store *store, const struct object *object)
{
    struct eligibility_book *book = book_of(store);
    const struct eligibility eligibility = decoded(object);
    struct key key = key_of_member(eligibility.member);
    uint32_t item = pool_take(&book->entries);
    struct entry *entry = pool_at(&book->entries, item);
    entry->object = object;
    entry->hash = hash_key(book, key);
    if (key.kind != KEY_MEMBER)
        book->lengths[key.kind][key.text.len]++;
    table_insert(&book->table, item, entry->hash);
}

void eligibility_book_remove(struct store *store, const struct object *object)
{
    struct eligibility_book *book = store->eligibility;
    const struct eligibility eligibility = decoded(object);
    struct key key = key_of_member(eligibility.member);
    uint64_t hash = hash_key(book, key);
    uint32_t item = table_first(&book->table, hash);
    while (item != 0 && ((const struct entry *)pool_at(&book->entries, item))->object != object)
        item = *next_entry(book, item);
    CHECK(item != 0);
    if (key.kind != KEY_MEMBER)
        book->lengths[key.kind][key.text.len]--;
    table_remove(&book->table, item, hash);
    pool_give(&book->entries, item);
}

struct campaign_progress *eligibility_book_progress(struct store *store)
{
    return &book_of(store)->progress;
}

/* --- looking up --------------------------------------------------------------------------------------------------- */

struct search {
    const struct eligibility_book *book;
    struct slice principal;
    eligibility_visit visit;
    void *arg;
};

/* Each eligibility has one key, so who asks for no key twice is shown none twice. */
static void show_key(const struct search *search, struct key key)
{
    uint64_t hash = hash_key(search->book, key);
    for (uint32_t item = table_first(&search->book->table, hash); item != 0; item = *next_entry(search->book, item)) {
        const struct entry *entry = pool_at(&search->book->entries, item);
        if (entry->hash != hash)
            continue;
        const struct eligibility eligibility = decoded(entry->object);
        struct key found = key_of_member(eligibility.member);
        if (found.kind == key.kind && slice_equal(found.text, key.text) &&
            principal_matches(eligibility.member, search->principal))
            search->visit(search->arg, entry->object, &eligibility);
    }
}

static void show_prefixes(const struct search *search, enum key_kind kind, struct slice text)
{
    for (size_t len = 0; len <= text.len && len <= LIMIT_PRINCIPAL; len++)
        if (search->book->lengths[kind][len] > 0)
            show_key(search, (struct key){kind, slice_of(text.data, len)});
}

/* "user:NAME" is "spiffe://ANY/user/NAME", and the other way round. */
static void show_user(const struct search *search, struct slice user)
{
    char short_name[LIMIT_PRINCIPAL + 8], path[LIMIT_PRINCIPAL + 8];
    const char *const starts[] = {"user:", "/user/"};
    char *const texts[] = {short_name, path};
    struct slice names[2];
    for (int i = 0; i < 2; i++) {
        size_t len = strlen(starts[i]);
        memcpy(texts[i], starts[i], len);
        memcpy(texts[i] + len, user.data, user.len);
        names[i] = slice_of(texts[i], len + user.len);
    }
    show_prefixes(search, KEY_PREFIX, names[0]);
    show_prefixes(search, KEY_PREFIX, slice_str(scheme)); /* no prefix is empty: nothing is shown twice */
    show_prefixes(search, KEY_PATH_PREFIX, names[1]);
}

void eligibility_each_of(const struct store *store, struct slice principal, eligibility_visit visit, void *arg)
{
    struct search search = {store->eligibility, principal, visit, arg};
    if (search.book == NULL || principal.len == 0 || principal.len > LIMIT_PRINCIPAL)
        return;
    struct slice user = user_of(principal);
    show_key(&search, (struct key){KEY_MEMBER, user.len > 0 ? user : principal});
    if (user.len > 0) {
        show_user(&search, user);
        return;
    }
    show_prefixes(&search, KEY_PREFIX, principal);
    if (slice_starts_with(principal, slice_str(scheme)))
        show_prefixes(&search, KEY_PATH_PREFIX, path_of(principal));
}
