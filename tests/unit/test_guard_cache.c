/* The guard's cache alone: what it finds is what grant_allows says of all grants, whatever order they come in, and
 * while they come and go under its readers. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "client/guard_cache.h"
#include "client/lapse.h"

#define MODEL 400

static const char *const subjects[] = {"user:dev1@example.com", "user:dev2@example.com",
                                       "spiffe://example.org/ci/deploy"};
static const char *const resources[] = {"db/prod/orders",    "db/prod/*",        "db/*", "*",
                                        "db/prod/orders/eu", "db/prod/orders/*", "d",    "d/*"};
static const char *const paths[] = {"db/prod/orders",      "db/prod", "db",  "db/prod/orders/eu",
                                    "db/prod/orders/eu/1", "d",       "d/e", "dbx/prod"};
static const char *const words[] = {"read", "write", "sudo"};
static const char *const networks[] = {"10.0.0.0/8", "192.168.1.0/24"};

static uint32_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 32);
}

static const char *id_of(uint32_t number)
{
    static _Thread_local char texts[32][GRANT_ID_TEXT_SIZE];
    static _Thread_local unsigned next;
    uint8_t random[10] = {[8] = (uint8_t)(number >> 8), [9] = (uint8_t)number};
    char *text = texts[next++ % 32];
    grant_id_format(grant_id_make(1700000000000, random), text);
    return text;
}

/* A grant with everything that a public struct must have. */
static struct lapse_grant make(uint32_t number, enum lapse_grant_state state)
{
    return (struct lapse_grant){.id = id_of(number),
                                .state = state,
                                .subject = subjects[0],
                                .resource = resources[0],
                                .actions = words,
                                .n_actions = 1,
                                .binding.spiffe_id = "",
                                .parent = "",
                                .deadline_ms = 1000};
}

static struct grant_query ask(const char *subject, const char *resource, const char *action)
{
    return (struct grant_query){
        .subject = slice_str(subject), .resource = slice_str(resource), .action = slice_str(action)};
}

static enum grant_verdict find(const struct guard_cache *cache, const char *resource, int64_t now_ms)
{
    struct grant_query query = ask(subjects[0], resource, "read");
    guard_read_begin();
    struct guard_match match = guard_cache_find(cache, &query, now_ms);
    guard_read_end();
    return match.entry == NULL ? GRANT_OTHER_RESOURCE : match.verdict;
}

static void put(struct guard_cache *cache, const struct lapse_grant *grant)
{
    cr_assert(guard_cache_put(cache, grant, NULL, NULL));
}

/* ---- Against the one decision function */

struct model {
    struct lapse_grant grants[MODEL];
    bool there[MODEL];
};

static void random_grant(uint64_t *random, uint32_t number, struct lapse_grant *grant)
{
    *grant = make(number, LAPSE_STATE_ACTIVE);
    grant->subject = subjects[next_random(random) % ARRAY_LEN(subjects)];
    grant->resource = resources[next_random(random) % ARRAY_LEN(resources)];
    grant->actions = &words[next_random(random) % 2];
    grant->n_actions = 1 + next_random(random) % 2;
    grant->deadline_ms = next_random(random) % 8 * 100;
    grant->not_before_ms = next_random(random) % 4 == 0 ? 200 : 0;
    grant->max_uses = next_random(random) % 4 == 0 ? 2 : 0;
    grant->uses = next_random(random) % 4;
    if (next_random(random) % 4 == 0)
        grant->binding.spiffe_id = subjects[2];
    if (next_random(random) % 4 == 0) {
        grant->binding.networks = &networks[next_random(random) % 2];
        grant->binding.n_networks = 1;
    }
}

