/* The few messages of etcd's v3 API that items need, as etcdserverpb documents them (api_reference_v3: rpc.proto,
 * kv.proto). Requests are appended to a buffer; answers are read field by field, and fields that nobody here asks for
 * are skipped. Pure. */
#ifndef LAPSE_BENCH_PEERS_ETCD_MESSAGES_H
#define LAPSE_BENCH_PEERS_ETCD_MESSAGES_H

#include "base/bytes.h"

#define ETCD_PUT "/etcdserverpb.KV/Put"
#define ETCD_DELETE_RANGE "/etcdserverpb.KV/DeleteRange"
#define ETCD_LEASE_GRANT "/etcdserverpb.Lease/LeaseGrant"
#define ETCD_WATCH "/etcdserverpb.Watch/Watch"
#define ETCD_STATUS "/etcdserverpb.Maintenance/Status"

/* `lease` 0: none. */
void etcd_put_request(struct buf *out, struct slice key, struct slice value, uint64_t lease);
void etcd_delete_request(struct buf *out, struct slice key);
void etcd_lease_request(struct buf *out, uint64_t ttl_s);
/* Of the deletions (expired leases delete, too) of all keys in [from, to). */
void etcd_watch_request(struct buf *out, struct slice from, struct slice to);

struct etcd_status {
    uint64_t member, revision, term; /* who answers, and where it is */
    uint64_t leader;                 /* 0: it knows none */
    struct slice version;
};

/* All false for what is no such message. */
bool etcd_lease_answer(struct slice message, uint64_t *lease);
bool etcd_status_answer(struct slice message, struct etcd_status *status);

struct etcd_watch_handler {
    void (*on_created)(void *arg);
    void (*on_deleted)(void *arg, struct slice key);
    void (*on_canceled)(void *arg, struct slice reason);
};
bool etcd_watch_answer(struct slice message, const struct etcd_watch_handler *handler, void *arg);

#endif
