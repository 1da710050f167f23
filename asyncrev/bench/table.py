"""The figures of a run as text, for people."""

from collections.abc import Sequence

from asyncrev.bench.comparison import Ratio
from asyncrev.bench.figures import Figures
from asyncrev.bench.thresholds import Threshold

__all__ = ["as_text", "shown_bytes", "shown_us"]


def as_text(
    figures: Figures,
    thresholds: Sequence[Threshold] = (),
    ratios: Sequence[Ratio] = (),
    differing: Sequence[str] = (),
) -> str:
    """Return the table, which ends without a line end."""
    plan, outcome = figures.plan, figures.outcome
    loop = (
        "closed loop"
        if plan.rate_per_s is None
        else f"open loop, {plan.rate_per_s:,.6g} messages/s asked for"
    )
    lines = [
        f"{plan.target}  {plan.framing}{' over TLS' if plan.tls else ''}, {plan.connections} "
        f"connections, {plan.depth} in flight each, {plan.size_bytes} bytes, {loop}",
        "",
        _row("messages", f"{figures.messages:,} in {figures.duration_s:.2f} s"),
        _row("rate", f"{figures.rate_per_s:,.0f} messages/s"),
    ]
    seconds = figures.duration_s or 1.0
    for name, nbytes in (("sent", figures.sent_bytes), ("received", figures.received_bytes)):
        lines.append(_row(name, f"{shown_bytes(nbytes)}, {shown_bytes(nbytes / seconds)}/s"))
    if figures.latencies.count:
        lines.append(_row("latency", ""))
        for name, value in figures.percentiles_us.items():
            lines.append(_row(f"  {name}", shown_us(value)))
    errors = ", ".join(f"{kind} {times:,}" for kind, times in sorted(outcome.errors.items()))
    lines.append(_row("errors", errors or "none"))
    if outcome.unsent:
        lines.append(
            _row("never sent", f"{outcome.unsent:,} messages were due while others were in flight")
        )
    cores = ", ".join(f"{100 * cores:.0f} %" for cores in outcome.cores)
    lag = f"; sent late, p99: {shown_us(figures.lags.percentile_us(99.0))}"
    lines.append(_row("client", f"{cores or '0 %'} of a core{lag if figures.lags.count else ''}"))
    lines += [_threshold(figures, one) for one in thresholds]
    if ratios:
        lines += ["", "to the earlier run" + _differing(differing)]
        lines += [_row(f"  {one.name}", _ratio(one)) for one in ratios]
    return "\n".join(lines)


def shown_bytes(nbytes: float) -> str:
    """Return a number of bytes with a unit: 12.3 MiB."""
    if nbytes < 1024:
        return f"{nbytes:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        nbytes /= 1024
        if nbytes < 1024:
            return f"{nbytes:.1f} {unit}"
    return f"{nbytes / 1024:.1f} TiB"


def shown_us(value_us: float) -> str:
    """Return a time with a unit: 123 us, 1.23 ms."""
    if value_us < 1000:
        return f"{value_us:.1f} us" if value_us < 100 else f"{value_us:.0f} us"
    if value_us < 1e6:
        return f"{value_us / 1e3:.3g} ms"
    return f"{value_us / 1e6:.3g} s"


def _row(name: str, text: str) -> str:
    return f"{name:<14}{text}".rstrip()


def _threshold(figures: Figures, threshold: Threshold) -> str:
    state = "kept" if threshold.is_kept(figures) else "BROKEN"
    return _row("threshold", f"{threshold.text}: {state}, {threshold.shown_value(figures)}")


def _differing(differing: Sequence[str]) -> str:
    return f" (which had other settings: {'; '.join(differing)})" if differing else ""


def _ratio(ratio: Ratio) -> str:
    if ratio.low is None or ratio.high is None:
        return f"{ratio.ratio:.3f}, {ratio.verdict}"
    return f"{ratio.ratio:.3f} ({ratio.low:.3f} to {ratio.high:.3f}), {ratio.verdict}"
