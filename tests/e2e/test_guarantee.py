#!/usr/bin/python3
"""G5 and G6 with real guards and real processes that stop and die: after a revocation has returned OK, no enforcement point permits the grant in a check begun
later; and one that can't hear the cluster denies everything within its lease."""

import os
import random
import signal
import threading
import time
import unittest
import uuid

from harness import BUILD, eventually, grpc
from probe import SECOND, WithProbes, cli, figures, ms

LAPSED = 3
REVOCATIONS = 300
IS_SANITIZED = b"__asan_init" in (BUILD / "node" / "lapsed").read_bytes()
KILL_ROUNDS = 10 if IS_SANITIZED else 30
# What a node or point may need to be scheduled, on a machine that has much else to do.
BUSY_NS = 10 * SECOND if IS_SANITIZED else 5 * SECOND


class Guarantee(WithProbes):
    # --- G5

    def revoke_by_command(self, grant):
        done = cli(self.cluster, "operator", "revoke", grant.id, "--reason", "over")
        returned_ns = time.monotonic_ns()
        self.assertEqual(done.returncode, 0, done.stderr)
        return returned_ns

    def test_G5_no_check_begun_after_the_return_permits(self):
        probes, took = self.one_per_node(pause_us=50), {"grpcio": [], "lapse revoke": []}
        for i in range(REVOCATIONS):
            grant = self.grant(probes)
            began_ns = time.monotonic_ns()
            if i % 3 == 2:
                returned_ns, how = self.revoke_by_command(grant), "lapse revoke"
            else:
                answer, returned_ns = self.revoke(grant, self.cluster.nodes[i // 3 % 3])
                self.assertTrue(answer.barrier.done)
                self.assertEqual((answer.barrier.points, answer.barrier.enforced), (3, 3))
                how = "grpcio"
            took[how].append(returned_ns - began_ns)
            self.verdicts.revoked(grant, returned_ns, probes)
        for how, times in took.items():
            figures(f"a revocation that is enforced at 3 guards, by {how}", times)

    def test_G5_a_stopped_guard_is_waited_out_and_wakes_up_denying(self):
        probes, took = self.one_per_node(lease_ms=2000), []
        other = self.grant(probes)
        time.sleep(3)  # a new leader waits longer than it has to later on
        for stopped in probes:
            grant = self.grant(probes)
            promise = stopped.status()
            stopped_ns = stopped.pause()
            answer, returned_ns = self.revoke(grant)
            took.append(returned_ns - stopped_ns)
            self.verdicts.revoked(grant, returned_ns, probes)
            self.assertGreaterEqual(returned_ns, promise["at_ns"] + promise["valid_for_ms"] * 10**6, "it could still have permitted it by its promise")
            self.assertEqual((answer.barrier.enforced, answer.barrier.lapsed), (2, 1))
            self.assertEqual(self.receipts(grant)[stopped.name], LAPSED)
            registrations = promise["registrations"]
            self.wake(stopped, other)
            self.assertGreater(stopped.status()["registrations"], registrations, "it must register anew")
        figures("waiting a stopped guard out (lease 2000 ms)", took)
        self.assertLessEqual(min(took), 3 * SECOND, "a lease and a second")
        self.assertLessEqual(max(took), 3 * SECOND + BUSY_NS)

    def wake(self, stopped, other):
        """It denies with STALE before it decides anything, and then permits what is still granted."""
        resumed_ns = stopped.resume()
        stopped.wait_permits(other, resumed_ns)
        # The check that was under way when it was stopped may still end; the next one has to deny.
        changes = [change for change in stopped.changes(other, resumed_ns) if change["began_ns"] > resumed_ns]
        self.assertEqual((changes[0]["permit"], changes[0]["verdict"]), (False, "STALE"), changes)
        self.assertGreaterEqual(changes[0]["staleness_ms"], 2000)

    def test_G5_pending_names_who_has_not_confirmed_and_the_same_call_asks_again(self):
        probes = self.one_per_node(lease_ms=4000)
        for by_command in (False, True):
            stopped = probes[by_command]
            grant, request_id = self.grant(probes), str(uuid.uuid4())
            stopped.pause()
            (self.pending_by_command if by_command else self.pending)(grant, request_id, stopped)
            answer, returned_ns = self.revoke(grant, self.cluster.nodes[2], request_id)
            self.verdicts.revoked(grant, returned_ns, probes)
            self.assertTrue(answer.repeated_call)
            self.assertEqual((answer.barrier.done, answer.barrier.lapsed), (True, 1))
            self.assertEqual(answer.barrier.id, answer.grant.ended_revision)
            stopped.resume()
            stopped.wait_deciding()

    def pending(self, grant, request_id, stopped):
        with self.assertRaises(grpc.RpcError) as caught:
            self.revoke(grant, request_id=request_id, timeout=1)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        if "PENDING" in caught.exception.details():  # else grpcio's own deadline was there first
            self.assertIn(stopped.name, caught.exception.details())
        with self.assertRaises(grpc.RpcError) as caught:
            self.revoke(grant, request_id=request_id, wait_ms=100)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        self.assertRegex(caught.exception.details(), rf"PENDING: .*not confirmed by {stopped.name} ")

    def pending_by_command(self, grant, request_id, stopped):
        done = cli(self.cluster, "operator", "revoke", grant.id, "--reason", "over", "--request-id", request_id, "--timeout", "1s")
        self.assertEqual(done.returncode, 4, done.stderr)
        self.assertIn("PENDING", done.stderr)
        self.assertIn(stopped.name, done.stderr)

    # --- G5, while processes die

    def test_G5_holds_while_guards_nodes_and_leaders_die_and_stop(self):
        probes = [self.probe(f"edge-{i}", lease_ms=1000).wait_deciding() for i in (1, 2, 3)]
        harms = [self.kill_guard, self.kill_its_node, self.kill_leader, self.stop_its_node, self.stop_leader, self.stop_guard]
        seed = int(os.environ.get("LAPSE_SEED", 0)) or random.randrange(1 << 32)
        print(f"LAPSE_SEED={seed}", flush=True)
        draw = random.Random(seed)
        took = {}
        for i in range(KILL_ROUNDS):
            harm = harms[i % len(harms)]
            grant = self.grant(probes)
            elapsed_ns = self.round(harm, draw, grant, probes)
            took.setdefault(harm.__name__, []).append(elapsed_ns)
            for probe in probes:
                probe.wait_deciding()
        for name, times in took.items():
            figures(f"a revocation with {name}", times)
        self.cluster.assert_one_history()

    def round(self, harm, draw, grant, probes):
        """A revocation, and a harm shortly before, during or after it; then everything is put right again."""
        victim, request_id, mended = draw.choice(probes), str(uuid.uuid4()), []
        before_s, after_s = draw.choice([(0, draw.uniform(0, 0.02)), (draw.uniform(0, 0.1), 0), (0, draw.uniform(0.02, 0.2))])
        target = harm(victim)
        def do_harm():
            time.sleep(after_s)
            mended.append(target())
        thread = threading.Thread(target=do_harm)
        thread.start()
        time.sleep(before_s)
        began_ns = time.monotonic_ns()
        answer, returned_ns = self.revoke_until_ok(grant, lambda: draw.choice(self.cluster.nodes), request_id)
        self.verdicts.revoked(grant, returned_ns, [probe for probe in probes if probe is not victim])
        thread.join()
        self.verdicts.revoked(grant, returned_ns, probes)
        mended[0]()
        self.ask_again(grant, request_id, answer)
        return returned_ns - began_ns

    def ask_again(self, grant, request_id, answer):
        for node in self.cluster.nodes:
            self.cluster.renew("operator", node)
            again = self.cluster.grants("operator", "Revoke", node, request_id=request_id, grant_id=grant.id, reason="over", wait="ENFORCED")
            self.assertEqual((again.barrier.id, again.barrier.done), (answer.barrier.id, True))
        found = self.cluster.call("operator", "Enforcement", "GetBarrier", grant_id=grant.id).barrier
        self.assertEqual(found.id, answer.barrier.id)

    # Each returns what does the harm, which returns what mends it.

    def kill_guard(self, victim):
        def harm():
            victim.kill()
            return victim.start
        return harm

    def stop_guard(self, victim):
        def harm():
            victim.pause()
            return victim.resume
        return harm

    def node_of(self, victim):
        endpoint = victim.status()["endpoint"]
        return next(node for node in self.cluster.nodes if node.endpoint == endpoint)

    def kill(self, node):
        def harm():
            node.kill()
            return lambda: (node.start(), self.cluster.wait_ready())
        return harm

    def stop(self, node):
        def harm():
            node.pause()
            return lambda: (node.resume(), self.cluster.wait_ready())
        return harm

    def kill_its_node(self, victim):
        return self.kill(self.node_of(victim))

    def stop_its_node(self, victim):
        return self.stop(self.node_of(victim))

    def kill_leader(self, victim):
        return self.kill(self.cluster.leader())

    def stop_leader(self, victim):
        return self.stop(self.cluster.leader())

    # --- G6, G3

    def test_G6_without_a_cluster_every_guard_denies_within_its_lease_and_comes_back(self):
        probes = self.one_per_node(lease_ms=2000, pause_us=50)
        grant, after = self.grant(probes), []
        for node in self.cluster.nodes:
            node.process.send_signal(signal.SIGKILL)
        silent_ns = time.monotonic_ns()
        for node in self.cluster.nodes:
            node.kill()
        for probe in probes:
            stale = self.denial(probe, grant)
            self.assertEqual(stale["verdict"], "STALE")
            self.assertGreaterEqual(stale["staleness_ms"], 2000)
            after.append(probe.slot(grant).permit_began_ns - silent_ns)
            self.assertLessEqual(after[-1], 2 * SECOND, f"G6 broken: {probe.name} permitted after its lease")
            self.assertEqual(probe.status()["state"], "STALE")
        figures("the last permit after all nodes were killed (lease 2000 ms)", after)
        denied_ns = time.monotonic_ns()
        time.sleep(1)
        for probe in probes:
            self.assertFalse(probe.permits_since(grant, denied_ns))
        for node in self.cluster.nodes:
            node.start()
        self.cluster.wait_ready()
        for probe in probes:
            probe.wait_permits(grant, denied_ns)

    def test_G6_a_cluster_that_has_stopped_is_no_reason_to_permit(self):
        probes = self.one_per_node(lease_ms=2000, pause_us=50)
        grant, after = self.grant(probes), []
        for node in self.cluster.nodes:
            node.pause()
        silent_ns = time.monotonic_ns()
        for probe in probes:
            stale = self.denial(probe, grant)
            self.assertEqual(stale["verdict"], "STALE")
            after.append(probe.slot(grant).permit_began_ns - silent_ns)
            self.assertLessEqual(after[-1], 2 * SECOND, f"G6 broken: {probe.name} permitted after its lease")
        figures("the last permit after all nodes were stopped (lease 2000 ms)", after)
        denied_ns = time.monotonic_ns()
        for node in self.cluster.nodes:
            node.resume()
        for probe in probes:
            probe.wait_permits(grant, denied_ns)

    def test_G3_a_deadline_is_kept_without_a_network(self):
        """The lease is long, so it is the deadline that ends it: by the cluster's time as it was known before."""
        probes = self.one_per_node(lease_ms=60000, pause_us=50)
        grant = self.grant(probes, duration_ms=4000)
        asked_ns = time.monotonic_ns()
        clock = self.cluster.grants("operator", "Get", grant_id=grant.id)
        answered_ns = time.monotonic_ns()
        for node in self.cluster.nodes:
            node.pause()
        early = []
        for probe in probes:
            denied = self.denial(probe, grant)
            self.assertEqual(denied["verdict"], "PAST_DEADLINE")
            least_ms = clock.time_ms + ms(probe.slot(grant).permit_began_ns - answered_ns)
            self.assertLess(least_ms, grant.deadline_ms, f"G3 broken: {probe.name} permitted past the deadline")
            most_ms = clock.time_ms + 1 + ms(denied["began_ns"] - asked_ns)
            early.append(round((grant.deadline_ms - most_ms) * 10**6))
        figures("denied before the deadline, without a network", early)
        self.assertLess(max(early), SECOND, "a deadline isn't met so early")
        for node in self.cluster.nodes:
            node.resume()


if __name__ == "__main__":
    unittest.main(verbosity=2)
