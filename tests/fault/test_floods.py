#!/usr/bin/python3
"""Clients that attack: floods, bombs, slow and silent peers. Each is stopped, and a normal user's work goes on under the same leader.

Every attack has a certificate and a role, as a stolen one would, or stops before it would need one.
"""

import socket
import struct
import unittest
import uuid

import hostile as h
from hostile import Cluster, Normal, Raw, eventually, frame, grpc, messages, principal
from harness import generated

FLOOD = 20000
BATCH = 200
# 16 labels of 63 and 255, 16 actions of 32, a resource of 256, a justification of 1024.
LARGEST = dict(
    actions=[f"a{i:02}".ljust(32, "x") for i in range(16)], resource="max/" + "r" * 252, justification="j" * 1024, ticket="t" * 128,
    task="k" * 128, labels=[{"key": f"k{i:02}".ljust(63, "k"), "value": "v" * 255} for i in range(16)], duration_ms=3_600_000,
    max_uses=1_000_000_000,
    binding={"spiffe_id": "spiffe://example.org/" + "b" * 235, "certificate_sha256": b"c" * 32,
             "networks": ["1111:2222:3333:4444:5555:6666:7777:%d00/120" % i for i in range(1, 9)]})


def streams(i, n, each):
    return b"".join(each(2 * (i + k) + 1) for k in range(n))


def floods():
    """Name -> the bytes of `n` more frames after `i`."""
    check = h.call_headers("Grants/Check")
    first = lambda i, data: data if i == 0 else b""  # noqa: E731
    open_ = lambda flags=h.END_HEADERS: frame(h.HEADERS, flags, 1, check)  # noqa: E731
    return {
        "PING": lambda i, n: frame(h.PING, payload=b"x" * 8) * n,
        "SETTINGS": lambda i, n: frame(h.SETTINGS) * n,
        "PRIORITY": lambda i, n: streams(i, n, lambda s: frame(h.PRIORITY, 0, s, b"\0\0\0\0\1")),
        "WINDOW_UPDATE": lambda i, n: frame(h.WINDOW_UPDATE, payload=b"\0\0\0\1") * n,
        "unknown frames": lambda i, n: frame(0x77) * n,
        "empty DATA": lambda i, n: first(i, open_()) + frame(h.DATA, 0, 1) * n,
        "DATA of nothing but padding": lambda i, n: first(i, open_()) + frame(h.DATA, 8, 1, b"\0") * n,
        "CONTINUATION": lambda i, n: first(i, open_(0)) + frame(h.CONTINUATION, 0, 1) * n,
        "rapid reset": lambda i, n: streams(
            i, n, lambda s: frame(h.HEADERS, h.END_HEADERS, s, check) + frame(h.RST_STREAM, 0, s, b"\0\0\0\x08")),
        "streams without end": lambda i, n: streams(i, n, lambda s: frame(h.HEADERS, h.END_HEADERS, s, check)),
        "HPACK bomb": lambda i, n: frame(h.HEADERS, h.END_HEADERS, 2 * i + 1,
                                         check + h.literal("x-a", "b" * 3000, indexed=True) + b"\xbe" * 4000),
        "malformed messages": lambda i, n: streams(
            i, n, lambda s: frame(h.HEADERS, h.END_HEADERS, s, check) + frame(h.DATA, h.END_STREAM, s, b"\0\0\0\0\2\xff\xff")),
    }


