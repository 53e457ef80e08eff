#include "tests/unit/audit_fixture.h"

#include <openssl/evp.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include "base/check.h"
#include "base/clock.h"
#include "node/audit_frame.h"

/* --- the chain ---------------------------------------------------------------------------------------------------- */

struct grant_id made_grant_id(uint32_t i)
{
    const uint8_t random[10] = {1, 2, 3, 4, 5, 6, 7, 8, (uint8_t)(i >> 8), (uint8_t)i};
    return grant_id_make(AUDIT_TIME_MS, random);
}

void chain_add(struct made_chain *chain, struct event_words *words)
{
    struct buf bytes;
    if (chain->n + 1 >= chain->capacity) {
        chain->capacity = chain->capacity == 0 ? 1024 : chain->capacity * 2;
        chain->events = mem_realloc(chain->events, chain->capacity * sizeof *chain->events);
        chain->places = mem_realloc(chain->places, chain->capacity * sizeof *chain->places);
    }
    if (chain->n == 0)
        chain->places[0] = (struct audit_place){.epoch = AUDIT_EPOCH};
    words->revision = ++chain->n;
    words->time_ms = AUDIT_TIME_MS + 1000 * (int64_t)chain->n;
    buf_init(&bytes, LIMIT_MESSAGE_OUT);
    CHECK(lapse_is_ok(words_encode_event(words, &bytes)));
    struct audit_place place = chain->places[chain->n - 1];
    place.revision = chain->n;
    chain_extend(&place.head, AUDIT_EPOCH, buf_slice(&bytes));
    chain->places[chain->n] = place;
    chain->events[chain->n - 1] = blob_new(buf_slice(&bytes));
    buf_free(&bytes);
}

void chain_grow(struct made_chain *chain, uint32_t n)
{
    while (chain->n < n) {
        char subject[32], resource[32];
        uint32_t i = chain->n % 10;
        (void)snprintf(subject, sizeof subject, "user:dev%u", i);
        (void)snprintf(resource, sizeof resource, "db/prod/%u", i);
        const struct grant grant = {.id = made_grant_id(i),
                                    .state = GRANT_ACTIVE,
                                    .subject = slice_str(subject),
                                    .resource = slice_str(resource),
                                    .actions = {slice_str("read")},
                                    .n_actions = 1,
                                    .justification = slice_str("order 4711 can't be paid"),
                                    .requester = slice_str(subject),
                                    .revision = chain->n + 1};
        struct event_words words = {.type = 3, .grant = &grant, .actor = slice_str("user:oncall")};
        chain_add(chain, &words);
    }
}

void chain_free(struct made_chain *chain)
{
    for (uint32_t i = 0; i < chain->n; i++)
        blob_unref(chain->events[i]);
    free(chain->events);
    free(chain->places);
}

/* --- the world ---------------------------------------------------------------------------------------------------- */

struct audit_world *audit_world_new(void)
{
    struct audit_world *world = mem_calloc(1, sizeof *world);
    (void)snprintf(world->dir, sizeof world->dir, "/tmp/lapse-audit-XXXXXX");
    CHECK(mkdtemp(world->dir) != NULL);
    CHECK(pthread_mutex_init(&world->lock, NULL) == 0);
    for (uint32_t i = 0; i < AUDIT_NODES; i++) {
        world->nodes[i] = (struct audit_node){.world = world, .id = i + 1};
        (void)snprintf(world->nodes[i].dir, sizeof world->nodes[i].dir, "%s/%u", world->dir, i + 1);
        char command[128];
        (void)snprintf(command, sizeof command, "mkdir %s", world->nodes[i].dir);
        CHECK(system(command) == 0);
    }
    chain_grow(&world->chain, 1);
    return world;
}

void audit_world_free(struct audit_world *world)
{
    char command[128];
    for (uint32_t i = 0; i < AUDIT_NODES; i++)
        audit_node_stop(&world->nodes[i]);
    (void)snprintf(command, sizeof command, "rm -rf %s", world->dir);
    CHECK(system(command) == 0);
    chain_free(&world->chain);
    CHECK(pthread_mutex_destroy(&world->lock) == 0);
    free(world);
}

/* One letter of what people wrote becomes another. */
static void falsify(uint8_t *bytes, size_t len)
{
    static const char word[] = "4711";
    for (size_t i = 0; i + sizeof word - 1 <= len; i++)
        if (memcmp(bytes + i, word, sizeof word - 1) == 0)
            bytes[i] = '5';
}

static void on_send(void *arg, uint64_t to, struct slice frame)
{
    struct audit_node *node = arg;
    struct audit_world *world = node->world;
    struct blob *copy = blob_new(frame);
    atomic_fetch_add(&world->frames, 1);
    if (atomic_load(&world->liar) == node->id)
        falsify(copy->data, copy->len);
    CHECK(pthread_mutex_lock(&world->lock) == 0);
    if (to >= 1 && to <= AUDIT_NODES && world->nodes[to - 1].audit != NULL)
        audit_receive(world->nodes[to - 1].audit, node->id, blob_slice(copy));
    CHECK(pthread_mutex_unlock(&world->lock) == 0);
    blob_unref(copy);
}

static const struct audit_handler handler = {.send = on_send};

