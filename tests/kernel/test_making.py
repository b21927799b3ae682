"""Pods as runc makes them: what only a real container shows of volumes, users, limits and files of the network."""

from __future__ import annotations

import asyncio
import os
import random
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from makingworld import NODE, Given, pod
from patience import patience

from netlab.api import Json
from netlab.kernel import cgroups, mounts, netns
from netlab.kernel.commands import Completed
from netlab.kubelet.making import Making, Missing, NodeFacts
from netlab.runtime import sandbox as sandboxes
from netlab.runtime.containers import Runtime, Status
from netlab.runtime.images import build
from netlab.runtime.images.store import Store

LACKING = [tool for tool in ("runc", "conmon", "busybox") if not shutil.which(tool)]
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="making containers needs root"),
    pytest.mark.skipif(bool(LACKING), reason=f"apt-get install {' '.join(LACKING)} brings what containers need"),
]
NAME = f"mk{os.getpid()}"
GROUP = f"/netlab.{NAME}"
IPS = (ip_address("10.244.1.7"),)
#: what a container that is only looked into does
STAY: Json = {"command": ["sleep", "600"]}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("images"))
    build.build(store, ["busybox", "k8s.gcr.io/pause"])
    return store


class Node:
    """One pod at a time, made of what `Making` says."""

    def __init__(self, directory: Path, images: Store, netns_path: str) -> None:
        self.world = Given()
        self.runtime = Runtime(directory / "run", images, cgroup=GROUP)
        self.images, self.netns, self.root = images, netns_path, directory / "kubelet"
        self.facts: NodeFacts = replace(NODE, resolv_conf=directory / "resolv.conf", hosts=directory / "hosts")
        self.facts.resolv_conf.write_text("nameserver 192.0.2.53\nsearch example.org\n")
        self.facts.hosts.write_text("192.0.2.11\tnode1\n")
        self.told: list[tuple[str, str]] = []
        self.making = Making(self.root, self.world, self.facts, tell=lambda _, *said: self.told.append(said))

    def run(self, made: Json) -> None:
        """Make the pod, and start all of its containers."""
        asyncio.run(self.making.prepare(made))
        sandbox = self.making.sandbox(made, netns=self.netns)
        sandboxes.run(self.runtime, "pod", sandbox, log=self.root / "pod.log")
        for container in made["spec"]["containers"]:
            self.start(made, container)

    def start(self, made: Json, container: Json, attempt: int = 0) -> None:
        """One container, in the sandbox that runs."""
        sandbox = self.making.sandbox(made, netns=self.netns)
        told = self.making.container(
            made, container, image=self.images.get(container["image"]), ips=IPS, attempt=attempt,
            namespaces=sandboxes.namespaces(self.runtime, "pod", sandbox),
        )  # fmt: skip
        self.runtime.create(container["name"], told, log=self.root / f"{container['name']}.log")
        self.runtime.start(container["name"])

    def sh(self, script: str, container: str = "main") -> str:
        """What a shell in a container prints, which may fail."""
        done = self.do(script, container)
        return (done.stdout + done.stderr).strip()

    def do(self, script: str, container: str = "main") -> Completed:
        """The same with its status."""
        return self.runtime.run(container, ["sh", "-c", script], timeout=patience(30))

    def ended(self, container: str) -> Status:
        """How a container ended."""
        found = self.runtime.wait(container, patience(30))
        assert found.state == "exited"
        return found

    def clear(self) -> None:
        """Nothing of the pod is left."""
        for status in self.runtime.all():
            self.runtime.remove(status.id)
        for uid in self.making.known():
            self.making.release(uid)


