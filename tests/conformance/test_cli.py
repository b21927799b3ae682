"""cli: kubectl against a server in this process, as far as no pod has to run."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from lifecycles import CORE, established, fine, made, object_
from serving import PODS, Client, Json, with_server

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")

Kubectl = Callable[..., Awaitable[str]]
CONTROLLERS = f"{CORE}/replicationcontrollers"


class Failed(Exception):
    """kubectl has failed; its output."""


def with_kubectl(tmp_path: Path, test: Callable[[Client, Kubectl], Awaitable[None]]) -> None:
    """Run a test with a server and a kubectl that may do everything (over plain HTTP it sends no token)."""

    async def run(c: Client) -> None:
        subject = {"kind": "User", "name": "system:anonymous", "apiGroup": "rbac.authorization.k8s.io"}
        ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
        path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
        await made(c, path, {"metadata": {"name": "all"}, "subjects": [subject], "roleRef": ref})

        async def kubectl(*words: str, stdin: str = "", code: int = 0) -> str:
            process = await asyncio.create_subprocess_exec(
                "kubectl", "--server", c.url, *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT, env=environment(tmp_path),
            )  # fmt: skip
            output, _ = await process.communicate(stdin.encode())
            text = output.decode()
            if process.returncode != code:
                raise Failed(f"kubectl {' '.join(words)}: {process.returncode}\n{text}")
            return text

        nobody = c.as_("")
        while (await nobody.get("/api/v1/nodes")).status != 200:  # roles are cached
            pass
        await test(c, kubectl)

    with_server(run)


def environment(home: Path) -> dict[str, str]:
    """A client's environment: no configuration and no cache but its own."""
    return {**os.environ, "KUBECONFIG": str(home / "none"), "HOME": str(home), "NO_COLOR": "1"}


def text_of(value: Any) -> str:
    """An object as a manifest."""
    import yaml

    return yaml.safe_dump(value)


def pod(name: str = "p", image: str = "registry.k8s.io/pause:3.10") -> Json:
    """A pod."""
    return object_("v1", "Pod", name, spec={"containers": [{"name": "c", "image": image}]})


def controller(name: str = "rc") -> Json:
    """A ReplicationController."""
    template = {"metadata": {"labels": {"app": name}}, "spec": pod()["spec"]}
    spec = {"replicas": 1, "selector": {"app": name}, "template": template}
    return object_("v1", "ReplicationController", name, spec=spec)


def test_kubectl_api_versions(tmp_path: Path) -> None:
    async def test(_: Client, kubectl: Kubectl) -> None:
        assert "v1" in (await kubectl("api-versions")).splitlines()

    with_kubectl(tmp_path, test)


def test_kubectl_version(tmp_path: Path) -> None:
    async def test(_: Client, kubectl: Kubectl) -> None:
        text = await kubectl("version")
        for what in ("Client Version", "Server Version"):
            assert re.search(rf"{what}: v\d+\.\d+\.\d+", text), text

    with_kubectl(tmp_path, test)


def test_kubectl_label(tmp_path: Path) -> None:
    async def test(c: Client, kubectl: Kubectl) -> None:
        await made(c, PODS, pod())
        await kubectl("label", "pods", "p", "testing-label=testing-label-value")
        assert "testing-label-value" in await kubectl("get", "pod", "p", "-L", "testing-label")
        await kubectl("label", "pods", "p", "testing-label-")
        assert "testing-label-value" not in await kubectl("get", "pod", "p", "-L", "testing-label")

    with_kubectl(tmp_path, test)


def test_kubectl_replace(tmp_path: Path) -> None:
    async def test(c: Client, kubectl: Kubectl) -> None:
        await kubectl("run", "p", "--image=nginx", "--labels=run=p")
        obj = await fine(c.get(f"{PODS}/p"))
        obj["spec"]["containers"][0]["image"] = "busybox"
        await kubectl("replace", "-f", "-", stdin=text_of(obj))
        assert (await fine(c.get(f"{PODS}/p")))["spec"]["containers"][0]["image"] == "busybox"

    with_kubectl(tmp_path, test)


