"""`import asyncrev`: what it has, from where, and that none of it is imported before its use."""

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import asyncrev
from asyncrev.native.choice import KERNELS

HEAVY = {"asyncio", "click", "logging", "numpy", "threading", "typing"}


def in_a_fresh_process(code: str, **variables: str) -> str:
    """Return what `code` prints in an interpreter of its own."""
    command = [sys.executable, "-c", code]
    run = subprocess.run(
        command, env=os.environ | variables, capture_output=True, text=True, check=True
    )
    return run.stdout.strip()


def test_names_table_and_what_type_checkers_see_are_the_same() -> None:
    """One of the three that lacks a name would hide it from somebody."""
    assert sorted(asyncrev._MODULE_OF) == sorted(asyncrev.__all__)
    tree = ast.parse(Path(asyncrev.__file__).read_text(encoding="utf-8"))
    seen = {
        alias.name: str(node.module).removeprefix("asyncrev.")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("asyncrev.")
        for alias in node.names
    }
    assert seen == asyncrev._MODULE_OF


@pytest.mark.parametrize("name", sorted(asyncrev.__all__))
def test_public_name_is_its_modules(name: str) -> None:
    """And stays the same object."""
    module = importlib.import_module(f"asyncrev.{asyncrev._MODULE_OF[name]}")
    assert getattr(asyncrev, name) is getattr(module, name) is getattr(asyncrev, name)
    assert name in dir(asyncrev)


def test_import_alone_imports_nothing_heavy() -> None:
    """Whatever a name needs comes with its first use."""
    print_heavy = f"print(sorted({HEAVY} & {{*sys.modules}}))"
    assert in_a_fresh_process(f"import sys, asyncrev; {print_heavy}") == "[]"
    used = in_a_fresh_process(f"import sys, asyncrev; asyncrev.Bridge; {print_heavy}")
    assert "asyncio" in used
    assert "click" not in used


def test_modules_are_attributes_without_an_import_of_their_own() -> None:
    """As `asyncrev.errors` after `import asyncrev` has always been; so does the star."""
    code = "import asyncrev; print(asyncrev.errors.SettingsError.__name__, asyncrev.statistics)"
    assert in_a_fresh_process(code).startswith("SettingsError <module 'asyncrev.statistics'")
    code = "from asyncrev import *; print(Server.__name__, run.__name__)"
    assert in_a_fresh_process(code) == "Server run"


@pytest.mark.parametrize("name", ["Brigde", "_nope", "__nope__", "errors_"])
def test_name_that_is_none_is_an_attribute_error(name: str) -> None:
    """With the words that Python has for it."""
    with pytest.raises(AttributeError, match=f"^module 'asyncrev' has no attribute '{name}'$"):
        getattr(asyncrev, name)


def test_module_that_lacks_something_says_what(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dependency that is not installed is not taken for a misspelt name."""
    monkeypatch.setitem(sys.modules, "numpy", None)
    monkeypatch.delitem(sys.modules, "asyncrev.work.reverse_numpy", raising=False)
    monkeypatch.setattr(asyncrev.Reverse, "_kernels", None)
    with pytest.raises(ModuleNotFoundError, match="numpy"):
        importlib.import_module("asyncrev.work.reverse_numpy")
    with pytest.raises(ModuleNotFoundError, match="numpy"):
        asyncrev.Reverse()


def test_numpy_is_imported_by_the_first_reverse() -> None:
    """Neither by all public names nor by a server with another processor.

    With native kernels not even by that one.
    """
    numpy_is_there = "print('numpy' in sys.modules)"
    assert in_a_fresh_process(f"import sys; from asyncrev import *; {numpy_is_there}") == "False"
    code = f"import sys, asyncrev; asyncrev.Server(bytes.upper); {numpy_is_there}"
    assert in_a_fresh_process(code) == "False"
    code = f"import sys, asyncrev; asyncrev.Reverse(); {numpy_is_there}"
    assert in_a_fresh_process(code, ASYNCREV_PLANE="python") == "True"
    assert in_a_fresh_process(code) == str(KERNELS is None)


def test_entry_is_light_so_that_signals_are_handled_early() -> None:
    """What is imported before the handlers are in is time in which Ctrl-C gives a traceback."""
    code = f"import sys, asyncrev.command.entry; print(sorted({HEAVY} & {{*sys.modules}}))"
    assert in_a_fresh_process(code) == "[]"
