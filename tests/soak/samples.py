"""What a soak notes of a server each second, and what follows from that."""

import dataclasses
import itertools
import os
from collections.abc import Mapping, Sequence

from tests.process.telling import statistics_of
from tests.support import ServerProcess

# A leak that an hour would show. In short runs the bound is what allocators and write buffers may
# vary by, which is no slope; so much, spread over the half that is looked at.
LEAST_SLOPE_KIB_PER_MIN = 256.0
VARIATION_KIB = 2048.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One server at one moment."""

    at_s: float
    rss_kib: float
    descriptors: int
    threads: int
    cpu_s: float
    connections: int
    accepted: int
    entries: int
    received_bytes: int
    backstop_wakes: int
    aborted: Mapping[str, int]


def take_sample(server: ServerProcess, at_s: float) -> Sample:
    """Ask the server, and the system about it. Blocks for an iteration of its loop."""
    told = statistics_of(server)
    return Sample(
        at_s=at_s,
        rss_kib=server.rss_bytes() / 1024,
        descriptors=server.descriptors(),
        threads=len(os.listdir(f"/proc/{server.pid}/task")),
        cpu_s=server.cpu_s(),
        connections=told["connections"],
        accepted=told["accepted"],
        entries=told["bridge"]["published"],
        received_bytes=told["received_bytes"],
        backstop_wakes=told["bridge"]["backstop_wakes"],
        aborted=told["aborted"],
    )


def slope_per_min(points: Sequence[tuple[float, float]]) -> float:
    """Return how much the values grow a minute, by least squares; points are (seconds, value)."""
    mean_s = sum(at_s for at_s, _ in points) / len(points)
    mean = sum(value for _, value in points) / len(points)
    spread = sum((at_s - mean_s) ** 2 for at_s, _ in points)
    if not spread:
        return 0.0
    return 60 * sum((at_s - mean_s) * (value - mean) for at_s, value in points) / spread


def second_half(samples: Sequence[Sample]) -> Sequence[Sample]:
    """Return the samples by which memory is judged."""
    return samples[len(samples) // 2 :]


def rss_slope(samples: Sequence[Sample]) -> float:
    """Return the growth of resident memory in the second half, in KiB a minute."""
    return slope_per_min([(sample.at_s, sample.rss_kib) for sample in second_half(samples)])


def rss_slope_bound(samples: Sequence[Sample]) -> float:
    """Return what `rss_slope` may be at most."""
    half = second_half(samples)
    minutes = (half[-1].at_s - half[0].at_s) / 60
    return max(LEAST_SLOPE_KIB_PER_MIN, VARIATION_KIB / minutes) if minutes else float("inf")


def verdict(before: Sample, samples: Sequence[Sample], after: Sample) -> list[str]:
    """Return what is wrong with a server: with nobody before, under load, with nobody after it."""
    found = []
    slope, bound = rss_slope(samples), rss_slope_bound(samples)
    if slope > bound:
        found.append(
            f"resident memory grew by {slope:.0f} KiB/min; at most {bound:.0f} are allowed"
        )
    for name in ("descriptors", "threads", "connections"):
        was, now = getattr(before, name), getattr(after, name)
        if now > was:
            found.append(f"{now} {name} after the load; {was} before it")
    if after.backstop_wakes:
        found.append(f"{after.backstop_wakes} sleeps ended by the backstop; none may")
    return found


def table(name: str, samples: Sequence[Sample]) -> list[str]:
    """Return lines that show start, middle and end of a server's run."""
    shown = [samples[0], samples[len(samples) // 2], samples[-1]]
    rows: list[tuple[str, list[str]]] = [
        ("at, s", [f"{sample.at_s:.0f}" for sample in shown]),
        ("resident memory, KiB", [f"{sample.rss_kib:,.0f}" for sample in shown]),
        ("descriptors", [str(sample.descriptors) for sample in shown]),
        ("threads", [str(sample.threads) for sample in shown]),
        ("connections", [str(sample.connections) for sample in shown]),
        ("connections so far", [f"{sample.accepted:,}" for sample in shown]),
        ("messages so far", [f"{sample.entries:,}" for sample in shown]),
        ("received so far, MiB", [f"{sample.received_bytes / 2**20:,.0f}" for sample in shown]),
        ("processor time, s", [f"{sample.cpu_s:.1f}" for sample in shown]),
    ]
    heads = "".join(f"{head:>14}" for head in ("start", "middle", "end"))
    lines = [f"{name:<24}{heads}"]
    lines += [f"{row:<24}{''.join(f'{value:>14}' for value in values)}" for row, values in rows]
    slope, bound = rss_slope(samples), rss_slope_bound(samples)
    reasons = ", ".join(
        f"{reason} {count:,}" for reason, count in sorted(samples[-1].aborted.items())
    )
    gap_s = max((b.at_s - a.at_s for a, b in itertools.pairwise(samples)), default=0.0)
    lines.append(f"aborted by the server: {reasons or 'none'}")
    lines.append(f"longest time between two looks: {gap_s:.1f} s")
    lines.append(
        f"resident memory, second half: {slope:+.0f} KiB/min; at most {bound:.0f} are allowed"
    )
    return lines
