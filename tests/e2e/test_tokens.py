#!/usr/bin/python3
"""Bearer tokens: drawn where they are used, shown once, bound as their grant is, dead with it. By the real command."""

import json
import re
import subprocess
import unittest

from harness import LAPSE, Cluster, eventually, principal

POLICIES = {
    "none": 'policy: none\nrules:\n  - name: secret\n    requesters: ["spiffe://example.org/user/*"]\n    resources: ["secret/*"]\n    token: forbidden\n',
    "bound": 'policy: bound\nrules:\n  - name: net\n    requesters: ["spiffe://example.org/user/*"]\n    resources: ["net/*"]\n    token: bound\n',
    "free": 'policy: free\nrules:\n  - name: db\n    requesters: ["spiffe://example.org/user/*"]\n    resources: ["db/*"]\n',
}


class Tokens(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.cluster.__enter__()
        cls.addClassCleanup(cls.cluster.__exit__, None, None, None)

    def lapse(self, user, *args, **how):
        return self.cluster.said(user, *args, **how)

    def active(self, *flags, resource="db/prod/orders", duration="10m"):
        grant = self.lapse("dev1", "request", "--resource", resource, "--action", "read", "--duration", duration,
                           "--justification", "look at order 4711", "--output", "id", *flags).strip()
        self.lapse("oncall", "approve", grant)
        return grant

    def token(self, grant, **kwargs):
        return self.lapse("dev1", "token", grant, **kwargs).strip()

    def check(self, token, resource="db/prod/orders", code=0, flags=(), before=(), user="proxy1", node=None):
        path = self.cluster.dir / "shown.token"
        path.write_text(token + "\n")
        return self.lapse(user, "check", "--token-file", path, *flags, *before, resource, "read", code=code, node=node)

    def test_who_shows_it_is_taken_for_the_subject_until_the_grant_ends(self):
        grant = self.active()
        token = self.token(grant)
        self.assertRegex(token, r"^lps_[A-Za-z0-9_-]{43}$")
        for node in self.cluster.nodes:
            self.assertIn(grant, self.check(token, node=node))
        self.assertIn("yes", self.check(token, before=[principal("dev1")]))
        self.check(token, before=[principal("dev2")], code=2)
        self.check(token, resource="db/prod/users", code=2)
        self.check("lps_" + "A" * 43, code=2)
        self.lapse("dev1", "complete", grant)
        self.check(token, code=2)
        self.cluster.assert_one_history()

    def test_it_can_be_written_to_a_file_for_its_owner_alone(self):
        grant, path = self.active(), self.cluster.dir / "grant.token"
        self.assertEqual(self.lapse("dev1", "token", grant, "--file", path), "")
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertIn("yes", self.lapse("proxy1", "check", "--token-file", path, "db/prod/orders", "read"))
        self.assertIn("File exists", self.lapse("dev1", "token", self.active(), "--file", path, code=1))
        other = self.cluster.dir / "other.token"
        self.lapse("dev1", "token", grant, "--file", other, code=5)
        self.assertFalse(other.exists(), "a token that no grant has is not left lying about")

    def test_there_is_no_second_one_and_only_its_own_people_may_set_it(self):
        grant = self.active()
        self.assertIn("only its requester or subject", self.lapse("oncall", "token", grant, code=2))
        self.token(grant)
        self.assertIn("has a token already", self.lapse("dev1", "token", grant, code=5))
        waiting = self.lapse("dev1", "request", "--resource", "db/prod/orders", "--action", "read", "--duration", "10m",
                             "--justification", "x", "--output", "id").strip()
        self.assertIn("PENDING", self.lapse("dev1", "token", waiting, code=5))
        self.lapse("dev1", "token", "01J00000000000000000000000", code=3)

    def test_it_is_nowhere_but_where_it_was_printed(self):
        token = self.token(self.active())
        for node in self.cluster.nodes:
            self.assertNotIn(token, node.log())
            for path in node.dir.rglob("*"):
                if path.is_file():
                    self.assertNotIn(token.encode(), path.read_bytes(), path)

    def test_its_grants_uses_binding_and_deadline_are_its_own(self):
        once = self.active("--max-uses", "1")
        token = self.token(once)
        self.check(token)
        self.lapse("proxy1", "use", once)
        self.check(token, code=2)
        bound = self.token(self.active("--bind-network", "10.0.0.0/8"))
        self.check(bound, code=2)
        self.check(bound, flags=["--address", "192.0.2.7"], code=2)
        self.check(bound, flags=["--address", "10.1.2.3"])
        short = self.token(self.active(duration="3s"))
        eventually("its deadline has come", lambda: self.attempt(short) == 2)

    def attempt(self, token):
        try:
            self.check(token)
            return 0
        except AssertionError:
            self.check(token, code=2)
            return 2

    def test_the_policy_says_whether_there_may_be_one(self):
        for name, text in POLICIES.items():
            path = self.cluster.dir / f"{name}.yaml"
            path.write_text(text)
            self.lapse("operator", "policy", "apply", path)
            self.addCleanup(self.lapse, "operator", "policy", "remove", name, "--last")
        said = self.lapse("dev1", "token", self.active(resource="secret/x"), code=5)
        self.assertIn("rule secret of policy none", said)
        said = self.lapse("dev1", "token", self.active(resource="net/x"), code=5)
        self.assertIn("bound", said)
        self.assertRegex(self.token(self.active("--bind-network", "10.0.0.0/8", resource="net/x")), "^lps_")
        self.assertRegex(self.token(self.active()), "^lps_")

    def test_it_outlives_the_leader_and_a_restart_of_all(self):
        grant = self.active()
        token = self.token(grant)
        for node in self.cluster.nodes:
            node.kill()
        for node in self.cluster.nodes:
            node.start()
        self.cluster.wait_ready()
        self.assertIn(grant, self.check(token))
        self.lapse("operator", "revoke", grant)
        self.check(token, code=2)

    def test_it_is_read_from_standard_input_too(self):
        grant = self.active()
        token = self.token(grant)
        certificate, key, ca = self.cluster.pki.files("proxy1")
        done = subprocess.run([LAPSE, "check", "--token-file", "-", "db/prod/orders", "read", "--endpoints", self.cluster.nodes[0].endpoint, "--cert", certificate,
                               "--key", key, "--ca", ca], input=token, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(grant, done.stdout)

    def test_wrong_uses_have_clear_answers(self):
        self.assertIn("not a token", self.check("secret", code=1))
        self.assertIn("not a token", self.check("", code=1))
        self.assertIn("can't read", self.lapse("proxy1", "check", "--token-file", "/nowhere", "db/x", "read", code=1))
        self.assertIn("needs SUBJECT", self.lapse("proxy1", "check", "db/x", "read", code=64))
        self.assertIn("unknown flag --token", self.lapse("proxy1", "check", "--token", "lps_x", "db/x", "read", code=64))
        shown = json.loads(self.lapse("dev1", "token", self.active(), "--output", "json"))
        self.assertTrue(re.match("lps_", shown["token"]) and shown["deadline_ms"] > 0)


if __name__ == "__main__":
    unittest.main()