def test_kubectl_run(tmp_path: Path) -> None:
    async def test(c: Client, kubectl: Kubectl) -> None:
        await kubectl("run", "e2e", "--restart=Never", "--image=nginx:1.25")
        spec = (await fine(c.get(f"{PODS}/e2e")))["spec"]
        assert ([x["image"] for x in spec["containers"]], spec["restartPolicy"]) == (["nginx:1.25"], "Never")

    with_kubectl(tmp_path, test)


def test_kubectl_server_dry_run(tmp_path: Path) -> None:
    async def test(c: Client, kubectl: Kubectl) -> None:
        await kubectl("run", "p", "--image=nginx", "--labels=run=p")
        patch = '{"spec":{"containers":[{"name": "p","image": "busybox"}]}}'
        await kubectl("patch", "pod", "p", "-p", patch, "--dry-run=server")
        assert (await fine(c.get(f"{PODS}/p")))["spec"]["containers"][0]["image"] == "nginx"

    with_kubectl(tmp_path, test)


def test_kubectl_diff(tmp_path: Path) -> None:
    async def test(_: Client, kubectl: Kubectl) -> None:
        template = {"metadata": {"labels": {"app": "web"}}, "spec": pod(image="nginx:1")["spec"]}
        spec = {"selector": {"matchLabels": {"app": "web"}}, "template": template}
        web = object_("apps/v1", "Deployment", "web", spec=spec)
        await kubectl("create", "-f", "-", stdin=text_of(web))
        template["spec"]["containers"][0]["image"] = "nginx:2"
        text = await kubectl("diff", "-f", "-", stdin=text_of(web), code=1)
        assert re.search(r"(?m)^-.*nginx:1$", text), text
        assert re.search(r"(?m)^\+.*nginx:2$", text), text

    with_kubectl(tmp_path, test)


def test_kubectl_expose(tmp_path: Path) -> None:
    async def test(c: Client, kubectl: Kubectl) -> None:
        await made(c, CONTROLLERS, controller())
        await kubectl("expose", "rc", "rc", "--name=rm2", "--port=1234", "--target-port=6379")
        spec = (await fine(c.get(f"{CORE}/services/rm2")))["spec"]
        assert (spec["selector"], spec["ports"][0]["port"], spec["ports"][0]["targetPort"]) == (
            {"app": "rc"},
            1234,
            6379,
        )
        await kubectl("expose", "service", "rm2", "--name=rm3", "--port=2345", "--target-port=6379")
        ports = (await fine(c.get(f"{CORE}/services/rm3")))["spec"]["ports"]
        assert (ports[0]["port"], ports[0]["targetPort"]) == (2345, 6379)

    with_kubectl(tmp_path, test)


def test_kubectl_describe(tmp_path: Path) -> None:
    async def test(c: Client, kubectl: Kubectl) -> None:
        await made(c, CONTROLLERS, controller())
        await made(c, PODS, pod())
        await made(
            c,
            f"{CORE}/services",
            object_("v1", "Service", "s", spec={"selector": {"app": "rc"}, "ports": [{"port": 6379}]}),
        )
        await made(
            c,
            "/api/v1/nodes",
            object_(
                "v1",
                "Node",
                "n",
                status={
                    "conditions": [{"type": "Ready", "status": "True"}],
                    "capacity": {"pods": "110"},
                    "addresses": [{"type": "Hostname", "address": "n"}],
                },
            ),
        )
        expected = {
            ("pod", "p"): ("Name:", "Namespace:", "Node:", "Labels:", "Status:", "IP:", "Image:", "e2e=yes"),
            ("rc", "rc"): ("Name:", "Namespace:", "Selector:", "Labels:", "Replicas:", "Pods Status:", "Image:", "app=rc"),
            ("service", "s"): ("Name:", "Namespace:", "Selector:", "Type:", "IP:", "Port:", "Endpoints:", "Session Affinity:"),
            ("node", "n"): ("Name:", "Labels:", "Annotations:", "CreationTimestamp:", "Conditions:", "Addresses:", "Capacity:", "Pods:"),
            ("namespace", "default"): ("Name:", "Labels:", "Annotations:", "Status:", "No resource quota", "No LimitRange"),
        }  # fmt: skip
        for (kind, name), words in expected.items():
            text = await kubectl("describe", kind, name)
            for word in words:
                assert word in text, (kind, word, text)

    with_kubectl(tmp_path, test)


