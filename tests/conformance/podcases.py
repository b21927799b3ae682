"""Behaviours of node, storage and auth that one pod shows which ends by itself: by title, the pod and what it says."""

from __future__ import annotations

import base64
import re
from typing import Any

from podworld import IMAGE, NAMESPACE, Case, Json, container, pod
from titles import dashed

MAPS, SECRETS = f"{NAMESPACE}/configmaps", f"{NAMESPACE}/secrets"
VALUES = {f"data-{i}": f"value-{i}" for i in (1, 2, 3)}
_BINARY = bytes((0xDE, 0xCA, 0xFE, 0xBA, 0xD0, 0xFE, 0xFF))
#: the amounts of pods that are asked for them
_AMOUNTS: Json = {"requests": {"cpu": "250m", "memory": "32Mi"}, "limits": {"cpu": "1250m", "memory": "64Mi"}}


def _encoded(values: dict[str, str]) -> dict[str, str]:
    return {k: base64.b64encode(v.encode()).decode() for k, v in values.items()}


def _map(name: str, **more: Any) -> tuple[str, Json]:
    return MAPS, {"metadata": {"name": name}, "data": VALUES, **more}


def _secret(name: str, namespace: str = "e2e") -> tuple[str, Json]:
    values = VALUES if namespace == "e2e" else {"data-1": "of another namespace"}
    return f"/api/v1/namespaces/{namespace}/secrets", {"metadata": {"name": name}, "data": _encoded(values)}


#: what the pods refer to
OBJECTS: list[tuple[str, Json]] = [
    _map("e2e", binaryData={"dump.bin": base64.b64encode(_BINARY).decode()}), _secret("e2e"),
    (MAPS, {"metadata": {"name": "e2e-env"}, "data": {"data_1": "value-1"}}),
    (SECRETS, {"metadata": {"name": "e2e-env"}, "data": _encoded({"data_1": "value-1"})}),
    (MAPS, {"metadata": {"name": "e2e-odd"}, "data": {"data-1": "value-1", "data.2": "value-2", "3data": "value-3"}}),
    (SECRETS, {"metadata": {"name": "e2e-odd"}, "data": _encoded({"data-1": "value-1", "3.data": "value-3"})}),
    ("/api/v1/namespaces", {"metadata": {"name": "e2e-other"}}), _secret("e2e", "e2e-other"),
    *(_map(f"e2e-{use}") for use in ("followed", "projected-followed", "changed", "deleted")),
    *(_secret(f"e2e-{use}") for use in ("changed", "deleted")),
    ("/apis/node.k8s.io/v1/runtimeclasses", {"metadata": {"name": "e2e"}, "handler": "runc"}),
]  # fmt: skip


def on(volume: Json, script: str, says: str, *, mount: Json | None = None, user: int | None = None,
       group: int | None = None, **more: Any) -> Case:  # fmt: skip
    """A pod with a volume at /v. more: of the container."""
    security = {name: value for name, value in (("runAsUser", user), ("fsGroup", group)) if value is not None}
    also = {"volumes": [{"name": "v", **volume}], **({"securityContext": security} if security else {})}
    mounts = [{"name": "v", "mountPath": "/v", **(mount or {})}]
    return pod(script, says, also=also, volumeMounts=mounts, **more)


_ITEM = [{"key": "data-2", "path": "path/to/data-2"}]
_READ, _MODE = "stat -Lc %a /v/data-1; cat /v/data-1", r"\A{mode}\nvalue-1"


def _of_map(*, projected: bool = False, name: str = "e2e", **more: Any) -> Json:
    """A volume of a ConfigMap; more: defaultMode of the volume, all else of the source."""
    mode = {"defaultMode": more.pop("defaultMode")} if "defaultMode" in more else {}
    if projected:
        return {"projected": {"sources": [{"configMap": {"name": name, **more}}], **mode}}
    return {"configMap": {"name": name, **mode, **more}}


def _of_secret(*, projected: bool = False, name: str = "e2e", **more: Any) -> Json:
    mode = {"defaultMode": more.pop("defaultMode")} if "defaultMode" in more else {}
    if projected:
        return {"projected": {"sources": [{"secret": {"name": name, **more}}], **mode}}
    return {"secret": {"secretName": name, **mode, **more}}


