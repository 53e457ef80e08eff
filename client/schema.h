/* The messages of lapse.v1 as tables over the structs of lapse.h; see codec.h. */
#ifndef LAPSE_CLIENT_SCHEMA_H
#define LAPSE_CLIENT_SCHEMA_H

#include "client/codec.h"
#include "client/lapse_governance.h"

/* Of lapse.v1.WaitLevel, for the tables. */
const char *schema_wait_name(int value);

extern const struct codec_message schema_grant;
extern const struct codec_message schema_event;
extern const struct codec_message schema_role_binding;

extern const struct codec_message schema_point;
extern const struct codec_message schema_barrier;
extern const struct codec_message schema_receipt;
extern const struct codec_message schema_session;
extern const struct codec_message schema_sweep;

/* schema_governance.c */
extern const struct codec_message schema_policy;
extern const struct codec_message schema_lock;
extern const struct codec_message schema_eligibility;
extern const struct codec_message schema_campaign;
extern const struct codec_message schema_review;
extern const struct codec_message schema_apply_policy_args;
extern const struct codec_message schema_lock_args;
extern const struct codec_message schema_offboard_args;
extern const struct codec_message schema_put_eligibility_args;
extern const struct codec_message schema_certify_args;
extern const struct codec_message schema_start_campaign_args;
extern const struct codec_message schema_close_review_args;
extern const struct codec_message schema_remove_args;
extern const struct codec_message schema_set_token_args;
extern const struct codec_message schema_change;
extern const struct codec_message schema_list_objects_args;
extern const struct codec_message schema_policy_list;
extern const struct codec_message schema_lock_list;
extern const struct codec_message schema_eligibility_list;
extern const struct codec_message schema_campaign_list;
extern const struct codec_message schema_review_list;

extern const struct codec_message schema_request_args;
extern const struct codec_message schema_decision_args;
extern const struct codec_message schema_end_args;
extern const struct codec_message schema_use_args;
extern const struct codec_message schema_mutation;
extern const struct codec_message schema_revoke_matching_args;
extern const struct codec_message schema_matching_revocation;
extern const struct codec_message schema_follow_args;
extern const struct codec_message schema_revoke_progress;
extern const struct codec_message schema_list_points_args;
extern const struct codec_message schema_point_list;
extern const struct codec_message schema_get_barrier_args;
extern const struct codec_message schema_barrier_view;
extern const struct codec_message schema_get_args;
extern const struct codec_message schema_grant_view;
extern const struct codec_message schema_list_args;
extern const struct codec_message schema_grant_list;
extern const struct codec_message schema_check_args;
extern const struct codec_message schema_decision;
extern const struct codec_message schema_cluster_status_args;
extern const struct codec_message schema_cluster_status;
extern const struct codec_message schema_set_roles_args;
extern const struct codec_message schema_roles_change;
extern const struct codec_message schema_list_roles_args;
extern const struct codec_message schema_role_list;
extern const struct codec_message schema_transfer_args;
extern const struct codec_message schema_transfer;
extern const struct codec_message schema_add_node_args;
extern const struct codec_message schema_remove_node_args;
extern const struct codec_message schema_node_change;

/* lapse.v1.WatchRequest is `struct lapse_watch_options`. */
extern const struct codec_message schema_watch_options;

struct watch_mark {
    uint64_t revision;
    int64_t time_ms;
};

struct watch_resync {
    const char *reason;
};

/* lapse.v1.WatchResponse: one of the members is there, as its flag says; none for a kind that a newer cluster added. */
struct watch_message {
    uint64_t epoch;
    bool has_event, has_progress, has_resync, has_snapshot_grant, has_snapshot_end, has_created;
    struct lapse_event event;
    struct watch_mark progress;
    struct watch_resync resync;
    struct lapse_grant snapshot_grant;
    struct watch_mark snapshot_end;
    struct watch_mark created;
};
extern const struct codec_message schema_watch_message;

struct guard_registered {
    uint64_t revision;
    int64_t time_ms;
    uint32_t lease_ms;
    uint64_t node_id;
};

struct guard_pong {
    uint64_t sequence;
    uint32_t ttl_ms;
    int64_t time_us;
};

struct guard_use_result {
    const char *request_id;
    uint32_t code;
    const char *message;
};

enum guard_end { GUARD_END_LAPSED = 1, GUARD_END_FENCED = 2, GUARD_END_UNKNOWN = 3 };

struct guard_ended {
    enum guard_end cause;
    const char *reason;
};

/* lapse.v1.SubscribeResponse, likewise. */
struct guard_message {
    uint64_t epoch;
    bool has_event, has_progress, has_resync, has_snapshot_grant, has_snapshot_end;
    bool has_registered, has_pong, has_use_result, has_ended, has_snapshot_lock;
    struct lapse_event event;
    struct watch_mark progress;
    struct watch_resync resync;
    struct lapse_grant snapshot_grant;
    struct watch_mark snapshot_end;
    struct guard_registered registered;
    struct guard_pong pong;
    struct guard_use_result use_result;
    struct guard_ended ended;
    struct lapse_lock snapshot_lock;
    struct lapse_bytes head; /* a SignedHead as it came; empty: the message is none */
};
extern const struct codec_message schema_guard_message;

/* What a guard has to know of a lapse.v1.SignedHead. */
struct guard_head_numbers {
    uint64_t epoch, revision;
};
extern const struct codec_message schema_guard_head;

#endif
