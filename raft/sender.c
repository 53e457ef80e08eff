#include "raft/sender.h"

#include "base/check.h"

#define PIECE_BYTES (1024u * 1024)
#define PIECE_ENTRIES 4096u
#define WINDOW_BYTES (8u * 1024 * 1024)
#define RESEND_US 200000

void sender_reset(struct sender *sender, uint64_t term)
{
    *sender = (struct sender){.term = term};
}

static struct sender_peer *find(struct sender *sender, uint64_t id)
{
    for (uint32_t i = 0; i < sender->n; i++) {
        if (sender->peers[i].id == id)
            return &sender->peers[i];
    }
    return NULL;
}

static struct sender_peer *find_or_add(struct sender *sender, uint64_t id)
{
    struct sender_peer *peer = find(sender, id);
    if (peer != NULL)
        return peer;
    /* More followers in one term than a cluster has members: some were removed. Nothing is lost by forgetting. */
    if (sender->n == LIMIT_PEERS)
        sender_reset(sender, sender->term);
    peer = &sender->peers[sender->n++];
    *peer = (struct sender_peer){.id = id};
    return peer;
}

static uint64_t min64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void sender_hint(struct sender *sender, uint64_t to, uint64_t index, uint64_t index_term, uint64_t upto, uint64_t match,
                 int64_t now_us)
{
    struct sender_peer *peer = find_or_add(sender, to);
    peer->heartbeat = true;
    peer->anchor = index;
    peer->anchor_term = index_term;
    if (upto == index)
        return;
    if (match > peer->match) {
        peer->match = match;
        peer->progress_us = now_us;
    }
    bool stalled = index + 1 < peer->next && now_us - peer->progress_us >= RESEND_US;
    if (peer->next == 0 || stalled) {
        peer->next = index + 1;
        peer->progress_us = now_us;
    }
    peer->want = upto;
}

void sender_rejected(struct sender *sender, uint64_t from, uint64_t rejected, uint64_t match)
{
    struct sender_peer *peer = find(sender, from);
    if (peer != NULL && rejected > match)
        peer->next = 0;
}

static uint32_t piece_length(const struct tail *tail, uint64_t from, uint64_t to)
{
    uint32_t n = 0;
    while (from + n <= to && n < PIECE_ENTRIES && (n == 0 || tail_bytes(tail, from, from + n) <= PIECE_BYTES))
        n++;
    return n;
}

static void fill(struct sender_peer *peer, struct sender_piece *piece, uint64_t index, uint64_t index_term, uint32_t n,
                 uint64_t commit)
{
    *piece = (struct sender_piece){index, index_term, n};
    peer->heartbeat = false;
    uint64_t told = min64(commit, index + n);
    if (told > peer->told)
        peer->told = told;
}

static bool next_entries(struct sender_peer *peer, const struct tail *tail, uint64_t commit, struct sender_piece *piece)
{
    uint64_t last = min64(peer->want, tail_last(tail)), index = peer->next - 1;
    if (peer->next > last || tail_bytes(tail, peer->match + 1, index) >= WINDOW_BYTES)
        return false;
    uint64_t term = tail_term(tail, index);
    if ((term == 0 && index > 0) || tail_at(tail, peer->next) == NULL) {
        peer->next = 0; /* trimmed behind a snapshot: libraft will send that */
        return false;
    }
    uint32_t n = piece_length(tail, peer->next, last);
    peer->next += n;
    fill(peer, piece, index, term, n, commit);
    return true;
}

bool sender_next(struct sender *sender, const struct tail *tail, uint64_t to, uint64_t match, uint64_t commit,
                 int64_t now_us, struct sender_piece *piece)
{
    struct sender_peer *peer = find(sender, to);
    if (peer == NULL)
        return false;
    if (match > peer->match) {
        peer->match = match;
        peer->progress_us = now_us;
    }
    if (peer->next != 0 && peer->next <= peer->match)
        peer->next = peer->match + 1;
    if (peer->next != 0 && next_entries(peer, tail, commit, piece))
        return true;
    if (!peer->heartbeat)
        return false;
    /* Never ahead of what was sent: a heartbeat behind entries that are still held back would be refused. */
    bool ahead = peer->next != 0 && peer->anchor >= peer->next;
    uint64_t term = ahead ? tail_term(tail, peer->next - 1) : 0;
    if (term != 0)
        fill(peer, piece, peer->next - 1, term, 0, commit);
    else
        fill(peer, piece, peer->anchor, peer->anchor_term, 0, commit);
    return true;
}

bool sender_announce(struct sender *sender, const struct tail *tail, uint64_t to, uint64_t match, uint64_t commit,
                     struct sender_piece *piece)
{
    struct sender_peer *peer = find(sender, to);
    uint64_t term = match == 0 ? 0 : tail_term(tail, match);
    if (peer == NULL || term == 0 || min64(commit, match) <= peer->told)
        return false;
    bool owed = peer->heartbeat;
    fill(peer, piece, match, term, 0, commit);
    peer->heartbeat = owed;
    return true;
}
