"""What there is in C and in Python, both of it, whatever ASYNCREV_PLANE chose."""

import functools
from types import SimpleNamespace
from typing import Any

import pytest

from asyncrev.errors import SettingsError
from asyncrev.frames.grammar import Grammar
from asyncrev.frames.lines import Lines
from asyncrev.frames.prefixed import Prefixed
from asyncrev.native.choice import NAME, Native, choose
from asyncrev.processors import as_reply, check_reply
from asyncrev.ring.entry import DATA, Entry
from asyncrev.ring.plane import Plane
from asyncrev.ring.ring import Ring
from asyncrev.ring.row import Row, Work
from asyncrev.ring.wakeups import DeliverySignal, Parker
from asyncrev.work.reverse import Reverse


def _built() -> Native | None:
    try:
        return choose("native")[0]
    except SettingsError:
        return None


_native = _built()
NATIVE_KERNELS = None if _native is None else _native.kernels
# Of tests that interrupt the code of the plane, or play a part of it.
python_plane_only = pytest.mark.skipif(
    NAME == "native", reason="no Python code runs within a call of the native plane"
)
needs_kernels = pytest.mark.skipif(
    NATIVE_KERNELS is None, reason="the native kernels are not built"
)

CLASSES = ("DeliverySignal", "Entry", "Parker", "Plane", "Ring", "Row", "Work")
PYTHON_PLANE = SimpleNamespace(
    name="python",
    DeliverySignal=DeliverySignal,
    Entry=Entry,
    Parker=Parker,
    Plane=Plane,
    Ring=Ring,
    Row=Row,
    Work=Work,
)
NATIVE_PLANE = (
    None
    if _native is None
    else SimpleNamespace(name="native", **{name: getattr(_native.plane, name) for name in CLASSES})
)
needs_plane = pytest.mark.skipif(NATIVE_PLANE is None, reason="the native plane is not built")
EACH_PLANE = (
    pytest.param(PYTHON_PLANE, id="python"),
    pytest.param(NATIVE_PLANE, id="native", marks=needs_plane),
)


@functools.cache
def plain_work_class(base: Any) -> Any:
    """Return a class like `RawWork` for lanes that are plain at once, over a class `Work`.

    `LaneWork` is derived from the one that was chosen, and so cannot be used with both.
    """

    class PlainWork(base):  # type: ignore[misc]
        __slots__ = ("broken", "done", "max_reply_bytes")

        def __init__(self, processor: Any, max_reply_bytes: int = 0) -> None:
            super().__init__()
            self.plain = processor
            self.views_allowed = True
            self.broken = False
            self.max_reply_bytes = max_reply_bytes or 1 << 30
            self.done: list[Any] = []  # kinds that `do` got

        def do(self, entry: Any, storage: Any, pool: Any, share: Any) -> None:
            self.done.append(entry.kind)
            if self.abandoned or self.plain is None or entry.kind is not DATA:
                return
            try:
                self.answer(entry, self.plain.process(entry.view[: entry.nbytes]), storage)
            except BaseException as error:
                self.fail(entry, error)

        def answer(self, entry: Any, result: Any, storage: Any) -> None:
            result = as_reply(result, storage, views_allowed=self.views_allowed)
            if result is None:
                return
            if len(result) > entry.nbytes:
                check_reply(len(result), entry.nbytes, self.max_reply_bytes)
                entry.surplus_bytes = len(result) - entry.nbytes
                self.plain = None
            entry.result = result

        def fail(self, entry: Any, error: BaseException) -> None:
            self.broken = True
            self.plain = None
            entry.partial_frame_bytes = 0
            entry.error = error

    return PlainWork


class PythonLines(Lines):
    """Lines without native kernels."""

    __slots__ = ()
    _kernels = None


class NativeLines(Lines):
    """Lines with native kernels."""

    __slots__ = ()
    _kernels = NATIVE_KERNELS


class PythonPrefixed(Prefixed):
    """Prefixed frames without native kernels."""

    __slots__ = ()
    _kernels = None


class NativePrefixed(Prefixed):
    """Prefixed frames with native kernels."""

    __slots__ = ()
    _kernels = NATIVE_KERNELS


class PythonReverse(Reverse):
    """The processor without native kernels."""

    _kernels = None


class NativeReverse(Reverse):
    """The processor with native kernels."""

    _kernels = NATIVE_KERNELS


PYTHON: dict[str, Grammar] = {
    "line": PythonLines(),
    "len32": PythonPrefixed("len32", 4),
    "len64": PythonPrefixed("len64", 8),
}
NATIVE: dict[str, Grammar] = {
    "line": NativeLines(),
    "len32": NativePrefixed("len32", 4),
    "len64": NativePrefixed("len64", 8),
}
