#!/usr/bin/python3
"""`lapse agent` beside real proxies: Debian's nginx and HAProxy in front of an application, with the configurations that Lapse ships, and Envoy's
protocol spoken by a client that Lapse did not write. What a revocation that waits for ENFORCED promises is asserted of the very next request."""

import base64
import hashlib
import http.client
import http.server
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import unittest

import harness
from harness import Cluster, LAPSE, ROOT, eventually, free_ports, principal

import grpc
from grpc_tools import protoc

WAITED = {"wait": 2}  # ENFORCED

CHECK_PROTO = """
syntax = "proto3";
package envoy.service.auth.v3;
message SocketAddress { string address = 2; uint32 port_value = 3; }
message Address { SocketAddress socket_address = 1; }
message Peer { Address address = 1; string service = 2; string principal = 4; string certificate = 5; }
message HttpRequest { string id = 1; string method = 2; map<string, string> headers = 3; string path = 4; string host = 5; int64 size = 9; string protocol = 10; }
message Request { HttpRequest http = 2; }
message AttributeContext { Peer source = 1; Peer destination = 2; Request request = 4; map<string, string> context_extensions = 10; }
message CheckRequest { AttributeContext attributes = 1; }
message HeaderValue { string key = 1; string value = 2; }
message HeaderValueOption { HeaderValue header = 1; int32 append_action = 3; }
message HttpStatus { int32 code = 1; }
message DeniedHttpResponse { HttpStatus status = 1; repeated HeaderValueOption headers = 2; string body = 3; }
message OkHttpResponse { repeated HeaderValueOption headers = 2; }
message RpcStatus { int32 code = 1; string message = 2; }
message CheckResponse { RpcStatus status = 1; oneof http_response { DeniedHttpResponse denied_response = 2; OkHttpResponse ok_response = 3; } }
service Authorization { rpc Check(CheckRequest) returns (CheckResponse); }
"""


class Application(http.server.ThreadingHTTPServer):
    """Behind the proxies: says what reached it."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            body = json.dumps({"path": self.path, "grant": self.headers.get("X-Lapse-Grant", "")}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    def __init__(self):
        super().__init__(("127.0.0.1", 0), self.Handler)
        self.daemon_threads = True
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        """A proxy that closes its connection is none."""


class Process:
    """A program of the test's own, ended by its pid."""

    def __init__(self, name, directory, *args):
        self.name, self.log_path, self.args, self.process = name, directory / f"{name}.log", [str(a) for a in args], None

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.args, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def send(self, sig):
        self.process.send_signal(sig)

    def stop(self, sig=signal.SIGTERM):
        """Returns the exit code; None when it did not run."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(sig)
        code = self.process.wait(harness.PATIENCE_S)
        self.process = None
        return code

    def log(self):
        return self.log_path.read_text() if self.log_path.exists() else ""


def fetch(port, path, headers=None, method="GET", body=None):
    """(status, headers, body); (0, {}, "") when nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    except OSError:
        return 0, {}, ""
    finally:
        connection.close()


def user(name):
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:pw".encode()).decode()}


class AgentTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster().__enter__()
        cls.addClassCleanup(cls.cluster.__exit__, None, None, None)
        cls.dir = cls.cluster.dir
        cls.dir.chmod(0o755)  # nginx' worker is another user
        cls.application = Application()
        cls.addClassCleanup(cls.application.shutdown)
        cls.http_port, cls.metrics_port, cls.authz_port, cls.nginx_port, cls.haproxy_port, cls.tls_port = free_ports(6)
        cls.write_agent_config()
        cls.agent = Process("agent", cls.dir, LAPSE, "agent", "--config", cls.dir / "agent.conf").start()
        cls.nginx = Process("nginx", cls.dir, "nginx", "-p", cls.dir, "-e", cls.dir / "nginx-error.log", "-c", cls.write_nginx_config()).start()
        cls.haproxy = Process("haproxy", cls.dir, "haproxy", "-db", "-f", cls.write_haproxy_config()).start()
        for process in (cls.nginx, cls.haproxy, cls.agent):
            cls.addClassCleanup(process.stop)
        cls.addClassCleanup(cls.tell_logs)
        cls.wait_deciding()
        for port in (cls.nginx_port, cls.haproxy_port):
            eventually("the proxy listens", lambda: fetch(port, "/")[0] != 0)

    @classmethod
    def tell_logs(cls):
        if os.environ.get("LAPSE_LOGS"):
            for process in (cls.nginx, cls.haproxy, cls.agent):
                print(f"--- {process.name}\n{process.log()[-4000:]}", file=sys.stderr)

    @classmethod
    def write_agent_config(cls, resource="web/${path}"):
        certificate, key, ca = cls.cluster.pki.files("proxy1")
        (cls.dir / "agent.conf").write_text(f"""
[cluster]
endpoints = {",".join(node.endpoint for node in cls.cluster.nodes)}
certificate = {certificate}
key = {key}
authorities = {ca}
[point]
id = web1
scope = web/*
lease-ms = 3000
[http]
listen = 127.0.0.1:{cls.http_port}
[ext_authz]
listen = 127.0.0.1:{cls.authz_port}
[metrics]
listen = 127.0.0.1:{cls.metrics_port}
[map by certificate]
match.host = localhost
subject = ${{client.certificate.spiffe-id}}
resource = {resource}
action = read
[map all]
subject = spiffe://{harness.DOMAIN}/user/${{header:X-Forwarded-User}}
resource = {resource}
action.GET = read
action.* = write
""")

    @classmethod
    def write_nginx_config(cls):
        """What Lapse ships, at other addresses."""
        site = (ROOT / "dist/nginx/lapse.conf").read_text()
        for shipped, here in {
            "unix:/run/lapse-agent/http.sock": f"127.0.0.1:{cls.http_port}",
            "127.0.0.1:8080": f"127.0.0.1:{cls.nginx_port}",
            "127.0.0.1:8081": f"127.0.0.1:{cls.application.server_port}",
            "/etc/nginx/users": str(cls.dir / "users"),
        }.items():
            assert shipped in site, shipped
            site = site.replace(shipped, here)
        site += cls.tls_site(site)
        (cls.dir / "users").write_text("dev1:{PLAIN}pw\ndev2:{PLAIN}pw\n")
        (cls.dir / "users").chmod(0o644)
        temporary = "".join(f"{kind}_temp_path {cls.dir}/nginx-{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        path = cls.dir / "nginx.conf"
        root = "user root;\n" if os.geteuid() == 0 else ""
        path.write_text(f"{root}daemon off;\nworker_processes 2;\npid {cls.dir}/nginx.pid;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}{site}}}\n")
        return path

    @classmethod
    def tls_site(cls, site):
        """The same for clients with certificates."""
        certificate, key, ca = cls.cluster.pki.files("node1")
        server = site[site.index("server {\n"):]
        server = server.replace(f"listen 127.0.0.1:{cls.nginx_port};", f"listen 127.0.0.1:{cls.tls_port} ssl;\nssl_certificate {certificate};\n"
                                f"ssl_certificate_key {key};\nssl_client_certificate {ca};\nssl_verify_client on;")
        return "\n".join(line for line in server.splitlines() if "auth_basic" not in line) + "\n"

    @classmethod
    def write_haproxy_config(cls):
        site = (ROOT / "dist/haproxy/lapse.cfg").read_text()
        for shipped, here in {
            "/usr/share/lapse/haproxy/lapse.lua": str(ROOT / "dist/haproxy/lapse.lua"),
            "127.0.0.1:7480": f"127.0.0.1:{cls.http_port}",
            "127.0.0.1:8080": f"127.0.0.1:{cls.haproxy_port}",
            "127.0.0.1:8081": f"127.0.0.1:{cls.application.server_port}",
            "user dev1 insecure-password change-me": "user dev1 insecure-password pw",
        }.items():
            assert shipped in site, shipped
            site = site.replace(shipped, here)
        path = cls.dir / "haproxy.cfg"
        path.write_text(site)
        return path

    @classmethod
    def wait_deciding(cls):
        def attempt():
            assert cls.agent.process.poll() is None, cls.agent.log()[-3000:]
            return fetch(cls.http_port, "/readyz")[0] == 200
        eventually("the agent decides", attempt)
        eventually("HAProxy's health check has noticed",
                   lambda: fetch(cls.haproxy_port, "/", user("dev1"))[1].get("X-Lapse-Reason") not in (None, "AGENT_UNREACHABLE"))

    def restart_agent(self):
        self.agent.start()
        self.wait_deciding()

    def grant(self, resource, **fields):
        """Active, and known to the agent."""
        grant = self.cluster.request_active(resource=resource, **fields)
        self.check(resource, revision=grant.revision)
        return grant

    def check(self, resource, action="read", **more):
        question = {"subject": principal("dev1"), "resource": resource, "action": action, **more}
        status, _, body = fetch(self.http_port, "/v1/check", method="POST", body=json.dumps(question))
        self.assertEqual(status, 200, body)
        return json.loads(body)

    def revoke(self, grant, **fields):
        return self.cluster.grants("oncall", "Revoke", grant_id=grant.id, reason="no longer needed", **fields)

    # --- Proxies

    def through(self, port, path, name="dev1", **headers):
        return fetch(port, path, {**user(name), **headers})

    def pass_and_revoke(self, port, resource):
        status, _, _ = self.through(port, f"/{resource}")
        self.assertEqual(status, 403, "there is no grant yet")
        grant = self.grant(f"web/{resource}")
        status, _, body = self.through(port, f"/{resource}?page=2")
        self.assertEqual(status, 200, body)
        self.assertEqual(json.loads(body), {"path": f"/{resource}?page=2", "grant": grant.id})
        began = time.monotonic()
        self.revoke(grant, **WAITED)
        enforced = time.monotonic()
        status, headers, _ = self.through(port, f"/{resource}")
        refused = time.monotonic()
        self.assertEqual(status, 403, "G5: a request after an enforced revocation passed")
        self.assertNotEqual(headers.get("X-Lapse-Reason", "ALLOWS"), "ALLOWS")
        print(f"revoked and enforced in {(enforced - began) * 1000:.1f} ms; refused {(refused - began) * 1000:.1f} ms after the call began", flush=True)

    def test_nginx_passes_until_the_grant_is_revoked(self):
        for i in range(5):
            self.pass_and_revoke(self.nginx_port, f"reports/n{i}")

    def test_haproxy_passes_until_the_grant_is_revoked(self):
        for i in range(5):
            self.pass_and_revoke(self.haproxy_port, f"reports/h{i}")

    def test_headers_of_the_clients_own_change_nothing(self):
        self.grant("web/mine")
        forged = {"X-Original-URI": "/mine", "X-Forwarded-User": "dev1", "X-Original-Method": "GET", "X-Lapse-Decision": "permit"}
        for port in (self.nginx_port, self.haproxy_port):
            self.assertEqual(self.through(port, "/mine")[0], 200)
            self.assertEqual(self.through(port, "/others", **forged)[0], 403)
        self.assertEqual(self.through(self.nginx_port, "/mine", name="dev2", **forged)[0], 403)

    def test_a_host_that_ends_for_the_agent_and_goes_on_for_the_proxy_is_refused(self):
        self.grant("web/nul")
        for port in (self.nginx_port, self.haproxy_port):
            for host, passes in ((b"web.example.org", True), (b"web.example.org\0.secret", False)):
                with socket.create_connection(("127.0.0.1", port)) as connection:
                    connection.sendall(b"GET /nul HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\nAuthorization: "
                                       + user("dev1")["Authorization"].encode() + b"\r\n\r\n")
                    status = int(connection.makefile("rb").readline().split()[1])
                self.assertEqual(status == 200, passes, f"{host} got {status}")

    def test_a_name_without_its_password_is_not_even_asked_about(self):
        grant = self.grant("web/once", max_uses=2)  # the first check was a use
        wrong = {"Authorization": "Basic " + base64.b64encode(b"dev1:guess").decode()}
        for port in (self.nginx_port, self.haproxy_port):
            self.assertEqual(fetch(port, "/once", wrong)[0], 401)
        self.assertEqual(self.cluster.grants("dev1", "Get", grant_id=grant.id).grant.uses, 1)
        self.assertEqual(self.through(self.nginx_port, "/once")[0], 200)

    def test_a_renewed_certificate_is_used_without_a_restart(self):
        certificate, key, _ = self.cluster.pki.files("proxy1")
        serial = lambda: ssl._ssl._test_decode_cert(str(certificate))["serialNumber"]
        before, said = serial(), self.agent.log().count("read anew")
        for file in (certificate, key):
            file.rename(f"{file}.old")
        self.cluster.pki.issue("proxy1", harness.USERS["proxy1"])
        self.assertNotEqual(serial(), before)
        eventually("it is read anew", lambda: self.agent.log().count("read anew") > said)
        grant = self.grant("web/renewed")
        self.assertEqual(self.through(self.nginx_port, "/renewed")[0], 200)
        self.revoke(grant, **WAITED)
        self.assertEqual(self.through(self.nginx_port, "/renewed")[0], 403)

    def test_another_resource_is_not_reached_by_spelling(self):
        grant = self.cluster.request_active(resource="web/public/*")
        self.check("web/public/page", revision=grant.revision)
        for port in (self.nginx_port, self.haproxy_port):
            self.assertEqual(self.through(port, "/public/page")[0], 200)
            for path in ("/public/../secret", "/public/%2e%2e/secret", "/public/..%2fsecret", "/public//secret", "/public/;x/../secret", "/public/%00",
                         "/public/.%2e;/secret", "/public/%252e%252e/secret"):
                self.assertIn(self.through(port, path)[0], (400, 403), f"{path} passed")

    def test_a_client_is_known_by_its_certificate(self):
        def fetch_as(name, path):
            certificate, key, ca = self.cluster.pki.files(name)
            context = ssl.create_default_context(cafile=str(ca))
            context.load_cert_chain(certificate, key)
            connection = http.client.HTTPSConnection("localhost", self.tls_port, timeout=60, context=context)
            try:
                connection.request("GET", path, headers={"X-Forwarded-User": "dev1", "X-Client-Certificate": "none"})
                return connection.getresponse().status
            finally:
                connection.close()

        der = ssl.PEM_cert_to_DER_cert(self.cluster.pki.files("dev1")[0].read_text())
        thumbprint = hashlib.sha256(der).digest()
        bound = self.cluster.request_active(resource="web/bound", binding={"certificate_sha256": thumbprint})
        answer = self.check("web/bound", revision=bound.revision)
        self.assertEqual((answer["permit"], answer["reason"]), (False, "BINDING_MISSING"))
        self.assertEqual(fetch_as("dev1", "/bound"), 200)
        self.assertEqual(fetch_as("dev2", "/bound"), 403)
        self.assertEqual(self.through(self.nginx_port, "/bound")[0], 403, "a password is not the certificate")

    def test_a_reload_of_nginx_lets_nothing_through(self):
        grant = self.grant("web/reload")
        self.assertEqual(self.through(self.nginx_port, "/reload")[0], 200)
        self.revoke(grant, **WAITED)
        self.nginx.send(signal.SIGHUP)
        for _ in range(100):
            self.assertEqual(self.through(self.nginx_port, "/reload")[0], 403)

    def test_without_the_agent_nothing_passes_and_then_it_does_again(self):
        grant = self.grant("web/killed")
        for port in (self.nginx_port, self.haproxy_port):
            self.assertEqual(self.through(port, "/killed")[0], 200)
        self.agent.stop(signal.SIGKILL)
        for _ in range(20):
            self.assertEqual(self.through(self.nginx_port, "/killed")[0], 500)
            status, headers, _ = self.through(self.haproxy_port, "/killed")
            self.assertEqual((status, headers["X-Lapse-Reason"]), (403, "AGENT_UNREACHABLE"))
        self.restart_agent()
        for port in (self.nginx_port, self.haproxy_port):
            self.assertEqual(self.through(port, "/killed")[0], 200)
        self.revoke(grant, **WAITED)
        self.assertEqual(self.through(self.nginx_port, "/killed")[0], 403)

    def test_a_revocation_waits_for_an_agent_that_was_killed(self):
        """Nobody knows that it is dead: OK comes when its promise has surely run out, and not before it denies."""
        grant = self.grant("web/lapsed")
        self.agent.stop(signal.SIGKILL)
        began = time.monotonic()
        barrier = self.revoke(grant, **WAITED).barrier
        print(f"a killed agent: enforced after {time.monotonic() - began:.2f} s", flush=True)
        self.assertEqual(barrier.points, barrier.enforced + barrier.lapsed + barrier.left)
        self.restart_agent()
        self.assertEqual(self.through(self.nginx_port, "/lapsed")[0], 403)

    def test_an_agent_that_stops_says_goodbye(self):
        grant = self.grant("web/goodbye")
        self.assertEqual(self.agent.stop(signal.SIGTERM), 0, self.agent.log()[-2000:])
        began = time.monotonic()
        barrier = self.revoke(grant, **WAITED).barrier
        print(f"an agent that said goodbye: enforced after {(time.monotonic() - began) * 1000:.1f} ms", flush=True)
        self.assertEqual(barrier.lapsed, 0, "the goodbye was not heard")
        self.restart_agent()

    def test_a_cluster_that_is_gone_makes_it_deny(self):
        self.grant("web/partition")
        self.assertEqual(self.through(self.nginx_port, "/partition")[0], 200)
        for node in self.cluster.nodes:
            node.pause()
        try:
            eventually("it denies", lambda: self.through(self.nginx_port, "/partition")[0] == 403)
            status, headers, _ = self.through(self.nginx_port, "/partition")
            self.assertEqual((status, headers["X-Lapse-Reason"]), (403, "STALE"))
            self.assertEqual(fetch(self.http_port, "/readyz")[0], 503)
        finally:
            for node in self.cluster.nodes:
                node.resume()
        self.wait_deciding()
        self.assertEqual(self.through(self.nginx_port, "/partition")[0], 200)

    # --- Programs

    def test_a_new_grant_works_on_first_use_when_its_revision_is_asked_for(self):
        for i in range(20):
            grant = self.cluster.request_active(resource=f"web/first/{i}")
            answer = self.check(f"web/first/{i}", revision=grant.revision)
            self.assertTrue(answer["permit"], answer)
            self.assertEqual(answer["grant"], grant.id)
            self.assertFalse(self.check(f"web/first/{i}", action="write")["permit"])

    def test_uses_are_counted(self):
        self.grant("web/counted-by-grant", max_uses=5)  # the first check was a use
        for _ in range(4):
            self.assertTrue(self.check("web/counted-by-grant")["permit"])
        self.assertFalse(self.check("web/counted-by-grant")["permit"])

    def test_maps_are_read_anew(self):
        self.grant("web/anew/x")
        self.assertEqual(self.through(self.nginx_port, "/x")[0], 403)
        self.write_agent_config(resource="web/anew/${path}")
        try:
            self.agent.send(signal.SIGHUP)
            eventually("the new map is used", lambda: self.through(self.nginx_port, "/x")[0] == 200)
            (self.dir / "agent.conf").write_text("[map all]\nnonsense\n")
            self.agent.send(signal.SIGHUP)
            eventually("the error is logged", lambda: "the old maps stay" in self.agent.log())
            self.assertEqual(self.through(self.nginx_port, "/x")[0], 200)
        finally:
            self.write_agent_config()
            self.agent.send(signal.SIGHUP)
        eventually("the old map is back", lambda: self.through(self.nginx_port, "/x")[0] == 403)

    def test_metrics_tell_what_was_decided(self):
        def value(line):
            for row in fetch(self.metrics_port, "/metrics")[2].splitlines():
                if row.startswith(line + " "):
                    return float(row.split()[-1])
        before = value('lapse_agent_decisions_total{reason="NO_GRANT"}')
        self.check("web/nobody/has/this")
        self.assertEqual(value('lapse_agent_decisions_total{reason="NO_GRANT"}'), before + 1)
        self.assertEqual(value("lapse_agent_deciding"), 1)
        self.assertGreaterEqual(value("lapse_agent_valid_for_milliseconds"), 0)

    # --- Envoy

    @classmethod
    def authorization(cls):
        """Stubs by the published field numbers."""
        stubs = pathlib.Path(cls.dir) / "envoy"
        if not stubs.exists():
            stubs.mkdir()
            (stubs / "external_auth_check.proto").write_text(CHECK_PROTO)
            assert protoc.main(["protoc", f"-I{stubs}", f"--python_out={stubs}", f"--grpc_python_out={stubs}", "external_auth_check.proto"]) == 0
            sys.path.insert(0, str(stubs))
        import external_auth_check_pb2 as messages
        import external_auth_check_pb2_grpc as services
        return messages, services

    def test_ext_authz_passes_until_the_grant_is_revoked(self):
        messages, services = self.authorization()
        channel = grpc.insecure_channel(f"127.0.0.1:{self.authz_port}")
        self.addCleanup(channel.close)
        stub = services.AuthorizationStub(channel)

        def ask(path, **headers):
            http_request = messages.HttpRequest(method="GET", path=path, host="web.example.org", headers=headers, size=-1, protocol="HTTP/2")
            source = messages.Peer(address={"socket_address": {"address": "192.0.2.1", "port_value": 4711}})
            return stub.Check(messages.CheckRequest(attributes={"source": source, "request": {"http": http_request}}), timeout=60)

        self.assertEqual(ask("/envoy").denied_response.status.code, 401)
        denied = ask("/envoy", **{"x-forwarded-user": "dev1"})
        self.assertEqual((denied.status.code, denied.denied_response.status.code), (7, 403))
        grant = self.grant("web/envoy")
        permitted = ask("/envoy?x=y", **{"x-forwarded-user": "dev1"})
        self.assertEqual((permitted.status.code, permitted.WhichOneof("http_response")), (0, "ok_response"))
        headers = {option.header.key: option.header.value for option in permitted.ok_response.headers}
        self.assertEqual((headers["x-lapse-decision"], headers["x-lapse-grant"]), ("permit", grant.id))
        self.revoke(grant, **WAITED)
        self.assertEqual(ask("/envoy", **{"x-forwarded-user": "dev1"}).denied_response.status.code, 403)


if __name__ == "__main__":
    for program in ("nginx", "haproxy"):
        if shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin") is None:
            print(f"{program} is not installed")
            sys.exit(77)
    os.environ["PATH"] += ":/usr/sbin"
    unittest.main(verbosity=2)
