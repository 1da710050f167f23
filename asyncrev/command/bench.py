"""`asyncrev bench`: load a server that answers what it receives, and report what it did."""

import contextlib
import importlib.util
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from asyncrev.bench.plan import ECHO, REVERSE, Plan
from asyncrev.command.bench_output import (
    STDOUT,
    Output,
    check_report,
    print_table,
    saved_path,
    write_files,
)
from asyncrev.command.exit_codes import EXIT_CLEAN, EXIT_RUNTIME_ERROR
from asyncrev.command.loading import load
from asyncrev.command.signals import EXIT_SIGNAL_BASE
from asyncrev.errors import SettingsError
from asyncrev.log_text import one_line

if TYPE_CHECKING:
    from asyncrev.bench.figures import Figures
    from asyncrev.bench.measurement import Interval, Outcome
    from asyncrev.bench.thresholds import Threshold

__all__ = [
    "EXIT_BOTTLENECK",
    "EXIT_MISMATCH",
    "EXIT_THRESHOLD",
    "bench",
]

EXIT_MISMATCH = 4
EXIT_BOTTLENECK = 5
EXIT_THRESHOLD = 99  # as k6 has it


def bench(plan: Plan, output: Output) -> int:
    """Run `plan`, and report; return the exit code. Thread: main.

    Raises:
        SettingsError: something cannot be used; nothing was sent.
        LocalError: the target cannot be reached, or a file cannot be written.
    """
    if importlib.util.find_spec("hdrh") is None:
        raise SettingsError("hdrhistogram is not installed; pip install 'asyncrev[bench]'")
    from asyncrev.bench.comparison import compared, differing_settings, read_saved
    from asyncrev.bench.figures import Figures
    from asyncrev.bench.thresholds import parse_threshold

    thresholds = [parse_threshold(text) for text in output.thresholds]
    earlier = None if output.compare is None else read_saved(saved_path(output.compare))
    check_report(output.report)
    function = None
    if plan.expect not in (REVERSE, ECHO):
        loaded = load(plan.expect, option="--expect")
        if not callable(loaded):
            raise SettingsError(f"--expect {plan.expect}: it is no function")
        function = loaded
    intervals, outcome, number = _measured(plan, function)
    if not intervals:
        return _without_figures(outcome, number)
    figures = Figures(plan, intervals, outcome)
    ratios = [] if earlier is None else compared(figures, earlier)
    differing = [] if earlier is None else differing_settings(figures, earlier)
    print_table(figures, thresholds, ratios, differing, to_stderr=output.json == STDOUT)
    write_files(figures, thresholds, ratios, output)
    return _exit_code(figures, thresholds, number)


# -- the run ---------------------------------------------------------------------------------------


def _measured(
    plan: Plan, function: Callable[[bytes], Any] | None
) -> "tuple[list[Interval], Outcome, int | None]":
    """Return what was measured, how it ended, and the number of the signal that ended it."""
    from asyncrev.bench.messages import make_cycle
    from asyncrev.bench.processes import Processes
    from asyncrev.bench.run import Run

    cycle = make_cycle(plan, function)
    progress = _Progress(plan)
    if plan.processes > 1:
        processes = Processes(plan, cycle, progress.show)
        with _interrupting(processes.interrupt) as came, progress:
            intervals, outcome = processes.run()
        return intervals, outcome, came[0] if came else None
    run = Run(plan, cycle, on_interval=progress.show)
    try:
        run.connect()
        with _interrupting(run.interrupt) as came, progress:
            outcome = run.run()
    finally:
        run.close()
    return [one for _, one in sorted(run.intervals.items())], outcome, came[0] if came else None


@contextlib.contextmanager
def _interrupting(interrupt: Callable[[], None]) -> Iterator[list[int]]:
    """Call `interrupt` at SIGINT and SIGTERM; yield a list that gets the signals' numbers."""
    came: list[int] = []

    def on_signal(number: int, _: object) -> None:
        came.append(number)
        interrupt()

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, on_signal) for number in numbers]
    try:
        yield came
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


class _Progress:
    """One line on a terminal, which says what happened in the last interval."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._is_shown = sys.stderr.isatty()
        self._errors = 0
        self._width = 0

    def __enter__(self) -> "_Progress":
        if self._is_shown and self._plan.warmup_s:
            self._write(f"warm-up, {self._plan.warmup_s:g} s")
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_shown:
            self._write("")
            self._put("\r")

    def show(self, _: int, interval: "Interval") -> None:
        """Show an interval."""
        if not self._is_shown:
            return
        from asyncrev.bench.measurement import UNIT_NS
        from asyncrev.bench.table import shown_us

        self._errors += interval.errors
        slowest_us = max(interval.latencies, default=0) * UNIT_NS / 1000
        end = "" if self._plan.duration_s is None else f" of {self._plan.duration_s:g}"
        rate = interval.messages / interval.duration_s
        self._write(
            f"{interval.to_s:.1f}{end} s  {rate:,.0f} messages/s  slowest {shown_us(slowest_us)}  "
            f"errors {self._errors}"
        )

    def _write(self, text: str) -> None:
        self._put("\r" + text.ljust(self._width))
        self._width = len(text)

    def _put(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:  # nobody looks any more
            self._is_shown = False


# -- exit codes ------------------------------------------------------------------------------------


def _without_figures(outcome: "Outcome", number: int | None) -> int:
    if outcome.mismatch is not None:
        _say(f"wrong reply: {outcome.mismatch}")
        return EXIT_MISMATCH
    if number is not None:
        _say("interrupted before anything was measured")
        return EXIT_SIGNAL_BASE + number
    errors = ", ".join(f"{kind} {times}" for kind, times in sorted(outcome.errors.items()))
    _say(f"nothing was measured, because all connections were lost: {errors}")
    return EXIT_RUNTIME_ERROR


def _exit_code(figures: "Figures", thresholds: "Sequence[Threshold]", number: int | None) -> int:
    """Return the exit code, and say why if it is not 0.

    What makes figures worthless comes before what they say.
    """
    if figures.outcome.mismatch is not None:
        _say(f"wrong reply: {figures.outcome.mismatch}")
        return EXIT_MISMATCH
    if number is not None:
        return EXIT_SIGNAL_BASE + number
    if figures.errors:
        errors = ", ".join(f"{kind} {n}" for kind, n in sorted(figures.outcome.errors.items()))
        _say(f"there were errors: {errors}")
        return EXIT_RUNTIME_ERROR
    if figures.bottleneck is not None:
        _say(
            f"the client was the bottleneck: {figures.bottleneck}; give more --processes, fewer "
            "connections or a lower --rate"
        )
        return EXIT_BOTTLENECK
    broken = [one.text for one in thresholds if not one.is_kept(figures)]
    if broken:
        _say(f"thresholds were broken: {', '.join(broken)}")
        return EXIT_THRESHOLD
    return EXIT_CLEAN


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        print(f"asyncrev: error: {one_line(text)}", file=sys.stderr, flush=True)