def _twice(volume: Json) -> Case:
    also = {"volumes": [{"name": "v", **volume}, {"name": "w", **volume}]}
    mounts = [{"name": "v", "mountPath": "/v"}, {"name": "w", "mountPath": "/w"}]
    return pod("cat /v/data-1 /w/data-1", r"\Avalue-1value-1\Z", also=also, volumeMounts=mounts)


def _following(volume: Json, condition: str, *changes: tuple[str, str, Json], **metadata: Any) -> Case:
    """A pod that ends once its volume has followed a change."""
    case = on(volume, f"until {condition}; do sleep 0.2; done; echo followed", "followed")
    return Case(spec=case.spec, says=case.says, changes=changes, metadata=metadata)


def _changed(name: str) -> tuple[str, str, Json]:
    return "PATCH", f"{MAPS}/{name}", {"data": {"data-1": "value-new"}}


def _optional(kind: str, path: str) -> Case:
    """One of three optional sources goes, one changes, one comes."""
    source = _of_map if kind == "ConfigMap" else _of_secret
    uses = {"deleted": "deleted", "changed": "changed", "created": f"created-{kind.lower()}"}
    volumes = [{"name": use, **source(name=f"e2e-{of}", optional=True)} for use, of in uses.items()]
    script = ("until [ ! -e /deleted/data-1 ] && [ -e /created/data-1 ] && grep -q new /changed/data-1; "
              "do sleep 0.2; done; echo followed")  # fmt: skip
    spec = {"volumes": volumes,
            "containers": [container(script, volumeMounts=[{"name": use, "mountPath": f"/{use}"} for use in uses])]}  # fmt: skip
    new = {"data-1": "value-new"} if kind == "ConfigMap" else _encoded({"data-1": "value-new"})
    changes = (
        ("DELETE", f"{path}/e2e-deleted", {}), ("PATCH", f"{path}/e2e-changed", {"data": new}),
        ("POST", path, {"metadata": {"name": f"e2e-{uses['created']}"}, "data": new}),
    )  # fmt: skip
    return Case(spec=spec, says={"c": "followed"}, changes=changes)


# -- the downward API


def _resource(resource: str, divisor: str = "0") -> Json:
    return {"resourceFieldRef": {"resource": resource, "containerName": "c", "divisor": divisor}}


def _field(path: str) -> Json:
    return {"fieldRef": {"fieldPath": path}}


def _told(item: Json, *, projected: bool = False, **more: Any) -> Json:
    """A volume with one file, `f`."""
    items = [{"path": "f", **item}]
    if projected:
        return {"projected": {"sources": [{"downwardAPI": {"items": items}}], **more}}
    return {"downwardAPI": {"items": items, **more}}


def _downward(prefix: str, *, projected: bool, default: str) -> dict[str, Case]:
    def file(item: Json, says: str, **more: Any) -> Case:
        return on(_told(item, projected=projected), "cat /v/f", says, **more)

    def follows(what: str) -> Case:
        name = dashed(f"{prefix}: {what} update")
        volume = _told(_field(f"metadata.{what}"), projected=projected)
        changes = ("PATCH", f"{NAMESPACE}/pods/{name}", {"metadata": {what: {"key": "new"}}})
        return _following(volume, "grep -q 'key=\"new\"' /v/f", changes, **{what: {"key": "old"}})

    modes = "stat -Lc %a /v/f"
    return {
        f"{prefix}: cpu limit": file(_resource("limits.cpu"), r"\A2\Z", resources=_AMOUNTS),
        f"{prefix}: memory limit": file(_resource("limits.memory"), r"\A67108864\Z", resources=_AMOUNTS),
        f"{prefix}: memory request": file(_resource("requests.memory"), r"\A33554432\Z", resources=_AMOUNTS),
        f"{prefix}: cpu{default}": file(_resource("limits.cpu"), r"\A[1-9]\d*\Z"),
        f"{prefix}: memory{default}": file(_resource("limits.memory"), r"\A[1-9]\d{6,}\Z"),
        f"{prefix}: defaultMode": on(_told(_field("metadata.name"), projected=projected, defaultMode=0o400), modes,
                                     r"\A400$"),
        f"{prefix}: item mode": on(_told({**_field("metadata.name"), "mode": 0o400}, projected=projected), modes,
                                   r"\A400$"),
        f"{prefix}: annotations update": follows("annotations"), f"{prefix}: labels update": follows("labels"),
    }  # fmt: skip


