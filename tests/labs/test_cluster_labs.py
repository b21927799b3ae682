"""The labs on clusters: up, checked, broken and mended by hand, put back, and gone without a trace."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from exercising import SHORT, captured_by, exercises_of, until
from patience import patience

from netlab.daemons.kubectl import environment
from netlab.daemons.labclusters import ClusterLabs
from netlab.lab.checks import run_all
from netlab.lab.exercises.runner import Exercises
from netlab.lab.labfile import Lab

pytestmark = [
    pytest.mark.not_in_vm("starts Python by the dozen; the parts that a kernel has a share in have tests of their own"),
    pytest.mark.skipif(
        any(shutil.which(program) is None for program in ("runc", "conmon", "kubectl")),
        reason="needs runc, conmon and kubectl: apt-get install runc conmon kubernetes-client",
    ),
]
NAMES = [
    "cluster-first", "pod-anatomy", "deployment-rolling", "service-hostnames", "node-failure", "network-policy-cluster",
    "calico-cluster",
]  # fmt: skip
PATIENCE = patience(120)  # seconds until a command is given up

#: what a learner types, by exercise; in the lab's folder. {lab} stands for its name
CURES = {
    "nobody-home": """kubectl patch service httpd-svc -p '{"spec":{"selector":{"run":"httpd"}}}'""",
    "wrong-door": """kubectl patch service httpd-svc --type=json -p '[{"op":"replace","path":"/spec/ports/0/targetPort","value":80}]'""",
    "nowhere-to-go": "kubectl label node node1 node2 disktype=ssd",
    "no-such-image": "kubectl rollout undo deployment/httpd-app",
    "by-hand": "kubectl apply -f manifests/",
    "two-at-one-door": "kubectl get pod twins -o yaml | sed '/second/s/-p 80/-p 8080/' | kubectl replace --force --grace-period=1 -f -",
    "never-ready": "kubectl replace --force --grace-period=1 -f manifests/2-javaweb-2.yaml",
    "the-first-one": "kubectl replace --force --grace-period=1 -f manifests/2-javaweb-2.yaml",
    "typo": "kubectl rollout undo deployment/nginx-deployment",
    "asleep": "kubectl rollout resume deployment/nginx-deployment",
    "not-ready": """kubectl patch deployment nginx-deployment --type=json -p '[{"op": "replace", "path": "/spec/template/spec/containers/0/readinessProbe/httpGet/port", "value": 80}]'""",
    "no-room": """kubectl patch deployment nginx-deployment -p '{"spec": {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}}}'""",
    "selector": """kubectl patch svc hostnames -p '{"spec": {"selector": {"app": "hostnames"}}}'""",
    "target-port": """kubectl patch svc hostnames --type=json -p '[{"op": "replace", "path": "/spec/ports/0/targetPort", "value": 9376}]'""",
    "readiness": """kubectl patch deployment hostnames --type=json -p '[{"op": "replace", "path": "/spec/template/spec/containers/0/readinessProbe/httpGet/path", "value": "/"}]'""",
    "two-faces": """kubectl patch svc sticky -p '{"spec": {"sessionAffinity": "ClientIP"}}'""",
    "outside": """kubectl patch svc my-nginx -p '{"spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]}}'""",
    "shunned": "kubectl taint node node2 maintenance-",
    "everybody-else": "kubectl apply -f manifests/2-test-network-policy.yaml",
    "who-blocks": "kubectl delete networkpolicy audit",
    "wrong-namespace": "kubectl delete networkpolicy default-deny && kubectl apply -f manifests/3-shop.yaml",
    "no-names": """kubectl patch networkpolicy only-db --type=json -p '[{"op": "add", "path": "/spec/egress/-", "value": {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}}]'""",
    "three-tiers": "kubectl apply -f manifests/3-shop.yaml",
    "lost-route": "netlab cluster exec --cluster {lab} node2 -- "
    "ip route add $(kubectl get pod web-2 -o jsonpath={.status.podIP}) dev cali9fb0db7f13e",
    "proxy-arp": "netlab cluster exec --cluster {lab} node1 -- sysctl -w net.ipv4.conf.calia7a3e029a7b.proxy_arp=1",
    "no-mesh": "netlab cluster exec --cluster {lab} node2 -- rm /etc/calico/objects/default.json",
    "whose-address": """kubectl patch networkpolicy web --type=json -p '[{"op": "replace", "path": "/spec/ingress/0/from", "value": [{"podSelector": {"matchLabels": {"app": "client"}}}]}]'""",
    "no-such-secret": "kubectl create secret generic password --from-literal=password.txt=c1oudc0w",
}
MENDED = [(lab, e.id) for lab in NAMES for e in exercises_of(lab) if not e.captures]


def typed(lab: Lab, line: str) -> str:
    """Type a command as a person with the lab's kubeconfig does, in the lab's folder."""
    environ = {**os.environ, **environment(Path("/run/netlab") / lab.name)}
    line = line.replace("{lab}", lab.name).replace("netlab ", f"{shlex.quote(sys.executable)} -m netlab.cli.main ")
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], cwd=lab.folder, env=environ, capture_output=True, text=True,
        timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (line, done.stdout, done.stderr)
    return done.stdout


def unmet(clusters: ClusterLabs, lab: Lab) -> list[str]:
    results = run_all(lab.file.checks, clusters.context(lab))
    return [f"{r.name}: {r.detail}" for r in results if r.outcome != "passed"]


@pytest.mark.parametrize("name", NAMES)
def test_every_check_holds(name: str, up: Callable[[str], Lab], clusters: ClusterLabs) -> None:
    lab = up(name)
    assert len(lab.file.checks) >= 8
    assert unmet(clusters, lab) == []


@pytest.mark.parametrize(("name", "ident"), MENDED)
def test_it_starts_broken_and_is_mended_by_hand(name: str, ident: str, exercises: Callable[..., Exercises]) -> None:
    e = exercises(name)
    hurried = exercises(name, within=SHORT)
    exercise = e.start(ident).exercise
    # what is broken shows as soon as controllers have seen it
    wanted = "waiting" if exercise.stages else "failed"

    def missed() -> bool:
        lines = hurried.check().lines
        goals = lines if exercise.stages else lines[: len(exercise.checks)]
        return {line.outcome for line in goals[-1:]} == {wanted} and not any(g.outcome == "passed" for g in goals)

    until(missed, f"all goals of {ident} to be missed")
    typed(e.lab, CURES[ident])
    grade = e.check()
    assert grade.passed, grade.lines


@pytest.mark.parametrize("name", NAMES)
def test_afterwards_it_is_as_its_files_say(name: str, up: Callable[[str], Lab], clusters: ClusterLabs) -> None:
    """Exercises are ended by putting the lab back, with whatever a learner has left in it."""
    lab = up(name)
    typed(lab, "kubectl create configmap mine")
    typed(lab, "kubectl label node node1 mine=yes && kubectl taint node node1 mine=yes:NoSchedule")
    assert "ConfigMap default/mine" in clusters.up(lab).removed
    assert typed(lab, "kubectl get configmap,node -o yaml | grep -cw mine || true").strip() == "0"
    assert unmet(clusters, lab) == []


def test_before_and_after_in_a_capture(exercises: Callable[..., Exercises], tmp_path: Path) -> None:
    e = exercises("cluster-first")
    e.start("two-addresses")
    ask = "for i in $(seq 20); do kubectl exec client -- curl -s -m 5 -o /dev/null httpd-svc:8080; done"
    places = ["pod/default/client:eth0", "node1:flannel.1"]
    file = captured_by(e.lab, tmp_path / "request.pcapng", places, lambda: typed(e.lab, ask))
    grade = e.check(pcap=file)
    assert [line.outcome for line in grade.lines] == ["passed"] * len(grade.lines), grade.lines


def test_localhost_in_a_capture(exercises: Callable[..., Exercises], tmp_path: Path) -> None:
    e = exercises("pod-anatomy")
    e.start("localhost")
    pod = "pod/default/two-containers"
    lines = [
        f"netlab lab exec {e.name} {pod} curl -s localhost",
        f"netlab cluster exec --cluster {e.name} node1 -- "
        "curl -s $(kubectl get pod two-containers -o jsonpath={.status.podIP})",
    ]
    file = captured_by(
        e.lab, tmp_path / "two.pcapng", [f"{pod}:lo", f"{pod}:eth0"], lambda: [typed(e.lab, line) for line in lines]
    )
    grade = e.check(pcap=file)
    assert [line.outcome for line in grade.lines] == ["passed"] * len(grade.lines), grade.lines


def device_of(lab: Lab, node: str, device: str) -> str:
    """The first IPv4 address of a device. Which of the pods' networks a node has is decided as nodes come."""
    line = typed(lab, f"netlab cluster exec --cluster {lab.name} {node} -- ip -br -4 addr show {device}")
    return line.split()[2].partition("/")[0]


@pytest.mark.parametrize(
    ("name", "ident", "answers"),
    [
        ("cluster-first", "who-asks", [("control-plane", "flannel.1"), "80", ("control-plane", "flannel.1")]),
        ("pod-anatomy", "the-prober", [("node1", "cni0"), "64"]),
        ("calico-cluster", "two-routers", ["ee:ee:ee:ee:ee:ee", "62"]),
    ],
)
def test_questions(
    name: str,
    ident: str,
    answers: list[str | tuple[str, str]],
    exercises: Callable[..., Exercises],
    clusters: ClusterLabs,
) -> None:
    e = exercises(name)
    e.start(ident)
    # what the exercise before has left was laid anew, and has to run before it can be asked
    assert unmet(clusters, e.lab) == []
    for answer in answers:
        given = answer if isinstance(answer, str) else device_of(e.lab, *answer)
        grade = e.check(answer=given)
        assert [line.outcome for line in grade.lines] == ["passed"], (given, grade.lines)
