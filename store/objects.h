/* Objects: what governs requests and access (policies, locks, ...), few and small beside the grants. Each is a name and the
 * bytes of a lapse.v1 message; what they mean is known by the module of their kind (governance.h).
 *
 *   kind -> sorted by name: [a][b][c]        due: a heap over all kinds
 *
 * A view shares the bytes: they never change; a change makes a new object. */
#ifndef LAPSE_STORE_OBJECTS_H
#define LAPSE_STORE_OBJECTS_H

#include "base/bytes.h"
#include "base/limits.h"

/* The numbers are those of the disk format. */
enum object_kind {
    OBJECT_POLICY = 1,
    OBJECT_LOCK = 2,
    OBJECT_ELIGIBILITY = 3,
    OBJECT_CAMPAIGN = 4,
    OBJECT_REVIEW = 5,
    OBJECT_HOOK = 6,
    OBJECT_KINDS
};

struct object {
    enum object_kind kind;
    struct slice name;
    struct slice value; /* lapse.v1.Policy, Lock, Eligibility, Campaign, Review; a hook's: its revision, 8 bytes, big-endian */
    int64_t due_ms;     /* when its module has something to do; 0: never */
};

/* A webhook's revision. */
#define OBJECT_HOOK_BYTES 8
static inline uint64_t object_hook_revision(const struct object *hook)
{
    uint64_t revision = 0;
    for (int i = 0; i < OBJECT_HOOK_BYTES; i++)
        revision = revision << 8 | hook->value.data[i];
    return revision;
}

#endif