void audit_node_start(struct audit_world *world, uint32_t i, uint64_t revision)
{
    struct audit_node *node = &world->nodes[i];
    struct lapse_error error;
    struct audit *audit = NULL;
    const struct audit_options options = {.dir = node->dir,
                                          .cluster = "test-1",
                                          .node_id = node->id,
                                          .reserve_bytes = world->reserve_bytes,
                                          .gather_us = world->gather_us,
                                          .start = world->chain.places[revision]};
    CHECK(lapse_is_ok(audit_open(&options, &handler, node, &audit, &error)));
    CHECK(pthread_mutex_lock(&world->lock) == 0);
    node->audit = audit;
    CHECK(pthread_mutex_unlock(&world->lock) == 0);
    node->told = revision;
    audit_set_time(audit, AUDIT_TIME_MS);
}

void audit_node_stop(struct audit_node *node)
{
    CHECK(pthread_mutex_lock(&node->world->lock) == 0);
    struct audit *audit = node->audit;
    node->audit = NULL;
    CHECK(pthread_mutex_unlock(&node->world->lock) == 0);
    audit_close(audit);
}

void audit_node_tell(struct audit_node *node, uint64_t revision)
{
    struct made_chain *chain = &node->world->chain;
    while (node->told < revision) {
        node->told++;
        audit_event(node->audit, &chain->places[node->told], blob_slice(chain->events[node->told - 1]));
    }
    while (!audit_flush(node->audit))
        audit_nap();
}

void audit_connect(struct audit_world *world)
{
    for (uint32_t i = 0; i < AUDIT_NODES; i++) {
        uint64_t others[AUDIT_NODES];
        uint32_t n = 0;
        for (uint32_t j = 0; j < AUDIT_NODES; j++)
            if (j != i && world->nodes[j].audit != NULL)
                others[n++] = world->nodes[j].id;
        if (world->nodes[i].audit != NULL)
            audit_set_peers(world->nodes[i].audit, others, n);
    }
}

struct audit_status audit_now(const struct audit_node *node)
{
    struct audit_status status;
    audit_get_status(node->audit, &status);
    return status;
}

void audit_nap(void)
{
    (void)usleep(1000);
}

/* --- questions ---------------------------------------------------------------------------------------------------- */

static void on_answer(struct mail *mail)
{
    struct audit_job *job = CONTAINER_OF(mail, struct audit_job, mail);
    mailbox_close(job->reply_to);
}

void audit_node_ask(struct audit_node *node, struct audit_job *job)
{
    uv_loop_t loop;
    struct mailbox mailbox;
    CHECK(uv_loop_init(&loop) == 0);
    mailbox_init(&mailbox, &loop, 10);
    job->reply_to = &mailbox;
    job->mail.run = on_answer;
    if (job->deadline_us == 0)
        job->deadline_us = clock_boot_us() + 60ll * 1000 * 1000;
    buf_clear(&job->response);
    CHECK(audit_ask(node->audit, job));
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    CHECK(uv_loop_close(&loop) == 0);
}

/* --- the file ----------------------------------------------------------------------------------------------------- */

static sqlite3 *open_file(const struct audit_node *node)
{
    char path[128];
    sqlite3 *sqlite = NULL;
    (void)snprintf(path, sizeof path, "%s/audit.db", node->dir);
    CHECK(sqlite3_open(path, &sqlite) == SQLITE_OK);
    return sqlite;
}

int64_t audit_number(const struct audit_node *node, const char *sql)
{
    sqlite3 *sqlite = open_file(node);
    sqlite3_stmt *statement = NULL;
    CHECK(sqlite3_prepare_v2(sqlite, sql, -1, &statement, NULL) == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW);
    int64_t number = sqlite3_column_int64(statement, 0);
    (void)sqlite3_finalize(statement);
    CHECK(sqlite3_close(sqlite) == SQLITE_OK);
    return number;
}

void audit_execute(const struct audit_node *node, const char *sql)
{
    sqlite3 *sqlite = open_file(node);
    CHECK(sqlite3_exec(sqlite, sql, NULL, NULL, NULL) == SQLITE_OK);
    CHECK(sqlite3_close(sqlite) == SQLITE_OK);
}

static void digest_rows(sqlite3 *sqlite, const char *sql, EVP_MD_CTX *context)
{
    sqlite3_stmt *statement = NULL;
    CHECK(sqlite3_prepare_v2(sqlite, sql, -1, &statement, NULL) == SQLITE_OK);
    while (sqlite3_step(statement) == SQLITE_ROW)
        for (int i = 0; i < sqlite3_column_count(statement); i++) {
            const void *data = sqlite3_column_blob(statement, i);
            CHECK(EVP_DigestUpdate(context, "|", 1) == 1 &&
                  EVP_DigestUpdate(context, data, (size_t)sqlite3_column_bytes(statement, i)) == 1);
        }
    (void)sqlite3_finalize(statement);
}

void audit_digest(const struct audit_node *node, char out[65])
{
    uint8_t digest[32];
    sqlite3 *sqlite = open_file(node);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    CHECK(EVP_DigestInit_ex2(context, EVP_sha256(), NULL) == 1);
    digest_rows(sqlite, "SELECT * FROM records ORDER BY revision", context);
    digest_rows(sqlite, "SELECT * FROM links ORDER BY id, revision", context);
    CHECK(EVP_DigestFinal_ex(context, digest, NULL) == 1);
    for (int i = 0; i < 32; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", digest[i]);
    EVP_MD_CTX_free(context);
    CHECK(sqlite3_close(sqlite) == SQLITE_OK);
}
