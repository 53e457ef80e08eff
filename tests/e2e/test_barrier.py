#!/usr/bin/python3
"""G5 with real processes: a revocation that waits says OK when every enforcement point in its scope denies, and otherwise who does not."""

import signal
import time
import unittest
import uuid

from harness import Cluster, eventually, grpc, messages, principal, refused
from point import Point

WAIT = {"COMMITTED": 0, "RECEIVED": 1, "ENFORCED": 2}
ENFORCED, FAILED, LAPSED, LEFT, RECEIVED, WAITING = 1, 2, 3, 4, 5, 6


class Barrier(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.cluster.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.cluster.__exit__(None, None, None)

    def tearDown(self):
        """The next test has points of its own."""
        points = lambda: self.points("operator")
        eventually("all points have been ended", lambda: not [p for p in points() if not self.waited_out(p)])

    def waited_out(self, point):
        """A barrier over everything waits a point out that is gone."""
        grant = self.cluster.request_active(resource=point.scope[0].replace("*", "x"))
        self.revoke(grant, timeout=30)
        return point.instance not in [p.instance for p in self.points("operator")]

    def points(self, user):
        return self.cluster.call(user, "Enforcement", "ListPoints").points

    def barrier_of(self, user="operator", **what):
        return self.cluster.call(user, "Enforcement", "GetBarrier", **what)

    def revoke(self, grant, wait="ENFORCED", node=None, timeout=30, request_id=None, user="operator", **fields):
        """One attempt, whatever comes of it."""
        request = messages("grants").EndRequest(request_id=request_id or str(uuid.uuid4()), grant_id=grant.id, reason="over", wait=WAIT[wait], **fields)
        return self.cluster.stub(user, "Grants", node).Revoke(request, timeout=timeout)

    def test_without_points_a_revocation_is_enforced_when_it_is_committed(self):
        answer = self.revoke(self.cluster.request_active(resource="nobody/guards"))
        self.assertTrue(answer.barrier.done)
        self.assertEqual((answer.barrier.id, answer.barrier.points, answer.barrier.grants), (answer.revision, 0, 1))

    def test_G5_the_barrier_waits_for_each_point_and_holds_their_receipts(self):
        cluster = self.cluster
        with Point(cluster, "edge-1", node=cluster.nodes[0]) as one, Point(cluster, "edge-2", node=cluster.nodes[1]) as two, \
                Point(cluster, "elsewhere", scope=["web/*"], node=cluster.nodes[2]):
            grant = cluster.request_active()
            for point in (one, two):
                eventually("the point has the grant", lambda point=point: grant.id in point.grants)
            for wait in ("ENFORCED", "RECEIVED"):
                for node in cluster.nodes:
                    again = cluster.request_active()
                    answer = self.revoke(again, wait, node)
                    self.assertEqual((answer.barrier.points, answer.grant.state), (2, messages("grant").REVOKED))
                    if wait == "ENFORCED":
                        self.assertTrue(answer.barrier.done)
                        self.assertEqual(answer.barrier.enforced, 2)
            answer = self.revoke(grant)
            for point in (one, two):
                self.assertNotIn(grant.id, point.grants)
            view = self.barrier_of(grant_id=grant.id)
            self.assertEqual(view.barrier.id, answer.revision)
            self.assertEqual({(r.point, r.level) for r in view.receipts}, {("edge-1", ENFORCED), ("edge-2", ENFORCED)})
            self.assertEqual(self.barrier_of(barrier=answer.revision).barrier, view.barrier)
            self.assertEqual(cluster.assert_one_history().revision, cluster.status(cluster.nodes[0]).revision)

    def test_silence_is_named_and_then_waited_out(self):
        cluster = self.cluster
        with Point(cluster, "edge-1") as one, Point(cluster, "mute", lease_ms=3000) as mute:
            mute.acknowledges = False
            grant = cluster.request_active()
            eventually("the points have the grant", lambda: grant.id in one.grants and grant.id in mute.grants)
            request_id = str(uuid.uuid4())
            with refused(self, grpc.StatusCode.DEADLINE_EXCEEDED, "PENDING: revoked at revision", "not confirmed by mute (until ", grant.id):
                self.revoke(grant, request_id=request_id, wait_ms=500)
            view = self.barrier_of(grant_id=grant.id)
            self.assertFalse(view.barrier.done)
            self.assertIn(("mute", WAITING), {(r.point, r.level) for r in view.receipts})
            before = time.monotonic()
            with refused(self, grpc.StatusCode.DEADLINE_EXCEEDED, "PENDING"):
                self.revoke(grant, request_id=request_id, timeout=0.4)
            self.assertLess(time.monotonic() - before, 60)
            answer = self.revoke(grant, request_id=request_id)
            self.assertTrue(answer.repeated_call and answer.barrier.done)
            self.assertEqual((answer.barrier.enforced, answer.barrier.lapsed), (1, 1))
            self.assertFalse(mute.promised(), "LAPSED while a promise ran")
            eventually("the mute point is told", lambda: mute.ended is not None)
            self.assertNotIn("mute", [p.id for p in self.points("operator")])

    def test_goodbye_leaves_at_once(self):
        cluster = self.cluster
        with Point(cluster, "leaver", lease_ms=60000) as leaver:
            grant = cluster.request_active()
            eventually("the point has the grant", lambda: grant.id in leaver.grants)
            leaver.acknowledges = False
            leaver.goodbye()
            answer = self.revoke(grant, timeout=30)
            self.assertTrue(answer.barrier.done)
            self.assertIn((answer.barrier.points, answer.barrier.left), [(1, 1), (0, 0)])

    def test_only_revocations_wait_and_only_for_what_there_is(self):
        cluster = self.cluster
        grant = cluster.request_active()
        for method in ("Cancel", "Complete"):
            with refused(self, grpc.StatusCode.INVALID_ARGUMENT, "wait"):
                cluster.grants("dev1", method, grant_id=grant.id, wait=2)
        with refused(self, grpc.StatusCode.INVALID_ARGUMENT, "wait 3"):
            cluster.grants("operator", "Revoke", grant_id=grant.id, wait=3)
        with refused(self, grpc.StatusCode.INVALID_ARGUMENT, "wait_ms"):
            cluster.grants("operator", "Revoke", grant_id=grant.id, wait_ms=5)
        with refused(self, grpc.StatusCode.INVALID_ARGUMENT, "either"):
            self.barrier_of()
        with refused(self, grpc.StatusCode.INVALID_ARGUMENT, "either"):
            self.barrier_of(grant_id=grant.id, barrier=7)
        with refused(self, grpc.StatusCode.NOT_FOUND, "no such revocation"):
            self.barrier_of(grant_id=grant.id)
        with refused(self, grpc.StatusCode.PERMISSION_DENIED, "operators and auditors"):
            self.points("dev1")
        self.revoke(grant)
        self.assertTrue(self.barrier_of("dev1", grant_id=grant.id).barrier.done, "one's own")
        with refused(self, grpc.StatusCode.NOT_FOUND):
            self.barrier_of("dev2", grant_id=grant.id)
        with refused(self, grpc.StatusCode.FAILED_PRECONDITION):
            self.revoke(grant)

    def test_revoke_matching_ends_what_matches_and_waits_for_the_points(self):
        cluster = self.cluster
        with Point(cluster, "edge-1") as one:
            grants = [cluster.request_active(ticket="T-1") for _ in range(5)]
            other = cluster.request_active(ticket="T-2")
            eventually("the point has them", lambda: {g.id for g in grants} | {other.id} <= set(one.grants))
            with refused(self, grpc.StatusCode.INVALID_ARGUMENT):
                cluster.grants("operator", "RevokeMatching", reason="all of them?")
            with refused(self, grpc.StatusCode.PERMISSION_DENIED):
                cluster.grants("dev1", "RevokeMatching", filter={"ticket": "T-1"}, reason="no")
            answer = cluster.grants("operator", "RevokeMatching", filter={"ticket": "T-1"}, reason="closed", wait=2)
            self.assertEqual((answer.barrier.grants, answer.barrier.done, answer.barrier.enforced), (5, True, 1))
            self.assertEqual(set(one.grants), {other.id})
            self.assertTrue(self.barrier_of(barrier=answer.revision).barrier.done)
            self.revoke(other)

    def follow(self, node=None, timeout=30, **what):
        request = messages("grants").RevokeAndFollowRequest(**what)
        return self.cluster.stub("operator", "Grants", node).RevokeAndFollow(request, timeout=timeout)

    def test_revoke_and_follow_tells_how_it_goes(self):
        cluster = self.cluster
        with Point(cluster, "edge-1") as one, Point(cluster, "slow", node=cluster.nodes[1]) as slow:
            for node in cluster.nodes:
                slow.enforces = False
                grant = cluster.request_active()
                eventually("the points have the grant", lambda: grant.id in one.grants and grant.id in slow.grants)
                end = messages("grants").EndRequest(grant_id=grant.id, request_id=str(uuid.uuid4()), reason="over")
                stream = self.follow(node, revoke=end)
                first = next(stream)
                self.assertTrue(first.committed and not first.last and first.barrier.points == 2)
                told = []
                for message in stream:
                    told.append(message)
                    if not message.last and [(r.point, r.level) for r in message.receipts] == [("slow", RECEIVED)]:
                        slow.enforces = True
                        slow.acknowledge()
                self.assertTrue(told[-1].last and told[-1].barrier.done)
                self.assertEqual((told[-1].barrier.enforced, len(told[-1].receipts)), (2, 0))
                self.assertTrue([m for m in told if not m.last], "some progress was told")

    def test_revoke_and_follow_ends_with_the_status_of_revoke(self):
        cluster = self.cluster
        with Point(cluster, "stuck") as stuck:
            grant = cluster.request_active()
            eventually("the point has the grant", lambda: grant.id in stuck.grants)
            stuck.enforces = False
            end = messages("grants").EndRequest(grant_id=grant.id, request_id=str(uuid.uuid4()), reason="over", wait=2)
            messages_seen = []
            with refused(self, grpc.StatusCode.ABORTED, "FAILED: stuck: pts/3 does not end"):
                for message in self.follow(revoke=end):
                    messages_seen.append(message)
                    if message.committed:
                        stuck.fail(message.barrier.revision, "pts/3 does not end")
                        stuck.enforces = True
                    stuck.acknowledge()
            last = messages_seen[-1]
            self.assertTrue(last.last and last.barrier.failed == 1)
            self.assertEqual([(r.point, r.level, r.reason) for r in last.receipts], [("stuck", FAILED, "pts/3 does not end")])
            with refused(self, grpc.StatusCode.ABORTED, "FAILED: stuck"):
                self.cluster.stub("operator", "Grants").Revoke(end, timeout=30)
            modest = messages("grants").EndRequest()
            modest.CopyFrom(end)
            modest.wait = WAIT["RECEIVED"]
            self.assertTrue(self.cluster.stub("operator", "Grants").Revoke(modest, timeout=30).barrier.done)
        with refused(self, grpc.StatusCode.INVALID_ARGUMENT, "what to revoke"):
            list(self.follow())

    def test_a_wait_survives_its_node_and_its_leader(self):
        """The same request_id on another node finds the same barrier."""
        cluster = self.cluster
        with Point(cluster, "mute", node=cluster.nodes[2], lease_ms=2000) as mute:
            grant = cluster.request_active()
            eventually("the point has the grant", lambda: grant.id in mute.grants)
            mute.acknowledges = False
            request_id = str(uuid.uuid4())
            with refused(self, grpc.StatusCode.DEADLINE_EXCEEDED, "mute"):
                self.revoke(grant, request_id=request_id, wait_ms=300)
            leader = cluster.leader()
            leader.kill()
            try:
                node = next(n for n in cluster.alive())
                answer = eventually("it is enforced", lambda: self.attempt(grant, request_id, node))
                self.assertTrue(answer.barrier.done and answer.barrier.lapsed == 1)
                self.assertFalse(mute.promised())
            finally:
                leader.start()
                cluster.wait_ready()

    def waits(self, node, n):
        eventually(f"{n} calls wait at node {node.id}", lambda: node.metric("lapse_barrier_waits") == n)

    def begin(self, grant, node, request_id):
        end = messages("grants").EndRequest(request_id=request_id, grant_id=grant.id, reason="over", wait=WAIT["ENFORCED"])
        return self.cluster.stub("operator", "Grants", node).Revoke.future(end, timeout=60)

    def test_who_goes_away_frees_the_wait_and_a_node_that_stops_sends_the_others_to_another(self):
        cluster = self.cluster
        node, other = cluster.nodes[1], cluster.nodes[2]
        with Point(cluster, "mute", node=cluster.nodes[0], lease_ms=20000) as mute:
            mute.acknowledges = False
            grant = cluster.request_active()
            eventually("the point has the grant", lambda: grant.id in mute.grants)
            request_id = str(uuid.uuid4())
            gone, stays = self.begin(grant, node, request_id), self.begin(grant, node, request_id)
            end = messages("grants").EndRequest(request_id=request_id, grant_id=grant.id, reason="over")
            stream = self.follow(node, timeout=60, revoke=end)
            self.assertTrue(next(stream).committed)
            self.waits(node, 3)
            gone.cancel()
            self.waits(node, 2)
            eventually("its metrics tell", lambda: node.metric("lapse_barriers_open") == 1 and node.metric("lapse_barrier_oldest_ms") > 0)
            self.assertEqual(node.kill(signal.SIGTERM), 0, node.log()[-3000:])
            with refused(self, grpc.StatusCode.UNAVAILABLE, "same request_id"):
                stays.result()
            with refused(self, grpc.StatusCode.UNAVAILABLE, "same request_id"):
                list(stream)
            node.start()
            cluster.wait_ready()
            cluster.renew("operator", node)
            again = self.begin(grant, other, request_id)
            self.waits(other, 1)
            mute.acknowledges = True
            mute.acknowledge()
            self.assertEqual(again.result().barrier.enforced, 1)
            mute.goodbye()
            eventually("it has left", lambda: "mute" not in [p.id for p in self.points("operator")])

    def attempt(self, grant, request_id, node):
        try:
            return self.revoke(grant, request_id=request_id, node=node)
        except grpc.RpcError:
            self.cluster.renew("operator", node)
            return None

    def test_a_role_of_an_enforcer_has_a_scope(self):
        cluster = self.cluster
        cluster.call("operator", "Cluster", "SetRoles",
                     binding={"member": principal("stranger"), "roles": ["enforcer"], "scope": ["web/*", "db/prod/*", "web/*"]})
        bindings = {b.member: b for b in cluster.call("operator", "Cluster", "ListRoles").bindings}
        self.assertEqual(list(bindings[principal("stranger")].scope), ["db/prod/*", "web/*"])
        self.assertEqual(list(bindings[principal("proxy1")].scope), [])
        with refused(self, grpc.StatusCode.INVALID_ARGUMENT, "resource"):
            cluster.call("operator", "Cluster", "SetRoles",
                         binding={"member": principal("stranger"), "roles": ["enforcer"], "scope": ["a b"]})
        cluster.call("operator", "Cluster", "SetRoles", binding={"member": principal("stranger")})


class Alone(unittest.TestCase):
    def test_G5_a_sole_node_leads_promises_and_confirms_also_after_its_restart(self):
        with Cluster(nodes=1) as cluster:
            node = cluster.nodes[0]
            for restart in (False, True):
                if restart:
                    self.assertEqual(node.kill(signal.SIGTERM), 0, node.log()[-3000:])
                    node.start()
                    cluster.wait_ready()
                    for user in ("operator", "dev1", "oncall", "proxy1"):
                        cluster.renew(user, node)
                with Point(cluster, f"edge-{restart}", lease_ms=1000) as edge:
                    grant = cluster.request_active()
                    eventually("the point has the grant", lambda: grant.id in edge.grants)
                    answer = cluster.grants("operator", "Revoke", grant_id=grant.id, wait=2)
                    self.assertEqual((answer.barrier.enforced, answer.barrier.done), (1, True))
                    edge.acknowledges = False
                    mute = cluster.request_active()
                    answer = cluster.grants("operator", "Revoke", grant_id=mute.id, wait=2)
                    self.assertEqual((answer.barrier.lapsed, answer.barrier.done), (1, True))
                    self.assertFalse(edge.promised())


if __name__ == "__main__":
    unittest.main()
