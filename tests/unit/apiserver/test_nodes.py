"""What a kubelet needs and what it may not: the Node authorizer and NodeRestriction, as system:node:n1."""

from __future__ import annotations

import base64

from serving import MAPS, PODS, Answer, Client, config_map, pod, with_server

from netlab.apiserver.admission.nodes import forbidden_labels

NODES, SECRETS = "/api/v1/nodes", "/api/v1/namespaces/default/secrets"
ACCOUNTS, EVENTS = "/api/v1/namespaces/default/serviceaccounts", "/api/v1/namespaces/default/events"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
ELSEWHERE = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
CLAIMS, VOLUMES = "/api/v1/namespaces/default/persistentvolumeclaims", "/api/v1/persistentvolumes"


def well(*answers: Answer) -> None:
    for answer in answers:
        assert answer.status < 300, answer.body


def refused(answer: Answer, words: str) -> None:
    assert answer.status == 403 and words in answer.message, answer.body


def test_labels_by_which_others_trust_a_node() -> None:
    assert (
        forbidden_labels({}, {"a": "b", "example.com/x": "y", "kubernetes.io/hostname": "n", "k8s.io.x/y": "z"}) == []
    )
    assert forbidden_labels({}, {"node.kubernetes.io/x": "y", "kubelet.kubernetes.io/x": "y"}) == []
    theirs = {"node-restriction.kubernetes.io/zone": "a", "node-role.kubernetes.io/control-plane": "", "k8s.io/x": "y"}
    assert forbidden_labels({}, theirs) == sorted(theirs)
    assert forbidden_labels(theirs, {"k8s.io/x": "z"}) == sorted(theirs)
    assert forbidden_labels(theirs, theirs) == []


def test_a_node_looks_after_itself() -> None:
    async def test(c: Client) -> None:
        node = c.as_("node-token")
        labels = {"kubernetes.io/hostname": "n1", "disk": "ssd", "node-role.kubernetes.io/control-plane": ""}
        well(await node.post(NODES, {"metadata": {"name": "n1", "labels": labels}}))
        ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        well(await node.patch(f"{NODES}/n1/status", ready), await node.get(f"{NODES}/n1"))
        well(await node.patch(f"{NODES}/n1", {"metadata": {"labels": {"disk": "hdd"}}}))
        role = {"metadata": {"labels": {"node-role.kubernetes.io/infra": ""}}}
        refused(await node.patch(f"{NODES}/n1", role), "is not allowed to modify labels: node-role.kubernetes.io/infra")
        taint = {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}
        refused(await node.patch(f"{NODES}/n1", taint), "is not allowed to modify taints")
        well(await c.post(NODES, {"metadata": {"name": "n2"}}))
        assert (await node.patch(f"{NODES}/n2/status", ready)).status == 403
        assert (await node.delete(f"{NODES}/n1")).status == 403
        lease = {"metadata": {"name": "n1"}, "spec": {"holderIdentity": "n1", "leaseDurationSeconds": 40}}
        well(await node.post(LEASES, lease), await node.get(f"{LEASES}/n1"))
        well(await node.patch(f"{LEASES}/n1", {"spec": {"leaseDurationSeconds": 50}}))
        refused(await node.post(LEASES, {"metadata": {"name": "n2"}}), "same name as the requesting node")
        assert (await node.post(ELSEWHERE, lease)).status == 403
        well(await node.get(NODES, fieldSelector="metadata.name=n1"), await node.get("/api/v1/services"))
        well(
            await node.get("/apis/node.k8s.io/v1/runtimeclasses"), await node.get("/apis/storage.k8s.io/v1/csidrivers")
        )

    with_server(test)


def test_a_node_looks_after_its_pods() -> None:
    async def test(c: Client) -> None:
        node = c.as_("node-token")
        for name, where in (("mine", "n1"), ("theirs", "n2"), ("waits", "")):
            well(await c.post(PODS, pod(name, **({"nodeName": where} if where else {}))))
        well(await node.get("/api/v1/pods", fieldSelector="spec.nodeName=n1"))
        running = {"status": {"phase": "Running"}}
        well(await node.patch(f"{PODS}/mine/status", running, kind="strategic"))
        for name in ("theirs", "waits"):
            refused(await node.patch(f"{PODS}/{name}/status", running), 'node "n1" can only update pod status for pods')
            refused(
                await node.delete(f"{PODS}/{name}"), 'node "n1" can only delete pods with spec.nodeName set to itself'
            )
            eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
            assert (await node.post(f"{PODS}/{name}/eviction", eviction)).status == 403
        assert (await node.patch(f"{PODS}/mine", {"metadata": {"labels": {"a": "b"}}})).status == 403
        refused(await node.post(PODS, pod("own", nodeName="n1")), "can only create mirror pods")
        mirror = pod("mirror", nodeName="n1")
        mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
        well(await node.post(PODS, mirror))
        about = {"kind": "Pod", "namespace": "default", "name": "mine"}
        event = {"metadata": {"name": "e"}, "involvedObject": about, "reason": "Started", "type": "Normal"}
        well(await node.post(EVENTS, event), await node.patch(f"{EVENTS}/e", {"count": 2}))
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "mine"}}
        well(await node.post(f"{PODS}/mine/eviction", eviction), await node.delete(f"{PODS}/mirror"))

    with_server(test)


