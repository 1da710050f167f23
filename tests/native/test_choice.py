"""choice: which kernels are used, and what is said where there are none."""

import os
import subprocess
import sys
import types

import pytest

from asyncrev.errors import SettingsError
from asyncrev.native import choice
from asyncrev.native import plane as native_plane
from asyncrev.native.choice import VARIABLE, choose
from asyncrev.native.kernels import INTERFACE
from tests.planes import NATIVE_KERNELS, needs_kernels


def not_built(name: str) -> types.ModuleType:
    """Fail as the import of the extension does where it was not built."""
    raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def broken(name: str) -> types.ModuleType:
    """Fail as the import of a file for another platform does."""
    raise ImportError("wrong ELF class: ELFCLASS32")


def old(name: str) -> types.ModuleType:
    """Return an extension that was built from other sources."""
    module = types.ModuleType(name)
    module.INTERFACE = INTERFACE - 1
    return module


def new(name: str) -> types.ModuleType:
    """Return an extension that fits."""
    module = types.ModuleType(name)
    is_plane = name == "asyncrev.native._plane"
    module.INTERFACE = native_plane.INTERFACE if is_plane else INTERFACE
    return module


@pytest.mark.parametrize("wanted", ["", "auto", "native"])
def test_kernels_that_were_built_are_used(monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    """An empty variable is as good as none."""
    monkeypatch.setattr(choice, "import_module", new)
    native, why_not = choose(wanted)
    assert native is not None
    assert native.kernels.__name__ == "asyncrev.native._kernels"
    assert (native.plane.__name__, why_not) == ("asyncrev.native._plane", "")


def test_plane_of_other_sources_is_not_used_with_kernels_that_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They go together."""

    def mixed(name: str) -> types.ModuleType:
        module = new(name)
        module.INTERFACE -= name == "asyncrev.native._plane"
        return module

    monkeypatch.setattr(choice, "import_module", mixed)
    native, why_not = choose("auto")
    assert native is None
    assert "install asyncrev again" in why_not


def test_python_is_chosen_without_a_look_at_the_extension(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken file cannot do harm then."""
    monkeypatch.setattr(choice, "import_module", broken)
    assert choose("python") == (None, "ASYNCREV_PLANE=python")


@pytest.mark.parametrize(
    ("imported", "reason"),
    [
        (not_built, "not built"),
        (broken, "cannot be loaded: wrong ELF class"),
        (old, f"its interface is {INTERFACE - 1}, not {INTERFACE}; install asyncrev again"),
    ],
)
def test_without_kernels_python_is_used_or_native_is_an_error(
    monkeypatch: pytest.MonkeyPatch, imported: object, reason: str
) -> None:
    """With the reason, and what to do about it."""
    monkeypatch.setattr(choice, "import_module", imported)
    native, why_not = choose("auto")
    assert native is None
    assert reason in why_not
    with pytest.raises(SettingsError, match="install a C compiler and asyncrev again") as caught:
        choose("native")
    assert reason in str(caught.value)


def test_module_that_the_extension_lacks_is_not_taken_for_the_extension(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That is a defect, which nobody should call `not built`."""

    def lacking(_: str) -> types.ModuleType:
        raise ModuleNotFoundError("No module named 'x'", name="x")

    monkeypatch.setattr(choice, "import_module", lacking)
    with pytest.raises(ModuleNotFoundError, match="'x'"):
        choose("auto")


def test_unknown_value_is_refused() -> None:
    """With the three that there are."""
    with pytest.raises(SettingsError) as caught:
        choose("Native")
    assert str(caught.value) == (
        "ASYNCREV_PLANE is 'Native'; it must be one of auto, python, native"
    )


def in_a_fresh_process(code: str, plane: str) -> "subprocess.CompletedProcess[str]":
    """Run `code` with a value of ASYNCREV_PLANE."""
    environment = os.environ | {VARIABLE: plane}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )


TELL = "from asyncrev.native import choice; print(choice.NAME, choice.KERNELS, choice.DESCRIPTION)"


def test_python_is_told() -> None:
    """As its variable says."""
    done = in_a_fresh_process(TELL, "python")
    assert done.stdout == "python None python (ASYNCREV_PLANE=python)\n", done.stderr


@needs_kernels
@pytest.mark.parametrize("plane", ["auto", "native"])
def test_native_is_told(plane: str) -> None:
    """Where they were built."""
    done = in_a_fresh_process(TELL, plane)
    assert done.stdout.startswith("native <module 'asyncrev.native._kernels'"), done.stderr
    assert done.stdout.endswith(" native\n")


def test_unknown_value_is_an_error_of_every_use() -> None:
    """A second import does not find half a module that forgot about it."""
    code = (
        "import asyncrev\n"
        "for name in ('Reverse', 'Server', 'Grammar', 'Server'):\n"
        "    try:\n"
        "        print(name, getattr(asyncrev, name).__name__)\n"
        "    except ValueError as error:\n"
        "        print(name, error)\n"
    )
    done = in_a_fresh_process(code, "C")
    error = "ASYNCREV_PLANE is 'C'; it must be one of auto, python, native"
    assert done.stdout.splitlines() == [
        f"Reverse {error}",
        f"Server {error}",
        "Grammar Grammar",  # it needs no kernels
        f"Server {error}",
    ]


def test_kernels_in_use_are_those_that_were_chosen() -> None:
    """In this process, too."""
    assert ("python" if choice.KERNELS is None else "native") == choice.NAME
    assert choice.KERNELS in (None, NATIVE_KERNELS)
    assert (choice.PLANE is None) == (choice.KERNELS is None)
    assert choice.DESCRIPTION.partition(" ")[0] == choice.NAME
