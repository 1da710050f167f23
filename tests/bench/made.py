"""Figures of runs that never were."""

from asyncrev.bench.figures import Figures
from asyncrev.bench.measurement import Interval, Outcome
from asyncrev.bench.plan import Plan


def figures(
    rates: list[int] | None = None,
    outcome: Outcome | None = None,
    latency_units: int = 1000,
    lags: dict[int, int] | None = None,
    **settings: object,
) -> Figures:
    """Return figures of intervals of one second with so many messages each."""
    rates = [1000] * 10 if rates is None else rates
    intervals = [
        Interval(
            float(n),
            n + 1.0,
            rate,
            64 * rate,
            64 * rate,
            0,
            0.25,
            {latency_units: rate - 1, 5 * latency_units + n: 1} if rate else {},
            dict(lags or {}),
        )
        for n, rate in enumerate(rates)
    ]
    outcome = Outcome(cores=[0.25]) if outcome is None else outcome
    return Figures(Plan(**settings), intervals, outcome)  # type: ignore[arg-type]
