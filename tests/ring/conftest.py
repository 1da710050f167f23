"""The classes in Python and those in C under the same tests."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from asyncrev.ring import channel, loop_side
from tests.planes import CLASSES, EACH_PLANE


@pytest.fixture(scope="module", params=EACH_PLANE)
def each_plane(request: pytest.FixtureRequest) -> Iterator[SimpleNamespace]:
    """The classes of a plane, in the place of those of their names in the test's module.

    And in the modules that make objects of them by themselves.
    """
    classes: SimpleNamespace = request.param
    with pytest.MonkeyPatch.context() as patch:
        for module in (request.module, channel, loop_side):
            for name in CLASSES:
                if hasattr(module, name):
                    patch.setattr(module, name, getattr(classes, name))
        yield classes
