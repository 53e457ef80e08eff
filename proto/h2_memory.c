#include "proto/h2_memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* HTTP/2's smallest maximum of a frame: who asks for more wants the buffer. */
#define FRAME_BYTES 16384

/* What is in a block before its owner writes to it is undefined: its pages may as well be gone. */
static void give_pages_back(void *block, size_t size)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)block + page - 1) & ~(page - 1);
    uintptr_t end = ((uintptr_t)block + size) & ~(page - 1);
    if (end > begin)
        (void)madvise((void *)begin, end - begin, MADV_DONTNEED); /* else they stay, and cost what they cost */
}

static void *memory_alloc(size_t size, void *user_data)
{
    void *block = malloc(size);
    (void)user_data;
    if (block != NULL && size > FRAME_BYTES)
        give_pages_back(block, size);
    return block;
}

static void memory_free(void *block, void *user_data)
{
    (void)user_data;
    free(block);
}

static void *memory_calloc(size_t count, size_t size, void *user_data)
{
    (void)user_data;
    return calloc(count, size);
}

static void *memory_realloc(void *block, size_t size, void *user_data)
{
    return block == NULL ? memory_alloc(size, user_data) : realloc(block, size);
}

nghttp2_mem *h2_memory(void)
{
    static nghttp2_mem memory = {NULL, memory_alloc, memory_free, memory_calloc, memory_realloc};
    return &memory;
}
