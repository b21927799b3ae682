"""Clusters up and down, nodes on and off: the journal first, then the network, files, processes; the way back by name.

Whatever is killed in the middle, the journal names every namespace and the cluster's directories follow from its name,
so the next `up` finishes and the next `down` takes away. Which nodes are on is what runs, and is asked each time.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import orjson

from netlab.api import times
from netlab.base.clusters import CONTROL_PLANE
from netlab.base.errors import ConflictError, InputError, MachineError, NetlabError
from netlab.base.lockedfiles import locked, put
from netlab.base.patience import patience
from netlab.calico.ipam import Ipam
from netlab.cluster import bootstrap, credentials, networks
from netlab.cluster import plan as plans
from netlab.cluster.machine import Machine, Process, Progress
from netlab.cluster.options import Options, check_node, with_node, without_node
from netlab.cluster.plan import Cluster, Node, Places
from netlab.cni.plugins.calico import Store
from netlab.lab import running
from netlab.lab.journal import CLUSTER, LAB, RUN_DIR, Journal, Record
from netlab.model import Chain, HostState

#: what nodes write, and the images of all clusters: directories of a real file system
DISKS, IMAGES = Path("/var/lib/netlab/clusters"), Path("/var/lib/netlab/images")
#: ports of 127.0.0.1 are tried from here on
FIRST_PORT = 6443
#: seconds that nodes have to be Ready, and that a process has to end which was killed
READY_LIMIT, KILL_LIMIT = 120.0, 10.0
#: after so many starts that ended it is said that a process does not run
RESTARTS_MAX = 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `up` did. fresh: whether the cluster was not up before; seconds: of each step."""

    name: str
    fresh: bool
    nodes: tuple[str, ...]
    kubeconfig: Path
    seconds: dict[str, float]


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """on: whether it has power; processes: of the supervisor's table, by their name in the node; api: the Node object,
    None if the API does not have it or does not answer."""

    name: str
    on: bool
    addresses: tuple[str, ...]
    pid: int | None
    processes: dict[str, dict[str, Any]]
    api: dict[str, Any] | None