# -- emptyDir


def _empty(mode: str, medium: str, user: str) -> Case:
    script = f"echo content >/v/f; chmod {mode} /v/f; stat -c %a /v/f; cat /v/f; grep ' /v ' /proc/mounts"
    says = rf"\A{mode.lstrip('0')}\ncontent\n" + (r"tmpfs " if medium == "tmpfs" else "(?!tmpfs)")
    volume = {"emptyDir": {"medium": "Memory"} if medium == "tmpfs" else {}}
    return on(volume, script, says, user=1001 if user == "non-root" else None)


def _directory(medium: str) -> Case:
    says = r"\A777\n.*" + ("tmpfs " if medium == "Memory" else "")
    return on({"emptyDir": {"medium": medium}}, "stat -c %a /v; grep ' /v ' /proc/mounts", says)


def _storage() -> dict[str, Case]:
    found: dict[str, Case] = {}
    for mode, medium, user in (
        ("0644", "default", "non-root"), ("0644", "tmpfs", "non-root"), ("0666", "default", "non-root"),
        ("0666", "tmpfs", "non-root"), ("0777", "tmpfs", "non-root"), ("0644", "default", "root"),
        ("0644", "tmpfs", "root"), ("0666", "default", "root"), ("0777", "default", "root"), ("0777", "tmpfs", "root"),
    ):  # fmt: skip
        found[f"emptyDir: {mode} {medium}, {user}"] = _empty(mode, medium, user)
    found["emptyDir: dir mode default"], found["emptyDir: dir mode tmpfs"] = _directory(""), _directory("Memory")
    for prefix, projected in (("ConfigMap volume", False), ("Projected ConfigMap", True)):
        item = "cat /v/path/to/data-2"
        followed = "e2e-projected-followed" if projected else "e2e-followed"
        found |= {
            f"{prefix}: non-root": on(_of_map(projected=projected), _READ, _MODE.format(mode=644), user=1000),
            f"{prefix}: defaultMode": on(_of_map(projected=projected, defaultMode=0o400), _READ, _MODE.format(mode=400)),
            f"{prefix}: items": on(_of_map(projected=projected, items=_ITEM), item, r"\Avalue-2\Z"),
            f"{prefix}: update": _following(_of_map(projected=projected, name=followed), "grep -q new /v/data-1",
                                            _changed(followed)),
        }  # fmt: skip
    for prefix, projected in (("Secret volume", False), ("Projected Secret", True)):
        found |= {
            f"{prefix}: plain": on(_of_secret(projected=projected), _READ, _MODE.format(mode=644)),
            f"{prefix}: defaultMode": on(_of_secret(projected=projected, defaultMode=0o400), _READ,
                                         _MODE.format(mode=400)),
            f"{prefix}: items": on(_of_secret(projected=projected, items=_ITEM), "cat /v/path/to/data-2", r"\Avalue-2\Z"),
            f"{prefix}: two mounts": _twice(_of_secret(projected=projected)),
        }  # fmt: skip
    item_mode = [{**_ITEM[0], "mode": 0o400}]
    modes = ("stat -Lc %a /v/path/to/data-2; cat /v/path/to/data-2", r"\A400\nvalue-2\Z")
    everything = {"projected": {"sources": [
        {"configMap": {"name": "e2e", "items": [{"key": "data-1", "path": "map"}]}},
        {"secret": {"name": "e2e", "items": [{"key": "data-2", "path": "secret"}]}},
        {"downwardAPI": {"items": [{"path": "name", **_field("metadata.name")}]}},
    ]}}  # fmt: skip
    wrapped = {"volumes": [{"name": "v", **_of_secret()}, {"name": "w", **_of_map()}]}
    mounts = [{"name": "v", "mountPath": "/v"}, {"name": "w", "mountPath": "/w"}]
    sub = {"mountPath": "/v/file", "subPath": "data-1"}
    return {
        **found,
        "ConfigMap volume: binaryData": on(_of_map(), "cat /v/data-1; echo; hexdump -ve '1/1 \"%02x\"' /v/dump.bin",
                                           rf"\Avalue-1\n{_BINARY.hex()}"),
        "ConfigMap volume: item mode": on(_of_map(items=item_mode), *modes),
        "ConfigMap volume: twice in one pod": _twice(_of_map()),
        "ConfigMap volume: optional updates": _optional("ConfigMap", MAPS),
        "Projected ConfigMap: plain": on(_of_map(projected=True), _READ, _MODE.format(mode=644)),
        "Projected ConfigMap: items non-root": on(_of_map(projected=True, items=_ITEM), "cat /v/path/to/data-2",
                                                  r"\Avalue-2\Z", user=1000),
        "Projected ConfigMap: two mounts": _twice(_of_map(projected=True)),
        "Projected Secret: non-root fsGroup": on(
            _of_secret(projected=True, defaultMode=0o440), "stat -Lc '%a %g' /v/data-1; cat /v/data-1",
            r"\A440 1001\nvalue-1", user=1000, group=1001),
        "Projected: all sources": on(everything, "cat /v/map /v/secret /v/name",
                                     r"\Avalue-1value-2projected-all-sources"),
        "Secret volume: item mode": on(_of_secret(items=item_mode), *modes),
        "Secret volume: optional updates": _optional("Secret", SECRETS),
        "Secret volume: same name elsewhere": on(_of_secret(), "cat /v/data-1", r"\Avalue-1\Z"),
        "Wrapper volumes: no conflict": pod("cat /v/data-1 /w/data-1", r"\Avalue-1value-1", also=wrapped,
                                            volumeMounts=mounts),
        "subPath: configmap": on(_of_map(), "cat /v/file", r"\Avalue-1", mount=sub),
        "subPath: configmap onto existing file": on(_of_map(), "cat /etc/nsswitch.conf", r"\Avalue-1",
                                                    mount={**sub, "mountPath": "/etc/nsswitch.conf"}),
        "subPath: downwardAPI": on(_told(_field("metadata.name")), "cat /v/file", r"\Asubpath-downwardapi",
                                   mount={**sub, "subPath": "f"}),
        "subPath: secret": on(_of_secret(), "cat /v/file", r"\Avalue-1", mount=sub),
        **_downward("Downward volume", projected=False, default=" limit default"),
        **_downward("Projected Downward", projected=True, default=" default"),
    }  # fmt: skip


