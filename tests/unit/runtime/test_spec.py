"""What runc is told, by value; and what the kernel counts, in either cgroup version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from netlab.base.errors import InputError
from netlab.kernel import capabilities, cgroups
from netlab.kernel.cgroups import Usage
from netlab.runtime import spec
from netlab.runtime.containers import reason
from netlab.runtime.images.reference import Reference
from netlab.runtime.sandbox import Sandbox
from netlab.runtime.spec import HOST, Container, Device, Limits, Machine, Mount, Security, User

PASSWD = "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:34:w:/var/www:/bin/false\n"
GROUP = "root:x:0:\nadm:x:4:www-data\nwww-data:x:34:\n"
PROCESS = {"Entrypoint": ["/start"], "Cmd": ["-v"], "Env": ["PATH=/bin", "A=1"], "WorkingDir": "/srv"}


def told(container: Container, who: User | None = None) -> dict[str, Any]:
    return spec.document(container, PROCESS, who=who or User(), rootfs="/r", cgroup="/g/c", machine=Machine())


@pytest.mark.parametrize(
    ("command", "args", "wanted"),
    [
        (None, None, ("/start", "-v")),
        (None, ("-q",), ("/start", "-q")),
        (("sh",), None, ("sh",)),
        (("sh",), ("-c", "x"), ("sh", "-c", "x")),
        (None, (), ("/start",)),
    ],
)
def test_command_and_arguments(
    command: tuple[str, ...] | None, args: tuple[str, ...] | None, wanted: tuple[str, ...]
) -> None:
    assert spec.command(PROCESS, Container(image="i", command=command, args=args)) == wanted
    with pytest.raises(InputError, match="no command"):
        spec.command({}, Container(image="i", args=args if args == () else None))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", User(0, 0)),
        ("www-data", User(33, 34, (4,))),
        ("33", User(33, 34, (4,))),
        ("33:4", User(33, 4)),
        ("www-data:adm", User(33, 4)),
        ("1000", User(1000, 0)),
        ("1000:1001", User(1000, 1001)),
    ],
)
def test_users_by_the_images_own_files(text: str, wanted: User) -> None:
    assert spec.user(text, PASSWD, GROUP) == wanted


@pytest.mark.parametrize("text", ["nobody", "root:nobody"])
def test_a_user_that_is_not_there(text: str) -> None:
    with pytest.raises(InputError, match="nobody"):
        spec.user(text, PASSWD, GROUP)


def test_limits_in_the_specifications_words() -> None:
    assert Limits().as_resources() == {}
    assert Limits(cpu=250, cpu_request=100, memory=64 << 20, pids=32).as_resources() == {
        "cpu": {"shares": 102, "quota": 25000, "period": 100000},
        "memory": {"limit": 64 << 20, "swap": 64 << 20},
        "pids": {"limit": 32},
    }
    assert Limits(cpu=1, cpu_request=0).as_resources()["cpu"] == {"shares": 2, "quota": 1000, "period": 100000}


def test_a_container_of_a_pod() -> None:
    container = Container(
        image="i", env={"A": "2", "B": "3"}, namespaces={"network": "/n", "ipc": "/i", "uts": "/u", "pid": HOST},
        hostname="web-0", mounts=(Mount("/host", "/in", True),), read_only=True,
    )  # fmt: skip
    document = told(container, User(33, 34, (4,)))
    assert "hostname" not in document  # the sandbox's
    assert document["process"]["env"] == ["PATH=/bin", "A=2", "HOSTNAME=web-0", "B=3"]
    assert document["process"]["cwd"] == "/srv"
    assert document["process"]["user"] == {"uid": 33, "gid": 34, "additionalGids": [4]}
    allowed = document["process"]["capabilities"]
    assert allowed["effective"] == [] and "CAP_CHOWN" in allowed["bounding"]
    assert document["root"] == {"path": "/r", "readonly": True}
    assert document["linux"]["namespaces"] == [
        {"type": "network", "path": "/n"}, {"type": "ipc", "path": "/i"}, {"type": "uts", "path": "/u"}, {"type": "mount"},
    ]  # fmt: skip
    binds = [m for m in document["mounts"] if isinstance(m, dict) and m["type"] == "bind"]
    assert binds == [{"destination": "/in", "type": "bind", "source": "/host", "options": ["rbind", "rprivate", "ro"]}]


def test_a_sandbox_is_a_container_with_namespaces_of_its_own() -> None:
    one = Sandbox(hostname="web-0", netns="/run/netns/x", sysctls={"net.core.somaxconn": "9"}).as_container()
    assert one.namespaces == {"network": "/run/netns/x"} and one.hostname == "web-0"
    linux = told(one)["linux"]
    assert isinstance(linux, dict) and linux["sysctl"] == {"net.core.somaxconn": "9"}
    host = Sandbox(hostname="node", netns=HOST, host_pid=True, host_ipc=True).as_container()
    assert set(host.namespaces) == {"network", "uts", "pid", "ipc"} and host.hostname == ""


@pytest.mark.parametrize(
    ("text", "whole", "short"),
    [
        ("nginx", "docker.io/library/nginx:latest", "nginx:latest"),
        ("nginx:1.9.1", "docker.io/library/nginx:1.9.1", "nginx:1.9.1"),
        ("resouer/ubuntu-bc", "docker.io/resouer/ubuntu-bc:latest", "resouer/ubuntu-bc:latest"),
        ("k8s.gcr.io/pause:3.1", "k8s.gcr.io/pause:3.1", "k8s.gcr.io/pause:3.1"),
        ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
        ("127.0.0.1:5000/a/b:v2", "127.0.0.1:5000/a/b:v2", "127.0.0.1:5000/a/b:v2"),
        (f"a@sha256:{'0' * 64}", f"docker.io/library/a@sha256:{'0' * 64}", f"a@sha256:{'0' * 64}"),
    ],
)
def test_names_of_images(text: str, whole: str, short: str) -> None:
    found = Reference.parse(text)
    assert (str(found), found.short) == (whole, short)
    assert Reference.parse(short) == found


@pytest.mark.parametrize("text", ["", "Nginx", "a b", "a:", "a//b", "a@sha256:12", "a:b:c", "-a", "../x", "x/../y"])
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(InputError, match="invalid reference format"):
        Reference.parse(text)


def test_usage_in_both_versions(tmp_path: Path) -> None:
    one, two = tmp_path / "v1", tmp_path / "v2"
    for path, text in {
        one / "memory/g/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
        one / "memory/g/memory.usage_in_bytes": "4096\n",
        one / "memory/g/memory.stat": "inactive_file 7\ntotal_inactive_file 96\n",
        one / "cpuacct/g/cpuacct.usage": "123\n",
        one / "pids/g/pids.current": "3\n",
        two / "cgroup.controllers": "cpu memory pids\n",
        two / "g/memory.events": "low 0\noom 5\noom_kill 2\noom_group_kill 0\n",
        two / "g/memory.current": "4096\n",
        two / "g/memory.stat": "anon 1\ninactive_file 5000\n",
        two / "g/cpu.stat": "usage_usec 7\nuser_usec 1\n",
        two / "g/pids.current": "3\n",
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert cgroups.usage("/g", one) == Usage(cpu=123, memory=4096, pids=3, oom_kills=2, working_set=4000)
    assert cgroups.usage("/g", two) == Usage(cpu=7000, memory=4096, pids=3, oom_kills=2, working_set=0)
    assert cgroups.usage("/none", one) == cgroups.usage("/none", two) == Usage()


def test_groups_are_removed_with_their_empty_parents_and_no_other(tmp_path: Path) -> None:
    for path in ("cpu/n/pod/c", "memory/n/pod/c", "memory/n/other", "pids"):
        (tmp_path / path).mkdir(parents=True)
    cgroups.remove("/n/pod/c", tmp_path)
    left = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*"))
    assert left == ["cpu", "memory", "memory/n", "memory/n/other", "pids"]
    cgroups.remove("/n/pod/c", tmp_path)


def test_a_pods_group_goes_and_those_above_stay(tmp_path: Path) -> None:
    """Somebody may be about to make another pod's in them."""
    for path in ("cpu/n/kubepods/burstable/pod1/c", "memory/n/kubepods/burstable/pod1/c"):
        (tmp_path / path).mkdir(parents=True)
    cgroups.remove("/n/kubepods/burstable/pod1/c", tmp_path, kept="/n/kubepods/burstable")
    left = sorted(
        str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.name == "burstable" or "pod1" in p.parts
    )
    assert left == ["cpu/n/kubepods/burstable", "memory/n/kubepods/burstable"]


