"""The list of what a wheel brings along."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from release.artefact import Wheel
from release.sbom import SbomError, sbom, vendored
from tests.artefacts.dist import one, requirements


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The list for the pure wheel; the network has said what is newest."""
    return sbom(one("*-none-any.whl"))


def test_it_is_valid_and_about_the_wheel(document: dict[str, Any]) -> None:
    """Of its version, with its hash and a time, and with no folder of this machine."""
    path = one("*-none-any.whl")
    text = json.dumps(document)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    subject = document["metadata"]["component"]
    assert (subject["name"], subject["version"]) == ("asyncrev", Wheel(path).version)
    assert subject["hashes"][0]["content"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert document["metadata"]["timestamp"].startswith("20")
    assert "file:" not in text


def test_what_core_and_extras_need_is_in_it(document: dict[str, Any]) -> None:
    """With versions, and as what asyncrev depends upon."""
    named = {component["name"].lower().replace("_", "-") for component in document["components"]}
    needed = {each.name for each in requirements(one("*-none-any.whl"), ("ops", "bench", "dask"))}
    assert {"click", "numpy", "h11", "hdrhistogram", "distributed"} <= needed <= named
    assert all(component["version"] for component in document["components"])
    reference = document["metadata"]["component"]["bom-ref"]
    (entry,) = (each for each in document["dependencies"] if each["ref"] == reference)
    assert any(name.startswith("click==") for name in entry["dependsOn"])
    references = {component["bom-ref"] for component in document["components"]}
    assert {*entry["dependsOn"]} <= references


def test_vendored_uplot_is_in_it(document: dict[str, Any]) -> None:
    """With its version, its licence and the hashes of its files."""
    (uplot,) = (each for each in document["components"] if each["name"] == "uplot")
    assert uplot["purl"] == f"pkg:npm/uplot@{uplot['version']}"
    (licence,) = uplot["licenses"]
    assert licence["license"]["id"] == "MIT"
    assert "Leon Sorokin" in licence["license"]["text"]["content"]
    wheel = Wheel(one("*-none-any.whl"))
    for file in uplot["components"]:
        content = wheel.read(file["name"])
        assert file["hashes"][0]["content"] == hashlib.sha256(content).hexdigest()


def test_vendored_file_that_does_not_name_its_version_is_refused() -> None:
    """A list with a version that somebody guessed would be worse than none."""

    class Other(Wheel):
        def read(self, name: str) -> bytes:
            return b"var uPlot = 1"

    with pytest.raises(SbomError, match=r"uPlot\.iife\.min\.js does not begin with its version"):
        vendored(Other(Path(one("*-none-any.whl"))))
