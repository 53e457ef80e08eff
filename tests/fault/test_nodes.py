#!/usr/bin/python3
"""Nodes in trouble while work goes on: stopped in the middle of snapshots, out of disk, out of descriptors, stopped by SIGTERM under load."""

import errno
import os
import pathlib
import random
import signal
import subprocess
import threading
import time
import unittest
import uuid

from hostile import Cluster, Raw, eventually, grpc, messages, principal, run
from harness import LAPSED, generated

MIB = 1 << 20


def large_request(i):
    return messages("grants").RequestRequest(
        request_id=str(uuid.uuid4()), subject=principal("dev1"), resource=f"load/t{i}", actions=["read"], justification="j" * 1024,
        duration_ms=3_600_000, labels=[{"key": f"k{k}", "value": "v" * 255} for k in range(16)])


class Load(threading.Thread):
    """Large requests, many at a time, on any node that answers; remembers what was acknowledged."""

    def __init__(self, cluster, in_flight=16):
        super().__init__(daemon=True)
        self.cluster, self.in_flight = cluster, in_flight
        self.stopped, self.acknowledged, self.refused = threading.Event(), {}, 0

    def run(self):
        i = 0
        while not self.stopped.is_set():
            node = random.choice(self.cluster.nodes)
            stub = self.cluster.stub("dev1", "Grants", node)
            calls = [stub.Request.future(large_request(i + k), timeout=5) for k in range(self.in_flight)]
            i += self.in_flight
            for call in calls:
                try:
                    answer = call.result()
                    self.acknowledged[answer.grant.id] = answer.revision
                except grpc.RpcError:
                    self.refused += 1
            if not calls[-1].code() == grpc.StatusCode.OK:
                self.cluster.renew("dev1", node)
                time.sleep(0.05)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.join()

    def some_more(self, n=64):
        before = len(self.acknowledged)
        eventually("writes are acknowledged", lambda: not self.is_alive() or len(self.acknowledged) >= before + n)
        assert self.is_alive(), "the load has ended: its thread's traceback says why"


def assert_all_there(test, cluster, acknowledged, node):
    stub = cluster.stub("auditor", "Grants", node)
    found, token = set(), ""
    while True:
        page = stub.List(messages("grants").ListRequest(page_size=1000, page_token=token), timeout=120)
        found.update(grant.id for grant in page.grants)
        token = page.next_page_token
        if not token:
            break
    missing = set(acknowledged) - found
    test.assertFalse(missing, f"{len(missing)} of {len(acknowledged)} acknowledged grants are gone from node {node.id}")


def assert_clean_logs(test, cluster):
    for node in cluster.nodes:
        for sign in ("Sanitizer", "runtime error", "assertion"):
            test.assertNotIn(sign, node.log(), f"node {node.id}")


class Snapshots(unittest.TestCase):
    """A snapshot every MiB, while nodes are paused, killed and left behind."""

    def test_G1_durable_nodes_killed_around_snapshots(self):
        with Cluster(settings={"raft-snapshot-bytes": "1MiB", "raft-segment-bytes": "4MiB"}) as cluster:
            with Load(cluster) as load:
                for round_ in range(3):
                    behind = cluster.followers()[0]
                    behind.kill()
                    for _ in range(2):
                        index = cluster.status(cluster.leader()).snapshot_index
                        eventually("a snapshot", lambda: cluster.status(cluster.leader()).snapshot_index > index)
                    print(f"{time.monotonic():.1f} round {round_} {len(load.acknowledged)} acknowledged", flush=True)
                    behind.start()
                    time.sleep(random.random() * 0.3)  # somewhere in its start or in the transfer
                    if round_ == 0:
                        behind.kill()
                        behind.start()
                    elif round_ == 1:
                        leader = cluster.leader()
                        leader.kill()
                        leader.start()
                    else:
                        paused = cluster.leader()
                        paused.pause()
                        time.sleep(0.7)
                        paused.resume()
                    for node in cluster.nodes:
                        eventually(f"node {node.id} ready again", node.is_ready)
                    load.some_more()
                for node in cluster.nodes:  # all at once, wherever their snapshots are
                    node.kill()
                for node in cluster.nodes:
                    node.start()
                cluster.wait_ready()
                load.some_more()
            state = cluster.assert_one_history()
            for node in cluster.nodes:
                assert_all_there(self, cluster, load.acknowledged, node)
            assert_clean_logs(self, cluster)
            print(f"{len(load.acknowledged)} acknowledged, {load.refused} not; snapshot at {state.snapshot_index}")


