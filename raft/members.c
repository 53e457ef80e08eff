#include "raft/members.h"

#include <raft.h>

#include "base/check.h"

/* libraft's encoding: 1 byte version, 8 bytes count, then for each: 8 bytes id, NUL-terminated address, 1 byte role;
 * zeros up to a multiple of 8. Integers are little-endian. */
#define ENCODING_VERSION 1

_Static_assert((int)REPLICA_STANDBY == (int)RAFT_STANDBY && (int)REPLICA_VOTER == (int)RAFT_VOTER &&
                   (int)REPLICA_SPARE == (int)RAFT_SPARE,
               "roles are libraft's");

struct cursor {
    const uint8_t *at, *end;
    bool failed;
};

static uint64_t take_int(struct cursor *cursor, size_t size)
{
    uint64_t value = 0;
    if (cursor->failed || (size_t)(cursor->end - cursor->at) < size) {
        cursor->failed = true;
        return 0;
    }
    for (size_t i = 0; i < size; i++)
        value |= (uint64_t)*cursor->at++ << (8 * i);
    return value;
}

static struct slice take_text(struct cursor *cursor)
{
    const uint8_t *nul = cursor->failed ? NULL : memchr(cursor->at, 0, (size_t)(cursor->end - cursor->at));
    if (nul == NULL) {
        cursor->failed = true;
        return slice_of(NULL, 0);
    }
    struct slice text = slice_of(cursor->at, (size_t)(nul - cursor->at));
    cursor->at = nul + 1;
    return text;
}

static bool take_member(struct cursor *cursor, struct members *members)
{
    char address[MEMBER_ADDRESS_MAX + 1];
    struct replica_member member = {.id = take_int(cursor, 8), .address = address};
    struct slice text = take_text(cursor);
    uint64_t role = take_int(cursor, 1);
    if (cursor->failed || role > REPLICA_SPARE || !slice_to_cstr(text, address, sizeof address))
        return false;
    member.role = role;
    return lapse_is_ok(members_add(members, &member, NULL));
}

/* Everything but the padding's content, which is nobody's meaning. */
static bool decode(struct slice bytes, struct members *members)
{
    *members = (struct members){.n = 0};
    if (bytes.len == 0)
        return false;
    struct cursor cursor = {bytes.data, bytes.data + bytes.len, false};
    if (take_int(&cursor, 1) != ENCODING_VERSION)
        return false;
    uint64_t n = take_int(&cursor, 8);
    if (cursor.failed || n == 0 || n > LIMIT_PEERS)
        return false;
    for (uint64_t i = 0; i < n; i++) {
        if (!take_member(&cursor, members))
            return false;
    }
    return cursor.end - cursor.at < 8;
}

lapse_result members_decode(struct slice bytes, struct members *members, struct lapse_error *error)
{
    struct members decoded;
    if (!decode(bytes, &decoded))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT, "a configuration of %zu bytes is malformed", bytes.len);
    members_copy(members, &decoded);
    return lapse_ok();
}

static void put_int(struct buf *out, uint64_t value, size_t size)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
    lapse_result result = buf_append(out, bytes, size);
    CHECK(lapse_is_ok(result));
}

struct blob *members_encode(const struct members *members)
{
    struct buf out;
    buf_init(&out, LIMIT_PEERS * (MEMBER_ADDRESS_MAX + 10) + 32);
    put_int(&out, ENCODING_VERSION, 1);
    put_int(&out, members->n, 8);
    for (uint32_t i = 0; i < members->n; i++) {
        const struct replica_member *member = &members->list[i];
        put_int(&out, member->id, 8);
        lapse_result result = buf_append(&out, member->address, strlen(member->address) + 1);
        CHECK(lapse_is_ok(result));
        put_int(&out, (uint64_t)member->role, 1);
    }
    if (out.len % 8 != 0)
        put_int(&out, 0, 8 - out.len % 8);
    struct blob *blob = blob_new(buf_slice(&out));
    buf_free(&out);
    return blob;
}

const struct replica_member *members_find(const struct members *members, uint64_t id)
{
    for (uint32_t i = 0; i < members->n; i++) {
        if (members->list[i].id == id)
            return &members->list[i];
    }
    return NULL;
}

lapse_result members_add(struct members *members, const struct replica_member *member, struct lapse_error *error)
{
    size_t len = strlen(member->address);
    if (member->id == 0 || len == 0 || len > MEMBER_ADDRESS_MAX || !slice_is_text(slice_str(member->address), false))
        return lapse_fail(error, LAPSE_INVALID_ARGUMENT,
                          "a member needs an id above 0 and an address \"host:port\" of at most %u bytes",
                          MEMBER_ADDRESS_MAX);
    for (uint32_t i = 0; i < members->n; i++) {
        if (members->list[i].id == member->id || strcmp(members->list[i].address, member->address) == 0)
            return lapse_fail(error, LAPSE_ALREADY_EXISTS, "node %llu at %s is a member already",
                              (unsigned long long)members->list[i].id, members->list[i].address);
    }
    if (members->n == LIMIT_PEERS)
        return lapse_fail(error, LAPSE_RESOURCE_EXHAUSTED, "a cluster has at most %u members; remove one first",
                          LIMIT_PEERS);
    uint32_t i = members->n++;
    memcpy(members->addresses[i], member->address, len + 1);
    members->list[i] = *member;
    members->list[i].address = members->addresses[i];
    return lapse_ok();
}

void members_copy(struct members *to, const struct members *from)
{
    *to = *from;
    for (uint32_t i = 0; i < to->n; i++)
        to->list[i].address = to->addresses[i];
}

void members_remove(struct members *members, uint64_t id)
{
    struct members kept = {.n = 0};
    for (uint32_t i = 0; i < members->n; i++) {
        if (members->list[i].id == id)
            continue;
        lapse_result result = members_add(&kept, &members->list[i], NULL);
        CHECK(lapse_is_ok(result));
    }
    members_copy(members, &kept);
}

uint32_t members_voters(const struct members *members, uint64_t voters[LIMIT_PEERS])
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < members->n; i++) {
        if (members->list[i].role == REPLICA_VOTER)
            voters[n++] = members->list[i].id;
    }
    return n;
}
