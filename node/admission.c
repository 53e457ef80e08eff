#include "node/admission.h"

#include <pthread.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"

struct admission_entry {
    char *principal; /* first: what the tree compares */
    uint32_t connections;
    uint32_t calls;
    uint64_t held;
    /* A token bucket: `tokens` thousandths of a request were left at `filled_ms`. */
    int64_t tokens;
    int64_t filled_ms;
};

struct admission {
    pthread_mutex_t lock; /* guards all below */
    struct admission_limits limits;
    void *entries; /* a tsearch tree of struct admission_entry */
    uint32_t connections;
    uint64_t held;
};

#define THOUSANDTHS 1000

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct admission_entry *)a)->principal, ((const struct admission_entry *)b)->principal);
}

static void lock(struct admission *admission)
{
    CHECK(pthread_mutex_lock(&admission->lock) == 0);
}

static void unlock(struct admission *admission)
{
    CHECK(pthread_mutex_unlock(&admission->lock) == 0);
}

struct admission *admission_new(const struct admission_limits *limits)
{
    struct admission *admission = mem_calloc(1, sizeof *admission);
    CHECK(pthread_mutex_init(&admission->lock, NULL) == 0);
    admission->limits = *limits;
    return admission;
}

static void free_entry(void *pointer)
{
    struct admission_entry *entry = pointer;
    free(entry->principal);
    free(entry);
}

void admission_free(struct admission *admission)
{
    if (admission == NULL)
        return;
    tdestroy(admission->entries, free_entry);
    CHECK(pthread_mutex_destroy(&admission->lock) == 0);
    free(admission);
}

bool admission_answer(struct admission *admission)
{
    lock(admission);
    bool free_place = admission->connections < admission->limits.connections_max;
    if (free_place)
        admission->connections++;
    unlock(admission);
    return free_place;
}

void admission_hang_up(struct admission *admission)
{
    lock(admission);
    CHECK(admission->connections > 0);
    admission->connections--;
    unlock(admission);
}

static struct admission_entry *find_or_add(struct admission *admission, const char *principal)
{
    struct admission_entry *fresh = mem_calloc(1, sizeof *fresh);
    fresh->principal = mem_strdup(principal);
    struct admission_entry **node = tsearch(fresh, &admission->entries, compare);
    CHECK(node != NULL);
    if (*node != fresh)
        free_entry(fresh);
    else
        fresh->tokens = (int64_t)admission->limits.requests_per_second * THOUSANDTHS;
    return *node;
}

lapse_result admission_enter(struct admission *admission, const char *principal, struct admission_entry **out,
                             struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    lock(admission);
    struct admission_entry *entry = find_or_add(admission, principal);
    if (entry->connections < admission->limits.connections_per_principal) {
        entry->connections++;
        *out = entry;
    } else {
        result = lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED, "%s has %u connections already: share them or close some",
                            principal, entry->connections);
    }
    unlock(admission);
    return result;
}

static void free_if_unused(struct admission *admission, struct admission_entry *entry)
{
    if (entry->connections > 0 || entry->held > 0)
        return;
    CHECK(entry->calls == 0);
    (void)tdelete(entry, &admission->entries, compare);
    free_entry(entry);
}

void admission_leave(struct admission *admission, struct admission_entry *entry)
{
    lock(admission);
    CHECK(entry->connections > 0);
    entry->connections--;
    free_if_unused(admission, entry);
    unlock(admission);
}

static void refill(const struct admission_limits *limits, struct admission_entry *entry, int64_t now_ms)
{
    int64_t full = (int64_t)limits->requests_per_second * THOUSANDTHS;
    int64_t passed_ms = now_ms - entry->filled_ms;
    entry->filled_ms = now_ms;
    /* Per millisecond: rate / 1000 requests, which is `rate` thousandths. A second fills the bucket. */
    if (passed_ms >= 1000)
        entry->tokens = full;
    else if (passed_ms > 0)
        entry->tokens += passed_ms * limits->requests_per_second;
    if (entry->tokens > full)
        entry->tokens = full;
}

lapse_result admission_request(struct admission *admission, struct admission_entry *entry, int64_t now_ms,
                               struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    lock(admission);
    refill(&admission->limits, entry, now_ms);
    if (entry->tokens >= THOUSANDTHS)
        entry->tokens -= THOUSANDTHS;
    else
        result =
            lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED, "more than %u requests in a second: slow down and try again",
                       admission->limits.requests_per_second);
    unlock(admission);
    return result;
}

lapse_result admission_begin(struct admission *admission, struct admission_entry *entry, struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    lock(admission);
    if (entry->calls < admission->limits.calls_per_principal)
        entry->calls++;
    else
        result = lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED, "%u calls are in flight already: wait for some of them",
                            entry->calls);
    unlock(admission);
    return result;
}

void admission_end(struct admission *admission, struct admission_entry *entry)
{
    lock(admission);
    CHECK(entry->calls > 0);
    entry->calls--;
    unlock(admission);
}

lapse_result admission_hold(struct admission *admission, struct admission_entry *entry, uint64_t bytes,
                            struct lapse_error *error)
{
    lapse_result result = lapse_ok();
    lock(admission);
    if (entry->held + bytes > admission->limits.held_per_principal)
        result = lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED,
                            "%s has asked for too many pages that it has not read yet: read some of them first",
                            entry->principal);
    else if (admission->held + bytes > admission->limits.held_max)
        result = lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED,
                            "this node holds too many pages that nobody reads: try again, or ask another one");
    if (lapse_is_ok(result)) {
        entry->held += bytes;
        admission->held += bytes;
    }
    unlock(admission);
    return result;
}

void admission_unhold(struct admission *admission, struct admission_entry *entry, uint64_t bytes)
{
    lock(admission);
    CHECK(bytes <= entry->held && bytes <= admission->held);
    entry->held -= bytes;
    admission->held -= bytes;
    free_if_unused(admission, entry);
    unlock(admission);
}
