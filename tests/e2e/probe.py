"""Enforcement points that keep a record: tests/e2e/guard_probe.c, a real guard of liblapse that is asked without a pause.

A Probe is a process like a node: it can be stopped, killed and started again. What it permitted, and when, lies in a mapped file, so it outlives the process.
All times are time.monotonic_ns(), which is the probe's CLOCK_MONOTONIC.
"""

import json
import mmap
import os
import re
import signal
import statistics
import struct
import subprocess
import threading
import time
import unittest
import uuid

from harness import BUILD, LAPSE, PATIENCE_S, Cluster, eventually, grpc, messages

GUARD_PROBE = BUILD / "tests" / "e2e" / "guard-probe"
SLOT = struct.Struct("=qqqqQQ16x")
SECOND = 10**9


def ms(ns):
    return ns / 10**6


def figures(what, times_ns):
    """One line with what was measured."""
    ordered = sorted(times_ns)
    p99 = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    print(f"{what}: {len(ordered)} times, p50 {ms(statistics.median(ordered)):.2f} ms, p99 {ms(p99):.2f} ms, max {ms(ordered[-1]):.2f} ms", flush=True)


class Slot:
    """What a probe's record says of one question."""

    def __init__(self, raw):
        (self.permit_began_ns, self.permit_ended_ns, self.permit_began_boot_ns, self.asked_ns, self.permits, self.denials) = raw


