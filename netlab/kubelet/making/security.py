"""Whom a container runs as and what it may do: securityContext of the pod and of the container, which goes before.

Source: kubernetes pkg/securitycontext/util.go, pkg/kubelet/kuberuntime/security_context.go, pkg/kubelet/sysctl.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from netlab.api import Json
from netlab.base.errors import InputError
from netlab.kubelet.making import resources
from netlab.kubelet.making.fields import quoted
from netlab.kubelet.making.world import Missing
from netlab.runtime import seccomp
from netlab.runtime.spec import Machine, Security, capabilities

#: what a pod may set although nobody has allowed it: of its own namespaces, and of no harm to others
SAFE_SYSCTLS = frozenset((
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range", "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem", "net.ipv4.tcp_syncookies", "net.ipv4.tcp_wmem",
))  # fmt: skip


def context(pod: Json, container: Json) -> Json:
    """What holds for a container: of the pod's what it has not said itself."""
    return {**(pod["spec"].get("securityContext") or {}), **_own(container)}


def _own(container: Json) -> Json:
    return {key: said for key, said in (container.get("securityContext") or {}).items() if said is not None}


def must_not_be_root(pod: Json, container: Json, image_user: str) -> None:
    """runAsNonRoot. image_user: of the image's configuration. Missing (CreateContainerConfigError)."""
    said = context(pod, container)
    if not said.get("runAsNonRoot"):
        return
    meta = pod["metadata"]
    named = f"{meta['name']}_{meta['namespace']}({meta.get('uid', '')})"
    of = f"(pod: {quoted(named)}, container: {container['name']})"
    user = image_user.partition(":")[0]
    if said.get("runAsUser") is not None:
        wrong = f"container's runAsUser breaks non-root policy {of}" if said["runAsUser"] == 0 else ""
    elif not user or (user.isdecimal() and int(user) == 0):
        wrong = f"container has runAsNonRoot and image will run as root {of}"
    elif not user.isdecimal():
        wrong = (
            f"container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root {of}"
        )
    else:
        wrong = ""
    if wrong:
        raise Missing("CreateContainerConfigError", wrong)


def user(pod: Json, container: Json) -> str:
    """Whom it runs as; "" for the image's own."""
    said = context(pod, container).get("runAsUser")
    return "" if said is None else str(said)


def security(
    pod: Json, container: Json, machine: Machine, *, memory: int, profile: Callable[[str], Any], architecture: str
) -> Security:
    """As the runtime takes it. memory: bytes of the node; profile: a filter's file by its name, KeyError for none.
    Missing (CreateContainerError)."""
    said, own, of_pod = context(pod, container), _own(container), pod["spec"].get("securityContext") or {}
    group = of_pod.get("fsGroup")
    changes = own.get("capabilities") or {}
    found = Security(
        group=said.get("runAsGroup"),
        groups=tuple(dict.fromkeys((*(of_pod.get("supplementalGroups") or ()), *(() if group is None else (group,))))),
        merged=of_pod.get("supplementalGroupsPolicy") != "Strict",
        add=tuple(changes.get("add") or ()), drop=tuple(changes.get("drop") or ()),
        privileged=bool(own.get("privileged")), no_new_privileges=own.get("allowPrivilegeEscalation") is False,
        unmasked=own.get("procMount") == "Unmasked", apparmor=_apparmor(pod, container, said),
        oom_score=resources.oom_score(pod, container, memory),
    )  # fmt: skip
    wanted = said.get("seccompProfile") or {}
    held = capabilities(found, machine)
    match wanted.get("type"):
        case "RuntimeDefault":
            filtered = seccomp.default(held)
        case "Localhost":
            filtered = _local(str(wanted.get("localhostProfile", "")), profile, held, architecture)
        case _:
            return found
    return replace(found, seccomp=filtered)


def _local(name: str, profile: Callable[[str], Any], held: tuple[str, ...], architecture: str) -> Json:
    try:
        return seccomp.from_file(profile(name), held, architecture)
    except KeyError:
        why = "no such file or directory"
    except (InputError, ValueError) as e:
        why = str(e)
    raise Missing("CreateContainerError", f"cannot load seccomp profile {quoted(name)}: {why}")


def _apparmor(pod: Json, container: Json, said: Json) -> str:
    """The name of a profile that the kernel has loaded; "" for none. There is none of the runtime's own."""
    old = f"container.apparmor.security.beta.kubernetes.io/{container['name']}"
    annotated = str((pod["metadata"].get("annotations") or {}).get(old, ""))
    profile = said.get("appArmorProfile") or {}
    if profile.get("type") == "Localhost":
        return str(profile.get("localhostProfile", ""))
    return annotated.removeprefix("localhost/") if annotated.startswith("localhost/") and not profile else ""


def sysctls(pod: Json) -> dict[str, str]:
    """Those that the pod sets, by name with dots."""
    said = (pod["spec"].get("securityContext") or {}).get("sysctls") or ()
    return {str(entry["name"]).replace("/", "."): str(entry["value"]) for entry in said}


def refused_sysctl(pod: Json) -> str | None:
    """Why a pod has to be turned away with the reason SysctlForbidden, or None."""
    for name in sysctls(pod):
        if name not in SAFE_SYSCTLS:
            return f"forbidden sysctl: {quoted(name)} not allowlisted"
    return None
