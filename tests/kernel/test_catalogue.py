"""Images of the catalogue that are more than one program: they do what the texts have them for."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import patience

from netlab.kernel import netns
from netlab.kernel.commands import Completed, run_in
from netlab.runtime.containers import Runtime
from netlab.runtime.images import build
from netlab.runtime.images.catalogue import PACKAGES
from netlab.runtime.images.store import Store
from netlab.runtime.spec import Container, Mount

LACKING = [tool for tool in ("runc", "conmon", "busybox") if not shutil.which(tool)]
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="making containers needs root"),
    pytest.mark.skipif(bool(LACKING), reason=f"apt-get install {' '.join(LACKING)} brings what containers need"),
    pytest.mark.not_in_vm("what Debian's programs do in a container: the kernel has no part in it"),
]
NAME = f"cat{os.getpid()}"
DATABASE = {
    PACKAGES[path] for path in PACKAGES if "maria" in PACKAGES[path] or "ncat" in path if not Path(path).exists()
}


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    netns.prepare()
    os.close(netns.create(NAME))
    run_in(NAME, ["ip", "link", "set", "lo", "up"], check=True)
    made = Runtime(tmp_path / "run", Store(tmp_path / "images"), cgroup=f"/netlab.{NAME}")
    try:
        yield made
    finally:
        for status in made.all():
            made.remove(status.id)
        netns.delete(NAME)


def run(
    runtime: Runtime, name: str, image: str, *mounts: Mount, command: tuple[str, ...] | None = None, **env: str
) -> None:
    build.build(runtime.images, [image])
    container = Container(
        image=image, command=command, env=env, mounts=mounts, namespaces={"network": str(netns.path(NAME))},
        hostname="mysql-0",
    )  # fmt: skip
    runtime.create(name, container, log=runtime.root / f"{name}.log")
    runtime.start(name)


def until(runtime: Runtime, name: str, argv: list[str]) -> Completed:
    """What it says when it works."""
    deadline = time.monotonic() + patience(90)
    while (done := runtime.run(name, argv)).returncode != 0:
        log = (runtime.root / f"{name}.log").read_text()
        assert time.monotonic() < deadline and runtime.status(name).state == "running", (done, log)
    return done


@pytest.mark.skipif(bool(DATABASE), reason=f"apt-get install --no-install-recommends {' '.join(sorted(DATABASE))}")
def test_a_database_and_its_copy(runtime: Runtime, tmp_path: Path) -> None:
    """The StatefulSet of the texts: a primary, whose data go to the next one through xbstream."""
    data, conf = tmp_path / "data", tmp_path / "conf"
    data.mkdir()
    conf.mkdir()
    (conf / "primary.cnf").write_text("[mysqld]\nlog-bin\n")
    (conf / "replica.cnf").write_text("[mysqld]\nsuper-read-only=OFF\n")
    run(
        runtime, "db", "mysql:5.7", Mount(str(data), "/var/lib/mysql"), Mount(str(conf), "/etc/mysql/conf.d"),
        MYSQL_ROOT_PASSWORD="it's", MYSQL_DATABASE="shop",
    )  # fmt: skip
    ask = ["mysql", "-h", "127.0.0.1", "-pit's", "-N", "-e"]
    until(runtime, "db", [*ask, "SELECT 1"])
    assert "alive" in runtime.run("db", ["mysqladmin", "-pit's", "ping"]).stdout
    refused = runtime.run("db", ["mysql", "-h", "127.0.0.1", "-e", "SELECT 1"])
    assert "Access denied" in refused.stderr
    told = runtime.run("db", [*ask, "CREATE TABLE shop.t (x INT); INSERT INTO shop.t VALUES (7); SELECT x FROM shop.t"])
    assert told.stdout == "7\n"
    run(
        runtime,
        "xb",
        "gcr.io/google-samples/xtrabackup:1.0",
        Mount(str(data), "/var/lib/mysql"),
        command=("sleep", "600"),
    )
    copy = (
        "set -eo pipefail; mkdir /tmp/copy; cd /tmp/copy\n"
        """ncat --listen --send-only 3307 -c "xtrabackup --backup --slave-info --stream=xbstream --host=127.0.0.1 """
        """--user=root --password=it\\'s" &\n"""
        "until ncat --recv-only 127.0.0.1 3307 >stream; do :; done; xbstream -x <stream\n"
        "xtrabackup --prepare --target-dir=/tmp/copy; ls shop; cat xtrabackup_binlog_info"
    )
    done = runtime.run("xb", ["bash", "-c", copy], timeout=patience(90))
    assert done.returncode == 0 and "t.ibd" in done.stdout and "bin.000001" in done.stdout, done
    assert runtime.stop("db", patience(30)).exit_code == 0


