"""Results for people: tables for a terminal, and Markdown for docs/benchmarks.md.

`python -m benchmarks.report PAGE.md [--results FILE] [--newest FILE] [--micro FILE]` puts the
tables between the markers of a page again, without running anything.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks import goals
from benchmarks.machine import one_line

__all__ = [
    "FIGURES",
    "MICRO",
    "NEWEST",
    "markdown",
    "micro_markdown",
    "put_between_markers",
    "short_markdown",
    "text",
]

# The sections of a page that are written here.
FIGURES, NEWEST, MICRO = "figures", "newest", "micro"

RAW_COLUMNS = (
    "asyncrev",
    "asyncrev-inline",
    "asyncrev-any",
    "asyncrev-uvloop",
    "asyncio",
    "uvloop",
    "uvloop-numpy",
    "aiofastnet",
    "janus",
    "culsans",
    "executor",
)
FRAMED_COLUMNS = (
    "asyncrev",
    "asyncrev-any",
    "asyncrev-uvloop",
    "by-hand-asyncio",
    "streams-uvloop",
    "streams-asyncio",
)
UNITS = {"messages_per_s": "msg/s", "mib_per_s": "MiB/s", "p50_us": "µs"}


def how(results: dict[str, Any]) -> str:
    """Return in a sentence or two how the figures were made."""
    settings = results["settings"]
    return (
        f"{settings['rounds']} rounds of {settings['seconds']:g} s per server and scenario, all "
        f"servers in turns; closed loop, every reply verified; load generator on the same machine."
        f"{_over(results.get('tls'))}"
    )


def _over(used_tls: dict[str, str] | None) -> str:
    if used_tls is None:
        return ""
    return f" TLS {used_tls['version']}, a certificate with a key of {used_tls['key'].upper()}."


def text(results: dict[str, Any]) -> str:
    """Return a table for each scenario."""
    lines = [one_line(results["machine"]), how(results)]
    for name, scenario in results["scenarios"].items():
        lines += ["", f"## {name}: {scenario['title']}", _text_head(scenario)]
        for label, server in scenario["servers"].items():
            lines.append(_text_row(scenario, label, server))
    return "\n".join(lines)


def _text_head(scenario: dict[str, Any]) -> str:
    ratio = f"to {scenario['reference']}" if scenario["reference"] else "no reference"
    return (
        f"{'':16}{UNITS[scenario['headline']]:>11}  {ratio:22}{'p50 us':>8}{'p99 us':>9}"
        f"{'CPU us/msg':>12}{'client cores':>14}{'lag p99 us':>12}  "
        "batch; wakes, deliveries per message"
    )


def _text_row(scenario: dict[str, Any], label: str, server: dict[str, Any]) -> str:
    median, ratio = server["median"], server["ratio"]
    if not median:
        return f"{label:16}FAILED  {server['failures'][-1] if server['failures'] else ''}"
    ratio_text = ""
    if ratio is not None:
        ratio_text = f"{ratio['median']:.2f} ({ratio['low']:.2f}..{ratio['high']:.2f})"
    row = (
        f"{label:16}{median[scenario['headline']]:>11,.0f}  {ratio_text:22}"
        f"{median['p50_us']:>8.0f}{median['p99_us']:>9.0f}{median['cpu_us_per_message']:>12.2f}"
        f"{median['client_cores']:>14.2f}"
    )
    row += f"{median['lag_p99_us']:>12.0f}" if "lag_p99_us" in median else f"{'':12}"
    if "entries_per_batch" in median:
        wakes = median["worker_wakes_per_message"] + median["loop_wakes_per_message"]
        row += (
            f"  {median['entries_per_batch']:.1f} (most {median['largest_batch']:.0f}), "
            f"{wakes:.3f}, {median['deliveries_per_message']:.3f}"
        )
    if median.get("rss_bytes_per_idle"):
        row += f"  {median['rss_bytes_per_idle'] / 1024:.1f} KiB per idle connection"
    if server["errors"] or server["failures"]:
        row += f"  ERRORS {server['errors']}, FAILED RUNS {len(server['failures'])}"
    return row


# -- Markdown ------------------------------------------------------------------------------------


def markdown(results: dict[str, Any]) -> str:
    """Return the tables that docs/benchmarks.md holds between its markers."""
    scenarios = results["scenarios"]
    parts = _head_and_ratios(results)
    parts.append("CPU time of the server, µs per message:")
    parts.append(_medians(scenarios, "cpu_us_per_message", "{:.2f}"))
    parts.append(
        "Latency of a message, p50 / p99 in µs (closed loop: at the depth of the scenario):"
    )
    parts.append(_latencies(scenarios))
    parts.append(
        "How late the server's loop is, p99 in µs (uvloop's clock counts whole milliseconds):"
    )
    parts.append(_medians(scenarios, "lag_p99_us", "{:,.0f}"))
    parts.append("Batches and wake-ups of asyncrev's two threads:")
    parts.append(_threads(scenarios))
    if any(_idle_servers(s) for s in scenarios.values()):
        parts.append("Memory of an idle connection, KiB of the server's resident set:")
        parts.append(_medians(scenarios, "rss_bytes_per_idle", "{:.1f}", divide_by=1024))
    return "\n\n".join(parts) + "\n"


def short_markdown(results: dict[str, Any]) -> str:
    """Return the goals, the ratios and the cost, for another interpreter's section."""
    parts = _head_and_ratios(results)
    parts.append("CPU time of the server, µs per message:")
    parts.append(_medians(results["scenarios"], "cpu_us_per_message", "{:.2f}"))
    return "\n\n".join(parts) + "\n"


