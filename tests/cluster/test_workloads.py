"""What the texts do with Deployments, typed with kubectl: a kubelet that runs no containers stands for the nodes."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clients import kubectls
from test_kubectl import changing, needs_kubectl, run

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "controllers"))

from workloads import Kubelet

from netlab.client.kubeconfig import load
from netlab.client.resources import Resource
from netlab.client.rest import Object, RestClient

#: kubectl lines; `get` of something that settles a moment later is asked until it says so
TOUR = """
create deployment nginx --image=nginx:1.7.9 --replicas=3
rollout status deployment/nginx
get deployments
get deployment nginx -o jsonpath={.status.conditions[*].reason}
get replicasets
get pods
scale deployment nginx --replicas=5
rollout status deployment/nginx
annotate deployment/nginx kubernetes.io/change-cause=second
set image deployment/nginx nginx=nginx:1.9.1
rollout status deployment/nginx
get deployment nginx -o jsonpath={.spec.template.spec.containers[0].image}
rollout history deployment/nginx
rollout history deployment/nginx --revision=2
set image deployment/nginx nginx=nginx:1.91
rollout status deployment/nginx --timeout=1s
get deployment nginx -o jsonpath={.status.availableReplicas}
rollout undo deployment/nginx
rollout status deployment/nginx
rollout history deployment/nginx
rollout undo deployment/nginx --to-revision=1
rollout status deployment/nginx
get deployment nginx -o jsonpath={.spec.template.spec.containers[0].image}
rollout pause deployment/nginx
set resources deployment/nginx -c=nginx --limits=cpu=200m,memory=512Mi
rollout resume deployment/nginx
rollout status deployment/nginx
rollout restart deployment/nginx
rollout status deployment/nginx
expose deployment nginx --port=80 --target-port=8000
describe deployment nginx
delete deployment nginx --cascade=foreground
get replicasets,pods
"""
#: names with a hash or a chance in them, and the progress of a roll, which depends on the moment of the look
_CHANGING = [
    (r"(nginx-)[a-z0-9]{8,10}(-[a-z0-9]{5})?\b", lambda m: m[1] + "HASH" + ("-XXXXX" if m[2] else "")),
    (r"pod-template-hash=[a-z0-9]+", lambda m: "pod-template-hash=HASH"),
    (r"(?m)^Waiting for deployment .*\n", lambda m: ""),
    (r"(?m)^(\s+Normal\s+ScalingReplicaSet).*\n", lambda m: ""),
]  # fmt: skip


@pytest.fixture
def nodes(server: Path) -> Iterator[None]:
    """Three nodes, one of them the control plane's, and who runs their pods."""
    started, ended = threading.Event(), threading.Event()

    def runs(pod: Object) -> str:
        image = pod["spec"]["containers"][0]["image"]
        return "Running" if pod["spec"].get("nodeName") and image != "nginx:1.91" else ""

    async def work() -> None:
        client = RestClient(load(server))
        for name in ("master", "node1", "node2"):
            taints = [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]
            await _node(client, name, taints if name == "master" else [])
        kubelet = asyncio.create_task(Kubelet(client, runs).run())
        started.set()
        await asyncio.to_thread(ended.wait)
        kubelet.cancel()
        await asyncio.gather(kubelet, return_exceptions=True)
        await client.aclose()

    thread = threading.Thread(target=lambda: asyncio.run(work()))
    thread.start()
    try:
        assert started.wait(30)
        yield
    finally:
        ended.set()
        thread.join()


async def _node(client: RestClient, name: str, taints: list[Object]) -> None:
    path = Resource("v1", "nodes")
    made = await client.create(path.path(), {"metadata": {"name": name}, "spec": {"taints": taints}})
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": None,
             "lastTransitionTime": made["metadata"]["creationTimestamp"]}  # fmt: skip
    status = {"allocatable": {"cpu": "8", "memory": "16Gi", "pods": "110"}, "conditions": [ready]}
    await client.replace(path.path("", name, "status"), {**made, "status": status})


def steady(text: str) -> str:
    """The text without what differs from run to run."""
    text = changing(text)
    for pattern, put in _CHANGING:
        text = re.sub(pattern, put, text)
    return re.sub(r"(?m)[ \t]+$", "", re.sub(r"[ \t]{2,}", "  ", text))


@needs_kubectl
@pytest.mark.usefixtures("nodes")
def test_deployments_as_in_the_texts(environment: dict[str, str], golden: Callable[[str, str], None]) -> None:
    told = []
    for line in TOUR.strip().splitlines():
        status, text = run(kubectls()[0], line.split(" "), environment)
        told.append(f"$ kubectl {line}\n{steady(text).rstrip()}\n" + (f"[exit {status}]\n" if status else ""))
    golden("kubectl-deployments.txt", "\n".join(told))
