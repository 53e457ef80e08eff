/* Frames: what every one of them says about its sender, and which entries go to whom.
 *
 * The envelope is filled when a frame is made, not when it leaves: held back by a barrier it only tells of an older
 * moment, which is what all its readers assume anyway. */
#include "raft/replica_internal.h"

#include "base/check.h"

#define WARN_EVERY_US (60ll * 1000 * 1000)

/* --- Envelopes --- */

static struct peer *peer_of(struct replica *replica, uint64_t id)
{
    struct peer *oldest = &replica->peers[0];
    for (uint32_t i = 0; i < replica->n_peers; i++) {
        if (replica->peers[i].id == id)
            return &replica->peers[i];
        if (replica->peers[i].heard_us < oldest->heard_us)
            oldest = &replica->peers[i];
    }
    struct peer *peer = replica->n_peers < PEERS_MAX ? &replica->peers[replica->n_peers++] : oldest;
    *peer = (struct peer){.id = id, .warned_us = INT64_MIN};
    return peer;
}

uint64_t replica_next_stamp(struct replica *replica)
{
    uint64_t now = (uint64_t)replica->now.boot_us;
    replica->stamp = now > replica->stamp ? now : replica->stamp + 1;
    int64_t ahead_us = (int64_t)(replica->stamp - now);
    if (ahead_us > replica->stamp_ahead_us)
        replica->stamp_ahead_us = ahead_us;
    return replica->stamp;
}

/* A leader's frame says what cluster time *is*. In the step in which it was elected its clock is still a follower's,
 * which says only what cluster time has reached: that must not go out under a leader's name. */
static int64_t time_to_tell_us(const struct replica *replica, bool leads)
{
    return leads && !replica->clock.leading ? 0 : cluster_clock_now(&replica->clock, replica->now.boot_us);
}

void replica_send(struct replica *replica, uint64_t to, struct message *message)
{
    const struct peer *peer = peer_of(replica, to);
    bool leads = consensus_state(replica->core) == REPLICA_LEADER;
    message->envelope = (struct message_envelope){
        .term = consensus_term(replica->core),
        .leading = leads,
        .life = replica->life,
        .stamp = replica_next_stamp(replica),
        .echo_life = peer->life,
        .echo_stamp = peer->stamp,
        .time_us = time_to_tell_us(replica, leads),
        .time_era = cluster_clock_era(&replica->clock),
        .wall_ms = replica->now.wall_ms,
        .upper_us = cluster_clock_upper(&replica->clock, replica->now.boot_us),
    };
    struct buf frame;
    buf_init(&frame, LIMIT_PEER_FRAME);
    lapse_result result = frame_encode(message, &frame);
    CHECK(lapse_is_ok(result));
    outbox_push(&replica->outbox, to, &frame);
}

static bool is_our_echo(const struct replica *replica, const struct message_envelope *envelope)
{
    return envelope->echo_life == replica->life && envelope->echo_stamp <= replica->stamp;
}

int64_t replica_echo_us(const struct replica *replica, const struct message_envelope *envelope)
{
    return is_our_echo(replica, envelope) ? (int64_t)envelope->echo_stamp : 0;
}

static void check_wall_clock(struct replica *replica, struct peer *peer, int64_t difference_us)
{
    int64_t size_ms = (difference_us < 0 ? -difference_us : difference_us) / 1000;
    bool recently = peer->warned_us != INT64_MIN && replica->now.boot_us - peer->warned_us < WARN_EVERY_US;
    if (size_ms <= replica->options.clock_skew_ms_max || recently)
        return;
    struct lapse_error error;
    peer->warned_us = replica->now.boot_us;
    (void)lapse_fail(&error, LAPSE_FAILED_PRECONDITION,
                     "the wall clock of node %llu is %s of ours by %lld ms (allowed: %u); set the clocks right (NTP): "
                     "running grants are safe, but a restart of the whole cluster relies on them",
                     (unsigned long long)peer->id, difference_us < 0 ? "behind" : "ahead", (long long)size_ms,
                     replica->options.clock_skew_ms_max);
    replica_warn(replica, &error);
}