def _head_and_ratios(results: dict[str, Any]) -> list[str]:
    scenarios = results["scenarios"]
    raw = {name: s for name, s in scenarios.items() if s["framing"] == "raw"}
    framed = {name: s for name, s in scenarios.items() if s["framing"] != "raw"}
    parts = [f"{one_line(results['machine'])}.\n\n{how(results)} {results['started'][:10]}."]
    parts += _goals(scenarios)
    if raw:
        parts.append("Raw chunks; ratios to a one-thread C server, more is better:")
        parts.append(_ratios(raw, RAW_COLUMNS))
    if framed:
        parts.append("Frames; ratios to a protocol written by hand on uvloop, more is better:")
        parts.append(_ratios(framed, FRAMED_COLUMNS))
    return parts


def _goals(scenarios: dict[str, Any]) -> list[str]:
    """Return a table of goals and what was reached, and a sentence on idle connections."""
    measured = [(goal, goals.reached(goal, scenarios)) for goal in goals.GOALS]
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for goal, times in measured:
        if times is not None:
            figure = f"**{times:.2f}**" if times >= goal.times else f"{times:.2f}"
            row = cells.setdefault((goal.scenario, goal.ours), {})
            row[goal.peer] = f"{figure} of {goal.times:.3g}"
    parts = []
    if cells:
        peers = list(dict.fromkeys(peer for row in cells.values() for peer in row))
        rows = []
        for (name, ours), row in cells.items():
            title = scenarios[name]["title"] + ("" if ours == "asyncrev" else f" ({ours})")
            rows.append([title, *(row.get(peer, "") for peer in peers)])
        parts.append("Ratio to each peer, and the target; bold: reached.")
        parts.append(_table(["", *peers], rows))
    crowd = goals.memory_and_cost(scenarios)
    if crowd is not None:
        parts.append(
            f"An idle connection takes {crowd[0] / 1024:.1f} KiB (target: at most "
            f"{goals.IDLE_BYTES // 1024}); beside 10,000 of them a message costs {crowd[1]:.2f} "
            f"times what it costs with 50 connections (target: at most {goals.CROWD_COST})."
        )
    return parts


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


