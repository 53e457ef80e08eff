#!/usr/bin/python3
"""`lapse report` counts what a real cluster did, live and from an export: grants, durations, complete evidence, how fast revocations reach the points."""

import json
import pathlib
import re
import tempfile
import unittest

from harness import Cluster, eventually
from point import Point


class Report(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.cluster.__enter__()
        with Point(cls.cluster, "edge-1") as point:
            for _ in range(3):
                grant = cls.cluster.request_active()
                eventually("the point has the grant", lambda: grant.id in point.grants)
                cls.cluster.lapse("operator", "revoke", grant.id, "--reason", "over", "--timeout", "60s")
        grant = cls.cluster.request_active(resource="web/shop")
        cls.cluster.grants("dev1", "Complete", grant_id=grant.id)
        cls.cluster.request_active(resource="web/shop", duration_ms=24 * 3600 * 1000)

    @classmethod
    def tearDownClass(cls):
        cls.cluster.__exit__(None, None, None)

    def report(self, *args, code=0):
        return self.cluster.lapse("auditor", "report", *args, code=code).stdout

    def test_it_counts_what_happened(self):
        document = json.loads(self.report("--format", "json"))
        counts = document["counts"]
        self.assertEqual((counts["requested"], counts["activated"], counts["revoked"], counts["completed"]), (5, 5, 3, 1))
        self.assertEqual({row["name"]: row["requested"] for row in document["by_resource"]}, {"db/prod": 3, "web/shop": 2})
        self.assertEqual((document["evidence"]["ended"], document["evidence"]["complete"]), (4, 4))
        self.assertEqual(document["revocation_to_last_point"]["count"], 3)
        self.assertGreaterEqual(document["revocation_to_last_point"]["max_ms"], document["revocation_to_last_point"]["p50_ms"])
        self.assertEqual([row["resource"] for row in document["standing"]["long_grants"]], ["web/shop"])

    def test_the_same_numbers_come_from_an_export(self):
        with tempfile.TemporaryDirectory() as temporary:
            export, keys = pathlib.Path(temporary) / "audit.jsonl", pathlib.Path(temporary) / "keys.json"
            export.write_text(self.cluster.lapse("auditor", "audit", "export").stdout)
            keys.write_text(eventually("all keys", lambda: (text := self.cluster.lapse("auditor", "audit", "keys").stdout).count("\n") == 3 and text))
            live, offline = (json.loads(self.report("--format", "json", *args)) for args in ((), ("--export", export, "--keys", keys)))
            for part in ("counts", "by_rule", "by_resource", "durations", "evidence", "revocation_to_each_point", "standing"):
                self.assertEqual(live[part], offline[part], part)

    def test_a_period_leaves_out_what_was_before(self):
        counts = json.loads(self.report("--format", "json", "--from", "+1h"))["counts"]
        self.assertEqual(counts, {})
        self.report("--from", "2026-01-02T00:00:00Z", "--to", "2026-01-01T00:00:00Z", code=64)

    def test_the_page_stands_alone_and_has_plots(self):
        page = self.report("--format", "html")
        self.assertNotRegex(page, re.compile(r"<script|<img|<link|https?:|@import|url\(", re.I))
        self.assertGreaterEqual(page.count("<svg"), 3)

    def test_text_says_it_in_words(self):
        text = self.report()
        for word in ("Complete evidence: 100.0% (4 of 4", "revocation to the last point", "long or wide grant"):
            self.assertIn(word, text)


if __name__ == "__main__":
    unittest.main()
