#!/usr/bin/python3
"""The main job through a client that Lapse did not write, over mutual TLS: request, approve, active, used, revoked, seen everywhere."""

import threading
import time
import unittest

from harness import Cluster, eventually, grpc, generated, messages, principal, refused

OK = grpc.StatusCode


class Watcher(threading.Thread):
    """Collects the events of one Watch stream."""

    def __init__(self, cluster, user, node, **fields):
        super().__init__(daemon=True)
        self.stream = cluster.watch(user, node, **fields)
        self.items, self.error = [], None
        self.created = next(self.stream)
        self.start()

    def run(self):
        try:
            for item in self.stream:
                self.items.append(item)
        except grpc.RpcError as error:
            self.error = error

    def events(self):
        return [item.event for item in list(self.items) if item.WhichOneof("kind") == "event"]

    def saw(self, grant_id, kind):
        return [e for e in self.events() if e.grant.id == grant_id and e.type == kind]

    def stop(self):
        self.stream.cancel()
        self.join()


class MainJob(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.cluster.__enter__()
        cls.g = messages("grant")

    @classmethod
    def tearDownClass(cls):
        cls.cluster.__exit__(None, None, None)

    def test_a_grant_begins_and_ends_on_a_follower_s_watch(self):
        cluster, g = self.cluster, self.g
        follower = cluster.followers()[0]
        watcher = Watcher(cluster, "proxy1", follower)
        grant = cluster.request_active()
        self.assertEqual(grant.state, g.ACTIVE)
        self.assertEqual(grant.approvals[0].approver, principal("oncall"))
        revoked = cluster.grants("operator", "Revoke", grant_id=grant.id, reason="left the team")
        self.assertEqual(revoked.grant.state, g.REVOKED)
        eventually("the revocation on the follower", lambda: watcher.saw(grant.id, g.EVENT_REVOKED))
        kinds = [e.type for e in watcher.events() if e.grant.id == grant.id]
        self.assertEqual(kinds, [g.EVENT_REQUESTED, g.EVENT_APPROVED, g.EVENT_ACTIVATED, g.EVENT_REVOKED])
        self.assertEqual(watcher.saw(grant.id, g.EVENT_REVOKED)[0].revision, revoked.revision)
        watcher.stop()

    def test_check_follows_every_change_at_once_on_every_node(self):
        cluster = self.cluster
        question = dict(subject="user:batch", resource="db/check/one", action="read")
        grant = cluster.request_active(resource="db/check/*", subject="user:batch")
        for node in cluster.nodes:
            answer = cluster.grants("proxy1", "Check", node, **question)
            self.assertTrue(answer.allowed, answer.verdict)
            self.assertEqual(answer.grant.id, grant.id)
            self.assertGreater(answer.valid_for_ms, 0)
        ended = cluster.grants("dev1", "Complete", cluster.nodes[1], grant_id=grant.id, reason="done")
        for node in cluster.nodes:
            answer = cluster.grants("proxy1", "Check", node, **question)
            self.assertFalse(answer.allowed)
            self.assertEqual(answer.verdict, "NOT_ACTIVE")
            self.assertGreaterEqual(answer.revision, ended.revision)

    def test_G3_never_late_a_grant_expires_by_itself_and_not_before(self):
        cluster, g = self.cluster, self.g
        watcher = Watcher(cluster, "proxy1", cluster.nodes[2])
        grant = cluster.request_active(duration_ms=300)
        expired = eventually("its expiry", lambda: watcher.saw(grant.id, g.EVENT_EXPIRED))[0]
        self.assertGreaterEqual(expired.time_ms, grant.deadline_ms)
        self.assertEqual(expired.grant.deadline_ms, grant.deadline_ms, "a deadline never moves")
        watcher.stop()

    def test_a_grant_waits_for_its_not_before(self):
        cluster, g = self.cluster, self.g
        watcher = Watcher(cluster, "proxy1", cluster.nodes[0])
        now_ms = watcher.created.created.time_ms
        grant = cluster.request_active(not_before_ms=now_ms + 700, duration_ms=60_000)
        self.assertEqual(grant.state, g.APPROVED)
        begun = eventually("its beginning", lambda: watcher.saw(grant.id, g.EVENT_ACTIVATED))[0]
        self.assertGreaterEqual(begun.time_ms, now_ms + 700)
        self.assertEqual(begun.grant.deadline_ms, now_ms + 700 + 60_000)
        watcher.stop()

    def test_uses_are_counted_and_the_last_one_ends_it(self):
        cluster, g = self.cluster, self.g
        grant = cluster.request_active(max_uses=2)
        self.assertEqual(cluster.grants("proxy1", "Use", grant_id=grant.id).grant.uses, 1)
        self.assertEqual(cluster.grants("proxy1", "Use", grant_id=grant.id).grant.state, g.EXHAUSTED)
        with refused(self, OK.FAILED_PRECONDITION, "EXHAUSTED"):
            cluster.grants("proxy1", "Use", grant_id=grant.id)

    def test_requests_are_denied_cancelled_and_lapse(self):
        cluster, g = self.cluster, self.g
        ask = lambda **more: cluster.grants("dev1", "Request", subject=principal("dev1"), resource="host/web1", actions=["ssh"],
                                            justification="disk full", duration_ms=60_000, **more).grant
        self.assertEqual(cluster.grants("oncall", "Deny", grant_id=ask().id, comment="use the runbook").grant.state, g.DENIED)
        self.assertEqual(cluster.grants("dev1", "Cancel", grant_id=ask().id, reason="solved").grant.state, g.CANCELLED)
        soon = cluster.status(cluster.nodes[0]).time_ms + 400
        lapsing = ask(pending_until_ms=soon)
        eventually("it lapses",
                   lambda: cluster.grants("auditor", "Get", grant_id=lapsing.id).grant.state == g.LAPSED)

    def test_a_repeated_request_id_has_the_first_outcome(self):
        cluster = self.cluster
        fields = dict(request_id="ticket-4711", subject=principal("dev1"), resource="db/again", actions=["read"],
                      justification="retry", duration_ms=60_000)
        first = cluster.grants("dev1", "Request", cluster.nodes[0], **fields)
        again = cluster.grants("dev1", "Request", cluster.nodes[1], **fields)
        self.assertEqual((first.grant.id, first.revision, first.repeated_call), (again.grant.id, again.revision, False))
        self.assertTrue(again.repeated_call)
        with refused(self, OK.ALREADY_EXISTS, "request_id"):
            cluster.grants("dev1", "Request", **{**fields, "resource": "db/other"})

    def test_list_pages_through_what_matches_once(self):
        cluster = self.cluster
        wanted = {cluster.request_active(resource=f"list/r{i}").id for i in range(25)}
        cluster.request_active(resource="elsewhere/r1")
        seen, token = [], ""
        while True:
            page = cluster.grants("auditor", "List", filter={"resource": "list/*"}, page_size=10, page_token=token)
            self.assertLessEqual(len(page.grants), 10)
            seen += [grant.id for grant in page.grants]
            token = page.next_page_token
            if not token:
                break
        self.assertEqual(len(seen), len(set(seen)))
        self.assertEqual(set(seen), wanted)

    def test_whoever_has_no_role_that_sees_all_sees_their_own(self):
        cluster = self.cluster
        grant = cluster.request_active(resource="own/thing")
        self.assertEqual(cluster.grants("dev1", "Get", grant_id=grant.id).grant.id, grant.id)
        with refused(self, OK.NOT_FOUND, grant.id):
            cluster.grants("dev2", "Get", grant_id=grant.id)
        self.assertEqual(len(cluster.grants("dev2", "List", filter={"resource": "own/*"}).grants), 0)
        with refused(self, OK.PERMISSION_DENIED):
            cluster.grants("dev2", "Check", subject=principal("dev1"), resource="own/thing", action="read")
        with refused(self, OK.PERMISSION_DENIED, "no role"):
            cluster.grants("stranger", "Get", grant_id=grant.id)

    def test_health_and_readiness_are_served(self):
        health = self.cluster._cached("auditor", self.cluster.nodes[0])
        check = health.unary_unary("/grpc.health.v1.Health/Check")
        self.assertEqual(check(b"", timeout=30), b"\x08\x01")
        self.assertEqual(self.cluster.nodes[0].http("/healthz")[0], 200)
        self.assertEqual(self.cluster.nodes[0].http("/readyz")[0], 200)
        self.assertGreater(self.cluster.nodes[0].metric("lapse_revision"), 0)
        self.assertEqual(self.cluster.nodes[0].http("/nothing")[0], 404)

    def test_the_services_are_found_by_reflection_alone(self):
        """A client without our .proto files: descriptors from the server, messages made from them, a call that works."""
        import reflection_client
        channel = self.cluster._cached("dev1", self.cluster.nodes[1])
        services = reflection_client.list_services(channel)
        for name in ["lapse.v1.Grants", "lapse.v1.Cluster", "grpc.health.v1.Health"]:
            self.assertIn(name, services)
        api = reflection_client.Api(channel, "lapse.v1.Grants")
        answer = api.call("Request", dict(request_id="by-reflection", subject=principal("dev1"), resource="db/found",
                                          actions=["read"], justification="no stubs", duration_ms=60_000))
        self.assertEqual(answer.grant.resource, "db/found")

    def test_status_tells_the_same_story_on_every_node(self):
        cluster = self.cluster
        state = cluster.assert_one_history()
        statuses = [cluster.status(node) for node in cluster.nodes]
        self.assertEqual({s.node_id for s in statuses}, {1, 2, 3})
        self.assertEqual(sum(s.state == "leader" for s in statuses), 1)
        self.assertEqual(len({(s.leader_id, s.term, s.epoch) for s in statuses}), 1)
        self.assertEqual([n.role for n in statuses[0].nodes], ["voter"] * 3)
        self.assertTrue(state.cluster.startswith("test-"))

    def test_a_deadline_that_is_too_short_ends_the_call_with_its_own_code(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.cluster.stub("auditor", "Grants").List(messages("grants").ListRequest(), timeout=0.000001)
        self.assertEqual(caught.exception.code(), OK.DEADLINE_EXCEEDED)


if __name__ == "__main__":
    generated()
    unittest.main()
