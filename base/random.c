/* The thread's pool is a page of its own, which the kernel empties in a child process: an empty pool is filled again,
 * so a child never repeats what its parent gave out. */
#include "base/random.h"

#include <openssl/rand.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "base/check.h"

struct pool {
    size_t left; /* at the end of `bytes`; 0 after a fork, too */
    uint8_t bytes[1024];
};

static _Thread_local struct pool *pool;
static pthread_key_t key; /* gives the page back with the thread */
static pthread_once_t keyed = PTHREAD_ONCE_INIT;

static void pool_free(void *ended)
{
    OPENSSL_cleanse(ended, sizeof(struct pool));
    CHECK(munmap(ended, sizeof(struct pool)) == 0);
}

static void key_make(void)
{
    CHECK(pthread_key_create(&key, pool_free) == 0);
}

static void pool_make(void)
{
    void *page = mmap(NULL, sizeof(struct pool), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED && madvise(page, sizeof(struct pool), MADV_WIPEONFORK) == 0);
    CHECK(pthread_once(&keyed, key_make) == 0 && pthread_setspecific(key, page) == 0);
    pool = page;
}

void random_bytes(void *out, size_t len)
{
    CHECK(len <= RANDOM_BYTES_MAX);
    if (pool == NULL)
        pool_make();
    if (pool->left < len) {
        CHECK(RAND_bytes(pool->bytes, sizeof pool->bytes) == 1);
        pool->left = sizeof pool->bytes;
    }
    pool->left -= len;
    memcpy(out, pool->bytes + pool->left, len);
    OPENSSL_cleanse(pool->bytes + pool->left, len);
}
