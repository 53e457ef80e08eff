/* Grants in their compact form: 116 bytes each, in slabs that are copied when a frozen view still reads them. Internal
 * to store/.
 *
 * A record holds what can't be derived. Strings are interned ids; times and revisions take six bytes. Static terms that
 * many grants share (actions, limits, binding, labels, parent) are one interned string of wire bytes, `shared`. Index
 * links, heap positions and the like are not part of the state and live elsewhere (struct links in internal.h), so that
 * changing them copies nothing.
 *
 *   slots:  1 2 3 ... 31 | 32 ... 63 | ...     slab = slot / 32; slot 0 is none
 *   store:  [slab 0] [slab 1] [slab 2']        slab 2 was written after the freeze: the store has a copy,
 *   view:   [slab 0] [slab 1] [slab 2 ]        the view keeps the original */
#ifndef LAPSE_STORE_RECORDS_H
#define LAPSE_STORE_RECORDS_H

#include "store/grant.h"
#include "store/strings.h"

/* The digest reads numbers of records as they lie in memory. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "digests would differ between machines");

/* A time or a revision below 2^48. */
struct u48 {
    uint16_t parts[3];
};

static inline uint64_t u48_get(struct u48 number)
{
    return number.parts[0] | (uint64_t)number.parts[1] << 16 | (uint64_t)number.parts[2] << 32;
}

static inline struct u48 u48_of(uint64_t value)
{
    return (struct u48){{(uint16_t)value, (uint16_t)(value >> 16), (uint16_t)(value >> 32)}};
}

#define U48_MAX ((1ULL << 48) - 1)

struct record {
    /* From here to `subject`: what changes in numbers; hashed as it lies. */
    struct grant_id id;
    struct u48 requested_ms, activated_ms, ended_ms;
    struct u48 deadline_ms; /* before the decision: the moment asked for, 0 when a duration was */
    struct u48 requested_revision, approved_revision, activated_revision, revision;
    struct u48 approval_ms; /* of the first approval */
    uint8_t state;          /* enum grant_state; 0: the slot is free */
    uint8_t n_approvals;    /* the first one is here, the others in its extra: extras.h */
    uint32_t uses;
    string_id subject;
    string_id resource;
    string_id requester;
    string_id ticket;
    string_id policy;
    string_id shared;   /* terms_encode_shared() */
    string_id story;    /* justification, then NUL and task if there is one */
    string_id ending;   /* ended_by, then NUL and reason if there is one */
    string_id approver; /* of the first approval */
    string_id comment;
};
_Static_assert(sizeof(struct record) == 116, "no holes: the numbers are hashed");

#define SLAB_RECORDS 32u

struct slab {
    struct record records[SLAB_RECORDS];
};

struct records {
    struct slab **slabs;
    uint32_t *generations; /* at which each slab was made or copied */
    uint32_t n_slabs, slabs_capacity;
    uint32_t n_slots; /* slots ever used, slot 0 included */
    uint32_t generation;
    bool frozen;
    size_t n_copies;       /* slabs held twice because of the view */
    struct slab **retired; /* what the last view left behind, freed a few at a time */
    uint32_t n_retired;
};

void records_init(struct records *records);
void records_free(struct records *records);
/* A fresh slot at the end. The caller keeps the list of free ones. */
uint32_t records_grow(struct records *records);

static inline const struct record *record_at(struct slab *const *slabs, uint32_t slot)
{
    return &slabs[slot / SLAB_RECORDS]->records[slot % SLAB_RECORDS];
}

static inline const struct record *records_get(const struct records *records, uint32_t slot)
{
    return record_at(records->slabs, slot);
}

/* The record for writing: copies its slab first when a view reads it. Earlier pointers into the slab go stale. */
struct record *records_edit(struct records *records, uint32_t slot);

/* A copy of the slab directory; the slabs in it stay unchanged until records_thaw. */
struct slab **records_freeze(struct records *records);
/* Takes the directory back. What only the view held is freed by records_drain(), so that this costs no pause. */
void records_thaw(struct records *records, struct slab **frozen, uint32_t n_slabs);
void records_drain(struct records *records, uint32_t max);

size_t records_bytes(const struct records *records);

/* The grant that a record and its extra (NULL: none) mean. Slices point into the chunks and the extra. */
struct extra;
void record_read(const struct record *record, const struct extra *extra, uint8_t *const *chunks, struct grant *grant);
/* The moment at which an undecided request lapses, from the terms asked for. */
int64_t pending_until_ms(const struct grant *terms, int64_t requested_ms);

#endif