class Probe:
    """`nodes`: those that it may connect to; `place`: a command in front of it (a network namespace)."""

    def __init__(self, cluster, name, nodes=None, scope=("db/*",), user="proxy1", place=(), **flags):
        self.cluster, self.name, self.user, self.place = cluster, name, user, list(place)
        self.nodes = nodes or cluster.nodes
        self.scope, self.flags = list(scope), flags
        self.process, self.lives = None, 0
        self.is_paused = False
        self.watched, self.said, self.news = {}, [], threading.Condition()
        self.start()

    def command(self):
        certificate, key, ca = self.cluster.pki.files(self.user)
        flags = {"endpoints": ",".join(node.endpoint for node in self.nodes), "certificate": certificate, "key": key,
                 "authorities": ca, "id": self.name, "slots": self.slots_path, **{k.replace("_", "-"): v for k, v in self.flags.items()}}
        return [*self.place, str(GUARD_PROBE), *[f"--scope={pattern}" for pattern in self.scope],
                *[f"--{key}" if value is True else f"--{key}={value}" for key, value in flags.items()]]

    def start(self):
        """A new process, with an empty record; it is asked what the one before was asked."""
        assert self.process is None
        self.lives += 1
        self.slots_path = self.cluster.dir / f"{self.name}-{id(self):x}-{self.lives}.slots"
        self.log_path = self.slots_path.with_suffix(".log")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, bufsize=1)
        self.reader = threading.Thread(target=self.read, args=(self.process.stdout,), daemon=True)
        self.reader.start()
        self.said, self.slots = [], None
        grants, self.watched = [grant for grant, _ in self.watched.values()], {}
        for grant in grants:
            self.watch(grant)
        return self

    def read(self, lines):
        for line in lines:
            with self.news:
                self.said.append(json.loads(line))
                self.news.notify_all()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            print(f"--- probe {self.name}: {self.said[-8:]}\n{self.log_path.read_text()[-2000:]}", flush=True)
        if self.process is not None:
            self.kill()

    # --- its process

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)
        with open(f"/proc/{self.process.pid}/stat") as stat:
            eventually(f"{self.name} has stopped", lambda: stat.seek(0) or stat.read().rsplit(")", 1)[1].split()[0] == "T")
        self.is_paused = True
        return time.monotonic_ns()

    def resume(self):
        self.is_paused = False
        resumed_ns = time.monotonic_ns()
        self.process.send_signal(signal.SIGCONT)
        return resumed_ns

    def kill(self):
        self.process.kill()
        self._gone()

    def quit(self):
        """With a goodbye; returns the exit code."""
        self.process.stdin.write("quit\n")
        self.process.wait(PATIENCE_S)
        return self._gone()

    def _gone(self):
        code = self.process.wait(PATIENCE_S)
        self.reader.join()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process, self.is_paused = None, False
        return code

    @property
    def is_running(self):
        return self.process is not None and not self.is_paused

    # --- what it says

    def ask(self, kind, *words):
        """Sends a command and returns its answer."""
        with self.news:
            n = len(self.said)
            self.process.stdin.write(" ".join([kind, *map(str, words)]) + "\n")
            return self._next(lambda said: said["kind"] == kind, n)

    def _next(self, wanted, n):
        """The first thing said from number n on that is wanted. Under `news`."""
        until = time.monotonic() + PATIENCE_S
        while True:
            for said in self.said[n:]:
                if wanted(said):
                    return said
            n = len(self.said)
            if time.monotonic() > until or self.process.poll() is not None:
                raise AssertionError(f"{self.name} never said it; the last it said: {self.said[-5:]}\n{self.log_path.read_text()}")
            self.news.wait(1)

    def heard(self, kind, since_ns=0, **members):
        with self.news:
            return [said for said in self.said if said["kind"] == kind and said["at_ns"] >= since_ns
                    and all(said[key] == value for key, value in members.items())]

    def wait_for(self, kind, since_ns=0, **members):
        """What it says, or has said since, with these members."""
        return eventually(f"{self.name} says {kind} {members}", lambda: self.heard(kind, since_ns, **members))[0]

    def status(self):
        return self.ask("status")

    def wait_deciding(self):
        eventually(f"{self.name} decides", lambda: self.status()["state"] == "DECIDING")
        return self

    # --- what it decides

    def check(self, grant):
        return self.ask("check", grant.subject, grant.resource, "read")

    def watch(self, grant):
        """From now on it asks for this grant's subject and resource without a pause."""
        slot = self.ask("watch", grant.id, grant.subject, grant.resource, "read")["slot"]
        self.watched[grant.id] = grant, slot

    def slot(self, grant):
        if self.slots is None:
            with open(self.slots_path, "r+b") as file:
                self.slots = mmap.mmap(file.fileno(), os.path.getsize(self.slots_path))
        return Slot(SLOT.unpack_from(self.slots, SLOT.size * self.watched[grant.id][1]))

    def changes(self, grant, since_ns=0):
        return self.heard("change", since_ns, name=grant.id)

    def is_asked_since(self, grant, since_ns):
        return self.slot(grant).asked_ns > since_ns

    def permits_since(self, grant, since_ns):
        return self.slot(grant).permit_began_ns > since_ns

    def wait_permits(self, grant, since_ns=0):
        eventually(f"{self.name} permits {grant.id}", lambda: self.permits_since(grant, since_ns), pause_s=0.001)

    def wait_asked(self, grant, since_ns):
        eventually(f"{self.name} is asked for {grant.id}", lambda: self.is_asked_since(grant, since_ns), pause_s=0.001)


def watch(probes, *grants):
    """All probes ask for the grants, and permit them."""
    for probe in probes:
        for grant in grants:
            probe.watch(grant)
    for probe in probes:
        for grant in grants:
            probe.wait_permits(grant)


class Verdicts:
    """G5: who was revoked when, and that no probe ever permitted it in a check that began afterwards. Probes that died are judged by what they left."""

    def __init__(self, test):
        self.test, self.ends = test, []

    def revoked(self, grant, returned_ns, probes):
        """The call has returned OK. Judges at once, and again in `judge_all`."""
        self.ends.append((grant, returned_ns, [(probe, probe.slots_path, probe.slot(grant), probe.slots, probe.watched[grant.id][1]) for probe in probes]))
        for probe in probes:
            if probe.is_running:
                probe.wait_asked(grant, returned_ns)
        self.judge(self.ends[-1])

    def judge(self, end):
        grant, returned_ns, records = end
        for probe, path, _, slots, number in records:
            slot = Slot(SLOT.unpack_from(slots, SLOT.size * number))
            self.test.assertGreater(slot.permits, 0, f"{probe.name} never permitted {grant.id}: nothing was tested")
            late_ns = slot.permit_began_ns - returned_ns
            self.test.assertLessEqual(late_ns, 0, f"G5 broken: {probe.name} permitted {grant.id} {ms(late_ns):.3f} ms after its revocation had returned ({path})")

    def judge_all(self):
        for end in self.ends:
            self.judge(end)


