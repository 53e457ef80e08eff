/* The peers that Lapse is put beside. Each is always there by name; `is_here` says whether it can be run. */
#ifndef LAPSE_BENCH_PEERS_KINDS_H
#define LAPSE_BENCH_PEERS_KINDS_H

#include "bench/harness/system.h"

extern const struct system_kind kind_etcd, kind_redis, kind_zookeeper, kind_nats;

#endif
