/* Damage to a data directory at rest: each byte, each file, each length. Nothing acknowledged may go missing in
 * silence. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "tests/unit/log_fixture.h"

#define LAST 30

static uint64_t nonces[LAST + 1];

/* A small directory with everything in it: several segments, a vote, a snapshot, hints. */
static struct node sample(void)
{
    struct node node = {.disk = virtual_disk_new(), .segment_bytes = 1024};
    for (uint64_t i = 0; i <= LAST; i++)
        nonces[i] = 1000 + i;
    cr_assert(lapse_is_ok(node_format(&node, &nonces[1], 2)));
    cr_assert(lapse_is_ok(node_open(&node)));
    cr_assert(lapse_is_ok(node_vote(&node, 2, 3)));
    for (uint64_t i = 3; i <= LAST; i += 4)
        cr_assert(lapse_is_ok(node_append(&node, i, 2, &nonces[i], i + 4 > LAST ? (uint32_t)(LAST - i + 1) : 4)));
    cr_assert(lapse_is_ok(node_snapshot(&node, 12, 2, 1)));
    node_close(&node);
    return node;
}

static bool whole(const struct node *node)
{
    const struct log_state *state = &node->state;
    if (state->term != 2 || state->voted_for != 3 || !state->has_snapshot || state->snapshot.index != 12 ||
        store_time_ms(state->store) != 12 || strcmp(state->identity.cluster, FIXTURE_CLUSTER) != 0 ||
        state->identity.node_id != 7)
        return false;
    /* What the snapshot covers may be absent from the log's front: nothing is lost with it. */
    if (state->first_index > 13 || state->first_index + state->n_entries != LAST + 1)
        return false;
    for (uint64_t i = state->first_index; i <= LAST; i++) {
        if (!entry_is(&state->entries[i - state->first_index], i <= 2 ? 1 : 2, nonces[i]))
            return false;
    }
    return true;
}

/* Opens a damaged copy: whole, or refused with a message that names the file and the way out, and nothing changed. */
static bool judge(struct node *node, const char *file, const char *how, uint64_t at)
{
    struct disk *before = virtual_disk_clone(node->disk);
    lapse_result verified = log_verify(node->disk, NULL);
    cr_assert(virtual_disk_equal(before, node->disk), "verify changed the directory");
    bool opened = lapse_is_ok(node_open(node));
    cr_assert_eq(opened, lapse_is_ok(verified));
    if (opened) {
        bool intact = whole(node);
        cr_assert(intact, "%s %s at %" PRIu64 ": opened with less than was acknowledged", file, how, at);
    } else {
        cr_assert_eq(node->error.code, LAPSE_DATA_LOSS, "%s %s at %" PRIu64 ": %s", file, how, at, node->error.message);
        cr_assert(strlen(node->error.message) <= 300, "%zu bytes: %s", strlen(node->error.message),
                  node->error.message);
        cr_assert_not_null(strstr(node->error.message, "under a new id"), "%s", node->error.message);
        cr_assert(virtual_disk_equal(before, node->disk), "a refused open changed the directory");
    }
    virtual_disk_free(before);
    return opened;
}

static bool names(const struct node *node, const char *file)
{
    return strncmp(node->error.message, file, strlen(file)) == 0;
}

static bool is_repairable(const char *file)
{
    return strncmp(file, "vote-", 5) == 0 || strncmp(file, "mark", 4) == 0;
}

struct tally {
    uint64_t refused, opened;
};

/* One flipped bit in each byte: also refused under the file's own name. */
static void flip_file(const struct node *intact, const char *file, struct tally *tally)
{
    uint64_t size = virtual_disk_size(intact->disk, file);
    for (uint64_t at = 0; at < size; at++) {
        struct node node = {.disk = virtual_disk_clone(intact->disk), .segment_bytes = 1024};
        cr_assert(virtual_disk_flip(node.disk, file, at, (uint8_t)(1u << (at % 8))));
        bool opened = judge(&node, file, "flipped", at);
        cr_assert(opened || names(&node, file), "%s flipped at %" PRIu64 ": %s", file, at, node.error.message);
        cr_assert(opened || !is_repairable(file), "%s", node.error.message);
        tally->opened += opened;
        tally->refused += !opened;
        node_free(&node);
    }
}