def test_limits_of_a_group_in_both_versions(tmp_path: Path) -> None:
    limits = Limits(cpu=500, cpu_request=100, memory=64 << 20, pids=99).as_numbers()
    one, two = tmp_path / "v1", tmp_path / "v2"
    for controller in ("cpu", "memory", "pids"):
        (one / controller).mkdir(parents=True)
    cgroups.limit("/n/pod1", limits, one)
    # a kernel that does not count swap has no file for it
    assert {str(p.relative_to(one)): p.read_text() for p in one.rglob("*") if p.is_file()} == {
        "cpu/n/pod1/cpu.shares": "102", "cpu/n/pod1/cpu.cfs_period_us": "100000",
        "cpu/n/pod1/cpu.cfs_quota_us": "50000", "memory/n/pod1/memory.limit_in_bytes": str(64 << 20),
        "pids/n/pod1/pids.max": "99",
    }  # fmt: skip
    two.mkdir()
    (two / "cgroup.controllers").touch()
    cgroups.limit("/n/pod1", limits, two)
    assert {p.name: p.read_text() for p in (two / "n/pod1").iterdir() if p.name != "cgroup.subtree_control"} == {
        "cpu.weight": "4", "cpu.max": "50000 100000", "memory.max": str(64 << 20), "pids.max": "99",
    }  # fmt: skip
    handed = [p.parent.relative_to(two).as_posix() for p in two.rglob("cgroup.subtree_control")]
    assert sorted(handed) == [".", "n", "n/pod1"]
    (two / "n/pod1/memory.swap.max").touch()
    cgroups.limit("/n/pod1", {"memory": 1 << 20}, two)
    assert (two / "n/pod1/memory.swap.max").read_text() == "0"


