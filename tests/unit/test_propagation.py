"""bench/model/propagation.py: its arithmetic, against cases that can be worked out by hand and against brute force; and
that the tables of docs/scale.md are what it prints."""
import contextlib
import importlib.util
import io
import json
import pathlib
import random
import re
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "bench" / "model"
spec = importlib.util.spec_from_file_location("propagation", MODEL / "propagation.py")
propagation = importlib.util.module_from_spec(spec)
spec.loader.exec_module(propagation)

MEASURED = {"commit_ms": {"p50": 1.0, "p99": 1.0}, "hop_ms": 0.25, "node_cpu_us": 8.0, "watcher_cpu_us": 4.0,
            "connection_bytes": 40000, "few_last_ms": 1.5, "machine": {"cores": 2}}
CALM = ["--sigma", "0", "--pause", "0", "--loss", "0", "--rtt-ms", "1", "--cores", "2", "--trials", "3"]


def options(*more):
    return propagation.parse(["--measured", "x", *CALM, *more])


def printed(*arguments):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        propagation.main(list(arguments))
    return out.getvalue()


def report(n, node_us, watcher_us, last, **more):
    return {"schema": "lapse-bench/1", "scenario": "fanout", "partial": None, "settings": {"subscribers": n},
            "system": {"nodes": 3}, "machine": {"cores": 2},
            "samples": {"ack": {"p50": 1.0, "p99": 2.0}, "last": {"p50": last, "p99": last}},
            "values": {"node_cpu_us": {"value": node_us}, "watcher_cpu_us": {"value": watcher_us},
                       "connection_bytes": {"value": 40000}}, **more}


class Time(unittest.TestCase):
    def test_without_chance_the_last_point_is_the_sum_of_its_way(self):
        chosen = options("--members", "4")
        plan = propagation.Plan(4000, MEASURED, chosen, False)
        lasts, sampled = propagation.simulate(plan, MEASURED, chosen, random.Random(1))
        # commit 1 + a round trip 1; to the members 0.5 + hop 0.25; 1,000 deliveries of 8 us on 2 cores; network 0.5
        self.assertEqual({round(last, 9) for last in lasts}, {round(1 + 1 + 0.5 + 0.25 + 1000 * 0.004 + 0.5, 9)})
        self.assertLessEqual(max(sampled), lasts[0] + 1e-9)
        self.assertGreater(min(sampled), 3.25)

    def test_standbys_add_a_hop_and_their_place_among_the_members_children(self):
        chosen = options("--members", "2", "--leaf-points", "100")
        plan = propagation.Plan(1000, MEASURED, chosen, True)
        self.assertEqual((plan.standbys, plan.per_leaf, plan.children), (10, 100, 5))
        lasts, _ = propagation.simulate(plan, MEASURED, chosen, random.Random(1))
        self.assertAlmostEqual(lasts[0], 1 + 1 + 0.75 + 0.75 + 5 * 0.004 + 100 * 0.004 + 0.5)

    def test_a_slow_wire_takes_the_place_of_the_processor(self):
        plan = propagation.Plan(100, MEASURED, options("--nic-gbit", "0.1", "--wire-bytes", "1000"), False)
        self.assertAlmostEqual(plan.step_ms, 0.08)
        self.assertAlmostEqual(plan.revocations_per_s(), 1000 / (20 * 0.08))

    def test_memory_is_connections_and_grants(self):
        plan = propagation.Plan(50000, MEASURED, options(), False)
        self.assertEqual(plan.memory_bytes(1000000, 300), 10000 * 40000 + 300000000)