def test_without_a_word_about_passwords_there_is_no_database(runtime: Runtime) -> None:
    if DATABASE:
        pytest.skip(f"apt-get install --no-install-recommends {' '.join(sorted(DATABASE))}")
    run(runtime, "db", "mysql:5.7")
    assert runtime.wait("db", patience(30)).exit_code == 1
    assert "MYSQL_ALLOW_EMPTY_PASSWORD" in (runtime.root / "db.log").read_text()


def test_names_are_searched_for_as_the_texts_have_it(runtime: Runtime, tmp_path: Path) -> None:
    """nslookup of busybox 1.28 asks as ping does: a name with a dot in it is looked for in the search list, too."""
    hosts, resolv = tmp_path / "hosts", tmp_path / "resolv.conf"
    hosts.write_text(
        "10.96.0.10 kube-dns.kube-system.svc.cluster.local\n"
        "10.244.0.30 web-0.nginx.default.svc.cluster.local web-0.nginx\n"
    )
    resolv.write_text("search default.svc.cluster.local\nnameserver 10.96.0.10\n")
    mounts = Mount(str(hosts), "/etc/hosts"), Mount(str(resolv), "/etc/resolv.conf")
    run(runtime, "dns-test", "busybox:1.28.4", *mounts, command=("sleep", "600"))
    server = "Server:    10.96.0.10\nAddress 1: 10.96.0.10 kube-dns.kube-system.svc.cluster.local\n\n"
    one = "Address 1: 10.244.0.30 web-0.nginx.default.svc.cluster.local\n"
    assert runtime.run("dns-test", ["nslookup", "web-0.nginx"]).stdout == f"{server}Name:      web-0.nginx\n{one}"
    typed = runtime.run("dns-test", ["sh", "-i", "-c", "nslookup web-0.nginx"])
    assert typed.stdout.endswith(one), "a shell's own nslookup comes first"
    none = runtime.run("dns-test", ["nslookup", "nowhere"])
    assert (none.returncode, none.stdout, none.stderr) == (1, server, "nslookup: can't resolve 'nowhere'\n")


def test_a_web_archive_and_who_serves_it(runtime: Runtime, tmp_path: Path) -> None:
    apps = tmp_path / "apps"
    apps.mkdir()
    run(runtime, "war", "geektime/sample:v2", Mount(str(apps), "/app"), command=("cp", "/sample.war", "/app"))
    assert runtime.wait("war", patience(30)).exit_code == 0
    home = "/root/apache-tomcat-7.0.42-v2"
    run(
        runtime, "tomcat", "geektime/tomcat:7.0", Mount(str(apps), f"{home}/webapps"),
        command=("sh", "-c", f"{home}/bin/start.sh"),
    )  # fmt: skip
    page = until(runtime, "tomcat", ["wget", "-qO-", "http://127.0.0.1:8080/sample/"])
    assert "Hello from sample.war" in page.stdout


def test_a_stand_in_for_fluentd_says_what_it_sees(runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "a.log").touch()
    run(runtime, "fluentd", "k8s.gcr.io/fluentd-elasticsearch:1.20", Mount(str(tmp_path / "a.log"), "/var/log/a.log"))
    log = runtime.root / "fluentd.log"
    deadline = time.monotonic() + patience(30)
    while "/var/log/a.log" not in log.read_text():
        assert time.monotonic() < deadline
    assert "a stand-in: 1 logs" in log.read_text()
    assert runtime.stop("fluentd", patience(30)).exit_code == 0
    run(runtime, "debian", "debian", command=("bash", "-c", "[[ $HOSTNAME == mysql-0 ]]"))
    assert runtime.wait("debian", patience(30)).exit_code == 0
