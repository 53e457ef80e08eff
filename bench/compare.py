#!/usr/bin/env python3
"""Usage: bench/compare.py DIR

Makes one report of a session of scripts/bench-peers: DIR/report.md, DIR/report.json and plots in DIR/plots.

A session is DIR/session.json and one JSON report of lapse-bench a run ("lapse-bench/1", docs/benchmark.md). What is
compared was measured in the same round: each ratio is taken within a round, and the report has their median over the
rounds, because identical work drifts from hour to hour on most machines.
"""

import json
import pathlib
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import compare_plots  # noqa: E402
from compare_rows import GROUPS, NOT_COMPARED  # noqa: E402

SCHEMA = "lapse-bench/1"


class Results:
    """What the runs measured: figures by row, column (system and tuning) and round."""

    def __init__(self, directory, session):
        self.directory, self.session = pathlib.Path(directory), session
        self.reports = {}  # (run, column, round): report
        self.problems = {}  # (run, column): what was skipped, failed or is partial
        self.pending = 0  # not begun: the session was interrupted
        for run in session["runs"]:
            self._take(run)

    def _take(self, run):
        key = run["id"], column_of(run)
        report = self._read(run)
        if report is not None:
            self.reports[*key, run["round"]] = report
        why = run.get("why") or (report or {}).get("partial")
        if run["state"] == "pending":
            self.pending += 1
        elif run["state"] != "done" or why:
            self.problems.setdefault(key, []).append(f"{run['state']}: {why}" if why else run["state"])

    def _read(self, run):
        if run["state"] not in ("done", "partial"):
            return None
        try:
            report = json.loads((self.directory / run["file"]).read_text())
        except (OSError, ValueError) as error:
            run.update(state="failed", why=f"{run['file']}: {error}")
            return None
        if report.get("schema") != SCHEMA:
            run.update(state="failed", why=f"{run['file']} is no {SCHEMA}")
            return None
        return report

    def columns(self):
        """Lapse first, then peers in the order in which the session names them."""
        seen = {column_of(run): None for run in self.session["runs"] if run["system"]}
        return sorted(seen, key=lambda column: column[0] != "lapse")

    def figures(self, row, column):
        """Its figure in each round that has one: {round: number}."""
        found = {}
        for (run, of, number), report in self.reports.items():
            value = row.read(report) if run == row.run and of == column else None
            if value is not None:
                found[number] = value
        return found

    def is_partial(self, row, column):
        return any(run == row.run and of == column and report.get("partial")
                   for (run, of, _), report in self.reports.items())

    def floor(self, row):
        return {number: value for (run, _, number), report in self.reports.items() if run == "floor" and row.floor
                for value in [row.floor(report)] if value is not None}


def column_of(run):
    return run["system"], run["tuning"]


def name_of(column):
    system, tuning = column
    return system if tuning in (None, "default") else f"{system} ({tuning})"


def ratios(ours, theirs):
    """Of the rounds that have both, ours to theirs. (A lateness can be below 0: nothing is a multiple of that.)"""
    return [ours[number] / theirs[number] for number in sorted(ours) if theirs.get(number, 0) > 0]


def median(values):
    return statistics.median(values) if values else None


def best_of(row, peers):
    """The best peer's figure in each round."""
    choose = max if row.more_is_better else min
    rounds = {number for figures in peers.values() for number in figures}
    return {number: choose(figures[number] for figures in peers.values() if number in figures) for number in rounds}


def best_name(row, peers):
    """The one whose median is best."""
    if not peers:
        return None
    choose = max if row.more_is_better else min
    return choose(peers, key=lambda column: statistics.median(peers[column].values()))


def judge_aims(row, ours, by_name, floor):
    """Each aim of the row with what was found; those whose other side is missing have none."""
    judged = []
    for aim in row.aims:
        if aim.against is None:
            found = median(list(ours.values()))
        else:
            found = median(ratios(ours, floor if aim.against == "floor" else by_name.get(aim.against, {})))
        judged.append({"aim": aim.text(row), "found": found, "met": None if found is None else aim.is_met(found, row)})
    return judged