static enum grant_verdict judge(const struct lapse_grant *from, const struct grant_query *query, int64_t now_ms)
{
    struct grant grant = {
        .state = GRANT_ACTIVE,
        .subject = slice_str(from->subject),
        .resource = slice_str(from->resource),
        .n_actions = (uint32_t)from->n_actions,
        .deadline_ms = from->deadline_ms,
        .not_before_ms = from->not_before_ms,
        .max_uses = from->max_uses,
        .uses = from->uses,
        .binding = {.spiffe_id = slice_str(from->binding.spiffe_id), .n_networks = (uint32_t)from->binding.n_networks}};
    for (size_t i = 0; i < from->n_actions; i++)
        grant.actions[i] = slice_str(from->actions[i]);
    for (size_t i = 0; i < from->binding.n_networks; i++)
        grant.binding.networks[i] = slice_str(from->binding.networks[i]);
    return grant_allows(&grant, query, now_ms);
}

/* The nearest of all grants, as the cache orders them: plainly allowed, allowed by its uses, the latest test failed. */
static int best_rank(const struct model *model, const struct grant_query *query, int64_t now_ms)
{
    int best = -1;
    for (uint32_t i = 0; i < MODEL; i++) {
        if (!model->there[i] || !slice_equal(slice_str(model->grants[i].subject), query->subject) ||
            !resource_covers(slice_str(model->grants[i].resource), query->resource))
            continue;
        enum grant_verdict verdict = judge(&model->grants[i], query, now_ms);
        int rank = verdict != GRANT_ALLOWS ? (int)verdict : model->grants[i].max_uses == 0 ? 1000 : 999;
        best = rank > best ? rank : best;
    }
    return best;
}

static void compare(const struct guard_cache *cache, const struct model *model, uint64_t *random)
{
    struct grant_query query = ask(subjects[next_random(random) % ARRAY_LEN(subjects)],
                                   paths[next_random(random) % ARRAY_LEN(paths)], words[next_random(random) % 3]);
    int64_t now_ms = next_random(random) % 8 * 100;
    if (next_random(random) % 2 == 0)
        query.spiffe_id = slice_str(subjects[2]);
    if (next_random(random) % 2 == 0)
        query.address = slice_str("10.1.2.3");
    guard_read_begin();
    struct guard_match match = guard_cache_find(cache, &query, now_ms);
    int rank = match.entry == NULL             ? -1
               : match.verdict != GRANT_ALLOWS ? (int)match.verdict
               : match.entry->max_uses == 0    ? 1000
                                               : 999;
    guard_read_end();
    cr_assert_eq(rank, best_rank(model, &query, now_ms), "%.*s at %lld", (int)query.resource.len,
                 (const char *)query.resource.data, (long long)now_ms);
}

Test(guard_cache, says_what_grant_allows_says_of_all_grants)
{
    static struct model model;
    uint64_t random = 88172645463325252ULL;
    struct guard_cache *cache = guard_cache_new(NULL, MODEL);
    for (uint32_t round = 0; round < 20000; round++) {
        uint32_t i = next_random(&random) % MODEL;
        if (!model.there[i])
            random_grant(&random, i, &model.grants[i]);
        model.there[i] = !model.there[i];
        struct lapse_grant grant = model.grants[i];
        char id[GRANT_ID_TEXT_SIZE];
        strcpy(id, id_of(i));
        grant.id = id;
        grant.state = model.there[i] ? LAPSE_STATE_ACTIVE : LAPSE_STATE_REVOKED;
        put(cache, &grant);
        compare(cache, &model, &random);
    }
    guard_cache_free(cache);
}

/* ---- Paths */

Test(guard_cache, a_path_can_not_climb_out_of_a_subtree)
{
    struct guard_cache *cache = guard_cache_new(NULL, 10);
    struct lapse_grant grant = make(1, LAPSE_STATE_ACTIVE);
    static const char *const bad[] = {"db/prod/../hr", "db/prod/.",   "db/prod//hr",    "db/prod/", "db/prod/*", "*",
                                      "/db/prod/x",    "db/prod/a b", "db/prod/%2e%2e", ""};
    grant.resource = "db/prod/*";
    put(cache, &grant);
    cr_assert_eq(find(cache, "db/prod/hr", 0), GRANT_ALLOWS);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_assert_eq(find(cache, bad[i], 0), GRANT_OTHER_RESOURCE, "%s", bad[i]);
    guard_cache_free(cache);
}