@pytest.fixture
def node(tmp_path: Path, images: Store) -> Iterator[Node]:
    netns.prepare()
    space = f"{NAME}.pod"
    os.close(netns.create(space))
    made = Node(tmp_path, images, str(netns.path(space)))
    try:
        yield made
    finally:
        try:
            made.clear()
            left = mounts.below(tmp_path)
        finally:
            netns.delete(space)
            for target in mounts.below(tmp_path):  # or others' tests stumble over it
                mounts.unmount(target)
        assert left == []
        for group in ("kubepods/burstable", "kubepods/besteffort", "kubepods"):
            cgroups.remove(f"{GROUP}/{group}")
        assert made.making.known() == set()
        assert not [top for top in cgroups.hierarchies() if (top / GROUP.lstrip("/")).exists()]


def volume(name: str, **source: Any) -> Json:
    return {"name": name, **source}


def mount(name: str, path: str, **more: Any) -> Json:
    return {"name": name, "mountPath": path, **more}


#: a pod with a bit of everything that is mounted or owned
BUSY = pod(
    securityContext={"fsGroup": 7},
    volumes=[
        volume("s", secret={"secretName": "key"}), volume("e", emptyDir={}), volume("m", emptyDir={"medium": "Memory"}),
    ],
)  # fmt: skip


def test_files_of_the_network(node: Node) -> None:
    made = pod(
        {**STAY, "terminationMessagePath": "/dev/termination-log"}, hostname="db", subdomain="data",
        hostAliases=[{"ip": "192.0.2.1", "hostnames": ["gate", "gate.example.org"]}],
    )  # fmt: skip
    node.run(made)
    assert node.sh("hostname; cat /etc/hostname") == "db\ndb"
    assert node.sh("cat /etc/hosts").splitlines()[-4:] == [
        "10.244.1.7\tdb.data.default.svc.cluster.local\tdb",
        "",
        "# Entries added by HostAliases.",
        "192.0.2.1\tgate\tgate.example.org",
    ]
    assert node.sh("cat /etc/resolv.conf") == (
        "search default.svc.cluster.local svc.cluster.local cluster.local example.org\n"
        "nameserver 10.96.0.10\noptions ndots:5"
    )
    node.sh("echo over >/dev/termination-log")
    assert node.making.termination_log("u1", "main", 0).read_text() == "over\n"


def test_volumes_of_objects_change_while_they_are_read(node: Node) -> None:
    node.world.put("configmap", "settings", data={"color": "red", "size": "1"})
    node.world.put_secret("key", password="s3cret")
    made = pod(
        {**STAY, "volumeMounts": [mount("v", "/v"), mount("v", "/one", subPath="color"), mount("all", "/all")]},
        volumes=[
            volume("v", configMap={"name": "settings", "defaultMode": 0o444}),
            volume(
                "all",
                projected={
                    "defaultMode": 0o440,
                    "sources": [
                        {"secret": {"name": "key"}},
                        {"configMap": {"name": "settings", "items": [{"key": "size", "path": "a/b", "mode": 0o400}]}},
                        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
                    ],
                },
            ),
        ],
    )  # fmt: skip
    node.run(made)
    assert node.sh(
        "cat /v/color /v/size /one; cd /all; cat password a/b labels token; stat -Lc '%a %n' password a/b"
    ) == ('red1reds3cret1app="web"\ntier="a \\"b\\""default/default#1440 password\n400 a/b')
    assert "Read-only" in node.sh("echo x >/v/color")
    before = node.sh("readlink /v/..data")
    node.world.put("configmap", "settings", data={"color": "blue", "new": "2"})
    with pytest.raises(Missing, match='"all" : configmap references non-existent config key: size'):
        asyncio.run(node.making.refresh(made))
    # the other volume is new, the one that lacks something is as it was, and a subPath never changes
    assert node.sh("cat /v/color /v/new /one /all/a/b; ls /v") == "blue2red1color\nnew"
    assert node.sh("readlink /v/..data") != before
    node.world.put("configmap", "settings", data={"color": "blue", "size": "3"})
    asyncio.run(node.making.refresh(made))
    assert node.sh("cat /all/a/b") == "3"


