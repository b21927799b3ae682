"""A real cluster for behaviours that need containers, and pods that end by themselves: made at once, judged one by one."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import clusterup
from patience import patience

from netlab.client.kubeconfig import load
from netlab.runtime.images.reference import Reference
from netlab.runtime.images.store import LAYER, Store

Json = dict[str, Any]
NAMESPACE = "/api/v1/namespaces/e2e"
PODS, NODES = f"{NAMESPACE}/pods", "/api/v1/nodes"
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
#: of the tests, with an Entrypoint and a Cmd
IMAGE = "e2e/entry:1"
ENDED = ("Succeeded", "Failed")
#: seconds
PATIENCE, LOOK = 180.0, 0.1


class Refused(Exception):
    """An answer that is an error. code: its status."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


class Api:
    """The cluster's API, one request after the other."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        config = load(Path(environment["KUBECONFIG"]))
        at = urlsplit(config.server)
        self._connection = http.client.HTTPSConnection(
            at.hostname or "", at.port, context=config.tls(), timeout=patience(PATIENCE)
        )

    def close(self) -> None:
        self._connection.close()

    def text(self, method: str, path: str, body: Json | None = None, kind: str = "application/json") -> str:
        """The answer. Refused."""
        self._connection.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": kind})
        answer = self._connection.getresponse()
        text = answer.read().decode()
        if answer.status >= 400:
            raise Refused(answer.status, text)
        return text

    def get(self, path: str) -> Any:
        return json.loads(self.text("GET", path))

    def make(self, path: str, obj: Json) -> Any:
        return json.loads(self.text("POST", path, obj))

    def patch(self, path: str, change: Json, kind: str = STRATEGIC) -> Any:
        return json.loads(self.text("PATCH", path, change, kind))

    def delete(self, path: str, grace: int = 1) -> None:
        self.text("DELETE", path, {"gracePeriodSeconds": grace})

    def answer(self, path: str, holds: Callable[[str], bool]) -> None:
        """Wait for an answer that is no object."""
        end = time.monotonic() + patience(PATIENCE)
        while True:
            try:
                text = self.text("GET", path)
            except Refused as e:  # nobody listens yet
                text = str(e)
            if holds(text):
                return
            assert time.monotonic() < end, text
            time.sleep(LOOK)

    def kubectl(self, *words: str, given: str = "") -> str:
        """What kubectl prints about the tests' namespace. given: its input. AssertionError if it fails."""
        done = subprocess.run(
            ["kubectl", "-n", "e2e", *words], env=self._environment, capture_output=True, text=True, check=False,
            input=given, timeout=patience(PATIENCE),
        )  # fmt: skip
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    def log(self, pod: str, container: str = "c") -> str:
        return self.text("GET", f"{PODS}/{pod}/log?container={container}")

    def until(self, path: str, holds: Callable[[Any], Any]) -> Any:
        """The object once something holds of it. AssertionError with the object, and its events, if that does not come."""
        end = time.monotonic() + patience(PATIENCE)
        while not holds(found := self.get(path)):
            name = found["metadata"].get("name", "")
            assert time.monotonic() < end, (found.get("status"), self.events(name))
            time.sleep(LOOK)
        return found

    def events(self, name: str) -> list[str]:
        listed = self.get(f"{NAMESPACE}/events?fieldSelector=involvedObject.name%3D{name}")["items"]
        return [f"{e['reason']}: {e['message']}" for e in listed]


@contextmanager
def cluster(name: str, place: Path) -> Iterator[Api]:
    """Up, with a namespace and an image for the tests."""
    with clusterup.cluster(name, place) as found:
        _add_image(Store(place / "images"))
        api = Api(found.environment)
        api.make("/api/v1/namespaces", {"metadata": {"name": "e2e"}})
        # no pod is let in before there is the account that it would run under
        api.answer(f"{NAMESPACE}/serviceaccounts/default", lambda text: '"uid"' in text)
        try:
            yield api
        finally:
            api.close()


def _add_image(store: Store) -> None:
    base = store.get("busybox")
    process = {**base.process, "Entrypoint": ["echo", "entry"], "Cmd": ["default"]}
    layers = [{"mediaType": LAYER, "digest": digest, "size": base.size} for digest in base.layers]
    store.add(Reference.parse(IMAGE), {**base.config, "config": process}, layers)


Change = tuple[str, str, Json]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A pod that ends by itself. says: pattern of a container's log; phase: how it ends; changes: what is done once it
    runs; judge: more that must be true of the pod; metadata: of the pod."""

    spec: Json
    says: Mapping[str, str]
    phase: str = "Succeeded"
    changes: Sequence[Change] = ()
    judge: Callable[[Json], bool] = lambda pod: True
    metadata: Json = field(default_factory=dict)


def container(script: str = "", **more: Any) -> Json:
    """A container `c` that runs a shell's script, unless `more` says otherwise."""
    return {"name": "c", "image": "busybox", **({"command": ["sh", "-c", script]} if script else {}), **more}


def pod(script: str = "", says: str = "", *, also: Json | None = None, **more: Any) -> Case:
    """A case with one container. also: more of the pod's spec; more: of the container."""
    return Case(spec={"containers": [container(script, **more)], **(also or {})}, says={"c": says})


class Judged:
    """The cases of a run, by name: all pods are made at once, and each is looked at when its test comes."""

    def __init__(self, api: Api, objects: Iterable[tuple[str, Json]], cases: Mapping[str, Case]) -> None:
        self._api, self._cases = api, cases
        for path, obj in objects:
            api.make(path, obj)
        for name, case in cases.items():
            spec = {"restartPolicy": "Never", "automountServiceAccountToken": False, "terminationGracePeriodSeconds": 1,
                    **case.spec}  # fmt: skip
            api.make(PODS, {"metadata": {"name": name, **case.metadata}, "spec": spec})
        for name in [name for name, case in cases.items() if case.changes]:
            api.until(f"{PODS}/{name}", lambda pod: pod["status"].get("phase") == "Running")
        for case in cases.values():
            for method, path, body in case.changes:
                api.text(method, path, body, MERGE if method == "PATCH" else "application/json")

    def judge(self, name: str) -> None:
        """AssertionError with what is otherwise."""
        case = self._cases[name]
        found = self._api.until(f"{PODS}/{name}", lambda pod: pod["status"].get("phase") in ENDED)
        logs = {c["name"]: self._api.log(name, c["name"]) for c in case.spec["containers"] if c["name"] in case.says}
        assert found["status"]["phase"] == case.phase, (found["status"], logs)
        for name, pattern in case.says.items():
            assert re.search(pattern, logs[name], re.MULTILINE), (name, pattern, logs)
        assert case.judge(found), found["status"]
