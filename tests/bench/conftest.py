"""Fixtures of the tests of the load generator."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.wire import Wire
from tests.certificates import localhost_files


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Files: certificate and key in one, and the authority that a client must trust."""
    return localhost_files(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def socket_path(tmp_path: Path) -> str:
    """Where a UNIX socket can be made."""
    return str(tmp_path / "socket")


@pytest.fixture
def wires() -> Iterator[list[Wire]]:
    """A list; what the test puts into it is closed afterwards."""
    made: list[Wire] = []
    yield made
    for wire in made:
        wire.close()