Test(log_damage, any_flipped_byte_is_refused_or_harmless, .timeout = 0)
{
    struct node node = sample();
    struct tally tally = {0};
    size_t segments = 0;
    const char *file;
    for (size_t i = 0; (file = virtual_disk_name(node.disk, i)) != NULL; i++) {
        struct tally one = {0};
        flip_file(&node, file, &one);
        /* Not one byte of a snapshot or of the identity is free to change. */
        if (strstr(file, ".snapshot") != NULL || strcmp(file, "identity") == 0)
            cr_assert_eq(one.opened, 0, "%s", file);
        segments += strstr(file, ".segment") != NULL;
        tally.refused += one.refused;
        tally.opened += one.opened;
    }
    cr_assert(segments >= 3);
    cr_assert(tally.refused > 3000 && tally.opened > 0);
    node_free(&node);
}

/* The end of the last record in a segment file. */
static uint64_t used_bytes(struct disk *disk, const char *file)
{
    struct segment_scan scan;
    uint8_t *bytes;
    size_t len;
    cr_assert(lapse_is_ok(segment_load(disk, file, &bytes, &len, NULL)));
    segment_scan(slice_of(bytes, len), UINT64_MAX, NULL, NULL, &scan);
    free(bytes);
    return scan.end;
}

Test(log_damage, any_flipped_byte_of_any_record_is_refused, .timeout = 0)
{
    struct node intact = sample();
    const char *file;
    for (size_t i = 0; (file = virtual_disk_name(intact.disk, i)) != NULL; i++) {
        uint64_t used = strstr(file, ".segment") == NULL ? 0 : used_bytes(intact.disk, file);
        for (uint64_t at = 0; at < used; at++) {
            struct node node = {.disk = virtual_disk_clone(intact.disk), .segment_bytes = 1024};
            cr_assert(virtual_disk_flip(node.disk, file, at, 0x40));
            bool opened = judge(&node, file, "flipped", at);
            cr_assert_not(opened, "%s at %" PRIu64, file, at);
            node_free(&node);
        }
    }
    node_free(&intact);
}

Test(log_damage, any_missing_file_is_refused)
{
    struct node intact = sample();
    const char *file;
    for (size_t i = 0; (file = virtual_disk_name(intact.disk, i)) != NULL; i++) {
        struct node node = {.disk = virtual_disk_clone(intact.disk), .segment_bytes = 1024};
        bool snapshot = strstr(file, ".snapshot") != NULL;
        cr_assert(virtual_disk_remove(node.disk, file));
        if (snapshot) {
            /* The log reaches back to entry 1 here: nothing is lost with the snapshot. */
            cr_assert(lapse_is_ok(node_open(&node)), "%s", node.error.message);
            cr_assert_eq(node.state.n_entries, LAST);
        } else {
            uint64_t first = UINT64_MAX;
            bool covered = segment_name_parse(file, &first) && first == 1;
            bool opened = judge(&node, file, "removed", 0);
            cr_assert(opened == covered, "%s removed", file);
        }
        node_free(&node);
    }
    node_free(&intact);
}

Test(log_damage, a_lost_snapshot_is_refused_when_the_log_begins_behind_it)
{
    struct node node = sample();
    char name[LOG_NAME_SIZE];
    cr_assert(lapse_is_ok(node_open(&node)));
    cr_assert(lapse_is_ok(node_snapshot(&node, 20, 2, 20)));
    node_close(&node);
    snapshot_name(20, 2, name);
    cr_assert(virtual_disk_remove(node.disk, name));
    cr_assert_eq(node_open(&node).code, LAPSE_DATA_LOSS);
    cr_assert_not_null(strstr(node.error.message, "are missing"), "%s", node.error.message);
    node_free(&node);
}

Test(log_damage, any_shortened_file_is_refused_or_harmless, .timeout = 0)
{
    struct node intact = sample();
    const char *file;
    for (size_t i = 0; (file = virtual_disk_name(intact.disk, i)) != NULL; i++) {
        uint64_t size = virtual_disk_size(intact.disk, file);
        for (uint64_t to = 0; to < size; to += 1 + to / 64) {
            struct node node = {.disk = virtual_disk_clone(intact.disk), .segment_bytes = 1024};
            cr_assert(virtual_disk_shorten(node.disk, file, to));
            (void)judge(&node, file, "shortened", to);
            node_free(&node);
        }
    }
    node_free(&intact);
}

