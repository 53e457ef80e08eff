"""An enforcement point in Python, for tests: it registers over Enforcement.Subscribe, pings, and acknowledges what it has seen; and it can be told to
do any of these badly. It decides nothing; what points may conclude is tested with liblapse's guard."""

import queue
import threading
import time
import uuid

from harness import eventually, grpc, messages

PING_S = 0.2


class Point:
    def __init__(self, cluster, name, scope=("db/*",), user="proxy1", node=None, lease_ms=1000):
        self.cluster, self.name, self.scope, self.user, self.lease_ms = cluster, name, list(scope), user, lease_ms
        self.node = node or cluster.nodes[0]
        self.instance = uuid.uuid4().bytes
        self.m = messages("enforcement")
        self.to_send = queue.Queue()
        self.seen, self.registered, self.ended = 0, None, None
        self.grants, self.promised_until, self.error = {}, 0.0, None
        self.acknowledges, self.enforces, self.pings = True, True, True
        self.open()

    def open(self):
        registration = self.m.Registration(id=self.name, instance=self.instance, scope=self.scope, lease_ms=self.lease_ms)
        self.send(registration=registration)
        self.stream = self.cluster.stub(self.user, "Enforcement", self.node).Subscribe(iter(self.to_send.get, None))
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.pinger = threading.Thread(target=self.ping, daemon=True)
        self.reader.start()
        self.pinger.start()

    def __enter__(self):
        eventually(f"{self.name} is registered and promised", lambda: self.error or (self.registered and self.promised_until))
        assert self.error is None, self.error
        return self

    def __exit__(self, kind, value, trace):
        self.silence()

    def silence(self):
        """The end of the process, as the cluster sees it."""
        self.pings = False
        self.to_send.put(None)
        self.stream.cancel()
        self.reader.join()
        self.pinger.join()

    def send(self, **kind):
        self.to_send.put(self.m.SubscribeRequest(**kind))

    def goodbye(self):
        self.pings = False
        self.send(goodbye=self.m.Goodbye())

    def fail(self, revision, reason):
        self.send(failure=self.m.Failure(revision=revision, reason=reason))

    def acknowledge(self):
        if self.acknowledges and self.seen > 0:
            self.send(ack=self.m.Ack(received=self.seen, enforced=self.seen if self.enforces else 0))

    def promised(self):
        return time.monotonic() < self.promised_until

    # --- threads

    def ping(self):
        self.sent = {}
        sequence = 0
        while self.error is None and self.ended is None:
            if self.pings and self.registered:
                sequence += 1
                self.sent[sequence] = time.monotonic()
                self.send(ping=self.m.Ping(sequence=sequence))
            time.sleep(PING_S)
            if not self.reader.is_alive():
                return

    def read(self):
        try:
            for message in self.stream:
                self.take(message)
        except grpc.RpcError as error:
            self.error = error

    def take(self, message):
        kind = message.WhichOneof("kind")
        if kind == "registered":
            self.registered = message.registered
        elif kind == "pong":
            sent = self.sent.get(message.pong.sequence, 0)
            self.promised_until = max(self.promised_until, sent + message.pong.ttl_ms / 1000)
        elif kind == "snapshot_grant":
            self.grants[message.snapshot_grant.id] = message.snapshot_grant
        elif kind == "ended":
            self.ended = message.ended
        elif kind == "event":
            if message.event.grant.state == messages("grant").ACTIVE:
                self.grants[message.event.grant.id] = message.event.grant
            elif message.event.HasField("grant"):
                self.grants.pop(message.event.grant.id, None)
            self.saw(message.event.revision)
        elif kind in ("progress", "snapshot_end"):
            self.saw(getattr(message, kind).revision)

    def saw(self, revision):
        self.seen = max(self.seen, revision)
        self.acknowledge()
