#!/usr/bin/python3
"""What an insider with a requester's certificate, or an operator who is in a hurry, may try: other names, wider requests, starting again, their own hand.
Each has to come to nothing on all nodes, and `lapse get` says what a grant stands under."""

import re
import unittest

from harness import USERS, Cluster, grpc, principal, refused

PENDING, ACTIVE = 1, 3
POLICY = """\
policy: insider
rules:
  - name: never
    deny: true
    requesters: [user:dev1]
    resources: [db/prod/payments/*]
    actions: [read]
  - name: read
    requesters: [user:dev*]
    subjects: [user:dev*]
    resources: [db/*]
    actions: [read, list]
    approval: {automatic: true}
  - name: change
    requesters: [user:dev*]
    resources: [stage/*]
    approval:
      steps:
        - {approvers: [user:oncall, user:lead*]}
        - {count: 2, approvers: [user:dba*]}
  - name: eligible
    requesters: [user:operator, user:dev*]
    resources: [vault/*]
    eligibility: required
    approval: {automatic: true}
"""
PACED = """\
policy: paced
rules:
  - name: paced
    requesters: [user:dev*]
    resources: [paced/*]
    approval: {automatic: true}
    limits: {requests: 2, window: 1h, excess: hold}
"""
# A second operator, who is no "op*".
USERS["boss"] = "user/boss"


class Insider(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.cluster.__enter__()
        cls.addClassCleanup(cls.cluster.__exit__, None, None, None)

    def setUp(self):
        self.apply(POLICY)

    def tearDown(self):
        self.cluster.assert_one_history()

    def lapse(self, user, *args, code=0):
        done = self.cluster.lapse(user, *args, code=code)
        return done.stdout if code == 0 else done.stderr

    def apply(self, policy):
        file = self.cluster.dir / "applied.yaml"
        file.write_text(policy)
        self.lapse("operator", "policy", "apply", file)

    def ask(self, user="dev1", node=None, **fields):
        fields = {"subject": principal(user), "resource": "db/prod/orders", "actions": ["read"], "justification": "look at order 4711",
                  "duration_ms": 600_000, **fields}
        return self.cluster.grants(user, "Request", node, **fields).grant

    # --- past deny rules

    def test_no_other_name_and_no_wider_request_gets_past_a_deny_rule(self):
        card = "db/prod/payments/cards"
        tries = [("dev1", {"resource": resource}) for resource in (card, "db/prod/payments/*", "db/prod/*", "db/*")]
        tries += [("dev1", {"resource": card, "actions": ["list", "read"]})]
        names = (principal("dev1"), "user:dev1", "spiffe://elsewhere.org/user/dev1")
        tries += [("dev2", {"resource": card, "subject": name}) for name in names]
        tries += [("dev1", {"resource": card, "subject": principal("dev2")})]
        for i, (user, fields) in enumerate(tries):
            with self.subTest(user=user, **fields), refused(self, grpc.StatusCode.PERMISSION_DENIED, "policy insider, rule never denies"):
                self.ask(user, self.cluster.nodes[i % 3], **fields)
        self.assertEqual(self.ask("dev2", resource=card).state, ACTIVE)
        self.assertEqual(self.ask(resource=card, actions=["list"]).state, ACTIVE)

    def test_the_name_of_a_policy_is_not_to_be_had_from_the_built_in_rule(self):
        said = self.lapse("operator", "policy", "remove", "insider", code=5)
        for words in ("the last policy", "built-in rule", "--last"):
            self.assertIn(words, said)
        self.lapse("operator", "policy", "remove", "insider", "--last")
        with refused(self, grpc.StatusCode.PERMISSION_DENIED, "no policy insider has been applied"):
            self.ask(policy="insider")
        grant = self.ask()
        self.assertEqual((grant.state, grant.policy, grant.rule), (PENDING, "", ""))
        self.assertRegex(self.lapse("dev1", "get", grant.id), r"\n  waits for +any approver\n")

    def test_of_two_policies_one_is_removed_without_further_questions(self):
        self.apply(PACED)
        self.assertIn("paced: removed", self.lapse("operator", "policy", "remove", "paced"))

    # --- past limits

    def test_cancelling_completing_and_another_name_win_no_further_request(self):
        self.apply(PACED)
        self.addCleanup(self.lapse, "operator", "policy", "remove", "paced")
        first = self.ask(resource="paced/a")
        self.cluster.grants("dev1", "Complete", grant_id=first.id)
        self.assertEqual(self.ask(resource="paced/b", subject="user:dev1").state, ACTIVE)
        for node, subject in zip(self.cluster.nodes, (principal("dev1"), "user:dev1", principal("dev1"))):
            held = self.ask(node=node, resource="paced/c", subject=subject)
            self.assertEqual((held.state, held.held, held.automatic), (PENDING, True, False))
            self.cluster.grants("dev1", "Cancel", grant_id=held.id)
        self.assertRegex(self.lapse("dev1", "get", held.id), r"\n  held +past a limit of its rule")

    # --- what is shown

    def test_a_grant_says_under_what_it_stands_and_for_whom_it_waits(self):
        version = self.cluster.call("auditor", "Policies", "List").policies[0].version
        said = self.lapse("dev1", "get", self.ask().id)
        self.assertRegex(said, rf"\n  policy +insider, version {version}, rule read\n  approved by +the rule, automatically\n")
        self.assertNotIn("waits for", said)
        grant = self.ask(resource="stage/x").id
        said = self.lapse("dev1", "get", grant)
        self.assertRegex(said, r"\n  waits for +step 1 of 2: 1 more of user:oncall user:lead\*\n  waits for +step 2 of 2: 2 more of user:dba\*\n")
        self.lapse("oncall", "approve", grant)
        said = self.lapse("dev1", "get", grant)
        self.assertEqual(re.findall(r"waits for +(.*)", said), ["step 2 of 2: 2 more of user:dba*"])

    # --- by one's own hand

    def test_an_operator_is_not_eligible_by_their_own_hand(self):
        self.cluster.call("operator", "Cluster", "SetRoles", request_id="operators", binding={"member": principal("boss"), "roles": ["operator", "approver"]})
        self.cluster.call("boss", "Cluster", "SetRoles", request_id="operator-asks",
                          binding={"member": principal("operator"), "roles": ["operator", "requester"]})
        put = ("--resource", "vault/*", "--expires", "+30d", "--reason", "on call")
        self.assertIn("nobody makes themselves eligible", self.lapse("operator", "eligibility", "put", "own", "--member", principal("operator"), *put, code=2))
        self.lapse("operator", "eligibility", "put", "team", "--member", "user:op*", *put)
        with refused(self, grpc.StatusCode.FAILED_PRECONDITION, "needs an eligibility"):
            self.ask("operator", resource="vault/x")
        self.lapse("boss", "eligibility", "certify", "team", "--expires", "+30d")
        self.assertEqual(self.ask("operator", resource="vault/x").state, ACTIVE)


if __name__ == "__main__":
    unittest.main(verbosity=2)
