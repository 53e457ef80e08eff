#!/usr/bin/env python3
"""How long a revocation takes to reach a thousand to a million enforcement points: a model fed with measured figures.

    commit --> hop --> [hop -->] leaf node: one delivery after the other, on each core --> network --> point

What is measured (lapse-bench fanout, its processor time a delivery) is scaled; what isn't (the network between machines,
points that pause) is assumed, by flags whose values are printed. docs/scale.md says what follows and what is unknown.

    propagation.py --fit fanout-3.json fanout-3000.json > measured.json     from reports of lapse-bench fanout
    propagation.py --measured measured.json [--costs]                       the tables of docs/scale.md
    propagation.py --measured measured.json --against fanout-10000.json     prediction beside a run on this machine
"""
import argparse
import json
import math
import random
import statistics
import sys

NORMAL = statistics.NormalDist()
GROUPS = 64  # a leaf's deliveries are drawn in so many groups; the last of a group stands for it
TAIL = 1e-12  # quantiles stay this far from 0 and 1
LOOKED_AT = 2000  # points sampled a trial, for percentiles over points


class Network:
    """From a node's socket to the point's decision, one way, in ms. Three kinds of delivery, each slower than the one
    before: most are lognormal around half a round trip; some meet a point that pauses (collects garbage, waits for a
    processor), exponential; some are lost and sent again after the least retransmission timeout."""

    def __init__(self, options):
        self.median = options.rtt_ms / 2
        self.sigma = options.sigma
        self.pause = options.pause
        self.pause_ms = options.pause_ms
        self.loss = options.loss
        self.again_ms = options.again_ms + 2 * options.rtt_ms

    def quantile(self, u):
        usual = 1 - self.pause - self.loss
        if u >= 1 - self.loss and self.loss > 0:
            return self.again_ms + self.median
        if u >= usual and self.pause > 0:
            within = min((u - usual) / self.pause, 1 - TAIL)
            return self.median - self.pause_ms * math.log(1 - within)
        return self.median * math.exp(self.sigma * NORMAL.inv_cdf(min(max(u / usual, TAIL), 1 - TAIL)))

    def one(self, rng):
        return self.quantile(rng.random())

    def slowest(self, n, rng):
        """The slowest of n: the n-th root of a uniform draw is the greatest of n such."""
        return self.quantile(rng.random() ** (1 / n))


class Plan:
    """Which nodes there are for so many points. Members replicate; with standbys, these hold the points instead, and
    each member feeds its share of them."""

    def __init__(self, points, measured, options, standbys):
        self.points = points
        self.members = options.members
        self.standbys = math.ceil(points / options.leaf_points) if standbys else 0
        self.leaves = self.standbys or min(self.members, points)
        self.per_leaf = math.ceil(points / self.leaves)
        self.children = math.ceil(self.standbys / self.members)
        self.delivery_ms = measured["node_cpu_us"] / 1000 / options.cores
        self.hop_ms = measured["hop_ms"]
        self.connection_bytes = measured["connection_bytes"]
        self.wire_ms = options.wire_bytes * 8 / (options.nic_gbit * 1e6)
        # A delivery takes the longer of its processor time and its time on the wire.
        self.step_ms = max(self.delivery_ms, self.wire_ms)

    def memory_bytes(self, grants, grant_bytes):
        return self.per_leaf * self.connection_bytes + grants * grant_bytes

    def revocations_per_s(self):
        return 1000 / (self.per_leaf * self.step_ms)


def draw_commit(measured, rng, options):
    """Lognormal through the measured p50 and p99; the round trip between members is added to loopback's."""
    p50, p99 = measured["commit_ms"]["p50"], measured["commit_ms"]["p99"]
    sigma = math.log(max(p99 / p50, 1)) / NORMAL.inv_cdf(0.99)
    return p50 * math.exp(sigma * rng.gauss(0, 1)) + options.rtt_ms


def draw_starts(plan, network, rng):
    """When each leaf begins to deliver, after the commit."""
    starts = []
    for leaf in range(plan.leaves):
        at = network.one(rng) + plan.hop_ms
        if plan.standbys:
            at += network.one(rng) + plan.hop_ms + (leaf % plan.children + 1) * plan.step_ms
        starts.append(at)
    return starts