Test(guard_cache, the_longest_and_deepest_paths_are_found)
{
    struct guard_cache *cache = guard_cache_new(NULL, 10);
    char path[LIMIT_RESOURCE + 2];
    struct lapse_grant grant = make(1, LAPSE_STATE_ACTIVE);
    for (size_t i = 0; i < LIMIT_RESOURCE; i++)
        path[i] = i % 2 == 0 ? 'a' : '/';
    path[LIMIT_RESOURCE - 1] = 'a';
    path[LIMIT_RESOURCE] = '\0';
    grant.resource = "a/*";
    put(cache, &grant);
    cr_assert_eq(find(cache, path, 0), GRANT_ALLOWS);
    path[LIMIT_RESOURCE] = 'a';
    path[LIMIT_RESOURCE + 1] = '\0';
    cr_assert_eq(find(cache, path, 0), GRANT_OTHER_RESOURCE);
    guard_cache_free(cache);
}

/* ---- Families */

struct gone {
    uint32_t n;
    struct grant_id ids[16];
};

static void on_ended(void *arg, struct grant_id id)
{
    struct gone *gone = arg;
    gone->ids[gone->n++ % 16] = id;
}

static struct lapse_grant child(uint32_t number, uint32_t parent, char text[GRANT_ID_TEXT_SIZE])
{
    struct lapse_grant grant = make(number, LAPSE_STATE_ACTIVE);
    strcpy(text, id_of(parent));
    grant.parent = text;
    return grant;
}

Test(guard_cache, a_family_is_in_sight_when_its_head_is_and_goes_with_it)
{
    struct guard_cache *cache = guard_cache_new(NULL, 10);
    char parents[3][GRANT_ID_TEXT_SIZE];
    struct gone gone = {0};
    struct lapse_grant grants[] = {child(4, 3, parents[2]), child(3, 2, parents[1]), child(2, 1, parents[0]),
                                   make(1, LAPSE_STATE_ACTIVE)};
    for (size_t i = 0; i < 3; i++)
        put(cache, &grants[i]);
    cr_assert_eq(guard_cache_grants(cache), 0);
    cr_assert_eq(guard_cache_hidden(cache), 3);
    put(cache, &grants[3]);
    cr_assert_eq(guard_cache_grants(cache), 4);
    grants[3].state = LAPSE_STATE_EXPIRED;
    cr_assert(guard_cache_put(cache, &grants[3], on_ended, &gone));
    cr_assert_eq(gone.n, 4);
    cr_assert_eq(guard_cache_grants(cache) + guard_cache_hidden(cache), 0);
    cr_assert_eq(find(cache, "db/prod/orders", 0), GRANT_OTHER_RESOURCE);
    guard_cache_free(cache);
}

Test(guard_cache, a_circle_of_parents_is_never_in_sight)
{
    struct guard_cache *cache = guard_cache_new(NULL, 10);
    char parents[3][GRANT_ID_TEXT_SIZE];
    struct lapse_grant a = child(1, 2, parents[0]), b = child(2, 1, parents[1]), own = child(3, 3, parents[2]);
    struct gone gone = {0};
    put(cache, &a);
    put(cache, &b);
    cr_assert_not(guard_cache_put(cache, &own, NULL, NULL));
    cr_assert_eq(guard_cache_grants(cache), 0);
    a.state = LAPSE_STATE_REVOKED;
    cr_assert(guard_cache_put(cache, &a, on_ended, &gone));
    cr_assert_eq(gone.n, 2);
    guard_cache_free(cache);
}

Test(guard_cache, uses_that_were_spent_outlive_a_change_of_their_grant)
{
    struct guard_cache *cache = guard_cache_new(NULL, 10);
    struct lapse_grant grant = make(1, LAPSE_STATE_ACTIVE);
    struct grant_id id;
    cr_assert(lapse_is_ok(grant_id_parse(slice_str(grant.id), &id)));
    grant.max_uses = 10;
    put(cache, &grant);
    atomic_store(&guard_back(guard_cache_get(cache, id))->share, 3);
    grant.uses = 4;
    put(cache, &grant);
    cr_assert_eq(atomic_load(&guard_back(guard_cache_get(cache, id))->share), 3);
    cr_assert_eq(guard_cache_get(cache, id)->uses, 4);
    guard_cache_free(cache);
}

