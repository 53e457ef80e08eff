#include "store/chain.h"

#include "base/check.h"
#include "base/sha256.h"

static const char tag[] = "lapse.audit.1";

static void put_number(uint8_t out[8], uint64_t value)
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(value >> (56 - 8 * i));
}

void chain_extend(struct chain_head *head, uint64_t epoch, struct slice event)
{
    uint8_t number[8];
    put_number(number, epoch);
    const struct slice pieces[] = {slice_of(tag, sizeof tag - 1), slice_of(head->hash, sizeof head->hash),
                                   slice_of(number, sizeof number), event};
    sha256_of(pieces, ARRAY_LEN(pieces), head->hash);
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
