#!/usr/bin/python3
"""Webhooks with real processes: every event at least once and in order, signed, tried again, from the next leader when one dies; a receiver that hangs
holds up nobody. CAEP: signed Security Event Tokens."""

import base64
import hashlib
import hmac
import http.server
import json
import signal
import subprocess
import threading
import unittest

from harness import LAPSED, Cluster, eventually

SECRET = "0123456789abcdef0123456789abcdef"
ENDED = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"


class Receiver:
    """Keeps what it was sent. `answer` says with which status, per path and attempt; None: never."""

    def __init__(self):
        self.got, self.lock, self.released = [], threading.Lock(), threading.Event()
        self.answer = lambda path, attempt: 204
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with receiver.lock:
                    attempt = sum(1 for path, _, _ in receiver.got if path == self.path)
                    receiver.got.append((self.path, dict(self.headers), body))
                status = receiver.answer(self.path, attempt)
                if status is None:
                    receiver.released.wait()
                    status = 500
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                except OSError:
                    self.close_connection = True

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def at(self, path):
        with self.lock:
            return [(headers, body) for where, headers, body in self.got if where == path]

    def events(self, path="/chat"):
        return [json.loads(body) for _, body in self.at(path)]

    def close(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()


def base64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Webhooks(unittest.TestCase):
    def setUp(self):
        self.receiver = Receiver()
        self.addCleanup(self.receiver.close)

    def cluster(self, settings):
        """Three nodes with these webhooks."""
        cluster = Cluster()
        secret, file, key = cluster.dir / "secret", cluster.dir / "webhooks.conf", cluster.dir / "caep.pem"
        secret.write_text(SECRET + "\n")
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True, capture_output=True)
        for private in (secret, key):
            private.chmod(0o600)
        file.write_text(settings.format(url=self.receiver.url, secret=secret, key=key))
        cluster.settings["webhooks-file"] = str(file)
        cluster.__enter__()
        self.addCleanup(cluster.__exit__, None, None, None)
        eventually("the webhooks are in place", lambda: cluster.leader().metric("lapse_webhooks") == settings.count("url ="))
        return cluster

    def seen(self, kind, grant, path="/chat"):
        return [e for e in self.receiver.events(path) if e["type"] == f"lapse.v1.{kind}" and e.get("subject") == grant.id]

    def end(self, cluster, grant, node=None):
        cluster.grants("operator", "Revoke", node, grant_id=grant.id, reason="laptop lost")

    def test_each_event_is_told_in_order_with_what_happened_and_a_signature(self):
        cluster = self.cluster("[chat]\nurl = {url}/chat\nsecret-file = {secret}\nevents = REQUESTED,APPROVED,REVOKED\n")
        grants = [cluster.request_active() for _ in range(5)]
        for grant in grants:
            self.end(cluster, grant)
        eventually("the last end is told", lambda: self.seen("REVOKED", grants[-1]))
        told = self.receiver.events()
        revisions = [event["data"]["revision"] for event in told]
        self.assertEqual(revisions, sorted(set(revisions)), "in order, each once while nothing fails")
        self.assertEqual({event["type"] for event in told}, {f"lapse.v1.{kind}" for kind in ("REQUESTED", "APPROVED", "REVOKED")})
        end = self.seen("REVOKED", grants[0])[0]
        self.assertEqual((end["data"]["grant"]["reason"], end["data"]["grant"]["subject"]), ("laptop lost", grants[0].subject))
        for headers, body in self.receiver.at("/chat"):
            signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
            expected = base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
            self.assertEqual(headers["webhook-signature"], "v1," + expected)
            self.assertEqual(headers["webhook-id"], json.loads(body)["id"])

    def test_what_a_receiver_refuses_is_tried_again_until_it_takes_it(self):
        self.receiver.answer = lambda path, attempt: 503 if attempt < 2 else 200
        cluster = self.cluster("[chat]\nurl = {url}/chat\nevents = REVOKED\n")
        grant = cluster.request_active()
        self.end(cluster, grant)
        eventually("the third attempt", lambda: len(self.receiver.events()) == 3)
        self.assertEqual(len({event["id"] for event in self.receiver.events()}), 1, "the same one, under one id")
        eventually("it is counted", lambda: cluster.leader().metric("lapse_webhook_delivered_total") == 1)
        self.assertEqual(cluster.leader().metric("lapse_webhook_failed_total"), 2)

    def test_deliveries_survive_the_leaders_death_at_least_once(self):
        cluster = self.cluster("[chat]\nurl = {url}/chat\nevents = REVOKED\n")
        before = [cluster.request_active() for _ in range(10)]
        for grant in before:
            self.end(cluster, grant)
        eventually("some are told", lambda: len(self.receiver.events()) >= 3)
        dead = cluster.leader()
        dead.kill()
        alive = cluster.alive()[0]
        after = [cluster.request_active(node=alive) for _ in range(5)]
        for grant in after:
            self.end(cluster, grant, node=alive)
        for grant in before + after:
            eventually(f"the end of {grant.id} is told", lambda grant=grant: self.seen("REVOKED", grant))

    def test_a_webhook_that_hangs_holds_up_nobody_else(self):
        self.receiver.answer = lambda path, attempt: None if path == "/hangs" else 200
        cluster = self.cluster("[hangs]\nurl = {url}/hangs\nevents = REVOKED\ntimeout = 60s\n\n[chat]\nurl = {url}/chat\nevents = REVOKED\n")
        grants = [cluster.request_active() for _ in range(3)]
        for grant in grants:
            self.end(cluster, grant)
        for grant in grants:
            eventually("the other webhook is told", lambda grant=grant: self.seen("REVOKED", grant))
        self.assertEqual(len(self.receiver.at("/hangs")), 1)
        leader = cluster.leader()
        leader.process.terminate()
        eventually("the node stops although it hangs", lambda: leader.process.poll() is not None)

    def test_nothing_is_lost_while_leadership_goes_round(self):
        """Every other attempt fails, so that each leader leaves something undelivered behind."""
        self.receiver.answer = lambda path, attempt: 200 if attempt % 2 else 503
        cluster = self.cluster("[chat]\nurl = {url}/chat\nevents = REVOKED\n")
        grants = []
        for target in [2, 3, 1, 2, 3, 1]:
            grants += [cluster.request_active() for _ in range(3)]
            for grant in grants[-3:]:
                self.end(cluster, grant)
            cluster.call("operator", "Cluster", "TransferLeadership", cluster.leader(), node_id=target)
            cluster.nodes[target - 1].process.send_signal(signal.SIGHUP)
        for grant in grants:
            eventually(f"the end of {grant.id} is told", lambda grant=grant: self.seen("REVOKED", grant))
        first = list(dict.fromkeys(event["data"]["revision"] for event in self.receiver.events()))
        self.assertEqual(len(first), len(grants), "nothing else is told")

    def test_what_nobody_takes_is_given_up_and_stays_given_up_under_the_next_leader(self):
        self.receiver.answer = lambda path, attempt: 503 if self.refuses else 200
        self.refuses = True
        cluster = self.cluster("[chat]\nurl = {url}/chat\nevents = REVOKED\ngive-up-after = 1s\n")
        lost, taken = cluster.request_active(), cluster.request_active()
        self.end(cluster, lost)
        eventually("it is given up", lambda: cluster.leader().metric("lapse_webhook_dropped_total") == 1)
        attempts = len(self.receiver.events())
        self.refuses = False
        leader = cluster.leader()
        eventually("that is committed", lambda: self.moves_on(cluster, leader))
        self.end(cluster, taken)
        eventually("the next one is told", lambda: self.seen("REVOKED", taken))
        self.assertEqual(len(self.seen("REVOKED", lost)), attempts, "never again")

    def moves_on(self, cluster, old):
        cluster.call("operator", "Cluster", "TransferLeadership", old, node_id=1 + old.id % 3)
        return cluster.leader() is not old

    def test_a_receiver_that_misbehaves_gets_it_again_only_if_it_has_not_taken_it(self):
        """302 is no word, and is not followed; 200 is, whatever comes after it."""
        self.receiver.answer = lambda path, attempt: 302 if attempt == 0 else 200
        cluster = self.cluster("[chat]\nurl = {url}/chat\nevents = REVOKED\n")
        grant = cluster.request_active()
        self.end(cluster, grant)
        eventually("it is taken", lambda: cluster.leader().metric("lapse_webhook_delivered_total") == 1)
        self.assertEqual([path for path, _, _ in self.receiver.got], ["/chat", "/chat"])
        self.assertIn("the receiver answered 302", cluster.leader().log())

    def test_neither_secrets_nor_where_events_go_stand_in_a_log(self):
        self.receiver.answer = lambda path, attempt: 500 if attempt == 0 else 200
        cluster = self.cluster("[chat]\nurl = {url}/chat-with-a-token-in-it\nsecret-file = {secret}\nevents = REVOKED\n")
        self.end(cluster, cluster.request_active())
        eventually("it is taken", lambda: cluster.leader().metric("lapse_webhook_delivered_total") == 1)
        for node in cluster.nodes:
            self.assertNotIn("token-in-it", node.log())
            self.assertNotIn(SECRET, node.log())

    def test_caep_tells_the_end_of_a_session_as_a_signed_token(self):
        cluster = self.cluster("[idp]\nkind = caep\nurl = {url}/caep\nissuer = https://lapse.example.org\naudience = https://idp.example.org\n"
                               "signing-key-file = {key}\n")
        grant = cluster.request_active()
        self.end(cluster, grant)
        eventually("the token has come", lambda: self.receiver.at("/caep"))
        headers, body = self.receiver.at("/caep")[0]
        self.assertEqual(headers["Content-Type"], "application/secevent+jwt")
        header, payload, signature = body.decode().split(".")
        self.assertEqual(json.loads(base64url(header))["typ"], "secevent+jwt")
        claims = json.loads(base64url(payload))
        self.assertEqual((claims["iss"], claims["aud"]), ("https://lapse.example.org", "https://idp.example.org"))
        self.assertEqual((claims["sub_id"]["user"]["id"], claims["sub_id"]["session"]["id"]), (grant.subject, grant.id))
        self.assertEqual(claims["events"][ENDED]["reason_admin"]["en"], "laptop lost")
        for name, content in (("signed", f"{header}.{payload}".encode()), ("signature", base64url(signature))):
            (cluster.dir / name).write_bytes(content)
        verify = ["openssl", "pkeyutl", "-verify", "-inkey", cluster.dir / "caep.pem", "-rawin", "-in", cluster.dir / "signed",
                  "-sigfile", cluster.dir / "signature"]
        self.assertEqual(subprocess.run(verify, capture_output=True).returncode, 0)

    def test_a_node_refuses_to_start_with_webhooks_that_are_wrong(self):
        cluster = self.cluster("[chat]\nurl = {url}/chat\n")
        node = cluster.nodes[0]
        node.kill()
        (cluster.dir / "webhooks.conf").write_text("[chat]\nurl = http://example.org/\n")
        told = subprocess.run([LAPSED, *node.flags()], capture_output=True, text=True)
        self.assertNotEqual(told.returncode, 0)
        self.assertIn("webhooks.conf:2", told.stderr)
        self.assertIn("https://", told.stderr)


if __name__ == "__main__":
    unittest.main()
