"""Results as the Markdown tables of docs/benchmarks.md."""

import statistics
from typing import Any

from benchmarks import goals
from benchmarks.machine import one_line
from benchmarks.scenarios import BULK, LATENCY, PING_PONG, START

__all__ = ["UNITS", "how", "markdown", "micro_markdown", "short_markdown"]

UNITS = {PING_PONG: "msg/s", BULK: "MiB/s", LATENCY: "µs", START: "ms"}
# Those whose threads exchange batches of entries.
OURS = ("asyncrev", "asyncrev-python")


def how(results: dict[str, Any]) -> str:
    """Return in a sentence or two how the figures were made."""
    settings = results["settings"]
    return (
        f"{settings['rounds']} rounds of {settings['seconds']:g} s per server and scenario, "
        f"servers that stay up, in turns of random order; closed loop, every reply verified; load "
        f"generator on the same machine.{_over(results.get('tls'))}"
    )


def _over(used_tls: dict[str, str] | None) -> str:
    if used_tls is None:
        return ""
    return f" TLS {used_tls['version']}, a certificate with a key of {used_tls['key'].upper()}."


def markdown(results: dict[str, Any]) -> str:
    """Return the tables that docs/benchmarks.md holds between its markers."""
    scenarios = results["scenarios"]
    sections = {
        "Latency of a message, p50 / p99 in µs (closed loop: at the depth of the scenario):": (
            _latencies(scenarios)
        ),
        "How late the server's loop is, p99 in µs (uvloop's clock counts whole milliseconds):": (
            _medians(scenarios, "lag_p99_us", "{:,.0f}")
        ),
        "Batches and wake-ups of asyncrev's two threads:": _threads(scenarios),
        "Memory of an idle connection, KiB of the server's resident set:": (
            _medians(scenarios, "rss_bytes_per_idle", "{:.1f}", divide_by=1024)
        ),
        "From the start of the process to listening:": _starts(scenarios),
    }
    return _joined([_goals_and_ratios(results)], sections) + "\n"


def short_markdown(results: dict[str, Any]) -> str:
    """Return the goals, the ratios and the cost, for another interpreter's section."""
    return _goals_and_ratios(results) + "\n"


def _joined(parts: list[str], sections: dict[str, str]) -> str:
    """Return parts, and sections whose tables have a row."""
    found = [f"{title}\n\n{table}" for title, table in sections.items() if table]
    return "\n\n".join([*parts, *found])


def _goals_and_ratios(results: dict[str, Any]) -> str:
    scenarios = results["scenarios"]
    parts = [f"{one_line(results['machine'])}.\n\n{how(results)} {results['started'][:10]}."]
    parts += _goals(scenarios)
    second = "ratios to the server of the second column, more is better:"
    sections = {
        f"Raw chunks; {second}": _ratios(_some(scenarios, framed=False, tls=False)),
        f"Frames; {second}": _ratios(_some(scenarios, framed=True, tls=False)),
        f"Over TLS; {second}": _ratios(_some(scenarios, framed=False, tls=True)),
        f"Frames over TLS; {second}": _ratios(_some(scenarios, framed=True, tls=True)),
        "CPU time of the server, µs per message:": _cpu(scenarios),
    }
    return _joined(parts, sections)


def _some(scenarios: dict[str, Any], *, framed: bool, tls: bool) -> dict[str, Any]:
    return {
        name: s
        for name, s in scenarios.items()
        if (s["framing"] != "raw") == framed and s["tls"] == tls and s["headline"] != START
    }


def _goals(scenarios: dict[str, Any]) -> list[str]:
    """Return a table of goals and what was reached; nothing if none was measured."""
    rows = []
    reached = 0
    for goal in goals.GOALS:
        found = goals.measured(goal, scenarios)
        if found is None:
            continue
        figure = goal.told(found["median"])
        if goal.is_reached(found["median"]):
            figure = f"**{figure}**"
            reached += 1
        half = _half(goal.told(found["low"]), goal.told(found["high"]))
        rows.append(
            [
                scenarios[goal.scenario]["title"],
                f"{goal.ours}, `{goal.figure}`",
                goal.compared_with,
                goal.told_bound,
                f"{figure} {half}",
            ]
        )
    if not rows:
        return []
    return [
        f"The targets, and ratios within a round; bold: reached ({reached} of {len(rows)}).",
        _table(["", "figure", "divided by that of", "target", "median, middle half"], rows),
    ]


def _half(low: str, high: str) -> str:
    return f"<sub>{low}–{high}</sub>"  # noqa: RUF001


def micro_markdown(suite: dict[str, Any]) -> str:
    """Return a table of what pyperf has written, of which nothing but the values is read."""
    rows = []
    for benchmark in suite["benchmarks"]:
        name = benchmark.get("metadata", suite["metadata"]).get(
            "name", suite["metadata"].get("name")
        )
        values = [value for run in benchmark["runs"] for value in run.get("values", [])]
        middle, spread = statistics.median(values), statistics.pstdev(values)
        rows.append([name, _time(middle), f"{100 * spread / middle:.0f} %"])
    return _table(["", "median", "standard deviation"], rows) + "\n"


