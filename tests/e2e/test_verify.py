#!/usr/bin/python3
"""Exports of a real cluster, verified offline: what is whole passes, and each way of tampering is named by its first bad record."""

import json
import pathlib
import shutil
import tempfile
import unittest

from harness import Cluster, eventually, run, LAPSE


class Verify(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.cluster.__enter__()
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="lapse-verify-"))
        for i in range(3):
            grant = cls.cluster.request_active(resource=f"db/prod/orders{i}")
        cls.cluster.grants("operator", "Revoke", grant_id=grant.id, reason="over")
        cls.keys = cls.all_keys()
        cls.export = cls.save("audit.jsonl", cls.lapse("audit", "export"))

    @classmethod
    def tearDownClass(cls):
        cls.cluster.__exit__(None, None, None)
        shutil.rmtree(cls.dir)

    @classmethod
    def lapse(cls, *args, user="auditor", code=0):
        return cls.cluster.lapse(user, *args, code=code).stdout

    @classmethod
    def save(cls, name, text):
        path = cls.dir / name
        path.write_text(text)
        return path

    @classmethod
    def all_keys(cls):
        """A node learns the others' keys by and by; any of the three may sign."""
        keys = eventually("a node knows the keys of all three", lambda: (text := cls.lapse("audit", "keys")).count("\n") == 3 and text)
        return cls.save("keys.json", keys)

    def verify(self, path, *args, code=0):
        """Without an environment: no cluster, no certificate."""
        done = run(LAPSE, "audit", "verify", path, "--keys", self.keys, *args, check=False, env={"PATH": "/usr/bin"})
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def tampered(self, change):
        lines = self.export.read_text().splitlines()
        return self.save("tampered.jsonl", "\n".join(change(lines) or lines) + "\n")

    def record(self, lines, revision, **members):
        line = json.loads(lines[revision])
        line["record"].update(members)
        lines[revision] = json.dumps(line)

    def test_a_whole_export_verifies_without_a_cluster(self):
        head = self.save("head.json", self.lapse("audit", "head"))
        out = self.verify(self.export, "--head", head)
        self.assertIn("form one chain without a gap", out)
        self.assertIn("heads from elsewhere: 1 fit", out)

    def test_every_node_exports_the_same_records(self):
        records = lambda text: [line for line in text.splitlines() if '"record"' in line]
        mine = records(self.export.read_text())
        for node in self.cluster.nodes:
            theirs = records(self.lapse("audit", "export", "--endpoints", node.endpoint))
            self.assertEqual(theirs[:len(mine)], mine)

    def test_a_flipped_byte_is_named(self):
        def flip(lines):
            event = json.loads(lines[5])["record"]["event"]
            self.record(lines, 5, event=event[:20] + ("A" if event[20] != "A" else "B") + event[21:])
        self.assertIn("record 5: ", self.verify(self.tampered(flip), code=2))

    def test_a_changed_hash_is_named(self):
        self.assertIn("record 4: ", self.verify(self.tampered(lambda lines: self.record(lines, 4, hash="00" * 32)), code=2))

    def test_a_changed_readable_form_is_named(self):
        change = lambda lines: lines.__setitem__(7, lines[7].replace('"actor":"', '"actor":"x'))
        self.assertIn("record 7: its readable form", self.verify(self.tampered(change), code=2))

    def test_a_dropped_record_is_named(self):
        self.assertIn("record 6 is missing", self.verify(self.tampered(lambda lines: lines[:6] + lines[7:]), code=2))

    def test_swapped_records_are_named(self):
        change = lambda lines: lines[:6] + [lines[7], lines[6]] + lines[8:]
        self.assertIn("record 6 is missing: 7 stands in its place", self.verify(self.tampered(change), code=2))

    def test_an_inserted_record_is_named(self):
        self.assertIn("record 6 stands where 7 must", self.verify(self.tampered(lambda lines: lines[:7] + [lines[6]] + lines[7:]), code=2))

    def test_a_cut_file_is_named(self):
        self.assertIn("cut off", self.verify(self.tampered(lambda lines: lines[:9]), code=2))

    def test_a_carefully_truncated_tail_is_found_by_a_later_head(self):
        last = json.loads(self.lapse("audit", "head"))["head"]["revision"]
        short = self.save("short.jsonl", self.lapse("audit", "export", "--to-revision", last - 2))
        head = self.save("later.json", self.lapse("audit", "head"))
        self.assertIn("NOT SIGNED", self.verify(short, code=5))
        self.assertIn(f"records {last - 1} to {last} are missing", self.verify(short, "--head", head, code=2))

    def test_a_head_with_a_bad_signature_or_an_unknown_key_is_refused(self):
        line = json.loads(self.lapse("audit", "head"))
        line["head"]["time_ms"] += 1
        bad = self.save("bad.json", json.dumps(line) + "\n")
        self.assertIn("signature", self.verify(self.export, "--head", bad, code=2))
        line["head"]["public_key"] = "11" * 32
        self.assertIn("not among the given ones", self.verify(self.export, "--head", self.save("bad.json", json.dumps(line) + "\n"), code=2))

    def test_a_restored_backup_is_found_by_a_head_from_before(self):
        """Another history of the same cluster, with the same keys: what an old copy of all data directories makes."""
        with Cluster() as old:
            for node in old.nodes:
                node.kill()
            for node in old.nodes:
                shutil.copytree(node.dir, old.dir / f"backup{node.id}")
                node.start()
            old.wait_ready()
            for _ in range(4):
                old.request_active()
            keys = eventually("all keys", lambda: (text := old.lapse("auditor", "audit", "keys").stdout).count("\n") == 3 and text)
            keys, head = self.save("old-keys.json", keys), self.save("before.json", old.lapse("auditor", "audit", "head").stdout)
            for node in old.nodes:
                node.kill()
                shutil.rmtree(node.dir)
                shutil.copytree(old.dir / f"backup{node.id}", node.dir)
                node.start()
            old.wait_ready()
            for _ in range(6):
                old.request_active(resource="db/other")
            export = self.save("restored.jsonl", old.lapse("auditor", "audit", "export").stdout)
            self.verify(export, "--keys", keys)
            self.assertIn("another hash", self.verify(export, "--keys", keys, "--head", head, code=2))

    def test_ocsf_has_an_event_for_each_record(self):
        events = [json.loads(line) for line in self.lapse("audit", "export", "--format", "ocsf").splitlines()]
        self.assertGreaterEqual({e["class_uid"] for e in events}, {3004, 3005})
        self.assertEqual([e["metadata"]["sequence"] for e in events], list(range(1, len(events) + 1)))

    def test_wrong_use_is_told(self):
        for args in (("--from-revision", "0"), ("--from-revision", "9", "--to-revision", "5"), ("--to-revision", "99999")):
            self.lapse("audit", "export", *args, code=64)
        self.lapse("audit", "query", "--type", "NONSENSE", code=64)
        self.lapse("audit", "query", user="dev1", code=2)
        run(LAPSE, "audit", "verify", self.export, check=False)
        done = run(LAPSE, "audit", "verify", self.export, "--keys", "/nonexistent", check=False)
        self.assertEqual((done.returncode, "/nonexistent" in done.stderr), (3, True))

    def test_what_a_hostile_file_says_does_not_reach_the_terminal(self):
        change = lambda lines: lines.__setitem__(0, lines[0].replace('"cluster":"', '"cluster":"\\u001b[2J'))
        out = self.verify(self.tampered(change), "--head", self.save("head.json", self.lapse("audit", "head")), code=2)
        self.assertIn("\\x1b[2J", out)
        self.assertNotIn("\x1b", out)

    def test_a_tail_goes_on_where_it_was_told_to(self):
        lines = self.lapse("audit", "tail", "--from-revision", "3", "--count", "4", "--output", "json").splitlines()
        self.assertEqual([json.loads(line)["record"]["revision"] for line in lines if '"record"' in line], [3, 4, 5, 6])

    def test_a_query_finds_what_matches(self):
        revoked = [json.loads(line)["record"]["readable"] for line in self.lapse("audit", "query", "--type", "REVOKED", "--output", "json").splitlines()]
        self.assertEqual([(e["type"], e["grant"]["reason"]) for e in revoked], [("REVOKED", "over")])

    def test_a_file_without_a_head_is_no_head(self):
        """Who gives --head counts on it: an empty file must not pass for one."""
        out = self.verify(self.export, "--head", self.save("empty.json", ""), code=1)
        self.assertIn("there is no signed head in", out)
        out = self.verify(self.export, "--head", self.keys, code=1)
        self.assertIn("there is no signed head in", out)

    def test_nothing_hides_behind_a_zero(self):
        hidden = self.dir / "hidden.jsonl"
        hidden.write_bytes(self.export.read_bytes().replace(b"\n", b"\0shown to people only\n", 1))
        self.assertIn("line 1", self.verify(hidden, code=2))


if __name__ == "__main__":
    unittest.main()