class Signals(unittest.TestCase):
    def test_SIGTERM_under_load_ends_with_0_and_loses_nothing_and_SIGHUP_changes_nothing(self):
        with Cluster() as cluster:
            with Load(cluster) as load:
                term = cluster.status(cluster.nodes[0]).term
                for _ in range(300):
                    for node in cluster.nodes:
                        node.process.send_signal(signal.SIGHUP)
                    time.sleep(0.001)
                load.some_more()
                self.assertEqual(cluster.status(cluster.nodes[0]).term, term, "a reload is no reason to change the leader")
                for _ in range(2):
                    for node in cluster.nodes:
                        begun = time.monotonic()
                        self.assertEqual(node.kill(signal.SIGTERM), 0, node.log()[-2000:])
                        print(f"node {node.id} ended {time.monotonic() - begun:.2f} s after SIGTERM")
                        node.start()
                        eventually(f"node {node.id} ready again", node.is_ready)
                load.some_more()
                codes = []
                for node in cluster.nodes:
                    node.process.send_signal(signal.SIGTERM)
                for node in cluster.nodes:
                    codes.append(node.wait_exit())
                self.assertEqual(codes, [0, 0, 0])
                load.stopped.set()
            for node in cluster.nodes:
                node.start()
            cluster.wait_ready()
            for node in cluster.nodes:
                assert_all_there(self, cluster, load.acknowledged, node)
            assert_clean_logs(self, cluster)


class Descriptors(unittest.TestCase):
    LIMIT = 300

    def test_clients_can_t_use_up_the_descriptors_that_the_log_and_the_peers_need(self):
        cluster = Cluster(settings={"raft-snapshot-bytes": "1MiB", "raft-segment-bytes": "4MiB"})
        victim = cluster.nodes[0]

        def start_limited():
            with open(victim.log_path, "ab") as log:
                victim.process = subprocess.Popen(["prlimit", f"--nofile={self.LIMIT}", str(LAPSED), *victim.flags()],
                                                  stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            return victim
        victim.start = start_limited
        with cluster, Load(cluster) as load:
            self.assertIn("fewer file descriptors", victim.log())
            load.some_more()
            raws = []
            for _ in range(self.LIMIT + 50):
                try:
                    raws.append(Raw(cluster, "proxy1", victim))
                except OSError:
                    pass  # refused, as it should be
            self.assertGreater(len(raws), 50)
            self.assertLess(len(raws), self.LIMIT)
            index = self.snapshot_index(victim)
            eventually("snapshots are taken", lambda: self.snapshot_index(victim) > index)
            self.assertIsNone(victim.process.poll(), "the node goes on")
            for raw in raws:
                raw.close()
            eventually("others may call again", lambda: cluster.try_status(victim))
            load.some_more()
            load.stopped.set()
            load.join()
            assert_all_there(self, cluster, load.acknowledged, victim)
        assert_clean_logs(self, cluster)

    def snapshot_index(self, node):
        cluster = node.cluster
        other = next(n for n in cluster.nodes if n is not node)
        self.assertIsNone(node.process.poll(), node.log()[-2000:])
        return cluster.status(other).snapshot_index


def can_mount():
    probe = pathlib.Path(f"/tmp/lapse-mount-{os.getpid()}")
    probe.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(probe)], capture_output=True)
    if done.returncode == 0:
        run("umount", probe)
    probe.rmdir()
    return done.returncode == 0