class Engine:
    """Verbs that change the clusters of one machine. say: how to tell the user something by the way."""

    def __init__(
        self, machine: Machine, *, run_dir: Path = RUN_DIR, say: Callable[[str], None] = lambda _text: None
    ) -> None:
        self.machine, self.run_dir, self.say = machine, run_dir, say

    def journal(self, name: str) -> Journal:
        """The state directory of a cluster, up or not."""
        return Journal(name, run_dir=self.run_dir, kind="cluster")

    def cluster(self, name: str) -> Cluster:
        """A cluster that is up. InputError if it is not."""
        found = self._known(self.journal(name))
        if found is None:
            raise InputError(f"cluster {name!r} is not up", hint=f"netlab cluster up {name}")
        return found

    def _known(self, journal: Journal) -> Cluster | None:
        if journal.read(names_only=True) is None:
            return None
        file = journal.dir / CLUSTER
        try:
            data = orjson.loads(file.read_bytes())
            places = Places(journal.dir, Path(data["disk"]), Path(data["images"]), self.machine.code())
            return plans.plan(Options.of_json(data["options"]), places, port=data["port"])
        except (ValueError, KeyError, TypeError) as e:
            hint = f"use the netlab that made it, or: netlab cluster down {journal.name}"
            raise MachineError(f"{file}: another netlab wrote it, or nobody did: {e}", hint=hint) from e

    @staticmethod
    def _remember(journal: Journal, cluster: Cluster) -> None:
        places, asked = cluster.places, cluster.options.as_json()
        data = {"options": asked, "port": cluster.port, "disk": str(places.disk), "images": str(places.images)}
        journal.store(CLUSTER, orjson.dumps(data))

    # -- up

    def up(
        self, asked: Options, *, disks: Path = DISKS, images: Path = IMAGES, of_lab: bytes | None = None,
        progress: Progress = lambda _what, _count: None,
    ) -> Outcome:  # fmt: skip
        """Bring a cluster up, or what is missing of it. ConflictError if it is up as another one.

        disks: below which a new one has what its nodes write; images: its store of images; of_lab: for a lab's cluster,
        what the lab has to remember, in the file LAB.
        """
        self.machine.require_root()
        journal = self.journal(asked.name)
        with journal.locked(waiting=self.say):
            known = self._known(journal)
            if known is not None:
                _same_kind(journal, of_lab is not None)
                asked = _same(known.options, asked)
            self._need(asked)
            fresh = known is None
            places = Places(journal.dir, disks.absolute() / asked.name, images.absolute(), self.machine.code())
            cluster = known or self._planned(journal, asked, places)
            watch = _Watch(progress)
            if of_lab is not None:
                journal.store(LAB, of_lab)
            try:
                self._make(journal, cluster, list(asked.nodes), watch, fresh=fresh)
                self._settle(journal, cluster, list(asked.nodes), watch)
            except (NetlabError, KeyboardInterrupt):
                if fresh:
                    # nothing half-done stays behind; what the user sees is why it failed, not how it was swept up
                    self.say(f"taking cluster {asked.name!r} down again, as it could not be brought up whole")
                    self._remove(journal)
                raise
            return Outcome(asked.name, fresh, tuple(asked.nodes), cluster.kubeconfig, watch.seconds)

    def _need(self, asked: Options) -> None:
        self.machine.missing(["runc", "conmon", *(["etcd"] if asked.store == "etcd" else [])])
        if asked.proxy == "ipvs":
            self.machine.need("ipvs")

    def _planned(self, journal: Journal, asked: Options, places: Places) -> Cluster:
        """A new cluster, with a port for its API server that no other has, running or not: chosen and written down
        while nobody else chooses."""
        with locked(self.run_dir):
            taken = set()
            for file in self.run_dir.glob(f"*/{CLUSTER}"):
                with contextlib.suppress(OSError, ValueError, KeyError):
                    taken.add(int(orjson.loads(file.read_bytes())["port"]))
            cluster = plans.plan(asked, places, port=self.machine.free_port(FIRST_PORT, taken))
            self._remember(journal, cluster)
        return cluster

    def _make(self, journal: Journal, cluster: Cluster, on: Collection[str], watch: _Watch, *, fresh: bool) -> None:
        """The cluster with these nodes on: network, files, processes."""
        if fresh:
            taken = sorted(set(cluster.topology.namespaces) & self.machine.namespaces())
            if taken:
                raise ConflictError(
                    f"namespace {taken[0]} exists already and is not of a cluster that netlab knows",
                    hint=f"if nobody needs it: ip netns del {taken[0]}; or give the cluster another name",
                )
            # what a machine that was switched off has left: its processes and namespaces are gone
            shutil.rmtree(cluster.places.disk, ignore_errors=True)
        self._remember(journal, cluster)
        with watch("network"):
            self._network(journal, cluster, on)
        with watch("certificates"):
            self._files(journal, cluster, on)
        with watch("images"):
            self.machine.images(cluster.places.images, lambda what: watch.tell(f"building image {what}", 0))
        with watch("processes started"):
            running.follow(self.machine, journal, self._table(journal, cluster, on))

    def _network(self, journal: Journal, cluster: Cluster, on: Collection[str], gone: Collection[str] = ()) -> None:
        """The underlay of the nodes that are on; of the others nothing is left. gone: namespaces of removed nodes."""
        here = replace(cluster.options, nodes={n: i for n, i in cluster.options.nodes.items() if n in on})
        states = plans.plan(here, cluster.places, port=cluster.port).states
        off = [node.netns for node in cluster.nodes if node.name not in on]
        old = journal.read()
        record = old or Record(
            name=cluster.name, source=f"cluster {cluster.name}", digest="",
            iptables=self.machine.iptables_variant() if _chains(states) else None,
        )  # fmt: skip
        record = replace(
            record, namespaces=tuple(dict.fromkeys([*states, *off, *gone])),
            places={node.name: node.netns for node in cluster.nodes},
        )  # fmt: skip
        journal.begin(record, goal=states)
        nothing = {ns: HostState() for ns in (*off, *gone)}
        network = self.machine.network(journal, iptables=record.iptables)
        network.apply_all(plans.owner(cluster.name), {**states, **nothing})
        self.machine.delete_namespaces([*off, *gone])
        if gone:
            journal.keep(replace(record, namespaces=tuple(ns for ns in record.namespaces if ns not in gone)))

    def _files(self, journal: Journal, cluster: Cluster, on: Collection[str]) -> None:
        (journal.dir / "notify").mkdir(exist_ok=True)
        authority = credentials.authority(cluster)
        for path, content in credentials.administrator(cluster, authority).items():
            put(path, content, mode=0o600)
        if cluster.options.network == "calico":
            self._calico(cluster)
        for node in cluster.nodes:
            if node.name not in on:
                continue
            for directory in (node.disk, *node.own.values()):
                directory.mkdir(parents=True, exist_ok=True)
            if not (node.own[plans.KUBERNETES] / "kubelet.conf").exists():
                for path, content in credentials.of_node(cluster, node, authority).items():
                    put(path, content, mode=0o600)
            journal.store(f"machines/{node.name}.json", orjson.dumps(plans.machine(cluster, node)))

    def _calico(self, cluster: Cluster) -> None:
        addresses = {node.name: [str(a) for a in node.addresses] for node in cluster.nodes}
        objects = networks.calico_objects(cluster.options, addresses)
        content = orjson.dumps({"apiVersion": "v1", "kind": "List", "items": objects}, option=orjson.OPT_INDENT_2)
        put(cluster.places.disk / "calico" / "cluster.json", content)

    def _table(self, journal: Journal, cluster: Cluster, on: Collection[str]) -> list[dict[str, Any]]:
        """What is to run with these nodes on. What runs already stays as it was started: who asks now may be another
        Python, with commands of its own, and a node that nobody has named is not to lose its power for that."""
        wanted = plans.table(cluster, list(on), netlab=self.machine.netlab(), boot=self.machine.boot())
        for name, machine in cluster.options.outside.items():
            if machine.serve:
                netns, argv = cluster.topology.netns(name), self.machine.web_server(name, machine.serve)
                wanted.append({"name": f"{name}/web", "netns": netns, "argv": argv})
        runs = {name for name, p in self.machine.processes(journal.dir).items() if p["state"] == "running"}
        file = journal.dir / running.TABLE
        started = orjson.loads(file.read_bytes())["processes"] if runs else []
        kept = {entry["name"]: entry for entry in started if entry["name"] in runs}
        return [kept.get(entry["name"], entry) for entry in wanted]

    def _settle(self, journal: Journal, cluster: Cluster, on: Collection[str], watch: _Watch) -> None:
        """Until the API answers, the objects that a cluster begins with are there, and its nodes are Ready."""
        table = self._table(journal, cluster, on)
        server = [entry for entry in table if entry["name"] in (f"{CONTROL_PLANE}/server", f"{CONTROL_PLANE}/init")]
        with watch("API server"):
            running.ready(self.machine, journal, server, watch.tell)
        ca = credentials.authority(cluster).pair.cert

        def look(what: str, count: int) -> None:
            self._broken(journal, table)
            watch.tell(what, count)

        with watch("nodes ready"):
            objects = bootstrap.objects(bootstrap.facts(cluster), ca=ca)
            self.machine.settle(cluster.kubeconfig, objects, on, limit=patience(READY_LIMIT), progress=look)

    def _broken(self, journal: Journal, table: list[dict[str, Any]]) -> None:
        """NetlabError if a process cannot be started at all, or ends again and again: nobody need wait for it."""
        there = self.machine.processes(journal.dir)
        for name in (entry["name"] for entry in table):
            process = there.get(name, {})
            if process.get("state") == "failed" or process.get("restarts", 0) >= RESTARTS_MAX:
                words = (
                    process.get("reason"),
                    running.last_words(journal.dir / "log" / f"{name.replace('/', '.')}.log"),
                )
                raise NetlabError(": ".join([f"{name} does not run", *(word for word in words if word)]))

    # -- down

    def down(self, name: str) -> int | None:
        """Remove a cluster and all that runs in it; how many nodes it had on, None if it was not up."""
        self.machine.require_root()
        journal = self.journal(name)
        with journal.locked(waiting=self.say):
            if journal.read(names_only=True) is None:
                return None
            return self._remove(journal)

    def _remove(self, journal: Journal) -> int:
        record = journal.read(names_only=True)
        processes = self.machine.processes(journal.dir).items()
        count = len([name for name, p in processes if name.endswith("/init") and p["state"] == "running"])
        self.machine.stop_processes(journal.dir)
        names = record.namespaces if record else ()
        self.machine.expel(names)
        self.machine.delete_namespaces(names)
        self.machine.clear_cgroup(plans.cgroup(journal.name))
        disk = self._disk(journal)
        shutil.rmtree(disk, ignore_errors=True)
        with contextlib.suppress(OSError):  # another cluster has its disks there
            disk.parent.rmdir()
        # last: as long as anything is left, the journal names it
        journal.path.unlink(missing_ok=True)
        return count

    @staticmethod
    def _disk(journal: Journal) -> Path:
        try:
            return Path(orjson.loads((journal.dir / CLUSTER).read_bytes())["disk"])
        except (OSError, ValueError, KeyError):  # it was not written yet, and then nothing is there
            return DISKS / journal.name

    # -- nodes

    def add(self, name: str, *, progress: Progress = lambda _what, _count: None) -> str:
        """One more node, Ready when this returns. Its name."""
        with self._changing(name) as (journal, cluster, on):
            asked, node = with_node(cluster.options)
            after = replace_options(cluster, asked)
            watch = _Watch(progress)
            self._make(journal, after, [*on, node], watch, fresh=False)
            self._settle(journal, after, [node], watch)
            return node

    def start(self, name: str, node: str, *, progress: Progress = lambda _what, _count: None) -> bool:
        """Give a node its power back. False if it has it."""
        with self._changing(name) as (journal, cluster, on):
            check_node(cluster.options, node)
            if node in on:
                return False
            watch = _Watch(progress)
            self._make(journal, cluster, [*on, node], watch, fresh=False)
            self._settle(journal, cluster, [node], watch)
            return True

    def stop(self, name: str, node: str) -> bool:
        """Shut a node down: its agent is told to end, then everything else ends. False if it is off."""
        with self._changing(name) as (journal, cluster, on):
            check_node(cluster.options, node)
            if node not in on:
                return False
            self._halt(journal, cluster, on, node)
            return True

    def crash(self, name: str, node: str) -> bool:
        """Pull a node's plug: everything in it ends at once, and nobody is told. False if it is off."""
        with self._changing(name) as (journal, cluster, on):
            check_node(cluster.options, node)
            if node not in on:
                return False
            init = self._init(journal, cluster.node(node))
            if init is not None:
                self.machine.kill(init, seconds=KILL_LIMIT)
            left = [other for other in on if other != node]
            running.follow(self.machine, journal, self._table(journal, cluster, left), stopped=[node])
            self._network(journal, cluster, left)
            return True

    def remove(self, name: str, node: str) -> None:
        """Take a node out of the cluster: off, out of the API, and nothing is left of it."""
        with self._changing(name) as (journal, cluster, on):
            asked = without_node(cluster.options, node)
            gone = cluster.node(node)
            if node in on:
                self._halt(journal, cluster, on, node)
            self.machine.forget_node(cluster.kubeconfig, node)
            after = replace_options(cluster, asked)
            self._remember(journal, after)
            self._network(journal, after, [other for other in on if other != node], gone=[gone.netns])
            if after.options.network == "calico":
                self._calico(after)
                _release(after.places.disk / "calico", node)
            self.machine.clear_cgroup(gone.cgroup)
            shutil.rmtree(gone.disk, ignore_errors=True)

    def _halt(self, journal: Journal, cluster: Cluster, on: Collection[str], node: str) -> None:
        left = [other for other in on if other != node]
        table = self._table(journal, cluster, on)
        its = cluster.node(node)
        running.follow(self.machine, journal, [e for e in table if e.get("inside") != its.init], stopped=[node])
        running.follow(self.machine, journal, self._table(journal, cluster, left), stopped=[node])
        self._network(journal, cluster, left)

    @contextlib.contextmanager
    def _changing(self, name: str) -> Iterator[tuple[Journal, Cluster, list[str]]]:
        """A cluster that is up, locked, and the names of its nodes that are on."""
        self.machine.require_root()
        journal = self.journal(name)
        with journal.locked(waiting=self.say):
            cluster = self.cluster(name)
            yield journal, cluster, [n.name for n in cluster.nodes if self._init(journal, n) is not None]

    def _init(self, journal: Journal, node: Node) -> Process | None:
        """The first process of a node, None if it is off."""
        found = self.machine.processes(journal.dir).get(node.init, {})
        return (found["pid"], found["start_time"]) if found.get("state") == "running" else None

    # -- looking

    def inits(self, name: str) -> dict[str, Process]:
        """The nodes that are on, each with its first process. InputError if the cluster is not up."""
        cluster, journal = self.cluster(name), self.journal(name)
        found = {node.name: self._init(journal, node) for node in cluster.nodes}
        return {node: init for node, init in found.items() if init is not None}

    def status(self, name: str) -> list[NodeStatus]:
        """Every node, as it is now."""
        cluster, journal = self.cluster(name), self.journal(name)
        table = self.machine.processes(journal.dir)
        api = self.machine.nodes(cluster.kubeconfig)
        found = []
        for node in cluster.nodes:
            own = {n.partition("/")[2]: p for n, p in table.items() if n.startswith(f"{node.name}/")}
            init = own.pop("init", {})
            on = init.get("state") == "running"
            addresses = tuple(map(str, node.ips))
            found.append(NodeStatus(node.name, on, addresses, init.get("pid") if on else None, own, api.get(node.name)))
        return found

    def enter(self, name: str, node: str, argv: list[str]) -> NoReturn:
        """Run a program in a node, with this terminal; ends as it ends. MachineError if the node is off."""
        self.machine.require_root()
        cluster = self.cluster(name)
        check_node(cluster.options, node)
        its = cluster.node(node)
        init = self._init(self.journal(name), its)
        if init is None:
            raise MachineError(f"node {node} is off", hint=f"netlab cluster node start {node}")
        self.machine.enter(init, argv, cgroup=its.system)

    def token(self, name: str, *, hours: float) -> str:
        """A bootstrap token that is good for so many hours: with it a machine may become a node."""
        cluster = self.cluster(name)
        made = bootstrap.new_token()
        expires = times.seconds(time.time() + hours * 3600)
        self.machine.create(cluster.kubeconfig, [bootstrap.token(made, expires=expires)])
        return made

    def log(self, name: str, process: str) -> Path:
        """The log of a process such as node1/agent. InputError if there is none of that name."""
        journal = self.journal(name)
        self.cluster(name)
        logs = {file.stem: file for file in sorted((journal.dir / "log").glob("*.log"))}
        stem = process.replace("/", ".")
        if stem not in logs:
            raise InputError(f"cluster {name!r} has no log {process!r}", hint=f"it has {', '.join(logs)}")
        return logs[stem]


