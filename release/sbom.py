"""Write what a wheel brings along as CycloneDX JSON: `make sbom`.

It is taken from an environment into which the wheel was installed with its extras, so it has the
versions of that day. What is vendored is in no metadata: it is added here. The format is
CycloneDX 1.6 (cyclonedx.org/docs/1.6/json).
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from release.artefact import USERS_EXTRAS, Wheel

__all__ = ["SbomError", "main", "sbom", "vendored"]

ROOT = Path(__file__).parents[1]
SCHEMA = SchemaVersion.V1_6
ASSETS = "asyncrev/admin/assets"


class SbomError(Exception):
    """The list cannot be made; the message is for whoever makes it."""


def sbom(wheel: Path) -> dict[str, Any]:
    """Return the list for a wheel, installed for this interpreter with each extra for users.

    Raises:
        SbomError: an installation or a tool failed, or the list is not valid.
    """
    with tempfile.TemporaryDirectory(prefix="asyncrev-") as folder:
        python = Path(folder, "environment", "bin", "python")
        extras = ",".join(USERS_EXTRAS)
        _run("uv", "venv", "--python", sys.executable, Path(folder, "environment"))
        _run(
            *("uv", "pip", "install", "--python", python),
            f"asyncrev[{extras}] @ {wheel.resolve().as_uri()}",
        )
        options = ("--output-reproducible", "--sv", SCHEMA.to_version(), "--of", "JSON", "-o", "-")
        document: dict[str, Any] = json.loads(
            _run("cyclonedx-py", "environment", *options, python, epoch_s=Wheel(wheel).epoch_s)
        )
    _name_the_subject(document, wheel)
    document["components"] += vendored(Wheel(wheel))
    document["components"].sort(key=lambda component: component["bom-ref"])
    fault = JsonStrictValidator(SCHEMA).validate_str(json.dumps(document))
    if fault is not None:
        raise SbomError(f"it is not valid CycloneDX {SCHEMA.to_version()}: {fault}")
    return document


def vendored(wheel: Wheel) -> list[dict[str, Any]]:
    """Return a component for each project whose files are among ours: uPlot.

    Raises:
        SbomError: its file does not name its version.
    """
    script = wheel.read(f"{ASSETS}/uPlot.iife.min.js")
    version = re.match(rb"/\*! \S+/uPlot \(v([0-9.]+)\) \*/", script)
    if version is None:
        raise SbomError(f"{ASSETS}/uPlot.iife.min.js does not begin with its version")
    number = version[1].decode()
    licence = wheel.read(f"{ASSETS}/uPlot.LICENSE.txt").decode()
    names = ("uPlot.iife.min.js", "uPlot.min.css")
    return [
        {
            "type": "library",
            "bom-ref": f"vendored:uplot@{number}",
            "name": "uplot",
            "version": number,
            "description": "Plots of the live page and of reports, unchanged, in the wheel",
            "purl": f"pkg:npm/uplot@{number}",
            "licenses": [{"license": {"id": "MIT", "text": {"content": licence}}}],
            "externalReferences": [{"type": "vcs", "url": "https://github.com/leeoniya/uPlot"}],
            "components": [_file(wheel, f"{ASSETS}/{name}") for name in names],
        }
    ]


def _file(wheel: Wheel, name: str) -> dict[str, Any]:
    digest = hashlib.sha256(wheel.read(name)).hexdigest()
    return {
        "type": "file",
        "bom-ref": f"vendored:{name}",
        "name": name,
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }


def _name_the_subject(document: dict[str, Any], wheel: Path) -> None:
    """Make asyncrev what the list is about, with the hash of the wheel, and uPlot a part of it."""
    components = document["components"]
    (subject,) = (each for each in components if each["name"] == "asyncrev")
    components.remove(subject)
    # Where it was installed from is a folder of this machine.
    references = [r for r in subject["externalReferences"] if not r["url"].startswith("file:")]
    subject["externalReferences"] = references
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    subject["hashes"] = [{"alg": "SHA-256", "content": digest}]
    old, new = subject["bom-ref"], f"asyncrev=={subject['version']}"
    subject["bom-ref"], subject["purl"] = new, f"pkg:pypi/asyncrev@{subject['version']}"
    document["metadata"]["component"] = subject
    for entry in document["dependencies"]:
        entry["ref"] = new if entry["ref"] == old else entry["ref"]
        if entry["ref"] == new:
            (uplot,) = vendored(Wheel(wheel))
            entry["dependsOn"] = sorted([*entry["dependsOn"], uplot["bom-ref"]])


def _run(*command: object, epoch_s: int = 0) -> str:
    # What would bring other modules into the environment is left out.
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(Path(sys.executable).with_name(str(command[0]))), *map(str, command[1:])],
        env={**environment, "SOURCE_DATE_EPOCH": str(epoch_s)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        words = " ".join(str(part) for part in command)
        raise SbomError(f"{words}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> None:
    """Write dist/asyncrev-VERSION.cdx.json; exit with 1 if that cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="where wheels are")
    dist = parser.parse_args().dist
    # Any has the same Python files and the same dependencies; this one fits each interpreter.
    wheels = sorted(dist.glob("asyncrev-*-py3-none-any.whl"))
    if len(wheels) != 1:
        raise SystemExit(
            f"error: {dist} must have one pure wheel (make artefacts); it has {wheels}"
        )
    path = dist / f"asyncrev-{Wheel(wheels[0]).version}.cdx.json"
    try:
        document = sbom(wheels[0])
    except SbomError as error:
        raise SystemExit(f"error: {error}") from None
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(f"{path}: asyncrev and {len(document['components'])} components")


if __name__ == "__main__":
    main()
