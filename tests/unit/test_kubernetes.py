"""deploy/kubernetes: no cluster runs here, but schemas and the code say much of what would go wrong there."""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from cli.rights import Role
from services.console.environment import read_places
from services.gateway.place import read_place
from services.sender.__main__ import _STOPS_WITHIN_S
from shared.topology import LANES, lane_queue

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
VERSIONS = ("1.30", kubernetes_validate.latest_version())
WORKERS = ("scheduler", "resolver", "sender", "gateway", "console")
USE_THE_STORE = ("scheduler", "sender")

# Of KEDA's own definitions (config/crd/bases in its repository, v2.17), as far as they are used here.
_NAMED = {"type": "object", "required": ["name"], "additionalProperties": False}
_COUNT = {"type": "integer", "minimum": 0}


def _texts(*names: str) -> dict[str, Any]:
    return {name: {"type": "string"} for name in names}


KEDA = {
    "TriggerAuthentication": {
        "secretTargetRef": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["parameter", "name", "key"],
                "additionalProperties": False,
                "properties": _texts("parameter", "name", "key"),
            },
        }
    },
    "ScaledObject": {
        "scaleTargetRef": {**_NAMED, "properties": _texts("apiVersion", "kind", "name")},
        "minReplicaCount": _COUNT,
        "maxReplicaCount": _COUNT,
        "pollingInterval": _COUNT,
        "cooldownPeriod": _COUNT,
        "fallback": {
            "type": "object",
            "required": ["failureThreshold", "replicas"],
            "additionalProperties": False,
            "properties": {"failureThreshold": _COUNT, "replicas": _COUNT},
        },
        "advanced": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "horizontalPodAutoscalerConfig": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"behavior": {"type": "object"}, "name": {"type": "string"}},
                }
            },
        },
        "triggers": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["type", "metadata"],
                "additionalProperties": False,
                "properties": {
                    "type": {"const": "rabbitmq"},
                    # Numbers have to be quoted.
                    "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
                    "authenticationRef": {**_NAMED, "properties": {"name": {"type": "string"}}},
                },
            },
        },
    },
}


def documents(folder: str) -> Iterator[dict[str, Any]]:
    for file in sorted((FOLDER / folder).glob("*.yaml")):
        if file.name != "kustomization.yaml":
            yield from yaml.safe_load_all(file.read_text(encoding="utf-8"))


BASE = list(documents("base"))
ALL = [*BASE, *documents("keda")]


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {document["metadata"]["name"]: document for document in ALL if document["kind"] == kind}


DEPLOYMENTS = {name.removeprefix("pillarbox-"): document for name, document in of_kind("Deployment").items()}
PODS = {
    **{role: deployment["spec"]["template"] for role, deployment in DEPLOYMENTS.items()},
    "setup": of_kind("Job")["pillarbox-setup"]["spec"]["template"],
}


def container_of(role: str) -> dict[str, Any]:
    [container] = PODS[role]["spec"]["containers"]
    assert isinstance(container, dict)
    return container


def environment_of(role: str) -> dict[str, str]:
    """As Kubernetes hands it over: what the ConfigMap has is put in."""
    config, found = of_kind("ConfigMap")["pillarbox"]["data"], {}
    for variable in container_of(role)["env"]:
        source = variable.get("valueFrom", {}).get("configMapKeyRef")
        assert source is None or source["name"] == "pillarbox"
        value = variable["value"] if source is None else config[source["key"]]
        # Only what stands above is known.
        found[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda match: found[match[1]], value)
    return found


def files_of(role: str) -> set[str]:
    """The files that its secrets put there, and the folders of those whose names are not known."""
    volumes = {volume["name"]: volume for volume in PODS[role]["spec"]["volumes"]}
    found = set()
    for mount in container_of(role)["volumeMounts"]:
        for item in volumes[mount["name"]].get("secret", {}).get("items", []):
            found.add(f"{mount['mountPath']}/{item['path']}")
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("document", BASE, ids=lambda document: f"{document['kind']}-{document['metadata']['name']}")
def test_what_kubernetes_knows_follows_its_schema(document: dict[str, Any], version: str):
    kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("kind", KEDA)
def test_what_keda_knows_follows_its_definition(kind: str):
    [document] = of_kind(kind).values()
    schema = {"type": "object", "additionalProperties": False, "properties": KEDA[kind]}
    jsonschema.validate(document["spec"], schema)
    assert document["apiVersion"] == "keda.sh/v1alpha1"


