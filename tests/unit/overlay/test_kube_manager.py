"""Leases in node objects, against an API server in this process."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fakeapi import FakeApi, running
from stores import until

from netlab.base.errors import InputError
from netlab.client.kubeconfig import ApiConfig
from netlab.client.rest import RestClient
from netlab.overlay.lease import ConfigMissing, Lease, LeaseAttrs, LeaseLost, StoreUnavailable, Subnet, SubnetError
from netlab.overlay.managers import Leases
from netlab.overlay.managers.kube import KubeManager, node_name

P = "flannel.alpha.coreos.com/"
IPV4 = {"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}}
DUAL = {"Network": "10.244.0.0/16", "EnableIPv6": True, "IPv6Network": "fd00:10::/48"}
DATA = {"VNI": 1, "VtepMAC": "02:00:00:00:00:01"}
ATTRS = LeaseAttrs(public_ip=IPv4Address("10.168.0.2"), backend_type="vxlan", backend_data=DATA)


class Scene:
    """A server, this node's manager, and what it was told."""

    def __init__(self, api: FakeApi, folder: Path) -> None:
        self.api, self.folder = api, folder
        self.reports: list[str] = []
        self.client = RestClient(ApiConfig(place="test", server=api.url), timeout=5)
        self.manager = KubeManager(
            self.client, "n1", net_conf=folder / "net-conf.json", report=self.reports.append,
            now=lambda: 1_700_000_000.0, sleep=lambda _: asyncio.sleep(0.01),
        )  # fmt: skip
        self.configure(IPV4)

    def configure(self, config: object) -> None:
        (self.folder / "net-conf.json").write_text(json.dumps(config))

    def node(self, name: str, *cidrs: str, **annotations: str) -> dict[str, Any]:
        spec = {"podCIDR": cidrs[0], "podCIDRs": list(cidrs)} if cidrs else {}
        named = {P + key.replace("_", "-"): value for key, value in annotations.items()}
        metadata = {"name": name, "annotations": named}
        return self.api.put(f"/api/v1/nodes/{name}", {"kind": "Node", "metadata": metadata, "spec": spec})

    def managed(self, number: int) -> dict[str, Any]:
        return self.node(f"n{number}", f"10.244.{number}.0/24", kube_subnet_manager="true",
                         public_ip=f"10.168.0.{number}", backend_type="vxlan", backend_data=json.dumps(DATA))  # fmt: skip

    def annotations(self, name: str = "n1") -> dict[str, str]:
        found = self.api.objects[f"/api/v1/nodes/{name}"]["metadata"]["annotations"]
        return {key.removeprefix(P): value for key, value in found.items()}


