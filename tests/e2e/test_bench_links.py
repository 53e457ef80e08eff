#!/usr/bin/python3
"""lapse-bench beside real ZooKeeper and NATS servers, by its own clients of their protocols: what they measure, a node that
dies in the middle, a cluster that was there before."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

BUILD = pathlib.Path(os.environ.get("LAPSE_BUILD", pathlib.Path(__file__).resolve().parents[2] / "build"))
BENCH = BUILD / "bench/lapse-bench"


def is_here(system):
    listed = subprocess.run([BENCH, "--list"], capture_output=True, text=True, check=True).stdout
    return any(line.split()[:2] == [system, "here;"] for line in listed.splitlines())


def children(pid):
    return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Peer:
    """What must hold for each; the subclasses name the system."""

    def setUp(self):
        if not is_here(self.system):
            self.skipTest(f"no {self.system} here")
        self.dir = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.dir)
        self.json = self.dir / "report.json"

    def start(self, scenario, *flags):
        command = [BENCH, scenario, "--system", self.system, "--json", self.json, *flags]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env={**os.environ, "TMPDIR": str(self.dir)})

    def measure(self, scenario, *flags):
        process = self.start(scenario, "--brief", *flags)
        out, err = process.communicate()
        self.assertEqual(process.returncode, 0, out + err)
        report = json.loads(self.json.read_text())
        self.assertIsNone(report["partial"])
        return report

    def test_every_watcher_is_told_of_every_end(self):
        report = self.measure("fanout", "--subscribers", "60")
        samples = report["samples"]
        self.assertEqual(samples["last"]["n"], report["settings"]["writes"])
        self.assertLessEqual(samples["first"]["p50"], samples["last"]["p50"])
        self.assertEqual(report["notes"], [])

    def test_writes_go_on_when_the_leader_dies(self):
        report = self.measure("failover")
        self.assertGreater(report["samples"]["gap"]["n"], 0)

    def test_a_node_that_dies_ends_the_run_with_what_was_measured(self):
        process = self.start("revocation", "--writes", "1000", "--rate", "50")
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and "ending items" not in (line := process.stderr.readline()):
            self.assertNotEqual(line, "", "it ended early")
        time.sleep(1)
        os.kill(children(process.pid)[-1], signal.SIGKILL)
        out, err = process.communicate()
        self.assertEqual(process.returncode, 1, out + err)
        self.assertRegex(err, self.system + " [123] ended with signal 9")
        self.assertIsNotNone(json.loads(self.json.read_text())["partial"])


class ZooKeeper(Peer, unittest.TestCase):
    system = "zookeeper"

    def test_deadlines_are_those_of_sessions(self):
        report = self.measure("expiry")
        self.assertGreaterEqual(report["samples"]["burst_lateness"]["n"], 100)
        self.assertGreater(report["samples"]["burst_lateness"]["min"], 0, "none ends before its deadline")

    def test_the_tuning_is_in_the_report(self):
        report = self.measure("revocation", "--tuning", "tuned")
        self.assertIn("tickTime=200 ", report["system"]["flags"])
        self.assertEqual(report["system"]["version"][:2], "3.")


class Nats(Peer, unittest.TestCase):
    system = "nats"

    def test_it_can_not_do_deadlines_and_says_so(self):
        process = self.start("expiry", "--brief")
        out, err = process.communicate()
        self.assertNotEqual(process.returncode, 0)
        self.assertIn("nats", err)

    def test_a_server_that_was_there_before(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        program = shutil.which("nats-server", path=os.environ["PATH"] + ":/usr/sbin")
        server = subprocess.Popen([program, "-js", "-a", "127.0.0.1", "-p", str(port), "-sd", self.dir / "js"],
                                  stderr=subprocess.DEVNULL)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        report = self.measure("revocation", "--endpoints", f"127.0.0.1:{port}")
        self.assertEqual(report["system"]["nodes"], 1)
        self.assertIsNone(server.poll(), "it is not ours to end")


if __name__ == "__main__":
    unittest.main()