def full_titles(rows):
    """"… p99" is of the row before it that has a name."""
    titles, stem = [], ""
    for row in rows:
        if row.title.startswith("… "):
            titles.append(f"{stem}: {row.title[2:]}")
        else:
            titles.append(row.title)
            stem = row.title.removesuffix(", p50").removesuffix(", median")
    return titles


def compare_row(results, row, full_title):
    """One row of the report: every column's figures, and how Lapse's relate to the best peer's and the floor's."""
    figures = {column: found for column in results.columns() if (found := results.figures(row, column))}
    ours = figures.get(("lapse", "default"), {})
    peers = {column: found for column, found in figures.items() if column[0] != "lapse" and column not in NOT_COMPARED}
    best, floor = best_name(row, peers), results.floor(row)
    # An aim names a system: the better of its tunings counts.
    systems = {column[0] for column in peers}
    by_name = {name: best_of(row, {c: f for c, f in peers.items() if c[0] == name}) for name in systems}
    by_name["best"] = best_of(row, peers)
    ratio = median(ratios(ours, by_name["best"]))
    return {
        "run": row.run, "title": row.title, "full_title": full_title, "unit": row.unit, "more_is_better": row.more_is_better,
        "figures": {name_of(column): {"median": median(list(found.values())), "rounds": found,
                                      "partial": results.is_partial(row, column)}
                    for column, found in figures.items()},
        "best_peer": name_of(best) if best else None,
        "ratio_to_best_peer": ratio,
        "peer_wins": ratio is not None and (ratio < 1 if row.more_is_better else ratio > 1),
        "floor": median(list(floor.values())),
        "ratio_to_floor": median(ratios(ours, floor)),
        # The short form is of other sizes.
        "aims": [] if results.session["brief"] else judge_aims(row, ours, by_name, floor),
    }


def problems(results):
    found = []
    for (run, column), whys in sorted(results.problems.items(), key=str):
        for why in dict.fromkeys(whys):
            found.append({"run": run, "system": name_of(column) if column[0] else None, "why": why})
    return found


def notes(results):
    """What the runs themselves say must be known; once each."""
    found = {}
    for (run, column, _), report in sorted(results.reports.items(), key=str):
        for note in report.get("notes", []):
            found.setdefault((run, name_of(column) if column[0] else "this machine", note))
    return [{"run": run, "system": system, "note": note} for run, system, note in found]


def systems(results):
    """Version and flags of each column, as its first report says."""
    found = {}
    for (_, column, _), report in results.reports.items():
        if report.get("system") and name_of(column) not in found:
            found[name_of(column)] = {key: report["system"].get(key) for key in ("version", "tuning", "flags", "nodes")}
    return found


def compare(results):
    session = results.session
    groups = [{"title": title, "rows": [compare_row(results, *pair) for pair in zip(rows, full_titles(rows))]}
              for title, rows in GROUPS]
    rows = [row for group in groups for row in group["rows"]]
    machine = next((report["machine"] for report in results.reports.values()), {})
    return {
        "schema": "lapse-bench-comparison/1", "started": session["started"], "brief": session["brief"],
        "rounds": session["rounds"], "machine": machine, "systems": systems(results),
        "missing": [{"system": s["name"], "install": s["package"]} for s in session["systems"] if not s["here"]],
        "groups": groups, "peer_wins": [row["full_title"] for row in rows if row["peer_wins"]],
        "problems": problems(results), "not_begun": results.pending, "notes": notes(results),
    }


# --- for people ---------------------------------------------------------------------------------------------------


def number(value):
    """Three digits that count."""
    if value is None:
        return ""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{digits}f}"


def cell(figure):
    if figure is None:
        return ""
    values = list(figure["rounds"].values())
    spread = f" [{number(min(values))}..{number(max(values))}]" if len(values) > 1 else ""
    return number(figure["median"]) + spread + ("*" if figure["partial"] else "")