def cli(cluster, user, *args, nodes=None):
    """The `lapse` command; returns the finished process."""
    certificate, key, ca = cluster.pki.files(user)
    endpoints = ",".join(node.endpoint for node in nodes or cluster.nodes)
    return subprocess.run([str(LAPSE), *map(str, args), "--endpoints", endpoints, "--cert", str(certificate), "--key", str(key), "--ca", str(ca)],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end_request(grant, request_id=None, wait="ENFORCED", **fields):
    return messages("grants").EndRequest(request_id=request_id or str(uuid.uuid4()), grant_id=grant.id, reason="over", wait=wait, **fields)


class WithProbes(unittest.TestCase):
    """Each test has a cluster of its own, and probes that end with it."""

    def make_cluster(self):
        return Cluster()

    def setUp(self):
        self.cluster = self.make_cluster()
        self.cluster.__enter__()
        self.probes, self.verdicts = [], Verdicts(self)
        self.n_grants = 0
        self.addCleanup(self.close)

    def close(self):
        failure = None if self._outcome.success else AssertionError
        for probe in self.probes:
            probe.__exit__(failure, None, None)
        self.cluster.__exit__(failure, None, None)

    def tearDown(self):
        self.verdicts.judge_all()

    def probe(self, name, **fields):
        self.probes.append(Probe(self.cluster, name, **fields))
        return self.probes[-1]

    def one_per_node(self, **fields):
        probes = [self.probe(f"edge-{node.id}", nodes=[node], **fields) for node in self.cluster.nodes]
        return [probe.wait_deciding() for probe in probes]

    def grant(self, probes=(), **fields):
        """A new active grant, for a resource of its own, that all probes permit."""
        self.n_grants += 1
        grant = self.cluster.request_active(resource=f"db/prod/orders-{self.n_grants}", **fields)
        watch(probes, grant)
        return grant

    def revoke(self, grant, node=None, request_id=None, timeout=60, **fields):
        """One attempt; the answer and the moment at which the caller had it."""
        answer = self.cluster.stub("operator", "Grants", node).Revoke(end_request(grant, request_id, **fields), timeout=timeout)
        return answer, time.monotonic_ns()

    def revoke_until_ok(self, grant, choose_node, request_id=None):
        """As a caller does: the same request_id, perhaps on another node, until it is OK."""
        request_id, ids = request_id or str(uuid.uuid4()), set()
        def attempt():
            node = choose_node()
            try:
                answer, returned_ns = self.revoke(grant, node, request_id, timeout=2)
            except grpc.RpcError as error:
                self.assertIn(error.code(), (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED), error.details())
                ids.update(re.findall(r"revoked at revision (\d+)", error.details()))
                self.cluster.renew("operator", node)
                return None
            self.assertTrue(answer.barrier.done)
            self.assertLessEqual(ids, {str(answer.barrier.id)}, "another barrier than was told before")
            return answer, returned_ns
        return eventually("the revocation is enforced", attempt)

    def denial(self, probe, grant):
        """The change by which it began to deny what it had permitted."""
        def attempt():
            changes = probe.changes(grant)
            permits = [i for i, change in enumerate(changes) if change["permit"]]
            return changes[permits[-1] + 1] if permits and permits[-1] + 1 < len(changes) else None
        return eventually(f"{probe.name} denies", attempt)

    def receipts(self, grant):
        answer = self.cluster.call("operator", "Enforcement", "GetBarrier", grant_id=grant.id)
        return {receipt.point: receipt.level for receipt in answer.receipts}
