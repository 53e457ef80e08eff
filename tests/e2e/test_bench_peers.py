#!/usr/bin/python3
"""`scripts/bench-peers` puts Lapse beside its peers: one report, with ratios within rounds, what was skipped and why, and what failed, marked."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("LAPSE_BUILD", ROOT / "build"))
BENCH_PEERS = ROOT / "scripts/bench-peers"
sys.path.insert(0, str(ROOT / "bench"))
import compare  # noqa: E402

# In place of lapse-bench: what each run does is in a file beside it, by "SCENARIO SYSTEM TUNING".
FAKE = r"""#!/usr/bin/python3
import json, pathlib, sys, time
here = pathlib.Path(__file__).parent
script = json.loads((here / "script.json").read_text())
args = sys.argv[1:]
if args == ["--list"]:
    print(script["list"])
    sys.exit(0)
value = lambda flag: args[args.index(flag) + 1] if flag in args else None
key = " ".join(filter(None, (args[0], value("--system"), value("--tuning"))))
with open(here / "calls", "a") as calls:
    calls.write(key + "\n")
does = script["runs"].get(key, {})
print("progress 1\rprogress 2", file=sys.stderr)
if "report" in does:
    pathlib.Path(value("--json")).write_text(json.dumps(does["report"]))
if "error" in does:
    print("lapse-bench: " + does["error"], file=sys.stderr)
