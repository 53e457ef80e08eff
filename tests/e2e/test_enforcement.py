#!/usr/bin/python3
"""Enforcement.Subscribe with real processes: a point registers, is served, moves, is fenced, leaves; and what it must not do."""

import os
import queue
import threading
import time
import unittest

from harness import Cluster, eventually, grpc, messages, principal, refused, services

STOP = object()


class Point:
    """An enforcement point that does what the test says and remembers all it hears."""

    def __init__(self, cluster, node=None, user="proxy1", register=True, **terms):
        self.cluster, self.user = cluster, user
        self.instance = terms.pop("instance", None) or os.urandom(16)
        self.id = terms.pop("id", "edge-" + self.instance.hex()[:8])
        self.scope = terms.pop("scope", ["db/prod/*"])
        self.words = queue.Queue()
        self.heard, self.lock = [], threading.Lock()
        self.status = None
        if register:
            self.say(registration=dict(id=self.id, instance=self.instance, scope=self.scope, **terms))
        self.call = cluster.stub(user, "Enforcement", node or cluster.nodes[0]).Subscribe(iter(self.words.get, STOP))
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        try:
            for response in self.call:
                with self.lock:
                    self.heard.append(response)
        except grpc.RpcError:
            pass
        self.status = (self.call.code(), self.call.details())

    def say(self, **kind):
        self.words.put(messages("enforcement").SubscribeRequest(**kind))

    def all(self, kind):
        with self.lock:
            return [getattr(response, kind) for response in self.heard if response.WhichOneof("kind") == kind]

    def wait(self, kind, n=1):
        def attempt():
            if self.status is not None and len(self.all(kind)) < n:
                raise AssertionError(f"the stream ended with {self.status} before its {kind}")
            return len(self.all(kind)) >= n
        eventually(f"{kind} for {self.id}", attempt)
        return self.all(kind)[n - 1]

    def wait_event(self, kind, grant):
        """The event of that type about a grant."""
        def attempt():
            return next((event for event in self.all("event") if event.grant.id == grant.id and event.type == kind), None)
        return eventually(f"event {kind} for {self.id}", attempt)

    def wait_served(self):
        self.wait("registered")
        return self.wait("snapshot_end")

    def wait_promise(self):
        def attempt():
            self.say(ping={"sequence": len(self.all("pong")) + 1})
            time.sleep(0.1)  # ten a second
            return next((pong for pong in self.all("pong") if pong.ttl_ms > 0), None)
        return eventually(f"a promise for {self.id}", attempt)

    def ended(self):
        eventually(f"the end of {self.id}'s stream", lambda: self.status)
        return self.status

    def close(self):
        self.words.put(STOP)
        self.call.cancel()
        self.reader.join()