def last_of_leaf(plan, start, network, rng):
    groups = min(GROUPS, plan.per_leaf)
    last = 0.0
    for group in range(groups):
        begin, end = plan.per_leaf * group // groups, plan.per_leaf * (group + 1) // groups
        last = max(last, start + end * plan.step_ms + network.slowest(end - begin, rng))
    return last


def simulate(plan, measured, options, rng):
    """One trial each: when the last point knew, and when sampled points did."""
    network = Network(options)
    lasts, sampled = [], []
    for _ in range(options.trials):
        commit = draw_commit(measured, rng, options)
        starts = draw_starts(plan, network, rng)
        lasts.append(commit + max(last_of_leaf(plan, start, network, rng) for start in starts))
        for _ in range(LOOKED_AT // options.trials + 1):
            position = rng.randrange(plan.per_leaf) + 1
            sampled.append(commit + rng.choice(starts) + position * plan.step_ms + network.one(rng))
    return lasts, sampled


def percentile(values, percent):
    """Nearest rank, as lapse-bench's."""
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * percent / 100) - 1, 0)]


# --- measured figures ------------------------------------------------------------------------------------------------


def load(path):
    with open(path, encoding="utf-8") as file:
        report = json.load(file)
    if report.get("schema") != "lapse-bench/1" or report.get("scenario") != "fanout" or report.get("partial"):
        sys.exit(f"{path}: no whole report of lapse-bench fanout")
    if not {"node_cpu_us", "watcher_cpu_us"} <= report["values"].keys():
        sys.exit(f"{path}: without processor times: was the cluster this program's own?")
    return report


def value(report, name):
    return report["values"][name]["value"]


def subscribers(report):
    return report["settings"]["subscribers"]


def slope(few, many, name):
    """Processor time of one more delivery: what a revocation costs without any is in both."""
    n, m = subscribers(few), subscribers(many)
    return (value(many, name) * m - value(few, name) * n) / (m - n)


def fit(paths):
    reports = sorted((load(path) for path in paths), key=subscribers)
    if len(reports) < 2 or subscribers(reports[0]) == subscribers(reports[-1]):
        sys.exit("--fit needs reports with few and with many subscribers")
    few, many = reports[0], reports[-1]
    ack, last = few["samples"]["ack"], few["samples"]["last"]
    return {
        "schema": "lapse-propagation/1",
        "machine": many["machine"],
        "subscribers": [subscribers(few), subscribers(many)],
        "commit_ms": {"p50": ack["p50"], "p99": ack["p99"]},
        "few_last_ms": last["p50"],
        "hop_ms": max(last["p50"] - ack["p50"], 0.01),
        "node_cpu_us": slope(few, many, "node_cpu_us"),
        "watcher_cpu_us": slope(few, many, "watcher_cpu_us"),
        "connection_bytes": value(many, "connection_bytes"),
    }


def predict_here(measured, n, nodes):
    """The last of n on the measured machine itself: the nodes, with an edge thread each, and the one reading thread
    share the processors; each thread takes its own part one after the other."""
    node, watcher = measured["node_cpu_us"] / 1000, measured["watcher_cpu_us"] / 1000
    shared = n * (node + watcher) / measured["machine"]["cores"]
    return measured["few_last_ms"] + max(shared, n * watcher, n / nodes * node)


def compare(measured, paths):
    print("| watchers | nodes | predicted last, ms | measured p50 | p99 |")
    print("|---|---|---|---|---|")
    for report in sorted((load(path) for path in paths), key=subscribers):
        n, nodes, last = subscribers(report), report["system"]["nodes"], report["samples"]["last"]
        print(f"| {n:,} | {nodes} | {predict_here(measured, n, nodes):.1f} | {last['p50']:.1f} | "
              f"{last['p99']:.1f} |")


def print_costs(measured):
    print("| commit p50 / p99, ms | hop, ms | a delivery: node, us | its reader, us | a connection, KB |")
    print("|---|---|---|---|---|")
    print(f"| {measured['commit_ms']['p50']:.2f} / {measured['commit_ms']['p99']:.2f} | {measured['hop_ms']:.3f} | "
          f"{measured['node_cpu_us']:.1f} | {measured['watcher_cpu_us']:.1f} | "
          f"{measured['connection_bytes'] / 1000:.1f} |")


