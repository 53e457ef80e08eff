#!/usr/bin/python3
"""G7 with real processes: watches resume, move between nodes, and are told to resync; never a silent gap."""

import time
import unittest

from harness import Cluster, eventually, grpc, generated, messages, principal, refused


def read_events(stream, until_revision, seen):
    """Appends (revision, grant id, type) of events up to a revision; stops at a progress mark or event that reaches it."""
    for item in stream:
        kind = item.WhichOneof("kind")
        if kind == "event":
            seen.append((item.event.revision, item.event.grant.id, item.event.type))
            if item.event.revision >= until_revision:
                return
        elif kind == "progress" and item.progress.revision >= until_revision:
            return
        elif kind == "resync":
            raise AssertionError(f"resync: {item.resync.reason}")


class Watch(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(settings={"limits-ring-events": 200})
        cls.cluster.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.cluster.__exit__(None, None, None)

    def test_G7_gapless_a_watch_resumes_on_another_node_without_gap_or_repetition(self):
        cluster = self.cluster
        stream = cluster.watch("proxy1", cluster.nodes[0], progress_ms=100)
        created = next(stream).created
        seen = []
        first = cluster.request_active(resource="w/a")
        read_events(stream, first.revision, seen)
        stream.cancel()
        second = cluster.request_active(resource="w/b")
        epoch = cluster.status(cluster.nodes[0]).epoch
        stream = cluster.watch("proxy1", cluster.nodes[1], epoch=epoch, revision=seen[-1][0], progress_ms=100)
        third = cluster.request_active(resource="w/c")
        read_events(stream, third.revision, seen)
        stream.cancel()
        revisions = [revision for revision, _, _ in seen]
        self.assertEqual(revisions, list(range(created.revision + 1, third.revision + 1)))
        self.assertIn(second.id, [grant for _, grant, _ in seen])

    def test_G7_gapless_a_cursor_that_fell_off_gets_resync_and_a_snapshot(self):
        cluster, g = self.cluster, messages("grant")
        keep = cluster.request_active(resource="keep/me")
        gone = cluster.request_active(resource="keep/gone")
        old = gone.revision
        cluster.grants("operator", "Revoke", grant_id=gone.id, reason="before the gap")
        for _ in range(80):  # three events each, over a ring of 200
            cluster.request_active(resource="noise/x")
        stream = cluster.watch("proxy1", cluster.nodes[2], epoch=cluster.status(cluster.nodes[2]).epoch, revision=old,
                               scope={"resource": "keep/*"}, progress_ms=100)
        kinds, snapshot = [], {}
        for item in stream:
            kind = item.WhichOneof("kind")
            kinds.append(kind)
            if kind == "snapshot_grant":
                snapshot[item.snapshot_grant.id] = item.snapshot_grant.state
            if kind == "snapshot_end":
                break
        self.assertEqual(kinds[:2], ["created", "resync"])
        self.assertEqual(snapshot.get(keep.id), g.ACTIVE)
        self.assertNotEqual(snapshot.get(gone.id), g.ACTIVE, "what was revoked during the gap is not allowed any more")
        after = cluster.request_active(resource="keep/after")
        seen = []
        read_events(stream, after.revision, seen)
        self.assertEqual([kind for _, grant, kind in seen if grant == after.id], [g.EVENT_REQUESTED, g.EVENT_APPROVED, g.EVENT_ACTIVATED])
        stream.cancel()

    def test_a_cursor_of_another_epoch_or_from_the_future_gets_resync(self):
        cluster = self.cluster
        epoch = cluster.status(cluster.nodes[0]).epoch
        for cursor in [dict(epoch=epoch + 1, revision=1), dict(epoch=epoch, revision=10**9)]:
            stream = cluster.watch("proxy1", **cursor)
            self.assertEqual([next(stream).WhichOneof("kind"), next(stream).WhichOneof("kind")], ["created", "resync"])
            stream.cancel()

    def test_a_scope_sees_its_own_and_progress_of_all(self):
        cluster = self.cluster
        stream = cluster.watch("proxy1", cluster.nodes[1], scope={"resource": "only/here/*"}, progress_ms=100)
        next(stream)
        cluster.request_active(resource="other/there")
        wanted = cluster.request_active(resource="only/here/x")
        later = cluster.request_active(resource="other/again")
        seen = []
        read_events(stream, later.revision, seen)
        self.assertEqual({grant for _, grant, _ in seen}, {wanted.id})
        stream.cancel()

    def test_a_requester_watches_what_concerns_them_and_a_stranger_nothing(self):
        cluster = self.cluster
        stream = cluster.watch("dev2", cluster.nodes[0], progress_ms=100)
        next(stream)
        later = cluster.request_active(resource="not/yours")
        seen = []
        read_events(stream, later.revision, seen)
        self.assertEqual(seen, [])
        stream.cancel()
        with refused(self, grpc.StatusCode.PERMISSION_DENIED, "no role"):
            next(cluster.watch("stranger"))

    def test_a_watch_ends_when_its_principal_loses_its_last_role(self):
        cluster = self.cluster
        cluster.call("operator", "Cluster", "SetRoles", binding={"member": principal("stranger"), "roles": ["auditor"]})
        stream = cluster.watch("stranger", cluster.nodes[1])
        next(stream)
        cluster.call("operator", "Cluster", "SetRoles", binding={"member": principal("stranger"), "roles": []})
        with refused(self, grpc.StatusCode.PERMISSION_DENIED, "no role"):
            for _ in stream:
                pass

    def test_what_a_watch_can_t_filter_by_is_refused(self):
        with refused(self, grpc.StatusCode.INVALID_ARGUMENT, "scope"):
            next(self.cluster.watch("proxy1", scope={"ticket": "T-1"}))
        with refused(self, grpc.StatusCode.OUT_OF_RANGE, "progress_ms"):
            next(self.cluster.watch("proxy1", progress_ms=1))


if __name__ == "__main__":
    generated()
    unittest.main()
