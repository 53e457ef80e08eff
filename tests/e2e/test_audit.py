#!/usr/bin/python3
"""G9 at the nodes: every change has its record, the databases of all nodes are equal, and what was changed in one is found and mended."""

import hashlib
import shutil
import sqlite3
import struct
import subprocess
import unittest

from harness import LAPSED, Cluster, Node, eventually, free_ports, generated, grpc, messages, principal, refused, run

QUERY = "SELECT revision, epoch, time_ms, type, actor, grant_id, subject, resource, event, hash FROM records ORDER BY revision"


def database(node):
    return sqlite3.connect(f"file:{node.dir}/audit.db?mode=ro", uri=True)


def rows(node):
    with database(node) as db:
        return db.execute(QUERY).fetchall()


def whole(node, at_least=1):
    """The revision up to which the node's database has everything, once that is all there is."""
    def attempt():
        revision, store = node.metric("lapse_audit_revision"), node.metric("lapse_revision")
        return revision == store and revision >= at_least and int(revision)
    return eventually(f"the audit of node {node.id} is complete", attempt)


def chain(records):
    """The hash behind all records, from their bytes alone (docs/decisions/0013-audit.md)."""
    head = bytes(32)
    for record in records:
        head = hashlib.sha256(b"lapse.audit.1" + head + struct.pack(">Q", record.epoch) + record.event).digest()
        assert head == record.hash, f"record {record.revision}"
    return head


