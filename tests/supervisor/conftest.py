"""What the tests of a supervisor need."""

import pytest

from asyncrev import restarts


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that died are started again at once."""
    monkeypatch.setattr(restarts, "FIRST_DELAY_S", 0.01)
