#!/usr/bin/python3
"""Provenance revocation with the real command: by each way in which grants come about, one log entry each, and what another live grant allows stays
allowed. Many at once cost neither leadership nor other writes' time."""

import json
import os
import threading
import time
import unittest

from harness import Cluster, grpc, messages, principal

DEV1, DEV2 = principal("dev1"), principal("dev2")
MANY = int(os.environ.get("LAPSE_PROVENANCE_GRANTS", "6000"))  # more than one slice ends


class Provenance(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.cluster.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.cluster.__exit__(None, None, None)

    def state(self, grant):
        name = messages("grant").GrantState.Name(self.cluster.grants("oncall", "Get", grant_id=grant.id).grant.state)
        return name.rsplit("_", 1)[-1]

    def may(self):
        ask = messages("grants").CheckRequest(subject=DEV1, resource="db/prod/orders", action="read", spiffe_id="spiffe://example.org/ci/deploy")
        return self.cluster.stub("oncall", "Grants").Check(ask, timeout=30).allowed

    def revoke(self, *flags):
        return json.loads(self.cluster.lapse("operator", "revoke-matching", *flags, "--reason", "key leaked", "--output", "json").stdout)

    def test_each_way_takes_its_grants_and_leaves_what_another_one_allows(self):
        cluster = self.cluster
        parent = cluster.request_active(resource="db/*", subject=DEV2)
        ways = [
            (("--ticket", "INC-1"), {"ticket": "INC-1"}),
            (("--binding", "spiffe://example.org/ci/deploy"), {"binding": {"spiffe_id": "spiffe://example.org/ci/deploy"}}),
            (("--label", "team=blue"), {"labels": [{"key": "team", "value": "blue"}]}),
            (("--parent", parent.id), {"parent": parent.id}),
        ]
        for flags, fields in ways:
            marked = cluster.request_active(**({"subject": DEV2} if "parent" in fields else {}), **fields)
            other = cluster.request_active(resource="db/prod/*", ticket="INC-2")
            listed = cluster.lapse("operator", "list", *flags, "--state", "ACTIVE", "--output", "id").stdout.split()
            self.assertEqual(listed, [marked.id], flags)
            self.revoke(*flags)
            self.assertEqual((self.state(marked), self.state(other)), ("REVOKED", "ACTIVE"), flags)
            self.assertTrue(self.may(), flags)
            self.revoke("--ticket", "INC-2")
            self.assertFalse(self.may(), flags)

    def test_by_person_under_all_names_by_subject_approver_and_subtree(self):
        cluster = self.cluster
        for flags, others in (
            (("--person", "user:dev1"), 0),
            (("--subject", DEV1), 0),
            (("--approver", principal("oncall")), 0),
            (("--resource", "db/prod/*"), 1),
        ):
            one, beside = cluster.request_active(), cluster.request_active(resource="db/test/orders")
            self.revoke(*flags)
            self.assertEqual(self.state(one), "REVOKED", flags)
            self.assertEqual(self.state(beside), "ACTIVE" if others else "REVOKED", flags)
        self.revoke("--person", "user:dev1")

    def test_a_watch_of_a_person_tells_only_what_is_theirs(self):
        cluster = self.cluster
        before = cluster.grants("oncall", "List").revision
        mine = cluster.request_active()
        cluster.grants("dev2", "Request", subject=DEV2, resource="db/prod/orders", actions=["read"], justification="look", duration_ms=60_000)
        epoch = cluster.grants("oncall", "List").epoch
        told = cluster.lapse("oncall", "watch", "--person", "user:dev1", "--from", f"{epoch}/{before}", "--count", "3", "--output", "id").stdout
        self.assertEqual(told.split(), [mine.id] * 3)

    def test_wrong_uses_have_clear_answers(self):
        for args, code, words in (
            (("revoke-matching", "--policy-version", "7"), 64, "say which grants"),
            (("revoke-matching", "--subject", DEV1, "--policy-version", "7"), 1, "without a policy"),
            (("revoke-matching", "--label", "team"), 1, "key=value"),
            (("revoke-matching", "--person", "user:*"), 1, "person"),
            (("watch", "--label", "team=blue"), 1, "not by approver, ticket, policy, binding or label"),
        ):
            done = self.cluster.lapse("operator", *args, code=code)
            self.assertIn(words, done.stderr)

    def fill(self, n, **fields):
        """`n` active grants, by several callers at once."""
        m = messages("grants")
        ids, lock = [], threading.Lock()

        def work(part):
            asks, says = (self.cluster.stub(user, "Grants", self.cluster.nodes[part % 3]) for user in ("dev1", "oncall"))
            for i in range(part, n, 8):
                request = m.RequestRequest(request_id=f"{time.monotonic_ns()}-{i}", subject=DEV1, resource=f"web/{i}", actions=["read"],
                                           justification="load", duration_ms=3_600_000, **fields)
                grant = asks.Request(request, timeout=60).grant
                says.Approve(m.DecisionRequest(request_id=f"a-{grant.id}", grant_id=grant.id), timeout=60)
                with lock:
                    ids.append(grant.id)

        threads = [threading.Thread(target=work, args=(part,)) for part in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(ids), n)
        return ids

    def test_thousands_in_one_step_cost_neither_leadership_nor_other_writes(self):
        cluster = self.cluster
        self.fill(MANY, labels=[{"key": "wave", "value": "1"}])
        leader, term = cluster.leader(), cluster.status(cluster.leader()).term
        took, failed, stop = [], [], threading.Event()

        def write():
            while not stop.is_set():
                begin = time.monotonic()
                try:
                    cluster.grants("dev2", "Request", leader, subject=DEV2, resource="app/x", actions=["read"], justification="meanwhile", duration_ms=1000)
                except grpc.RpcError as error:
                    failed.append(error)
                took.append(time.monotonic() - begin)

        writer = threading.Thread(target=write)
        writer.start()
        done = self.revoke("--label", "wave=1")
        stop.set()
        writer.join()
        self.assertEqual(done["barrier"]["grants"], MANY)
        self.assertEqual(cluster.lapse("operator", "list", "--label", "wave=1", "--state", "ACTIVE", "--output", "id").stdout, "")
        self.assertEqual(failed, [])
        self.assertEqual((cluster.leader().id, cluster.status(cluster.leader()).term), (leader.id, term), "leadership stays")
        took.sort()
        print(f"\n{MANY} revoked; {len(took)} writes meanwhile, median {took[len(took) // 2] * 1e3:.1f} ms, longest {took[-1] * 1e3:.1f} ms")
        cluster.assert_one_history()


if __name__ == "__main__":
    unittest.main(verbosity=2)
