"""What has native kernels, once with them and once in Python, whatever ASYNCREV_PLANE chose."""

import pytest

from asyncrev.errors import SettingsError
from asyncrev.frames.grammar import Grammar
from asyncrev.frames.lines import Lines
from asyncrev.frames.prefixed import Prefixed
from asyncrev.native.choice import choose
from asyncrev.native.kernels import Kernels
from asyncrev.work.reverse import Reverse


def _built() -> Kernels | None:
    try:
        return choose("native")[0]
    except SettingsError:
        return None


NATIVE_KERNELS = _built()
needs_kernels = pytest.mark.skipif(
    NATIVE_KERNELS is None, reason="the native kernels are not built"
)


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
