"""The catalogue, decoding, conversion, columns, names."""

import re
from typing import Any

import pytest

from netlab.api import convert, defaults, names
from netlab.api.catalogue import built_in
from netlab.api.columns import columns_of
from netlab.api.columns.ages import human
from netlab.api.columns.table import TABLE
from netlab.api.fielderrors import go_value
from netlab.api.protobuf import message_name
from netlab.api.shapes import DecodeError, decode, messages, shape_of_kind
from netlab.api.times import TimeError, micro_time, time
from netlab.api.validation import VALIDATORS


def shaped(group: str, version: str, kind: str, obj: Any) -> tuple[Any, list[str]]:
    shape = shape_of_kind(group, version, kind)
    assert shape is not None
    unknown: list[str] = []
    return decode(obj, shape, unknown), unknown


def test_the_catalogue_is_whole() -> None:
    resources = built_in()
    keys = [(r.group, r.version, r.plural) for r in resources]
    assert len(keys) == len(set(keys))
    kinds = {(r.storage[0], r.kind) for r in resources}
    for table in (defaults.DEFAULTERS, VALIDATORS, TABLE):
        assert set(table) <= kinds
    for r in resources:
        if r.kind != "PodPreset" and r.group != "metrics.k8s.io":  # the latter is never stored, nor sent
            assert shape_of_kind(*r.storage, r.kind) is not None, r
        if "list" in r.verbs and r.kind not in ("PodPreset", "LimitRange"):
            assert columns_of(r.storage[0], r.kind).definitions[0]["name"] in ("Name", "Last Seen"), r
    prefixes = {r.registry for r in resources}
    assert "/registry/pods/" in prefixes
    assert "/registry/services/specs/" in prefixes
    assert "/registry/minions/" in prefixes


def test_decoding_is_gos() -> None:
    pod, unknown = shaped("", "v1", "Pod", {
        "metadata": {"name": "a", "labels": {}, "annotations": None, "bogus": 1},
        "spec": {"containers": [{"name": "c", "image": "i", "stdin": False, "resources": {"limits": {"cpu": 0.5}}, "x": 1}],
                 "hostNetwork": False, "terminationGracePeriodSeconds": 0},
    })  # fmt: skip
    assert unknown == ["metadata.bogus", "spec.containers[0].x"]
    assert pod == {
        "metadata": {"name": "a", "creationTimestamp": None},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": {"limits": {"cpu": "500m"}}}],
                 "terminationGracePeriodSeconds": 0},
        "status": {},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        ({"spec": []}, "json: cannot unmarshal array into Go struct field Deployment.spec of type v1.DeploymentSpec"),
        ({"spec": {"replicas": 1.5}}, "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas "
         "of type int32"),
        ({"spec": {"paused": "no"}}, "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.paused of type "
         "bool"),
        ({"metadata": {"labels": {"a": 1}}}, "json: cannot unmarshal number into Go struct field "
         "ObjectMeta.metadata.labels.a of type string"),
        ({"spec": {"template": {"spec": {"containers": {}}}}}, "json: cannot unmarshal object into Go struct field "
         "PodSpec.spec.template.spec.containers of type []v1.Container"),
        ({"metadata": {"creationTimestamp": "now"}}, 'parsing time "now" as "2006-01-02T15:04:05Z07:00": cannot parse "now" '
         'as "2006"'),
    ],
)  # fmt: skip
def test_types_that_do_not_fit(obj: Any, message: str) -> None:
    with pytest.raises(DecodeError) as caught:
        shaped("apps", "v1", "Deployment", obj)
    assert re.sub(r"labels\.a", "labels.a", str(caught.value)) == message


def test_every_message_of_the_table_belongs_to_something() -> None:
    known = messages()
    for fields in known.values():
        for f in fields:
            scalar = "." not in f.type or f.type.startswith(
                ("meta.v1.Time", "meta.v1.MicroTime", "api.", "util.", "runtime.")
            )
            assert scalar or f.type in known or f.type == "meta.v1.FieldsV1", f
    assert message_name("apps/v1", "Deployment") in known
    assert message_name("v1", "DeleteOptions") in known