void replica_hear(struct replica *replica, uint64_t from, const struct message_envelope *envelope)
{
    struct peer *peer = peer_of(replica, from);
    uint64_t term = consensus_term(replica->core);
    peer->heard_us = replica->now.boot_us;
    if (peer->life != envelope->life || peer->stamp < envelope->stamp) {
        peer->life = envelope->life;
        peer->stamp = envelope->stamp;
    }
    struct clock_sample sample = {.from = from,
                                  .from_leader = envelope->leading && envelope->term >= term,
                                  .era = envelope->time_era,
                                  .time_us = envelope->time_us,
                                  .wall_us = envelope->wall_ms * 1000,
                                  .echo_us = replica_echo_us(replica, envelope),
                                  .upper_us = envelope->upper_us};
    int64_t difference =
        cluster_clock_hear(&replica->clock, &sample, replica->now.boot_us, replica->now.wall_ms * 1000);
    check_wall_clock(replica, peer, difference);
    if (replica->state == REPLICA_LEADER && envelope->term == term && is_our_echo(replica, envelope))
        evidence_add(&replica->evidence, from, envelope->echo_stamp);
}

/* --- Entries for followers --- */

static void send_piece(struct replica *replica, uint64_t to, const struct sender_piece *piece)
{
    const struct tail *tail = consensus_tail(replica->core);
    struct buf entries;
    buf_init(&entries, LIMIT_PEER_FRAME);
    for (uint32_t i = 1; i <= piece->n; i++) {
        lapse_result result = message_append_add(&entries, tail_at(tail, piece->index + i));
        CHECK(lapse_is_ok(result));
    }
    struct message message = {.type = MESSAGE_APPEND,
                              .index = piece->index,
                              .index_term = piece->index_term,
                              .commit = consensus_commit(replica->core),
                              .entries = buf_slice(&entries)};
    replica_send(replica, to, &message);
    buf_free(&entries);
}

void replica_pump(struct replica *replica, uint64_t to)
{
    struct sender_piece piece;
    if (consensus_state(replica->core) != REPLICA_LEADER)
        return;
    while (sender_next(&replica->sender, consensus_tail(replica->core), to, consensus_match(replica->core, to),
                       consensus_commit(replica->core), replica->now.boot_us, &piece))
        send_piece(replica, to, &piece);
}

void replica_on_rejected(struct replica *replica, uint64_t from, const struct message *message)
{
    if (message->rejected > 0 && replica->state == REPLICA_LEADER && message->envelope.term == replica->term)
        sender_rejected(&replica->sender, from, message->rejected, consensus_match(replica->core, from));
}

void replica_announce_commit(struct replica *replica)
{
    struct sender_piece piece;
    if (replica->state != REPLICA_LEADER)
        return;
    for (uint32_t i = 0; i < replica->sender.n; i++) {
        uint64_t to = replica->sender.peers[i].id;
        if (sender_announce(&replica->sender, consensus_tail(replica->core), to, consensus_match(replica->core, to),
                            consensus_commit(replica->core), &piece))
            send_piece(replica, to, &piece);
    }
}

/* --- What consensus asks for --- */

static void on_vote(void *arg, uint64_t term, uint64_t voted_for)
{
    replica_persist_vote(arg, term, voted_for);
}

static void on_persist(void *arg, uint64_t index)
{
    replica_persist_entries(arg, index);
}

static void on_replicate(void *arg, uint64_t to, uint64_t index, uint64_t index_term, uint64_t upto)
{
    struct replica *replica = arg;
    uint64_t term = consensus_term(replica->core);
    if (replica->sender.term != term)
        sender_reset(&replica->sender, term);
    sender_hint(&replica->sender, to, index, index_term, upto, consensus_match(replica->core, to),
                replica->now.boot_us);
    replica_pump(replica, to);
}

static void on_snapshot(void *arg, uint64_t to)
{
    replica_sending_want(arg, to);
}

static void on_send(void *arg, uint64_t to, struct message *message)
{
    replica_send(arg, to, message);
}

static void on_members(void *arg)
{
    replica_members_changed(arg);
}

const struct consensus_effects replica_effects = {.vote = on_vote,
                                                  .persist = on_persist,
                                                  .replicate = on_replicate,
                                                  .snapshot = on_snapshot,
                                                  .send = on_send,
                                                  .members = on_members};
