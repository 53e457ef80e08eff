#!/usr/bin/python3
"""Policies as code: files become versions that decide on three nodes; what is wrong is told with line and column; a change shows whom it affects before it
is made; a test file says offline what the cluster does."""

import json
import re
import unittest

from harness import LAPSE, ROOT, Cluster, eventually, grpc, principal, refused, run

PENDING, ACTIVE, REVOKED, CANCELLED = 1, 3, 5, 9
DATABASES = """\
policy: databases
rules:
  - name: read
    requesters: [user:dev*]
    resources: [db/prod/*]
    actions: [connect, read]
    max_duration: 1h
    approval: {automatic: true}
"""


class Policies(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.cluster.__enter__()
        cls.dir = cls.cluster.dir / "policies"
        cls.dir.mkdir()

    @classmethod
    def tearDownClass(cls):
        cls.cluster.__exit__(None, None, None)

    def tearDown(self):
        """The next test begins with the built-in rule, and without grants."""
        self.lapse("revoke-matching", "--policy", "databases", "--reason", "the test is over")
        for name in self.lapse("policy", "list", "--output", "id").stdout.split():
            eventually("the policy can be removed", lambda name=name: self.removes(name))
        self.assertIn("built-in rule", self.lapse("policy", "list").stdout)

    def removes(self, name):
        """While grants that it disallows are being ended it stays."""
        try:
            self.lapse("policy", "remove", name, "--last", "--reason", "the test is over")
            return True
        except AssertionError as error:
            if "FAILED_PRECONDITION" not in str(error):
                raise
            return False

    def lapse(self, *args, user="operator", code=0):
        return self.cluster.lapse(user, *args, code=code, cwd=self.dir)

    def json(self, *args, **kwargs):
        return [json.loads(line) for line in self.lapse(*args, "--output", "json", **kwargs).stdout.splitlines()]

    def write(self, name, text):
        (self.dir / name).write_text(text)
        return name

    def apply(self, text, *args):
        """Returns the version."""
        return self.json("policy", "apply", self.write("applied.yaml", text), *args)[0]["version"]

    def ask(self, node=None, user="dev1", **fields):
        fields = {"subject": principal(user), "resource": "db/prod/orders", "actions": ["connect", "read"], "justification": "look at order 4711",
                  "duration_ms": 600_000, **fields}
        return self.cluster.grants(user, "Request", node, **fields).grant

    def state(self, grant):
        return self.cluster.grants("operator", "Get", grant_id=grant.id).grant.state

    # --- applying

    def test_what_was_applied_is_shown_as_a_file_and_applying_that_changes_nothing(self):
        for name in ("production.yaml", "agents.yaml"):
            said = self.lapse("policy", "apply", ROOT / "dist" / "policies" / name, "--source", "policies@1f3c9a2").stdout
            self.assertRegex(said, r"^(production|agents): new, version \d+\n$")
        for node_list in [self.cluster.call("auditor", "Policies", "List", node).policies for node in self.cluster.nodes]:
            self.assertEqual([p.name for p in node_list], ["agents", "production"])
            self.assertEqual({(p.source, p.applied_by, p.version == p.revision) for p in node_list}, {("policies@1f3c9a2", principal("operator"), True)})
        for name in ("production", "agents"):
            shown = self.lapse("policy", "show", name).stdout
            self.assertTrue(shown.startswith("# Version "), shown)
            self.write(f"{name}-shown.yaml", shown)
            self.assertIn("unchanged", self.lapse("policy", "apply", f"{name}-shown.yaml").stdout)
            self.assertIn("nothing differs", self.lapse("policy", "diff", f"{name}-shown.yaml").stdout)
            self.assertEqual(self.lapse("policy", "show", name).stdout, shown)
        listed = self.lapse("policy", "list").stdout.splitlines()
        self.assertEqual([line.split()[0] for line in listed], ["POLICY", "agents", "production"])
        self.assertEqual(self.lapse("policy", "list", user="oncall").stdout.splitlines()[1].split()[0], "agents")
        self.cluster.assert_one_history()

    def test_a_dry_run_and_an_unexpected_version_change_nothing(self):
        file = self.write("p.yaml", DATABASES)
        self.assertIn("databases: would be new", self.lapse("policy", "apply", file, "--dry-run").stdout)
        self.assertEqual(self.json("policy", "list"), [])
        version = self.apply(DATABASES)
        changed = self.write("p.yaml", DATABASES.replace("1h", "2h"))
        self.assertIn("would be changed", self.lapse("policy", "apply", changed, "--dry-run").stdout)
        self.assertIn("FAILED_PRECONDITION", self.lapse("policy", "apply", changed, "--expect-version", version + 1, code=5).stderr)
        self.assertEqual(self.json("policy", "list")[0]["version"], version)
        self.lapse("policy", "apply", changed, "--expect-version", version)
        self.assertGreater(self.json("policy", "list")[0]["version"], version)
        self.assertIn("FAILED_PRECONDITION", self.lapse("policy", "apply", changed, "--expect-version", version, code=5).stderr)

    def test_what_is_wrong_is_told_with_line_and_column_and_nothing_is_applied(self):
        good = self.write("good.yaml", DATABASES)
        faults = {
            "requesters: [user:dev*]": ("requestors: [user:dev*]", "4:5", "did you mean \"requesters\"?"),
            "actions: [connect, read]": ("actions: [connect, Read it]", "6:24", "action"),
            "max_duration: 1h": ("max_duration: 1 hour", "7:19", "not a duration"),
            "approval: {automatic: true}": ("approval: {automatic: true, self: true}", "8:39", "contradicts"),
            "policy: databases": ("policy: databases\npolicy: twice", "2:1", "here twice"),
            "    max_duration": ("\tmax_duration", "7:1", "indent with blanks"),
        }
        for right, (wrong, place, words) in faults.items():
            bad = self.write("bad.yaml", DATABASES.replace(right, wrong))
            for command in (["apply"], ["apply", "--dry-run"], ["diff"]):
                said = self.lapse("policy", *command, good, bad, code=1).stderr
                self.assertIn(f"bad.yaml:{place}: ", said)
                self.assertIn(words, said)
        self.assertEqual(self.json("policy", "list"), [])
        self.assertIn("No such file", self.lapse("policy", "apply", "missing.yaml", code=3).stderr)
        self.assertIn("has this policy, too", self.lapse("policy", "apply", good, good, code=1).stderr)
        self.assertIn("go with one FILE", self.lapse("policy", "apply", good, good, "--expect-version", 1, code=64).stderr)

    def test_only_operators_change_policies(self):
        file = self.write("p.yaml", DATABASES)
        for user in ("dev1", "oncall", "auditor", "stranger"):
            self.assertIn("PERMISSION_DENIED", self.lapse("policy", "apply", file, user=user, code=2).stderr)
        self.apply(DATABASES)
        for user in ("dev1", "oncall", "auditor"):
            self.assertIn("PERMISSION_DENIED", self.lapse("policy", "remove", "databases", "--last", user=user, code=2).stderr)
        self.assertIn("PERMISSION_DENIED", self.lapse("policy", "list", user="dev1", code=2).stderr)
        self.assertIn("there is no policy \"others\"", self.lapse("policy", "show", "others", code=3).stderr)
        self.lapse("policy", "remove", "others", code=3)

    # --- deciding

    def test_a_grant_records_policy_version_and_rule(self):
        first = self.apply(DATABASES)
        grant = self.ask()
        self.assertEqual((grant.state, grant.automatic, grant.policy, grant.policy_version, grant.rule), (ACTIVE, True, "databases", first, "read"))
        second = self.apply(DATABASES.replace("1h", "2h"))
        again = self.ask(resource="db/prod/customers")
        self.assertEqual((again.policy_version, self.cluster.grants("operator", "Get", grant_id=grant.id).grant.policy_version), (second, first))
        self.assertGreater(second, first)
        shown = json.loads(self.lapse("get", again.id, "--output", "json").stdout)["grant"]
        self.assertEqual((shown["policy"], shown["policy_version"], shown["rule"]), ("databases", second, "read"))

    def test_each_requirement_refuses_and_says_what_would_do(self):
        requirements = {  # what the rule asks for: (a request that lacks it, words, a request that has it)
            "max_duration: 1h": ({"duration_ms": 3_600_001}, ["1h"], {}),
            "max_duration: 1h\n    ticket: {required: true, pattern: 'INC-[0-9]+'}": ({"ticket": "INC-x"}, ["ticket", "INC-[0-9]+"], {"ticket": "INC-12"}),
            "max_duration: 1h\n    justification: {min_length: 30}": ({}, ["justification", "30"], {"justification": "look at order 4711, which was lost"}),
            "max_duration: 1h\n    binding: [network]": ({}, ["network"], {"binding": {"networks": ["10.0.0.0/8"]}}),
            "max_duration: 1h\n    binding: [spiffe_id]": ({}, ["SPIFFE"], {"binding": {"spiffe_id": principal("dev1")}}),
            "max_duration: 1h\n    max_uses: 3": ({"max_uses": 4}, ["3"], {"max_uses": 3}),
            "max_duration: 1h\n    break_glass: true\n    review: {within: 1h}": ({}, ["no rule"], None),
        }
        for i, (rule, (lacking, words, having)) in enumerate(requirements.items()):
            with self.subTest(rule):
                self.apply(DATABASES.replace("max_duration: 1h", rule))
                with self.assertRaises(grpc.RpcError) as caught:
                    self.ask(self.cluster.nodes[i % 3], **lacking)
                for word in words:
                    self.assertIn(word, caught.exception.details())
                if having is not None:
                    self.assertEqual(self.ask(**having).state, ACTIVE)

    def test_who_and_what_must_be_covered_and_deny_rules_win(self):
        self.apply(DATABASES)
        others = [{"resource": "db/stage/x"}, {"resource": "db/*"}, {"actions": ["read", "write"]}, {"subject": principal("dev2")}]
        for fields in others:
            with refused(self, grpc.StatusCode.PERMISSION_DENIED, "no rule"):
                self.ask(**fields)
        self.lapse("policy", "apply", self.write("deny.yaml", "policy: no\npriority: 9\nrules:\n  - {name: never, deny: true, requesters: [user:dev2], resources: [db/prod/payments/*]}\n"))
        self.assertEqual(self.ask(user="dev2").state, ACTIVE)
        with refused(self, grpc.StatusCode.PERMISSION_DENIED, "no", "never"):
            self.ask(user="dev2", resource="db/prod/payments/cards")
        self.assertEqual(self.ask(resource="db/prod/payments/cards").state, ACTIVE)

    # --- changing

    CHANGED = DATABASES.replace("resources: [db/prod/*]", "resources: [db/prod/orders]")

    def two_grants(self, *args):
        """One that the change leaves alone, and one that it does not allow."""
        self.apply(DATABASES.replace("approval: {automatic: true}", "approval: {self: true}"), *args)
        pending = self.ask(resource="db/prod/other")
        self.assertEqual(pending.state, PENDING)
        self.apply(DATABASES, *args)
        return self.ask(), self.ask(resource="db/prod/customers"), pending

    def test_diff_shows_the_rules_that_change_and_the_live_grants_that_are_affected(self):
        self.assertIn("databases: new", self.lapse("policy", "diff", self.write("p.yaml", DATABASES)).stdout)
        kept, affected, pending = self.two_grants()
        said = self.lapse("policy", "diff", self.write("changed.yaml", self.CHANGED)).stdout
        for line in ("databases: compared with version", "  rule read\n-     resources: [db/prod/*]\n+     resources: [db/prod/orders]\n",
                     "3 live grants and requests under it, 2 that it would not allow:"):
            self.assertIn(line, said)
        self.assertRegex(said, rf"{affected.id} +ACTIVE .*goes on until its end")
        self.assertRegex(said, rf"{pending.id} +PENDING .*can still be approved")
        self.assertNotIn(kept.id, said)
        ending = self.json("policy", "diff", self.write("ending.yaml", "on_change: end\n" + self.CHANGED))[0]
        self.assertEqual({(a["grant"]["id"], a["fate"]) for a in ending["affected"]}, {(affected.id, "ENDS"), (pending.id, "ENDS")})
        self.assertEqual((ending["grants"], ending["changed"]), (3, True))
        self.assertEqual(self.state(affected), ACTIVE)

    def test_a_change_leaves_live_grants_alone_unless_the_policy_ends_them(self):
        kept, affected, pending = self.two_grants()
        self.apply(self.CHANGED)
        self.assertEqual([self.state(g) for g in (kept, affected, pending)], [ACTIVE, ACTIVE, PENDING])
        self.apply("on_change: end\n" + self.CHANGED)
        eventually("what it does not allow has ended", lambda: [self.state(g) for g in (affected, pending)] == [REVOKED, CANCELLED])
        self.assertEqual(self.state(kept), ACTIVE)
        ended = self.cluster.grants("operator", "Get", grant_id=affected.id).grant
        self.assertEqual((ended.ended_by, "policy" in ended.reason), (principal("operator"), True))
        with refused(self, grpc.StatusCode.PERMISSION_DENIED, "no rule"):
            self.ask(resource="db/prod/customers")
        self.cluster.assert_one_history()

    # --- testing

    def test_the_offline_tests_are_green_or_red_as_the_cluster_decides(self):
        policies = ROOT / "dist" / "policies"
        for name in ("production", "agents"):
            said = run(LAPSE, "policy", "test", policies / f"{name}-tests.yaml", policies / f"{name}.yaml").stdout
            self.assertRegex(said, r"^\d+ passed, 0 failed\n$")
        tests = """\
request: {{requester: "{who}", resource: db/prod/orders, actions: [read], duration: 30m, justification: look at order 4711}}
tests:
  - {{name: reads, expect: automatic, rule: databases/read}}
  - {{name: too long, request: {{duration: 2h}}, expect: {verdict}}}
"""
        file, policy = self.write("t.yaml", tests.format(who=principal("dev1"), verdict="deny")), self.write("p.yaml", DATABASES)
        self.assertEqual(self.lapse("policy", "test", file, policy).stdout, "2 passed, 0 failed\n")
        self.assertEqual([(t["test"], t["passed"]) for t in self.json("policy", "test", file, policy)], [("reads", True), ("too long", True)])
        red = self.write("red.yaml", tests.format(who=principal("dev1"), verdict="allow"))
        said = self.lapse("policy", "test", red, policy, code=1).stdout
        self.assertIn("red.yaml:4: FAILED: too long: should be allowed, but is refused: ", said)
        self.assertIn("1 passed, 1 failed", said)
        # The same words from the cluster.
        self.apply(DATABASES)
        refusal = re.search(r"but is refused: (.*)", said).group(1)
        with refused(self, grpc.StatusCode.FAILED_PRECONDITION, refusal):
            self.ask(actions=["read"], duration_ms=7_200_000)
        self.assertIn("t.yaml:1:", self.lapse("policy", "test", self.write("t.yaml", "test: []\n"), policy, code=1).stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