# -- containers


def _env(**values: Json) -> list[Json]:
    return [{"name": name, **(value if "value" in value else {"valueFrom": value})} for name, value in values.items()]


def _lines(*lines: str) -> str:
    """The pattern of a log that has these, in any order."""
    return r"\A" + "".join(rf"(?=[\s\S]*^{re.escape(line)}$)" for line in lines)


def _secure(script: str, says: str, **security: Any) -> Case:
    return pod(script, says, securityContext=security)


def _message(script: str, expected: str, **more: Any) -> Case:
    """A container that leaves a termination message."""
    case = pod(script, terminationMessagePolicy="FallbackToLogsOnError", **more)

    def judge(found: Json) -> bool:
        return str(found["status"]["containerStatuses"][0]["state"]["terminated"].get("message", "")) == expected

    return Case(spec=case.spec, says={}, judge=judge)


def _initialised(found: Json) -> bool:
    conditions = {c["type"]: c["status"] for c in found["status"]["conditions"]}
    done = [c["state"]["terminated"]["exitCode"] for c in found["status"]["initContainerStatuses"]]
    return conditions["Initialized"] == "True" and set(done) == {0}


def _never_began(found: Json) -> bool:
    (status,) = found["status"]["containerStatuses"]
    return "waiting" in status["state"] and status["restartCount"] == 0


