#include "tests/unit/convert_fixture.h"

#include <stdio.h>

#include "base/check.h"
#include "store/store.h"
#include "tests/unit/watch_event.h"

/* --- grants to try ------------------------------------------------------------------------------------------------ */

/* Reproducible: every run tries the same grants. */
static uint64_t seed = 1;

uint64_t any(uint64_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (seed >> 33) % below;
}

/* Text of up to `max` bytes from a pool that lives as long as the test: empty, one character, full, or between. */
static const char *pool(void)
{
    static char characters[4096];
    if (characters[0] == '\0')
        for (size_t i = 0; i < sizeof characters; i++)
            characters[i] = (char)('a' + i % 26);
    return characters + any(1024);
}

struct slice text(size_t max)
{
    size_t lengths[] = {0, 1, max, any(max + 1)};
    return slice_of(pool(), lengths[any(4)]);
}

struct slice some_text(size_t max)
{
    struct slice some = text(max);
    return some.len > 0 ? some : slice_str("x");
}

int64_t number(void)
{
    static const int64_t numbers[] = {0, 1, 127, 128, 1767225600000, INT64_MAX, -1};
    return numbers[any(ARRAY_LEN(numbers))];
}

struct grant_id id(void)
{
    struct grant_id made = {{0}};
    if (any(3) > 0)
        for (size_t i = 0; i < sizeof made.bytes; i++)
            made.bytes[i] = (uint8_t)any(256);
    return made;
}

static void some_lists(struct grant *grant)
{
    grant->n_actions = (uint32_t)any(LIMIT_ACTIONS + 1);
    for (uint32_t i = 0; i < grant->n_actions; i++)
        grant->actions[i] = some_text(LIMIT_ACTION);
    grant->n_approvals = (uint32_t)any(LIMIT_APPROVALS + 1);
    for (uint32_t i = 0; i < grant->n_approvals; i++)
        grant->approvals[i] = (struct grant_approval){text(LIMIT_PRINCIPAL), number(), text(LIMIT_REASON)};
    grant->n_labels = (uint32_t)any(LIMIT_LABELS + 1);
    for (uint32_t i = 0; i < grant->n_labels; i++)
        grant->labels[i] = (struct grant_label){text(LIMIT_LABEL_KEY), text(LIMIT_LABEL_VALUE)};
    if (any(2)) {
        grant->binding.spiffe_id = text(LIMIT_PRINCIPAL);
        grant->binding.certificate_sha256 = any(2) ? slice_str("0123456789abcdef0123456789abcdef") : slice_of(NULL, 0);
        grant->binding.n_networks = (uint32_t)any(LIMIT_NETWORKS + 1);
        for (uint32_t i = 0; i < grant->binding.n_networks; i++)
            grant->binding.networks[i] = some_text(LIMIT_NETWORK);
    }
}

struct grant some_grant(void)
{
    struct grant grant = {
        .id = id(),
        .parent = id(),
        .state = (enum grant_state)(GRANT_PENDING + any(10)),
        .subject = text(LIMIT_SUBJECT),
        .resource = text(LIMIT_RESOURCE),
        .justification = text(LIMIT_JUSTIFICATION),
        .ticket = text(LIMIT_TICKET),
        .task = text(LIMIT_TASK),
        .requester = text(LIMIT_PRINCIPAL),
        .policy = text(LIMIT_POLICY),
        .ended_by = text(LIMIT_PRINCIPAL),
        .reason = text(LIMIT_REASON),
        .policy_version = (uint64_t)number(),
        .break_glass = any(2),
        .duration_ms = number(),
        .not_before_ms = number(),
        .deadline_ms = number(),
        .pending_until_ms = number(),
        .max_uses = (uint32_t)number(),
        .uses = (uint32_t)number(),
        .requested_ms = number(),
        .approved_ms = number(),
        .activated_ms = number(),
        .ended_ms = number(),
        .requested_revision = (uint64_t)number(),
        .approved_revision = (uint64_t)number(),
        .activated_revision = (uint64_t)number(),
        .ended_revision = (uint64_t)number(),
        .revision = (uint64_t)number(),
    };
    some_lists(&grant);
    return grant;
}

