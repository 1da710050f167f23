"""The plots of a run as a PNG, made by matplotlib."""

import importlib
import io

from asyncrev.bench.figures import Figures

__all__ = ["png"]

_SIZE_INCHES = (9.0, 11.0)
_DOTS_PER_INCH = 110


def png(figures: Figures) -> bytes:
    """Return the picture: rate and latency over time, and the percentiles. Imports matplotlib."""
    # By name, because type checkers need not have it.
    figure_class = importlib.import_module("matplotlib.figure").Figure
    canvas_class = importlib.import_module("matplotlib.backends.backend_agg").FigureCanvasAgg

    document = figures.as_dict()
    intervals = document["intervals"]
    at_s = [one["to_s"] for one in intervals]
    picture = figure_class(figsize=_SIZE_INCHES, dpi=_DOTS_PER_INCH, layout="constrained")
    canvas_class(picture)
    rate, latency, percentiles = picture.subplots(3)
    picture.suptitle(f"asyncrev bench {figures.plan.target}")

    rate.plot(at_s, [one["messages_per_s"] for one in intervals], marker="o", markersize=3)
    rate.set(ylabel="messages per second", xlabel="seconds")
    rate.set_ylim(0, 1.1 * max(1, *(one["messages_per_s"] for one in intervals)))
    for name, style in (("p50", "-"), ("p99", "--"), ("max", ":")):
        values = [one["latency_us"][name] / 1000 or None for one in intervals]
        latency.plot(at_s, values, style, label=name)
    latency.set(ylabel="latency, ms", xlabel="seconds")
    latency.legend()
    curve = figures.percentile_curve()
    percentiles.plot([1 / (1 - p / 100) for p, _ in curve], [us / 1000 for _, us in curve])
    percentiles.set(xlabel="percentile", ylabel="latency, ms")
    percentiles.set_xscale("log")
    ticks = [(1, "0"), (10, "90"), (100, "99"), (1000, "99.9"), (10_000, "99.99")]
    most = 1 / (1 - curve[-1][0] / 100) if curve else 1
    ticks = [tick for tick in ticks if tick[0] <= most * 1.01]
    percentiles.set_xticks([at for at, _ in ticks], [name for _, name in ticks])
    percentiles.minorticks_off()
    for axes in (latency, percentiles):
        if figures.latencies.count:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(
                lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else ""
            )
    for axes in (rate, latency, percentiles):
        axes.grid(visible=True, alpha=0.3)
    data = io.BytesIO()
    picture.savefig(data, format="png")
    return data.getvalue()
