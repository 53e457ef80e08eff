"""What is compared: the rows of the report, where each figure stands in lapse-bench's JSON, and what is aimed at."""

import dataclasses

# Shown, but no peer to be measured against: acknowledged before any other node has it.
NOT_COMPARED = {("redis", "nowait")}


@dataclasses.dataclass(frozen=True)
class Aim:
    """`against`: a system's name, "best" (of all peers), "floor", or None for a bare limit in the row's unit."""
    factor: float
    against: str | None = None

    def text(self, row):
        sign = "≥" if row.more_is_better else "≤"
        return f"{sign} {self.factor:g}" + (f" × {self.against}" if self.against else "")

    def is_met(self, found, row):
        return found >= self.factor if row.more_is_better else found <= self.factor


@dataclasses.dataclass(frozen=True)
class Row:
    title: str
    run: str  # which of the session's runs
    name: str  # of the set of samples, or of the value
    stat: str | None = None  # "p50", ...; None: a value
    unit: str = "ms"
    more_is_better: bool = False
    floor: object = None  # report of `floor` -> number or None
    aims: tuple = ()

    def read(self, report):
        if self.stat is None:
            return report.get("values", {}).get(self.name, {}).get("value")
        samples = report.get("samples", {}).get(self.name)
        return samples.get(self.stat) if samples and samples.get("n") else None


def floor_of(*names, stat="p50"):
    """The sum of some of the floor's sets."""
    def read(report):
        sets = [report.get("samples", {}).get(name) for name in names]
        return sum(s[stat] for s in sets) if all(s and s.get("n") for s in sets) else None
    return read


def fan_out(n, stat="p50"):
    return floor_of(f"fanout_tls_{n}", stat=stat)


REVOCATION = (
    Row("revoked → last of 3 watchers, p50", "revocation-3", "last", "p50", floor=floor_of("quorum_sync", "round_trip"),
        aims=(Aim(1, "redis"), Aim(3, "floor"))),
    Row("… p99", "revocation-3", "last", "p99", aims=(Aim(0.5, "etcd"),)),
    Row("… acknowledged, p50", "revocation-3", "ack", "p50", floor=floor_of("quorum_sync", "round_trip")),
    Row("revoked → last of 300, a connection each, p50", "revocation-300", "last", "p50", floor=fan_out(300),
        aims=(Aim(0.6, "etcd"), Aim(1.3, "floor"))),
    Row("… p99", "revocation-300", "last", "p99"),
    Row("revoked → last of 3,000, a connection each, p50", "revocation-3000", "last", "p50", floor=fan_out(3000),
        aims=(Aim(0.6, "etcd"), Aim(1.3, "floor"))),
    Row("… p99", "revocation-3000", "last", "p99"),
    Row("another write acknowledged while 3,000 are told, p50", "fanout", "other_ack", "p50", aims=(Aim(3),)),
    Row("… p99", "fanout", "other_ack", "p99"),
    Row("10,000 watchers: memory of the nodes for each", "fanout-10000", "connection_bytes", unit="bytes",
        aims=(Aim(40 * 1024),)),
)

DEADLINES = (
    Row("one deadline at a time → event, late by, p50", "expiry", "single_lateness", "p50"),
    Row("… p99", "expiry", "single_lateness", "p99", aims=(Aim(10),)),
    Row("10,000 deadlines in one second → event, late by, p50", "expiry", "burst_lateness", "p50"),
    Row("… p99", "expiry", "burst_lateness", "p99", aims=(Aim(50),)),
    Row("one deadline beside 100,000 others, late by, p50", "expiry-beside", "single_lateness", "p50"),
    Row("… p99", "expiry-beside", "single_lateness", "p99", aims=(Aim(10),)),
    Row("1,000,000 deadlines in one second: other writes meanwhile, p99", "expiry-cliff", "writes_during", "p99",
        aims=(Aim(50),)),
    Row("… elections", "expiry-cliff", "elections", unit="", aims=(Aim(0),)),
)

FAILURE = (
    Row("kill -9 of the leader → next acknowledged write, median", "failover-kill", "gap", "p50", aims=(Aim(200),)),
    Row("… longest", "failover-kill", "gap", "max", aims=(Aim(400),)),
    Row("SIGSTOP of the leader → next acknowledged write, median", "failover-freeze", "gap", "p50"),
    Row("… longest", "failover-freeze", "gap", "max"),
    Row("the leader cut off → next acknowledged write, median", "failover-partition", "gap", "p50"),
    Row("kill -9 of a follower → next acknowledged write, median", "failover-follower", "gap", "p50"),
    Row("the leader killed before a deadline: outlived by, longest", "overrun", "outlived", "max"),
    Row("… permitted after the deadline", "overrun", "permits_after_deadline", unit="", aims=(Aim(0),)),
)

LOAD = (
    Row("acknowledged writes a second, 64 in flight", "throughput", "acknowledged_per_s", unit="1/s",
        more_is_better=True, aims=(Aim(5, "etcd"), Aim(1, "best"))),
    Row("… made: acknowledged, p99", "throughput", "make", "p99"),
    Row("… ended: acknowledged, p99", "throughput", "end", "p99"),
    Row("memory of a member at 1,000,000 items of 200 bytes", "memory", "resident", unit="MB"),
    Row("… for each item", "memory", "per_item", unit="bytes"),
    Row("… as it counts itself", "memory", "accounted_per_item", unit="bytes", aims=(Aim(300),)),
    Row("a killed member with 1,000,000 items: start to serving", "restart", "ready", "p50", aims=(Aim(3000),)),
    Row("… to having caught up", "restart", "caught_up", "p50"),
)

POINTS = (
    Row("a check by the guard", "check", "calm_check_p50", unit="ns", aims=(Aim(200),)),
    Row("HTTP checks a second through the agent", "agent", "direct_per_s", unit="1/s", more_is_better=True,
        aims=(Aim(20000),)),
    Row("… through nginx and the agent", "agent", "proxy_per_s", unit="1/s", more_is_better=True),
)

GROUPS = (
    ("Revocation", REVOCATION),
    ("Deadlines", DEADLINES),
    ("Failure", FAILURE),
    ("Load, memory, restart", LOAD),
    ("Enforcement points", POINTS),
)
