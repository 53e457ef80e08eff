#!/usr/bin/python3
"""Offboarding, with the real command against a real cluster: one step locks, revokes, cancels, takes eligibility and roles, and shows what it did."""

import json
import unittest
import uuid

from harness import Cluster, messages, principal
from point import Point

DEV1, DEV2 = principal("dev1"), principal("dev2")
ERROR, DENIED, CONFLICT, USAGE = 1, 2, 5, 64


class Offboard(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster()
        self.cluster.__enter__()
        self.addCleanup(self.cluster.__exit__, None, None, None)

    def state(self, grant_id):
        return messages("grant").GrantState.Name(self.cluster.grants("oncall", "Get", grant_id=grant_id).grant.state)

    def ask(self, user, **fields):
        return self.cluster.grants(user, "Request", request_id=str(uuid.uuid4()), resource="db/prod/orders", actions=["read"],
                                   justification="look", duration_ms=600_000, **fields).grant

    def put_eligibility(self, name, member):
        eligibility = messages("objects").Eligibility(name=name, member=member, resources=["db/*"], reason="on call",
                                                      expires_ms=self.cluster.grants("oncall", "List").time_ms + 86_400_000)
        self.cluster.call("operator", "Eligibilities", "Put", eligibility=eligibility)

    def test_one_step_takes_everything_and_leaves_what_is_others(self):
        cluster = self.cluster
        cluster.call("operator", "Cluster", "SetRoles", binding={"member": "user:dev1", "roles": ["auditor"]})
        own = cluster.request_active()
        for_dev2 = cluster.request_active(subject=DEV2)
        pending = self.ask("dev1", subject=DEV1)
        others = self.ask("dev2", subject=DEV2)
        self.put_eligibility("dev1-oncall", "user:dev1")
        self.put_eligibility("dev2-oncall", DEV2)
        with Point(cluster, "edge-1"):
            done = cluster.lapse("operator", "offboard", DEV1, "--reason", "left the company", "--output", "json")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        events, last = [line["event"] for line in lines[:-1]], lines[-1]
        self.assertEqual([event["type"] for event in events[:2]], ["LOCKED", "OFFBOARDED"])
        self.assertEqual(sorted(event["roles"]["member"] for event in events if event["type"] == "ROLES_CHANGED"), sorted([DEV1, "user:dev1"]))
        self.assertEqual([event["eligibility"]["name"] for event in events if event["type"] == "ELIGIBILITY_ENDED"], ["dev1-oncall"])
        ended = {event["grant"]["id"]: event["type"] for event in events if event["type"] in ("REVOKED", "CANCELLED")}
        self.assertEqual(ended, {own.id: "REVOKED", for_dev2.id: "REVOKED", pending.id: "CANCELLED"})
        self.assertEqual(events[-1]["type"], "SWEEP_ENDED")
        self.assertTrue(all(event.get("actor") == principal("operator") for event in events))
        self.assertEqual((last["barrier"]["points"], last["barrier"]["enforced"], last["barrier"]["grants"]), (1, 1, 3))
        self.assertTrue(self.state(others.id).endswith("PENDING"))
        self.assertTrue(self.state(own.id).endswith("REVOKED"))
        asked = cluster.lapse("dev1", "request", "--resource", "db/x", "--action", "read", "--duration", "1h", "--justification", "back", code=None)
        self.assertEqual(asked.returncode, DENIED, asked.stderr)
        roles = cluster.lapse("operator", "cluster", "roles", "list").stdout
        self.assertNotIn(DEV1, roles)
        self.assertIn(DEV2, roles)
        eligibilities = cluster.call("operator", "Eligibilities", "List").eligibilities
        self.assertEqual([eligibility.name for eligibility in eligibilities], ["dev2-oncall"])
        cluster.assert_one_history()

    def test_what_it_prints_for_people_is_the_evidence(self):
        grant = self.cluster.request_active()
        text = self.cluster.lapse("operator", "offboard", "user:dev1", "--reason", "left the company").stdout
        for words in ("LOCKED", "subject:user:dev1", "left the company", "OFFBOARDED", "ROLES_CHANGED", "REVOKED", grant.id,
                      "user:dev1 is offboarded: 1 grants revoked, 0 requests cancelled"):
            self.assertIn(words, text)
        self.assertIn("offboarded", self.cluster.lapse("auditor", "locks").stdout)

    def test_a_repeated_call_has_the_first_outcome_and_its_evidence(self):
        self.cluster.request_active()
        args = ("offboard", DEV1, "--reason", "left", "--request-id", "the-one", "--output", "json")
        first = self.cluster.lapse("operator", *args).stdout.splitlines()
        again = self.cluster.lapse("operator", *args).stdout.splitlines()
        self.assertEqual(first[:-1], again[:-1])
        self.assertTrue(json.loads(again[-1])["repeated_call"])

    def test_it_survives_the_death_of_the_leader(self):
        cluster = self.cluster
        grants = [cluster.request_active(ticket=f"T-{i}") for i in range(20)]
        cluster.leader().kill()
        cluster.leader()
        cluster.lapse("operator", "offboard", DEV1, "--reason", "left")
        alive = cluster.alive()[0]
        states = {messages("grant").GrantState.Name(cluster.grants("oncall", "Get", alive, grant_id=grant.id).grant.state) for grant in grants}
        self.assertEqual({state.rsplit("_", 1)[-1] for state in states}, {"REVOKED"})

    def test_wrong_uses_have_clear_answers(self):
        wrong = [
            ("operator", ("offboard", principal("operator"), "--reason", "me"), CONFLICT, "nobody locks themselves"),
            ("operator", ("offboard", "user:operator", "--reason", "me"), CONFLICT, "nobody locks themselves"),
            ("operator", ("offboard", DEV1), USAGE, "--reason"),
            ("operator", ("offboard", "user:*", "--reason", "all"), ERROR, "subject"),
            ("oncall", ("offboard", DEV1, "--reason", "x"), DENIED, "only an operator"),
        ]
        for user, args, code, words in wrong:
            done = self.cluster.lapse(user, *args, code=None)
            self.assertEqual(done.returncode, code, f"{args}: {done.stderr}")
            self.assertIn(words, done.stderr)
        self.cluster.lapse("operator", "offboard", DEV1, "--reason", "left")
        done = self.cluster.lapse("operator", "lock", "subject", DEV1, "--reason", "x", "--for", "1h", code=None)
        self.assertEqual(done.returncode, CONFLICT, "a lock with an end does not take the place of one without")


if __name__ == "__main__":
    unittest.main(verbosity=2)
