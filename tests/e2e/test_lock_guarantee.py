#!/usr/bin/python3
"""G5 for locks, with real guards: after a lock has returned OK, no enforcement point permits what it is about in a check begun later, until it is lifted; and the
grants are there again then, without a word to the points but that."""

import time
import unittest
import uuid

from harness import grpc, messages, principal
from probe import SECOND, WithProbes, cli, figures, ms

ROUNDS = 60
SUBJECT, RESOURCE = 1, 2
LAPSED = 3


class LockGuarantee(WithProbes):
    def lock(self, kind, target, node=None, request_id=None, timeout=60, **fields):
        """One attempt; the answer and the moment at which the caller had it."""
        body = messages("objects").Lock(kind=kind, target=target, reason="stolen", until_ms=fields.pop("until_ms", 0))
        request = messages("governance").LockRequest(request_id=request_id or str(uuid.uuid4()), lock=body, wait=2, **fields)
        answer = self.cluster.stub("operator", "Locks", node).Lock(request, timeout=timeout)
        return answer, time.monotonic_ns()

    def unlock(self, kind, target, node=None):
        name = {SUBJECT: "subject:", RESOURCE: "resource:"}[kind] + target
        self.cluster.call("operator", "Locks", "Unlock", node, name=name, reason="found again")

    def lock_by_command(self, kind, target):
        done = cli(self.cluster, "operator", "lock", "subject" if kind == SUBJECT else "resource", target, "--reason", "stolen", "--until", "enforced")
        returned_ns = time.monotonic_ns()
        self.assertEqual(done.returncode, 0, done.stderr)
        return returned_ns

    def assert_denied_since(self, grant, returned_ns, probes, verdict="LOCKED"):
        for probe in probes:
            probe.wait_asked(grant, returned_ns)
        for probe in probes:
            slot = probe.slot(grant)
            self.assertGreater(slot.permits, 0, "nothing was tested")
            late_ns = slot.permit_began_ns - returned_ns
            self.assertLessEqual(late_ns, 0, f"G5 broken: {probe.name} permitted {grant.id} {ms(late_ns):.3f} ms after its lock had returned")
            self.assertEqual(probe.check(grant)["verdict"], verdict)

    def test_G5_no_check_begun_after_a_lock_returned_permits_until_it_is_lifted(self):
        probes, took = self.one_per_node(pause_us=50), {"grpcio": [], "lapse lock": []}
        grant, other = self.grant(probes), self.grant(probes)
        # Under the subject's other name; the resource itself; the subtree that it lies in.
        targets = [(SUBJECT, "user:dev1"), (RESOURCE, grant.resource), (SUBJECT, principal("dev1")), (RESOURCE, "db/prod/*")]
        for i in range(ROUNDS):
            kind, target = targets[i % len(targets)]
            began_ns = time.monotonic_ns()
            if i % 5 == 4:
                returned_ns, how = self.lock_by_command(kind, target), "lapse lock"
            else:
                answer, returned_ns = self.lock(kind, target, self.cluster.nodes[i % 3])
                self.assertEqual((answer.barrier.done, answer.barrier.points, answer.barrier.enforced), (True, 3, 3))
                how = "grpcio"
            took[how].append(returned_ns - began_ns)
            self.assert_denied_since(grant, returned_ns, probes)
            if target != grant.resource:
                self.assert_denied_since(other, returned_ns, probes)
            else:
                self.assertTrue(probes[0].check(other)["permit"], "another resource")
            lifted_ns = time.monotonic_ns()
            self.unlock(kind, target, self.cluster.nodes[(i + 1) % 3])
            for probe in probes:
                probe.wait_permits(grant, lifted_ns)
        for how, times in took.items():
            figures(f"a lock that is enforced at 3 guards, by {how}", times)

    def test_G5_a_session_is_ended_before_a_lock_is_enforced_and_none_begins(self):
        probe = self.probe("edge-1", session_end_ms=20000, lease_ms=30000).wait_deciding()
        grant = self.grant([probe])
        probe.ask("hold")
        self.assertGreater(probe.ask("session", grant.id, "psql")["number"], 0)
        request_id = str(uuid.uuid4())
        with self.assertRaises(grpc.RpcError) as caught:
            self.lock(SUBJECT, "user:dev1", request_id=request_id, wait_ms=500)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED, caught.exception.details())
        self.assertIn("edge-1", caught.exception.details())
        self.assertEqual(probe.check(grant)["verdict"], "LOCKED", "it is denied all the same")
        self.assertEqual(probe.ask("session", grant.id, "psql")["number"], 0)
        probe.ask("release")
        answer, _ = self.lock(SUBJECT, "user:dev1", request_id=request_id)
        self.assertEqual((answer.repeated_call, answer.barrier.done, answer.barrier.enforced), (True, True, 1))

    def test_G5_a_stopped_guard_is_waited_out_and_wakes_up_with_the_lock(self):
        probes = self.one_per_node(lease_ms=2000)
        grant = self.grant(probes)
        probes[0].pause()
        answer, returned_ns = self.lock(RESOURCE, "db/prod/*")
        self.assertEqual((answer.barrier.enforced, answer.barrier.lapsed), (2, 1))
        self.assert_denied_since(grant, returned_ns, probes[1:])
        resumed_ns = probes[0].resume()
        probes[0].wait_deciding()
        probes[0].wait_asked(grant, time.monotonic_ns())
        self.assertFalse([c for c in probes[0].changes(grant, resumed_ns) if c["began_ns"] > resumed_ns and c["permit"]])
        self.assertEqual(probes[0].check(grant)["verdict"], "LOCKED")

    def test_a_guard_that_starts_later_and_a_node_that_comes_back_know_the_lock(self):
        grant = self.cluster.request_active()
        answer, _ = self.lock(SUBJECT, "user:dev1")
        self.assertEqual((answer.barrier.done, answer.barrier.points), (True, 0), "nobody had to confirm")
        node = self.cluster.followers()[0]
        node.kill()
        node.start()
        self.cluster.wait_ready()
        probe = self.probe("edge-1", nodes=[node])
        probe.watch(grant)
        probe.wait_deciding()
        probe.wait_asked(grant, time.monotonic_ns())
        self.assertEqual((probe.slot(grant).permits, probe.check(grant)["verdict"]), (0, "LOCKED"))
        lifted_ns = time.monotonic_ns()
        self.unlock(SUBJECT, "user:dev1")
        probe.wait_permits(grant, lifted_ns)

    def test_a_lock_with_an_end_ends_at_the_points_when_the_cluster_says_so_and_not_before(self):
        probes = self.one_per_node(pause_us=50)
        grant = self.grant(probes)
        began_ns = time.monotonic_ns()
        now_ms = self.cluster.grants("operator", "Get", grant_id=grant.id).time_ms  # at `began_ns` or later
        _, returned_ns = self.lock(SUBJECT, "user:dev1", until_ms=now_ms + 4000)
        self.assert_denied_since(grant, returned_ns, probes)
        for probe in probes:
            probe.wait_permits(grant, returned_ns)
            change = probe.wait_for("change", returned_ns, name=grant.id, permit=True)
            # Cluster time may be behind real time by what Get took, never ahead of it by more than the clocks' 1 %.
            self.assertGreaterEqual(change["began_ns"] - began_ns, int(3.9 * SECOND), "it ended too early")


if __name__ == "__main__":
    unittest.main(verbosity=2)
