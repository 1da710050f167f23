"""Fixtures of the tests that run a server process."""

import pytest

from tests.certificates import localhost_files


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Files: certificate and key in one, and the authority that a client must trust."""
    return localhost_files(tmp_path_factory.mktemp("certificate"))
