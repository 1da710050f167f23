"""The manifests of packaging/kubernetes: schemas, what must agree in them, and their memory.

The image that they run is tested in test_container.py. Schemas are those of the package
kubernetes-validate; without it that test skips itself.
"""

import contextlib
import importlib.util
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("yaml")
pytest.importorskip("h11")
pytest.importorskip("prometheus_client")

import yaml

from tests.admin.talking import get
from tests.process.members import admin_address
from tests.support import DEADLINE_S, ROOT, ServerProcess, ask, serving, wait_until

pytestmark = pytest.mark.process

DIRECTORY = ROOT / "packaging" / "kubernetes"
FILES = sorted(DIRECTORY.glob("*.yaml"))
CONTAINERFILE = ROOT / "packaging" / "container" / "Containerfile"


def manifest(kind: str) -> dict[str, Any]:
    (found,) = [
        document
        for path in FILES
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
        if document["kind"] == kind
    ]
    return dict(found)


def pod() -> dict[str, Any]:
    return dict(manifest("Deployment")["spec"]["template"])


def container() -> dict[str, Any]:
    (found,) = pod()["spec"]["containers"]
    return dict(found)


def options() -> dict[str, str]:
    return dict(arg.removeprefix("--").split("=", 1) for arg in container()["args"])


def memory_of(*args: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(DIRECTORY / "memory.py"), *args],
        capture_output=True,
        text=True,
        check=False,
        timeout=3 * DEADLINE_S,
        cwd=ROOT,
    )


@contextlib.contextmanager
def served() -> Iterator[tuple[ServerProcess, tuple[str, int]]]:
    """Run a server with the manifest's options, on free ports of the loopback interface."""
    here = {"host": "127.0.0.1", "admin": "127.0.0.1:0"}
    args = [f"--{name}={here.get(name, value)}" for name, value in options().items()]
    with serving(*(arg for arg in args if not arg.startswith("--port="))) as server:
        yield server, admin_address(server)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_manifest_is_valid_for_every_version_that_is_known(path: Any) -> None:
    """Strictly, so that a name that is not known is an error, too."""
    if importlib.util.find_spec("kubernetes_validate") is None:
        pytest.skip("kubernetes-validate is not installed")
    import kubernetes_validate
    from kubernetes_validate.utils import all_versions

    versions = all_versions()
    assert versions
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        for version in versions:
            kubernetes_validate.validate(document, version, strict=True)


def test_memory_is_the_bound_of_these_options_and_the_base() -> None:
    """Limit and request: what peers may make the process hold is there before they do."""
    printed = memory_of(*container()["args"])
    assert printed.returncode == 0, printed.stderr
    resources = container()["resources"]
    assert printed.stdout == f"memory: {resources['limits']['memory']}\n"
    assert resources["requests"]["memory"] == resources["limits"]["memory"]
    base = re.search(r"BASE_BYTES = (\d+) \* MIB", (DIRECTORY / "memory.py").read_text("utf-8"))
    assert base is not None
    with served() as (server, _):
        bound_bytes = json.loads(server.start_line)["memory_bound_bytes"]
        # And the base is more than the process takes, of which the bound knows nothing.
        assert server.rss_bytes() < int(base[1]) * 2**20
    limit_bytes = int(resources["limits"]["memory"].removesuffix("Mi")) * 2**20
    assert 0 <= limit_bytes - bound_bytes - int(base[1]) * 2**20 < 2**20


def test_memory_of_wrong_options_is_an_error_in_words() -> None:
    """That of the server."""
    printed = memory_of("--max-connections=many")
    assert (printed.returncode, printed.stdout) == (2, "")
    assert "--max-connections" in printed.stderr
    assert "Traceback" not in printed.stderr


def test_probes_ask_what_the_server_answers() -> None:
    """Ready and alive while it serves; not ready, and still serving, once it was told to stop."""
    probes = {name: container()[name]["httpGet"] for name in ("readinessProbe", "livenessProbe")}
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    assert {probe["port"] for probe in probes.values()} == {"admin"}
    assert options()["admin"] == f"*:{ports['admin']}"
    assert options()["port"] == str(ports["rev"])
    readyz, livez = probes["readinessProbe"]["path"], probes["livenessProbe"]["path"]
    with served() as (server, admin):
        assert [get(admin, path)[0] for path in (readyz, livez)] == [200, 200]
        server.signal(signal.SIGTERM)
        wait_until(lambda: get(admin, readyz)[0] == 503, "it is not ready")
        assert get(admin, livez)[0] == 200
        with server.connect() as sock:
            assert ask(sock, b"hello\n") == b"olleh\n"
        server.signal(signal.SIGKILL)


def test_pod_has_the_time_that_its_server_takes_to_end() -> None:
    """The delay is longer than the readiness probe takes to notice; then comes the drain."""
    readiness = container()["readinessProbe"]
    notices_s = readiness["failureThreshold"] * (
        readiness["periodSeconds"] + readiness["timeoutSeconds"]
    )
    delay_s, drain_s = float(options()["drain-delay-s"]), float(options()["drain-timeout-s"])
    assert notices_s < delay_s
    assert delay_s + drain_s < pod()["spec"]["terminationGracePeriodSeconds"]


def test_pod_is_as_restricted_as_it_can_be() -> None:
    """And its user is the image's."""
    spec, security = pod()["spec"], container()["securityContext"]
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert spec["securityContext"]["runAsNonRoot"] is True
    user = (spec["securityContext"]["runAsUser"], spec["securityContext"]["runAsGroup"])
    assert f"\nUSER {user[0]}:{user[1]}\n" in CONTAINERFILE.read_text(encoding="utf-8")
    assert spec["enableServiceLinks"] is False
    assert spec["automountServiceAccountToken"] is False


def test_service_and_disruption_budget_select_the_pods_of_the_deployment() -> None:
    """And the Service has the port of the protocol alone."""
    labels = pod()["metadata"]["labels"]
    deployment, service = manifest("Deployment")["spec"], manifest("Service")["spec"]
    budget = manifest("PodDisruptionBudget")["spec"]
    assert deployment["selector"]["matchLabels"] == labels
    assert service["selector"] == labels
    assert budget["selector"]["matchLabels"] == labels
    assert budget["maxUnavailable"] < deployment["replicas"]
    assert [port["targetPort"] for port in service["ports"]] == ["rev"]


def test_annotations_lead_prometheus_to_the_metrics() -> None:
    """Of the admin endpoint, which is no port of the Service."""
    annotations = pod()["metadata"]["annotations"]
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    assert annotations["prometheus.io/port"] == str(ports["admin"])
    with served() as (_, admin):
        status, text = get(admin, annotations["prometheus.io/path"])
    assert status == 200
    assert b"asyncrev_connections" in text
