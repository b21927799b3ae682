"""What the runtime is told of a pod, whole: nothing here is mounted or run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from makingworld import NODE, Given, pod

from netlab.api import Json
from netlab.base.addresses import Address
from netlab.kubelet.making import Making, Missing
from netlab.runtime.images.store import Image
from netlab.runtime.spec import HOST, Container, Limits, Mount

IPS = (ip_address("10.244.1.7"),)
IMAGE = Image("docker.io/library/busybox:latest", "sha256:0", (), {"config": {"User": "33"}}, 1)


@pytest.fixture
def making(tmp_path: Path) -> Making:
    hosts, resolv = tmp_path / "hosts", tmp_path / "resolv.conf"
    hosts.write_text("192.0.2.11\tnode1\n")
    resolv.write_text("nameserver 192.0.2.53\n")
    return Making(tmp_path / "kubelet", Given(), replace(NODE, hosts=hosts, resolv_conf=resolv, pids=512))


def told(making: Making, made: Json, *, ips: Sequence[Address] = IPS, number: int = 0, attempt: int = 3) -> Container:
    container = made["spec"]["containers"][number]
    return making.container(made, container, image=IMAGE, namespaces={"network": "/n"}, ips=ips, attempt=attempt)


def test_a_container_whole(making: Making, tmp_path: Path) -> None:
    made = pod(
        {
            "command": ["sh", "-c", "echo $(WHO)"], "args": ["$$(WHO)"], "workingDir": "/srv", "tty": True, "stdin": True,
            "env": [{"name": "WHO", "value": "me"}], "terminationMessagePath": "/dev/termination-log",
            "resources": {"limits": {"memory": "64Mi"}, "requests": {"memory": "64Mi", "cpu": "100m"}},
            "volumeMounts": [
                {"name": "e", "mountPath": "/e", "mountPropagation": "HostToContainer"},
                {"name": "h", "mountPath": "/etc/hosts", "readOnly": True, "recursiveReadOnly": "Enabled"},
            ],
        },
        volumes=[{"name": "e", "emptyDir": {}}, {"name": "h", "hostPath": {"path": str(tmp_path), "type": ""}}],
    )  # fmt: skip
    found, directory = told(making, made), tmp_path / "kubelet/pods/u1"
    assert (found.command, found.args, found.env) == (("sh", "-c", "echo me"), ("$(WHO)",), {"WHO": "me"})
    assert (found.cwd, found.user, found.hostname, found.image) == ("/srv", "", "web-0", "busybox")
    assert (found.tty, found.stdin, found.stdin_once, found.read_only) == (True, True, False, False)
    assert found.limits == Limits(memory=64 << 20, cpu_request=100)
    assert found.cgroup == "kubepods/burstable/podu1" and found.namespaces == {"network": "/n"}
    assert found.labels == {
        "io.kubernetes.pod.namespace": "default", "io.kubernetes.pod.name": "web-0", "io.kubernetes.pod.uid": "u1",
        "io.kubernetes.container.name": "main", "io.kubernetes.container.attempt": "3",
    }  # fmt: skip
    # the container has its own /etc/hosts
    assert found.mounts == (
        Mount(f"{directory}/volumes/kubernetes.io~empty-dir/e", "/e", propagation="rslave"),
        Mount(str(tmp_path), "/etc/hosts", True, recursive=True),
        Mount(f"{directory}/resolv.conf", "/etc/resolv.conf"),
        Mount(f"{directory}/hostname", "/etc/hostname"),
        Mount(f"{directory}/shm", "/dev/shm"),
        Mount(f"{directory}/containers/main/3", "/dev/termination-log"),
    )
    assert making.termination_log("u1", "main", 3).stat().st_mode & 0o777 == 0o666
    sandbox = making.sandbox(made, netns="/n")
    assert (sandbox.hostname, sandbox.netns, sandbox.cgroup) == ("web-0", "/n", found.cgroup)
    assert sandbox.limits == Limits(memory=64 << 20, cpu_request=100, pids=512) and not sandbox.privileged


def test_on_the_hosts_network(making: Making, tmp_path: Path) -> None:
    made = pod({"securityContext": {"privileged": True}}, hostNetwork=True, hostIPC=True, hostPID=True)
    sandbox = making.sandbox(made, netns="/n")
    assert (sandbox.netns, sandbox.host_pid, sandbox.host_ipc, sandbox.hostname) == (HOST, True, True, "node1")
    assert sandbox.privileged
    found = told(making, made, ips=NODE.ips)
    assert found.hostname == "node1" and Mount("/dev/shm", "/dev/shm") in found.mounts
    directory = tmp_path / "kubelet/pods/u1"
    assert (directory / "etc-hosts").read_text().endswith("(host network).\n192.0.2.11\tnode1\n")
    assert (directory / "resolv.conf").read_text() == "nameserver 192.0.2.53\n"


@pytest.mark.parametrize(
    ("change", "reason", "said"),
    [
        ({"hostUsers": False}, "FailedCreatePodSandBox", "user namespaces are not supported here"),
        ({"securityContext": {"runAsNonRoot": True, "runAsUser": 0}}, "CreateContainerConfigError", "breaks non-root policy"),
        (
            {"containers": [{"name": "main", "image": "busybox", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]},
            "CreateContainerConfigError", 'cannot find volume "v" to mount into container "main"',
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_made(making: Making, change: dict[str, Any], reason: str, said: str) -> None:
    made = pod(**change)
    with pytest.raises(Missing, match=said) as refused:
        making.sandbox(made, netns="/n")
        told(making, made)
    assert refused.value.reason == reason


def test_files_that_are_mounted_change_in_place_and_warn_once(making: Making, tmp_path: Path) -> None:
    warned: list[tuple[str, str]] = []
    making.tell = lambda _, *said: warned.append(said)
    made = pod(dnsConfig={"nameservers": [f"192.0.2.{n}" for n in range(1, 5)]})
    for _ in range(3):
        making.sandbox(made, netns="/n")
        told(making, made)
    assert [reason for reason, _ in warned] == ["DNSConfigForming"]
    hosts = tmp_path / "kubelet/pods/u1/etc-hosts"
    inode = hosts.stat().st_ino
    told(making, made, ips=(ip_address("10.244.9.9"),))
    assert hosts.stat().st_ino == inode and "10.244.9.9\tweb-0\n" in hosts.read_text()


def test_what_is_known_and_released(making: Making) -> None:
    assert making.known() == set()
    making.release("u1")
    making.sandbox(pod(), netns="/n")
    assert making.known() == {"u1"}
    making.release("u1")
    assert making.known() == set()
