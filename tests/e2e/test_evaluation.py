#!/usr/bin/python3
"""What programs ask enforcement points in other words: AuthZEN at the agent (from memory) and at a node (by a quorum), bearer tokens in the Authorization header, and
the head of the audit log that the agent keeps, by which a cluster that was set back to an old backup is found out."""

import json
import os
import shutil
import signal
import unittest

import harness
from harness import LAPSE, Cluster, eventually, free_ports, principal
from probe import cli
from test_agent import Process, fetch

CONFIG = """
[cluster]
endpoints = {endpoints}
certificate = {certificate}
key = {key}
authorities = {authorities}
[point]
id = web1
scope = *
state-directory = {state}
[http]
listen = 127.0.0.1:{port}
[map api]
match.path = /api/*
token = ${{header:Authorization}}
resource = db/prod/orders
action = read
[log]
level = debug
"""


class WithAgent(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster(settings={"http-evaluation": "on"}).__enter__()
        self.addCleanup(self.close)
        self.port, = free_ports(1)
        certificate, key, ca = self.cluster.pki.files("proxy1")
        self.state = self.cluster.dir / "agent-state"
        self.config = self.cluster.dir / "agent.conf"
        self.config.write_text(CONFIG.format(endpoints=",".join(n.endpoint for n in self.cluster.nodes), certificate=certificate, key=key, authorities=ca,
                                             state=self.state, port=self.port))
        self.start_agent()

    def start_agent(self, *flags):
        self.agent = Process("agent", self.cluster.dir, LAPSE, "agent", "--config", self.config, *flags).start()
        return self.agent

    def close(self):
        failure = None if self._outcome.success else AssertionError
        if failure:
            print(self.agent.log()[-3000:], flush=True)
        self.agent.stop()
        self.cluster.__exit__(failure, None, None)

    def wait_ready(self):
        eventually("the agent decides", lambda: fetch(self.port, "/readyz")[0] == 200)

    @staticmethod
    def question(action="read", **context):
        return {"subject": {"type": "user", "id": "dev1"}, "resource": {"type": "database", "id": "db/prod/orders"}, "action": {"name": action}, "context": context}

    def evaluate(self, port, question):
        status, headers, body = fetch(port, "/access/v1/evaluation", {"Content-Type": "application/json", "X-Request-ID": "42"}, "POST", json.dumps(question))
        self.assertEqual((status, headers["X-Request-ID"]), (200, "42"), body)
        return json.loads(body)

    def agent_says(self, question):
        answer = self.evaluate(self.port, question)
        return answer["decision"], answer["context"]["reason"]

    # --- AuthZEN

    def test_AuthZEN_at_the_agent_and_at_every_node(self):
        self.wait_ready()
        grant = self.cluster.request_active(subject="user:dev1", duration_ms=600_000)
        eventually("the agent permits", lambda: self.agent_says(self.question()) == (True, "ALLOWS"))
        for node in self.cluster.nodes:
            said = self.evaluate(node.http_port, self.question())
            self.assertTrue(said["decision"], said)
            self.assertEqual((said["context"]["grant"], said["context"]["subject"]), (grant.id, "user:dev1"))
            self.assertGreater(said["context"]["valid_for_ms"], 0)
            self.assertFalse(self.evaluate(node.http_port, self.question("drop"))["decision"])
        self.assertFalse(self.agent_says(self.question("drop"))[0])
        done = cli(self.cluster, "operator", "lock", "subject", "user:dev1", "--reason", "stolen", "--until", "enforced")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.agent_says(self.question()), (False, "LOCKED"))
        for node in self.cluster.nodes:
            said = self.evaluate(node.http_port, self.question())
            self.assertEqual((said["decision"], said["context"]["reason"]), (False, "LOCKED"))
        for port in (self.port, self.cluster.nodes[0].http_port):
            for type_, body, status in (("application/json", "{", 400), ("application/json", "{}", 400), ("text/plain", "{}", 415), ("application/json", " " * 20000, 413)):
                self.assertEqual(fetch(port, "/access/v1/evaluation", {"Content-Type": type_}, "POST", body)[0], status, (type_, body[:20]))
            self.assertEqual(fetch(port, "/access/v1/evaluation")[0], 405)

    # --- tokens

    def test_a_bearer_token_lets_in_until_its_grant_ends_and_stands_in_no_log(self):
        self.wait_ready()
        grant = self.cluster.request_active(duration_ms=600_000)
        path = self.cluster.dir / "token"
        done = cli(self.cluster, "dev1", "token", grant.id, "--file", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        token = path.read_text().strip()
        ask = lambda text=token: fetch(self.port, "/auth", {"X-Original-URI": "/api/x", "X-Original-Method": "GET", "Authorization": f"Bearer {text}"})
        eventually("the agent knows the token", lambda: ask()[0] == 200)
        self.assertEqual(ask()[1]["X-Lapse-Subject"], principal("dev1"))
        wrong = token[:-1] + ("A" if token[-1] != "A" else "B")
        for text, reason in ((wrong, "UNKNOWN_TOKEN"), ("lps_no", "BAD_TOKEN")):
            status, headers, _ = ask(text)
            self.assertEqual((status, headers["X-Lapse-Reason"]), (401, reason))
            self.assertIn("invalid_token", headers["WWW-Authenticate"])
        by_token = dict(self.question(), subject={"type": "token", "id": token})
        self.assertEqual(self.agent_says(by_token), (True, "ALLOWS"))
        for node in self.cluster.nodes:
            self.assertEqual(self.evaluate(node.http_port, by_token)["context"]["subject"], principal("dev1"))
        self.cluster.grants("operator", "Revoke", grant_id=grant.id, reason="over", wait="ENFORCED")
        self.assertEqual((ask()[0], ask()[1]["X-Lapse-Reason"]), (401, "UNKNOWN_TOKEN"))
        logs = "".join(file.read_text(errors="replace") for file in self.cluster.dir.rglob("*.log"))
        self.assertIn("permitted", logs)
        self.assertNotIn(token, logs)

    # --- heads

    def kept(self):
        file = self.state / "audit-head.json"
        return json.loads(file.read_text())["head"] if file.exists() else None

    def test_a_cluster_that_was_set_back_is_found_out_by_the_head_that_the_agent_kept(self):
        self.wait_ready()
        first = self.cluster.request_active()
        for node in self.cluster.nodes:
            node.process.send_signal(signal.SIGSTOP)  # a backup of one moment
        for node in self.cluster.nodes:
            shutil.copytree(node.dir, self.cluster.dir / f"backup-{node.id}")
            node.process.send_signal(signal.SIGCONT)
        self.cluster.wait_ready()
        self.cluster.grants("operator", "Revoke", grant_id=first.id, reason="over", wait="ENFORCED")
        revision = self.cluster.grants("operator", "Get", grant_id=first.id).revision
        eventually("a head of after the revocation is kept", lambda: (self.kept() or {"revision": 0})["revision"] >= revision)
        self.assertEqual(os.stat(self.state / "audit-head.json").st_mode & 0o777, 0o600)
        for node in self.cluster.nodes:
            node.kill()
            shutil.rmtree(node.dir)
            shutil.move(self.cluster.dir / f"backup-{node.id}", node.dir)
        for node in self.cluster.nodes:
            node.start()
        self.cluster.wait_ready()
        self.assertTrue(self.cluster.grants("operator", "Check", subject=principal("dev1"), resource=first.resource, action="read").allowed, "it is back in the old state")
        question = dict(self.question(), subject={"type": "x", "id": principal("dev1")})
        eventually("the agent has found it out", lambda: self.agent_says(question) == (False, "FAILED"))
        self.assertRegex(fetch(self.port, "/readyz")[2], "FAILED.*operator")
        self.agent.stop(signal.SIGKILL)
        self.start_agent()
        eventually("the next process finds it out, too", lambda: fetch(self.port, "/readyz")[0] == 503 and self.agent_says(question) == (False, "FAILED"))
        rollbacks = [fetch(node.http_port, "/metrics")[2] for node in self.cluster.nodes]
        self.assertTrue(any("lapse_audit_rollbacks_total 0\n" not in text for text in rollbacks))
        self.assertEqual(self.agent.stop(), 0)
        self.start_agent("--accept-new-history")
        self.wait_ready()
        self.assertEqual(self.agent_says(question), (True, "ALLOWS"))
        self.assertEqual(len(list(self.state.glob("audit-head.json.before-*"))), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
