"""Import of the object that a command-line name such as `work:Work` refers to."""

import importlib
import os
import sys
import traceback
from types import ModuleType

from asyncrev.errors import SettingsError

__all__ = ["load"]

OWN_PACKAGE = "asyncrev"

# Where those frames of an import lie that do not belong to the imported module.
_MACHINERY = frozenset({__file__, importlib.__file__})


def load(name: str, option: str = "--processor") -> object:
    """Import the module and return the attribute that `name`, written MODULE:ATTR, refers to.

    `option`: which option gave the name, for messages.

    A module that is not asyncrev's is also searched for in the current directory: last, so that no
    file there can replace an installed module, and not at all with -P or PYTHONSAFEPATH
    (https://docs.python.org/3/using/cmdline.html#cmdoption-P). Thread: main.

    `flag`: the option whose value `name` is, for messages.

    Raises:
        SettingsError: there is no such module or attribute, the name is not of that form, or the
            import raised.
    """
    module_name, colon, attributes = name.partition(":")
    is_absolute = module_name and not module_name.startswith(".")
    if not (is_absolute and colon and attributes) or _is_path(module_name):
        raise SettingsError(f"{option} {name!r}: write it as module:attr{_suggested(name)}")
    if module_name.partition(".")[0] != OWN_PACKAGE:
        _search_current_directory()
    try:
        module = importlib.import_module(module_name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, too, which would end the command without a message
        raise SettingsError(f"{option} {name!r}: {_what_failed(error, module_name)}") from error
    found: object = module
    try:
        for attribute in attributes.split("."):
            found = getattr(found, attribute)
    except AttributeError as error:
        raise SettingsError(f"{option} {name!r}: {error}{_hidden_file(module)}") from None
    return found


def _search_current_directory() -> None:
    if sys.flags.safe_path:
        return
    try:
        here = os.getcwd()
    except FileNotFoundError:  # the current directory was removed
        return
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)


def _is_path(module_name: str) -> bool:
    return "/" in module_name or module_name.endswith(".py")


def _suggested(name: str) -> str:
    """Return the form that was probably meant, "; for this file, work:Work", or ""."""
    path, colon, attributes = name.partition(":")
    if not _is_path(path):
        module_name, dot, attribute = path.rpartition(".")
        return f"; perhaps {module_name}:{attribute}" if module_name and dot and not colon else ""
    from pathlib import PurePath  # which takes 5 ms, for an error only

    given = PurePath(os.path.normpath(path))
    attributes = attributes or "ATTR"
    try:
        inside = given.relative_to(os.getcwd()) if given.is_absolute() else given
    except (ValueError, FileNotFoundError):
        inside = given
    if inside.is_absolute() or ".." in inside.parts:
        return f"; in {given.parent} that is {given.stem}:{attributes}"
    return f"; for this file, {'.'.join(inside.with_suffix('').parts)}:{attributes}"


def _what_failed(error: BaseException, module_name: str) -> str:
    """Describe why the import of `module_name` failed with `error`, and where."""
    why = _why_not_found(error) if isinstance(error, ModuleNotFoundError) else ""
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing and f"{module_name}.".startswith(f"{missing}."):
        return f"{error}{why}"
    if isinstance(error, SyntaxError) and error.filename:  # no frame shows that place
        return (
            f"importing it raised {type(error).__name__}: {error.msg} ({error.filename}, line "
            f"{error.lineno})"
        )
    frames = traceback.extract_tb(error.__traceback__)
    places = [f for f in frames if not f.filename.startswith("<") and f.filename not in _MACHINERY]
    where = f" ({places[-1].filename}, line {places[-1].lineno})" if places else ""
    return f"importing it raised {error!r}{where}{why}"


def _why_not_found(error: ModuleNotFoundError) -> str:
    missing = (error.name or "").partition(".")[0]
    if sys.flags.safe_path and os.path.exists(f"{missing}.py"):
        return (
            "; the current directory, which has one, is not searched because of -P or "
            "PYTHONSAFEPATH: name it in PYTHONPATH"
        )
    return ""


def _hidden_file(module: ModuleType) -> str:
    """Return a hint if another file than the user's was imported, or ""."""
    found, here = getattr(module, "__file__", None), f"{module.__name__}.py"
    if os.path.exists(here) and os.path.realpath(found or os.sep) != os.path.realpath(here):
        return (
            f"; it is {found or 'built in'}, which comes before {here} of the current directory: "
            "rename that file"
        )
    return ""
