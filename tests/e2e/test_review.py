#!/usr/bin/python3
"""`lapse review`: what a recertification should look at, from what a real cluster has and what its audit log tells."""

import json
import unittest

from harness import DOMAIN, Cluster, eventually, principal


class Review(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.cluster.__enter__()
        cls.addClassCleanup(cls.cluster.__exit__, None, None, None)

    def lapse(self, user, *args, code=0):
        done = self.cluster.lapse(user, *args, code=code)
        return done.stdout if code == 0 else done.stderr

    def review(self, *flags, user="auditor"):
        return [json.loads(line) for line in self.lapse(user, "review", "--output", "json", *flags).splitlines()]

    def found(self, kind, *flags, what=None):
        return [f for f in self.review(*flags) if f["finding"] == kind and what in (None, f["what"])]

    def put(self, name, member, resource, expires):
        self.lapse("operator", "eligibility", "put", name, "--member", member, "--resource", resource, "--expires", expires, "--reason", "on call")
        self.addCleanup(self.lapse, "operator", "eligibility", "remove", name)

    def active(self, resource, duration="10m", *flags):
        grant = self.lapse("dev1", "request", "--resource", resource, "--action", "read", "--duration", duration,
                           "--justification", "look at order 4711", "--output", "id", *flags).strip()
        self.lapse("oncall", "approve", grant)
        return grant

    def test_eligibility_that_is_dormant_ends_soon_or_is_broad(self):
        self.put("unused", principal("dev1"), "db/prod/orders", "+90d")
        self.put("ending", principal("dev2"), "db/prod/orders", "+2d")
        self.put("everything", f"spiffe://{DOMAIN}/user/*", "db/*", "+90d")
        dormant = eventually("they are old enough", lambda: self.found("DORMANT", "--dormant", "1ms"))
        self.assertEqual(sorted(f["eligibility"] for f in dormant), ["ending", "everything", "unused"])
        self.assertEqual(self.found("DORMANT", "--dormant", "30d"), [])
        self.assertEqual([f["eligibility"] for f in self.found("ENDS_SOON")], ["ending"])
        broad = [f for f in self.found("BROAD") if f["eligibility"]]
        self.assertEqual([(f["eligibility"], f["what"]) for f in broad], [("everything", "db/*")] * 2, "its member and its resource")

    def test_grants_renewed_back_to_back_are_found_in_the_audit_log(self):
        for _ in range(3):
            self.lapse("dev1", "complete", self.active("db/renewed/x", "10m", "--ticket", "T-1"))
        found = eventually("all have come into the audit log", lambda: self.found("RENEWED", what="db/renewed/x"))
        self.assertEqual((found[0]["who"], found[0]["number"]), (principal("dev1"), 3))
        self.assertEqual(self.found("RENEWED", "--in-a-row", "4", what="db/renewed/x"), [])
        self.assertEqual(self.found("NO_TICKET", what="db/renewed/x"), [])

    def test_standing_access_long_and_broad_grants_and_such_without_a_ticket(self):
        self.active("web/*", "20h")
        standing = eventually("it has lasted for most of the last second", lambda: self.found("STANDING", "--since", "1s", what="web/*"))
        self.assertGreater(standing[0]["number"], 50)
        self.assertEqual(self.found("STANDING", what="web/*"), [], "little of the last 30 days")
        self.assertEqual(len(self.found("LONG", what="web/*")), 1)
        self.assertEqual(self.found("LONG", "--long", "20h", what="web/*"), [])
        self.assertEqual([f["number"] for f in self.found("BROAD", what="web/*")], [1])
        self.assertEqual([f["number"] for f in self.found("NO_TICKET", what="web/*")], [1])

    def test_roles_bound_by_wide_prefixes(self):
        member = f"spiffe://{DOMAIN}/ci/*"
        self.lapse("operator", "cluster", "roles", "set", member, "requester", "approver")
        self.addCleanup(self.lapse, "operator", "cluster", "roles", "set", member, "--remove")
        self.assertEqual([(f["who"], f["what"]) for f in self.found("WIDE_ROLE")], [(member, "requester,approver")])
        table = self.lapse("operator", "review")
        self.assertIn("FINDING", table)
        self.assertIn(member, table)

    def test_wrong_uses_have_clear_answers(self):
        self.lapse("dev1", "review", code=2)
        self.assertIn("at most 100", self.lapse("auditor", "review", "--standing", "101", code=64))
        self.assertIn("at least 2", self.lapse("auditor", "review", "--in-a-row", "1", code=64))
        self.assertIn("no ids", self.lapse("auditor", "review", "--output", "id", code=64))
        self.assertIn("is not a duration", self.lapse("auditor", "review", "--since", "long", code=64))


if __name__ == "__main__":
    unittest.main()
