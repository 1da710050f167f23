"""report_png: a picture, where matplotlib is installed."""

import pytest

pytest.importorskip("hdrh")

from asyncrev.bench.report_png import png
from tests.bench.made import figures


@pytest.mark.parametrize("rates", [[900, 1000, 0, 1100], [0]])
def test_picture_is_a_png_with_something_in_it(rates: list[int]) -> None:
    """Of whatever run."""
    pytest.importorskip("matplotlib")
    data = png(figures(rates))
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(data) > 10_000


def test_without_matplotlib_it_is_an_import_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command asks before it sends anything."""
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(ImportError):
        png(figures())
