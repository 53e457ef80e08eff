#!/usr/bin/python3
"""Eligibility: a standing permission to request, itself with an end; campaigns that ask whether it is needed still. By the real command."""

import json
import time
import unittest

from harness import Cluster, eventually, principal

POLICY = """\
policy: eligible
rules:
  - name: orders
    requesters: ["spiffe://example.org/user/*"]
    resources: ["db/*"]
    eligibility: required
"""


class Eligibility(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.cluster.__enter__()
        cls.addClassCleanup(cls.cluster.__exit__, None, None, None)
        cls.cluster.call("operator", "Cluster", "SetRoles", binding={"member": principal("dev2"), "roles": ["requester", "operator"]})

    def tearDown(self):
        for name in self.lapse("operator", "eligibility", "list", "--output", "id").split():
            self.lapse("operator", "eligibility", "remove", name)
        for name in self.lapse("operator", "campaign", "list", "--output", "id").split():
            self.lapse("operator", "campaign", "close", name)

    def lapse(self, user, *args, **how):
        return self.cluster.said(user, *args, **how)

    def put(self, name, member="dev1", resource="db/prod/*", expires="+30d", by="operator", **kwargs):
        member = principal(member) if "*" not in member else member
        return self.lapse(by, "eligibility", "put", name, "--member", member, "--resource", resource, "--expires", expires,
                          "--reason", "on call for orders", **kwargs)

    def listed(self, what="eligibility"):
        return {o["name"]: o for o in map(json.loads, self.lapse("auditor", what, "list", "--output", "json").splitlines())}

    def request(self, resource="db/prod/orders", code=0):
        return self.lapse("dev1", "request", "--resource", resource, "--action", "read", "--duration", "10m", "--justification", "look at order 4711",
                          "--output", "id", code=code)

    def test_what_is_put_is_listed_on_every_node_and_can_be_removed(self):
        self.assertIn("orders is put", self.put("orders"))
        for node in self.cluster.nodes:
            row = self.lapse("auditor", "eligibility", "list", node=node)
            self.assertIn(principal("dev1"), row)
            self.assertIn("never", row)
        self.assertEqual(self.listed()["orders"]["put_by"], principal("operator"))
        self.assertIn("is removed", self.lapse("operator", "eligibility", "remove", "orders", "--reason", "moved"))
        self.assertEqual(self.lapse("auditor", "eligibility", "list"), "No eligibility.\n")
        self.assertIn("no eligibility of this name", self.lapse("operator", "eligibility", "remove", "orders", code=3))
        self.cluster.assert_one_history()

    def test_a_rule_that_asks_for_eligibility_lets_only_those_request_who_have_it(self):
        path = self.cluster.dir / "eligible.yaml"
        path.write_text(POLICY)
        self.lapse("operator", "policy", "apply", path)
        self.addCleanup(self.lapse, "operator", "policy", "remove", "eligible", "--last")
        self.assertIn("eligib", self.request(code=5))
        self.put("orders")
        self.request()
        used = self.listed()["orders"]
        self.assertEqual(used["uses"], 1)
        self.assertGreater(used["used_ms"], 0)
        self.request("db/test/orders", code=5)
        self.lapse("operator", "eligibility", "remove", "orders")
        self.request(code=5)

    def test_it_ends_by_the_clock(self):
        self.put("short", expires="+2s")
        eventually("it has ended", lambda: "short" not in self.listed())
        self.cluster.assert_one_history()

    def test_certifying_moves_its_end_and_nobody_certifies_their_own(self):
        self.put("orders", member="dev2")
        before = self.listed()["orders"]["expires_ms"]
        said = self.lapse("dev2", "eligibility", "certify", "orders", "--expires", "+60d", code=2)
        self.assertIn("nobody certifies their own", said)
        self.assertIn("nobody prolongs their own", self.put("orders", member=principal("dev2") + "*", by="dev2", expires="+60d", code=2))
        self.assertIn("nobody makes themselves eligible", self.put("mine", member="dev2", by="dev2", code=2))
        self.lapse("operator", "eligibility", "certify", "orders", "--expires", "+60d", "--comment", "still on call")
        after = self.listed()["orders"]
        self.assertGreater(after["expires_ms"], before)
        self.assertEqual((after["certified_by"], after["reason"]), (principal("operator"), "still on call"))

    def test_what_a_campaign_takes_in_and_nobody_certifies_lapses(self):
        self.put("a")
        self.put("b", member="dev2", resource="db/*")
        self.put("c", resource="web/*")
        self.lapse("operator", "campaign", "start", "q1", "--due", "+15s", "--resource", "db/prod/*", "--reason", "every quarter")
        self.assertEqual(self.listed("campaign")["q1"]["items"], 2)
        self.lapse("operator", "eligibility", "certify", "a", "--expires", "+60d")
        eventually("the campaign is over", lambda: "q1" not in self.listed("campaign"))
        self.assertEqual(sorted(self.listed()), ["a", "c"])
        self.cluster.assert_one_history()

    def test_closing_a_campaign_leaves_everything(self):
        self.put("a")
        self.lapse("operator", "campaign", "start", "q2", "--due", "+14d")
        self.assertIn("a campaign of this name is under way", self.lapse("operator", "campaign", "start", "q2", "--due", "+7d", code=5))
        self.assertIn("2", self.lapse("auditor", "campaign", "list"))
        self.lapse("operator", "campaign", "close", "q2", "--reason", "begun by mistake")
        self.assertEqual(self.lapse("auditor", "campaign", "list"), "No campaign is under way.\n")
        self.assertIn("a", self.listed())

    def test_wrong_uses_have_clear_answers(self):
        self.assertIn("may not PUT_ELIGIBILITY", self.put("x", by="oncall", code=2))
        self.assertIn("expires_ms has passed", self.put("x", expires="2020-01-01T00:00:00Z", code=1))
        self.assertIn("days away", self.put("x", expires="+400d", code=1))
        self.assertIn("name must be of", self.put("a b", code=1))
        self.assertIn("resource must be", self.put("x", resource="db//x", code=1))
        self.assertIn("needs --member", self.lapse("operator", "eligibility", "put", "x", code=64))
        self.assertIn("due_ms has passed", self.lapse("operator", "campaign", "start", "x", "--due", "2020-01-01T00:00:00Z", code=1))
        self.assertIn("needs a subcommand", self.lapse("operator", "campaign", code=64))
        self.lapse("dev1", "eligibility", "list", code=2)

    def test_a_call_that_is_repeated_changes_nothing_again(self):
        end = time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(time.time() + 40 * 86400))
        args = ("eligibility", "certify", "orders", "--expires", end, "--request-id", "certify-1")
        self.put("orders", expires="+10d")
        first = self.lapse("operator", *args)
        self.assertIn("by an earlier call", self.lapse("operator", *args))
        self.assertNotIn("by an earlier call", first)

    def test_it_survives_the_death_of_the_leader(self):
        self.put("orders")
        leader = self.cluster.leader()
        leader.kill()
        self.put("more")
        leader.start()
        self.cluster.wait_ready()
        self.assertEqual(sorted(self.listed()), ["more", "orders"])
        self.cluster.assert_one_history()


if __name__ == "__main__":
    unittest.main()
