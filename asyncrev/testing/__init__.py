"""Tools for testing processors, clients and protocols; asyncrev's own tests use them, too.

The strategies are in `asyncrev.testing.strategies`. They and the two checks need Hypothesis, and
the fixtures in `asyncrev.testing.plugin` need pytest: `pip install 'asyncrev[testing]'` installs
both. Everything else needs neither, so it also works in child processes and benchmarks.
"""

import importlib
from typing import TYPE_CHECKING, Any

from asyncrev.testing.faults import FaultProxy, Toxics
from asyncrev.testing.frame_history import FrameHistory
from asyncrev.testing.history import History, HistoryError
from asyncrev.testing.leaks import LeakCheck
from asyncrev.testing.peers import (
    Close,
    HalfClose,
    Outcome,
    Receive,
    Reset,
    Send,
    Stall,
    play,
)
from asyncrev.testing.threads import ServerThread
from asyncrev.testing.transports import ScriptedTransport

if TYPE_CHECKING:
    from asyncrev.testing.checks import check_processor
    from asyncrev.testing.codec_checks import check_framing

__all__ = [
    "Close",
    "FaultProxy",
    "FrameHistory",
    "HalfClose",
    "History",
    "HistoryError",
    "LeakCheck",
    "Outcome",
    "Receive",
    "Reset",
    "ScriptedTransport",
    "Send",
    "ServerThread",
    "Stall",
    "Toxics",
    "check_framing",
    "check_processor",
    "play",
]


# PEP 562: re-exported when they are first used, because their modules need Hypothesis.
_MODULE_OF = {"check_framing": "codec_checks", "check_processor": "checks"}


def __getattr__(name: str) -> Any:
    """Import a check when it is first used."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
