/* What few grants have, beside their records: approvals behind the first one, and a bearer token's hash. Grants that
 * are decided by one approver and have no token take nothing here. Internal to store/.
 *
 *   record (every grant):   first approver, comment, time
 *   extra  (few):           the first approval's revision | approvals 2 to 8 | token
 *
 * A grant has an extra exactly when it has a token, or more than one approval, or one that was not enough: so all nodes
 * agree on it. State: in the digest (DIGEST_EXTRA, one part for each extra), in views and snapshots. Found by slot
 * through a hash table; links_at(slot)->has_extra says whether to look. */
#ifndef LAPSE_STORE_EXTRAS_H
#define LAPSE_STORE_EXTRAS_H

#include "store/digest.h"
#include "store/records.h"
#include "store/slabs.h"
#include "store/table.h"

#define TOKEN_HASH_BYTES 32

struct store;

struct approval {
    string_id approver, comment;
    struct u48 time_ms, revision;
};

struct list_place {
    uint32_t prev, next; /* slots */
};

struct extra {
    uint32_t next; /* in the hash chain; of free ones */
    uint32_t slot; /* 0: free */
    struct u48 first_revision;
    bool has_token;
    uint8_t unused;
    struct approval more[LIMIT_APPROVALS - 1];
    uint8_t token[TOKEN_HASH_BYTES];
    struct list_place places[LIMIT_APPROVALS - 1]; /* in the approvers' lists: not state, written in place */
};

struct extras {
    struct slabs items;
    struct table table; /* by slot */
};

void extras_init(struct store *store);
void extras_free(struct store *store);
size_t extras_bytes(const struct store *store);
/* NULL: it has none. Valid until the next change of any. */
const struct extra *extras_find(const struct store *store, uint32_t slot);
/* Where approval `i` (1 and up, which must be there) is in its approver's list. */
struct list_place *extras_place(const struct store *store, uint32_t slot, uint32_t i);
/* When a grant leaves, before its record and strings do: takes its extra, if any, off the digest. */
void extras_drop(struct store *store, uint32_t slot);

/* Adds one to a grant that has fewer than LIMIT_APPROVALS; `last`: it decides. The record's numbers must be off the
 * digest (transition_edit); its approved_revision is the caller's to set, at `revision`. Not in the index yet. */
void approvals_add(struct store *store, uint32_t slot, const struct grant_approval *approval, bool last);
/* Approval `i` of a record whose extra is `extra` (NULL: none), in a store or in a view. */
struct approval approval_of(const struct record *record, const struct extra *extra, uint32_t i);
struct approval approval_at(const struct store *store, uint32_t slot, uint32_t i);
/* The number of the approval by that very string; n_approvals when there is none. */
uint32_t approval_by(const struct store *store, uint32_t slot, string_id approver);
/* The revision at which that very string approved the grant; 0: it has not. */
uint64_t approved_at(const struct store *store, uint32_t slot, string_id approver);

/* The grant must have none. `sha256` has 32 bytes. */
void extras_set_token(struct store *store, uint32_t slot, struct slice sha256);
/* 32 bytes, or empty. */
struct slice extras_token(const struct store *store, uint32_t slot);

/* What a frozen view holds of them, by slot. Sorted on the reader's thread. */
struct extras_view {
    uint8_t **directory;
    uint32_t n_slabs, n_items;
    uint32_t *sorted; /* items, by slot */
    uint32_t n;
};
void extras_freeze(struct store *store, struct extras_view *view);
void extras_thaw(struct store *store, struct extras_view *view);
void extras_view_sort(struct extras_view *view);
const struct extra *extras_view_find(const struct extras_view *view, uint32_t slot);

#endif
