"""Fixtures of the tests of the load generator."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.wire import Wire


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Files: certificate and key in one, and the authority that a client must trust."""
    trustme = pytest.importorskip("trustme")
    directory = tmp_path_factory.mktemp("certificate")
    authority = trustme.CA()
    both, trusted = str(directory / "both.pem"), str(directory / "authority.pem")
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(both)
    authority.cert_pem.write_to_path(trusted)
    return both, trusted


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