def _node() -> dict[str, Case]:
    both = [{"configMapRef": {"name": "e2e-env"}}, {"prefix": "p_", "configMapRef": {"name": "e2e-env"}}]
    secrets = [{"secretRef": {"name": "e2e-env"}}, {"prefix": "p_", "secretRef": {"name": "e2e-env"}}]
    limits = _env(CL=_resource("limits.cpu"), CR=_resource("requests.cpu"), ML=_resource("limits.memory"),
                  MR=_resource("requests.memory"), MI=_resource("limits.memory", "1Mi"))  # fmt: skip
    plain = "$CL $CR $ML $MR $MI"
    host = _env(HOST=_field("status.hostIP"), HOSTS=_field("status.hostIPs"))
    who = _env(NAME=_field("metadata.name"), SPACE=_field("metadata.namespace"), IP=_field("status.podIP"))
    shared = {"volumes": [{"name": "v", "emptyDir": {}}]}
    named = _env(POD_NAME=_field("metadata.name"))
    expanded = [{"name": "v", "mountPath": "/sub", "subPathExpr": "$(POD_NAME)"}, {"name": "v", "mountPath": "/v"}]
    hosts = [{"ip": "123.45.67.89", "hostnames": ["foo.local", "bar.local"]}]
    inits = [{"name": f"init{i}", "image": "busybox", "command": ["sh", "-c", f"echo {i} >>/v/order"],
              "volumeMounts": [{"name": "v", "mountPath": "/v"}]} for i in (1, 2)]  # fmt: skip
    own_hosts = [{"name": "v", "mountPath": "/etc/hosts"}]
    managed = "# Kubernetes-managed hosts file"
    two = {"volumes": [{"name": "v", "hostPath": {"path": "/etc/hosts", "type": "File"}}]}
    expand = _env(FOO={"value": "bar"}, BAR={"value": "baz"}, BOTH={"value": "$(FOO);;$(BAR)"})
    return {
        "ConfigMap: envFrom": pod("env", _lines("data_1=value-1", "p_data_1=value-1"), envFrom=both),
        "Secret: envFrom": pod("env", _lines("data_1=value-1", "p_data_1=value-1"), envFrom=secrets),
        # a shell would drop the names that it cannot use
        "ConfigMap: odd env names": pod(says=_lines("3data=value-3", "data-1=value-1", "data.2=value-2"), command=["env"],
                                        envFrom=[{"configMapRef": {"name": "e2e-odd"}}]),
        "Secret: odd env names": pod(says=_lines("3.data=value-3", "data-1=value-1", "p-data-1=value-1"), command=["env"],
                                     envFrom=[{"secretRef": {"name": "e2e-odd"}},
                                              {"prefix": "p-", "secretRef": {"name": "e2e-odd"}}]),
        "Secret: env var": pod("echo $S", r"\Avalue-1$",
                               env=_env(S={"secretKeyRef": {"name": "e2e", "key": "data-1"}})),
        "Downward env: limits/requests": pod(f"echo {plain}", r"\A2 1 67108864 33554432 64$", env=limits,
                                             resources=_AMOUNTS),
        "Downward env: default limits": pod("echo $CL $ML", r"\A[1-9]\d* [1-9]\d{6,}$", env=limits),
        "Downward env: host IP": pod("echo $HOST", r"\A(\d+\.){3}\d+$", env=host),
        "Downward env: hostIPs": pod("echo $HOST $HOSTS", r"\A(\S+) \1$", env=host),
        "Downward env: name, namespace, podIP": pod(
            "echo $NAME $SPACE $IP; ip addr show eth0", r"\A(downward-env-\S+) e2e (\S+)\n[\s\S]* inet \2/", env=who),
        "Image defaults": pod(says=r"\Aentry default$", image=IMAGE),
        "Image args overridden": pod(says=r"\Aentry given$", image=IMAGE, args=["given"]),
        "Image command overridden": pod(says=r"\Aother$", image=IMAGE, command=["echo", "other"]),
        "Logs of a command": pod("echo out; echo err >&2", _lines("out", "err")),
        "hostAliases": pod("cat /etc/hosts", r"^123\.45\.67\.89\s+foo\.local\s+bar\.local$",
                           also={"hostAliases": hosts}),
        "Managed /etc/hosts": Case(
            spec={**two, "containers": [container("cat /etc/hosts"),
                                        container("cat /etc/hosts", name="own", volumeMounts=own_hosts)]},
            says={"c": managed, "own": rf"\A(?!{managed})"}),
        "readOnlyRootFilesystem": _secure("touch /x 2>&1 || echo refused", r"Read-only file system\nrefused",
                                          readOnlyRootFilesystem=True),
        "readOnlyRootFilesystem=false": _secure("touch /x && ls /x", r"\A/x$", readOnlyRootFilesystem=False),
        "runAsUser 65534": _secure("id -u", r"\A65534$", runAsUser=65534),
        "runAsUser/Group, container": _secure("id", r"\Auid=1001 gid=2002", runAsUser=1001, runAsGroup=2002),
        "runAsUser/Group, pod": pod("id", r"\Auid=1001 gid=2002",
                                    also={"securityContext": {"runAsUser": 1001, "runAsGroup": 2002}}),
        "privileged=false": _secure("ip link add dummy0 type dummy 2>&1 || echo refused", r"not permitted\nrefused",
                                    privileged=False),
        "Sysctl safe": pod("cat /proc/sys/kernel/shm_rmid_forced", r"\A1$", also={
            "securityContext": {"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]}}),
        "$(VAR) in args": pod(says=r"\Aentry bar;;baz \$\(FOO\) \$\(NONE\)$", image=IMAGE, env=expand,
                              args=["$(BOTH)", "$$(FOO)", "$(NONE)"]),
        "$(VAR) in command": pod(says=r"\Abar;;baz$", command=["echo", "$(BOTH)"], env=expand),
        "subPathExpr": pod("echo made >/sub/f; ls /v; cat /v/subpathexpr/f", r"\Asubpathexpr\nmade", also=shared,
                           env=named, volumeMounts=expanded),
        "subPathExpr writes": Case(
            spec={**shared, "initContainers": [
                {"name": "writes", "image": "busybox", "command": ["sh", "-c", "echo made >/sub/f"], "env": named,
                 "volumeMounts": expanded[:1]}],
                  "containers": [container("cat /v/subpathexpr-writes/f", volumeMounts=expanded[1:])]},
            says={"c": r"\Amade"}),
        "Termination message: log fallback, success": _message("echo all well", ""),
        "Termination message: file, success": _message("printf OK >/dev/termination-log", "OK"),
        "Termination message: custom path, non-root": _message(
            "printf DONE >/dev/own-log", "DONE", terminationMessagePath="/dev/own-log",
            securityContext={"runAsUser": 1000}),
        "Init: RestartAlways pod": Case(
            spec={**shared, "initContainers": inits,
                  "containers": [container("cat /v/order", volumeMounts=[{"name": "v", "mountPath": "/v"}])]},
            says={"c": r"\A1\n2\n\Z"}, judge=_initialised),
        "Init fails: RestartNever": Case(
            spec={"initContainers": [{"name": "bad", "image": "busybox", "command": ["false"]}],
                  "containers": [container("echo never")]},
            says={}, phase="Failed", judge=_never_began),
        "Hook: postStart exec": Case(
            spec={**shared, "containers": [container(
                "until [ -e /v/hook ]; do sleep 0.1; done; cat /v/hook",
                volumeMounts=[{"name": "v", "mountPath": "/v"}],
                lifecycle={"postStart": {"exec": {"command": ["sh", "-c", "echo hooked >/v/hook"]}}})]},
            says={"c": r"\Ahooked"}),
        "RuntimeClass plain": pod("echo runs", r"\Aruns", also={"runtimeClassName": "e2e"}),
        "Pod: host IP": Case(
            spec=pod("echo runs").spec, says={}, judge=lambda p: p["status"]["hostIPs"][0]["ip"] == p["status"]["hostIP"]),
        "SA token mount": pod(
            "cd /var/run/secrets/kubernetes.io/serviceaccount; head -n 1 ca.crt; cat namespace; echo; cut -c 1-3 token",
            r"\A-----BEGIN CERTIFICATE-----\ne2e\neyJ", also={"automountServiceAccountToken": True}),
        "Projected SA token": on(
            {"projected": {"sources": [{"serviceAccountToken": {"path": "f", "audience": "x"}}], "defaultMode": 0o420}},
            "stat -Lc '%a %g' /v/f; cut -c 1-3 /v/f", r"\A6?[04]4?0 1001\neyJ", user=1000, group=1001),
    }  # fmt: skip


# -- the network

_SERVES = "mkdir /tmp/www; hostname >/tmp/www/index.html; exec httpd -f -p 9376 -h /tmp/www"
_TCP = {"name": "http", "port": 80, "targetPort": 9376}
STICKY_PORT, NODE_PORT = 30991, 30992


def _server(name: str, node: str) -> tuple[str, Json]:
    spec = {"hostname": name, "subdomain": "server", "nodeSelector": {"kubernetes.io/hostname": node},
            "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False,
            "containers": [container(_SERVES)]}  # fmt: skip
    return f"{NAMESPACE}/pods", {"metadata": {"name": name, "labels": {"app": "server"}}, "spec": spec}


def _service(name: str, *ports: Json, selector: str = "server", **more: Any) -> tuple[str, Json]:
    spec = {"selector": {"app": selector}, "ports": list(ports), **more}
    return f"{NAMESPACE}/services", {"metadata": {"name": name}, "spec": spec}


OBJECTS += [
    _server("a", "node1"),
    _server("b", "node2"),
    _service("server", _TCP, clusterIP="None"),
    _service("front", {**_TCP, "nodePort": NODE_PORT}, type="NodePort"),
    _service("sticky", {**_TCP, "nodePort": STICKY_PORT}, type="NodePort", sessionAffinity="ClientIP"),
    _service("sub", _TCP, selector="dns-pod-hostname", clusterIP="None", publishNotReadyAddresses=True),
]


def _asking(command: str, says: str, *, host: bool = False) -> Case:
    """A command of a shell until it succeeds, in a pod or in its node's network."""
    where = {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"} if host else {}
    return pod(also=where, says=says, script=f"until {command}; do sleep 0.2; done",
               env=_env(HOST=_field("status.hostIP")))  # fmt: skip


def _all(ask: str) -> str:
    return f'said=; for s in a b; do said="$said $({ask})"; done; [ "$said" = " a b" ] && echo "$said"'


def _stuck(url: str) -> Case:
    """Both serve: who asks often enough would see them, if it were not for the affinity."""
    asks = f"timeout 9 wget -q -O- {url}/ || exit"
    return pod(f"exec 2>/dev/null; until timeout 5 wget -q -O- {url}/; do sleep 0.2; done; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do {asks}; done",
               r"\A([ab])\n(\1\n){12}\Z", env=_env(HOST=_field("status.hostIP")))  # fmt: skip


def _network() -> dict[str, Case]:
    name = "$s.server.e2e.svc.cluster.local"
    http = f"timeout 5 wget -q -O- http://{name}:9376/"
    config = {
        "nameservers": ["1.1.1.1"],
        "searches": ["resolv.conf.local"],
        "options": [{"name": "ndots", "value": "2"}],
    }
    doors = "timeout 5 wget -q -O- http://front/ && timeout 5 wget -q -O- http://$FRONT_SERVICE_HOST/ && timeout 5 wget -q -O- http://$HOST"
    return {
        "DNS: cluster": pod("until nslookup kubernetes.default.svc.cluster.local; do sleep 0.2; done",
                            r"Address.* 10\.96\.0\.1$"),
        "DNS: /etc/hosts entries": pod(
            "grep $(hostname) /etc/hosts; ping -c 1 $(hostname)",
            r"\A(\S+)\s+dns-etc-hosts-entries\nPING dns-etc-hosts-entries \(\1\)"),
        "DNS: pod hostname": Case(
            spec={"hostname": "querier", "subdomain": "sub", "containers": [container(
                "until nslookup querier.sub.e2e.svc.cluster.local; do sleep 0.2; done; hostname -f")]},
            says={"c": r"querier\.sub\.e2e\.svc\.cluster\.local$"}, metadata={"labels": {"app": "dns-pod-hostname"}}),
        "DNS: custom dnsConfig": pod(
            "cat /etc/resolv.conf", r"\Anameserver 1\.1\.1\.1\nsearch resolv\.conf\.local\noptions ndots:2\n?\Z"
            r"|\Asearch resolv\.conf\.local\nnameserver 1\.1\.1\.1\noptions ndots:2\n?\Z",
            also={"dnsPolicy": "None", "dnsConfig": config}),
        "Node to pod HTTP": _asking(_all(http), "^ a b$", host=True),
        "Service: NodePort works": _asking(f"{doors}:{NODE_PORT}/", r"([ab]\n){3}\Z"),
        "Service: affinity, ClusterIP": _stuck("http://sticky"),
        "Service: affinity, NodePort": _stuck(f"http://$HOST:{STICKY_PORT}"),
    }  # fmt: skip


CASES = {**_storage(), **_node(), **_network()}
