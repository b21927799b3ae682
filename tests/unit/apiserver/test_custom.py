"""Custom resources: served when their definition is, pruned, defaulted, validated, published, and gone with it."""

from typing import Any

from serving import Client, with_server

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NETWORKS = "/apis/samplecrd.k8s.io/v1/namespaces/default/networks"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def network_definition() -> Any:
    """The Network of the seeds, with a schema."""
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object", "required": ["cidr"],
                "properties": {
                    "cidr": {"type": "string", "pattern": "^[0-9./]+$"},
                    "gateway": {"type": "string", "default": "10.0.0.1"},
                    "size": {"type": "integer", "minimum": 1, "maximum": 9},
                    "mode": {"type": "string", "enum": ["a", "b"]},
                    "replicas": {"type": "integer"},
                },
            },
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }  # fmt: skip
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "networks.samplecrd.k8s.io"},
        "spec": {
            "group": "samplecrd.k8s.io", "scope": "Namespaced",
            "names": {"kind": "Network", "plural": "networks", "shortNames": ["nw"], "categories": ["all"]},
            "versions": [{
                "name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema},
                "subresources": {
                    "status": {},
                    "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
                },
                "additionalPrinterColumns": [{"name": "CIDR", "type": "string", "jsonPath": ".spec.cidr"}],
                "selectableFields": [{"jsonPath": ".spec.mode"}],
            }],
        },
    }  # fmt: skip


def network(name: str = "n", **spec: Any) -> Any:
    return {
        "apiVersion": "samplecrd.k8s.io/v1", "kind": "Network", "metadata": {"name": name},
        "spec": {"cidr": "192.168.0.0/16", **spec},
    }  # fmt: skip


async def establish(c: Client, definition: Any | None = None) -> None:
    """Make the definition, and wait until its kind is served."""
    async with c.watch(CRDS, resourceVersion=await c.server.store.revision()) as events:
        made = await c.post(CRDS, definition or network_definition())
        assert made.status == 201, made.data
        while True:
            conditions = ((await events.next())["object"].get("status") or {}).get("conditions") or []
            if any(x["type"] == "Established" and x["status"] == "True" for x in conditions):
                break
    while (await c.get(NETWORKS)).status == 404:
        pass


def test_the_life_of_a_custom_resource() -> None:
    async def test(c: Client) -> None:
        assert (await c.get(NETWORKS)).status == 404
        await establish(c)
        made = await c.post(NETWORKS, network(extra=1))
        assert made.status == 201
        assert made.warnings == ['unknown field \\"spec.extra\\"']
        assert made.body["spec"] == {"cidr": "192.168.0.0/16", "gateway": "10.0.0.1"}
        assert made.body["metadata"]["generation"] == 1
        strict = await c.post(NETWORKS, network("m", extra=1), fieldValidation="Strict")
        assert strict.message.endswith('strict decoding error: unknown field "spec.extra"')
        listed = (await c.get(NETWORKS)).body
        assert (listed["kind"], listed["items"][0]["kind"]) == ("NetworkList", "Network")
        shown = (await c.get(NETWORKS, accept=TABLE)).body
        assert [d["name"] for d in shown["columnDefinitions"]] == ["Name", "CIDR"]
        assert shown["rows"][0]["cells"] == ["n", "192.168.0.0/16"]
        assert (await c.patch(f"{NETWORKS}/n", {}, "strategic")).status == 415
        unnamed = await c.put(f"{NETWORKS}/n", network())
        assert unnamed.message == (
            'Network.samplecrd.k8s.io "n" is invalid: metadata.resourceVersion: Invalid value: 0x0: must be specified for '
            "an update"
        )
        status = await c.patch(
            f"{NETWORKS}/n/status", {"status": {"ready": True, "replicas": 2}, "spec": {"cidr": "1"}}
        )
        assert (status.body["status"]["ready"], status.body["spec"]["cidr"]) == (True, "192.168.0.0/16")
        scaled = await c.patch(f"{NETWORKS}/n/scale", {"spec": {"replicas": 3}})
        assert (scaled.body["spec"], scaled.body["status"]) == ({"replicas": 3}, {"replicas": 2})

    with_server(test)