class Audit(unittest.TestCase):
    def tail(self, cluster, node, **fields):
        """All that a bounded Tail tells: (records, heads)."""
        stub = cluster.stub("auditor", "Audit", node)
        told = list(stub.Tail(messages("audit").TailRequest(**fields), timeout=120))
        return [m.record for m in told if m.HasField("record")], [m.head for m in told if m.HasField("head")]

    def assert_equal_databases(self, cluster):
        status = cluster.assert_one_history()
        for node in cluster.alive():
            whole(node, status.revision)
        first = rows(cluster.alive()[0])
        self.assertEqual([row[0] for row in first], list(range(1, len(first) + 1)), "revisions are dense")
        for node in cluster.alive()[1:]:
            self.assertTrue(rows(node) == first, f"node {node.id} has other records")
        return first

    def test_after_kills_all_nodes_have_the_same_records_and_none_is_missing(self):
        with Cluster() as cluster:
            acknowledged = []
            for round in range(3):
                for i in range(20):
                    node = cluster.nodes[i % 3]
                    acknowledged.append(cluster.request_active(node, resource=f"kill/{round}/{i}").revision)
                # kill -9 of all three at once.
                for node in cluster.nodes:
                    node.kill()
                for node in cluster.nodes:
                    node.start()
                cluster.wait_ready()
            records = self.assert_equal_databases(cluster)
            self.assertLessEqual(set(acknowledged), {row[0] for row in records})
            status = cluster.status(cluster.nodes[0])
            told, heads = self.tail(cluster, cluster.nodes[1], from_revision=1, to_revision=status.revision)
            self.assertEqual(len(told), status.revision)
            head = chain(told)
            self.assertEqual(heads[-1].revision, status.revision)
            self.assertEqual(heads[-1].hash, head)
            self.check_signature(heads[-1], cluster.nodes[1])

    def check_signature(self, head, node):
        """With OpenSSL and the node's audit.pub, as an auditor would."""
        numbers = struct.pack(">QQQQ", head.epoch, head.revision, head.time_ms, head.node_id)
        cluster = head.cluster.encode()
        signed = b"lapse.head.1" + bytes([len(cluster)]) + cluster + numbers + head.hash
        statement, signature = node.dir.parent / "statement", node.dir.parent / "signature"
        statement.write_bytes(signed)
        signature.write_bytes(head.signature)
        verify = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", node.dir / "audit.pub", "-rawin", "-in", statement, "-sigfile", signature]
        run(*verify)
        statement.write_bytes(signed[:-1] + bytes([signed[-1] ^ 1]))
        self.assertNotEqual(run(*verify, check=False).returncode, 0)

    def fill(self, cluster, node, n):
        """So many entries of the log, one after the other, and large enough for a snapshot in between."""
        for i in range(n):
            cluster.grants("dev1", "Request", node, subject=principal("dev1"), resource=f"fill/{i}", actions=["read"],
                           justification="j" * 900, duration_ms=60_000)

    def test_nodes_that_get_a_snapshot_get_the_records_before_it_from_the_others(self):
        with Cluster(settings={"raft-snapshot-bytes": "1MiB"}) as cluster:
            leader, behind = cluster.leader(), cluster.followers()[0]
            behind.kill()
            # More than the log keeps for those that are behind.
            self.fill(cluster, leader, 9000)
            eventually("a snapshot", lambda: leader.metric("lapse_snapshots_taken_total") > 0)
            behind.start()
            eventually("it is ready", behind.is_ready)
            fresh = Node(cluster, 4, free_ports(3))
            cluster.pki.issue("node4", "lapse/node/4", ["127.0.0.1", "localhost"])
            run(LAPSED, "join", "--cluster", cluster.status(leader).cluster, "--node-id", 4, "--data-dir", fresh.dir)
            members, plain = cluster.members, fresh.flags
            fresh.flags = lambda: [*plain(), f"--node-join={members}"]
            cluster.nodes.append(fresh)
            fresh.start()
            cluster.call("operator", "Cluster", "AddNode", cluster.leader(), node_id=4, address=f"127.0.0.1:{fresh.peer_port}")
            eventually("node 4 is ready", fresh.is_ready)
            self.assert_equal_databases(cluster)
            for node in behind, fresh:
                self.assertGreater(node.metric("lapse_audit_gaps_total"), 0, "it came by a snapshot, not by the log")
            # What it has now is its own: it serves others, alone if need be.
            self.lose(behind)
            self.assert_equal_databases(cluster)

    def lose(self, node):
        node.kill(15)
        for path in node.dir.glob("audit.db*"):
            path.unlink()
        node.start()
        eventually("it is ready", node.is_ready)

    def test_a_changed_byte_is_found_at_the_start_and_mended_from_a_peer(self):
        with Cluster() as cluster:
            for i in range(10):
                cluster.request_active(resource=f"flip/{i}")
            node = cluster.followers()[0]
            whole(node)
            node.kill()
            # SQL would be tidy; who changes evidence may be, too.
            with sqlite3.connect(node.dir / "audit.db") as db:
                event = bytearray(db.execute("SELECT event FROM records WHERE revision = 8").fetchone()[0])
                event[-1] ^= 1
                db.execute("UPDATE records SET event = ? WHERE revision = 8", (bytes(event),))
            node.start()
            eventually("it is ready", node.is_ready)
            eventually("it is found", lambda: node.metric("lapse_audit_corrupt_total") == 1)
            self.assert_equal_databases(cluster)
            self.assertIn("record 8", node.log())
            self.assertEqual(len(list(node.dir.glob("audit.db.bad-*[0-9]"))), 1)

    def test_a_lost_database_is_made_again(self):
        with Cluster(settings={"raft-snapshot-bytes": "1MiB"}) as cluster:
            self.fill(cluster, cluster.leader(), 1500)
            node = cluster.followers()[0]
            eventually("a snapshot", lambda: node.metric("lapse_snapshots_taken_total") > 0)
            self.lose(node)
            self.assert_equal_databases(cluster)
            self.assertGreater(node.metric("lapse_audit_gaps_total"), 0, "what lies before its snapshot is not in its log")

    def test_query_finds_by_everything_that_a_filter_has(self):
        with Cluster() as cluster:
            grant = cluster.request_active(resource="db/prod/orders")
            cluster.request_active(resource="db/test/orders")
            ended = cluster.grants("oncall", "Revoke", grant_id=grant.id, reason="over")

            def query(node=cluster.nodes[2], **fields):
                return cluster.call("auditor", "Audit", "Query", node, **fields)

            def found(**filter):
                return [record.revision for record in query(filter=filter).records]
            own = found(grant_id=grant.id)
            self.assertEqual(own[0], grant.requested_revision)
            self.assertEqual(own[-1], ended.grant.ended_revision)
            self.assertLessEqual(set(own), set(found(subject=principal("dev1"))))
            self.assertEqual(found(resource="db/prod/*"), own)
            self.assertEqual(found(resource="db/prod/orders"), own)
            self.assertEqual(found(resource="db/nothing/*"), [])
            self.assertIn(ended.grant.ended_revision, found(actor=principal("oncall"), types=[6]))
            self.assertEqual(found(types=[13]), [1])
            self.assertEqual(found(from_ms=ended.time_ms, types=[6]), [ended.grant.ended_revision])
            self.assertEqual(found(to_ms=ended.time_ms, types=[6]), [])
            self.pages(query, ended.revision)
            with refused(self, grpc.StatusCode.PERMISSION_DENIED, "auditors"):
                cluster.call("dev1", "Audit", "Query", cluster.nodes[0], timeout=10)
            with refused(self, grpc.StatusCode.INVALID_ARGUMENT, "types"):
                query(filter={"types": [99]})
            with refused(self, grpc.StatusCode.INVALID_ARGUMENT, "to_ms"):
                query(filter={"from_ms": 5, "to_ms": 5})

    def pages(self, query, newest):
        for descending in (False, True):
            seen, token = [], ""
            while True:
                page = query(page_size=3, page_token=token, descending=descending)
                seen += [record.revision for record in page.records]
                token = page.next_page_token
                if not token:
                    break
            self.assertEqual(seen, list(range(newest, 0, -1)) if descending else list(range(1, newest + 1)))

    def test_tail_follows_and_brings_heads(self):
        with Cluster() as cluster:
            node = cluster.nodes[1]
            stream = cluster.stub("auditor", "Audit", node).Tail(messages("audit").TailRequest(from_revision=1), timeout=120)
            first = next(stream)
            self.assertEqual(first.record.revision, 1)
            grant = cluster.request_active(cluster.nodes[0])
            revision, head = 1, None
            while head is None or head.revision < grant.revision:
                told = next(stream)
                if told.HasField("record"):
                    revision += 1
                    self.assertEqual(told.record.revision, revision)
                else:
                    head = told.head
                    self.assertLessEqual(head.revision, revision, "a head follows its records")
            stream.cancel()

    def test_evidence_tells_a_grants_whole_story(self):
        with Cluster() as cluster:
            parent = cluster.request_active(resource="db/prod/*")
            other = cluster.request_active(resource="db/test/orders")
            child = cluster.grants("dev1", "Request", subject=principal("dev1"), resource="db/prod/orders", actions=["read"],
                                   justification="below", duration_ms=60_000, parent=parent.id)
            swept = cluster.request_active(resource="db/stage/orders")
            revoked = cluster.grants("oncall", "Revoke", grant_id=parent.id, reason="over")
            sweep = cluster.call("operator", "Grants", "RevokeMatching", filter={"resource": "db/stage/*"}, reason="stage is closed")

            def evidence(grant_id):
                stub = cluster.stub("auditor", "Audit", cluster.nodes[2])
                told = list(stub.Evidence(messages("audit").EvidenceRequest(grant_id=grant_id), timeout=60))
                self.assertTrue(told[-1].HasField("head"))
                events = []
                for message in told[:-1]:
                    event = messages("grant").Event()
                    event.ParseFromString(message.record.event)
                    events.append(event)
                self.assertEqual(sorted(e.revision for e in events), [e.revision for e in events])
                self.assertGreaterEqual(told[-1].head.revision, events[-1].revision)
                return events
            story = evidence(parent.id)
            self.assertEqual({e.grant.id for e in story}, {parent.id})
            self.assertEqual(story[-1].revision, revoked.grant.ended_revision)
            # The child ended because the parent did: the parent's end is part of its story.
            ends = [e for e in evidence(child.grant.id) if e.grant.id == parent.id]
            self.assertEqual([e.revision for e in ends], [revoked.grant.ended_revision])
            kinds = [e.type for e in evidence(swept.id)]
            self.assertIn(20, kinds)
            self.assertIn(21, kinds)
            self.assertNotIn(20, [e.type for e in evidence(other.id)])
            self.assertGreater(sweep.revision, 0)
            with refused(self, grpc.StatusCode.NOT_FOUND, "no record"):
                evidence("01JD8Z5M3N0V6Q2R4T8W9X1Y7Z")
            with refused(self, grpc.StatusCode.PERMISSION_DENIED):
                list(cluster.stub("dev1", "Audit").Evidence(messages("audit").EvidenceRequest(grant_id=parent.id), timeout=60))