class Floods(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(settings={"limits-ring-events": 2000, **({"limits-edge-threads": cls.edges} if cls.edges else {})})
        cls.cluster.__enter__()
        cls.node = cls.cluster.leader()

    @classmethod
    def tearDownClass(cls):
        codes = [node.kill(15) for node in cls.cluster.nodes]
        logs = "".join(node.log() for node in cls.cluster.nodes)
        cls.cluster.__exit__(None, None, None)
        assert codes == [0, 0, 0], codes
        for sign in ("Sanitizer", "runtime error"):
            assert sign not in logs, logs[-4000:]

    edges = None

    def largest_grants(self, n, in_flight=32):
        stub, calls, grants = self.cluster.stub("dev1", "Grants", self.node), [], []
        for _ in range(n):
            if len(calls) == in_flight:
                grants.append(calls.pop(0).result().grant)
            request = messages("grants").RequestRequest(request_id=f"{uuid.uuid4()}".ljust(64, "x"),
                                                        subject=principal("dev1"), **LARGEST)
            calls.append(stub.Request.future(request, timeout=120))
        return grants + [call.result().grant for call in calls]

    def all_pages(self, node):
        stub, found, token = self.cluster.stub("auditor", "Grants", node), [], ""
        while True:
            page = stub.List(messages("grants").ListRequest(page_size=1000, page_token=token), timeout=120)
            found.extend(page.grants)
            token = page.next_page_token
            if not token:
                return found

    def test_floods_end_their_connection_and_nobody_else_s(self):
        with Normal(self.cluster, self.node) as normal:
            for name, make in floods().items():
                with self.subTest(name):
                    raw, sent = Raw(self.cluster, "proxy1", self.node), 0
                    while sent < FLOOD and raw.send(make(sent, BATCH)):
                        sent += BATCH
                    eventually(f"{name}: the connection ends", raw.is_closed)
                    raw.close()
            normal.goes_on()
        self.assertEqual(normal.terms, normal.terms_after)
        print(f"floods: p99 of normal calls {normal.p99_ms():.1f} ms, longest {1000 * max(normal.times):.1f} ms")

    def test_slow_and_silent_peers_are_cut_off(self):
        before = h.descriptors(self.node)
        hello, slow = [], []
        for i in range(40):  # in the handshake: nothing, or the beginning of a record
            hello.append(socket.create_connection(("127.0.0.1", self.node.client_port)))
            if i % 2:
                hello[-1].sendall(b"\x16\x03\x01\x02\x00\x01")
        for i in range(10):  # no preface; half of the header fields; half of a message
            slow.append(Raw(self.cluster, "proxy1", self.node, preface=False))
            slow.append(Raw(self.cluster, "proxy1", self.node))
            slow[-1].send(frame(h.HEADERS, 0, 1, h.call_headers("Grants/Check")[:20]))
        half = []
        for _ in range(10):
            half.append(Raw(self.cluster, "proxy1", self.node))
            half[-1].send(frame(h.HEADERS, h.END_HEADERS, 1, h.call_headers("Grants/Check")) +
                          frame(h.DATA, 0, 1, b"\0\0\0\0\x10ab"))
        with Normal(self.cluster, self.node) as normal:
            eventually("all but those with a whole header are cut off", lambda: all(raw.is_closed() for raw in slow))
            for raw in half:  # these only lose their stream, or their connection
                raw.close()
            eventually("descriptors are given back", lambda: h.descriptors(self.node) <= before + 8)
        self.assertEqual(normal.terms, normal.terms_after)
        for peer in hello:
            peer.close()

    def test_who_asks_and_never_reads_binds_little_memory_and_delays_nobody(self):
        self.largest_grants(600)
        watch = messages("grants").WatchRequest(snapshot=True, progress_ms=100)
        page = messages("grants").ListRequest(page_size=1000)
        silent = []
        before = h.memory_kib(self.node)
        reader = self.cluster.watch("proxy1", self.node, progress_ms=100)
        next(reader)
        with Normal(self.cluster, self.node) as normal:
            for user, method, request, n in [("proxy1", "Grants/Watch", watch, 4), ("auditor", "Grants/List", page, 8)]:
                for _ in range(n):
                    silent.append(Raw(self.cluster, user, self.node, entries=[(h.INITIAL_WINDOW_SIZE, 0)]))
                    for _ in range(128):
                        silent[-1].open(method, request)
            for _ in range(4):  # windows wide open, and nobody reads the socket
                silent.append(Raw(self.cluster, "proxy1", self.node, entries=[(h.INITIAL_WINDOW_SIZE, 0x7FFFFFFF)], small_buffers=True))
                silent[-1].send(frame(h.WINDOW_UPDATE, payload=struct.pack(">I", 0x7FFF0000 - 65535)))
                for _ in range(128):
                    silent[-1].open("Grants/Watch", watch)
            last = self.largest_grants(600)[-1]
            for item in reader:  # another watcher misses nothing
                self.assertNotEqual(item.WhichOneof("kind"), "resync")
                if item.event.grant.id == last.id:
                    break
            normal.goes_on(100)
            grown = (h.memory_kib(self.node) - before) // 1024
        self.assertEqual(normal.terms, normal.terms_after, "a leader must not be deposed by readers")
        print(f"silent readers: {grown} MiB more, p99 of normal calls {normal.p99_ms():.1f} ms, longest {1000 * max(normal.times):.1f} ms")
        # 128 MiB of pages, and 1024 watches of 128 KiB; a sanitizer adds its own.
        self.assertLess(grown, 600 if not h.is_sanitized() else 1800)
        for raw in silent:
            raw.close()
        eventually("pages are listed again", self.lists_again)

    def lists_again(self):
        try:
            return self.all_pages(self.node)
        except grpc.RpcError as error:
            self.assertEqual(error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED, error.details())
            return False

    def test_many_connections_come_and_go(self):
        count = 500
        before, watchers = h.descriptors(self.node), self.node.metric("lapse_watchers")
        with Normal(self.cluster, self.node) as normal:
            raws = [Raw(self.cluster, "proxy1", self.node) for _ in range(count)]
            for raw in raws:
                raw.open("Grants/Watch", messages("grants").WatchRequest())
            eventually("all watch", lambda: self.node.metric("lapse_watchers") >= watchers + count)
            normal.goes_on()
            for raw in raws:
                raw.close()
            for _ in range(count):
                Raw(self.cluster, "proxy1", self.node).close()
            for _ in range(100):
                try:
                    Raw(self.cluster, None, self.node).close()
                except OSError:
                    pass  # without a certificate
            eventually("all are gone", lambda: self.node.metric("lapse_watchers") <= watchers and h.descriptors(self.node) <= before + 8)
        self.assertEqual(normal.terms, normal.terms_after)

    def test_the_largest_grants_are_replicated_listed_watched_and_survive_a_restart(self):
        stream = self.cluster.watch("proxy1", self.cluster.nodes[1], progress_ms=100)
        next(stream)
        made = {grant.id for grant in self.largest_grants(50)}
        unseen = set(made)
        for item in stream:
            unseen.discard(item.event.grant.id)
            if not unseen:
                break
        stream.cancel()
        for node in self.cluster.followers():
            self.assertEqual(node.kill(15), 0)
            node.start()
            eventually("ready again", node.is_ready)
            there = {grant.id: grant for grant in self.all_pages(node)}
            self.assertLessEqual(made, set(there))
            grant = there[next(iter(made))]
            self.assertEqual((len(grant.labels), len(grant.actions), len(grant.justification), len(grant.binding.networks)), (16, 16, 1024, 8))
        self.cluster.assert_one_history()


class FloodsOnTheCoresThread(Floods):
    """edge_threads 0: the attackers' frames and the cluster's heartbeats share a thread."""
    edges = "0"


if __name__ == "__main__":
    generated()
    unittest.main(verbosity=2, warnings="ignore")  # sockets that the server closed