def test_empty_directories(node: Node) -> None:
    made = pod(
        {**STAY, "volumeMounts": [mount("disk", "/disk"), mount("memory", "/memory"), mount("disk", "/sub", subPath="a/b")]},
        {**STAY, "volumeMounts": [mount("disk", "/disk", readOnly=True)]},
        volumes=[
            volume("disk", emptyDir={"sizeLimit": "64Ki"}),
            volume("memory", emptyDir={"medium": "Memory", "sizeLimit": "1Mi"}),
        ],
    )  # fmt: skip
    node.run(made)
    assert node.sh("stat -c %a /disk /memory; stat -fc %T /memory") == "777\n777\ntmpfs"
    assert node.sh("echo 1 >/disk/x; echo 2 >/sub/y; cat /disk/a/b/y") == "2"
    assert "No space" in node.sh("dd if=/dev/zero of=/memory/x bs=1M count=2")
    assert node.sh("cat /disk/x", "c1") == "1"
    assert "Read-only" in node.sh("echo 1 >/disk/x", "c1")
    # /dev/shm is one for the pod
    node.sh("echo shared >/dev/shm/x")
    assert node.sh("cat /dev/shm/x", "c1") == "shared"
    assert node.making.overfull(made) == []
    node.sh("dd if=/dev/zero of=/disk/large bs=64k count=2")
    assert node.making.overfull(made) == ['Usage of EmptyDir volume "disk" exceeds the limit "64Ki". ']


