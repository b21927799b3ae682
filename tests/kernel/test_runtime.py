"""Containers on a real kernel: made, limited, looked into, stopped, found again by another process, and gone."""

from __future__ import annotations

import io
import json
import os
import random
import re
import select
import shutil
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import patience

from netlab.base.errors import ConflictError, InputError, KernelError
from netlab.kernel import cgroups, netns, processes
from netlab.kernel.commands import Completed, run_in
from netlab.runtime import sandbox as sandboxes
from netlab.runtime.containers import NoContainer, Runtime
from netlab.runtime.images import archive, build, layers
from netlab.runtime.images.reference import Reference
from netlab.runtime.images.store import LAYER, ImageError, ImageNotFound, Store
from netlab.runtime.sandbox import Sandbox
from netlab.runtime.spec import Container, Limits, Mount

LACKING = [tool for tool in ("runc", "conmon", "busybox") if not shutil.which(tool)]
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="making containers needs root"),
    pytest.mark.skipif(bool(LACKING), reason=f"apt-get install {' '.join(LACKING)} brings what containers need"),
]
NAME = f"rt{os.getpid()}"
GROUP = f"/netlab.{NAME}"
MEMORY = 24 << 20


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("images"))
    build.build(store, ["busybox", "k8s.gcr.io/pause", "hostnames"])
    return store


@pytest.fixture
def runtime(tmp_path: Path, images: Store) -> Iterator[Runtime]:
    made = Runtime(tmp_path / "run", images, cgroup=GROUP)
    try:
        yield made
    finally:
        for status in made.all():
            made.remove(status.id)
        # nothing of ours is left, whatever the test did
        assert str(tmp_path) not in Path("/proc/self/mounts").read_text()
        assert not [top for top in cgroups.hierarchies() if (top / GROUP.lstrip("/")).exists()]
        assert not list((made.root / "runc").glob("*"))


def shell(script: str, **more: object) -> Container:
    return Container(image="busybox", command=("sh", "-c", script), **more)  # type: ignore[arg-type]


def run(runtime: Runtime, name: str, container: Container) -> Path:
    log = runtime.root / "logs" / f"{name}.log"
    assert runtime.create(name, container, log=log).state == "created"
    runtime.start(name)
    return log


def test_a_container_from_beginning_to_end(runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "given").write_text("from the host\n")
    container = shell(
        "cat /in; echo to stderr >&2; hostname; id -u; echo $A; pwd; exit 7", env={"A": "b"}, cwd="/tmp",
        hostname="web-0", mounts=(Mount(str(tmp_path / "given"), "/in", True),), labels={"app": "web"}, user="33",
    )  # fmt: skip
    log = run(runtime, "one", container)
    ended = runtime.wait("one", 10)
    assert (ended.state, ended.exit_code, ended.labels, ended.pid) == ("exited", 7, {"app": "web"}, 0)
    assert 0 < ended.created <= ended.started <= ended.finished + 1
    lines = [re.fullmatch(r"(\S+T\S+) (stdout|stderr) ([FP]) (.*)", line) for line in log.read_text().splitlines()]
    assert all(lines)
    said = {(m[2], m[4]) for m in lines if m}
    assert said == {("stdout", t) for t in ("from the host", "web-0", "33", "b", "/tmp")} | {("stderr", "to stderr")}
    runtime.remove("one")
    runtime.remove("one")
    with pytest.raises(NoContainer):
        runtime.status("one")


def test_what_cannot_run_says_why_and_leaves_nothing(runtime: Runtime) -> None:
    log = runtime.root / "x.log"
    for container, error, said in (
        (Container(image="busybox", command=("nosuch",)), KernelError, 'exec: "nosuch": executable file not found'),
        (Container(image="nginx:1.91"), ImageNotFound, r"nginx:1\.91"),
        (Container(image="busybox", user="nobody-here"), InputError, "unable to find user nobody-here"),
        (Container(image="busybox", mounts=(Mount("/nowhere", "/in"),)), KernelError, "/nowhere"),
    ):
        with pytest.raises(error, match=said):
            runtime.create("bad", container, log=log)
        assert runtime.all() == []
    run(runtime, "one", shell("sleep 60"))
    with pytest.raises(ConflictError, match="already"):
        runtime.create("one", shell("true"), log=log)
    assert runtime.status("one").state == "running"


