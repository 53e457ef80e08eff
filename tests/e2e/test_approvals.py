#!/usr/bin/python3
"""Approvals through the real command and three nodes: several steps, quorum, comments, withdrawal, undecided requests that lapse, delegation; each decision
is committed with its time and identity, and what is too late, twice, or by the wrong person has a clear answer."""

import json
import unittest

from harness import ROLES, USERS, Cluster, eventually, principal

USERS.update({name: f"user/{name}" for name in ("lead1", "lead2", "dba1", "lapsing")})
ROLES.update({"lead1": ["approver"], "lead2": ["approver", "requester"], "dba1": ["approver"], "lapsing": ["requester"]})

POLICY = """\
policy: production
rules:
  - name: automatic
    requesters: [user:dev*, user:lead*]
    subjects: [user:dev*, user:lead*]
    resources: [db/test/*]
    approval: {automatic: true}
    delegation: {depth: 1}
  - name: own
    requesters: [user:lead*]
    resources: [db/lead/*]
    approval:
      self: true
      steps:
        - count: 2
          approvers: ["*"]
  - name: in-steps
    requesters: [user:dev*, user:lapsing]
    resources: [db/prod/*]
    approval:
      steps:
        - count: 2
          approvers: [user:lead*, user:oncall]
        - approvers: [user:dba*]
  - name: soon
    requesters: [user:lapsing]
    resources: [db/soon/*]
    decide_within: 2s
    approval:
      steps:
        - count: 2
          approvers: [user:lead*]
"""