class DiskFull(unittest.TestCase):
    SIZE_MIB = 64

    def setUp(self):
        if not can_mount():
            self.skipTest("needs the right to mount a tmpfs")
        self.cluster = Cluster(settings={"raft-snapshot-bytes": "4MiB", "raft-segment-bytes": "4MiB", "raft-disk-reserve-bytes": "16MiB", "audit-reserve-bytes": "4MiB"})
        self.victim = self.cluster.nodes[0]
        self.victim.dir.mkdir(mode=0o700)
        run("mount", "-t", "tmpfs", "-o", f"size={self.SIZE_MIB}m,mode=0700", "tmpfs", self.victim.dir)
        self.mounted = self.victim.dir
        self.addCleanup(lambda: run("umount", "-l", self.mounted, check=False))

    def fill(self, leave):
        stat = os.statvfs(self.victim.dir)
        with open(self.victim.dir / "filler", "ab", buffering=0) as filler:
            left = stat.f_bavail * stat.f_frsize - leave
            while left > 0:
                try:
                    left -= filler.write(b"f" * min(left, MIB))
                except OSError as error:
                    self.assertEqual(error.errno, errno.ENOSPC)
                    break  # the node, which writes meanwhile, had the rest

    def test_grants_are_refused_before_revocations_and_a_full_disk_stops_one_node_only(self):
        with self.cluster as cluster:
            victim = self.victim
            eventually("the victim leads", lambda: self.lead(victim))
            keep = cluster.request_active(resource="disk/keep")
            self.fill(leave=8 * MIB)
            def new_grant():
                try:
                    cluster.stub("dev1", "Grants", victim).Request(large_request(0), timeout=10)
                except grpc.RpcError as error:
                    return error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
                return False
            eventually("new grants are refused", new_grant)
            eventually("it says so", lambda: victim.metric("lapse_disk_low") == 1)
            cluster.grants("operator", "Revoke", victim, grant_id=keep.id, reason="still possible")
            self.fill(leave=0)
            n = 0
            while victim.process.poll() is None and n < 20000:
                calls = [self.write_on_full_disk(cluster, keep, n + k) for k in range(64)]
                n += len(calls)
                for call in calls:
                    call.exception()
            code = victim.process.poll()
            self.assertEqual(code, 74, victim.log()[-2000:])
            print(f"full after {n} writes: exit code {code}")
            others = cluster.nodes[1:]
            victim.process = None
            self.assertIn("space", victim.log()[-2000:].lower())
            for node in others:
                eventually(f"node {node.id} goes on", node.is_ready)
            on_others = cluster.request_active(node=others[0], resource="disk/others")
            (victim.dir / "filler").unlink()
            victim.start()
            eventually("back again", victim.is_ready)
            self.assertEqual(cluster.grants("auditor", "Get", victim, grant_id=on_others.id).grant.id, on_others.id)
            cluster.assert_one_history()
            assert_clean_logs(self, cluster)

    def lead(self, node):
        cluster = self.cluster
        if cluster.leader() is node:
            return True
        try:
            cluster.stub("operator", "Cluster", cluster.leader()).TransferLeadership(
                messages("cluster").TransferLeadershipRequest(node_id=node.id), timeout=10)
        except grpc.RpcError:
            pass
        return cluster.leader() is node

    def write_on_full_disk(self, cluster, grant, n):
        """Revocations are taken on a full disk, and each is written, also one that comes too late."""
        return cluster.stub("operator", "Grants", self.victim).Revoke.future(messages("grants").EndRequest(
            request_id=f"full-{n}", grant_id=grant.id, reason="x" * 500), timeout=5)


if __name__ == "__main__":
    generated()
    unittest.main(verbosity=2)