def test_a_subpath_does_not_lead_out(node: Node, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the node")
    made = pod(
        {**STAY, "volumeMounts": [mount("disk", "/disk")], "env": [{"name": "WHO", "value": "me"}]},
        {**STAY, "volumeMounts": [mount("disk", "/x", subPath="out/secret")]},
        {**STAY, "volumeMounts": [mount("disk", "/x", subPath="in/ner")]},
        {
            **STAY, "env": [{"name": "WHO", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "volumeMounts": [mount("disk", "/x", subPathExpr="of-$(WHO)")],
        },
        volumes=[volume("disk", emptyDir={})],
    )  # fmt: skip
    main, out, inner, named = made["spec"]["containers"]
    made["spec"]["containers"] = [main]
    node.run(made)
    node.sh(f"mkdir /disk/real; echo here >/disk/real/ner; ln -s real /disk/in; ln -s {tmp_path} /disk/out")
    with pytest.raises(Missing, match='failed to prepare subPath for volumeMount "disk" of container "c1"') as refused:
        node.start(made, out)
    assert refused.value.reason == "CreateContainerConfigError"
    node.start(made, inner)
    assert node.sh("cat /x", "c2") == "here"
    node.start(made, named)
    node.sh("echo mine >/x/file", "c3")
    assert node.sh("cat /disk/of-web-0/file") == "mine"
    # started again, it is made again
    node.runtime.remove("c2")
    node.start(made, inner, attempt=1)
    assert node.sh("cat /x", "c2") == "here"


def test_host_paths(node: Node, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "f").write_text("given")
    made = pod(
        {**STAY, "volumeMounts": [mount("there", "/there"), mount("made", "/made"), mount("file", "/f", readOnly=True), mount("part", "/part", subPath="a/b")]},
        volumes=[
            volume("there", hostPath={"path": str(tmp_path / "shared"), "type": "Directory"}),
            volume("made", hostPath={"path": str(tmp_path / "new" / "deep"), "type": ""}),
            volume("file", hostPath={"path": str(tmp_path / "shared" / "f"), "type": "File"}),
            volume("part", hostPath={"path": str(tmp_path / "part"), "type": ""}),
        ],
    )  # fmt: skip
    node.run(made)
    assert (
        node.sh("cat /there/f /f; echo 1 >/made/x; echo 2 >/f")
        == "givengivensh: can't create /f: Read-only file system"
    )
    assert (tmp_path / "new" / "deep" / "x").read_text() == "1\n"
    node.sh("echo 3 >/part/y")
    assert (tmp_path / "part" / "a" / "b" / "y").read_text() == "3\n"


def test_what_the_kernel_refuses_is_missing(node: Node, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    made = pod(
        {**STAY, "volumeMounts": [mount("v", "/v")]},
        volumes=[volume("v", hostPath={"path": str(tmp_path / "file" / "below"), "type": ""})],
    )
    with pytest.raises(Missing, match=r"failed to mkdir .*: Not a directory") as refused:
        node.run(made)
    assert refused.value.reason == "CreateContainerError"
    node.root.joinpath("pods", "u2").touch()
    with pytest.raises(Missing, match="u2: File exists") as refused:
        asyncio.run(node.making.prepare(pod(uid="u2")))
    assert refused.value.reason == "FailedMount"
    node.root.joinpath("pods", "u2").unlink()


def test_a_claim_is_what_it_is_bound_to(node: Node, tmp_path: Path) -> None:
    disk, shared = tmp_path / "disk", tmp_path / "shared"
    disk.mkdir()
    (disk / "old").touch(mode=0o600)
    for name, source in (("pv1", {"local": {"path": str(disk)}}), ("pv2", {"hostPath": {"path": str(shared)}})):
        node.world.put("volume", name, spec={"capacity": {"storage": "1Gi"}, **source})
        node.world.put("claim", f"{name}-claim", spec={"volumeName": name}, status={"phase": "Bound"})
    made = pod(
        {**STAY, "volumeMounts": [mount("own", "/own"), mount("shared", "/shared")]},
        securityContext={"runAsUser": 33, "fsGroup": 2000, "fsGroupChangePolicy": "OnRootMismatch"},
        volumes=[
            volume("own", persistentVolumeClaim={"claimName": "pv1-claim"}),
            volume("shared", persistentVolumeClaim={"claimName": "pv2-claim", "readOnly": True}),
        ],
    )  # fmt: skip
    node.run(made)
    # what is the pod's alone is its group's; what others may use as well is left as it is
    assert (
        node.sh("stat -c '%a %g' /own /own/old; echo x >/own/new; stat -c %g /own/new") == "2775 2000\n660 2000\n2000"
    )
    assert "Read-only" in node.sh("echo x >/shared/x") and shared.stat().st_gid == 0
    node.clear()
    assert (disk / "new").read_text() == "x\n"


def test_whom_a_container_runs_as(node: Node) -> None:
    made = pod(
        {**STAY, "securityContext": {"runAsUser": 1000, "runAsGroup": 3000}, "volumeMounts": [mount("v", "/v")]},
        {**STAY, "volumeMounts": [mount("s", "/s"), mount("v", "/v"), mount("m", "/m"), mount("t", "/t")]},
        securityContext={"runAsUser": 33, "fsGroup": 2000, "supplementalGroups": [4000], "runAsNonRoot": True},
        volumes=[
            volume("v", emptyDir={}), volume("m", emptyDir={"medium": "Memory"}),
            volume("s", secret={"secretName": "key", "defaultMode": 0o400}),
            volume("t", projected={"sources": [{"serviceAccountToken": {"path": "token"}}]}),
        ],
    )  # fmt: skip
    node.world.put_secret("key", password="s3cret")
    node.run(made)
    assert node.sh("id -u; id -g; id -G") == "1000\n3000\n3000 2000 4000"  # which the kernel sorts
    # 33 is www-data in the image, with a group of its own
    assert node.sh("id -u; id -g; id -G; echo x >/v/x; echo x >/m/x; ls -ln /v/x", "c1").split()[:6] == [
        "33", "33", "33", "2000", "4000", "-rw-r--r--",
    ]  # fmt: skip
    assert node.sh("stat -c '%a %g' /v /m /v/x", "c1") == "2777 2000\n2777 2000\n644 2000"
    # readable by the group, although nobody but root was to read it
    assert node.sh("cat /s/password; stat -Lc '%a %g' /s/password /t/token", "c1") == "s3cret440 2000\n640 2000"
    assert "Operation not permitted" in node.sh("chown 0 /v/x", "c1")


def test_what_a_container_may_do(node: Node) -> None:
    caps = "grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status"
    made = pod(
        {**STAY, "securityContext": {"readOnlyRootFilesystem": True}},
        {**STAY, "securityContext": {"capabilities": {"drop": ["ALL"], "add": ["CHOWN"]}, "allowPrivilegeEscalation": False}},
        {**STAY, "securityContext": {"privileged": True}},
        {**STAY, "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}, "capabilities": {"add": ["NET_ADMIN"]}}},
        {**STAY, "securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "strict.json"}}},
        {**STAY, "securityContext": {"procMount": "Unmasked"}},
    )  # fmt: skip
    (node.root / "seccomp").mkdir(parents=True)
    (node.root / "seccomp" / "strict.json").write_text(
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}'
    )
    node.run(made)
    assert "Read-only" in node.sh("echo x >/x") and "Read-only" in node.sh("echo 1 >/proc/sys/kernel/panic")
    assert node.sh(caps, "c1").split()[1::2] == ["0000000000000001", "1", "0"]
    assert node.sh("chown 5 /tmp; stat -c %u /tmp", "c1") == "5"
    assert "not permitted" in node.sh("chroot / true", "c1")
    # privileged: every capability that there is, devices, /sys and /proc as they are
    own = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapBnd"))
    assert node.sh(caps, "c2").split()[1] == own.split()[1]
    assert node.sh("mkdir /m && mount -t tmpfs none /m && ls -d /dev/kmsg", "c2") == "/dev/kmsg"
    assert "/sys sysfs rw" in node.sh("grep ' /sys ' /proc/mounts", "c2")
    assert "/sys sysfs ro" in node.sh("grep ' /sys ' /proc/mounts", "c1")
    assert [node.sh("grep -c ' /proc/sys ' /proc/mounts", c) for c in ("c1", "c2", "c5")] == ["1", "0", "0"]
    # a filter: no namespaces, whatever root is; and the kernel's keys are nobody's
    assert node.sh(caps, "c3").split()[-1] == "2"
    assert "not permitted" in node.sh("unshare -m true", "c3") and "not permitted" in node.sh("unshare -r true", "c3")
    assert "not permitted" in node.sh("mkdir /d", "c4") and node.sh("echo x >/f; cat /f", "c4") == "x"
    assert "Read-only" not in node.sh("echo 0 >/proc/sys/kernel/shm_rmid_forced", "c5")


def test_a_profile_that_nobody_holds_to_is_told(node: Node) -> None:
    profile = {"type": "Localhost", "localhostProfile": "strict"}
    made = pod({**STAY, "securityContext": {"appArmorProfile": profile}})
    if Path("/sys/module/apparmor/parameters/enabled").exists():
        return  # the runtime says itself that the profile is not loaded
    node.run(made)
    word = "this kernel has no AppArmor: the profile strict of main is not in force"
    assert node.told == [("AppArmorIgnored", word)]


@pytest.mark.not_in_vm("starts of Python by the dozen: an emulator takes minutes")
def test_whoever_makes_a_pod_may_be_killed_anywhere(node: Node) -> None:
    """Another makes it whole, or leaves nothing of it: see the fixture."""
    chance = random.Random(8)
    code = (
        "import asyncio, sys; from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
        "from makingworld import NODE, Given; from netlab.kubelet.making import Making\n"
        f"BUSY = {BUSY!r}\n"
        "world = Given(); world.put_secret('key', a='1', b='2')\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    making = Making(Path(sys.argv[1]), world, NODE)\n"
        "    asyncio.run(making.prepare(BUSY)); making.sandbox(BUSY, netns='/n'); making.release('u1')\n"
    )
    argv = [sys.executable, "-c", code, str(node.root), str(Path(__file__).parent.parent)]
    node.world.put_secret("key", a="1", b="2")
    for turn in range(8):
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
            assert process.stdout and process.stdout.readline() == b"ready\n"
            watched = os.pidfd_open(process.pid)
            select.select([watched], [], [], chance.uniform(0.0, 0.2))
            os.close(watched)
            assert process.poll() is None
            process.kill()
        assert node.making.known() <= {"u1"}
        if turn % 2:
            asyncio.run(node.making.prepare(BUSY))
            volumes = node.root / "pods/u1/volumes"
            assert (volumes / "kubernetes.io~secret/s/a").read_text() == "1"
            assert (volumes / "kubernetes.io~empty-dir/e").stat().st_mode & 0o7777 == 0o2777
        node.making.release("u1")
        assert node.making.known() == set()


def test_limits_of_a_container_and_of_its_pod(node: Node) -> None:
    resources: Json = {"limits": {"cpu": "100m", "memory": "32Mi"}, "requests": {"cpu": "50m", "memory": "16Mi"}}
    made = pod(
        {**STAY, "resources": resources},
        {"command": ["dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1"], "resources": resources},
    )
    node.run(made)
    killed = node.ended("c1")
    assert (killed.exit_code, killed.oom_killed) == (137, True)
    group = f"{GROUP}/kubepods/burstable/podu1".lstrip("/")
    if cgroups.unified():
        top = cgroups.ROOT / group
        assert (top / "memory.max").read_text() == f"{64 << 20}\n"
        assert (top / "cpu.max").read_text() == "20000 100000\n"
        assert (top / "main" / "memory.max").read_text() == f"{32 << 20}\n"
        assert node.sh("cat /sys/fs/cgroup/memory.max") == f"{32 << 20}"
    else:
        assert (cgroups.ROOT / "memory" / group / "memory.limit_in_bytes").read_text() == f"{64 << 20}\n"
        assert (cgroups.ROOT / "cpu" / group / "cpu.cfs_quota_us").read_text() == "20000\n"
        assert (cgroups.ROOT / "cpu" / group / "cpu.shares").read_text() == "102\n"
        assert (cgroups.ROOT / "memory" / group / "main" / "memory.limit_in_bytes").read_text() == f"{32 << 20}\n"
    assert node.sh("cat /proc/1/oom_score_adj") == "997"


def test_namespaces_of_the_host_and_of_the_pod(node: Node) -> None:
    sysctls = [{"name": "kernel.shm_rmid_forced", "value": "1"}]
    made = pod(STAY, STAY, shareProcessNamespace=True, securityContext={"sysctls": sysctls})
    node.run(made)
    assert node.sh("cat /proc/sys/kernel/shm_rmid_forced") == "1"
    assert "pause" in node.sh("cat /proc/1/cmdline")
    assert "sleep" in node.sh("cat /proc/[0-9]*/cmdline | tr '\\0' ' '", "c1")
    node.clear()
    made = pod(STAY, hostPID=True, hostIPC=True)
    node.run(made)
    assert node.sh("readlink /proc/self/ns/pid; readlink /proc/self/ns/ipc").splitlines() == [
        str(Path("/proc/self/ns/pid").readlink()),
        str(Path("/proc/self/ns/ipc").readlink()),
    ]


def test_what_is_lacking_is_said_and_what_is_there_is_made(node: Node) -> None:
    made = pod(
        {**STAY, "volumeMounts": [mount("v", "/v")]},
        volumes=[volume("v", configMap={"name": "none"}), volume("w", emptyDir={})],
    )
    with pytest.raises(Missing) as lacking:
        asyncio.run(node.making.prepare(made))
    assert lacking.value.reason == "FailedMount"
    assert str(lacking.value) == 'MountVolume.SetUp failed for volume "v" : configmap "none" not found'
    assert (node.root / "pods/u1/volumes/kubernetes.io~empty-dir/w").is_dir()
    assert (node.root / "pods/u1").stat().st_mode & 0o7777 == 0o750
    node.world.put("configmap", "none", data={"a": "b"})
    node.run(made)
    assert node.sh("cat /v/a") == "b"
    # a kubelet that was restarted makes nothing anew
    again = Making(node.root, node.world, node.facts)
    before = node.sh("readlink /v/..data")
    asyncio.run(again.prepare(made))
    assert node.sh("readlink /v/..data") == before and again.known() == {"u1"}
    node.clear()
    again.release("u1")
