"""The report of a run as one HTML file, which asks for nothing else."""

import html as escaping
import json
import pathlib
import time
from collections.abc import Sequence
from typing import Any

from asyncrev.bench.comparison import Ratio
from asyncrev.bench.figures import Figures
from asyncrev.bench.table import shown_bytes, shown_us
from asyncrev.bench.thresholds import Threshold
from asyncrev.version import __version__

__all__ = ["html"]

_PACKAGE = pathlib.Path(__file__).parents[1]
_OWN = _PACKAGE / "bench" / "assets"
_UPLOT = _PACKAGE / "admin" / "assets"  # where it is kept with its licence

# Nothing may be loaded, and nothing run but what is in the file.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def html(
    figures: Figures, thresholds: Sequence[Threshold] = (), ratios: Sequence[Ratio] = ()
) -> str:
    """Return the page."""
    document = figures.as_dict()
    uplot = _text(_UPLOT / "uPlot.iife.min.js")
    licence = _text(_UPLOT / "uPlot.LICENSE.txt").replace("*/", "")
    title = f"asyncrev bench {figures.plan.target}"
    sections = [
        _notices(figures),
        _tiles(figures),
        _plot("rate", "Messages per second"),
        _plot("latency", "Latency over time"),
        _plot("percentiles", "Latency by percentile"),
        _thresholds(figures, thresholds),
        _ratios(ratios),
        _intervals(document["intervals"]),
    ]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{_escaped(title)}</title>
<link rel="icon" href="data:,">
<style>{_text(_UPLOT / "uPlot.min.css")}</style>
<style>{_text(_OWN / "report.css")}</style>
</head>
<body>
<header><h1>{_escaped(title)}</h1><p>{_escaped(_settings(figures))}</p></header>
<main>
{"".join(sections)}</main>
<footer>asyncrev {__version__}, {time.strftime("%Y-%m-%d %H:%M:%S %z")}</footer>
<script type="application/json" id="data">{_data(figures, document)}</script>
<script>/* {licence} */
{uplot}</script>
<script>{_text(_OWN / "report.js")}</script>
</body>
</html>
"""


def _data(figures: Figures, document: dict[str, Any]) -> str:
    """Return what is plotted, as JSON that cannot end the element that it is in."""
    intervals = document["intervals"]
    at_s = [one["to_s"] for one in intervals]
    curve = figures.percentile_curve()
    data = {
        "rate": [at_s, [one["messages_per_s"] for one in intervals]],
        "latency": [
            at_s,
            *([one["latency_us"][name] or None for one in intervals] for name in _LINES),
        ],
        "percentiles": [[1 / (1 - p / 100) for p, _ in curve], [us for _, us in curve]],
    }
    return json.dumps(data).replace("<", "\\u003c")


_LINES = ("p50", "p99", "max")


def _settings(figures: Figures) -> str:
    plan = figures.plan
    loop = (
        "closed loop" if plan.rate_per_s is None else f"open loop of {plan.rate_per_s:,.6g} per s"
    )
    return (
        f"{plan.framing}{' over TLS' if plan.tls else ''}, {plan.connections} connections, "
        f"{plan.depth} in flight each, {plan.size_bytes} bytes, {loop}, {figures.duration_s:.1f} s"
    )


def _notices(figures: Figures) -> str:
    notices = []
    if figures.outcome.mismatch is not None:
        notices.append(f"A reply was wrong: {figures.outcome.mismatch}")
    if figures.errors:
        kinds = ", ".join(f"{kind} {times}" for kind, times in figures.outcome.errors.items())
        notices.append(f"There were errors: {kinds}")
    if figures.outcome.unsent:
        notices.append(f"{figures.outcome.unsent:,} messages were due and never sent")
    if figures.bottleneck is not None:
        notices.append(f"The client was the bottleneck: {figures.bottleneck}")
    if figures.outcome.is_interrupted:
        notices.append("The run was interrupted")
    return "".join(
        f'<section class="notice"><p>{_escaped(text)}</p></section>\n' for text in notices
    )


def _tiles(figures: Figures) -> str:
    tiles = {
        "Messages per second": f"{figures.rate_per_s:,.0f}",
        "Messages": f"{figures.messages:,}",
        "Received per second": f"{shown_bytes(figures.received_bytes / figures.duration_s)}",
        **{name: shown_us(value) for name, value in figures.percentiles_us.items()},
        "Client": ", ".join(f"{100 * cores:.0f} %" for cores in figures.outcome.cores),
    }
    rows = "".join(
        f"<div><dt>{_escaped(name)}</dt><dd>{_escaped(text)}</dd></div>\n"
        for name, text in tiles.items()
    )
    return f"<dl>\n{rows}</dl>\n"


def _plot(name: str, title: str) -> str:
    return (
        f'<section><h2>{title}</h2><div class="plot" id="{name}" role="img" '
        f'aria-label="{title}; the values are in the table below"></div></section>\n'
    )


def _thresholds(figures: Figures, thresholds: Sequence[Threshold]) -> str:
    rows = []
    for one in thresholds:
        state = "kept" if one.is_kept(figures) else "broken"
        rows.append(
            f"<tr><th>{_escaped(one.text)}</th><td>{one.shown_value(figures)}</td>"
            f'<td class="{state}">{state}</td></tr>'
        )
    return _table("Thresholds", ("limit", "value", ""), rows) if rows else ""


def _ratios(ratios: Sequence[Ratio]) -> str:
    rows = []
    for one in ratios:
        spread = "" if one.low is None else f"{one.low:.3f} to {one.high:.3f}"
        rows.append(
            f"<tr><th>{one.name}</th><td>{one.ratio:.3f}</td><td>{spread}</td>"
            f"<td>{one.verdict}</td></tr>"
        )
    heads = ("figure", "ratio", "95 % spread", "")
    return _table("To the earlier run", heads, rows) if rows else ""


def _intervals(intervals: Sequence[dict[str, Any]]) -> str:
    names = ("p50", "p90", "p99", "max")
    rows = []
    for one in intervals:
        cells = [f"{one['messages_per_s']:,.0f}"]
        cells += [shown_us(one["latency_us"][name]) for name in names]
        cells += [str(one["errors"]), f"{100 * one['client_cores']:.0f} %"]
        body = "".join(f"<td>{cell}</td>" for cell in cells)
        rows.append(f"<tr><th>{one['from_s']:.1f} to {one['to_s']:.1f} s</th>{body}</tr>")
    return _table("Intervals", ("time", "messages/s", *names, "errors", "client"), rows)


def _table(title: str, heads: Sequence[str], rows: Sequence[str]) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    body = "\n".join(rows).replace("<th>", '<th scope="row">')
    return (
        f'<section><h2>{title}</h2><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div></section>\n"
    )


def _escaped(text: str) -> str:
    return escaping.escape(text)


def _text(path: pathlib.Path) -> str:
    return path.read_text(encoding="utf-8")