Test(guard_cache, what_can_not_be_a_grant_changes_nothing)
{
    struct guard_cache *cache = guard_cache_new(NULL, 10);
    struct lapse_grant grant = make(1, LAPSE_STATE_ACTIVE), bad;
    const char *many[LIMIT_ACTIONS + 1];
    char longer[LIMIT_RESOURCE + 2];
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        many[i] = "read";
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    bad = grant, bad.id = "0";
    cr_assert_not(guard_cache_put(cache, &bad, NULL, NULL));
    bad = grant, bad.parent = "0";
    cr_assert_not(guard_cache_put(cache, &bad, NULL, NULL));
    bad = grant, bad.resource = longer;
    cr_assert_not(guard_cache_put(cache, &bad, NULL, NULL));
    bad = grant, bad.subject = "";
    cr_assert_not(guard_cache_put(cache, &bad, NULL, NULL));
    bad = grant, bad.actions = many, bad.n_actions = ARRAY_LEN(many);
    cr_assert_not(guard_cache_put(cache, &bad, NULL, NULL));
    bad = grant, bad.binding.certificate_sha256 = (struct lapse_bytes){(const uint8_t *)"x", 1};
    cr_assert_not(guard_cache_put(cache, &bad, NULL, NULL));
    cr_assert_eq(guard_cache_grants(cache) + guard_cache_hidden(cache), 0);
    guard_cache_free(cache);
}

/* ---- Tokens */

static const uint8_t token[32] = {1, 2, 3}, other_token[32] = {1, 2, 4};

static enum grant_verdict find_token(const struct guard_cache *cache, const uint8_t sha256[32], const char *subject,
                                     const char *resource, struct slice *whose)
{
    struct grant_query query = ask(subject, resource, "read");
    query.token_sha256 = slice_of(sha256, 32);
    guard_read_begin();
    struct guard_match match = guard_cache_find_token(cache, &query, 0);
    guard_read_end();
    if (whose != NULL)
        *whose = query.subject;
    return match.entry == NULL ? GRANT_NOT_ACTIVE : match.verdict;
}

Test(guard_cache, a_token_finds_its_grant_and_no_other)
{
    struct guard_cache *cache = guard_cache_new(NULL, 10);
    struct lapse_grant grant = make(1, LAPSE_STATE_ACTIVE), wider = make(2, LAPSE_STATE_ACTIVE);
    struct slice whose;
    grant.token_sha256 = (struct lapse_bytes){token, sizeof token};
    wider.resource = "*";
    put(cache, &grant);
    put(cache, &wider);
    cr_assert_eq(find_token(cache, token, "", "db/prod/orders", &whose), GRANT_ALLOWS);
    cr_assert(slice_equal(whose, slice_str(subjects[0])));
    cr_assert_eq(find_token(cache, token, subjects[0], "db/prod/orders", NULL), GRANT_ALLOWS);
    cr_assert_eq(find_token(cache, token, subjects[1], "db/prod/orders", NULL), GRANT_OTHER_SUBJECT);
    cr_assert_eq(find_token(cache, token, "", "db", NULL), GRANT_OTHER_RESOURCE, "another grant would allow it");
    cr_assert_eq(find_token(cache, other_token, "", "db/prod/orders", NULL), GRANT_NOT_ACTIVE);
    cr_assert_eq(find(cache, "db/prod/orders", 0), GRANT_ALLOWS, "its subject needs no token");
    grant.resource = "db/prod/*";
    grant.id = id_of(3);
    grant.token_sha256 = (struct lapse_bytes){other_token, sizeof other_token};
    put(cache, &grant);
    cr_assert_eq(find_token(cache, other_token, "", "db/prod/x", NULL), GRANT_ALLOWS);
    cr_assert_eq(find_token(cache, other_token, "", "db/prod/../hr", NULL), GRANT_OTHER_RESOURCE);
    guard_cache_free(cache);
}

