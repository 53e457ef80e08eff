#!/usr/bin/python3
"""Locks, with the real command against a real cluster: what is locked is denied at once, everywhere, until it is lifted or its time is over."""

import json
import unittest

from harness import Cluster, eventually, grpc, messages, principal, refused
from point import Point

DEV1 = principal("dev1")
ERROR, DENIED, CONFLICT, NOT_FOUND, USAGE = 1, 2, 5, 3, 64


class Locks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.cluster.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.cluster.__exit__(None, None, None)

    def setUp(self):
        self.assertEqual(self.locks(), [], "each test lifts what it locks")

    def lapse(self, user, *args, code=0):
        return self.cluster.lapse(user, *args, code=code)

    def locks(self, user="operator"):
        return [json.loads(line)["name"] for line in self.lapse(user, "locks", "--output", "json").stdout.splitlines()]

    def unlock(self, name):
        self.lapse("operator", "unlock", name, "--reason", "looked at")

    def verdicts(self, subject=DEV1, resource="db/prod/orders"):
        """As each node says."""
        ask = messages("grants").CheckRequest(subject=subject, resource=resource, action="read")
        return {self.cluster.stub("oncall", "Grants", node).Check(ask, timeout=30).verdict for node in self.cluster.nodes}

    def test_a_locked_subject_is_denied_on_every_node_until_it_is_lifted(self):
        grant = self.cluster.request_active()
        self.assertEqual(self.verdicts(), {"ALLOWS"})
        # Under its other name.
        self.lapse("operator", "lock", "subject", "user:dev1", "--reason", "laptop stolen")
        self.assertEqual(self.verdicts(), {"LOCKED"})
        self.assertEqual(self.lapse("oncall", "check", DEV1, "db/prod/orders", "read", code=None).returncode, DENIED)
        self.assertEqual(self.cluster.grants("oncall", "Get", grant_id=grant.id).grant.state, messages("grant").ACTIVE, "the grant stays")
        self.unlock("subject:user:dev1")
        self.assertEqual(self.verdicts(), {"ALLOWS"})

    def test_a_locked_principal_may_do_nothing_but_end_what_is_its_own(self):
        grant = self.cluster.request_active()
        watch = self.cluster.watch("dev1")
        next(watch)
        self.lapse("operator", "lock", "subject", DEV1, "--reason", "laptop stolen")
        asked = self.lapse("dev1", "request", "--resource", "db/x", "--action", "read", "--duration", "1h", "--justification", "now", code=None)
        self.assertEqual(asked.returncode, DENIED, asked.stderr)
        self.assertIn("locked", asked.stderr)
        self.assertEqual(self.lapse("dev1", "list", code=None).returncode, DENIED)
        with refused(self, grpc.StatusCode.PERMISSION_DENIED, "locked"):
            for _ in watch:
                pass
        # Somebody else for it: refused with the reason.
        for_it = self.lapse("dev2", "request", "--subject", DEV1, "--resource", "db/x", "--action", "read", "--duration", "1h",
                            "--justification", "for them", code=None)
        self.assertEqual(for_it.returncode, CONFLICT, for_it.stderr)
        self.assertIn("laptop stolen", for_it.stderr)
        self.lapse("dev1", "complete", grant.id, "--reason", "stopped")
        self.unlock(f"subject:{DEV1}")
        self.lapse("dev1", "list")

    def test_a_locked_resource_is_denied_to_everybody_and_what_lies_beside_it_is_not(self):
        self.cluster.request_active(resource="db/*")
        self.lapse("operator", "lock", "resource", "db/prod/*", "--reason", "restoring a backup")
        self.assertEqual(self.verdicts(resource="db/prod/orders"), {"LOCKED"})
        self.assertEqual(self.verdicts(resource="db/test/orders"), {"ALLOWS"})
        asked = self.lapse("dev1", "request", "--resource", "db/*", "--action", "read", "--duration", "1h", "--justification", "all", code=None)
        self.assertEqual(asked.returncode, CONFLICT, asked.stderr)
        self.assertIn("restoring a backup", asked.stderr)
        self.unlock("resource:db/prod/*")

    def test_a_lock_for_a_time_ends_by_itself_with_an_event(self):
        watch = self.cluster.watch("auditor")
        next(watch)
        self.cluster.request_active()
        self.lapse("operator", "lock", "subject", DEV1, "--reason", "for a moment", "--for", "2s")
        eventually("the lock is over", lambda: self.locks() == [])
        self.assertEqual(self.verdicts(), {"ALLOWS"})
        types, event_types = [], messages("grant").EventType
        for message in watch:
            if message.WhichOneof("kind") == "event" and message.event.lock.name:
                types.append((event_types.Name(message.event.type), message.event.actor))
            if len(types) == 2:
                break
        watch.cancel()
        self.assertEqual([name.removeprefix("EVENT_") for name, _ in types], ["LOCKED", "UNLOCKED"])
        self.assertEqual([actor for _, actor in types], [principal("operator"), ""], "the clock lifts it")

    def test_a_lock_waits_for_the_enforcement_points_as_a_revocation_does(self):
        with Point(self.cluster, "edge-1", node=self.cluster.nodes[0]), Point(self.cluster, "edge-2", node=self.cluster.nodes[1]), \
                Point(self.cluster, "elsewhere", scope=["web/*"], node=self.cluster.nodes[2]):
            done = json.loads(self.lapse("operator", "lock", "subject", DEV1, "--reason", "stolen", "--output", "json").stdout)
            self.assertEqual((done["barrier"]["points"], done["barrier"]["enforced"], done["barrier"]["done"]), (3, 3, True))
            done = json.loads(self.lapse("operator", "lock", "resource", "db/prod/*", "--reason", "restore", "--output", "json").stdout)
            self.assertEqual((done["barrier"]["points"], done["barrier"]["enforced"], done["barrier"]["done"]), (2, 2, True))
        self.unlock(f"subject:{DEV1}")
        self.unlock("resource:db/prod/*")

    def test_a_silent_point_is_named_and_the_lock_holds_all_the_same(self):
        self.cluster.request_active()
        with Point(self.cluster, "mute", lease_ms=2000) as mute:
            mute.acknowledges = False
            lock = messages("objects").Lock(kind=messages("objects").LOCK_SUBJECT, target=DEV1, reason="stolen")
            ask = messages("governance").LockRequest(request_id="once", lock=lock, wait=2, wait_ms=500)
            with refused(self, grpc.StatusCode.DEADLINE_EXCEEDED, "PENDING: committed at revision", "mute"):
                self.cluster.stub("operator", "Locks").Lock(ask, timeout=30)
            self.assertEqual(self.verdicts(), {"LOCKED"})
            # The next lock, with all its time, waits the silent point out.
            self.lapse("operator", "lock", "subject", DEV1, "--reason", "stolen")
            self.assertFalse(mute.promised())
        self.unlock(f"subject:{DEV1}")

    def test_a_locked_point_is_ended_and_cannot_come_back_until_it_is_lifted(self):
        with Point(self.cluster, "edge-9") as edge:
            self.lapse("operator", "lock", "point", "edge-9", "--reason", "key lost")
            eventually("the point is told", lambda: edge.ended is not None)
        again = Point(self.cluster, "edge-9")
        eventually("it is refused", lambda: again.error is not None)
        self.assertIn("key lost", str(again.error))
        again.silence()
        self.unlock("point:edge-9")
        with Point(self.cluster, "edge-9"):
            pass

    def test_locks_outlive_a_change_of_leader_and_a_restart_of_all(self):
        cluster = self.cluster
        cluster.request_active()
        self.lapse("operator", "lock", "subject", DEV1, "--reason", "laptop stolen")
        for node in cluster.nodes:
            node.kill()
        for node in cluster.nodes:
            node.start()
        cluster.wait_ready()
        for node in cluster.nodes:
            cluster.renew("oncall", node)
            cluster.renew("operator", node)
        self.assertEqual(self.verdicts(), {"LOCKED"})
        self.unlock(f"subject:{DEV1}")
        cluster.assert_one_history()

    def test_wrong_uses_have_clear_answers(self):
        wrong = [
            (("lock", "subject", principal("operator"), "--reason", "me"), CONFLICT, "nobody locks themselves"),
            (("lock", "subject", "user:operator", "--reason", "me"), CONFLICT, "nobody locks themselves"),
            (("lock", "subject", "not one", "--reason", "x"), ERROR, "target"),
            (("lock", "resource", "a/../b", "--reason", "x"), ERROR, "resource"),
            (("lock", "subject", DEV1), USAGE, "--reason"),
            (("lock", "subject", DEV1, "--reason", "x", "--for", "1000d"), ERROR, "366 days"),
            (("lock", "point", "edge-1", "--reason", "x", "--until", "enforced"), USAGE, "--until"),
            (("unlock", "subject:user:nobody"), NOT_FOUND, "no lock of that name"),
            (("lock", "everything"), USAGE, "lock"),
        ]
        for args, code, words in wrong:
            done = self.lapse("operator", *args, code=None)
            self.assertEqual(done.returncode, code, f"{args}: {done.stderr}")
            self.assertIn(words, done.stderr)
        for user in ("oncall", "dev2", "auditor"):
            done = self.lapse(user, "lock", "subject", DEV1, "--reason", "x", code=None)
            self.assertEqual(done.returncode, DENIED, done.stderr)
        self.assertEqual(self.locks("auditor"), [])
        self.assertEqual(self.lapse("dev1", "locks", code=None).returncode, DENIED)


if __name__ == "__main__":
    unittest.main(verbosity=2)
