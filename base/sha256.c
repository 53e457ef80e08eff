#include "base/sha256.h"

#include <openssl/evp.h>
#include <pthread.h>

#include "base/check.h"

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

/* Naming the algorithm makes OpenSSL look it up, under a lock, each time: it is named once. */
static void context_make(void)
{
    context = EVP_MD_CTX_new();
    CHECK(context != NULL && pthread_once(&keyed, key_make) == 0 && pthread_setspecific(key, context) == 0);
    CHECK(EVP_DigestInit_ex2(context, EVP_sha256(), NULL) == 1);
}

void sha256_of(const struct slice *pieces, size_t n, uint8_t out[SHA256_BYTES])
{
    unsigned len = 0;
    if (context == NULL)
        context_make();
    CHECK(EVP_DigestInit_ex2(context, NULL, NULL) == 1);
    for (size_t i = 0; i < n; i++)
        CHECK(EVP_DigestUpdate(context, pieces[i].data, pieces[i].len) == 1);
    CHECK(EVP_DigestFinal_ex(context, out, &len) == 1 && len == SHA256_BYTES);
}
