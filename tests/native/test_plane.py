"""plane: an extension that fits is used, and another is not."""

import types

import pytest

from asyncrev.native.plane import INTERFACE, as_plane


def test_extension_of_other_sources_is_refused() -> None:
    """With both numbers, and what to do."""
    module = types.ModuleType("_plane")
    with pytest.raises(ImportError, match=f"its interface is None, not {INTERFACE}"):
        as_plane(module)
    module.INTERFACE = INTERFACE
    assert as_plane(module) is module
