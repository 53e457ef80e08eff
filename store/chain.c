#include "store/chain.h"

#include <openssl/evp.h>
#include <pthread.h>

#include "base/check.h"

static const char tag[] = "lapse.audit.1";

/* Kept for the life of the thread: making a context costs more than hashing an event. */
static _Thread_local EVP_MD_CTX *context;
static pthread_key_t key; /* frees it with the thread */
static pthread_once_t keyed = PTHREAD_ONCE_INIT;

static void context_free(void *ended)
{
    EVP_MD_CTX_free(ended);
}

static void key_make(void)
{
    CHECK(pthread_key_create(&key, context_free) == 0);
}

static void context_make(void)
{
    context = EVP_MD_CTX_new();
    CHECK(context != NULL && pthread_once(&keyed, key_make) == 0 && pthread_setspecific(key, context) == 0);
}

static void put_number(uint8_t out[8], uint64_t value)
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(value >> (56 - 8 * i));
}

void chain_extend(struct chain_head *head, uint64_t epoch, struct slice event)
{
    uint8_t number[8];
    unsigned len = 0;
    put_number(number, epoch);
    if (context == NULL)
        context_make();
    CHECK(EVP_DigestInit_ex2(context, EVP_sha256(), NULL) == 1 &&
          EVP_DigestUpdate(context, tag, sizeof tag - 1) == 1 &&
          EVP_DigestUpdate(context, head->hash, sizeof head->hash) == 1 &&
          EVP_DigestUpdate(context, number, sizeof number) == 1 &&
          EVP_DigestUpdate(context, event.data, event.len) == 1 &&
          EVP_DigestFinal_ex(context, head->hash, &len) == 1 && len == sizeof head->hash);
}

bool chain_head_equal(const struct chain_head *a, const struct chain_head *b)
{
    return memcmp(a->hash, b->hash, sizeof a->hash) == 0;
}

size_t chain_statement_bytes(const struct chain_statement *statement, uint8_t out[CHAIN_STATEMENT_MAX])
{
    static const char head_tag[] = "lapse.head.1";
    const uint64_t numbers[] = {statement->epoch, statement->revision, (uint64_t)statement->time_ms, statement->node_id};
    uint8_t *at = out;
    CHECK(statement->cluster.len <= UINT8_MAX);
    memcpy(at, head_tag, sizeof head_tag - 1);
    at += sizeof head_tag - 1;
    *at++ = (uint8_t)statement->cluster.len;
    if (statement->cluster.len > 0)
        memcpy(at, statement->cluster.data, statement->cluster.len);
    at += statement->cluster.len;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++, at += 8)
        put_number(at, numbers[i]);
    memcpy(at, statement->head.hash, CHAIN_HASH_BYTES);
    return (size_t)(at - out) + CHAIN_HASH_BYTES;
}
