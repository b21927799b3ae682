"""What is said of wrong objects: one line for each rule, in the words of the original."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from netlab.api.catalogue import built_in
from netlab.api.validation import validate

Json = dict[str, Any]
RESOURCES = {(r.group, r.kind): r for r in reversed(built_in())}


def errors(group: str, kind: str, obj: Json, old: Json | None = None, part: str = "") -> list[str]:
    """What is wrong with an object."""

    def whole(fields: Json) -> Json:
        return {
            "kind": kind,
            "apiVersion": "",
            "metadata": {"name": "n", "namespace": "default"},
            **copy.deepcopy(fields),
        }

    found = validate(RESOURCES[group, kind], whole(obj), whole(old) if old is not None else None, part)
    return [str(e) for e in found]


STORAGE, FLOW = "storage.k8s.io", "flowcontrol.apiserver.k8s.io"
DRIVER = {"attachRequired": True, "podInfoOnMount": False, "storageCapacity": False}
ATTACHMENT = {"attacher": "a", "nodeName": "n", "source": {"persistentVolumeName": "v"}}
EVENT = {"involvedObject": {"namespace": "default"}, "eventTime": "2026-01-01T00:00:00.000000Z", "action": "a", "reason": "r",
         "reportingComponent": "c", "reportingInstance": "i", "type": "Normal"}  # fmt: skip
RULE = {
    "subjects": [{"kind": "User", "user": {"name": "u"}}],
    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
}
SCHEMA = {"matchingPrecedence": 100, "priorityLevelConfiguration": {"name": "l"}, "rules": [RULE]}
SERVICE_CIDR = ("networking.k8s.io", "ServiceCIDR")

GOOD: list[tuple[str, str, Json]] = [
    ("", "Node", {"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}], "podCIDRs": ["10.0.0.0/24"]}}),
    ("", "Event", {"involvedObject": {}}),
    ("events.k8s.io", "Event", EVENT),
    (STORAGE, "CSIDriver", {"spec": DRIVER}),
    (STORAGE, "CSINode", {"spec": {"drivers": [{"name": "d", "nodeID": "i"}]}}),
    (STORAGE, "CSIStorageCapacity", {"storageClassName": "c", "capacity": "1Gi"}),
    (STORAGE, "VolumeAttachment", {"spec": ATTACHMENT}),
    (FLOW, "FlowSchema", {"spec": SCHEMA}),
    (
        FLOW,
        "PriorityLevelConfiguration",
        {"spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}},
    ),
    ("apps", "ControllerRevision", {"data": {}, "revision": 1}),
    ("networking.k8s.io", "IngressClass", {"spec": {"controller": "example.com/c"}}),
    (*SERVICE_CIDR, {"spec": {"cidrs": ["10.0.0.0/24", "fd00::/64"]}}),
]

BAD: list[tuple[str, str, Json, str]] = [
    ("", "Node", {"spec": {"taints": [{"key": "k", "effect": "Sometimes"}]}}, 'metadata.taints[0].effect: Unsupported value: '
     '"Sometimes": supported values: "NoExecute", "NoSchedule", "PreferNoSchedule"'),
    ("", "Node", {"spec": {"podCIDRs": ["10.0.0.0"  "/33"]}}, 'spec.podCIDRs[0]: Invalid value: "10.0.0.0/33": must be a valid CIDR '
     "value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"),
    ("", "Event", {"involvedObject": {"namespace": "other"}}, 'involvedObject.namespace: Invalid value: "other": does not match '
     "event.namespace"),
    ("events.k8s.io", "Event", {**EVENT, "type": "Odd"}, 'type: Invalid value: "": has invalid value: Odd'),
    ("events.k8s.io", "Event", {**EVENT, "reason": ""}, "reason: Required value"),
    ("events.k8s.io", "Event", {**EVENT, "series": {"count": 1, "lastObservedTime": "x"}}, 'series.count: Invalid value: "": should '
     "be at least 2"),
    (STORAGE, "CSIDriver", {"spec": {**DRIVER, "volumeLifecycleModes": ["Odd"]}}, "spec.volumeLifecycleModes[0]: Unsupported value: "
     '"Odd": supported values: "Ephemeral", "Persistent"'),
    (STORAGE, "CSINode", {"spec": {"drivers": [{"name": "d", "nodeID": ""}]}}, "spec.drivers[0].nodeID: Required value"),
    (STORAGE, "CSIStorageCapacity", {"storageClassName": "c", "capacity": "-1"}, 'capacity: Invalid value: "-1": must be greater than '
     "or equal to 0"),
    (STORAGE, "VolumeAttachment", {"spec": {**ATTACHMENT, "source": {}}}, "spec.source: Required value: must specify exactly one of "
     "inlineVolumeSpec and persistentVolumeName"),
    (FLOW, "FlowSchema", {"spec": {**SCHEMA, "matchingPrecedence": 0}}, "spec.matchingPrecedence: Invalid value: 0: must be a value "
     "between 1 and 10000"),
    (FLOW, "FlowSchema", {"spec": {**SCHEMA, "rules": [{**RULE, "nonResourceRules": []}]}}, "spec.rules[0]: Required value: at least "
     "one of resourceRules and nonResourceRules has to be non-empty"),
    (FLOW, "PriorityLevelConfiguration", {"spec": {"type": "Limited"}}, "spec.limited: Required value: must not be empty when type is "
     "Limited"),
    ("apps", "ControllerRevision", {"data": {}, "revision": -1}, "revision: Invalid value: -1: must be greater than or equal to 0"),
    ("apiregistration.k8s.io", "APIService", {"metadata": {"name": "x"}, "spec": {"group": "g.io", "version": "v1",
     "groupPriorityMinimum": 1, "versionPriority": 1}}, 'metadata.name: Invalid value: "x": must be '
     '`spec.version+"."+spec.group`: "v1.g.io"'),
    ("certificates.k8s.io", "CertificateSigningRequest", {"spec": {"request": "eA==", "signerName": "a.b/c", "usages": ["any"]}},
     'spec.request: Invalid value: "": PEM block type must be CERTIFICATE REQUEST'),
    ("networking.k8s.io", "IngressClass", {"spec": {"controller": "c"}}, 'spec.controller: Invalid value: "c": must be a '
     'domain-prefixed path (such as "acme.io/foo")'),
    (*SERVICE_CIDR, {"spec": {"cidrs": ["10.0.0.1/24"]}}, 'spec.cidrs[0]: Invalid value: "10.0.0.1/24": must be in canonical form '
     '("10.0.0.0/24")'),
    ("settings.k8s.io", "PodPreset", {"spec": {"selector": {}}}, "volumes, env, envFrom, volumeMounts: Required value: must specify at "
     "least one"),
]  # fmt: skip

#: what was, what is, and why that may not be
CHANGED: list[tuple[str, str, Json, Json, str]] = [
    ("", "Node", {"spec": {"podCIDRs": ["10.0.0.0/24"]}}, {"spec": {"podCIDRs": ["10.1.0.0/24"]}}, "spec.podCIDRs: Forbidden: node "
     'updates may not change podCIDR except from "" to valid'),
    (STORAGE, "CSIDriver", {"spec": DRIVER}, {"spec": {**DRIVER, "attachRequired": False}}, "spec.attachRequired: Invalid value: false: "
     "field is immutable"),
    (STORAGE, "VolumeAttachment", {"spec": ATTACHMENT}, {"spec": {**ATTACHMENT, "nodeName": "m"}}, "field is immutable"),
    ("apps", "ControllerRevision", {"data": {"a": 1}}, {"data": {"a": 2}}, "field is immutable"),
    ("networking.k8s.io", "IngressClass", {"spec": {"controller": "a.b/c"}}, {"spec": {"controller": "a.b/d"}}, 'spec.controller: '
     'Invalid value: "a.b/d": field is immutable'),
    (*SERVICE_CIDR, {"spec": {"cidrs": ["10.0.0.0/24"]}}, {"spec": {"cidrs": ["10.1.0.0/24"]}}, "field is immutable"),
]  # fmt: skip


@pytest.mark.parametrize(("group", "kind", "obj"), GOOD)
def test_good_objects(group: str, kind: str, obj: Json) -> None:
    assert errors(group, kind, obj) == []
    assert errors(group, kind, obj, obj) == []


@pytest.mark.parametrize(("group", "kind", "obj", "text"), BAD)
def test_bad_objects(group: str, kind: str, obj: Json, text: str) -> None:
    assert text in errors(group, kind, obj)


@pytest.mark.parametrize(("group", "kind", "old", "obj", "text"), CHANGED)
def test_changes_that_are_refused(group: str, kind: str, old: Json, obj: Json, text: str) -> None:
    (found,) = errors(group, kind, obj, old)
    assert text in found


def pod(**resources: Any) -> Json:
    """A pod with one container."""
    return {"spec": {"containers": [{"name": "c", "image": "i", "imagePullPolicy": "Always", "resources": resources}]}}


def test_what_the_parts_of_a_pod_may_change() -> None:
    before, after = pod(requests={"cpu": "1"}), pod(requests={"cpu": "2"})
    assert errors("", "Pod", after, before, "resize") == []
    assert errors("", "Pod", pod(), before, "resize") == [
        "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed"
    ]
    guaranteed = pod(requests={"cpu": "1", "memory": "1Gi"}, limits={"cpu": "1", "memory": "1Gi"})
    loose = pod(requests={"cpu": "1", "memory": "1Gi"}, limits={"cpu": "2", "memory": "1Gi"})
    assert errors("", "Pod", loose, guaranteed, "resize") == [
        'spec: Invalid value: "Burstable": Pod QOS Class may not change as a result of resizing'
    ]
    (found,) = errors("", "Pod", after, before)
    assert found.startswith("spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`")
    debugger = {"name": "d", "image": "i", "imagePullPolicy": "Always"}
    with_one = pod()
    with_one["spec"]["ephemeralContainers"] = [debugger]
    assert errors("", "Pod", with_one, pod(), "ephemeralcontainers") == []
    (found,) = errors("", "Pod", pod(), with_one, "ephemeralcontainers")
    assert 'existing ephemeral containers "d" may not be removed' in found
    with_one["spec"]["ephemeralContainers"] = [{**debugger, "ports": [{"containerPort": 1}]}]
    (found,) = [e for e in errors("", "Pod", with_one, pod(), "ephemeralcontainers") if "Forbidden" in e]
    assert found == "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container"