def test_old_versions() -> None:
    ingress = {"spec": {"backend": {"serviceName": "a", "servicePort": 80}, "rules": [
        {"http": {"paths": [{"path": "/", "backend": {"serviceName": "b", "servicePort": "web"}}]}},
    ]}}  # fmt: skip
    new = convert.up("extensions", "v1beta1", "Ingress", ingress, "networking.k8s.io/v1")
    assert new["spec"]["defaultBackend"] == {"service": {"name": "a", "port": {"number": 80}}}
    path = new["spec"]["rules"][0]["http"]["paths"][0]
    assert (path["pathType"], path["backend"]) == (
        "ImplementationSpecific", {"service": {"name": "b", "port": {"name": "web"}}},
    )  # fmt: skip
    old = convert.down("extensions", "v1beta1", "Ingress", new)
    assert old["spec"]["backend"] == {"serviceName": "a", "servicePort": 80}
    labels = {"app": "x"}
    deployment = convert.up(
        "extensions", "v1beta1", "Deployment", {"spec": {"template": {"metadata": {"labels": labels}}}}, "apps/v1"
    )
    assert deployment["spec"]["selector"] == {"matchLabels": labels}
    scaler = {"spec": {"targetCPUUtilizationPercentage": 80}}
    up = convert.up("autoscaling", "v1", "HorizontalPodAutoscaler", scaler, "autoscaling/v2")
    assert up["spec"]["metrics"][0]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 80}
    assert convert.down("autoscaling", "v1", "HorizontalPodAutoscaler", up)["spec"] == {
        "targetCPUUtilizationPercentage": 80
    }
    event = convert.down("events.k8s.io", "v1", "Event", {"involvedObject": {"name": "x"}, "message": "m"})
    assert (event["regarding"], event["note"]) == ({"name": "x"}, "m")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"), (0, "0s"), (119, "119s"), (120, "2m"), (312, "5m12s"), (95 * 60, "95m"), (5 * 3600 + 600, "5h10m"),
        (30 * 3600, "30h"), (76 * 3600, "3d4h"), (200 * 86400, "200d"), ((3 * 365 + 20) * 86400, "3y20d"),
        (9 * 365 * 86400, "9y"),
    ],
)  # fmt: skip
def test_ages(seconds: int, text: str) -> None:
    assert human(seconds) == text


def _container(**state: Any) -> Any:
    return {"name": "c", "restartCount": 0, "state": state}


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        ({"phase": "Pending"}, ("0/1", "Pending")),
        ({"phase": "Running", "containerStatuses": [{**_container(running={}), "ready": True}]}, ("1/1", "Running")),
        ({"phase": "Running", "containerStatuses": [_container(waiting={"reason": "CrashLoopBackOff"})]},
         ("0/1", "CrashLoopBackOff")),
        ({"phase": "Succeeded", "containerStatuses": [_container(terminated={"reason": "Completed"})]}, ("0/1", "Completed")),
        ({"phase": "Failed", "containerStatuses": [_container(terminated={"exitCode": 3})]}, ("0/1", "ExitCode:3")),
        ({"phase": "Failed", "containerStatuses": [_container(terminated={"exitCode": 0, "signal": 9})]}, ("0/1", "Signal:9")),
        ({"phase": "Pending", "initContainerStatuses": [_container(running={})]}, ("0/1", "Init:0/1")),
        ({"phase": "Pending", "initContainerStatuses": [_container(terminated={"exitCode": 2})]}, ("0/1", "Init:ExitCode:2")),
        ({"phase": "Failed", "reason": "Evicted"}, ("0/1", "Evicted")),
    ],
)  # fmt: skip
def test_the_status_of_a_pod(status: Any, wanted: tuple[str, str]) -> None:
    spec = {
        "containers": [{"name": "c"}],
        "initContainers": [{"name": "i"}] if "initContainerStatuses" in status else [],
    }
    pod = {"kind": "Pod", "metadata": {"name": "p"}, "spec": spec, "status": status}
    assert tuple(columns_of("", "Pod").cells(pod, 0.0)[1:3]) == wanted


def test_names() -> None:
    assert names.label_problems("a.b") == ["must not contain dots"]
    assert names.label_problems("x" * 64)[0] == "must be no more than 63 characters"
    assert not names.qualified_name_problems("example.com/name")
    assert names.qualified_name_problems("/x")[0] == "prefix part must be non-empty"
    assert names.config_key_problems("..x") == ["must not start with '..'"]
    assert names.path_segment_problems("a/b") == ["may not contain '/'"]
    assert not names.name_problems("ClusterRole", "system:node")


def test_times() -> None:
    assert time("2020-01-02T03:04:05+02:00") == "2020-01-02T01:04:05Z"
    assert micro_time("2020-01-02T03:04:05.1Z") == "2020-01-02T03:04:05.100000Z"
    with pytest.raises(TimeError):
        time("2020-13-45T00:00:00Z")


def test_values_as_go_prints_them() -> None:
    assert go_value({"matchLabels": {"a": "b"}}) == (
        'v1.LabelSelector{MatchLabels:map[string]string{"a":"b"}, MatchExpressions:[]v1.LabelSelectorRequirement(nil)}'
    )
    assert go_value({"b": "1", "a": "2"}) == 'map[string]string{"a":"2", "b":"1"}'
    assert go_value('a"b\n') == r'"a\"b\n"'