def _time(seconds: float) -> str:
    if seconds < 1e-6:
        return f"{1e9 * seconds:.0f} ns"
    return f"{1e6 * seconds:.1f} µs"


def _table(head: list[str], rows: list[list[str]]) -> str:
    """Return a table; nothing without a row."""
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _labels(scenarios: dict[str, Any]) -> list[str]:
    """Return the servers that took part."""
    return list(dict.fromkeys(label for s in scenarios.values() for label in s["servers"]))


def _ratios(scenarios: dict[str, Any]) -> str:
    """Return ratios to the reference, which is one for all of these in a run."""
    reference = next((s["reference"] or "" for s in scenarios.values()), "")
    labels = [label for label in _labels(scenarios) if label != reference]
    rows = []
    for scenario in scenarios.values():
        servers = scenario["servers"]
        base = servers.get(scenario["reference"])
        unit = UNITS[scenario["headline"]]
        row = [scenario["title"]]
        row.append(f"{base['median'][scenario['headline']]:,.0f} {unit}" if base else "")
        for label in labels:
            ratio = servers.get(label, {}).get("ratio")
            figure = f"{ratio['median']:.2f}" if ratio else ""
            cell = f"**{figure}**" if figure and label == "asyncrev" else figure
            if ratio:
                cell += " " + _half(f"{ratio['low']:.2f}", f"{ratio['high']:.2f}")
            row.append(cell)
        rows.append(row)
    return _table(["", reference, *labels], rows)


def _cpu(scenarios: dict[str, Any]) -> str:
    loaded = {name: s for name, s in scenarios.items() if s["headline"] != START}
    labels = _labels(loaded)
    rows = []
    for scenario in loaded.values():
        row = [scenario["title"]]
        for label in labels:
            cpu = scenario["servers"].get(label, {}).get("cpu")
            half = _half(f"{cpu['low']:.2f}", f"{cpu['high']:.2f}") if cpu else ""
            row.append(f"{cpu['median']:.2f} {half}" if cpu else "")
        rows.append(row)
    return _table(["", *labels], rows)


def _medians(scenarios: dict[str, Any], name: str, form: str, divide_by: int = 1) -> str:
    labels = [
        label
        for label in _labels(scenarios)
        if any(s["servers"].get(label, {}).get("median", {}).get(name) for s in scenarios.values())
    ]
    rows = []
    for scenario in scenarios.values():
        found = [scenario["servers"].get(label, {}).get("median", {}).get(name) for label in labels]
        if any(found):
            cells = ["" if value is None else form.format(value / divide_by) for value in found]
            rows.append([scenario["title"], *cells])
    return _table(["", *labels], rows)


def _starts(scenarios: dict[str, Any]) -> str:
    scenario = next((s for s in scenarios.values() if s["headline"] == START), {"servers": {}})
    medians = {label: s["median"] for label, s in scenario["servers"].items() if s["median"]}
    figures = {
        "ms": ("start_ms", 1),
        "CPU time, ms": ("start_cpu_ms", 1),
        "resident set then, MiB": ("server_rss_bytes", 1024 * 1024),
    }
    rows = [
        [title, *(f"{median[name] / divide_by:.0f}" for median in medians.values())]
        for title, (name, divide_by) in figures.items()
    ]
    return _table(["", *medians], rows if medians else [])


def _latencies(scenarios: dict[str, Any]) -> str:
    labels = _labels(scenarios)
    rows = []
    for scenario in scenarios.values():
        row = [scenario["title"]]
        for label in labels:
            median = scenario["servers"].get(label, {}).get("median", {})
            known = "p50_us" in median
            row.append(f"{median['p50_us']:,.0f} / {median['p99_us']:,.0f}" if known else "")
        if any(row[1:]):
            rows.append(row)
    return _table(["", *labels], rows)


def _threads(scenarios: dict[str, Any]) -> str:
    head = ["", "server", "entries per batch"]
    head += ["worker wakes per message", "loop wakes per message", "deliveries per message"]
    head += ["entries that waited for a slot"]
    rows = []
    for scenario in scenarios.values():
        for label in OURS:
            server = scenario["servers"].get(label, {})
            median = server.get("median", {})
            if "entries_per_batch" in median:
                rows.append(
                    [
                        scenario["title"],
                        label,
                        f"{median['entries_per_batch']:.1f}",
                        f"{median['worker_wakes_per_message']:.4f}",
                        f"{median['loop_wakes_per_message']:.4f}",
                        f"{median['deliveries_per_message']:.4f}",
                        f"{100 * median['overflows_per_entry']:.0f} %",
                    ]
                )
    return _table(head, rows)