class FullDisk(unittest.TestCase):
    """The data directory of the node on a small file system of its own."""

    def setUp(self):
        self.cluster = Cluster(nodes=1, settings={"raft-disk-reserve-bytes": "0", "audit-reserve-bytes": "4MiB", "raft-segment-bytes": "4MiB"})
        self.addCleanup(self.cluster.__exit__, None, None, None)
        self.disk = self.cluster.dir / "disk"
        self.disk.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", self.disk], capture_output=True)
        if mounted.returncode != 0:
            self.skipTest("mounting takes root")
        self.addCleanup(subprocess.run, ["umount", "-l", self.disk])
        self.node = self.cluster.nodes[0]
        self.node.dir = self.disk / "node1"

    def test_a_full_disk_refuses_new_access_and_never_a_revocation(self):
        cluster, node = self.cluster, self.node
        cluster.make()
        cluster.start()
        grant = cluster.request_active()
        self.assertEqual(node.metric("lapse_audit_full"), 0)
        filler = self.disk / "filler"
        room = shutil.disk_usage(self.disk).free
        filler.write_bytes(bytes(room - (3 << 20)))
        eventually("it is noticed", lambda: node.metric("lapse_audit_full") == 1)
        with refused(self, grpc.StatusCode.RESOURCE_EXHAUSTED, "disk"):
            cluster.call("dev1", "Grants", "Request", timeout=10, subject=principal("dev1"), resource="db/prod/orders", actions=["read"],
                         justification="one more", duration_ms=60_000)
        with refused(self, grpc.StatusCode.RESOURCE_EXHAUSTED, "disk"):
            cluster.call("operator", "Cluster", "SetRoles", timeout=10, binding={"member": principal("stranger"), "roles": ["requester"]})
        # Less is always possible.
        cluster.call("operator", "Cluster", "SetRoles", binding={"member": principal("dev2"), "roles": []})
        revoked = cluster.grants("oncall", "Revoke", grant_id=grant.id, reason="the disk is full, access ends all the same")
        self.assertEqual(whole(node, revoked.revision), revoked.revision)
        filler.unlink()
        eventually("there is room again", lambda: node.metric("lapse_audit_full") == 0)
        self.assertTrue(cluster.request_active().id)


if __name__ == "__main__":
    generated()
    unittest.main()