def test_what_the_schema_forbids() -> None:
    async def test(c: Client) -> None:
        await establish(c)
        cases = {
            'spec.cidr: Invalid value: "integer": spec.cidr in body must be of type string: "integer"': {"cidr": 5},
            "spec.cidr: Invalid value: \"x\": spec.cidr in body should match '^[0-9./]+$'": {"cidr": "x"},
            "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1": {"size": 0},
            'spec.mode: Unsupported value: "z": supported values: "a", "b"': {"mode": "z"},
        }
        for text, spec in cases.items():
            refused = await c.post(NETWORKS, network(**spec))
            assert (refused.status, refused.message) == (422, f'Network.samplecrd.k8s.io "n" is invalid: {text}')
        missing = network()
        del missing["spec"]["cidr"]
        assert (await c.post(NETWORKS, missing)).message.endswith("spec.cidr: Required value")
        bad = network_definition()
        bad["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["x"] = {}
        bad["metadata"]["name"] = "networks.other.io"
        bad["spec"]["group"] = "other.io"
        refused = await c.post(CRDS, bad)
        assert "x].type: Required value: must not be empty for specified object fields" in refused.message

    with_server(test)


def test_published_and_taken_back() -> None:
    async def test(c: Client) -> None:
        await establish(c)
        group = next(g for g in (await c.get("/apis")).body["groups"] if g["name"] == "samplecrd.k8s.io")
        assert group["preferredVersion"]["version"] == "v1"
        resources = (await c.get("/apis/samplecrd.k8s.io/v1")).body["resources"]
        assert {r["name"] for r in resources} == {"networks", "networks/status", "networks/scale"}
        index = (await c.get("/openapi/v3")).body["paths"]
        document = (await c.get(index["apis/samplecrd.k8s.io/v1"]["serverRelativeURL"].partition("?")[0])).body
        schema = document["components"]["schemas"]["io.k8s.samplecrd.v1.Network"]
        assert schema["properties"]["spec"]["required"] == ["cidr"]
        await c.post(NETWORKS, network(mode="a"))
        await c.post(NETWORKS, network("o", mode="b"))
        chosen = (await c.get(NETWORKS, fieldSelector="spec.mode=b")).body["items"]
        assert [i["metadata"]["name"] for i in chosen] == ["o"]
        async with c.watch(CRDS, resourceVersion=await c.server.store.revision()) as events:
            await c.delete(f"{CRDS}/networks.samplecrd.k8s.io")
            while (await events.next())["type"] != "DELETED":
                pass
        while (await c.get(NETWORKS)).status != 404:
            pass
        assert await c.server.store.count("/registry/samplecrd.k8s.io/") == 0
        assert "samplecrd.k8s.io" not in (await c.get("/apis")).data.decode()

    with_server(test)


def test_definitions_of_old() -> None:
    async def test(c: Client) -> None:
        old = {
            "apiVersion": "apiextensions.k8s.io/v1beta1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "networks.samplecrd.k8s.io"},
            "spec": {
                "group": "samplecrd.k8s.io", "version": "v1", "scope": "Namespaced",
                "names": {"kind": "Network", "plural": "networks"},
            },
        }  # fmt: skip
        made = await c.post("/apis/apiextensions.k8s.io/v1beta1/customresourcedefinitions", old)
        assert made.status == 201, made.data
        assert made.warnings == [
            "apiextensions.k8s.io/v1beta1 CustomResourceDefinition is deprecated in v1.16+, unavailable in v1.22+; "
            "use apiextensions.k8s.io/v1 CustomResourceDefinition"
        ]
        while (await c.get(NETWORKS)).status == 404:
            pass
        anything = await c.post(NETWORKS, network(anything={"goes": [1]}))
        assert anything.body["spec"]["anything"] == {"goes": [1]}

    with_server(test)
