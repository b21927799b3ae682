"""network: objects alone, and what the server itself allocates."""

from __future__ import annotations

from typing import Any

from lifecycles import CORE, LABEL, collection, condition, fine, lifecycle, made, object_
from serving import Client, Json, with_server

SERVICES = f"{CORE}/services"
PORT = {"port": 80, "targetPort": 9376, "protocol": "TCP"}


def service(name: str = "s", kind: str = "ClusterIP", **spec: Any) -> Json:
    """A Service."""
    ports = [] if kind == "ExternalName" else [PORT]
    return object_("v1", "Service", name, spec={"type": kind, "ports": ports, **spec})


def test_endpointslice_api_server() -> None:
    async def test(c: Client) -> None:
        endpoints = await fine(c.get(f"{CORE}/endpoints/kubernetes"))
        addresses = [a["ip"] for s in endpoints["subsets"] for a in s["addresses"]]
        assert addresses
        path = collection("discovery.k8s.io/v1", "endpointslices")
        slices = (await fine(c.get(path, labelSelector="kubernetes.io/service-name=kubernetes")))["items"]
        assert [a for s in slices for e in s["endpoints"] for a in e["addresses"]] == addresses
        assert (await fine(c.get(f"{SERVICES}/kubernetes")))["spec"]["ports"][0]["name"] == "https"

    with_server(test)


def test_ingress_api() -> None:
    backend = {"service": {"name": "default-backend", "port": {"number": 80}}}
    spec = {"defaultBackend": backend, "rules": [{"host": "foo.bar.com"}]}
    status = {"loadBalancer": {"ingress": [{"ip": "169.1.1.1"}]}}
    lifecycle("networking.k8s.io/v1", "Ingress", "ingresses", {"spec": spec}, status=status)


def test_ingressclass_api() -> None:
    lifecycle("networking.k8s.io/v1", "IngressClass", "ingressclasses", {"spec": {"controller": "example.com/c"}},
              namespaced=False)  # fmt: skip


def test_servicecidr_api() -> None:
    ranges = {"a": "10.100.1.0/24", "b": "10.100.2.0/24", "c": "10.100.3.0/24"}
    lifecycle("networking.k8s.io/v1", "ServiceCIDR", "servicecidrs",
              lambda name: {"spec": {"cidrs": [ranges[name[-1]]]}}, namespaced=False,
              status={"conditions": [condition(lastTransitionTime="2026-01-01T00:00:00Z")]})  # fmt: skip


def test_ipaddress_api() -> None:
    parent = {"resource": "services", "namespace": "default", "name": "s"}
    addresses = {"a": "192.168.6.1", "b": "192.168.6.2", "c": "192.168.6.3"}
    assert all(v == f"192.168.6.{i}" for i, v in enumerate(addresses.values(), 1))

    async def test(c: Client) -> None:
        path = collection("networking.k8s.io/v1", "ipaddresses", namespaced=False)
        async with c.watch(path, labelSelector=LABEL) as events:
            for ip in addresses.values():
                await made(c, path, object_("networking.k8s.io/v1", "IPAddress", ip, spec={"parentRef": parent}))
                assert (await events.next())["type"] == "ADDED"
            one = f"{path}/192.168.6.3"
            patched = await fine(c.patch(one, {"metadata": {"annotations": {"patched": "true"}}}))
            assert (await events.next())["type"] == "MODIFIED"
            patched["spec"]["parentRef"]["name"] = "other"
            refused = await c.put(one, patched)
            assert (refused.status, "field is immutable" in refused.message) == (422, True)
            assert (await c.delete(one)).status == 200
            assert (await events.next())["type"] == "DELETED"
        wrong = await c.post(
            path, object_("networking.k8s.io/v1", "IPAddress", "192.168.06.1", spec={"parentRef": parent})
        )
        assert wrong.status == 422
        await fine(c.delete(path, labelSelector=LABEL))
        assert (await fine(c.get(path, labelSelector=LABEL)))["items"] == []

    with_server(test)


def test_service_clusterip_externalname() -> None:
    async def test(c: Client) -> None:
        obj = await made(c, SERVICES, service())
        assert obj["spec"]["clusterIP"]
        obj["spec"].update({"type": "ExternalName", "externalName": "foo.example.com"})
        for name in ("clusterIP", "clusterIPs"):
            obj["spec"].pop(name)
        now = await fine(c.put(f"{SERVICES}/s", obj))
        assert (now["spec"]["externalName"], now["spec"].get("clusterIP")) == ("foo.example.com", None)

    with_server(test)


def test_service_externalname_clusterip() -> None:
    async def test(c: Client) -> None:
        obj = await made(c, SERVICES, service(kind="ExternalName", externalName="foo.example.com"))
        assert "clusterIP" not in obj["spec"]
        obj["spec"].pop("externalName")
        obj["spec"].update({"type": "ClusterIP", "ports": [PORT]})
        now = await fine(c.put(f"{SERVICES}/s", obj))
        assert now["spec"]["clusterIP"].startswith("10.")

    with_server(test)


def test_service_nodeport_externalname() -> None:
    async def test(c: Client) -> None:
        obj = await made(c, SERVICES, service(kind="NodePort"))
        port = obj["spec"]["ports"][0]["nodePort"]
        assert 30000 <= port <= 32767
        obj["spec"].update({"type": "ExternalName", "externalName": "foo.example.com", "ports": []})
        for name in ("clusterIP", "clusterIPs"):
            obj["spec"].pop(name)
        now = await fine(c.put(f"{SERVICES}/s", obj))
        assert "clusterIP" not in now["spec"]
        again = service("t", "NodePort", ports=[{**PORT, "nodePort": port}])
        assert (await made(c, SERVICES, again))["spec"]["ports"][0]["nodePort"] == port

    with_server(test)


def test_service_deletecollection() -> None:
    async def test(c: Client) -> None:
        for name in "ab":
            await made(c, SERVICES, service(name))
        other = service("c")
        other["metadata"]["labels"] = {"e2e": "no"}
        await made(c, SERVICES, other)
        await fine(c.delete(SERVICES, labelSelector=LABEL))
        left = [s["metadata"]["name"] for s in (await fine(c.get(SERVICES)))["items"]]
        assert left == ["c", "kubernetes"]

    with_server(test)


def test_service_list_all_namespaces() -> None:
    async def test(c: Client) -> None:
        items = (await fine(c.get("/api/v1/services")))["items"]
        assert ("default", "kubernetes") in [(s["metadata"]["namespace"], s["metadata"]["name"]) for s in items]

    with_server(test)


def test_endpoints_lifecycle() -> None:
    subsets = [{"addresses": [{"ip": "10.0.0.24"}], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}]
    lifecycle("v1", "Endpoints", "endpoints", {"subsets": subsets})