def test_limits_hold(runtime: Runtime) -> None:
    run(runtime, "eater", shell("exec dd if=/dev/zero of=/dev/null bs=100M count=1", limits=Limits(memory=MEMORY)))
    run(runtime, "forker", shell("sleep 60", limits=Limits(pids=24)))
    run(runtime, "spinner", shell("while :; do :; done", limits=Limits(cpu=100)))
    killed = runtime.wait("eater", 20)
    assert (killed.exit_code, killed.oom_killed) == (137, True)
    forks = runtime.run("forker", ["sh", "-c", "for i in $(seq 30); do sleep 9 >/dev/null 2>&1 & done"])
    assert "can't fork" in forks.stderr
    if not cgroups.unified():
        group = Path("/sys/fs/cgroup/cpu") / GROUP.lstrip("/") / "spinner"
        assert (group / "cpu.cfs_quota_us").read_text() == "10000\n"
    used = runtime.usage("forker")
    assert used.pids >= 1 and used.memory > 0 and runtime.usage("spinner").cpu > 0
    assert not runtime.stop("forker", 0).oom_killed


def test_one_more_program_in_it(runtime: Runtime) -> None:
    run(runtime, "one", shell("sleep 60", hostname="web-0"))
    done = runtime.run("one", ["sh", "-c", "hostname; cat; echo e >&2; exit 5"], stdin="given")
    assert (done.stdout, done.stderr, done.returncode) == ("web-0\ngiven", "e\n", 5)
    with pytest.raises(KernelError, match="not done"):
        runtime.run("one", ["sleep", "50"], timeout=0.2)
    with pytest.raises(NoContainer):
        runtime.run("two", ["true"])


def test_stopping_is_asking_first(runtime: Runtime) -> None:
    run(runtime, "kind", shell("trap 'echo bye; exit 0' TERM; while :; do sleep 0.1; done"))
    log = run(runtime, "deaf", shell("trap '' TERM; while :; do sleep 0.1; done")).with_name("kind.log")
    runtime.run("kind", ["true"])
    assert runtime.stop("kind", patience(10)).exit_code == 0
    assert runtime.stop("deaf", 0.2).exit_code == 137
    assert "bye" in log.read_text()
    assert runtime.stop("deaf", 0.2).exit_code == 137


def test_another_process_adopts_what_it_finds(runtime: Runtime) -> None:
    """Made by a process that is gone; one container still runs, one ended when nobody looked."""
    code = (
        "import sys; from pathlib import Path; from netlab.runtime.containers import Runtime\n"
        "from netlab.runtime.images.store import Store; from netlab.runtime.spec import Container\n"
        "r = Runtime(Path(sys.argv[1]), Store(Path(sys.argv[2])), cgroup=sys.argv[3])\n"
        "for name, script in (('lives', 'sleep 1000'), ('ends', 'sleep 0.3; exit 9')):\n"
        "    r.create(name, Container(image='busybox', command=('sh', '-c', script)), log=Path(sys.argv[1], name))\n"
        "    r.start(name)\n"
    )
    argv = [sys.executable, "-c", code, str(runtime.root), str(runtime.images.root), GROUP]
    subprocess.run(argv, check=True, timeout=patience(60))
    assert {s.id for s in runtime.all()} == {"lives", "ends"}
    assert runtime.wait("ends", 10).exit_code == 9
    before = runtime.status("lives")
    assert before.state == "running" and runtime.run("lives", ["true"]).returncode == 0
    # killed behind our back
    pid = processes.identify(before.pid)
    assert pid is not None and processes.send(pid, 9)
    after = runtime.wait("lives", 10)
    assert (after.exit_code, after.started) == (137, before.started)


@pytest.mark.not_in_vm("starts of Python by the dozen: an emulator takes minutes")
def test_whoever_makes_containers_may_be_killed_anywhere(runtime: Runtime) -> None:
    """What is left is found, and can be taken away without a trace: see the fixture."""
    chance = random.Random(11)
    code = (
        "import sys; from pathlib import Path; from netlab.runtime.containers import Runtime\n"
        "from netlab.runtime.images.store import Store; from netlab.runtime.spec import Container\n"
        "r = Runtime(Path(sys.argv[1]), Store(Path(sys.argv[2])), cgroup=sys.argv[3])\n"
        "print('ready', flush=True)\n"
        "for i in range(1000):\n"
        "    r.create(f'c{i}', Container(image='busybox', command=('sleep', '60')), log=Path(sys.argv[1], 'log'))\n"
        "    r.start(f'c{i}'); r.stop(f'c{i}', 0); r.remove(f'c{i}')\n"
    )
    for _ in range(12):
        argv = [sys.executable, "-c", code, str(runtime.root), str(runtime.images.root), GROUP]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
            assert process.stdout and process.stdout.readline() == b"ready\n"
            watched = os.pidfd_open(process.pid)
            select.select([watched], [], [], chance.uniform(0.0, 0.4))
            os.close(watched)
            assert process.poll() is None
            process.kill()
        found = runtime.all()
        assert len(found) <= 1
        for status in found:
            runtime.remove(status.id)
    assert runtime.all() == []