/* Every field set and of full length. */
struct grant full_grant(void)
{
    struct grant grant = {0};
    do {
        grant = some_grant();
    } while (grant.n_actions < LIMIT_ACTIONS || grant.n_labels == 0 || grant.n_approvals == 0 ||
             grant.binding.n_networks == 0);
    grant.justification = slice_of(pool(), LIMIT_JUSTIFICATION);
    return grant;
}

/* --- comparing ---------------------------------------------------------------------------------------------------- */

struct buf by_codec, by_hand;

void convert_begin(void)
{
    buf_init(&by_codec, 1 << 20);
    buf_init(&by_hand, 1 << 20);
}

void convert_end(void)
{
    buf_free(&by_codec);
    buf_free(&by_hand);
}

void encode(const pb_msgdesc_t *type, const void *message)
{
    buf_clear(&by_codec);
    cr_assert(lapse_is_ok(proto_encode(type, message, &by_codec)));
}

void expect_same_bytes(lapse_result written)
{
    cr_assert(lapse_is_ok(written));
    cr_assert(slice_equal(buf_slice(&by_codec), buf_slice(&by_hand)), "%zu bytes by the codec, %zu by hand",
              by_codec.len, by_hand.len);
    buf_clear(&by_hand);
}

void fill(const struct grant *grant, lapse_v1_Grant *message)
{
    struct lapse_error error = {0};
    cr_assert(lapse_is_ok(proto_grant_fill(grant, message, &error)), "%s", error.message);
}

/* --- points and what is said about them ----------------------------------------------------------------------------
 */

struct random_id random_id(void)
{
    struct random_id made;
    for (size_t i = 0; i < sizeof made.bytes; i++)
        made.bytes[i] = (uint8_t)any(256);
    return made;
}

struct slice scope(void)
{
    static const char *const scopes[] = {"", "*", "db/prod/*", "db/prod/* vm/a web/x/*"};
    return slice_str(scopes[any(ARRAY_LEN(scopes))]);
}

static void fill_id(struct grant_id id, char text[GRANT_ID_TEXT_SIZE])
{
    if (!grant_id_is_zero(id))
        grant_id_format(id, text);
}

void fill_bytes(const struct random_id *id, void *bytes, pb_size_t *size)
{
    memcpy(bytes, id->bytes, sizeof id->bytes);
    *size = sizeof id->bytes;
}

void fill_text(struct slice value, char *out, size_t size)
{
    cr_assert(slice_to_cstr(value, out, size));
}

/* By strtok, so that it isn't the encoder's own walk. */
static pb_size_t fill_scope(struct slice text, char out[8][LIMIT_RESOURCE + 1])
{
    char copy[LIMIT_SCOPE + 1];
    pb_size_t n = 0;
    cr_assert(slice_to_cstr(text, copy, sizeof copy));
    for (char *pattern = strtok(copy, " "); pattern != NULL; pattern = strtok(NULL, " "))
        (void)snprintf(out[n++], LIMIT_RESOURCE + 1, "%s", pattern);
    return n;
}

struct point some_point(void)
{
    return (struct point){.instance = random_id(),
                          .id = some_text(LIMIT_POINT_ID),
                          .principal = some_text(LIMIT_PRINCIPAL),
                          .scope = scope(),
                          .lease_ms = (uint32_t)any(60000),
                          .fenced = any(2),
                          .revision = any(1000),
                          .registered_ms = number(),
                          .sessions = (uint32_t)any(3),
                          .ended = (enum point_end)any(4)};
}

void fill_point(const struct point *point, lapse_v1_Point *message)
{
    static const char *const ends[] = {"", "LAPSED", "LEFT", "FENCED"};
    FILL_TEXT(point->id, message->id);
    fill_bytes(&point->instance, message->instance.bytes, &message->instance.size);
    FILL_TEXT(point->principal, message->principal);
    message->scope_count = fill_scope(point->scope, message->scope);
    message->lease_ms = point->lease_ms;
    message->fenced = point->fenced;
    message->revision = point->revision;
    message->registered_ms = point->registered_ms;
    message->sessions = point->sessions;
    FILL_TEXT(slice_str(ends[point->ended]), message->ended);
}

struct barrier some_barrier(void)
{
    return (struct barrier){.id = any(1000),
                            .revision = any(1000),
                            .grant = id(),
                            .time_ms = number(),
                            .done_ms = number(),
                            .points = (uint32_t)any(9),
                            .enforced = (uint32_t)any(9),
                            .failed = (uint32_t)any(9),
                            .lapsed = (uint32_t)any(9),
                            .left = (uint32_t)any(9),
                            .done = any(2),
                            .untracked = any(2),
                            .grants = any(1000000)};
}

