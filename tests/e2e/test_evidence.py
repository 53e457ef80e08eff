#!/usr/bin/python3
"""`lapse evidence` tells the whole story of a grant from a real cluster, with the receipts of its enforcement points, and what is missing."""

import json
import re
import shutil
import pathlib
import tempfile
import unittest

from harness import Cluster, eventually
from point import Point


class Evidence(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.cluster.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.cluster.__exit__(None, None, None)

    def lapse(self, *args, user="auditor", code=0):
        return self.cluster.lapse(user, *args, code=code).stdout

    def document(self, grant, *args, code=0):
        return json.loads(self.lapse("evidence", grant.id, "--format", "json", *args, code=code))

    def standing(self, document):
        return {check["what"]: check["standing"] for check in document["checks"]}

    def revoked_at_two_points(self):
        with Point(self.cluster, "edge-1") as one, Point(self.cluster, "edge-2", node=self.cluster.nodes[1]) as two:
            grant = self.cluster.request_active()
            for point in (one, two):
                eventually("the point has the grant", lambda point=point: grant.id in point.grants)
            self.lapse("revoke", grant.id, "--reason", "laptop lost", "--timeout", "60s", user="operator")
        return grant

    def test_the_story_has_request_approval_end_and_each_points_receipt(self):
        grant = self.revoked_at_two_points()
        story = self.document(grant)
        self.assertTrue(story["complete"], story["checks"])
        self.assertEqual([entry["type"] for entry in story["timeline"]][:4], ["REQUESTED", "APPROVED", "ACTIVATED", "REVOKED"])
        # Instances of the test before this one may still be waited out.
        self.assertLessEqual({("edge-1", "ENFORCED"), ("edge-2", "ENFORCED")}, {(r["point"], r["level"]) for r in story["enforcement"]["receipts"]})
        self.assertEqual((story["end"]["reason"], story["approvals"][0]["comment"]), ("laptop lost", "go ahead"))
        self.assertEqual(self.standing(story)["Chain"], "PRESENT")
        text = self.lapse("evidence", grant.id)
        for word in ("laptop lost", "go ahead", "edge-1: ENFORCED", "The evidence is complete."):
            self.assertIn(word, text)

    def test_the_page_loads_nothing_and_escapes_what_people_write(self):
        asked = self.cluster.grants("dev1", "Request", subject="user:dev1@example.com", resource="db/x", actions=["read"],
                                    justification="<script>alert(1)</script>", duration_ms=60000).grant
        page = self.lapse("evidence", asked.id, "--format", "html", code=5)
        self.assertNotRegex(page, re.compile(r"<script|<img|<link|https?:|@import|url\(", re.I))
        self.assertIn("&lt;script&gt;alert(1)", page)
        self.assertIn("default-src 'none'", page)

    def test_what_is_not_over_is_said(self):
        grant = self.cluster.request_active()
        story = self.document(grant, code=5)
        self.assertFalse(story["complete"])
        self.assertEqual(self.standing(story)["End"], "OPEN")

    def test_the_same_story_comes_from_an_export_without_a_cluster(self):
        grant = self.revoked_at_two_points()
        live = self.document(grant)
        with tempfile.TemporaryDirectory() as temporary:
            export, keys = pathlib.Path(temporary) / "audit.jsonl", pathlib.Path(temporary) / "keys.json"
            export.write_text(self.lapse("audit", "export"))
            keys.write_text(eventually("all keys", lambda: (text := self.lapse("audit", "keys")).count("\n") == 3 and text))
            offline = self.document(grant, "--export", export, "--keys", keys)
            self.assertEqual(offline["timeline"], live["timeline"])
            self.assertTrue(offline["complete"], offline["checks"])
            self.assertFalse(self.document(grant, "--export", export, code=5)["complete"], "without keys nothing is proven")
            text = export.read_text()
            export.write_text(text.replace("laptop lost", "laptop sold"))
            self.lapse("evidence", grant.id, "--export", export, "--keys", keys, code=2)

    def test_a_grant_that_nobody_asked_for_has_no_story(self):
        self.lapse("evidence", "01JD8Z5M3N0V6Q2R4T8W9X1Y7Z", code=3)

    def test_it_is_for_auditors_and_operators(self):
        grant = self.cluster.request_active()
        self.lapse("evidence", grant.id, user="dev1", code=2)


if __name__ == "__main__":
    unittest.main()
