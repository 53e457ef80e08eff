#!/usr/bin/python3
"""G3 with real processes: what leader changes, restarts and clocks must not do to a deadline."""

import time
import unittest

from harness import Cluster, eventually, grpc, generated, messages, principal


def wait_for_end(test, cluster, grant, node):
    """Watches from before: the one end of the grant, as events with (state, time, deadline)."""
    g = messages("grant")
    stream = cluster.watch("proxy1", node, snapshot=True)
    for item in stream:
        if item.WhichOneof("kind") == "event" and item.event.grant.id == grant.id and item.event.grant.state not in (g.PENDING, g.APPROVED, g.ACTIVE):
            stream.cancel()
            return item.event
        if item.WhichOneof("kind") == "snapshot_end" and item.snapshot_end.time_ms > grant.deadline_ms:
            stream.cancel()
            return None
    raise AssertionError("the stream ended")


class NeverLate(unittest.TestCase):
    def test_G3_never_late_a_deadline_is_not_moved_by_a_leader_s_death_shortly_before_it(self):
        g = messages("grant")
        with Cluster() as cluster:
            for _ in range(5):
                leader = cluster.leader()
                survivor = cluster.followers()[0]
                grant = cluster.request_active(node=survivor, duration_ms=1500)
                watch = cluster.watch("proxy1", survivor)
                next(watch)
                while cluster.status(survivor).time_ms < grant.deadline_ms - 150:
                    time.sleep(0.005)
                leader.kill()
                event = next(item.event for item in watch if item.WhichOneof("kind") == "event" and item.event.grant.id == grant.id)
                watch.cancel()
                self.assertEqual(event.type, g.EVENT_EXPIRED)
                self.assertEqual(event.grant.deadline_ms, grant.deadline_ms, "the deadline was moved")
                self.assertGreaterEqual(event.time_ms, grant.deadline_ms)
                answer = cluster.grants("proxy1", "Check", survivor, subject=principal("dev1"), resource="db/prod/orders", action="read")
                self.assertFalse(answer.allowed)
                print(f"leader killed before the deadline; expired {event.time_ms - grant.deadline_ms} ms after it (cluster time)")
                leader.start()
                cluster.wait_ready()

    def test_G3_never_late_no_node_allows_after_the_deadline_even_before_the_expiry_is_committed(self):
        """Checks are asked all the time around the deadline, on every node: cluster time alone decides, not the event."""
        with Cluster() as cluster:
            grant = cluster.request_active(duration_ms=800)
            question = dict(subject=principal("dev1"), resource="db/prod/orders", action="read")
            allowed_until = 0
            while True:
                answers = [cluster.grants("proxy1", "Check", node, **question) for node in cluster.nodes]
                for answer in answers:
                    if answer.allowed:
                        allowed_until = max(allowed_until, answer.time_ms)
                        self.assertLess(answer.time_ms, grant.deadline_ms)
                        self.assertLessEqual(answer.valid_for_ms, grant.deadline_ms - answer.time_ms)
                if not any(a.allowed for a in answers) and answers[0].time_ms > grant.deadline_ms + 200:
                    break
            self.assertGreater(allowed_until, grant.deadline_ms - 500, "it was allowed until close to its deadline")

    def test_G3_never_late_a_dead_cluster_does_not_prolong_a_grant(self):
        g = messages("grant")
        with Cluster() as cluster:
            grant = cluster.request_active(duration_ms=2000)
            for node in cluster.nodes:
                node.kill()
            time.sleep(2.5)
            for node in cluster.nodes:
                node.start()
            cluster.wait_ready()
            answer = cluster.grants("proxy1", "Check", subject=principal("dev1"), resource="db/prod/orders", action="read")
            self.assertFalse(answer.allowed)
            ended = eventually("its expiry", lambda: [x for x in [cluster.grants("auditor", "Get", grant_id=grant.id).grant]
                                                     if x.state == g.EXPIRED])[0]
            self.assertEqual(ended.deadline_ms, grant.deadline_ms)

    def test_a_paused_leader_s_stale_answers_are_never_given(self):
        """After SIGCONT an old leader must not answer a read from before: it has no quorum until it has heard of the new term."""
        with Cluster() as cluster:
            grant = cluster.request_active()
            leader = cluster.leader()
            others = cluster.followers()
            leader.pause()
            revoked = cluster.grants("operator", "Revoke", others[0], grant_id=grant.id, reason="while paused")
            leader.resume()
            answer = cluster.grants("proxy1", "Check", leader, subject=principal("dev1"), resource="db/prod/orders", action="read")
            self.assertFalse(answer.allowed)
            self.assertGreaterEqual(answer.revision, revoked.revision)


if __name__ == "__main__":
    generated()
    unittest.main()
