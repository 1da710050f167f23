"""Whether the native plane and kernels are used, or the Python code that does the same.

The environment variable ASYNCREV_PLANE decides, once, when this module is imported: `auto` (the
default) uses the native code if it was built, `python` never, and `native` insists on it.
"""

import os
from importlib import import_module
from typing import Any, NamedTuple

from asyncrev.errors import SettingsError
from asyncrev.native.kernels import Kernels, as_kernels
from asyncrev.native.plane import as_plane

__all__ = ["DESCRIPTION", "KERNELS", "NAME", "PLANE", "VARIABLE", "Native", "choose"]

VARIABLE = "ASYNCREV_PLANE"
EXTENSIONS = ("asyncrev.native._kernels", "asyncrev.native._plane")
_VALUES = ("auto", "python", "native")


class Native(NamedTuple):
    """The two compiled extensions.

    Attributes:
        kernels: see `asyncrev.native.kernels`.
        plane: see `asyncrev.native.plane`.
    """

    kernels: Kernels
    plane: Any


def _load() -> Native:
    kernels, plane = map(import_module, EXTENSIONS)
    return Native(as_kernels(kernels), as_plane(plane))


def choose(wanted: str) -> tuple[Native | None, str]:
    """Return the native code, or None, and why it is not used; "" if it is. Thread: any.

    `wanted`: the value of ASYNCREV_PLANE; an empty one is as good as none.

    Raises:
        SettingsError: there is no such value, or native code is demanded and there is none.
    """
    wanted = wanted or "auto"
    if wanted not in _VALUES:
        raise SettingsError(f"{VARIABLE} is {wanted!r}; it must be one of {', '.join(_VALUES)}")
    if wanted == "python":
        return None, f"{VARIABLE}=python"
    try:
        return _load(), ""
    except ModuleNotFoundError as error:
        if error.name not in EXTENSIONS:
            raise
        reason = "not built"
    except ImportError as error:  # a broken file, or one from other sources
        reason = f"cannot be loaded: {error}"
    if wanted == "native":
        raise SettingsError(
            f"{VARIABLE} is 'native', but the native code is {reason}; install a C compiler "
            "and asyncrev again, with ASYNCREV_BUILD=native, which says why it cannot be built; "
            f"or set {VARIABLE} to 'auto'"
        )
    return None, reason


# None: the Python code is used.
_native, _why_not = choose(os.environ.get(VARIABLE, ""))
KERNELS = None if _native is None else _native.kernels
PLANE = None if _native is None else _native.plane
NAME = "python" if _native is None else "native"
# For people: "native", or "python (not built)".
DESCRIPTION = NAME + (f" ({_why_not})" if _why_not else "")