class Enforcement(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.cluster.__enter__()
        # "dev2" guards one subtree only; it has no other role.
        cls.cluster.call("operator", "Cluster", "SetRoles",
                         binding={"member": principal("dev2"), "roles": ["enforcer"], "scope": ["db/prod/*"]})

    @classmethod
    def tearDownClass(cls):
        cls.cluster.__exit__(None, None, None)

    def setUp(self):
        self.points = []

    def tearDown(self):
        for point in self.points:
            point.close()

    def point(self, *args, **kwargs):
        self.points.append(Point(self.cluster, *args, **kwargs))
        return self.points[-1]

    def assert_ended(self, point, code, *words):
        status, details = point.ended()
        self.assertEqual(status, code, details)
        for word in words:
            self.assertIn(word, details)

    # --- the main job

    def test_a_point_on_any_node_gets_the_usable_grants_of_its_scope_and_what_happens_to_them(self):
        cluster, g = self.cluster, messages("grant")
        before = cluster.request_active(resource="db/prod/before")
        other = cluster.request_active(resource="db/test/other")
        points = [self.point(node) for node in cluster.nodes]
        for point, node in zip(points, cluster.nodes):
            point.wait_served()
            registered = point.all("registered")[0]
            self.assertEqual((registered.node_id, registered.lease_ms), (node.id, 3000))
            self.assertEqual([grant.id for grant in point.all("snapshot_grant") if grant.id in (before.id, other.id)], [before.id])
        after = cluster.request_active(resource="db/prod/after")
        cluster.grants("operator", "Revoke", grant_id=before.id, reason="over")
        for point in points:
            point.wait_event(g.EVENT_ACTIVATED, after)
            point.wait_event(g.EVENT_REVOKED, before)
            self.assertLessEqual({event.type for event in point.all("event")},
                                 {g.EVENT_ACTIVATED, g.EVENT_USED, g.EVENT_EXPIRED, g.EVENT_REVOKED, g.EVENT_COMPLETED, g.EVENT_EXHAUSTED})

    def test_P3_a_ping_gets_a_promise_within_the_lease_and_the_time(self):
        for node in self.cluster.nodes:
            point = self.point(node, lease_ms=2000)
            point.wait_served()
            pong = point.wait_promise()
            self.assertLessEqual(pong.ttl_ms, 2000)
            self.assertGreater(pong.time_us, 0)

    def test_G5_a_revocation_that_waits_is_answered_when_the_point_has_confirmed(self):
        cluster, g = self.cluster, messages("grant")
        point = self.point(cluster.followers()[0], scope=["g5/*"])
        point.wait_served()
        point.wait_promise()
        grant = cluster.request_active(resource="g5/orders")
        point.wait_event(g.EVENT_ACTIVATED, grant)
        answers = []
        caller = threading.Thread(target=lambda: answers.append(
            cluster.grants("operator", "Revoke", grant_id=grant.id, reason="over", wait="ENFORCED", wait_ms=60000)))
        caller.start()
        revoked = point.wait_event(g.EVENT_REVOKED, grant)
        self.assertEqual(answers, [])
        point.say(ack={"received": revoked.revision, "enforced": revoked.revision})
        caller.join()
        barrier = answers[0].barrier
        self.assertTrue(barrier.done)
        self.assertEqual((barrier.points, barrier.enforced), (1, 1), barrier)

    def test_G7_gapless_a_point_goes_on_at_another_node_behind_what_it_has(self):
        cluster, g = self.cluster, messages("grant")
        point = self.point(cluster.nodes[0])
        cursor = point.wait_served().revision
        epoch = point.heard[0].epoch
        point.close()
        grant = cluster.request_active(resource="db/prod/moved")
        moved = self.point(cluster.nodes[1], instance=point.instance, id=point.id, epoch=epoch, revision=cursor)
        moved.wait_event(g.EVENT_ACTIVATED, grant)
        self.assertEqual(moved.all("snapshot_end"), [])
        moved.say(ack={"received": cursor, "enforced": cursor})
        moved.wait_promise()

    def test_a_point_that_reports_uses_is_told_what_the_store_decided(self):
        cluster = self.cluster
        grant = cluster.request_active(resource="db/prod/counted", max_uses=2)
        point = self.point()
        point.wait_served()
        for i in range(3):
            point.say(use={"request_id": f"use-{i}-{point.id}", "grant_id": grant.id, "count": 1})
            point.wait("use_result", i + 1)
        results = point.all("use_result")
        self.assertEqual([result.code for result in results][:2], [0, 0])
        self.assertNotEqual(results[2].code, 0)
        self.assertEqual(results[2].request_id, f"use-2-{point.id}")

    def test_sessions_are_recorded(self):
        cluster = self.cluster
        grant = cluster.request_active(resource="db/prod/session")
        point = self.point()
        point.wait_served()
        session = os.urandom(16)
        point.say(session_began={"session": session, "grant_id": grant.id, "description": "psql"})
        def sessions():
            points = cluster.call("auditor", "Enforcement", "ListPoints").points
            return [p.sessions for p in points if p.id == point.id]
        eventually("the session is open", lambda: sessions() == [1])
        point.say(session_ended={"session": session})
        eventually("the session is over", lambda: sessions() == [0])

    # --- its end

    def test_a_newer_instance_fences_the_older_one(self):
        older = self.point(id="edge-fenced")
        older.wait_served()
        newer = self.point(self.cluster.nodes[1], id="edge-fenced")
        newer.wait_served()
        self.assert_ended(older, grpc.StatusCode.FAILED_PRECONDITION, "newer instance")
        self.assertEqual(older.all("ended")[0].cause, messages("enforcement").PointEnded.FENCED)
        newer.wait_promise()

    def test_a_point_that_says_goodbye_is_gone_at_once(self):
        point = self.point()
        point.wait_served()
        point.wait_promise()
        point.say(goodbye={})
        self.assert_ended(point, grpc.StatusCode.OK)
        def registered():
            return [p.id for p in self.cluster.call("operator", "Enforcement", "ListPoints").points]
        eventually("the point is gone", lambda: point.id not in registered())
        back = self.point(instance=point.instance, id=point.id)
        self.assert_ended(back, grpc.StatusCode.ABORTED, "new instance")
        self.assertEqual(back.all("ended")[0].cause, messages("enforcement").PointEnded.UNKNOWN)

    def test_a_newer_stream_of_one_instance_takes_over(self):
        first = self.point()
        first.wait_served()
        second = self.point(instance=first.instance, id=first.id)
        second.wait_served()
        self.assert_ended(first, grpc.StatusCode.ABORTED, "newer stream")
        self.assertEqual(first.all("ended"), [], "the instance itself goes on")
        second.wait_promise()

    def test_a_point_whose_principal_loses_its_role_is_sent_away(self):
        cluster = self.cluster
        cluster.call("operator", "Cluster", "SetRoles", binding={"member": principal("stranger"), "roles": ["enforcer"], "scope": ["lost/*"]})
        point = self.point(cluster.nodes[2], user="stranger", scope=["lost/a"])
        point.wait_served()
        cluster.call("operator", "Cluster", "SetRoles", binding={"member": principal("stranger"), "roles": ["enforcer"], "scope": ["other/*"]})
        self.assert_ended(point, grpc.StatusCode.PERMISSION_DENIED)
        cluster.call("operator", "Cluster", "SetRoles", binding={"member": principal("stranger"), "roles": []})

    # --- what it must not do

    def test_a_foreign_scope_is_refused(self):
        for scope in (["db/*"], ["db/prod/*", "db/test/a"], ["*"]):
            self.assert_ended(self.point(user="dev2", scope=scope), grpc.StatusCode.PERMISSION_DENIED)
        self.assert_ended(self.point(user="dev1"), grpc.StatusCode.PERMISSION_DENIED)
        self.assert_ended(self.point(user="stranger"), grpc.StatusCode.PERMISSION_DENIED)
        self.point(user="dev2", scope=["db/prod/orders"]).wait_served()

    def test_another_principals_id_is_refused(self):
        self.point(id="edge-mine").wait_served()
        self.assert_ended(self.point(id="edge-mine", user="dev2"), grpc.StatusCode.PERMISSION_DENIED)

    def test_a_revision_that_does_not_exist_is_refused_and_counted(self):
        node = self.cluster.nodes[0]
        status = self.cluster.status(node)
        point = self.point(node, epoch=status.epoch, revision=status.revision + 1_000_000)
        self.assert_ended(point, grpc.StatusCode.FAILED_PRECONDITION, "drop the cache")
        self.assertGreaterEqual(node.metric("lapse_point_false_cursors_total"), 1)
        self.assertIn("claims a revision", node.log())
        other = self.point(node, epoch=status.epoch + 1, revision=5)
        other.wait_served()
        self.assertIn("epoch", other.all("resync")[0].reason)

    def test_an_ack_of_what_was_never_sent_is_refused_and_counted(self):
        node = self.cluster.nodes[0]
        point = self.point(node)
        revision = point.wait_served().revision
        point.say(ack={"received": revision + 1_000_000, "enforced": 0})
        self.assert_ended(point, grpc.StatusCode.INVALID_ARGUMENT, "not sent")
        self.assertGreaterEqual(node.metric("lapse_point_false_acks_total"), 1)

    def test_malformed_registrations_are_refused(self):
        invalid, range_ = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE
        self.assert_ended(self.point(lease_ms=999), range_, "lease")
        self.assert_ended(self.point(lease_ms=60001), range_, "lease")
        self.assert_ended(self.point(id="edge one"), invalid, "id")
        self.assert_ended(self.point(id="e" * 65), invalid)
        self.assert_ended(self.point(instance=b"short"), invalid, "instance")
        self.assert_ended(self.point(scope=[]), invalid, "scope")
        self.assert_ended(self.point(scope=[f"a/{i}" for i in range(9)]), invalid)
        self.assert_ended(self.point(scope=["a/*/b"]), invalid)

    def test_a_stream_begins_with_its_one_registration(self):
        point = self.point(register=False)
        point.say(ping={"sequence": 1})
        self.assert_ended(point, grpc.StatusCode.INVALID_ARGUMENT, "registration")
        point = self.point()
        point.wait_served()
        point.say(registration=dict(id=point.id, instance=point.instance, scope=point.scope))
        self.assert_ended(point, grpc.StatusCode.INVALID_ARGUMENT, "one registration")

    def test_garbage_is_refused(self):
        subscribe = self.cluster._cached("proxy1", self.cluster.nodes[0]).stream_stream("/lapse.v1.Enforcement/Subscribe")
        for garbage in (b"\xff\xff\xff\xff", b"\x0a\x7f", os.urandom(300), b"\x0a\x02\x0a\x00" * 1000):
            with refused(self, grpc.StatusCode.INVALID_ARGUMENT):
                list(subscribe(iter([garbage])))

    def test_G8_bounded_a_flood_of_pings_is_cut_off_and_others_are_served(self):
        point = self.point()
        point.wait_served()
        for i in range(1000):
            point.say(ping={"sequence": i})
        self.assert_ended(point, grpc.StatusCode.RESOURCE_EXHAUSTED, "pings")
        self.point().wait_served()

    # --- what an enforcer with a scope sees elsewhere

    def test_an_enforcer_with_a_scope_sees_only_grants_that_overlap_it(self):
        cluster = self.cluster
        inside = cluster.request_active(resource="db/prod/seen")
        outside = cluster.request_active(resource="db/test/unseen")
        self.assertEqual(cluster.grants("dev2", "Get", grant_id=inside.id).grant.id, inside.id)
        with refused(self, grpc.StatusCode.NOT_FOUND):
            cluster.grants("dev2", "Get", grant_id=outside.id)
        listed = {grant.resource for grant in cluster.grants("dev2", "List", filter={"resource": "db/test/*"}).grants}
        self.assertEqual(listed, set())
        self.assertTrue(cluster.grants("dev2", "Check", subject=principal("dev1"), resource="db/prod/seen", action="read").allowed)
        with refused(self, grpc.StatusCode.PERMISSION_DENIED):
            cluster.grants("dev2", "Check", subject=principal("dev1"), resource="db/test/unseen", action="read")
        stream = cluster.watch("dev2", snapshot=True, progress_ms=100)
        seen = set()
        for item in stream:
            if item.WhichOneof("kind") == "snapshot_grant":
                seen.add(item.snapshot_grant.id)
            if item.WhichOneof("kind") == "snapshot_end":
                break
        self.assertIn(inside.id, seen)
        self.assertNotIn(outside.id, seen)
        hidden = cluster.request_active(resource="db/test/later")
        shown = cluster.request_active(resource="db/prod/later")
        events = []
        for item in stream:
            if item.WhichOneof("kind") == "event":
                events.append(item.event.grant.id)
                if item.event.revision >= shown.revision:
                    break
        stream.cancel()
        self.assertIn(shown.id, events)
        self.assertNotIn(hidden.id, events)


class Stopping(unittest.TestCase):
    def test_a_node_that_stops_sends_its_points_to_another_one(self):
        import signal
        with Cluster() as cluster:
            point = Point(cluster, cluster.nodes[0])
            cursor = point.wait_served().revision
            epoch = point.heard[0].epoch
            self.assertEqual(cluster.nodes[0].kill(signal.SIGTERM), 0)
            status, details = point.ended()
            self.assertEqual(status, grpc.StatusCode.UNAVAILABLE)
            self.assertIn("stopping", details)
            moved = Point(cluster, cluster.nodes[1], instance=point.instance, id=point.id, epoch=epoch, revision=cursor)
            moved.wait("registered")
            moved.wait_promise()
            self.assertEqual(moved.all("resync"), [])
            moved.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