Test(log_damage, zeroed_sectors_of_records_are_refused, .timeout = 0)
{
    struct node intact = sample();
    const char *file;
    for (size_t i = 0; (file = virtual_disk_name(intact.disk, i)) != NULL; i++) {
        uint64_t used = strstr(file, ".segment") == NULL ? 0 : used_bytes(intact.disk, file);
        for (uint64_t at = 0; at < used; at += 64) {
            struct node node = {.disk = virtual_disk_clone(intact.disk), .segment_bytes = 1024};
            uint8_t *bytes;
            size_t len;
            cr_assert(lapse_is_ok(segment_load(node.disk, file, &bytes, &len, NULL)));
            memset(bytes + at, 0, used - at < 64 ? (size_t)(used - at) : 64);
            virtual_disk_put(node.disk, file, slice_of(bytes, len));
            free(bytes);
            bool opened = judge(&node, file, "zeroed", at);
            cr_assert_not(opened, "%s at %" PRIu64, file, at);
            node_free(&node);
        }
    }
    node_free(&intact);
}

Test(log_damage, a_vote_survives_damage_to_one_copy_and_not_to_both)
{
    for (int copy = 0; copy < 2; copy++) {
        struct node node = sample();
        cr_assert(virtual_disk_flip(node.disk, copy == 0 ? "vote-0" : "vote-1", 20, 1));
        cr_assert(lapse_is_ok(node_open(&node)), "%s", node.error.message);
        cr_assert(node.state.term == 2 && node.state.voted_for == 3);
        node_close(&node);
        /* The open repaired it: now the other copy may go. */
        cr_assert(virtual_disk_flip(node.disk, copy == 0 ? "vote-1" : "vote-0", 20, 1));
        cr_assert(lapse_is_ok(node_open(&node)), "%s", node.error.message);
        cr_assert(node.state.term == 2 && node.state.voted_for == 3);
        node_close(&node);
        cr_assert(virtual_disk_flip(node.disk, "vote-0", 20, 1) && virtual_disk_flip(node.disk, "vote-1", 20, 1));
        cr_assert_eq(node_open(&node).code, LAPSE_DATA_LOSS);
        cr_assert(names(&node, "vote-"), "%s", node.error.message);
        node_free(&node);
    }
}

static void put_copy(struct disk *from, struct disk *to, const char *name)
{
    uint8_t *bytes;
    size_t len;
    cr_assert(lapse_is_ok(segment_load(from, name, &bytes, &len, NULL)));
    virtual_disk_put(to, name, slice_of(bytes, len));
    free(bytes);
}

Test(log_damage, a_vote_copy_from_the_past_is_refused)
{
    struct node node = sample();
    struct disk *old = virtual_disk_clone(node.disk);
    cr_assert(lapse_is_ok(node_open(&node)));
    for (uint64_t term = 3; term < 6; term++)
        cr_assert(lapse_is_ok(node_vote(&node, term, 1)));
    node_close(&node);
    put_copy(old, node.disk, "vote-0");
    cr_assert_eq(node_open(&node).code, LAPSE_DATA_LOSS, "copy 0 from the past");
    virtual_disk_free(old);
    node_free(&node);
}

/* Adds one entry to a directory of its own segment and puts that segment back to what it was before, as a disk that
 * lied would. Returns the segment's name; the node is open and has acknowledged the entry. */
static void lose_last_entry(struct node *node, bool restart, char name[LOG_NAME_SIZE])
{
    uint64_t more[1] = {77}, index = LAST + 1;
    cr_assert(lapse_is_ok(node_open(node)));
    size_t segments = node->log->n_segments;
    while (node->log->n_segments == segments)
        cr_assert(lapse_is_ok(node_append(node, index++, 2, more, 1)));
    struct disk *old = virtual_disk_clone(node->disk);
    cr_assert(lapse_is_ok(node_append(node, index, 2, more, 1)));
    memcpy(name, node->log->tail.name, LOG_NAME_SIZE);
    node_close(node);
    if (restart) {
        cr_assert(lapse_is_ok(node_open(node)));
        node_close(node);
    }
    put_copy(old, node->disk, name);
    virtual_disk_free(old);
}