def test_a_pod_shares_what_its_sandbox_holds(runtime: Runtime) -> None:
    netns.prepare()
    space = f"{NAME}.pod"
    os.close(netns.create(space))
    try:
        sandbox = Sandbox(
            hostname="web-0", netns=str(netns.path(space)), shared_pid=True, sysctls={"net.core.somaxconn": "9"}
        )
        held = sandboxes.run(runtime, "pod", sandbox, log=runtime.root / "pod.log")
        assert Path(f"/proc/{held.pid}/ns/net").stat().st_ino == netns.inode(space)
        joined = sandboxes.namespaces(runtime, "pod", sandbox)
        run(runtime, "web", Container(image="hostnames", namespaces=joined))
        run(runtime, "debug", shell("sleep 60", namespaces=joined))
        with netns.entered(space):
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        fetch = "i=0; until wget -qO- http://127.0.0.1:9376/ || [ $((i+=1)) = 50 ]; do sleep 0.1; done"
        assert runtime.run("debug", ["sh", "-c", fetch]).stdout == "web-0\n"
        assert runtime.run("debug", ["cat", "/proc/sys/net/core/somaxconn"]).stdout == "9\n"
        # one process namespace: pause is process 1, and what is orphaned is reaped by it
        assert "pause" in runtime.run("debug", ["cat", "/proc/1/cmdline"]).stdout
        runtime.run("debug", ["sh", "-c", "(sleep 0.2 &) ; true"])
        until_reaped = "i=0; while grep -qs '^State:.Z' /proc/[0-9]*/status && [ $((i+=1)) -lt 50 ]; do sleep 0.1; done"
        zombies = runtime.run(
            "debug", ["sh", "-c", f"sleep 0.4; {until_reaped}; grep -s '^State:.Z' /proc/[0-9]*/status"]
        )
        assert zombies.stdout == ""
        assert runtime.stop("pod", 10).exit_code == 0
        with pytest.raises(ConflictError, match="exited"):
            sandboxes.namespaces(runtime, "pod", sandbox)
    finally:
        for status in runtime.all():
            runtime.remove(status.id)
        netns.delete(space)


def layer(store: Store, *members: tuple[tarfile.TarInfo, bytes]) -> dict[str, object]:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    digest, size = store.put(io.BytesIO(output.getvalue()))
    return {"mediaType": LAYER, "digest": digest, "size": size}


def file(name: str, content: bytes = b"", **more: object) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    for key, value in more.items():
        setattr(member, key, value)
    return member, content


def image(store: Store, *parts: dict[str, object]) -> None:
    config = {"rootfs": {"type": "layers", "diff_ids": [part["digest"] for part in parts]}, "config": {}}
    store.add(Reference.parse("made"), config, list(parts))


def test_layers_lie_on_each_other_and_hide_what_was_below(runtime: Runtime, tmp_path: Path) -> None:
    store = Store(tmp_path / "images")
    busybox = Path("/bin/busybox").read_bytes()
    lower = layer(
        store, file("bin/sh", busybox, mode=0o755), file("a", b"1", mode=0o4755, uid=5), file("b", b"2"),
        file("d/below", b"x"), file("e/below", b"x"), file("l", type=tarfile.SYMTYPE, linkname="a"),
    )  # fmt: skip
    upper = layer(
        store, file(".wh.b"), file("d/.wh..wh..opq"), file("d/above", b"y"), file("e/above", b"y"), file("a", b"3")
    )
    image(store, lower, upper)
    made = Runtime(runtime.root, store, cgroup=GROUP)
    script = "for i in a b d/* e/* l; do [ -e $i ] && echo $i; done; read x <a; echo $x"
    log = run(made, "one", Container(image="made", command=("/bin/sh", "-c", script)))
    made.wait("one", 10)
    assert [line.split()[-1] for line in log.read_text().splitlines()] == [
        "a",
        "d/above",
        "e/above",
        "e/below",
        "l",
        "3",
    ]
    [top, bottom] = layers.unpacked(store, store.get("made"))
    assert stat.S_ISCHR((top / "b").stat().st_mode) and (bottom / "a").stat().st_mode & 0o7777 == 0o4755
    assert (bottom / "a").stat().st_uid == 5


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([file("../x", b"")], "leads out"),
        ([file("l", type=tarfile.SYMTYPE, linkname="/tmp"), file("l/x", b"")], "no directory"),
        ([file("h", type=tarfile.LNKTYPE, linkname="../../etc/passwd")], "link out"),
    ],
)
def test_a_layer_reaches_nothing_outside(
    tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]], said: str
) -> None:
    store = Store(tmp_path)
    image(store, layer(store, *members))
    with pytest.raises(ImageError, match=said):
        layers.unpacked(store, store.get("made"))
    assert list((tmp_path / "layers").iterdir()) == []