time.sleep(does.get("sleep", 0))
sys.exit(does.get("code", 0))
"""


def report_of(scenario, system=None, tuning="default", partial=None, values=None, **samples):
    """A report as lapse-bench writes it; samples by name: milliseconds."""
    return {"schema": "lapse-bench/1", "scenario": scenario, "partial": partial, "machine": {"cores": 2}, "notes": [],
            "system": system and {"name": system, "version": "1.0", "tuning": tuning, "flags": "--well", "nodes": 3},
            "values": {name: {"value": value} for name, value in (values or {}).items()}, "series": {},
            "samples": {name: {"n": 9, "p50": ms, "p99": ms, "max": ms, "distribution": [[50, ms], [100, ms]]}
                        for name, ms in samples.items()}}


class Session:
    """A directory as scripts/bench-peers leaves it."""

    def __init__(self, directory, rounds=1):
        self.dir = pathlib.Path(directory)
        self.session = {"schema": "lapse-bench-session/1", "started": "2026-01-01T00:00:00+00:00", "brief": False,
                        "rounds": rounds, "runs": [], "systems": [{"name": "lapse", "here": True, "package": None}]}

    def add(self, run, report=None, system=None, tuning="default", number=1, state="done", **more):
        file = f"{number}-{run}-{system}-{tuning}.json"
        if report is not None:
            (self.dir / file).write_text(json.dumps(report))
        self.session["runs"].append({"id": run, "system": system, "tuning": tuning if system else None, "round": number,
                                     "file": file, "state": state, **more})

    def revocation(self, system, ms, number=1, tuning="default", **more):
        self.add("revocation-3", report_of("revocation", system, tuning, last=ms, **more), system, tuning, number)

    def compare(self):
        (self.dir / "session.json").write_text(json.dumps(self.session))
        assert compare.main([str(self.dir)]) == 0
        return json.loads((self.dir / "report.json").read_text()), (self.dir / "report.md").read_text()


def row_of(report, title):
    return next(row for group in report["groups"] for row in group["rows"] if title in row["title"])


class Comparison(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.addCleanup(self.temporary.cleanup)

    def test_ratios_are_taken_within_a_round(self):
        session = Session(self.temporary.name, rounds=3)
        # The machine is ten times as slow from the second round on, and etcd fails in the third.
        for number, slow in ((1, 1), (2, 10), (3, 10)):
            session.revocation("lapse", 1 * slow, number)
            if number < 3:
                session.revocation("etcd", 4 * slow, number)
        session.revocation("redis", 5, 1)
        report, text = session.compare()
        row = row_of(report, "last of 3 watchers, p50")
        self.assertEqual(row["figures"]["lapse"]["median"], 10)
        self.assertEqual(row["ratio_to_best_peer"], 0.25)  # of 1/4 and 10/40; the medians would say 10 to 22
        self.assertFalse(row["peer_wins"])
        self.assertIn("10.0 [1.00..10.0]", text)

    def test_where_a_peer_wins_is_said_both_ways_round(self):
        session = Session(self.temporary.name)
        session.revocation("lapse", 2)
        session.revocation("redis", 1)
        for system, per_s in (("lapse", 1000), ("nats", 3000), ("etcd", 500)):
            session.add("throughput", report_of("throughput", system, values={"acknowledged_per_s": per_s}), system)
        report, text = session.compare()
        self.assertEqual(row_of(report, "acknowledged writes a second")["best_peer"], "nats")
        self.assertEqual(report["peer_wins"][0], "revoked → last of 3 watchers, p50")
        self.assertIn("acknowledged writes a second, 64 in flight", report["peer_wins"])
        self.assertIn("**2.00 (redis)**", text)
        self.assertIn("- revoked → last of 3 watchers: p99: redis, Lapse: 2.00 times its figure", text)

    def test_what_promises_less_is_shown_and_not_compared(self):
        session = Session(self.temporary.name)
        for system, tuning, per_s in (("lapse", "default", 1000), ("redis", "default", 500), ("redis", "nowait", 9000)):
            report = report_of("throughput", system, tuning, values={"acknowledged_per_s": per_s})
            session.add("throughput", report, system, tuning)
        row = row_of(session.compare()[0], "acknowledged writes a second")
        self.assertEqual((row["best_peer"], row["ratio_to_best_peer"]), ("redis", 2))
        self.assertEqual(row["figures"]["redis (nowait)"]["median"], 9000)

    def test_aims_are_judged_by_the_better_tuning_and_the_floor(self):
        session = Session(self.temporary.name)
        session.revocation("lapse", 1)
        session.revocation("redis", 4)
        session.revocation("redis", 0.5, tuning="tuned")
        session.add("floor", report_of("floor", quorum_sync=0.3, round_trip=0.1))
        aims = {aim["aim"]: aim for aim in row_of(session.compare()[0], "last of 3 watchers, p50")["aims"]}
        self.assertEqual((aims["≤ 1 × redis"]["found"], aims["≤ 1 × redis"]["met"]), (2, False))
        self.assertEqual((aims["≤ 3 × floor"]["found"], aims["≤ 3 × floor"]["met"]), (2.5, True))

    def test_what_is_missing_gives_no_verdict(self):
        session = Session(self.temporary.name)
        session.revocation("lapse", 1)
        row = row_of(session.compare()[0], "last of 3 watchers, p50")
        self.assertEqual([aim["met"] for aim in row["aims"]], [None, None])
        self.assertFalse(row["peer_wins"])

    def test_partial_runs_are_marked_and_bad_files_named(self):
        session = Session(self.temporary.name)
        session.revocation("lapse", 1)
        session.revocation("etcd", 2, partial="etcd 2 ended with signal 9")
        session.add("fanout", {"schema": "another/9"}, "lapse")
        session.add("fanout", system="etcd")
        report, text = session.compare()
        self.assertTrue(row_of(report, "last of 3 watchers, p50")["figures"]["etcd"]["partial"])
        self.assertIn("2.00*", text)
        whys = " ".join(problem["why"] for problem in report["problems"])
        for said in ("signal 9", "is no lapse-bench/1", "No such file"):
            self.assertIn(said, whys)

    @unittest.skipUnless(shutil.which("gnuplot"), "gnuplot is not here")
    def test_plots_have_a_curve_a_system(self):
        session = Session(self.temporary.name)
        session.revocation("lapse", 1)
        session.revocation("etcd", 2)
        session.compare()
        plot = (session.dir / "plots/revocation-3-last.svg").read_text()
        self.assertIn("lapse", plot)
        self.assertIn("etcd", plot)


def bench_peers(*args, code=0, env=None):
    done = subprocess.run(["/usr/bin/python3", BENCH_PEERS, *map(str, args)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
    assert done.returncode == code, f"exited {done.returncode}:\n{done.stdout}"
    return done.stdout


class Runs(unittest.TestCase):
    """The session itself, with a program that does as told in place of lapse-bench."""

    LIST = "\n".join(("lapse      here; tunings: default", "etcd       here; tunings: default tuned",
                      "nats       not here, install nats-server; tunings: default"))

    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.dir = pathlib.Path(temporary.name)
        self.bench, self.out = self.dir / "build/bench", self.dir / "out"
        self.bench.mkdir(parents=True)
        (self.bench / "lapse-bench").write_text(FAKE)
        (self.bench / "lapse-bench").chmod(0o755)
        self.script = {f"revocation {system} default": {"report": report_of("revocation", system, last=ms)}
                       for system, ms in (("lapse", 1), ("etcd", 2))}

    def run_session(self, *args, code=0):
        (self.bench / "script.json").write_text(json.dumps({"list": self.LIST, "runs": self.script}))
        (self.bench / "calls").unlink(missing_ok=True)
        return bench_peers("--build", self.dir / "build", "--out", self.out, *args, code=code)

    def calls(self):
        path = self.bench / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def test_systems_take_turns_and_what_is_missing_is_named(self):
        said = self.run_session("--runs", "revocation-3", "--rounds", "2")
        self.assertEqual(self.calls(), [f"revocation {system} default" for system in ("lapse", "etcd", "etcd", "lapse")])
        self.assertIn("nats is skipped: it is not here; install nats-server", said)
        self.assertIn("nats is not here: install nats-server", (self.out / "report.md").read_text())

    def test_a_failing_run_is_marked_and_the_others_go_on(self):
        self.script["revocation etcd default"].update(code=1, error="etcd 2 ended with signal 9: ...panic (UNAVAILABLE)")
        self.script["revocation etcd default"]["report"]["partial"] = "etcd 2 ended with signal 9: ...panic"
        self.script["failover etcd default"] = {"code": 1, "error": "etcd 1 ended with code 1: ...no space"}
        self.script["failover etcd tuned"] = {"code": 64, "error": "etcd can't do what failover needs"}
        self.script["failover lapse default"] = {"report": report_of("failover", "lapse", gap=8)}
        self.run_session("--runs", "revocation-3,failover-kill", "--rounds", "1", code=1)
        states = {(run["id"], run["system"], run["tuning"]): run["state"]
                  for run in json.loads((self.out / "session.json").read_text())["runs"]}
        self.assertEqual(states, {("revocation-3", "lapse", "default"): "done", ("revocation-3", "etcd", "default"): "partial",
                                  ("failover-kill", "lapse", "default"): "done", ("failover-kill", "etcd", "default"): "failed",
                                  ("failover-kill", "etcd", "tuned"): "skipped"})
        text = (self.out / "report.md").read_text()
        for line in ("2.00*", "revocation-3, etcd: partial: etcd 2 ended with signal 9",
                     "failover-kill, etcd: failed: etcd 1 ended with code 1: ...no space",
                     "failover-kill, etcd (tuned): skipped: etcd can't do what failover needs"):
            self.assertIn(line, text)

    def test_a_session_is_gone_on_with(self):
        self.script["revocation etcd default"].update(code=1, error="etcd 2 ended")
        self.run_session("--runs", "revocation-3", "--rounds", "1", code=1)
        del self.script["revocation etcd default"]["code"]
        self.run_session("--runs", "revocation-3")
        self.assertEqual(self.calls(), ["revocation etcd default"])
        self.run_session("--runs", "revocation-3")
        self.assertEqual(self.calls(), [])
        self.assertIn("- nothing", (self.out / "report.md").read_text())

    def test_an_interrupted_session_has_a_report(self):
        self.script["revocation etcd default"]["sleep"] = 3600
        (self.bench / "script.json").write_text(json.dumps({"list": self.LIST, "runs": self.script}))
        process = subprocess.Popen(["/usr/bin/python3", BENCH_PEERS, "--build", self.dir / "build", "--out", self.out,
                                    "--runs", "revocation-3", "--rounds", "1"], stdout=subprocess.PIPE, text=True)
        while len(self.calls()) < 2 and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate()
        self.assertEqual(process.returncode, 1, said)
        self.assertIn("interrupted", said)
        self.assertIn("revocation-3, etcd: partial: interrupted" if (self.out / "round-1/revocation-3-etcd-default.json").exists()
                      else "revocation-3, etcd: failed: interrupted", (self.out / "report.md").read_text())

    def test_wrong_uses_are_refused(self):
        self.run_session("--runs", "revocation-3", "--rounds", "1")
        for args, why in ((("--runs", "nonsense"), 'no run "nonsense"'), (("--only", "lapse,oracle"), 'no system "oracle"'),
                          (("--rounds", "0"), "--rounds"), (("--rounds",), "wants a value"), (("--fast",), 'no "--fast"'),
                          (("--brief",), "holds a session without --brief")):
            self.assertIn(why, self.run_session(*args, code=64))
        self.assertIn("no program", bench_peers("--build", self.dir / "nowhere", code=64))
        (self.out / "session.json").write_text("{")
        self.assertIn("can't be read", self.run_session(code=64))
        self.assertIn("Usage", bench_peers("--help"))


class Manual(unittest.TestCase):
    def test_it_has_every_scenario_and_flag(self):
        said = subprocess.run([BUILD / "bench/lapse-bench", "--help"], stdout=subprocess.PIPE, text=True, check=True).stdout
        manual = (ROOT / "docs/man/lapse-bench.1").read_text()
        scenarios = re.findall(r"^  (\w+)  ", said.partition("Flags of scenarios")[0], re.M)
        flags = set(re.findall(r"--([a-z][a-z-]*)", said)) - {"lapsed", "raft-election-timeout-ms"}
        self.assertIn("revocation", scenarios)
        self.assertIn("subscribers", flags)
        self.assertEqual([name for name in scenarios if f".It Cm {name}\n" not in manual], [])
        self.assertEqual([flag for flag in sorted(flags) if not re.search(rf"(Fl |, )-{flag}\b", manual)], [])


class ForReal(unittest.TestCase):
    def test_a_brief_comparison_with_the_peers_that_are_here(self):
        with tempfile.TemporaryDirectory() as temporary:
            out = pathlib.Path(temporary) / "out"
            said = bench_peers("--brief", "--build", BUILD, "--out", out, "--only", "lapse,etcd,redis", "--runs",
                               "revocation-3,throughput")
            report, text = json.loads((out / "report.json").read_text()), (out / "report.md").read_text()
        self.assertIn("its figures mean nothing", text)
        missing = {system["system"] for system in report["missing"]}
        for system in ("etcd", "redis"):
            figures = row_of(report, "last of 3 watchers, p50")["figures"]
            self.assertNotEqual(system in missing, system in figures, said)
        self.assertEqual(report["problems"], [])
        self.assertGreater(row_of(report, "acknowledged writes a second")["figures"]["lapse"]["median"], 0)

    def test_a_peer_that_is_not_here_is_named(self):
        with tempfile.TemporaryDirectory() as temporary:
            said = bench_peers("--brief", "--build", BUILD, "--out", temporary, "--only", "etcd", "--runs", "revocation-3",
                               env={**os.environ, "PATH": "/nonexistent"})
            self.assertIn("etcd is skipped: it is not here; install etcd-server", said)
            self.assertIn("etcd is not here: install etcd-server", pathlib.Path(temporary, "report.md").read_text())


if __name__ == "__main__":
    unittest.main()