def test_how_senders_are_scaled_is_what_an_autoscaler_takes():
    [scaled] = of_kind("ScaledObject").values()
    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "x"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", **scaled["spec"]["scaleTargetRef"]},
            "maxReplicas": scaled["spec"]["maxReplicaCount"],
            **scaled["spec"]["advanced"]["horizontalPodAutoscalerConfig"],
        },
    }
    kubernetes_validate.validate(autoscaler, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("folder", ["base", "keda"])
def test_a_kustomization_names_all_that_lies_there(folder: str):
    kustomization = yaml.safe_load((FOLDER / folder / "kustomization.yaml").read_text(encoding="utf-8"))
    files = {path.name for path in (FOLDER / folder).glob("*.yaml")} - {"kustomization.yaml"}
    assert {name for name in kustomization["resources"] if not name.startswith("..")} == files
    for name in kustomization["resources"]:
        assert (FOLDER / folder / name).exists()
    for patch in kustomization.get("patches", []):
        assert patch["target"]["name"] in of_kind(patch["target"]["kind"])
        for operation in yaml.safe_load(patch["patch"]):
            node: Any = of_kind(patch["target"]["kind"])[patch["target"]["name"]]
            for part in operation["path"].strip("/").split("/"):
                node = node[part]
    images = {image["name"] for image in kustomization.get("images", [])}
    assert folder == "keda" or images == {container_of(role)["image"] for role in PODS}


def test_there_is_a_deployment_for_each_worker():
    assert DEPLOYMENTS.keys() == set(WORKERS)


@pytest.mark.parametrize("role", PODS)
def test_the_command_is_a_module_that_runs(role: str):
    module = container_of(role)["args"][0]
    assert importlib.util.find_spec(f"{module}.__main__") is not None
    assert role == "setup" or module == f"services.{role}"


@pytest.mark.parametrize("role", PODS)
def test_each_is_the_user_of_its_role_and_no_password_stands_anywhere(role: str):
    environment = environment_of(role)
    assert environment["PILLARBOX_AMQP_URL"].startswith(f"amqp://{Role(role).user}@")
    for name, value in environment.items():
        assert not re.search(r"://[^@/]*:[^@/]*@", value), f"{name} holds a password"
        if name.endswith("_FILE"):
            assert value in files_of(role), name
    assert environment["PILLARBOX_AMQP_PASSWORD_FILE"].endswith(f"/{role}")
    assert ("PILLARBOX_STORE_URL" in environment) == (role in USE_THE_STORE)


@pytest.mark.parametrize("role", PODS)
def test_every_variable_is_one_that_the_code_reads(role: str):
    read = {
        name
        for file in ("shared/environment.py", "services/gateway/place.py", "services/console/environment.py")
        for name in re.findall(r"PILLARBOX_[A-Z_]+", (ROOT / file).read_text(encoding="utf-8"))
    }
    said = {variable for variable in environment_of(role) if variable.startswith("PILLARBOX_")}
    assert said <= read, said - read


@pytest.mark.parametrize("role", PODS)
def test_volumes_are_mounted_and_mounts_are_volumes(role: str):
    mounted = [mount["name"] for mount in container_of(role)["volumeMounts"]]
    assert sorted(mounted) == sorted(volume["name"] for volume in PODS[role]["spec"]["volumes"])


@pytest.mark.parametrize("role", WORKERS)
def test_probes_ask_the_port_that_serves_the_metrics(role: str):
    container = container_of(role)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert str(ports["metrics"]) == environment_of(role)["PILLARBOX_METRICS_PORT"]
    assert PODS[role]["metadata"]["annotations"]["prometheus.io/port"] == str(ports["metrics"])
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = container[probe].get("httpGet") or container[probe]["tcpSocket"]
        assert asked["port"] in ports
        assert asked.get("path", "/metrics") == ("/health" if asked["port"] == "http" else "/metrics")


@pytest.mark.parametrize("role", PODS)
def test_a_pod_has_limits_and_no_more_rights_than_it_needs(role: str):
    container, pod = container_of(role), PODS[role]["spec"]
    assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
    assert "memory" in container["resources"]["limits"]
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert f"--uid {pod['securityContext']['runAsUser']} " in dockerfile
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True


@pytest.mark.parametrize("role", WORKERS)
def test_a_worker_has_the_time_that_its_stop_may_take(role: str):
    assert PODS[role]["spec"]["terminationGracePeriodSeconds"] >= 2 * _STOPS_WITHIN_S


def test_senders_keep_a_journal_that_outlives_their_container():
    [journal] = [
        mount["name"]
        for mount in container_of("sender")["volumeMounts"]
        if mount["mountPath"] == environment_of("sender")["PILLARBOX_JOURNAL"]
    ]
    assert {"name": journal, "emptyDir": {}} in PODS["sender"]["spec"]["volumes"]


@pytest.mark.parametrize("role", WORKERS)
def test_selectors_find_the_pods_of_their_role_and_no_others(role: str):
    labels = {name: pod["metadata"]["labels"] for name, pod in PODS.items()}
    selectors = [
        DEPLOYMENTS[role]["spec"]["selector"]["matchLabels"],
        of_kind("PodDisruptionBudget")[f"pillarbox-{role}"]["spec"]["selector"]["matchLabels"],
    ]
    if service := of_kind("Service").get(f"pillarbox-{role}"):
        selectors.append(service["spec"]["selector"])
    for selector in selectors:
        assert [name for name, its in labels.items() if selector.items() <= its.items()] == [role]


def test_the_gateway_can_start_with_its_environment():
    place = read_place(environment_of("gateway"))
    ports = {port["name"]: port["containerPort"] for port in container_of("gateway")["ports"]}
    assert {(one.port, one.implicit_tls) for one in place.listen_at} == {
        (ports["submission"], False),
        (ports["submissions"], True),
    }
    assert min(one.port for one in place.listen_at) > 1023  # an ordinary user may listen there
    assert place.networks == ()  # nobody gets in without signing in
    served = {port["port"]: port["targetPort"] for port in of_kind("Service")["pillarbox-gateway"]["spec"]["ports"]}
    assert served == {587: "submission", 465: "submissions"}
    mounted = {mount["mountPath"] for mount in container_of("gateway")["volumeMounts"]}
    assert place.certificate is not None
    assert place.accounts is not None
    for file in (place.certificate.certificate, place.certificate.key, place.accounts):
        assert str(file.parent) in mounted


def test_the_console_can_start_with_its_environment():
    variables, files = environment_of("console"), {"PILLARBOX_CONSOLE_SESSION_KEY": ""}
    places = read_places({**variables, **files})
    ports = {port["name"]: port["containerPort"] for port in container_of("console")["ports"]}
    assert (places.host, places.port) == ("0.0.0.0", ports["http"])
    assert places.secure
    mounted = {mount["mountPath"] for mount in container_of("console")["volumeMounts"]}
    for file in (places.users, places.tokens, Path(variables["PILLARBOX_CONSOLE_SESSION_KEY"])):
        assert file is not None
        assert str(file.parent) in mounted


def test_senders_are_scaled_by_each_lane():
    [scaled], [authentication] = of_kind("ScaledObject").values(), of_kind("TriggerAuthentication").values()
    spec = scaled["spec"]
    assert spec["scaleTargetRef"]["name"] in of_kind("Deployment")
    assert [trigger["metadata"]["queueName"] for trigger in spec["triggers"]] == [
        lane_queue(lane) for lane in range(LANES)
    ]
    for trigger in spec["triggers"]:
        assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
        assert int(trigger["metadata"]["value"]) > 0
    assert 0 < spec["minReplicaCount"] <= spec["maxReplicaCount"]


def test_the_page_names_the_secrets_that_are_wanted():
    page = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    secrets = {
        volume["secret"]["secretName"]
        for pod in PODS.values()
        for volume in pod["spec"]["volumes"]
        if "secret" in volume
    }
    [authentication] = of_kind("TriggerAuthentication").values()
    secrets |= {target["name"] for target in authentication["spec"]["secretTargetRef"]}
    assert set(re.findall(r"^\| `(pillarbox-[a-z-]+)` \|", page, re.MULTILINE)) == secrets
    assert set(re.findall(r"create secret \w+ (\S+)", page)) == secrets


def test_a_manifest_says_it_needs_the_secrets_that_it_reads():
    said = 0
    for file in FOLDER.rglob("*.yaml"):
        text = file.read_text(encoding="utf-8")
        comments = " ".join(re.findall(r"#.*\bsecrets?\b.*", text))
        named = set(re.findall(r"\bpillarbox-[a-z-]+", comments))
        assert named <= set(re.findall(r"\bsecretName: ([a-z-]+)", text)), file.name
        said += len(named)
    assert said