def test_a_damaged_blob_is_noticed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    part = layer(store, file("a", b"1"))
    image(store, part)
    store.path(str(part["digest"])).write_bytes(b"\0" * 10240)
    with pytest.raises(ImageError, match="is not"):
        layers.unpacked(store, store.get("made"))


@pytest.mark.skipif(not shutil.which("skopeo"), reason="apt-get install skopeo brings the other reader of the store")
def test_skopeo_reads_the_store_and_we_what_it_writes(images: Store, tmp_path: Path) -> None:
    source = f"oci:{images.root}:docker.io/library/busybox:latest"
    for kind in ("oci-archive", "docker-archive"):
        target = tmp_path / f"{kind}.tar"
        subprocess.run(
            ["skopeo", "copy", "-q", source, f"{kind}:{target}:busybox:copy"], check=True, timeout=patience(60)
        )
        [image] = archive.load(Store(tmp_path / kind), target, name="busybox:copy")
        assert image.diff_ids == images.get("busybox").diff_ids
        assert json.dumps(image.process) == json.dumps(images.get("busybox").process)


REGISTRY = [tool for tool in ("skopeo", "docker-registry") if not shutil.which(tool)]


@pytest.mark.skipif(bool(REGISTRY), reason=f"apt-get install {' '.join(REGISTRY)} brings a registry to pull from")
def test_pulling_from_a_registry(images: Store, tmp_path: Path) -> None:
    """A registry in a namespace of its own, filled from the store; what is not in it is not found."""
    netns.prepare()
    space = f"{NAME}.registry"
    os.close(netns.create(space))
    config = tmp_path / "config.yml"
    config.write_text(
        "version: 0.1\nlog: {level: error}\nhttp: {addr: 127.0.0.1:5000}\n"
        f"storage: {{filesystem: {{rootdirectory: {tmp_path / 'registry'}}}}}\n"
    )
    pid = 0
    try:
        run_in(space, ["ip", "link", "set", "lo", "up"], check=True)
        pid = processes.spawn(
            ["docker-registry", "serve", str(config)], netns=space, log=tmp_path / "registry.log", pdeathsig=True
        )
        source = f"oci:{images.root}:docker.io/library/busybox:latest"
        push = ["skopeo", "copy", "-q", "--dest-tls-verify=false", source, "docker://127.0.0.1:5000/team/busybox:v1"]
        deadline = time.monotonic() + patience(30)
        while (pushed := run_in(space, push)).returncode != 0:  # until it listens
            assert time.monotonic() < deadline, (pushed, (tmp_path / "registry.log").read_text())

        def pull(name: str) -> Completed:
            netlab = [sys.executable, "-m", "netlab.cli.main", "image", "pull", name, "--insecure", "--json"]
            return run_in(space, [*netlab, "--root", str(tmp_path / "store")], timeout=patience(60))

        done = pull("127.0.0.1:5000/team/busybox:v1")
        assert done.returncode == 0, done
        assert json.loads(done.stdout)[0]["name"] == "127.0.0.1:5000/team/busybox:v1"
        pulled = Store(tmp_path / "store").get("127.0.0.1:5000/team/busybox:v1")
        assert pulled.diff_ids == images.get("busybox").diff_ids
        none = pull("127.0.0.1:5000/team/busybox:v2")
        assert none.returncode == 1 and "manifest unknown" in json.loads(none.stdout)["error"]
    finally:
        if pid:
            found = processes.identify(pid)
            assert found is None or processes.stop([found]) == []
        netns.delete(space)
