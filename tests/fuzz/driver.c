/* Runs a fuzz target without a fuzzer: every file of its corpus, then mutations of them from a seeded generator, so
 * that CI covers the same ground each time. For a real hunt, link the target with -fsanitize=fuzzer instead
 * (tests/fuzz/README.md).
 *
 *   fuzz-NAME CORPUS-DIRECTORY [MUTATIONS [SEED]] */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/check.h"
#include "tests/sim/prng.h"

#define INPUT_MAX (256u * 1024)
#define CORPUS_MAX 1024

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct buf corpus[CORPUS_MAX];
static size_t n_corpus;

static void load(const char *directory, const char *name)
{
    char path[1024];
    uint8_t bytes[4096];
    size_t n;
    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL && n_corpus < CORPUS_MAX);
    buf_init(&corpus[n_corpus], INPUT_MAX);
    while ((n = fread(bytes, 1, sizeof bytes, file)) > 0)
        CHECK(lapse_is_ok(buf_append(&corpus[n_corpus], bytes, n)));
    CHECK(fclose(file) == 0);
    n_corpus++;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* In the order of names: the same corpus is the same run. */
static void load_all(const char *directory)
{
    char *names[CORPUS_MAX];
    size_t n = 0;
    DIR *dir = opendir(directory);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.' && n < CORPUS_MAX)
            names[n++] = mem_strdup(entry->d_name);
    if (dir != NULL)
        (void)closedir(dir);
    qsort(names, n, sizeof names[0], by_name);
    for (size_t i = 0; i < n; i++) {
        load(directory, names[i]);
        free(names[i]);
    }
}

static void run(struct slice input)
{
    /* A block of its own, so that the address sanitizer sees a read past its end. */
    uint8_t *copy = mem_alloc(input.len);
    if (input.len > 0)
        memcpy(copy, input.data, input.len);
    (void)LLVMFuzzerTestOneInput(copy, input.len);
    free(copy);
}

/* One small change: a bit, a byte, a cut, a repeated or inserted piece. */
static void mutate(struct prng *prng, struct buf *input)
{
    static const uint8_t edges[] = {0, 1, 0x7F, 0x80, 0xFF};
    size_t at = input->len == 0 ? 0 : (size_t)prng_below(prng, input->len);
    size_t len = input->len == 0 ? 0 : 1 + (size_t)prng_below(prng, input->len - at);
    uint8_t byte = prng_chance(prng, 50) ? edges[prng_below(prng, ARRAY_LEN(edges))] : (uint8_t)prng_next(prng);
    switch (prng_below(prng, 6)) {
    case 0:
        if (input->len > 0)
            input->data[at] ^= (uint8_t)(1u << prng_below(prng, 8));
        break;
    case 1:
        if (input->len > 0)
            input->data[at] = byte;
        break;
    case 2:
        input->len = at;
        break;
    case 3: /* out of the middle */
        if (len > 0)
            memmove(input->data + at, input->data + at + len, input->len - at - len);
        input->len -= len;
        break;
    case 4: /* a piece once more, at the end */
        if (len > 0 && lapse_is_ok(buf_reserve(input, len)))
            CHECK(lapse_is_ok(buf_append(input, input->data + at, len)));
        break;
    default:
        if (lapse_is_ok(buf_append(input, &byte, 1)))
            break;
    }
}

int main(int argc, char **argv)
{
    CHECK(argc >= 2);
    uint64_t mutations = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000;
    struct prng prng = {argc > 3 ? strtoull(argv[3], NULL, 10) : 1};
    struct buf input;
    load_all(argv[1]);
    if (n_corpus == 0) {
        (void)fprintf(stderr, "%s holds no corpus: mutations of nothing would find nothing\n", argv[1]);
        return 1;
    }
    for (size_t i = 0; i < n_corpus; i++)
        run(buf_slice(&corpus[i]));
    run(slice_of(NULL, 0));
    for (uint64_t i = 0; i < mutations; i++) {
        buf_init(&input, INPUT_MAX);
        const struct buf *seed = &corpus[prng_below(&prng, n_corpus)];
        CHECK(lapse_is_ok(buf_append(&input, seed->data, seed->len)));
        for (uint64_t steps = 1 + prng_below(&prng, 8); steps > 0; steps--)
            mutate(&prng, &input);
        run(buf_slice(&input));
        buf_free(&input);
    }
    printf("%zu corpus files, %llu mutations\n", n_corpus, (unsigned long long)mutations);
    for (size_t i = 0; i < n_corpus; i++)
        buf_free(&corpus[i]);
    return 0;
}
