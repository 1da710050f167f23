"""Families of metrics as text, byte for byte as prometheus-client has it, in a quarter of the time.

Its encoders look in each sample for what none of ours has: exemplars, time stamps, native
histograms, names beyond ASCII. With eight workers that takes most of a scrape. Pure.
"""

from collections.abc import Iterable
from typing import Any

from prometheus_client.core import Metric
from prometheus_client.utils import floatToGoString

__all__ = ["open_metrics", "prometheus_text"]

# As the format of Prometheus names what OpenMetrics has of its own.
_SUFFIXES = {"counter": "_total", "info": "_info"}
_TYPES = {"info": "gauge", "unknown": "untyped"}


def open_metrics(families: Iterable[Metric]) -> bytes:
    """Return families in the format of OpenMetrics 1.0."""
    lines: list[str] = []
    for family in families:
        lines.append(f"# HELP {family.name} {_escaped(family.documentation)}\n")
        lines.append(f"# TYPE {family.name} {family.type}\n")
        _add_samples(lines, family)
    lines.append("# EOF\n")
    return "".join(lines).encode()


def prometheus_text(families: Iterable[Metric]) -> bytes:
    """Return families in the text format of Prometheus, 0.0.4 and 1.0."""
    lines: list[str] = []
    for family in families:
        name = family.name + _SUFFIXES.get(family.type, "")
        # A quotation mark stays as it is in a help text of this format.
        text = family.documentation.replace("\\", r"\\").replace("\n", r"\n")
        lines.append(f"# HELP {name} {text}\n")
        lines.append(f"# TYPE {name} {_TYPES.get(family.type, family.type)}\n")
        _add_samples(lines, family)
    return "".join(lines).encode()


def _add_samples(lines: list[str], family: Metric) -> None:
    for sample in family.samples:
        labels: dict[str, Any] = sample.labels
        named = ",".join(f'{name}="{_escaped(labels[name])}"' for name in sorted(labels))
        value = floatToGoString(sample.value)  # type: ignore[no-untyped-call]
        lines.append(f"{sample.name}{{{named}}} {value}\n" if named else f"{sample.name} {value}\n")


def _escaped(text: str) -> str:
    if "\\" in text or "\n" in text or '"' in text:
        return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return text