Test(guard_cache, a_token_comes_with_a_change_of_its_grant_and_goes_with_its_family)
{
    struct guard_cache *cache = guard_cache_new(NULL, 5000);
    char parent[GRANT_ID_TEXT_SIZE];
    struct lapse_grant head = make(1, LAPSE_STATE_ACTIVE), grant = child(2, 1, parent);
    struct grant_id id;
    put(cache, &head);
    put(cache, &grant);
    cr_assert_eq(find_token(cache, token, "", "db/prod/orders", NULL), GRANT_NOT_ACTIVE);
    grant.id = id_of(2);
    grant.max_uses = 5;
    grant.token_sha256 = (struct lapse_bytes){token, sizeof token};
    put(cache, &grant);
    cr_assert_eq(find_token(cache, token, "", "db/prod/orders", NULL), GRANT_ALLOWS);
    cr_assert(lapse_is_ok(grant_id_parse(slice_str(id_of(2)), &id)));
    atomic_store(guard_entry_share(guard_cache_get(cache, id)), 2);
    grant.id = id_of(2);
    grant.uses = 3;
    put(cache, &grant);
    struct grant_query query = {.resource = slice_str("db/prod/orders"), .token_sha256 = slice_of(token, 32)};
    guard_read_begin();
    const struct guard_entry *found = guard_cache_find_token(cache, &query, 0).entry;
    cr_assert_eq(found->uses, 3);
    cr_assert_eq(atomic_load(guard_entry_share(found)), 2, "a share is the grant's");
    guard_read_end();
    for (uint32_t i = 10; i < 4000; i++) { /* it grows */
        struct lapse_grant more = make(i, LAPSE_STATE_ACTIVE);
        put(cache, &more);
    }
    cr_assert_eq(find_token(cache, token, "", "db/prod/orders", NULL), GRANT_ALLOWS);
    head.id = id_of(1);
    head.state = LAPSE_STATE_REVOKED;
    put(cache, &head);
    cr_assert_eq(find_token(cache, token, "", "db/prod/orders", NULL), GRANT_NOT_ACTIVE);
    grant.id = id_of(5000);
    grant.parent = "";
    grant.token_sha256 = (struct lapse_bytes){token, 31};
    cr_assert_not(guard_cache_put(cache, &grant, NULL, NULL), "a hash has 32 bytes");
    guard_cache_free(cache);
}

/* ---- Readers and the writer */

struct readers {
    struct guard_cache *cache;
    _Atomic bool stop;
};

/* Grant 0 is always there. */
static void *reader_main(void *arg)
{
    struct readers *readers = arg;
    while (!atomic_load(&readers->stop)) {
        cr_assert_eq(find(readers->cache, "d", 0), GRANT_ALLOWS);
        (void)find(readers->cache, "db/prod/orders", 0);
    }
    return NULL;
}

Test(guard_cache, readers_lose_nothing_while_it_grows_and_shrinks)
{
    struct guard_reaper *reaper;
    struct readers readers = {0};
    pthread_t threads[3];
    cr_assert(lapse_is_ok(guard_reaper_new(&reaper, NULL)));
    readers.cache = guard_cache_new(reaper, 100000);
    struct lapse_grant grant = make(0, LAPSE_STATE_ACTIVE);
    grant.resource = "d";
    put(readers.cache, &grant);
    guard_cache_share(readers.cache);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, reader_main, &readers), 0);
    for (uint32_t round = 0; round < 3; round++)
        for (uint32_t i = 1; i < 8000; i++) {
            char resource[32];
            grant = make(i, round % 2 == 0 ? LAPSE_STATE_ACTIVE : LAPSE_STATE_REVOKED);
            snprintf(resource, sizeof resource, "db/prod/%u", i / 3);
            grant.resource = resource;
            put(readers.cache, &grant);
            grant = make(0, LAPSE_STATE_ACTIVE);
            grant.resource = "d";
            if (i % 16 == 0)
                put(readers.cache, &grant);
        }
    atomic_store(&readers.stop, true);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    cr_assert_eq(guard_cache_grants(readers.cache), 8000);
    guard_cache_retire(readers.cache);
    guard_reaper_free(reaper);
}