void fill_barrier(const struct barrier *barrier, lapse_v1_Barrier *message)
{
    fill_id(barrier->grant, message->grant_id);
    message->id = barrier->id;
    message->revision = barrier->revision;
    message->points = barrier->points;
    message->enforced = barrier->enforced;
    message->failed = barrier->failed;
    message->lapsed = barrier->lapsed;
    message->left = barrier->left;
    message->done = barrier->done;
    message->time_ms = barrier->time_ms;
    message->done_ms = barrier->done_ms;
    message->untracked = barrier->untracked;
    message->grants = barrier->grants;
}

struct session some_session(void)
{
    return (struct session){.id = random_id(),
                            .instance = random_id(),
                            .point = some_text(LIMIT_POINT_ID),
                            .grant = id(),
                            .description = text(LIMIT_SESSION_DESCRIPTION),
                            .began_ms = number()};
}

static void fill_session(const struct session *session, int64_t ended_ms, lapse_v1_Session *message)
{
    fill_bytes(&session->id, message->id.bytes, &message->id.size);
    FILL_TEXT(session->point, message->point);
    fill_id(session->grant, message->grant_id);
    FILL_TEXT(session->description, message->description);
    message->began_ms = session->began_ms;
    message->ended_ms = ended_ms;
}

struct sweep some_sweep(void)
{
    return (struct sweep){.id = any(1000),
                          .filter = {.subject = text(LIMIT_SUBJECT),
                                     .resource = text(LIMIT_RESOURCE),
                                     .requester = text(LIMIT_PRINCIPAL),
                                     .approver = text(LIMIT_PRINCIPAL),
                                     .ticket = text(LIMIT_TICKET),
                                     .policy = text(LIMIT_POLICY),
                                     .parent = id()},
                          .by = some_text(LIMIT_PRINCIPAL),
                          .reason = text(LIMIT_REASON),
                          .grants = any(1000000)};
}

static void fill_sweep(const struct sweep *sweep, lapse_v1_Sweep *message)
{
    FILL_TEXT(sweep->filter.subject, message->subject);
    FILL_TEXT(sweep->filter.resource, message->resource);
    FILL_TEXT(sweep->filter.requester, message->requester);
    FILL_TEXT(sweep->filter.approver, message->approver);
    FILL_TEXT(sweep->filter.ticket, message->ticket);
    FILL_TEXT(sweep->filter.policy, message->policy);
    fill_id(sweep->filter.parent, message->parent);
    FILL_TEXT(sweep->reason, message->reason);
    FILL_TEXT(sweep->by, message->by);
    message->grants = sweep->grants;
    message->id = sweep->id;
}

/* What stands in an event beside its grant or roles. */
static void fill_others(const struct event_words *event, lapse_v1_Event *message)
{
    message->has_point = event->point != NULL;
    if (event->point != NULL)
        fill_point(event->point, &message->point);
    message->has_barrier = event->barrier != NULL;
    if (event->barrier != NULL)
        fill_barrier(event->barrier, &message->barrier);
    message->has_session = event->session != NULL;
    if (event->session != NULL)
        fill_session(event->session, event->session_ended ? event->time_ms : 0, &message->session);
    message->has_sweep = event->sweep != NULL;
    if (event->sweep != NULL)
        fill_sweep(event->sweep, &message->sweep);
}

void fill_event(const struct event_words *event, lapse_v1_Event *message)
{
    *message = (lapse_v1_Event){.revision = event->revision,
                                .time_ms = event->time_ms,
                                .type = (lapse_v1_EventType)event->type,
                                .has_grant = event->grant != NULL,
                                .has_roles = event->member.len > 0};
    if (event->grant != NULL)
        fill(event->grant, &message->grant);
    if (event->member.len > 0) {
        cr_assert(slice_to_cstr(event->member, message->roles.member, sizeof message->roles.member));
        for (uint32_t role = 1; role <= ROLE_ALL; role <<= 1)
            if (event->roles & role)
                (void)snprintf(message->roles.roles[message->roles.roles_count++], 12, "%s", role_name(role));
        message->roles.scope_count = fill_scope(event->scope, message->roles.scope);
    }
    fill_others(event, message);
}