def replace_options(cluster: Cluster, asked: Options) -> Cluster:
    """The cluster, asked to be another."""
    return plans.plan(asked, cluster.places, port=cluster.port)


def _same_kind(journal: Journal, a_labs: bool) -> None:
    """ConflictError if it is a lab's and no lab asks, or the other way round."""
    if (journal.dir / LAB).exists() and not a_labs:
        raise ConflictError(
            f"cluster {journal.name!r} is that of a lab", hint=f"netlab lab up {journal.name} brings back what is off"
        )
    if a_labs and not (journal.dir / LAB).exists():
        raise ConflictError(
            f"{journal.name!r} is a cluster that is up, and no lab's",
            hint=f"netlab cluster down {journal.name} makes room for the lab",
        )


def _same(known: Options, asked: Options) -> Options:
    """The options under which it is up, if they are not others than those asked for. ConflictError."""
    differ = [
        f"--{key.replace('_', '-')} {getattr(known, key)}"
        for key in ("network", "proxy", "store", "ipv6", "node_monitor_grace_period")
        if getattr(known, key) != getattr(asked, key)
    ]
    if differ:
        raise ConflictError(
            f"cluster {known.name!r} is up with {' '.join(differ)}",
            hint=f"netlab cluster down {known.name} first, or give this one another name",
        )
    return known


def _release(datastore: Path, node: str) -> None:
    """Give back the addresses and blocks that a node had which is gone."""
    store = Store(datastore)
    with store.held() as objects:
        ipam = Ipam.of(objects)
        for address, whose in ipam.used().items():
            if whose.node == node:
                ipam = ipam.release(address)
        store.write(ipam.release_affinity(node))


def _chains(states: dict[str, HostState]) -> bool:
    return any(isinstance(item, Chain) for state in states.values() for item in state)


class _Watch:
    """How long each step takes, told as it begins."""

    def __init__(self, tell: Progress) -> None:
        self.tell = tell
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        self.tell(what, 0)
        began = time.monotonic()
        yield
        self.seconds[what] = round(time.monotonic() - began, 3)