Test(log_damage, less_log_than_was_acknowledged_is_refused)
{
    struct node node = sample();
    char name[LOG_NAME_SIZE];
    lose_last_entry(&node, false, name);
    cr_assert_eq(node_open(&node).code, LAPSE_DATA_LOSS);
    cr_assert_not_null(strstr(node.error.message, "less log than was acknowledged"), "%s", node.error.message);
    cr_assert(names(&node, name), "%s", node.error.message);
    node_free(&node);
}

/* Without any hint, too: the mark that the next start writes knows what the log held. */
Test(log_damage, less_log_than_the_durable_mark_knows_is_refused_without_hints)
{
    struct node node = sample();
    char name[LOG_NAME_SIZE];
    lose_last_entry(&node, true, name);
    virtual_disk_put(node.disk, "mark", slice_of(NULL, 0));
    cr_assert_eq(node_open(&node).code, LAPSE_DATA_LOSS);
    node_free(&node);
}

/* Damage inside a run of entries that were synced, with no mark or hint to tell: the later records are the witnesses.
 */
Test(log_damage, a_later_record_is_witness_against_a_bad_one)
{
    struct node node = sample();
    uint8_t *bytes;
    size_t len;
    char name[LOG_NAME_SIZE];
    uint64_t more[3] = {5, 6, 7};
    cr_assert(lapse_is_ok(node_open(&node)));
    for (uint64_t i = 0; i < 3; i++)
        cr_assert(lapse_is_ok(node_append(&node, LAST + 1 + i, 2, &more[i], 1)));
    segment_name(node.log->segments[node.log->n_segments - 1], name);
    struct segment_scan all;
    node_close(&node);
    cr_assert(lapse_is_ok(segment_load(node.disk, name, &bytes, &len, NULL)));
    segment_scan(slice_of(bytes, len), LAST + 1, NULL, NULL, &all);
    bytes[all.end + 20] ^= 1;
    segment_scan(slice_of(bytes, len), UINT64_MAX, NULL, NULL, &all);
    cr_assert_eq(all.at.index, LAST);
    cr_assert(all.witness > all.end);
    free(bytes);
    node_free(&node);
}

static size_t payload_size(uint64_t nonce)
{
    struct blob *payload = payload_of(nonce);
    size_t size = payload == NULL ? 0 : payload->len;
    blob_unref(payload);
    return size;
}

/* A disk that forgets the zeroing of a replaced suffix: the old record of the right index stands right behind the new
 * ones, whole and with a later term than theirs. Only the chain of checksums tells that it does not belong there. */
Test(log_damage, a_replaced_record_never_comes_back_behind_its_successor)
{
    struct node node = {.disk = virtual_disk_new(), .segment_bytes = 1 << 14};
    uint64_t old[3] = {11, 12, 13}, new_one[1] = {1000};
    char name[LOG_NAME_SIZE];
    uint8_t *before, *after;
    size_t len;
    while (payload_size(new_one[0]) != payload_size(old[1]))
        new_one[0]++;
    cr_assert(lapse_is_ok(node_format(&node, NULL, 0)));
    cr_assert(lapse_is_ok(node_open(&node)));
    cr_assert(lapse_is_ok(node_vote(&node, 5, 1)));
    for (uint64_t i = 0; i < 3; i++)
        cr_assert(lapse_is_ok(node_append(&node, 1 + i, i == 0 ? 1 : 3, &old[i], 1)));
    memcpy(name, node.log->tail.name, sizeof name);
    cr_assert(lapse_is_ok(segment_load(node.disk, name, &before, &len, NULL)));
    /* A later leader of term 5 brings an entry of term 2, as Raft allows. */
    cr_assert(lapse_is_ok(node_append(&node, 2, 2, new_one, 1)));
    uint64_t end = node.log->tail.offset;
    node_close(&node);
    cr_assert(lapse_is_ok(segment_load(node.disk, name, &after, &len, NULL)));
    memcpy(after + end, before + end, len - end);
    struct frame frame;
    cr_assert(frame_parse(slice_of(after + end, len - end), FRAME_ENTRY, &frame),
              "the old record must stand there whole");
    virtual_disk_put(node.disk, name, slice_of(after, len));
    cr_assert(lapse_is_ok(node_open(&node)), "%s", node.error.message);
    cr_assert_eq(node.state.n_entries, 2);
    cr_assert(entry_is(&node.state.entries[1], 2, new_one[0]));
    free(before);
    free(after);
    node_free(&node);
}
