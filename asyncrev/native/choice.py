"""Whether the native kernels are used, or the Python code that does the same.

The environment variable ASYNCREV_PLANE decides, once, when this module is imported: `auto` (the
default) uses the native kernels if they were built, `python` never, and `native` insists on them.
"""

import os
from importlib import import_module

from asyncrev.errors import SettingsError
from asyncrev.native.kernels import Kernels, as_kernels

__all__ = ["DESCRIPTION", "KERNELS", "NAME", "VARIABLE", "choose"]

VARIABLE = "ASYNCREV_PLANE"
EXTENSION = "asyncrev.native._kernels"
_VALUES = ("auto", "python", "native")


def _load() -> Kernels:
    return as_kernels(import_module(EXTENSION))


def choose(wanted: str) -> tuple[Kernels | None, str]:
    """Return the native kernels, or None, and why they are not used; "" if they are. Thread: any.

    `wanted`: the value of ASYNCREV_PLANE; an empty one is as good as none.

    Raises:
        SettingsError: there is no such value, or native kernels are demanded and there are none.
    """
    wanted = wanted or "auto"
    if wanted not in _VALUES:
        raise SettingsError(f"{VARIABLE} is {wanted!r}; it must be one of {', '.join(_VALUES)}")
    if wanted == "python":
        return None, f"{VARIABLE}=python"
    try:
        return _load(), ""
    except ModuleNotFoundError as error:
        if error.name != EXTENSION:
            raise
        reason = "not built"
    except ImportError as error:  # a broken file, or one from other sources
        reason = f"cannot be loaded: {error}"
    if wanted == "native":
        raise SettingsError(
            f"{VARIABLE} is 'native', but the native kernels are {reason}; install a C compiler "
            "and asyncrev again, with ASYNCREV_BUILD=native, which says why they cannot be built; "
            f"or set {VARIABLE} to 'auto'"
        )
    return None, reason


# None: the Python code is used.
KERNELS, _why_not = choose(os.environ.get(VARIABLE, ""))
NAME = "python" if KERNELS is None else "native"
# For people: "native", or "python (not built)".
DESCRIPTION = NAME + (f" ({_why_not})" if _why_not else "")
