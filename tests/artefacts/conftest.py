"""Certificates, and a limit on time that building and installing fits."""

from pathlib import Path

import pytest

from tests.certificates import localhost_files

HERE = Path(__file__).parent
MOST_S = 300


def pytest_collection_modifyitems(items: "list[pytest.Item]") -> None:
    """All of these tests are slow."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(MOST_S))


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Give a certificate with its key for localhost, and the authority that a client trusts."""
    return localhost_files(tmp_path_factory.mktemp("certificates"))