class Chance(unittest.TestCase):
    def network(self, *more):
        return propagation.Network(propagation.parse(["--measured", "x", *more]))

    def test_the_slowest_of_many_is_drawn_as_if_each_was(self):
        network = self.network("--pause", "0.02", "--loss", "0.001")
        a, b = random.Random(1), random.Random(2)
        drawn = [network.slowest(50, a) for _ in range(4000)]
        brute = [max(network.one(b) for _ in range(50)) for _ in range(4000)]
        for percent in (10, 50, 90):
            x, y = propagation.percentile(drawn, percent), propagation.percentile(brute, percent)
            self.assertLess(abs(x - y) / y, 0.1, percent)

    def test_shares_of_pauses_and_losses_are_those_asked_for(self):
        network = self.network("--pause", "0.1", "--loss", "0.05", "--sigma", "0.01", "--rtt-ms", "1")
        rng = random.Random(3)
        drawn = [network.one(rng) for _ in range(20000)]
        self.assertAlmostEqual(sum(ms > 200 for ms in drawn) / len(drawn), 0.05, delta=0.006)
        self.assertAlmostEqual(sum(0.55 < ms < 200 for ms in drawn) / len(drawn), 0.1, delta=0.01)

    def test_the_commit_has_the_measured_percentiles(self):
        measured = dict(MEASURED, commit_ms={"p50": 1.0, "p99": 3.0})
        rng = random.Random(4)
        drawn = [propagation.draw_commit(measured, rng, options()) - 1 for _ in range(20000)]
        self.assertAlmostEqual(propagation.percentile(drawn, 50), 1.0, delta=0.03)
        self.assertAlmostEqual(propagation.percentile(drawn, 99), 3.0, delta=0.2)


class Measured(unittest.TestCase):
    def write(self, content):
        file = tempfile.NamedTemporaryFile("w", suffix=".json", delete=False)
        self.addCleanup(pathlib.Path(file.name).unlink)
        with file:
            json.dump(content, file)
        return file.name

    def test_a_delivery_costs_the_slope_between_few_and_many(self):
        few, many = report(10, 108.0, 14.0, 1.2), report(1000, 9.0, 4.1, 7.0)  # 1,000 us a revocation + 8 a delivery
        found = json.loads(printed("--fit", self.write(many), self.write(few)))
        self.assertAlmostEqual(found["node_cpu_us"], 8.0)
        self.assertAlmostEqual(found["watcher_cpu_us"], 4.0)
        self.assertAlmostEqual(found["hop_ms"], 0.2)
        self.assertEqual(found["commit_ms"], {"p50": 1.0, "p99": 2.0})

    def test_here_the_processors_are_shared_with_the_reader(self):
        self.assertAlmostEqual(propagation.predict_here(MEASURED, 1000, 3), 1.5 + 1000 * 0.012 / 2)
        slow_reader = dict(MEASURED, watcher_cpu_us=20.0)
        self.assertAlmostEqual(propagation.predict_here(slow_reader, 1000, 3), 1.5 + 20.0)
        self.assertAlmostEqual(propagation.predict_here(MEASURED, 1000, 1), 1.5 + 8.0)  # one edge thread

    def test_reports_that_do_not_fit_are_refused(self):
        for bad in (report(10, 1, 1, 1, partial="died"), report(10, 1, 1, 1, scenario="revocation"),
                    report(10, 1, 1, 1, values={})):
            with self.assertRaises(SystemExit):
                propagation.load(self.write(bad))
        one = self.write(report(10, 1, 1, 1))
        with self.assertRaises(SystemExit):
            propagation.fit([one, one])


class Page(unittest.TestCase):
    """The page's tables stand between <!-- propagation.py ARGUMENTS --> and <!-- end -->."""

    def test_its_tables_are_what_the_model_prints(self):
        page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
        found = re.findall(r"<!-- propagation\.py (.*?) -->\n(.*?)<!-- end -->", page, re.DOTALL)
        self.assertGreaterEqual(len(found), 2)
        for arguments, table in found:
            words = [str(MODEL / word) if word.endswith(".json") else word for word in arguments.split()]
            self.assertEqual(table, printed(*words), arguments)


if __name__ == "__main__":
    sys.exit(unittest.main())
