"""What GitHub runs: pinned, with the least rights; who publishes builds nothing."""

import re
import shutil
import subprocess
import tomllib
from typing import Any

import pytest

from tests.support import ROOT

yaml = pytest.importorskip("yaml")

GITHUB = ROOT / ".github"
PATHS = sorted(GITHUB.glob("workflows/*.y*ml"))
NAMES = [path.name for path in PATHS]
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in PATHS}
PINNED = re.compile(r"uses: [\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
LOCAL = re.compile(r"uses: \./\.github/workflows/([\w-]+\.yml)( #.*)?$")

Workflow = dict[Any, Any]


def loaded(name: str) -> Workflow:
    """Return a workflow; YAML 1.1 has `on` as true."""
    found = yaml.safe_load(TEXTS[name])
    found["on"] = found.pop(True)
    assert isinstance(found, dict)
    return found


WORKFLOWS = {name: loaded(name) for name in NAMES}
JOBS = [(name, job) for name in NAMES for job in WORKFLOWS[name]["jobs"]]
RELEASE: Workflow = WORKFLOWS["release.yml"]["jobs"]


def steps(job: Workflow) -> list[Workflow]:
    """Return the steps of a job; one that calls a workflow has none."""
    found: list[Workflow] = job.get("steps", [])
    return found


def used(job: Workflow) -> list[str]:
    """Return the names of the actions of a job."""
    return [step["uses"].partition("@")[0] for step in steps(job) if "uses" in step]


def events(name: str) -> set[str]:
    """Return what starts a workflow."""
    return set(WORKFLOWS[name]["on"])


def test_there_are_those_that_the_pages_name() -> None:
    assert NAMES == ["ci.yml", "release.yml"]


@pytest.mark.parametrize("name", NAMES)
def test_every_action_is_pinned_by_hash_with_its_version_beside_it(name: str) -> None:
    """A tag can be moved by whoever owns the action; a hash cannot."""
    lines = [line.strip().removeprefix("- ") for line in TEXTS[name].splitlines()]
    lines = [line for line in lines if line.startswith("uses:")]
    assert lines
    for line in lines:
        called = LOCAL.match(line)
        assert called[1] in NAMES if called else PINNED.match(line), line


def test_one_action_has_one_version() -> None:
    """So that nobody has to look which one is newer."""
    pinned = set(re.findall(r"uses: ([\w./-]+)@(\w+)", "\n".join(TEXTS.values())))
    assert len({action for action, _ in pinned}) == len(pinned)


@pytest.mark.parametrize("name", NAMES)
def test_rights_are_read_only_unless_a_job_says_otherwise(name: str) -> None:
    assert WORKFLOWS[name]["permissions"] in ({}, {"contents": "read"})


def test_rights_to_write_are_of_the_jobs_that_need_them() -> None:
    """Only one may ask for an identity, and only one may change the repository."""
    writers = {
        (name, job, right)
        for name, job in JOBS
        for right, how in WORKFLOWS[name]["jobs"][job].get("permissions", {}).items()
        if how != "read"
    }
    assert writers == {
        ("release.yml", "publish", "id-token"),
        ("release.yml", "publish", "attestations"),
        ("release.yml", "announce", "contents"),
    }


@pytest.mark.parametrize("name", NAMES)
def test_nothing_runs_with_rights_for_what_a_stranger_sent(name: str) -> None:
    """And there is no secret that could be read: PyPI trusts the workflow itself."""
    assert not {"pull_request_target", "workflow_run", "issue_comment"} & events(name)
    assert "secrets" not in TEXTS[name]


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_every_job_has_an_end(name: str, job: str) -> None:
    """A job that calls a workflow has the ends of the jobs there; none else is allowed for it."""
    found = WORKFLOWS[name]["jobs"][job]
    if "uses" in found:
        assert "timeout-minutes" not in found
    else:
        assert 0 < found["timeout-minutes"] <= 90


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_no_checkout_leaves_its_credentials_behind(name: str, job: str) -> None:
    for step in steps(WORKFLOWS[name]["jobs"][job]):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_no_script_has_an_expression_in_it(name: str, job: str) -> None:
    """Names of tags and branches reach scripts as variables, so none of them can be a command."""
    for step in steps(WORKFLOWS[name]["jobs"][job]):
        assert "${{" not in step.get("run", "")


@pytest.mark.parametrize("name", NAMES)
def test_runs_of_one_commit_do_not_pile_up(name: str) -> None:
    """A called workflow must not wait for the group of its caller."""
    groups = [workflow["concurrency"]["group"] for workflow in WORKFLOWS.values()]
    assert len(set(groups)) == len(groups)
    assert "github.ref" in WORKFLOWS[name]["concurrency"]["group"]


def test_ci_runs_what_developers_run() -> None:
    """For each version of Python that the package is for."""
    (job,) = WORKFLOWS["ci.yml"]["jobs"].values()
    scripts = [step["run"] for step in steps(job) if "run" in step]
    assert len(scripts) == 1
    assert scripts[0].strip().endswith(" bash .ci/run")
    assert {"push", "pull_request", "workflow_call"} == events("ci.yml")
    rows = job["strategy"]["matrix"]["include"]
    versions = [one for row in rows for one in (row["python"], *row.get("others", "").split())]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    assert sorted({version.rstrip("t") for version in versions}) == sorted(listed)
    assert any(version.endswith("t") for version in versions)
    assert project["requires-python"] == f">={listed[0]}"


def test_ci_has_more_time_than_the_script_takes() -> None:
    """So that the summary of .ci/run is the last word."""
    budget = re.search(r"^BUDGET=(\d+)", (ROOT / ".ci" / "run").read_text("utf-8"), re.MULTILINE)
    assert budget
    (job,) = WORKFLOWS["ci.yml"]["jobs"].values()
    assert job["timeout-minutes"] * 60 > int(budget[1])


def test_release_is_for_tags_of_versions_and_for_rehearsals() -> None:
    assert WORKFLOWS["release.yml"]["on"] == {"push": {"tags": ["v*"]}, "workflow_dispatch": None}
    assert RELEASE["ci"]["uses"] == "./.github/workflows/ci.yml"


def test_who_publishes_builds_nothing_and_runs_no_code() -> None:
    """It takes what other jobs built and tested, for a tag, in an environment of its own."""
    job = RELEASE["publish"]
    assert all("run" not in step for step in steps(job))
    assert set(used(job)) == {
        "actions/download-artifact",
        "actions/attest",
        "pypa/gh-action-pypi-publish",
    }
    assert used(job)[-1] == "pypa/gh-action-pypi-publish"
    assert job["environment"]["name"] == "pypi"
    assert job["if"] == "github.event_name == 'push' && github.ref_type == 'tag'"
    assert set(job["needs"]) == set(RELEASE) - {"publish", "announce"}


def test_release_on_github_comes_last_and_has_no_checkout() -> None:
    assert RELEASE["announce"]["needs"] == ["publish"]
    assert used(RELEASE["announce"]) == ["actions/download-artifact"]


def test_what_is_downloaded_was_uploaded() -> None:
    """By names, with those of the matrix filled in."""
    uploaded = set()
    for job in RELEASE.values():
        matrix = job.get("strategy", {}).get("matrix", {})
        for step in steps(job):
            if step.get("uses", "").startswith("actions/upload-artifact@"):
                names = [step["with"]["name"]]
                for key, values in matrix.items():
                    hole = f"${{{{ matrix.{key} }}}}"
                    names = [name.replace(hole, value) for name in names for value in values]
                uploaded |= set(names)
    assert uploaded == {
        "dist-sources",
        *(
            f"dist-{libc}-ubuntu-24.04{arm}"
            for libc in ("manylinux", "musllinux")
            for arm in ("", "-arm")
        ),
        "notes",
        "sbom",
    }
    for job in RELEASE.values():
        for step in steps(job):
            if step.get("uses", "").startswith("actions/download-artifact@"):
                wanted = step.get("with", {})
                assert wanted.get("name", "notes") in uploaded
                assert wanted.get("pattern", "dist-*") == "dist-*"


def test_wheels_are_those_that_a_release_must_have() -> None:
    """release.notes looks for them; here is what builds them."""
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    wheels = tool["cibuildwheel"]
    assert wheels["build"] == ["cp311-*", "cp314-*", "cp314t-*"]
    assert wheels["environment"] == {"ASYNCREV_BUILD": "native"}
    assert wheels["test-command"]
    for name in wheels["test-sources"]:
        assert (ROOT / name).exists()
    paths = re.findall(r"tests/\S+", " ".join(wheels["test-command"]))
    assert paths
    assert all((ROOT / path).exists() for path in paths)


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_verbs_of_make_and_modules_of_python_exist(name: str, job: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for step in steps(WORKFLOWS[name]["jobs"][job]):
        script = step.get("run", "")
        for verb in re.findall(r"\bmake ([\w-]+)", script):
            assert re.search(rf"^{verb}:", makefile, re.MULTILINE), verb
        for module in re.findall(r"-m (release\.\w+)", script):
            assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(("name", "job"), JOBS)
def test_scripts_are_bash(name: str, job: str) -> None:
    for step in steps(WORKFLOWS[name]["jobs"][job]):
        if "run" in step:
            done = subprocess.run(
                ["bash", "-n"], input=step["run"], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr


def test_tools_that_build_what_is_published_are_pinned_by_hash() -> None:
    """Each requirement has its version, and the hashes of what may be downloaded."""
    text = (GITHUB / "cibuildwheel.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    entries = "\n".join(lines).replace("\\\n", " ").splitlines()
    assert any(entry.startswith("cibuildwheel==") for entry in entries)
    for entry in entries:
        assert re.fullmatch(r"[\w.-]+==\S+(\s+--hash=sha256:[0-9a-f]{64})+", entry), entry
    install = [step for step in steps(RELEASE["wheels"]) if "pip install" in step.get("run", "")]
    assert len(install) == 1
    assert "--require-hashes --requirement .github/cibuildwheel.txt" in install[0]["run"]


def test_updates_are_grouped_weekly_and_wait_for_a_week() -> None:
    """A version that somebody took over is found within days."""
    updates = yaml.safe_load((GITHUB / "dependabot.yml").read_text(encoding="utf-8"))["updates"]
    assert {update["package-ecosystem"] for update in updates} == {"github-actions", "pip"}
    for update in updates:
        assert update["schedule"] == {"interval": "weekly"}
        assert update["cooldown"]["default-days"] >= 7
        assert [group["patterns"] for group in update["groups"].values()] == [["*"]]
        for folder in update.get("directories", [update.get("directory")]):
            assert (ROOT / folder.lstrip("/")).is_dir()