# --- output ----------------------------------------------------------------------------------------------------------


def rounded(number):
    """Two significant digits: the model has no more."""
    if number >= 100:
        return f"{round(number, 1 - int(math.log10(number))):,.0f}"
    return f"{number:.1f}" if number >= 1 else f"{number:.2f}"


def rows(measured, options):
    for standbys in (False, True):
        for points in options.points:
            plan = Plan(points, measured, options, standbys)
            rng = random.Random(options.seed)
            lasts, sampled = simulate(plan, measured, options, rng)
            yield plan, {
                "p50": percentile(sampled, 50),
                "p99": percentile(sampled, 99),
                "last_p50": percentile(lasts, 50),
                "last_p99": percentile(lasts, 99),
            }


def print_table(measured, options):
    print("| points | nodes that hold them | points a node | half know, ms | 99 % | the last, median | the last, p99 "
          "| MB a node | revocations/s |")
    print("|---|---|---|---|---|---|---|---|---|")
    for plan, times in rows(measured, options):
        who = f"{plan.leaves:,} standby" if plan.standbys else f"{plan.leaves} member"
        who += "s" if plan.leaves > 1 else ""
        memory = plan.memory_bytes(options.grants, options.grant_bytes) / 1e6
        cells = [times["p50"], times["p99"], times["last_p50"], times["last_p99"], memory, plan.revocations_per_s()]
        print(f"| {plan.points:,} | {who} | {plan.per_leaf:,} | " + " | ".join(rounded(cell) for cell in cells) + " |")


def print_json(measured, options):
    found = [{"points": plan.points, "standbys": plan.standbys, "per_leaf": plan.per_leaf, **times,
              "revocations_per_s": plan.revocations_per_s(),
              "memory_bytes": plan.memory_bytes(options.grants, options.grant_bytes)}
             for plan, times in rows(measured, options)]
    json.dump({"schema": "lapse-propagation/1", "measured": measured, "assumed": vars(options), "found": found},
              sys.stdout, indent=1)
    print()


def numbers(text):
    return [int(part) for part in text.split(",")]


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit", nargs="+", metavar="REPORT")
    parser.add_argument("--measured", metavar="FILE")
    parser.add_argument("--against", nargs="+", metavar="REPORT")
    parser.add_argument("--costs", action="store_true", help="what was measured, as a table")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--points", type=numbers, default=[1000, 10000, 100000, 1000000])
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--leaf-points", type=int, default=4000, help="points that a standby holds")
    parser.add_argument("--cores", type=int, default=4, help="of a node, for deliveries")
    parser.add_argument("--rtt-ms", type=float, default=0.5)
    parser.add_argument("--sigma", type=float, default=0.5, help="of the logarithm of one way's time")
    parser.add_argument("--pause", type=float, default=1e-3, help="share of deliveries that meet a pause")
    parser.add_argument("--pause-ms", type=float, default=10, help="its mean")
    parser.add_argument("--loss", type=float, default=1e-5, help="share of deliveries that are lost once")
    parser.add_argument("--again-ms", type=float, default=200, help="until a lost one is sent again")
    parser.add_argument("--wire-bytes", type=int, default=600, help="of a delivery, with TLS, TCP, IP and Ethernet")
    parser.add_argument("--nic-gbit", type=float, default=10)
    parser.add_argument("--grants", type=int, default=1000000)
    parser.add_argument("--grant-bytes", type=int, default=300)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(arguments)


def main(arguments):
    options = parse(arguments)
    if options.fit:
        json.dump(fit(options.fit), sys.stdout, indent=1)
        print()
        return
    if not options.measured:
        sys.exit("propagation.py: --fit or --measured, see --help")
    with open(options.measured, encoding="utf-8") as file:
        measured = json.load(file)
    if options.against:
        compare(measured, options.against)
    elif options.costs:
        print_costs(measured)
    elif options.json:
        print_json(measured, options)
    else:
        print_table(measured, options)


if __name__ == "__main__":
    main(sys.argv[1:])
