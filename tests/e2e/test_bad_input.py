#!/usr/bin/python3
"""Malformed, oversized, unauthenticated, unauthorised, conflicting and late calls; wrong set-ups. Each gets the documented code and a message that says what to do, and the
node keeps serving."""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import unittest

from harness import LAPSE, LAPSED, Cluster, Pki, eventually, grpc, generated, messages, principal, refused, run

C = grpc.StatusCode


class BadCalls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.cluster.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.cluster.__exit__(None, None, None)

    def tearDown(self):
        """Whatever was tried: every node still serves."""
        for node in self.cluster.nodes:
            self.cluster.grants("auditor", "List", node, page_size=1)

    def ask(self, user="dev1", **changes):
        fields = dict(subject=principal("dev1"), resource="db/x", actions=["read"], justification="why", duration_ms=60_000)
        fields.update(changes)
        return self.cluster.grants(user, "Request", **fields)

    def test_each_field_of_a_request_is_checked_and_named(self):
        cases = [
            (dict(subject=""), "subject"), (dict(subject="a b"), "subject"), (dict(subject="x" * 257), None),
            (dict(resource=""), "resource"), (dict(resource="/abs"), "resource"), (dict(resource="a//b"), "resource"),
            (dict(resource="a/../b"), "resource"), (dict(actions=[]), "action"), (dict(actions=["Bad Action"]), "action"),
            (dict(actions=["a"] * 17), None), (dict(justification=""), "justification"), (dict(justification="x" * 1025), None),
            (dict(duration_ms=0), "duration"), (dict(duration_ms=-5), "duration"), (dict(duration_ms=10**15), "duration"),
            (dict(deadline_ms=5), None), (dict(request_id="x" * 65), None),
            (dict(binding={"networks": ["10.0.0.0/33"]}), "network"), (dict(parent="nonsense"), None),
            (dict(justification="bell \x07"), None),
        ]
        for changes, word in cases:
            with self.subTest(changes=str(changes)[:60]):
                with self.assertRaises(grpc.RpcError) as caught:
                    self.ask(**changes)
                self.assertIn(caught.exception.code(), [C.INVALID_ARGUMENT, C.OUT_OF_RANGE], caught.exception.details())
                self.assertGreater(len(caught.exception.details()), 10)
                if word:
                    self.assertIn(word, caught.exception.details())

    def test_who_may_not_is_told_so(self):
        pending = self.ask().grant.id
        active = self.cluster.request_active().id
        for user, method, fields in [
            ("stranger", "Request", dict(subject="user:x", resource="a/b", actions=["read"], justification="j", duration_ms=1000)),
            ("oncall", "Request", dict(subject="user:x", resource="a/b", actions=["read"], justification="j", duration_ms=1000)),
            ("dev2", "Approve", dict(grant_id=pending)), ("dev1", "Approve", dict(grant_id=pending)),
            ("dev2", "Revoke", dict(grant_id=active, reason="r")), ("dev2", "Complete", dict(grant_id=active)),
            ("dev2", "Cancel", dict(grant_id=pending)), ("dev1", "Use", dict(grant_id=active)),
        ]:
            with self.subTest(user=user, method=method):
                with refused(self, C.PERMISSION_DENIED):
                    self.cluster.grants(user, method, **fields)
        with refused(self, C.PERMISSION_DENIED):
            self.cluster.call("dev1", "Cluster", "SetRoles", binding={"member": principal("dev1"), "roles": ["operator"]})
        with refused(self, C.PERMISSION_DENIED):
            self.cluster.call("dev1", "Cluster", "ListRoles")
        with refused(self, C.FAILED_PRECONDITION):
            self.cluster.call("operator", "Cluster", "SetRoles", binding={"member": principal("operator"), "roles": []})

    def test_nobody_approves_for_themselves_under_any_name(self):
        self.cluster.call("operator", "Cluster", "SetRoles", binding={"member": principal("dev2"), "roles": ["requester", "approver"]})
        own = self.ask("dev2", subject=principal("dev2")).grant.id
        with refused(self, C.PERMISSION_DENIED):
            self.cluster.grants("dev2", "Approve", grant_id=own)
        alias = self.ask("dev1", subject="user:dev2").grant.id
        with refused(self, C.PERMISSION_DENIED):
            self.cluster.grants("dev2", "Approve", grant_id=alias)
        self.cluster.call("operator", "Cluster", "SetRoles", binding={"member": principal("dev2"), "roles": ["requester"]})

    def test_too_late_and_conflicting_calls(self):
        grant = self.cluster.request_active().id
        self.cluster.grants("operator", "Revoke", grant_id=grant, reason="first")
        for user, method in [("operator", "Revoke"), ("oncall", "Approve"), ("oncall", "Deny"), ("dev1", "Complete"), ("dev1", "Cancel"), ("proxy1", "Use")]:
            with self.subTest(method=method):
                with refused(self, C.FAILED_PRECONDITION, "REVOKED"):
                    self.cluster.grants(user, method, grant_id=grant)
        with refused(self, C.NOT_FOUND, "01ARZ3NDEKTSV4RRFFQ69G5FAV"):
            self.cluster.grants("operator", "Revoke", grant_id="01ARZ3NDEKTSV4RRFFQ69G5FAV")

    def test_malformed_and_oversized_messages(self):
        channel = self.cluster._cached("dev1", self.cluster.nodes[0])
        raw = channel.unary_unary("/lapse.v1.Grants/Request")
        for payload in [b"\xff\xff\xff", b"\x0a\xff\xff\xff\xff\x0f", os.urandom(500), b"\x12\x02\xc3\x28"]:
            with refused(self, C.INVALID_ARGUMENT):
                raw(payload, timeout=30)
        with refused(self, C.RESOURCE_EXHAUSTED):
            raw(b"\x0a" + b"x" * 200_000, timeout=30)
        with refused(self, C.UNIMPLEMENTED):
            channel.unary_unary("/lapse.v1.Grants/Nothing")(b"", timeout=30)
        with refused(self, C.OUT_OF_RANGE, "page_size"):
            self.cluster.grants("auditor", "List", page_size=1001)
        with refused(self, C.INVALID_ARGUMENT, "page_token"):
            self.cluster.grants("auditor", "List", page_token="yesterday")
        with refused(self, C.INVALID_ARGUMENT, "grant_id"):
            self.cluster.grants("auditor", "Get", grant_id="short")

    def test_without_a_certificate_of_this_authority_there_is_no_connection(self):
        other = Pki(self.cluster.dir / "other-pki")
        other.issue("dev1", "user/dev1")
        port = self.cluster.nodes[0].client_port
        certificate, key, ca = other.files("dev1")
        for client in ["none", "foreign"]:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(self.cluster.pki.files("dev1")[2])
            context.set_alpn_protocols(["h2"])
            if client == "foreign":
                context.load_cert_chain(certificate, key)
            with self.subTest(client=client), self.assertRaises((ssl.SSLError, ConnectionError)):
                with socket.create_connection(("127.0.0.1", port)) as tcp, context.wrap_socket(tcp, server_hostname="127.0.0.1") as tls:
                    tls.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
                    while tls.recv(4096):
                        pass
                    raise ConnectionError("closed without data")

    def test_plain_text_garbage_does_not_hurt(self):
        for port in [self.cluster.nodes[0].client_port, self.cluster.nodes[0].peer_port, self.cluster.nodes[0].http_port]:
            with socket.create_connection(("127.0.0.1", port)) as s:
                s.sendall(os.urandom(2000))
                s.settimeout(60)
                try:
                    while s.recv(4096):
                        pass
                except ConnectionError:
                    pass


