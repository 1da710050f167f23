"""report_png: a picture, where matplotlib is installed."""

import importlib.util
import subprocess
import sys

import pytest

pytest.importorskip("hdrh")

from asyncrev.bench.report_png import png
from tests.bench.made import figures


@pytest.mark.parametrize("rates", [[900, 1000, 0, 1100], [0]])
def test_picture_is_a_png_with_something_in_it(rates: list[int]) -> None:
    """Of whatever run. In a process of its own, as matplotlib keeps its fonts open."""
    if importlib.util.find_spec("matplotlib") is None:
        pytest.skip("matplotlib is not installed")
    code = (
        "import sys; from asyncrev.bench.report_png import png\n"
        "from tests.bench.made import figures\n"
        f"sys.stdout.buffer.write(png(figures({rates})))"
    )
    data = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE).stdout
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(data) > 10_000


def test_without_matplotlib_it_is_an_import_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command asks before it sends anything."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError):
        png(figures())