class Approvals(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.cluster.__enter__()
        cls.addClassCleanup(cls.cluster.__exit__, None, None, None)
        file = cls.cluster.dir / "production.yaml"
        file.write_text(POLICY)
        cls.cluster.lapse("operator", "policy", "apply", file)

    def tearDown(self):
        self.cluster.assert_one_history()

    def lapse(self, user, *args, **how):
        return self.cluster.said(user, *args, **how)

    def request(self, user="dev1", resource="db/prod/orders", code=0, *flags):
        return self.lapse(user, "request", "--resource", resource, "--action", "read", "--duration", "10m",
                          "--justification", "look at order 4711", "--output", "id", *flags, code=code).strip()

    def grant(self, grant):
        return json.loads(self.lapse("auditor", "get", grant, "--output", "json"))["grant"]

    def test_a_grant_is_active_once_every_step_has_its_approvers_in_order(self):
        grant = self.request()
        self.assertIn("step 1 of 2 comes first", self.lapse("dba1", "approve", grant, code=5))
        self.lapse("oncall", "approve", grant, "--comment", "fine with me")
        said = self.lapse("dba1", "approve", grant, code=5)
        self.assertIn("takes 1 more of user:lead* user:oncall", said)
        self.lapse("lead1", "approve", grant, "--comment", "agreed")
        self.assertEqual(self.grant(grant)["state"], "PENDING")
        self.lapse("dba1", "approve", grant, "--comment", "replica is down, so be it")
        got = self.grant(grant)
        self.assertEqual((got["state"], got["policy"], got["rule"]), ("ACTIVE", "production", "in-steps"))
        self.assertEqual([(a["approver"], a["comment"]) for a in got["approvals"]],
                         [(principal("oncall"), "fine with me"), (principal("lead1"), "agreed"), (principal("dba1"), "replica is down, so be it")])
        revisions = [a["revision"] for a in got["approvals"]]
        self.assertEqual(revisions, sorted(set(revisions)))
        self.assertEqual(revisions[-1], got["approved_revision"])

    def test_nobody_approves_twice_or_out_of_the_wrong_step(self):
        grant = self.request()
        self.lapse("oncall", "approve", grant)
        self.assertIn("has approved it already and counts once", self.lapse("oncall", "approve", grant, code=2))
        self.lapse("lead1", "approve", grant)
        self.assertIn("takes 1 more of user:dba*", self.lapse("lead2", "approve", grant, code=2))
        self.lapse("dba1", "approve", grant)
        self.assertIn("is ACTIVE", self.lapse("dba1", "approve", grant, code=5))

    def test_neither_requester_nor_subject_approves_unless_the_rule_lets_the_requester(self):
        grant = self.request("lead2", "db/lead/x")
        self.lapse("lead2", "approve", grant)
        self.assertIn("already", self.lapse("lead2", "approve", grant, code=2))
        self.lapse("lead1", "approve", grant)
        self.assertEqual(self.grant(grant)["state"], "ACTIVE")
        self.cluster.call("operator", "Cluster", "SetRoles", request_id="dev1-approves",
                          binding={"member": principal("dev1"), "roles": ["requester", "approver"]})
        self.assertIn("nobody decides on a grant for themselves", self.lapse("dev1", "approve", self.request(), code=2))

    def test_an_automatic_rule_decides_at_once_and_is_named(self):
        got = self.grant(self.request(resource="db/test/orders"))
        self.assertEqual((got["state"], got["automatic"], got["approvals"], got["rule"]), ("ACTIVE", True, [], "automatic"))
        self.assertEqual(got["approved_ms"], got["requested_ms"])

    def test_an_undecided_request_lapses_in_the_time_of_its_rule(self):
        grant = self.request("lapsing", "db/soon/x")
        self.lapse("lead1", "approve", grant)
        eventually("it lapses", lambda: self.grant(grant)["state"] == "LAPSED")
        self.assertIn("LAPSED", self.lapse("lead2", "approve", grant, code=5))
        self.assertEqual(len(self.grant(grant)["approvals"]), 1)

    def test_a_request_is_withdrawn_by_its_requester_and_denied_by_one_who_approved_it(self):
        withdrawn, denied = self.request(), self.request()
        self.lapse("oncall", "approve", withdrawn)
        self.lapse("dev1", "cancel", withdrawn, "--reason", "found another way")
        self.lapse("oncall", "approve", denied)
        self.lapse("oncall", "deny", denied, "--comment", "on second thought")
        for grant, state in ((withdrawn, "CANCELLED"), (denied, "DENIED")):
            self.assertEqual(self.grant(grant)["state"], state)
            self.assertIn(state, self.lapse("lead1", "approve", grant, code=5))

    def test_a_child_is_no_deeper_wider_or_longer_than_its_parent(self):
        parent = self.request(resource="db/test/*")
        child = self.request("dev1", "db/test/orders", 0, "--parent", parent)
        self.assertLessEqual(self.grant(child)["deadline_ms"], self.grant(parent)["deadline_ms"])
        self.assertIn("lets no more be derived", self.request("dev1", "db/test/orders", 2, "--parent", child))
        self.assertIn("doesn't cover", self.request("dev1", "db/prod/orders", 2, "--parent", parent))
        self.lapse("dev1", "complete", parent)
        self.assertEqual(self.grant(child)["state"], "REVOKED")

    def test_every_approver_finds_and_can_have_revoked_what_they_approved(self):
        grant = self.request()
        for user in ("oncall", "lead1", "dba1"):
            self.lapse(user, "approve", grant)
        for user in ("oncall", "lead1", "dba1"):
            self.assertIn(grant, self.lapse("auditor", "list", "--approver", principal(user), "--output", "id"))
        self.lapse("operator", "revoke-matching", "--approver", principal("lead1"), "--reason", "was never asked")
        self.assertEqual(self.grant(grant)["state"], "REVOKED")

    def test_the_approvals_survive_the_death_of_all_nodes(self):
        grant = self.request()
        self.lapse("oncall", "approve", grant, "--comment", "first")
        self.lapse("lead1", "approve", grant, "--comment", "second")
        for node in self.cluster.nodes:
            node.kill()
        for node in self.cluster.nodes:
            node.start()
        self.cluster.wait_ready()
        self.assertEqual([a["comment"] for a in self.grant(grant)["approvals"]], ["first", "second"])
        self.lapse("dba1", "approve", grant)
        self.assertEqual(self.grant(grant)["state"], "ACTIVE")


if __name__ == "__main__":
    unittest.main()