def run(folder: Path, test: Callable[[Scene], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with running() as api:
            scene = Scene(api, folder)
            try:
                await test(scene)
            finally:
                await scene.manager.aclose()

    asyncio.run(whole())


class Watching:
    def __init__(self, manager: KubeManager) -> None:
        self.seen: list[Leases] = []
        self.task = asyncio.ensure_future(self._run(manager))

    async def _run(self, manager: KubeManager) -> None:
        async for leases in manager.watch():
            self.seen.append(leases)

    async def until(self, *keys: str) -> None:
        await until(lambda: bool(self.seen) and list(self.seen[-1]) == sorted(keys))

    async def __aenter__(self) -> "Watching":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def test_config(tmp_path: Path) -> None:
    async def test(s: Scene) -> None:
        assert (await s.manager.config()).backend_type == "vxlan"
        s.configure({"Network": "x"})
        with pytest.raises(InputError, match=r"net-conf\.json"):
            await s.manager.config()
        (tmp_path / "net-conf.json").unlink()
        with pytest.raises(ConfigMissing, match="is not there"):
            await s.manager.config()

    run(tmp_path, test)


def test_acquire_publishes(tmp_path: Path) -> None:
    async def test(s: Scene) -> None:
        s.node("n1", "10.244.1.0/24", other="stays")
        lease = await s.manager.acquire(ATTRS, previous=Subnet(IPv4Network("10.244.9.0/24")))
        assert lease == Lease(subnet=Subnet(IPv4Network("10.244.1.0/24")), attrs=ATTRS)
        assert s.annotations() == {
            "other": "stays", "kube-subnet-manager": "true", "public-ip": "10.168.0.2", "backend-type": "vxlan",
            "backend-data": '{"VNI":1,"VtepMAC":"02:00:00:00:00:01"}',
        }  # fmt: skip
        method, path, headers = s.api.requests[-1]
        assert (method, path) == ("PATCH", "/api/v1/nodes/n1/status")
        assert headers["Content-Type"] == "application/strategic-merge-patch+json"
        # nothing to say: nothing is written
        revision = s.api.revision
        assert await s.manager.acquire(ATTRS) == lease and s.api.revision == revision
        assert await s.manager.published() == ATTRS

    run(tmp_path, test)


def test_dual_stack(tmp_path: Path) -> None:
    async def test(s: Scene) -> None:
        s.configure(DUAL)
        s.node("n1", "fd00:10:0:1::/64", "10.244.1.0/24")
        attrs = LeaseAttrs(
            public_ip=ATTRS.public_ip, public_ipv6=IPv6Address("fd01::2"), backend_type="vxlan", backend_data=DATA,
            backend_v6_data=DATA,
        )  # fmt: skip
        lease = await s.manager.acquire(attrs)
        assert lease.subnet == Subnet(IPv4Network("10.244.1.0/24"), IPv6Network("fd00:10:0:1::/64"))
        assert s.annotations()["public-ipv6"] == "fd01::2"
        assert json.loads(s.annotations()["backend-v6-data"]) == DATA
        async with Watching(s.manager) as watching:
            await watching.until(lease.subnet.key)
            assert watching.seen[-1][lease.subnet.key].attrs == attrs
        s.node("n1", "10.244.1.0/24")
        with pytest.raises(SubnetError, match="no IPv6 podCIDR"):
            await s.manager.acquire(attrs)

    run(tmp_path, test)


def test_ipv6_only(tmp_path: Path) -> None:
    async def test(s: Scene) -> None:
        s.configure({"EnableIPv4": False, "EnableIPv6": True, "IPv6Network": "fd00:10::/48"})
        # the cluster has IPv4 too, flannel does not serve it
        s.node("n1", "10.1.1.0/24", "fd00:10:0:1::/64")
        attrs = LeaseAttrs(public_ipv6=IPv6Address("fd01::2"), backend_type="host-gw")
        lease = await s.manager.acquire(attrs)
        assert lease.subnet == Subnet(None, IPv6Network("fd00:10:0:1::/64"))
        assert "public-ip" not in s.annotations() and s.annotations()["backend-v6-data"] == "null"
        async with Watching(s.manager) as watching:
            await watching.until("0.0.0.0-0&fd00:10:0:1::-64")

    run(tmp_path, test)


def test_addresses_from_annotations(tmp_path: Path) -> None:
    async def test(s: Scene) -> None:
        s.node("n1", "10.244.1.0/24", public_ip_overwrite="203.0.113.7", node_public_ip="203.0.113.8")
        lease = await s.manager.acquire(ATTRS)
        assert s.annotations()["public-ip"] == "203.0.113.7"
        assert lease.attrs.public_ip == IPv4Address("203.0.113.7")
        assert await s.manager.node_public_ips() == (IPv4Address("203.0.113.8"), None)
        s.node("n1", "10.244.1.0/24", public_ip_overwrite="nonsense", node_public_ipv6="x")
        with pytest.raises(SubnetError, match="public-ip-overwrite"):
            await s.manager.acquire(ATTRS)
        with pytest.raises(SubnetError, match="node-public-ip"):
            await s.manager.node_public_ips()

    run(tmp_path, test)


def test_what_keeps_a_node_from_a_subnet(tmp_path: Path) -> None:
    async def test(s: Scene) -> None:
        with pytest.raises(StoreUnavailable, match="not found"):
            await s.manager.acquire(ATTRS)
        s.node("n1")
        with pytest.raises(ConfigMissing, match=r"no spec\.podCIDR yet"):
            await s.manager.acquire(ATTRS)
        s.node("n1", "192.168.1.0/24")
        with pytest.raises(SubnetError, match=r"is not in the network 10\.244\.0\.0/16"):
            await s.manager.acquire(ATTRS)
        s.node("n1", "10.244.1.1/24")
        with pytest.raises(SubnetError, match="host bits"):
            await s.manager.acquire(ATTRS)
        s.node("n1", "10.244.1.0/24", "10.244.2.0/24", "10.244.3.0/24")
        with pytest.raises(SubnetError, match="podCIDRs"):
            await s.manager.acquire(ATTRS)
        s.api.broken = 500
        with pytest.raises(StoreUnavailable, match="out of order"):
            await s.manager.acquire(ATTRS)
        await s.api.stop()
        with pytest.raises(StoreUnavailable):
            await s.manager.acquire(ATTRS)

    run(tmp_path, test)


def test_renew_and_release(tmp_path: Path) -> None:
    async def test(s: Scene) -> None:
        s.node("n1", "10.244.1.0/24")
        lease = await s.manager.acquire(ATTRS)
        assert lease.expires is None
        s.node("n1", "10.244.1.0/24")
        assert await s.manager.renew(lease) == lease
        assert s.annotations()["public-ip"] == "10.168.0.2"
        await s.manager.release(lease)
        assert "kube-subnet-manager" not in s.annotations()
        s.node("n1", "10.244.2.0/24")
        with pytest.raises(LeaseLost, match=r"has 10\.244\.2\.0/24 now"):
            await s.manager.renew(lease)
        s.node("n1")
        with pytest.raises(StoreUnavailable):
            await s.manager.renew(lease)
        s.api.drop("/api/v1/nodes/n1")
        await s.manager.release(lease)

    run(tmp_path, test)


def test_condition(tmp_path: Path) -> None:
    async def test(s: Scene) -> None:
        ready = {"type": "Ready", "status": "True"}
        down = {"type": "NetworkUnavailable", "status": "True", "reason": "NoRouteCreated"}
        s.api.put("/api/v1/nodes/n1", {"kind": "Node", "status": {"conditions": [ready, down]}})
        await s.manager.network_available()
        assert s.api.objects["/api/v1/nodes/n1"]["status"]["conditions"] == [
            ready,
            {"type": "NetworkUnavailable", "status": "False", "reason": "FlannelIsUp",
             "message": "Flannel is running on this node", "lastTransitionTime": "2023-11-14T22:13:20Z",
             "lastHeartbeatTime": "2023-11-14T22:13:20Z"},
        ]  # fmt: skip
        assert s.api.requests[-1][1] == "/api/v1/nodes/n1/status"

    run(tmp_path, test)


def test_watch(tmp_path: Path) -> None:
    async def test(s: Scene) -> None:
        s.managed(1)
        s.node("stranger", "10.244.99.0/24")
        async with Watching(s.manager) as watching:
            await watching.until("10.244.1.0-24")
            found = watching.seen[-1]["10.244.1.0-24"]
            assert found.attrs == LeaseAttrs(
                public_ip=IPv4Address("10.168.0.1"), backend_type="vxlan", backend_data=DATA
            )
            s.managed(2)
            await watching.until("10.244.1.0-24", "10.244.2.0-24")
            s.api.drop("/api/v1/nodes/n1")
            await watching.until("10.244.2.0-24")
            count = len(watching.seen)
            # what says nothing about leases is no change
            node = s.api.objects["/api/v1/nodes/n2"]
            s.api.put("/api/v1/nodes/n2", {**node, "status": {"images": []}})
            s.api.bookmark()
            s.managed(3)
            await watching.until("10.244.2.0-24", "10.244.3.0-24")
            assert len(watching.seen) == count + 1

    run(tmp_path, test)


def test_watch_survives(tmp_path: Path) -> None:
    async def test(s: Scene) -> None:
        s.managed(1)
        async with Watching(s.manager) as watching:
            await watching.until("10.244.1.0-24")
            # cut off, and history lost meanwhile
            s.api.drop("/api/v1/nodes/n1")
            s.managed(2)
            s.api.compact()
            s.api.cut()
            await watching.until("10.244.2.0-24")
            # gone for a while, with changes
            port = int(s.api.url.rpartition(":")[2])
            await s.api.stop()
            s.managed(3)
            s.api.drop("/api/v1/nodes/n2")
            await until(lambda: any("cannot be watched" in report for report in s.reports))
            await s.api.start(port=port)
            await watching.until("10.244.3.0-24")
            s.api.broken = 503
            s.api.cut()
            s.managed(4)
            s.api.broken = 0
            await watching.until("10.244.3.0-24", "10.244.4.0-24")
            # neither does garbage end it
            s.api.say = b"garbage\n"
            s.api.cut()
            s.managed(5)
            await watching.until("10.244.3.0-24", "10.244.4.0-24", "10.244.5.0-24")
            assert not watching.task.done()

    run(tmp_path, test)


def test_nodes_that_make_no_sense(tmp_path: Path) -> None:
    async def test(s: Scene) -> None:
        good = {"kube_subnet_manager": "true", "public_ip": "10.168.0.9"}
        s.node("a", "10.244.1.0/24", kube_subnet_manager="true")
        s.node("b", "10.244.1.0/24", **{**good, "public_ip": "x"})
        s.node("c", "10.244.1.0/24", **good, backend_data="{")
        s.node("d", "10.244.1.0/24", **good, backend_data="[1]")
        s.node("e", **good)
        s.node("f", "10.244.1/24", **good)
        s.node("g", "10.244.1.0/24", **good)
        s.node("h", "10.244.1.0/24", **good)
        async with Watching(s.manager) as watching:
            await watching.until("10.244.1.0-24")
            s.managed(2)
            await watching.until("10.244.1.0-24", "10.244.2.0-24")
        assert [report.split()[1] for report in s.reports] == ["a", "b", "c", "d", "e", "f", "h"]
        assert "also that of node g" in s.reports[-1]

    run(tmp_path, test)


def test_node_name(tmp_path: Path) -> None:
    async def test(s: Scene) -> None:
        assert await node_name(s.client, environ={"NODE_NAME": "n7"}) == "n7"
        pod = {"POD_NAME": "flannel-x", "POD_NAMESPACE": "kube-flannel"}
        with pytest.raises(StoreUnavailable, match="not found"):
            await node_name(s.client, environ=pod)
        at = "/api/v1/namespaces/kube-flannel/pods/flannel-x"
        s.api.put(at, {"kind": "Pod", "spec": {}})
        with pytest.raises(StoreUnavailable, match=r"no spec\.nodeName yet"):
            await node_name(s.client, environ=pod)
        s.api.put(at, {"kind": "Pod", "spec": {"nodeName": "n8"}})
        assert await node_name(s.client, environ=pod) == "n8"
        with pytest.raises(InputError, match="neither NODE_NAME nor"):
            await node_name(s.client, environ={"POD_NAME": "x"})

    run(tmp_path, test)