def put_between_markers(path: Path, section: str, content: str) -> None:
    """Replace what is between `<!-- SECTION: begin -->` and `<!-- SECTION: end -->` in a file.

    Raises:
        ValueError: the file has not both of them.
    """
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    before, found_begin, rest = path.read_text(encoding="utf-8").partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise ValueError(f"{path} has not both markers, {begin} and {end}")
    path.write_text(f"{before}{begin}\n\n{content}\n{end}{after}", encoding="utf-8")


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _labels(scenarios: dict[str, Any], wanted: tuple[str, ...] | None = None) -> list[str]:
    """Return the servers that took part, those that are `wanted` in that order."""
    found = dict.fromkeys(label for s in scenarios.values() for label in s["servers"])
    return list(found) if wanted is None else [label for label in wanted if label in found]


def _ratios(scenarios: dict[str, Any], columns: tuple[str, ...]) -> str:
    labels = _labels(scenarios, columns)
    reference = next(s["reference"] or "" for s in scenarios.values())
    rows = []
    for scenario in scenarios.values():
        servers = scenario["servers"]
        row = [scenario["title"]]
        base = servers.get(scenario["reference"])
        unit = UNITS[scenario["headline"]]
        row.append(f"{base['median'][scenario['headline']]:,.0f} {unit}" if base else "")
        for label in labels:
            ratio = servers.get(label, {}).get("ratio")
            cell = ""
            if ratio:
                figure = f"{ratio['median']:.2f}"
                cell = f"**{figure}**" if label == "asyncrev" else figure
                cell += f" <sub>{ratio['low']:.2f}–{ratio['high']:.2f}</sub>"  # noqa: RUF001
            row.append(cell)
        rows.append(row)
    return _table(["", reference, *labels], rows)


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


def _latencies(scenarios: dict[str, Any]) -> str:
    labels = _labels(scenarios)
    rows = []
    for scenario in scenarios.values():
        row = [scenario["title"]]
        for label in labels:
            median = scenario["servers"].get(label, {}).get("median")
            row.append(f"{median['p50_us']:,.0f} / {median['p99_us']:,.0f}" if median else "")
        rows.append(row)
    return _table(["", *labels], rows)


def _threads(scenarios: dict[str, Any]) -> str:
    head = ["", "entries per batch", "largest", "sizes of batches", "worker wakes per message"]
    head += ["loop wakes per message", "deliveries per message", "entries that waited for a slot"]
    rows = []
    for scenario in scenarios.values():
        server = scenario["servers"].get("asyncrev", {})
        median = server.get("median", {})
        if "entries_per_batch" in median:
            rows.append(
                [
                    scenario["title"],
                    f"{median['entries_per_batch']:.1f}",
                    f"{median['largest_batch']:.0f}",
                    _sizes(server["batch_sizes"]),
                    f"{median['worker_wakes_per_message']:.4f}",
                    f"{median['loop_wakes_per_message']:.4f}",
                    f"{median['deliveries_per_message']:.4f}",
                    f"{100 * median['overflows_per_entry']:.0f} %",
                ]
            )
    return _table(head, rows)


def _sizes(batch_sizes: dict[str, int]) -> str:
    """Return the share of batches up to each power of two, those of one per cent and more."""
    batches = sum(batch_sizes.values())
    shares = [(bound, 100 * count / batches) for bound, count in batch_sizes.items()]
    return ", ".join(f"≤{bound}: {share:.0f} %" for bound, share in shares if share >= 1)


def _idle_servers(scenario: dict[str, Any]) -> bool:
    return any(s["median"].get("rss_bytes_per_idle") for s in scenario["servers"].values())


def main() -> None:
    """Put what is asked for into a page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("--results", type=Path, help="what benchmarks.run --json wrote")
    parser.add_argument("--newest", type=Path, help="the same, by the newest interpreter")
    parser.add_argument("--micro", type=Path, help="what benchmarks.micro -o wrote")
    options = parser.parse_args()
    if options.results is not None:
        results = json.loads(options.results.read_text(encoding="utf-8"))
        put_between_markers(options.page, FIGURES, markdown(results))
    if options.newest is not None:
        results = json.loads(options.newest.read_text(encoding="utf-8"))
        put_between_markers(options.page, NEWEST, short_markdown(results))
    if options.micro is not None:
        suite = json.loads(options.micro.read_text(encoding="utf-8"))
        put_between_markers(options.page, MICRO, micro_markdown(suite))


if __name__ == "__main__":
    main()