def test_kubectl_proxy_port_0(tmp_path: Path) -> None:
    async def test(c: Client, _: Kubectl) -> None:
        process = await asyncio.create_subprocess_exec(
            "kubectl", "--server", c.url, "proxy", "--port=0", "--disable-filter=true",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=environment(tmp_path),
        )  # fmt: skip
        try:
            assert process.stdout is not None
            lines = ""
            while not (match := re.search(r"Starting to serve on (127\.0\.0\.1:\d+)", lines)):
                line = await process.stdout.readline()
                assert line, lines
                lines += line.decode()
            async with c.session.get(f"http://{match[1]}/api/") as response:
                assert "v1" in (await response.json())["versions"]
        finally:
            process.terminate()
            await process.wait()

    with_kubectl(tmp_path, test)


def explained(schema: Json | None) -> Json:
    """The definition that the tests of published schemas use."""
    from lifecycles import definition

    return definition("e2e-tests", "E2eTest", "crd-publish-openapi.example.com", schema)


def test_crd_openapi_validation_schema(tmp_path: Path) -> None:
    bar = {"type": "object", "required": ["name"], "properties": {
        "name": {"type": "string", "description": "Name of Bar."},
        "age": {"type": "string", "description": "Age of Bar."},
        "bazs": {"type": "array", "items": {"type": "string"}, "description": "List of Bazs."},
    }}  # fmt: skip
    spec = {"type": "object", "description": "Specification of Foo", "properties": {
        "bars": {"type": "array", "items": bar, "description": "List of Bars and their specs."},
    }}  # fmt: skip
    schema = {"type": "object", "description": "Foo CRD for Testing", "properties": {"spec": spec}}

    async def test(c: Client, kubectl: Kubectl) -> None:
        await established(c, explained(schema))
        good = object_(
            "crd-publish-openapi.example.com/v1", "E2eTest", "t", spec={"bars": [{"name": "b", "age": "10"}]}
        )
        await kubectl("create", "-f", "-", stdin=text_of(good))
        await kubectl("apply", "-f", "-", stdin=text_of(good))
        for wrong, told in (({"foo": True}, "unknown field"), ({"bars": [{"age": "10"}]}, "Required value")):
            text = await kubectl(
                "create", "-f", "-", stdin=text_of({**good, "metadata": {"name": "u"}, "spec": wrong}), code=1
            )
            assert told in text or "missing required field" in text, text
        assert "Foo CRD for Testing" in await kubectl("explain", "e2e-tests")
        assert "Specification of Foo" in await kubectl("explain", "e2e-tests.spec")
        nested = await kubectl("explain", "e2e-tests.spec.bars")
        for word in ("List of Bars and their specs.", "bazs", "Name of Bar."):
            assert word in nested
        await kubectl("explain", "e2e-tests.spec.bars2", code=1)

    with_kubectl(tmp_path, test)


def test_crd_openapi_preserve_unknown_in_embedded_object(tmp_path: Path) -> None:
    open_ = {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "description": "Specification of Waldo"}
    schema = {"type": "object", "description": "preserve-unknown-properties in nested field for Testing",
              "properties": {"spec": open_}}  # fmt: skip

    async def test(c: Client, kubectl: Kubectl) -> None:
        await established(c, explained(schema))
        obj = object_("crd-publish-openapi.example.com/v1", "E2eTest", "t", spec={"a": None, "b": [{"c": "d"}]})
        await kubectl("create", "-f", "-", stdin=text_of(obj))
        await kubectl("apply", "-f", "-", stdin=text_of(obj))
        text = await kubectl("explain", "e2e-tests")
        assert "preserve-unknown-properties in nested field for Testing" in text
        assert "Specification of Waldo" in await kubectl("explain", "e2e-tests.spec")

    with_kubectl(tmp_path, test)


def test_crd_openapi_no_schema(tmp_path: Path) -> None:
    async def test(c: Client, kubectl: Kubectl) -> None:
        await established(c, explained(None))
        obj = object_("crd-publish-openapi.example.com/v1", "E2eTest", "t", a={"b": 1}, spec={"c": "d"})
        await kubectl("create", "-f", "-", stdin=text_of(obj))
        await kubectl("apply", "-f", "-", stdin=text_of(obj))
        assert "DESCRIPTION:" in await kubectl("explain", "e2e-tests")

    with_kubectl(tmp_path, test)
