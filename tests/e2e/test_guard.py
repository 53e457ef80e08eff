#!/usr/bin/python3
"""What a guard does for its users, with real processes: a new grant works on first use, uses are counted over all guards, sessions end with their grants, one name
is one guard, and a revocation's receipts say who stopped honouring it."""

import json
import threading
import time
import unittest

from harness import eventually, grpc, messages, principal, refused
from probe import SECOND, WithProbes, cli, end_request, figures, watch

ENFORCED, FAILED, LAPSED, LEFT, RECEIVED, WAITING = 1, 2, 3, 4, 5, 6


class Background:
    """A call in a thread of its own; its outcome and when it was there."""

    def __init__(self, call):
        self.answer, self.error, self.returned_ns = None, None, None
        self.thread = threading.Thread(target=self.run, args=(call,), daemon=True)
        self.thread.start()

    def run(self, call):
        try:
            self.answer = call()
        except grpc.RpcError as error:
            self.error = error
        self.returned_ns = time.monotonic_ns()

    def join(self):
        self.thread.join()
        if self.error is not None:
            raise self.error
        return self.answer


class Guard(WithProbes):
    def events(self, stream, wanted):
        """The first event of a watch that is wanted."""
        for message in stream:
            if message.WhichOneof("kind") == "event" and wanted(message.event):
                return message.event
        raise AssertionError("the watch ended")

    # --- grants

    def test_a_new_grant_works_on_first_use_once_its_revision_is_there(self):
        probes, took = self.one_per_node(), []
        for i in range(100):
            asked = self.cluster.grants("dev1", "Request", subject=principal("dev1"), resource=f"db/prod/first-{i}", actions=["read"],
                                        justification="first use", duration_ms=600_000)
            self.assertFalse(probes[i % 3].check(asked.grant)["permit"])
            approved = self.cluster.grants("oncall", "Approve", self.cluster.nodes[(i + 1) % 3], grant_id=asked.grant.id)
            began_ns = time.monotonic_ns()
            waited = probes[i % 3].ask("wait", approved.revision, 60000)
            self.assertEqual(waited["code"], 0, waited)
            took.append(waited["at_ns"] - began_ns)
            first = probes[i % 3].check(approved.grant)
            self.assertEqual((first["permit"], first["grant"]), (True, approved.grant.id), first)
        figures("until a guard has an approval's revision", took)

    def test_G5_a_thousand_grants_are_revoked_in_one_step(self):
        probes, n = self.one_per_node(pause_us=1000), 1000
        grants = self.many(n, ticket="INC-7")
        other = self.grant(probes)
        watch(probes, *grants)
        began_ns = time.monotonic_ns()
        answer = self.cluster.grants("operator", "RevokeMatching", self.cluster.nodes[1], filter={"ticket": "INC-7"}, reason="closed", wait="ENFORCED")
        returned_ns = time.monotonic_ns()
        self.assertEqual((answer.barrier.grants, answer.barrier.enforced, answer.barrier.done), (n, 3, True))
        for grant in grants:
            self.verdicts.revoked(grant, returned_ns, probes)
        for probe in probes:
            probe.wait_permits(other, returned_ns)
        figures(f"RevokeMatching of {n} grants, enforced at 3 guards", [returned_ns - began_ns])

    def many(self, n, **fields):
        """n active grants for n resources; a hundred calls at a time."""
        m, dev1, oncall = messages("grants"), self.cluster.stub("dev1", "Grants"), self.cluster.stub("oncall", "Grants")
        grants = []
        for first in range(0, n, 100):
            asked = [dev1.Request.future(m.RequestRequest(request_id=f"many-{i}", subject=principal("dev1"), resource=f"db/many/{i}", actions=["read"],
                                                          justification="one of many", duration_ms=600_000, **fields), timeout=120)
                     for i in range(first, min(n, first + 100))]
            approved = [oncall.Approve.future(m.DecisionRequest(request_id=f"yes-{call.result().grant.id}", grant_id=call.result().grant.id), timeout=120)
                        for call in asked]
            grants += [call.result().grant for call in approved]
        return grants

    # --- one name, one guard

    def test_a_second_process_of_one_name_takes_over_and_the_first_is_told(self):
        first = self.probe("edge-1").wait_deciding()
        grant = self.grant([first])
        second = self.probe("edge-1").wait_deciding()
        watch([second], grant)
        told = first.wait_for("state", state="FENCED")
        denied = eventually("the first denies", lambda: [c for c in first.changes(grant) if not c["permit"]])
        self.assertEqual(denied[-1]["verdict"], "FENCED")
        second.wait_permits(grant, told["at_ns"])
        answer, returned_ns = self.revoke(grant)
        self.verdicts.revoked(grant, returned_ns, [first, second])
        self.assertEqual(self.receipts(grant)["edge-1"], ENFORCED)
        time.sleep(1)
        self.assertEqual(first.status()["state"], "FENCED", "for good")

    def test_G5_a_fenced_guard_that_was_stopped_is_waited_out_all_the_same(self):
        first = self.probe("edge-1", lease_ms=3000).wait_deciding()
        grant = self.grant([first])
        promise = first.status()
        first.pause()
        second = self.probe("edge-1", lease_ms=3000).wait_deciding()
        watch([second], grant)
        answer, returned_ns = self.revoke(grant)
        self.verdicts.revoked(grant, returned_ns, [first, second])
        self.assertGreaterEqual(returned_ns, promise["at_ns"] + promise["valid_for_ms"] * 10**6, "the first could still permit it by its promise")
        self.assertEqual(answer.barrier.points, 2)
        first.resume()
        first.wait_for("state", state="FENCED")
        first.wait_asked(grant, time.monotonic_ns())

    def test_a_goodbye_spares_the_wait(self):
        leaver, stays = self.probe("leaver", lease_ms=60000).wait_deciding(), self.probe("stays").wait_deciding()
        grant = self.grant([leaver, stays])
        self.assertEqual(leaver.quit(), 0)
        began_ns = time.monotonic_ns()
        answer, returned_ns = self.revoke(grant)
        self.verdicts.revoked(grant, returned_ns, [leaver, stays])
        self.assertLess(returned_ns - began_ns, 50 * SECOND, "less than its lease")
        self.assertIn((answer.barrier.enforced, answer.barrier.left), [(1, 0), (1, 1)])

    # --- uses

    def test_uses_are_counted_over_all_guards(self):
        probes, rounds, permitted = self.one_per_node(), 10, 0
        for _ in range(rounds):
            self.n_grants += 1
            grant = self.cluster.request_active(resource=f"db/uses/{self.n_grants}", max_uses=3)
            for probe in probes:
                self.assertEqual(probe.ask("wait", grant.revision, 60000)["code"], 0)
                self.assertEqual(probe.check(grant)["verdict"], "USES")
            for probe in probes:
                probe.ask("spend", 3, grant.subject, grant.resource, "read")
            eventually("it is used up", lambda: self.cluster.grants("dev1", "Get", grant_id=grant.id).grant.state == messages("grant").EXHAUSTED)
            spent = [probe.ask("rest") for probe in probes]
            self.assertEqual(sum(one["unknown"] for one in spent), 0, spent)
            self.assertEqual(sum(one["permits"] for one in spent), 3, spent)
            permitted += 3
        print(f"{rounds} grants of 3 uses, 9 threads at 3 guards: {permitted} permitted", flush=True)

    def test_a_share_of_uses_is_never_more_than_there_are(self):
        probes = self.one_per_node(use_share=4)
        grant = self.cluster.request_active(resource="db/uses/shared", max_uses=10)
        for probe in probes:
            probe.ask("wait", grant.revision, 60000)
            probe.ask("spend", 2, grant.subject, grant.resource, "read")
        eventually("it is used up", lambda: self.cluster.grants("dev1", "Get", grant_id=grant.id).grant.uses == 10)
        spent = sum(probe.ask("rest")["permits"] for probe in probes)
        self.assertLessEqual(spent, 10)
        self.assertGreaterEqual(spent, 1)

    # --- sessions

    def begin_session(self, probe, grant, description="psql"):
        began = probe.ask("session", grant.id, description)
        self.assertGreater(began["number"], 0, began)
        return began["number"]

    def n_sessions(self, name):
        points = self.cluster.call("auditor", "Enforcement", "ListPoints").points
        return [point.sessions for point in points if point.id == name]

    def test_sessions_are_events_and_end_with_their_grant(self):
        g, probe = messages("grant"), self.probe("edge-1").wait_deciding()
        grant = self.grant([probe])
        stream = self.cluster.watch("auditor", self.cluster.nodes[2], progress_ms=100)
        next(stream)
        number = self.begin_session(probe, grant)
        began = self.events(stream, lambda event: event.type == g.EVENT_SESSION_BEGAN)
        self.assertEqual((began.session.point, began.session.grant_id, began.session.description), ("edge-1", grant.id, "psql"))
        self.assertEqual(self.n_sessions("edge-1"), [1])
        probe.ask("hold")
        enforced = Background(lambda: self.revoke(grant)[0])
        ending = probe.wait_for("end_session", number=number)
        self.assertEqual((ending["grant"], ending["reason"]), (grant.id, "REVOKED"))
        self.events(stream, lambda event: event.type == g.EVENT_REVOKED)
        received = self.cluster.stub("operator", "Grants").Revoke  # a second call can't revoke again; it asks for the barrier
        with refused(self, grpc.StatusCode.FAILED_PRECONDITION):
            received(end_request(grant, wait="RECEIVED"), timeout=60)
        self.assertFalse(probe.check(grant)["permit"], "it is denied while its session still runs")
        self.assertIsNone(enforced.returned_ns, "it returned although a session runs")
        released = probe.ask("release")
        answer = enforced.join()
        self.assertEqual((answer.barrier.enforced, answer.barrier.failed), (1, 0))
        self.assertGreater(enforced.returned_ns, ending["at_ns"])
        self.verdicts.revoked(grant, enforced.returned_ns, [probe])
        ended = self.events(stream, lambda event: event.type == g.EVENT_SESSION_ENDED)
        self.assertEqual(ended.session.id, began.session.id)
        print(f"the session ran on for {(released['at_ns'] - ending['at_ns']) / 10**6:.1f} ms, and the revocation waited", flush=True)

    def test_wait_received_does_not_wait_for_sessions(self):
        probe = self.probe("edge-1", session_end_ms=60000, lease_ms=60000).wait_deciding()
        grant = self.grant([probe])
        self.begin_session(probe, grant)
        probe.ask("hold")
        answer, returned_ns = self.revoke(grant, wait="RECEIVED")
        self.verdicts.revoked(grant, returned_ns, [probe])
        self.assertFalse(answer.barrier.done)
        self.assertIn(self.receipts(grant)["edge-1"], (WAITING, RECEIVED))
        probe.ask("release")
        eventually("the session's end is confirmed", lambda: self.receipts(grant) == {"edge-1": ENFORCED})

    def test_a_session_that_does_not_end_makes_the_revocation_fail(self):
        probe, other = self.probe("edge-1", session_end_ms=200).wait_deciding(), self.probe("edge-2").wait_deciding()
        grant = self.grant([probe, other])
        self.begin_session(probe, grant)
        probe.ask("hold")
        done = cli(self.cluster, "operator", "revoke", grant.id, "--reason", "over")
        returned_ns = time.monotonic_ns()
        self.assertEqual(done.returncode, 5, done.stdout + done.stderr)
        self.assertIn("FAILED", done.stderr)
        self.assertIn("edge-1", done.stderr)
        self.verdicts.revoked(grant, returned_ns, [probe, other])  # it denies nevertheless
        self.assertEqual(self.receipts(grant), {"edge-1": FAILED, "edge-2": ENFORCED})
        self.assertEqual(cli(self.cluster, "operator", "barrier", grant.id).returncode, 5)
        probe.ask("release")

    def test_a_session_ends_at_its_deadline_and_without_a_cluster_if_asked(self):
        probe = self.probe("edge-1", lease_ms=1000, end_sessions_when_stale=True).wait_deciding()
        short, long = self.grant([probe], duration_ms=1500), self.grant([probe])
        ends, stays = self.begin_session(probe, short), self.begin_session(probe, long)
        self.assertIn(probe.wait_for("end_session", number=ends)["reason"], ("EXPIRED", "PAST_DEADLINE"))
        self.assertEqual(probe.heard("end_session", number=stays), [])
        for node in self.cluster.nodes:
            node.kill()
        self.assertEqual(probe.wait_for("end_session", number=stays)["reason"], "STALE")

    # --- receipts

    def test_receipts_are_shown_and_told_as_an_event(self):
        g, probes = messages("grant"), self.one_per_node(lease_ms=2000)
        grant = self.grant(probes)
        stream = self.cluster.watch("auditor", self.cluster.nodes[1], progress_ms=100)
        next(stream)
        probes[2].pause()
        answer, returned_ns = self.revoke(grant)
        self.verdicts.revoked(grant, returned_ns, probes)
        told = self.events(stream, lambda event: event.type == g.EVENT_ENFORCED)
        self.assertEqual(told.barrier.id, answer.barrier.id)
        self.assertEqual((told.barrier.grant_id, told.barrier.enforced, told.barrier.lapsed), (grant.id, 2, 1))
        shown = cli(self.cluster, "operator", "barrier", grant.id)
        self.assertEqual(shown.returncode, 0, shown.stderr)
        for name, level in (("edge-1", "ENFORCED"), ("edge-2", "ENFORCED"), ("edge-3", "LAPSED")):
            self.assertRegex(shown.stdout, rf"(?m)^{name} +{level} ")
        data = json.loads(cli(self.cluster, "operator", "barrier", answer.barrier.id, "--output", "json").stdout)
        self.assertEqual(len(data["receipts"]), 3)
        probes[2].resume()

    def test_points_are_listed(self):
        self.one_per_node()
        listed = cli(self.cluster, "operator", "points")
        self.assertEqual(listed.returncode, 0, listed.stderr)
        for name in ("edge-1", "edge-2", "edge-3"):
            self.assertRegex(listed.stdout, rf"(?m)^{name} +db/\* +3s? .*registered +{principal('proxy1')}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
