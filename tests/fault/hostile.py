"""A client that does what none should: raw HTTP/2 frames over TLS with a valid certificate, or none at all.

Also what judges the damage: a Normal user who goes on writing and measures, and the memory of a process.
"""

import os
import pathlib
import socket
import ssl
import statistics
import struct
import sys
import threading
import time
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from harness import LAPSED, Cluster, eventually, grpc, messages, principal, run, services  # noqa: E402

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS = 1, 1, 4
INITIAL_WINDOW_SIZE = 4


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(**windows):
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", key, value) for key, value in windows.get("entries", ())))


def literal(name, value, indexed=False):
    """One header field, never compressed."""
    def string(text):
        raw = text if isinstance(text, bytes) else text.encode()
        if len(raw) < 127:
            return bytes([len(raw)]) + raw
        rest, n = b"", len(raw) - 127
        while n >= 128:
            rest, n = rest + bytes([n % 128 + 128]), n // 128
        return b"\x7f" + rest + bytes([n]) + raw
    return (b"\x40" if indexed else b"\x00") + string(name) + string(value)


def call_headers(method):
    fields = [(":method", "POST"), (":scheme", "https"), (":path", f"/lapse.v1.{method}"), (":authority", "lapse"),
              ("content-type", "application/grpc"), ("te", "trailers")]
    return b"".join(literal(*field) for field in fields)


def grpc_message(message):
    raw = message.SerializeToString()
    return b"\0" + struct.pack(">I", len(raw)) + raw


class Raw:
    """One TLS connection. `user` None: without a certificate. The server's bytes are read only when asked for."""

    def __init__(self, cluster, user, node=None, preface=True, entries=(), small_buffers=False):
        self.cluster, node = cluster, node or cluster.nodes[0]
        self.tcp = socket.socket()
        if small_buffers:
            self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.tcp.connect(("127.0.0.1", node.client_port))
        self.tcp.settimeout(120)
        self.tls = context(cluster, user).wrap_socket(self.tcp, server_hostname="localhost")
        self.next_stream = 1
        if preface:
            self.send(PREFACE + settings(entries=entries))

    def send(self, data):
        """False when the server has closed the connection."""
        try:
            self.tls.sendall(data)
            return True
        except (OSError, ssl.SSLError):
            return False

    def open(self, method, message, end=True):
        stream, self.next_stream = self.next_stream, self.next_stream + 2
        self.send(frame(HEADERS, END_HEADERS, stream, call_headers(method)) +
                  frame(DATA, END_STREAM if end else 0, stream, grpc_message(message)))
        return stream

    def drain(self, until_closed=True):
        """All that the server still sends; ends when it closes."""
        got = b""
        try:
            while True:
                part = self.tls.recv(65536)
                if not part:
                    return got
                got = (got + part)[-65536:]
        except (OSError, ssl.SSLError):
            return got

    def is_closed(self):
        """Whether the server has ended this connection; what it sent before is read and dropped."""
        self.tls.setblocking(False)
        try:
            while self.tls.recv(65536):
                pass
            return True
        except (ssl.SSLWantReadError, BlockingIOError):
            return False
        except (OSError, ssl.SSLError):
            return True
        finally:
            self.tls.settimeout(120)

    def close(self):
        self.tls.close()


def context(cluster, user):
    cache = cluster.__dict__.setdefault("_tls_contexts", {})
    if user not in cache:
        made = ssl.create_default_context(cafile=str(cluster.pki.dir / "ca.pem"))
        made.check_hostname = False
        made.set_alpn_protocols(["h2"])
        if user is not None:
            certificate, key, _ = cluster.pki.files(user)
            made.load_cert_chain(certificate, key)
        cache[user] = made
    return cache[user]


def memory_kib(node):
    """Resident memory of a node."""
    for line in pathlib.Path(f"/proc/{node.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


def descriptors(node):
    return len(os.listdir(f"/proc/{node.process.pid}/fd"))


def is_sanitized():
    return b"__asan_init" in pathlib.Path(LAPSED).read_bytes()


class Normal(threading.Thread):
    """Somebody with real work: requests, approvals and checks on one node, while others attack it. A context manager: at its end nothing may have failed."""

    def __init__(self, cluster, node=None, pause_s=0.01):
        super().__init__(daemon=True)
        self.cluster, self.node, self.pause_s = cluster, node or cluster.nodes[0], pause_s
        self.channel = {user: cluster.channel(user, self.node) for user in ("dev1", "oncall")}
        self.stopped, self.failure, self.times, self.grants = threading.Event(), None, [], []
        self.stub = {user: grants_stub(channel) for user, channel in self.channel.items()}

    def timed(self, call, request):
        begun = time.monotonic()
        answer = call(request, timeout=120)
        self.times.append(time.monotonic() - begun)
        return answer

    def work(self):
        m = messages("grants")
        me = principal("dev1")
        asked = self.timed(self.stub["dev1"].Request, m.RequestRequest(
            request_id=str(uuid.uuid4()), subject=me, resource="normal/work", actions=["read"], justification="real work",
            duration_ms=600_000))
        self.timed(self.stub["oncall"].Approve, m.DecisionRequest(request_id=str(uuid.uuid4()), grant_id=asked.grant.id))
        checked = self.timed(self.stub["dev1"].Check, m.CheckRequest(subject=me, resource="normal/work", action="read"))
        assert checked.allowed, checked.verdict
        self.grants.append(asked.grant.id)

    def run(self):
        try:
            while not self.stopped.is_set():
                self.work()
                time.sleep(self.pause_s)
        except Exception as error:  # reported by __exit__
            self.failure = error

    def __enter__(self):
        self.work()
        self.times.clear()
        self.terms = self.seen_terms()
        self.start()
        return self

    def seen_terms(self):
        return {self.cluster.status(node).term for node in self.cluster.alive()}

    def goes_on(self, n=20):
        """Waits for n more calls: the cluster is alive while under attack."""
        before = len(self.times)
        eventually("normal work goes on", lambda: self.failure or len(self.times) >= before + n)

    def p99_ms(self):
        return 1000 * statistics.quantiles(self.times, n=100)[98] if len(self.times) > 1 else 0

    def __exit__(self, kind, value, trace):
        self.stopped.set()
        self.join()
        if kind is None:
            if self.failure is not None:
                raise AssertionError(f"normal work failed: {self.failure}")
            self.terms_after = self.seen_terms()


def grants_stub(channel):
    return services("Grants").GrantsStub(channel)


__all__ = ["Cluster", "Normal", "Raw", "eventually", "grpc", "messages", "principal", "run"]
