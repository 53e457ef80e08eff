#!/usr/bin/python3
"""Break-glass through the real command and three nodes: at once, with a reason, marked, and reviewed in time by somebody else, or requester and subject are
barred until it is."""

import json
import unittest

from harness import ROLES, USERS, Cluster, eventually, principal

USERS.update({name: f"user/{name}" for name in ("lead1", "lead2", "dev3", "dev4")})
ROLES.update({"lead1": ["approver", "requester"], "lead2": ["approver"], "dev3": ["requester"], "dev4": ["requester"]})

POLICY = """\
policy: emergency
rules:
  - name: within-a-day
    break_glass: true
    requesters: [user:dev*, user:lead*]
    resources: [db/prod/*]
    max_duration: 30m
    justification: {min_length: 10}
    approval: {automatic: true}
    review: {within: 24h, reviewers: [user:lead*]}
  - name: at-once
    break_glass: true
    requesters: [user:dev*]
    subjects: [user:dev*]
    resources: [db/soon/*]
    approval: {automatic: true}
    review: {within: 2s, reviewers: [user:lead*]}
  - name: normal
    requesters: ["*"]
    subjects: ["*"]
    resources: ["*"]
"""


class BreakGlass(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.cluster.__enter__()
        cls.addClassCleanup(cls.cluster.__exit__, None, None, None)
        file = cls.cluster.dir / "emergency.yaml"
        file.write_text(POLICY)
        cls.cluster.lapse("operator", "policy", "apply", file)

    def tearDown(self):
        self.cluster.assert_one_history()

    def lapse(self, user, *args, **how):
        return self.cluster.said(user, *args, **how)

    def request(self, user, *flags, resource="db/prod/orders", why="the orders are lost", code=0):
        return self.lapse(user, "request", "--resource", resource, "--action", "read", "--duration", "10m", "--justification", why,
                          "--output", "id", *flags, code=code).strip()

    def glass(self, user="dev1", *flags, **kwargs):
        return self.request(user, "--break-glass", *flags, **kwargs)

    def close(self, user, grant, verdict="justified", comment="restored 14 orders", **kwargs):
        return self.lapse(user, "break-glass", "close", grant, "--verdict", verdict, "--comment", comment, **kwargs)

    def reviews(self, *flags):
        return {r["name"]: r for r in map(json.loads, self.lapse("auditor", "break-glass", "list", "--output", "json", *flags).splitlines())}

    def test_it_is_active_at_once_marked_and_waits_for_its_review(self):
        grant = self.glass()
        got = json.loads(self.lapse("dev1", "get", grant, "--output", "json"))["grant"]
        self.assertEqual((got["state"], got["break_glass"], got["rule"]), ("ACTIVE", True, "within-a-day"))
        review = self.reviews()[grant]
        self.assertEqual((review["requester"], review["justification"], review["overdue"]), (principal("dev1"), "the orders are lost", False))
        self.assertEqual(review["due_ms"] - review["opened_ms"], 24 * 3600 * 1000)
        self.assertIn(grant, self.lapse("lead1", "break-glass", "list"))
        self.close("lead1", grant)
        self.assertNotIn(grant, self.reviews())
        self.assertIn("no review of grant", self.close("lead1", grant, code=3))

    def test_it_takes_a_rule_a_reason_and_is_short_and_for_now(self):
        self.assertIn("justification", self.glass(why="help", code=5))
        self.assertIn("break-glass is for now", self.glass("dev1", "--not-before", "+10m", code=1))
        said = self.lapse("dev1", "request", "--break-glass", "--resource", "db/prod/orders", "--action", "read", "--duration", "2h",
                          "--justification", "the orders are lost", code=5)
        self.assertIn("30", said)
        self.glass(resource="host/web1", code=2)

    def test_neither_requester_nor_stranger_to_the_rule_closes_it(self):
        grant = self.glass("lead1")
        self.assertIn("doesn't review it", self.close("lead1", grant, code=2))
        self.assertIn("reviewed by one of user:lead*", self.close("oncall", grant, code=2))
        self.assertIn("only an approver", self.close("dev2", grant, code=2))
        self.assertIn("only an approver", self.close("operator", grant, code=2))
        self.close("lead2", grant, verdict="misused", comment="there was no incident")

    def test_an_overdue_review_bars_requester_and_subject_until_it_is_closed(self):
        grant = self.glass("dev3", "--subject", principal("dev4"), resource="db/soon/x")
        eventually("it is overdue", lambda: self.reviews("--overdue").get(grant))
        for user, flags in (("dev3", ()), ("dev4", ()), ("dev3", ("--break-glass",)), ("dev1", ("--subject", principal("dev4")))):
            self.assertIn(f"the review of break-glass grant {grant} is overdue", self.request(user, *flags, code=5))
        self.request("dev2")
        self.close("lead1", grant, verdict="misused", comment="nothing was lost")
        for user, flags in (("dev3", ()), ("dev4", ()), ("dev1", ("--subject", principal("dev4")))):
            self.request(user, *flags)

    def test_a_review_is_still_open_and_still_due_after_all_nodes_have_died(self):
        grant = self.glass()
        late = self.glass("dev2", resource="db/soon/y")
        for node in self.cluster.nodes:
            node.kill()
        for node in self.cluster.nodes:
            node.start()
        self.cluster.wait_ready()
        self.assertIn(grant, self.reviews())
        eventually("the other one is overdue", lambda: self.reviews("--overdue").get(late))
        self.assertIn("barred", self.request("dev2", code=5))
        self.close("lead1", late)
        self.close("lead1", grant)

    def test_wrong_use_is_told(self):
        grant = self.glass()
        self.assertIn("verdict", self.lapse("lead1", "break-glass", "close", grant, "--verdict", "perhaps", "--comment", "x", code=64))
        self.assertIn("comment", self.lapse("lead1", "break-glass", "close", grant, "--verdict", "justified", code=64))
        self.assertIn("id", self.close("lead1", "nonsense", code=1))
        self.close("lead1", grant)


if __name__ == "__main__":
    unittest.main()
