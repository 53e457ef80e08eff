"""The plots of a comparison, by gnuplot: every system's distribution in one, and latency around a failure."""

import shutil
import subprocess

# Run, set of samples, title.
DISTRIBUTIONS = (
    ("revocation-3", "last", "revoked to the last of 3 watchers"),
    ("revocation-300", "last", "revoked to the last of 300 watchers"),
    ("revocation-3000", "last", "revoked to the last of 3,000 watchers"),
    ("fanout", "other_ack", "another write acknowledged while 3,000 are told"),
    ("expiry", "single_lateness", "one deadline at a time: late by"),
    ("expiry", "burst_lateness", "10,000 deadlines in one second: late by"),
    ("failover-kill", "around", "revocations around kill -9 of the leader"),
)
# Run, series, title.
SERIES = (
    ("failover-kill", "acknowledgement", "revocations acknowledged around kill -9 of the leader"),
    ("failover-freeze", "acknowledgement", "revocations acknowledged around SIGSTOP of the leader"),
)


def _quoted(text):
    return '"' + "".join(" " if c in '"\\`\n' else c for c in text) + '"'


def _script(path, title, curves, axes, style):
    lines = ["set terminal svg noenhanced size 900,480 background rgb 'white'", f"set output {_quoted(str(path))}",
             f"set title {_quoted(title)}", "set grid", "set key outside right", *axes]
    lines.append("plot " + ", ".join(f"'-' title {_quoted(name)} with {style}" for name in curves))
    for points in curves.values():
        lines += [f"{x} {y}" for x, y in points] + ["e"]
    return "\n".join(lines) + "\n"


def _of_one_round(results, run, read):
    """Each column's points, of the first round that has some."""
    found = {}
    for (of, column, _), report in sorted(results.reports.items(), key=str):
        points = read(report) if of == run else None
        if points and column not in found:
            found[column] = points
    return found


def _distribution(name):
    def read(report):
        points = report.get("samples", {}).get(name, {}).get("distribution", [])
        return [(ms, percent) for percent, ms in points if ms > 0]
    return read


def _series(name):
    def read(report):
        points = report.get("series", {}).get(name, {}).get("points", [])
        return [(at / 1000, ms) for at, ms in points if ms > 0]
    return read


def _plot(path, title, curves, axes, style):
    subprocess.run(["gnuplot"], input=_script(path, title, curves, axes, style), text=True, check=True, timeout=120)


def draw(results, directory, name_of):
    """The files that were drawn, or why there are none, as lines for people."""
    if shutil.which("gnuplot") is None:
        return ["none: gnuplot is not here (install gnuplot-nox)"]
    wanted = [(run, name, title, _distribution(name), ["set logscale x", "set xlabel 'ms'", "set yrange [0:100]",
                                                       "set ylabel '% of samples'"], "lines lw 2")
              for run, name, title in DISTRIBUTIONS]
    wanted += [(run, name, title, _series(name), ["set logscale y", "set xlabel 's since the fault'", "set ylabel 'ms'"],
                "points pt 7 ps 0.3") for run, name, title in SERIES]
    drawn = []
    directory.mkdir(exist_ok=True)
    for run, name, title, read, axes, style in wanted:
        curves = {name_of(column): points for column, points in _of_one_round(results, run, read).items()}
        path = directory / f"{run}-{name}.svg"
        if not curves:
            continue
        try:
            _plot(path, title, curves, axes, style)
            drawn.append(f"[{title}](plots/{path.name})")
        except (OSError, subprocess.SubprocessError) as error:
            drawn.append(f"{title}: gnuplot failed: {error}")
    return drawn
