#!/usr/bin/python3
"""lapse-bench as SREs use it: the short form of every scenario on real nodes, what it writes, and what it says when it is used wrongly, when a
node dies in the middle, or when it is interrupted. Its figures are not looked at: this machine may be busy."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest

from harness import BUILD, Cluster, ROOT, eventually

BENCH = BUILD / "bench" / "lapse-bench"
USAGE = 64

# What each scenario must have measured: names of samples and of values.
SCENARIOS = {
    "revocation": (["first", "median", "last"], []),
    "fanout": (["last"], ["connection_bytes"]),
    "expiry": (["single_lateness", "single_lateness_least", "burst_lateness", "writes_before", "writes_during"], ["burst_took", "elections", "loop_max"]),
    "failover": (["gap", "gap_event", "before", "around", "event_around"], ["needless_elections"]),
    "overrun": (["outlived", "last_permit"], ["permits_after_deadline", "permit_checks"]),
    "throughput": ([], ["acknowledged_per_s"]),
    "memory": ([], ["resident", "per_item", "accounted_per_item"]),
    "restart": (["ready", "caught_up"], []),
    "check": ([], ["calm_check_p50", "calm_check_p99", "storm_checks_per_s"]),
    "agent": (["proxy", "direct", "bare"], ["proxy_per_s", "direct_per_s"]),
    "floor": (["sync", "round_trip"], []),
}

PERCENTILES = ["min", "p50", "p90", "p95", "p99", "p999", "max"]


def known_scenarios():
    """Of this build."""
    said = subprocess.run([BENCH, "--help"], capture_output=True, text=True, check=True).stdout
    listed = said[said.index("Scenarios:"):said.index("Flags of scenarios:")].splitlines()[1:]
    return [line.split()[0] for line in listed if line.startswith("  ") and line[2] != " "]


def children(pid):
    return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def is_alive(pid):
    return bool(command_of(pid))


class BenchTest(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory(prefix="lapse-bench-test-")
        self.addCleanup(self.dir.cleanup)
        self.env = {**os.environ, "TMPDIR": self.dir.name}
        self.report_path = pathlib.Path(self.dir.name) / "report.json"

    def bench(self, *args, code=0, env=None):
        """Runs it to its end; its exit code must be `code`."""
        done = subprocess.run([BENCH, *map(str, args)], capture_output=True, text=True, stdin=subprocess.DEVNULL, env=env or self.env)
        self.assertEqual(done.returncode, code, f"lapse-bench {args}:\n{done.stdout}{done.stderr}")
        self.assertEqual([path.name for path in pathlib.Path(self.dir.name).iterdir() if path != self.report_path], [], "it left something behind")
        return done

    def report(self):
        """What it wrote, by the schema of docs/benchmark.md."""
        report = json.loads(self.report_path.read_text())
        self.assertEqual(report["schema"], "lapse-bench/1")
        self.assertEqual(set(report), {"schema", "scenario", "time", "benchmark", "system", "machine", "settings", "partial", "samples", "values",
                                       "series", "notes"})
        self.assertEqual(set(report["machine"]), {"cores", "processor", "kernel", "memory_bytes", "file_system"})
        if report["system"] is not None:
            self.assertEqual(set(report["system"]), {"name", "version", "tuning", "flags", "nodes"})
            self.assertTrue(report["system"]["version"])
        for name, samples in report["samples"].items():
            self.check_samples(name, samples)
        for name, value in report["values"].items():
            self.assertEqual(set(value), {"what", "unit", "value"}, name)
        for name, series in report["series"].items():
            self.assertEqual(set(series), {"unit", "points", "moments"}, name)
            self.assertTrue(all(len(point) == 2 for point in series["points"]))
        return report

    def check_samples(self, name, samples):
        self.assertEqual(set(samples), {"what", "unit", "n", "mean", "distribution", *PERCENTILES}, name)
        if samples["n"] == 0:
            return
        percentiles = [samples[percentile] for percentile in PERCENTILES]
        self.assertEqual(percentiles, sorted(percentiles), name)
        self.assertTrue(samples["min"] <= samples["mean"] <= samples["max"] or samples["n"] == 1, name)
        self.assertEqual(samples["distribution"][-1], [100, samples["max"]], name)

    def measure(self, scenario, *args):
        done = self.bench(scenario, "--brief", "--json", self.report_path, *args)
        report = self.report()
        self.assertEqual(report["scenario"], scenario)
        self.assertIsNone(report["partial"])
        self.assertIn(scenario, done.stdout)
        return report

    # --- every scenario

    def test_every_scenario_measures_what_it_says(self):
        known = known_scenarios()
        self.assertEqual(set(known) - set(SCENARIOS), set(), "a scenario without a test")
        for scenario in known:
            samples, values = SCENARIOS[scenario]
            with self.subTest(scenario):
                report = self.measure(scenario)
                for name in samples:
                    self.assertGreater(report["samples"][name]["n"], 0, name)
                for name in values:
                    self.assertIn(name, report["values"])
                print(f"{scenario}: ok", flush=True)

    def test_no_permit_outlives_its_deadline_when_the_leader_dies(self):
        report = self.measure("overrun")
        self.assertEqual(report["values"]["permits_after_deadline"]["value"], 0)
        self.assertLessEqual(report["samples"]["last_permit"]["max"], 0)
        self.assertGreater(report["values"]["permit_checks"]["value"], 0)
        # Cluster time counts whole milliseconds, and a new leader that is unsure takes the later time (decision 0007): early, never late.
        self.assertGreaterEqual(report["samples"]["outlived"]["min"], -1000, "an event long before its deadline")

    def test_the_gap_is_in_the_latency_of_what_was_due_in_it(self):
        report = self.measure("failover")
        gap = report["samples"]["gap"]["max"]
        self.assertGreaterEqual(report["samples"]["around"]["max"], gap - 1000 / report["settings"]["rate"] - 1, "omitted")
        due = [at for at, _ in report["series"]["acknowledgement"]["points"]]
        self.assertTrue(any(0 < at < gap for at in due), "nothing started while there was no leader")
        self.assertEqual(report["series"]["acknowledgement"]["moments"], [[0, "kill -9 of the leader"]])

    def test_a_node_hangs(self):
        self.assertEqual(self.measure("failover", "--fault", "freeze")["settings"]["fault"], "freeze")

    def test_a_follower_dies(self):
        self.assertEqual(self.measure("failover", "--victim", "follower")["settings"]["victim"], "follower")

    def test_the_leader_is_cut_off_or_it_says_why_not(self):
        probe = subprocess.run(["unshare", "--net", "ip", "link", "add", "br0", "type", "bridge"], capture_output=True)
        if probe.returncode == 0:
            report = self.measure("failover", "--fault", "partition")
            self.assertGreater(report["samples"]["gap"]["min"], 0)
        else:
            done = self.bench("failover", "--brief", "--fault", "partition", code=USAGE)
            self.assertIn("--fault freeze", done.stderr)

    def test_each_peer_that_is_here_is_measured_by_the_same_scenario(self):
        here = [line.split()[0] for line in self.bench("--list").stdout.splitlines() if line.split()[1].startswith("here")]
        self.assertIn("lapse", here)
        for system in here[1:]:
            with self.subTest(system):
                report = self.measure("revocation", "--system", system)
                self.assertEqual(report["system"]["name"], system)
                self.assertGreater(report["samples"]["last"]["n"], 0)
                print(f"{system}: ok", flush=True)

    def test_a_running_cluster_is_measured_where_it_is(self):
        with Cluster() as cluster:
            self.measure("revocation", "--endpoints", ",".join(node.endpoint for node in cluster.nodes), "--credentials", cluster.pki.dir)
            done = self.bench("failover", "--brief", "--endpoints", cluster.nodes[0].endpoint, "--credentials", cluster.pki.dir, code=1)
            self.assertIn("without --endpoints", done.stderr)
            self.assertEqual(len(cluster.alive()), 3)
            cluster.assert_one_history()

    # --- wrong uses

    def test_wrong_uses_are_refused_before_anything_starts(self):
        for args, words in {
            (): ["scenario"],
            ("flight",): ["flight"],
            ("failover", "revocation"): ["scenario"],
            ("failover", "--flight", "3"): ["flight"],
            ("failover", "--rounds"): ["rounds"],
            ("failover", "--rounds", "0"): ["rounds", "1"],
            ("failover", "--rounds", "-1"): ["rounds"],
            ("failover", "--rounds", "many"): ["rounds", "many"],
            ("failover", "--nodes", "1"): ["3 nodes"],
            ("failover", "--nodes", "8"): ["nodes", "7"],
            ("failover", "--rate", "100000"): ["rate"],
            ("failover", "--fault", "fire"): ["fault", "fire"],
            ("failover", "--victim", "everybody"): ["victim", "everybody"],
            ("failover", "--system", "redis"): ["redis"],
            ("failover", "--system", "db2"): ["db2"],
            ("expiry", "--system", "nats"): ["nats"],
            ("agent", "--system", "etcd"): ["agent"],
            ("expiry", "--tuning", "warp"): ["warp"],
            ("restart", "--items", "10", "--writes", "100"): ["writes", "items"],
            ("overrun", "--items", "100000"): ["items"],
            ("revocation", "--credentials", "/tmp"): ["endpoints"],
        }.items():
            with self.subTest(args):
                done = self.bench(*args, code=USAGE)
                self.assertEqual(done.stdout, "")
                for word in words:
                    self.assertIn(word, done.stderr)

    def test_what_is_missing_is_named(self):
        done = self.bench("memory", "--brief", "--program", "/nowhere/lapsed", code=1)
        self.assertIn("/nowhere/lapsed", done.stderr)
        listed = {line.split()[0]: line for line in self.bench("--list", env={**self.env, "PATH": ""}).stdout.splitlines()}
        missing = [name for name, line in listed.items() if "not here" in line]
        for system in missing:
            done = self.bench("memory", "--brief", "--system", system, code=1, env={**self.env, "PATH": ""})
            self.assertIn(f"{system} is not here: install", done.stderr)

    def test_a_report_that_can_not_be_written_is_an_error(self):
        done = self.bench("check", "--brief", "--json", "/nowhere/report.json", code=1)
        self.assertIn("/nowhere/report.json", done.stderr)
        self.assertIn("check", done.stdout)

    # --- what goes wrong in the middle

    def start(self, *args):
        """Returns the process and its nodes, once it measures."""
        process = subprocess.Popen([BENCH, *map(str, args), "--json", self.report_path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, env=self.env)
        self.addCleanup(lambda: process.poll() is None and process.kill())
        nodes = eventually("three nodes run", lambda: self.nodes_of(process))
        eventually("connections to every node", lambda: all(self.is_connected(process.pid, node) for node in nodes))
        return process, nodes

    @staticmethod
    def nodes_of(process):
        nodes = [child for child in children(process.pid) if b"--node-id=" in b" ".join(command_of(child)) and b"init" not in command_of(child)]
        return nodes if len(nodes) == 3 else None

    @staticmethod
    def is_connected(pid, node):
        """Whether the benchmark's threads have begun: its loops start when the cluster is ready."""
        names = []
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # one that has ended meanwhile
                names.append(pathlib.Path(task, "comm").read_text().strip())
        return "watchers" in names and is_alive(node)

    def end(self, process, nodes, code):
        out, err = process.communicate(timeout=180)
        self.assertEqual(process.returncode, code, out + err)
        for node in nodes:
            self.assertFalse(is_alive(node), "a node survived the benchmark")
        return out, err

    def test_a_node_that_dies_in_the_middle_ends_the_run_with_what_was_measured(self):
        for args in (["throughput", "--seconds", "60"], ["revocation", "--writes", "3000", "--rate", "50"], ["expiry", "--rounds", "1000"]):
            with self.subTest(args[0]):
                process, nodes = self.start(*args)
                time.sleep(1)
                os.kill(nodes[1], signal.SIGKILL)
                out, err = self.end(process, nodes, 1)
                self.assertRegex(err, r"lapsed \d ended with signal 9")
                self.assertIn("PARTIAL", out)
                report = self.report()
                self.assertRegex(report["partial"], r"lapsed \d ended with signal 9")
                self.assertTrue(report["samples"], "what was measured until then")

    def test_an_interrupted_run_reports_what_it_has(self):
        process, nodes = self.start("expiry", "--rounds", "1000")
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        self.end(process, nodes, 1)
        report = self.report()
        self.assertIn("interrupted", report["partial"])
        self.assertGreater(report["samples"]["single_lateness"]["n"], 0)

    def test_nodes_die_with_a_benchmark_that_is_killed(self):
        process, nodes = self.start("expiry", "--rounds", "1000")
        process.kill()
        process.communicate()
        for node in nodes:
            eventually("the node is gone", lambda: not is_alive(node))
        self.dir.cleanup()

    # --- the documentation

    def test_the_schema_is_documented(self):
        page = (ROOT / "docs" / "benchmark.md").read_text()
        self.measure("memory")
        self.assertIn("lapse-bench/1", page)
        for key in [*self.report(), *PERCENTILES, "distribution", "points", "moments"]:
            self.assertIn(key, page)
        for scenario in known_scenarios():
            self.assertIn(scenario, page)


if __name__ == "__main__":
    unittest.main(verbosity=2)