def test_a_node_reads_what_its_pods_name() -> None:
    async def test(c: Client) -> None:
        node = c.as_("node-token")
        names = ("volume", "env", "all", "pull", "projected", "init", "other")
        for name in names:
            data = {"x": base64.b64encode(b"y").decode()}
            well(
                await c.post(MAPS, config_map(name)), await c.post(SECRETS, {"metadata": {"name": name}, "data": data})
            )
        refs = {kind: [{"name": "E", "valueFrom": {f"{kind}KeyRef": {"name": "env", "key": "x"}}}]
                for kind in ("configMap", "secret")}  # fmt: skip
        container = {"name": "c", "image": "x", "env": [
            refs["configMap"][0], {**refs["secret"][0], "name": "S"}],
            "envFrom": [{"configMapRef": {"name": "all"}}, {"secretRef": {"name": "all"}}]}  # fmt: skip
        first = {
            "name": "i",
            "image": "x",
            "envFrom": [{"configMapRef": {"name": "init"}}, {"secretRef": {"name": "init"}}],
        }
        sources = [{"configMap": {"name": "projected"}}, {"secret": {"name": "projected"}}]
        volumes = [
            {"name": "a", "configMap": {"name": "volume"}}, {"name": "b", "secret": {"secretName": "volume"}},
            {"name": "c", "projected": {"sources": sources}},
            {"name": "d", "persistentVolumeClaim": {"claimName": "data"}},
        ]  # fmt: skip
        claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "volumeName": "v"}
        well(await c.post(CLAIMS, {"metadata": {"name": "data"}, "spec": claim}))
        well(await c.post(CLAIMS, {"metadata": {"name": "other"}, "spec": claim}))
        spec = {"containers": [container], "initContainers": [first], "volumes": volumes,
                "imagePullSecrets": [{"name": "pull"}]}  # fmt: skip
        well(await c.post(PODS, {"metadata": {"name": "p"}, "spec": spec}))
        assert (await node.get(f"{SECRETS}/env")).status == 403, "it is nobody's yet"
        binding = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}}
        well(await c.post(f"{PODS}/p/binding", binding))
        for name in names:
            expected = 200 if name != "other" else 403
            assert (await node.get(f"{SECRETS}/{name}")).status == expected, name
            wanted = 403 if name in ("other", "pull") else 200
            assert (await node.get(f"{MAPS}/{name}")).status == wanted, name
        well(await node.get(f"{CLAIMS}/data"))
        assert (await node.get(f"{CLAIMS}/other")).status == 403
        assert (await node.get(SECRETS)).status == 403 and (await node.delete(f"{SECRETS}/env")).status == 403
        well(await c.delete(f"{PODS}/p", {"gracePeriodSeconds": 0}))
        assert (await node.get(f"{SECRETS}/env")).status == 403, "its pod is gone"

    with_server(test)


def test_tokens_are_for_pods_that_are_there() -> None:
    async def test(c: Client) -> None:
        node = c.as_("node-token")
        for name in ("bob", "eve"):
            well(await c.post(ACCOUNTS, {"metadata": {"name": name}}))
        uids = {}
        for name, where in (("mine", "n1"), ("theirs", "n2")):
            made = await c.post(PODS, pod(name, nodeName=where, serviceAccountName="bob"))
            well(made)
            uids[name] = made.body["metadata"]["uid"]

        async def token(account: str = "bob", **ref: str) -> Answer:
            spec = {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", **ref}} if ref else {}
            return await node.post(f"{ACCOUNTS}/{account}/token", {"spec": spec})

        well(await token(name="mine", uid=uids["mine"]))
        refused(await token(), "node requested token not bound to a pod")
        refused(await token(name="mine"), "node requested token with a pod binding without a uid")
        refused(await token(name="theirs", uid=uids["theirs"]), "bound to a pod scheduled on a different node")
        assert (await token("eve", name="mine", uid=uids["mine"])).status == 403, "none of its pods is eve's"

    with_server(test)
