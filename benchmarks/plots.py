"""Draws results: `python -m benchmarks.plots RESULTS.json DIRECTORY`, or `--plot` of the runner."""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")  # files only; there may be no display

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.scenarios import START

__all__ = ["draw"]

OURS, REFERENCE, OTHERS = "#c1440e", "#444444", "#8fa8bf"
COLUMNS = 2
DOTS_PER_INCH = 110


def draw(results: dict[str, Any], directory: Path) -> list[Path]:
    """Write ratios.png and latency.png to `directory`; return their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    scenarios = results["scenarios"]
    drawn = []
    rated = {n: s for n, s in scenarios.items() if s["reference"] is not None}
    if rated:
        drawn.append(directory / "ratios.png")
        _draw_ratios(rated, results, drawn[-1])
    # Under a deep pipeline a latency tells only how deep it is.
    timed = {n: s for n, s in scenarios.items() if s["depth"] == 1 and s["headline"] != START}
    if timed:
        drawn.append(directory / "latency.png")
        _draw_latencies(timed, results, drawn[-1])
    return drawn


def _color(label: str, reference: str | None) -> str:
    if label.startswith("asyncrev"):
        return OURS
    return REFERENCE if label == reference else OTHERS


def _grid(count: int, bars: int, title: str) -> tuple[Any, list[Axes]]:
    rows = -(-count // COLUMNS)
    height = rows * (0.95 + 0.27 * bars) + 0.9
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(13, height), squeeze=False)
    figure.suptitle(title, fontsize=12, x=0.01, ha="left")
    flat = list(axes.flat)
    for unused in flat[count:]:
        unused.set_visible(False)
    return figure, flat[:count]


def _source(results: dict[str, Any]) -> str:
    machine, settings = results["machine"], results["settings"]
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['python']}, "
        f"commit {machine['commit']}, {settings['rounds']} rounds of {settings['seconds']:g} s"
    )


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout(rect=(0, 0, 1, 0.985))
    figure.savefig(path, dpi=DOTS_PER_INCH)
    plt.close(figure)


def _draw_ratios(scenarios: dict[str, Any], results: dict[str, Any], path: Path) -> None:
    most = max(len(scenario["servers"]) for scenario in scenarios.values())
    title = (
        "Speed as a ratio to the reference: bar to the median, line over the middle half; longer "
        f"is better. Number: median, CPU time of the server per message\n{_source(results)}"
    )
    figure, axes = _grid(len(scenarios), most, title)
    for axis, scenario in zip(axes, scenarios.values(), strict=True):
        found = [
            (label, server["ratio"], server["cpu"])
            for label, server in scenario["servers"].items()
            if server["ratio"] is not None
        ]
        found.sort(key=lambda row: row[1]["median"])
        labels = [label for label, _, _ in found]
        middles = [ratio["median"] for _, ratio, _ in found]
        below = [ratio["median"] - ratio["low"] for _, ratio, _ in found]
        above = [ratio["high"] - ratio["median"] for _, ratio, _ in found]
        colors = [_color(label, scenario["reference"]) for label in labels]
        axis.barh(labels, middles, color=colors, xerr=(below, above), ecolor="#222222", capsize=2)
        rightmost = max(ratio["high"] for _, ratio, _ in found)
        for place, (_, ratio, cpu) in enumerate(found):
            text = f"{ratio['median']:.2f}"
            if cpu is not None:
                us = cpu["median"]
                text += f", {us:,.0f} µs" if us >= 100 else f", {us:.3g} µs"
            axis.text(ratio["high"] + 0.015 * rightmost, place, text, va="center", fontsize=9)
        axis.axvline(1.0, color="#222222", linewidth=0.8, linestyle=":")
        axis.set_xlim(0, 1.25 * rightmost)
        axis.set_title(f"{scenario['title']}  (1 = {scenario['reference']})", fontsize=10)
        _plain(axis)
    _save(figure, path)


def _draw_latencies(scenarios: dict[str, Any], results: dict[str, Any], path: Path) -> None:
    most = max(len(scenario["servers"]) for scenario in scenarios.values())
    title = (
        "Latency of a message in µs: bar to the median, line to the 99th percentile; "
        f"shorter is better; closed loop\n{_source(results)}"
    )
    figure, axes = _grid(len(scenarios), most, title)
    for axis, scenario in zip(axes, scenarios.values(), strict=True):
        found = [
            (label, server["median"])
            for label, server in scenario["servers"].items()
            if server["median"]
        ]
        found.sort(key=lambda pair: -pair[1]["p50_us"])
        labels = [label for label, _ in found]
        middles = [median["p50_us"] for _, median in found]
        tails = [max(0.0, median["p99_us"] - median["p50_us"]) for _, median in found]
        colors = [_color(label, scenario["reference"]) for label in labels]
        none = [0.0] * len(found)
        axis.barh(labels, middles, color=colors, xerr=(none, tails), ecolor="#222222", capsize=2)
        rightmost = max(median["p99_us"] for _, median in found)
        for place, (_, median) in enumerate(found):
            text = f"{median['p50_us']:,.0f} / {median['p99_us']:,.0f}"
            off = max(median["p50_us"], median["p99_us"]) + 0.015 * rightmost
            axis.text(off, place, text, va="center", fontsize=9)
        axis.set_xlim(0, 1.25 * rightmost)
        axis.set_title(scenario["title"], fontsize=10)
        _plain(axis)
    _save(figure, path)


def _plain(axis: Axes) -> None:
    axis.tick_params(labelsize=9)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]))