def test_what_a_privileged_container_is_given() -> None:
    device = Device(path="/dev/kmsg", kind="c", major=1, minor=11, mode=0o644)
    machine = Machine(
        capabilities=(*spec.CAPABILITIES, "CAP_SYS_ADMIN"), devices=(device,), unified=True, apparmor=True
    )
    security = Security(privileged=True, seccomp={"defaultAction": "x"}, apparmor="p", oom_score=-998)

    def made(security: Security, machine: Machine = machine) -> dict[str, Any]:
        container = Container(image="i", security=security)
        return spec.document(container, PROCESS, who=User(), rootfs="/r", cgroup="/g/c", machine=machine)

    document = made(security)
    linux = document["linux"]
    assert "CAP_SYS_ADMIN" in document["process"]["capabilities"]["bounding"]
    assert (
        not {"maskedPaths", "readonlyPaths", "seccomp"} & linux.keys() and "apparmorProfile" not in document["process"]
    )
    assert linux["devices"] == [
        {"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o644, "uid": 0, "gid": 0}
    ]
    assert linux["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert {m["destination"]: m["options"][-1] for m in document["mounts"] if m["type"] in ("sysfs", "cgroup")} == {
        "/sys": "rw", "/sys/fs/cgroup": "rw",
    }  # fmt: skip
    assert {"type": "cgroup"} in linux["namespaces"] and document["process"]["oomScoreAdj"] == -998
    # who has not the capability to make others safer than he is
    assert made(security, Machine(oom_least=5))["process"]["oomScoreAdj"] == 5
    plain = made(Security(seccomp={"defaultAction": "x"}, apparmor="p", no_new_privileges=True))
    assert plain["linux"]["seccomp"] == {"defaultAction": "x"} and plain["process"]["apparmorProfile"] == "p"
    assert plain["process"]["noNewPrivileges"] and "maskedPaths" in plain["linux"]
    assert "maskedPaths" not in made(Security(unmasked=True))["linux"]


def test_mounts_lie_on_each_other_and_take_the_systems_place() -> None:
    mounts = (
        Mount("/b", "/a/b", propagation="rslave"), Mount("/shm", "/dev/shm"), Mount("/a", "/a/", True, recursive=True),
    )  # fmt: skip
    found = told(Container(image="i", mounts=mounts))["mounts"]
    own = [(m["destination"], m["options"][1:]) for m in found if m["type"] == "bind"]
    assert own == [("/a/", ["rprivate", "rro"]), ("/a/b", ["rslave", "rw"]), ("/dev/shm", ["rprivate", "rw"])]
    assert [m["type"] for m in found if m["destination"] == "/dev/shm"] == ["bind"]


def test_groups_of_a_user() -> None:
    def who(**more: Any) -> User:
        container = Container(image="i", user=more.pop("user", ""), security=Security(**more))
        return spec.identity(container, {"User": "www-data"}, PASSWD, GROUP)

    assert who() == User(33, 34, (4,))
    assert who(group=7, groups=(8, 4)) == User(33, 7, (4, 8))
    assert who(user="1000", groups=(8,)) == User(1000, 0, (8,))
    assert who(merged=False, groups=(8,)) == User(33, 34, (8,))


def test_capabilities_by_their_numbers(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tx\nCapBnd:\t0000010000000021\n")
    assert capabilities.bounding(status) == ("CAP_CHOWN", "CAP_KILL", "CAP_CHECKPOINT_RESTORE")
    status.write_text("Name:\tx\n")
    assert capabilities.bounding(status) == ()


def test_runcs_words_without_the_frame_of_its_log() -> None:
    said = 'time="2026" level=warning msg="x"\ntime="2026" level=error msg="runc create failed: exec: \\"no\\": not found"\n'
    assert reason(said) == 'runc create failed: exec: "no": not found'
    assert reason("plain\n") == "plain"