class BadSetups(unittest.TestCase):
    def test_two_nodes_with_one_identity_the_second_is_refused(self):
        with Cluster() as cluster:
            twin_dir = cluster.dir / "twin"
            shutil.copytree(cluster.nodes[0].dir, twin_dir)
            flags = [f for f in cluster.nodes[0].flags() if not f.startswith(("--data-dir", "--listen"))]
            twin = subprocess.Popen([str(LAPSED), *flags, f"--data-dir={twin_dir}", "--listen-client=127.0.0.1:0",
                                     "--listen-peer=127.0.0.1:0", "--listen-http=off"],
                                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                eventually("the others refuse the twin",
                           lambda: any("another process is connected as node 1" in node.log() for node in cluster.nodes[1:]))
                grant = cluster.request_active()
                cluster.grants("operator", "Revoke", grant_id=grant.id, reason="still serving")
            finally:
                twin.kill()
                twin.wait()
            cluster.assert_one_history()

    def test_a_running_data_directory_can_t_be_opened_twice(self):
        with Cluster(nodes=1) as cluster:
            second = run(LAPSED, *[f for f in cluster.nodes[0].flags() if not f.startswith("--listen")],
                         "--listen-client=127.0.0.1:0", "--listen-peer=127.0.0.1:0", "--listen-http=off", check=False)
            self.assertNotEqual(second.returncode, 0)
            self.assertIn(str(cluster.nodes[0].dir), second.stderr)

    def test_another_node_s_directory_and_another_cluster_are_refused(self):
        with Cluster() as cluster:
            victim = cluster.nodes[2]
            victim.kill()
            shutil.move(victim.dir, str(victim.dir) + ".aside")
            shutil.copytree(str(victim.dir) + ".aside", victim.dir)
            wrong = cluster.nodes[1]
            wrong.kill()
            shutil.move(wrong.dir, str(wrong.dir) + ".aside")
            shutil.copytree(victim.dir, wrong.dir)
            wrong.start()
            self.assertNotEqual(wrong.wait_exit(), 0)
            self.assertIn("belongs to node 3", wrong.log())
            shutil.rmtree(wrong.dir)
            shutil.move(str(wrong.dir) + ".aside", wrong.dir)
            wrong.start()
            shutil.rmtree(victim.dir)
            run(LAPSED, "init", "--cluster", "other", "--members", cluster.members, "--operator", principal("operator"),
                "--node-id", victim.id, "--data-dir", victim.dir)
            victim.start()
            eventually("the other cluster's node is refused", lambda: "cluster" in victim.log() and any(
                "cluster" in node.log() and "other-" in node.log() for node in cluster.nodes))
            grant = cluster.request_active()
            self.assertTrue(grant.id)

    def test_corruption_is_refused_with_file_and_offset_and_a_torn_tail_is_not_corruption(self):
        with Cluster() as cluster:
            for _ in range(20):
                cluster.request_active()
            node = cluster.followers()[0]
            node.kill()
            segment = max(node.dir.glob("*.segment"), key=lambda path: len(path.read_bytes().rstrip(b"\0")))
            good = segment.read_bytes()
            bad = bytearray(good)
            bad[len(good.rstrip(b"\0")) // 2] ^= 1  # acknowledged entries stand on both sides of it
            segment.write_bytes(bad)
            node.start()
            self.assertNotEqual(node.wait_exit(), 0)
            end = node.log()[-2000:]
            self.assertIn(segment.name, end)
            self.assertRegex(end, "offset|byte")
            self.assertIn("lapsed", end, "it names the way out")
            verify = run(LAPSED, "verify", "--data-dir", node.dir, check=False)
            self.assertNotEqual(verify.returncode, 0)
            self.assertIn(segment.name, verify.stderr)
            segment.write_bytes(good)
            node.start()
            cluster.wait_ready()
            cluster.assert_one_history()

    def test_wrong_configuration_is_refused_with_file_and_line(self):
        with Cluster(nodes=1, roles=False) as cluster:
            path = cluster.dir / "bad.conf"
            for text, words in [("[node]\nid = x\n", ["bad.conf:2", "id"]), ("[node]\nidd = 1\n", ["bad.conf:2", "idd"]),
                                ("[raft]\nheartbeat-ms = 9999999\n", ["bad.conf:2", "heartbeat-ms"]), ("[nope]\na = 1\n", ["bad.conf", "nope"])]:
                path.write_text(text)
                done = run(LAPSED, "--config", path, "--check-config", check=False)
                with self.subTest(text=text):
                    self.assertEqual(done.returncode, 78, done.stderr)
                    for word in words:
                        self.assertIn(word, done.stderr)

    def test_a_clean_stop_hands_leadership_over_first(self):
        with Cluster() as cluster:
            leader = cluster.leader()
            term = cluster.status(leader).term
            self.assertEqual(leader.kill(signal.SIGTERM), 0)
            self.assertIn("handing leadership over", leader.log())
            fresh = cluster.leader()
            self.assertIsNot(fresh, leader)
            self.assertGreater(cluster.status(fresh).term, term)

    def test_a_denied_certificate_loses_its_connection_at_a_reload(self):
        with Cluster(nodes=1) as cluster:
            node = cluster.nodes[0]
            deny = cluster.dir / "deny.txt"
            deny.write_text("# nobody yet\n")
            node.kill(signal.SIGTERM)
            cluster.settings["tls-deny-list"] = deny
            node.start()
            cluster.wait_ready()
            stream = cluster.watch("proxy1", node)
            next(stream)
            deny.write_text(f"{principal('proxy1')}\n")
            node.process.send_signal(signal.SIGHUP)
            with self.assertRaises(grpc.RpcError):
                for _ in stream:
                    pass
            cluster.grants("auditor", "List", node)
            with self.assertRaises(grpc.RpcError):
                cluster.call("proxy1", "Grants", "List", node, timeout=20)


if __name__ == "__main__":
    generated()
    unittest.main()