def aims_cell(row):
    marks = {True: "met", False: "**missed**", None: "?"}
    return "; ".join(f"{aim['aim']}: {marks[aim['met']]}" for aim in row["aims"])


def table(group):
    shown = [row for row in group["rows"] if row["figures"]]
    if not shown:
        return ["Nothing was measured.", ""]
    names = list(dict.fromkeys(name for row in shown for name in row["figures"]))
    lines = ["| | " + " | ".join(names) + " | Lapse to the best peer | floor | Lapse to the floor | aims |",
             "|---" * (len(names) + 5) + "|"]
    for row in shown:
        ratio = number(row["ratio_to_best_peer"]) + (f" ({row['best_peer']})" if row["best_peer"] else "")
        unit = f", {row['unit']}" if row["unit"] else ""
        cells = [row["title"] + unit, *(cell(row["figures"].get(name)) for name in names),
                 f"**{ratio}**" if row["peer_wins"] else ratio, number(row["floor"]), number(row["ratio_to_floor"]),
                 aims_cell(row)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines + [""]


def bullets(items):
    return [f"- {item}" for item in items] or ["- nothing"]


def wins(report):
    return [f"{row['full_title']}: {row['best_peer']}, Lapse: {number(row['ratio_to_best_peer'])} times its figure"
            for group in report["groups"] for row in group["rows"] if row["peer_wins"]]


def head(report):
    machine = report["machine"]
    lines = ["# Lapse beside its peers", "",
             f"Measured from {report['started']}, {report['rounds']} round{'s' if report['rounds'] != 1 else ''}; on "
             f"{machine.get('cores', '?')} cores of {machine.get('processor', '?')}, {machine.get('kernel', '?')}, data on "
             f"{machine.get('file_system', '?')}. A figure is the median over the rounds [least..greatest]; `*` marks "
             "partial runs. Ratios were taken within each round; below 1 Lapse is ahead where less is better, above 1 "
             "where more is (throughput, checks). docs/benchmark.md says what is measured and what can't be compared.", ""]
    if report["brief"]:
        lines += ["**A short form, for function: its figures mean nothing.**", ""]
    return lines


def markdown(report, plots):
    lines = head(report)
    for group in report["groups"]:
        lines += [f"## {group['title']}", "", *table(group)]
    lines += ["## Where a peer wins", "", *bullets(wins(report)), ""]
    lines += ["## Skipped, failed, partial", "",
              *bullets([f"{m['system']} is not here: install {m['install']}" for m in report["missing"]] +
                       [f"{p['run']}{', ' + p['system'] if p['system'] else ''}: {p['why']}"
                        for p in report["problems"]] +
                       ([f"{report['not_begun']} runs were not begun"] if report["not_begun"] else [])), ""]
    lines += ["## What was run", "", *bullets(f"{name} {s['version']}: `{s['flags']}`"
                                              for name, s in report["systems"].items()), ""]
    lines += ["## Notes", "", *bullets(f"{n['run']}, {n['system']}: {n['note']}" for n in report["notes"]), ""]
    lines += ["## Plots", "", *bullets(plots), ""]
    return "\n".join(lines)


def main(args):
    if len(args) != 1 or args[0].startswith("-"):
        print(__doc__.strip(), file=sys.stdout if args in (["--help"], ["-h"]) else sys.stderr)
        return 0 if args in (["--help"], ["-h"]) else 64
    directory = pathlib.Path(args[0])
    try:
        session = json.loads((directory / "session.json").read_text())
    except (OSError, ValueError) as error:
        print(f"compare.py: {directory}/session.json: {error}", file=sys.stderr)
        return 1
    results = Results(directory, session)
    report = compare(results)
    plots = compare_plots.draw(results, directory / "plots", name_of)
    (directory / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    (directory / "report.md").write_text(markdown(report, plots))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
