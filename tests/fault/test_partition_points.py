#!/usr/bin/python3
"""G5 and G6 when the network is cut, in both directions or in one: between an enforcement point and the nodes, and between a node and the others. Real guards and
real nodes, each in a network namespace of its own."""

import pathlib
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import network  # noqa: E402
from harness import Cluster, eventually  # noqa: E402
from probe import SECOND, WithProbes, figures, watch  # noqa: E402

LEASE_MS = 2000
# A node that is cut off may go on promising for its own lease, which was given on evidence of at most 100 ms before (docs/decisions/0010-enforcement-leases.md).
NODE_LEASE_MS, EVIDENCE_MS = 500, 100
DIRECTIONS = {"both ways": {}, "outgoing only": {"back": False}, "incoming only": {"there": False}}


class Partition(WithProbes):
    def make_cluster(self):
        """Places 1 to 3 are the nodes', the others the guards'."""
        self.network = network.Network(6)
        self.addCleanup(self.network.close)
        places = self.network.places
        self.at_nodes, self.at_guards = places[:3], places[3:]
        return Cluster(places=[(place.address, place.command) for place in self.at_nodes])

    def guards(self, nodes_of=lambda i, nodes: [nodes[i]]):
        probes = [self.probe(f"edge-{i + 1}", nodes=nodes_of(i, self.cluster.nodes), place=place.command, lease_ms=LEASE_MS, pause_us=50)
                  for i, place in enumerate(self.at_guards)]
        return [probe.wait_deciding() for probe in probes]

    def settle(self, probes, other):
        """Heals, and waits until all is as before."""
        self.network.heal()
        for node in self.cluster.nodes:
            for user in ("operator", "dev1", "oncall"):
                self.cluster.renew(user, node)
        self.cluster.wait_ready()
        self.cluster.leader()
        for probe in probes:
            denied_ns = probe.slot(other).asked_ns
            probe.wait_permits(other, denied_ns)

    def assert_fails_closed(self, probe, other, cut_ns, most_ms):
        """G6: what isn't revoked is denied, too, since it can't know."""
        stale = self.denial(probe, other)
        self.assertEqual(stale["verdict"], "STALE")
        self.assertGreaterEqual(stale["staleness_ms"], LEASE_MS)
        last_ns = probe.slot(other).permit_began_ns - cut_ns
        self.assertLessEqual(last_ns, most_ms * 10**6, f"G6 broken: {probe.name} permitted after its lease")
        return last_ns

    def age(self):
        """A new leader waits longer than it has to later on, and so would hide it when it waits too little."""
        time.sleep((LEASE_MS + NODE_LEASE_MS + EVIDENCE_MS) * 1.1 / 1000)

    def run_cut(self, probes, lonely, other, some, others, choose_node, most_ms, **directions):
        """Cuts, revokes, and judges; returns how long the revocation took, and when the lonely guard permitted last."""
        self.age()
        grant = self.grant(probes)
        cut_ns = self.network.cut(some, others, **directions)
        answer, returned_ns = self.revoke_until_ok(grant, choose_node)
        self.verdicts.revoked(grant, returned_ns, probes)
        last_ns = self.assert_fails_closed(lonely, other, cut_ns, most_ms)
        self.assertGreaterEqual(answer.barrier.lapsed, 1)
        return returned_ns - cut_ns, last_ns

    def test_G5_G6_a_guard_that_is_cut_off_from_all_nodes(self):
        probes = self.guards()
        other, took, last = self.grant(probes), [], []
        for how, directions in DIRECTIONS.items():
            for i, lonely in enumerate(probes):
                took_ns, last_ns = self.run_cut(probes, lonely, other, [self.at_guards[i]], self.at_nodes, lambda: self.cluster.nodes[0], LEASE_MS, **directions)
                took.append(took_ns)
                last.append(last_ns)
                self.settle(probes, other)
        figures(f"a revocation with a guard cut off (lease {LEASE_MS} ms)", took)
        figures("the last permit of a guard that is cut off", last)

    def test_G5_G6_a_node_with_a_guard_that_is_cut_off_from_the_other_nodes(self):
        probes = self.guards()
        other, took = self.grant(probes), []
        for how, directions in DIRECTIONS.items():
            for is_leader in (False, True):
                leader = self.cluster.leader()
                node = leader if is_leader else next(n for n in self.cluster.nodes if n is not leader)
                i = self.cluster.nodes.index(node)
                rest = [n for n in self.cluster.nodes if n is not node]
                took_ns, _ = self.run_cut(probes, probes[i], other, [self.at_nodes[i]], [p for p in self.at_nodes if p is not self.at_nodes[i]],
                                          lambda: rest[0], LEASE_MS + NODE_LEASE_MS + EVIDENCE_MS, **directions)
                took.append(took_ns)
                print(f"{'the leader' if is_leader else 'a follower'} cut off, {how}: {took_ns / 10**6:.0f} ms", flush=True)
                self.settle(probes, other)
        figures(f"a revocation with a node and its guard cut off (lease {LEASE_MS} ms)", took)
        self.cluster.assert_one_history()

    def test_G5_a_guard_leaves_a_node_that_is_cut_off_and_decides_again(self):
        probes = self.guards(lambda i, nodes: nodes)
        other = self.grant(probes)
        leader = self.cluster.leader()
        for node in [n for n in self.cluster.nodes if n is not leader] + [leader]:
            i = self.cluster.nodes.index(node)
            grant = self.grant(probes)
            cut_ns = self.network.cut([self.at_nodes[i]], [p for p in self.at_nodes if p is not self.at_nodes[i]])
            answer, returned_ns = self.revoke_until_ok(grant, lambda: self.cluster.nodes[(i + 1) % 3])
            self.verdicts.revoked(grant, returned_ns, probes)
            for probe in probes:
                eventually(f"{probe.name} has left it", lambda probe=probe: probe.status()["endpoint"] != node.endpoint and probe.status()["state"] == "DECIDING")
            self.assertLessEqual(returned_ns - cut_ns, 60 * SECOND)
            self.settle(probes, other)


if __name__ == "__main__":
    network.enter()
    unittest.main(verbosity=2)
