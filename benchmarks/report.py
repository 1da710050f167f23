"""Results for people: a table for a terminal, and the tables of docs/benchmarks.md.

`python -m benchmarks.report PAGE.md [--results FILE] [--newest FILE] [--micro FILE]` puts the
tables between the markers of a page again, without running anything.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.machine import one_line
from benchmarks.scenarios import START
from benchmarks.tables import UNITS, how, markdown, micro_markdown, short_markdown

__all__ = ["FIGURES", "MICRO", "NEWEST", "put_between_markers", "text"]

# The sections of a page that are written here.
FIGURES, NEWEST, MICRO = "figures", "newest", "micro"


def text(results: dict[str, Any]) -> str:
    """Return a table for each scenario."""
    lines = [one_line(results["machine"]), how(results)]
    for name, scenario in results["scenarios"].items():
        is_start = scenario["headline"] == START
        head = _start_head if is_start else _load_head
        row = _start_row if is_start else _load_row
        lines += ["", f"## {name}: {scenario['title']}", head(scenario)]
        for label, server in scenario["servers"].items():
            if server["median"]:
                lines.append(row(scenario, label, server) + _failures(server))
            else:
                last = server["failures"][-1] if server["failures"] else ""
                lines.append(f"{label:18}FAILED  {last}")
    return "\n".join(lines)


def _load_head(scenario: dict[str, Any]) -> str:
    ratio = f"to {scenario['reference']}" if scenario["reference"] else "no reference"
    return (
        f"{'':18}{UNITS[scenario['headline']]:>11}  {ratio:19}{'CPU us/msg':>20}"
        f"{'p50 us':>8}{'p99 us':>9}{'client cores':>14}{'lag p99 us':>12}  "
        "batch; wakes, deliveries per message"
    )


def _load_row(scenario: dict[str, Any], label: str, server: dict[str, Any]) -> str:
    median = server["median"]
    row = (
        f"{label:18}{median[scenario['headline']]:>11,.0f}  {_spread(server['ratio']):19}"
        f"{_spread(server['cpu']):>20}"
        f"{median['p50_us']:>8.0f}{median['p99_us']:>9.0f}{median['client_cores']:>14.2f}"
    )
    row += f"{median['lag_p99_us']:>12.0f}" if "lag_p99_us" in median else f"{'':12}"
    if "entries_per_batch" in median:
        wakes = median["worker_wakes_per_message"] + median["loop_wakes_per_message"]
        row += (
            f"  {median['entries_per_batch']:.1f}, "
            f"{wakes:.3f}, {median['deliveries_per_message']:.3f}"
        )
    if median.get("rss_bytes_per_idle"):
        row += f"  {median['rss_bytes_per_idle'] / 1024:.1f} KiB per idle connection"
    return row


def _start_head(scenario: dict[str, Any]) -> str:
    ratio = f"to {scenario['reference']}" if scenario["reference"] else "no reference"
    return f"{'':18}{'ms':>11}  {ratio:19}{'CPU ms':>9}{'MiB then':>10}"


def _start_row(scenario: dict[str, Any], label: str, server: dict[str, Any]) -> str:
    median = server["median"]
    return (
        f"{label:18}{median['start_ms']:>11,.0f}  {_spread(server['ratio']):19}"
        f"{median['start_cpu_ms']:>9.0f}{median['server_rss_bytes'] / 1024 / 1024:>10.1f}"
    )


def _spread(spread: dict[str, float] | None) -> str:
    if spread is None:
        return ""
    return f"{spread['median']:.2f} ({spread['low']:.2f}..{spread['high']:.2f})"


def _failures(server: dict[str, Any]) -> str:
    if not (server["errors"] or server["failures"]):
        return ""
    last = f" ({server['failures'][-1]})" if server["failures"] else ""
    return f"  ERRORS {server['errors']}, FAILED TURNS {len(server['failures'])}{last}"


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
