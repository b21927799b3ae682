"""Whom containers run as, what they may do, and what they may use."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from makingworld import pod

from netlab.api import Json
from netlab.base.errors import InputError
from netlab.kubelet.making import Missing, resources, security
from netlab.runtime import seccomp, spec
from netlab.runtime.spec import CAPABILITIES, Limits, Machine, Security

MACHINE = Machine(capabilities=(*CAPABILITIES, "CAP_NET_ADMIN", "CAP_SYS_ADMIN"))


def made(own: Json | None = None, of_pod: Json | None = None, **more: Any) -> tuple[Json, Json]:
    found = pod({"securityContext": own or {}, **more}, securityContext=of_pod or {})
    return found, found["spec"]["containers"][0]


def told(own: Json | None = None, of_pod: Json | None = None, profiles: Json | None = None) -> Security:
    return security.security(
        *made(own, of_pod), MACHINE, memory=4 << 30, profile=(profiles or {}).__getitem__, architecture="amd64"
    )


@pytest.mark.parametrize(
    ("own", "of_pod", "image", "said"),
    [
        ({}, {"runAsNonRoot": True}, "", "container has runAsNonRoot and image will run as root"),
        ({}, {"runAsNonRoot": True}, "0:0", "container has runAsNonRoot and image will run as root"),
        (
            {"runAsNonRoot": True}, {}, "www-data",
            "container has runAsNonRoot and image has non-numeric user (www-data), cannot verify user is non-root",
        ),
        ({"runAsNonRoot": True, "runAsUser": 0}, {"runAsUser": 5}, "7", "container's runAsUser breaks non-root policy"),
        ({"runAsNonRoot": False}, {"runAsNonRoot": True}, "", ""),
        ({"runAsNonRoot": True}, {"runAsUser": 5}, "", ""),
        ({"runAsNonRoot": True}, {}, "33:33", ""),
    ],
)  # fmt: skip
def test_nobody_is_root_who_must_not_be(own: Json, of_pod: Json, image: str, said: str) -> None:
    if not said:
        security.must_not_be_root(*made(own, of_pod), image)
        return
    with pytest.raises(Missing) as refused:
        security.must_not_be_root(*made(own, of_pod), image)
    assert str(refused.value) == f'{said} (pod: "web-0_default(u1)", container: main)'
    assert refused.value.reason == "CreateContainerConfigError"


def test_the_containers_word_goes_before_the_pods() -> None:
    of_pod = {"runAsUser": 1000, "runAsGroup": 2000, "fsGroup": 7, "supplementalGroups": [8, 7]}
    assert security.user(*made({}, of_pod)) == "1000"
    assert security.user(*made({"runAsUser": 0}, of_pod)) == "0"
    assert security.user(*made()) == ""
    found = told({"runAsGroup": 3000, "allowPrivilegeEscalation": False, "procMount": "Unmasked"}, of_pod)
    assert (found.group, found.groups, found.merged) == (3000, (8, 7), True)
    assert found.no_new_privileges and found.unmasked and found.oom_score == 1000
    assert not told({}, {"supplementalGroupsPolicy": "Strict"}).merged


@pytest.mark.parametrize(
    ("own", "wanted"),
    [
        ({}, set(CAPABILITIES)),
        (
            {"capabilities": {"add": ["NET_ADMIN"], "drop": ["CAP_CHOWN"]}},
            {*CAPABILITIES, "CAP_NET_ADMIN"} - {"CAP_CHOWN"},
        ),
        ({"capabilities": {"drop": ["all"]}}, set()),
        ({"capabilities": {"drop": ["ALL"], "add": ["KILL"]}}, {"CAP_KILL"}),
        ({"capabilities": {"add": ["ALL"], "drop": ["KILL"]}}, set(MACHINE.capabilities) - {"CAP_KILL"}),
        ({"capabilities": {"add": ["SYS_TIME"]}}, set(CAPABILITIES)),  # which the machine has not
        ({"privileged": True, "capabilities": {"drop": ["ALL"]}}, set(MACHINE.capabilities)),
    ],
)
def test_capabilities(own: Json, wanted: set[str]) -> None:
    assert set(spec.capabilities(told(own), MACHINE)) == wanted


def test_filters() -> None:
    assert told().seccomp is None and told({"seccompProfile": {"type": "Unconfined"}}).seccomp is None
    default = told({}, {"seccompProfile": {"type": "RuntimeDefault"}}).seccomp
    assert default is not None and default["defaultAction"] == "SCMP_ACT_ALLOW"
    of_file = told({"seccompProfile": {"type": "Localhost", "localhostProfile": "p.json"}}, {}, {"p.json": default})
    assert of_file.seccomp == default
    with pytest.raises(Missing, match=r'cannot load seccomp profile "p\.json": no such file') as refused:
        told({"seccompProfile": {"type": "Localhost", "localhostProfile": "p.json"}})
    assert refused.value.reason == "CreateContainerError"
    with pytest.raises(Missing, match="defaultAction"):
        told({"seccompProfile": {"type": "Localhost", "localhostProfile": "p.json"}}, {}, {"p.json": []})


def refused(held: tuple[str, ...]) -> set[str]:
    return {name for rule in seccomp.default(held)["syscalls"] if "args" not in rule for name in rule["names"]}


def test_the_default_filter_follows_the_capabilities() -> None:
    assert {"mount", "bpf", "setns", "clone3", "keyctl", "init_module"} <= refused(CAPABILITIES)
    assert "chroot" not in refused(CAPABILITIES) and "chroot" in refused(())
    free = refused((*CAPABILITIES, "CAP_SYS_ADMIN"))
    assert not {"mount", "bpf", "setns", "clone3", "unshare"} & free and "keyctl" in free
    flags = [rule["args"][0]["value"] for rule in seccomp.default(())["syscalls"] if rule["names"] == ["clone"]]
    assert sum(flags) == 0x7E020000


def test_a_filter_of_an_engines_own_format() -> None:
    document = {
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
        "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW", "comment": "", "includes": {}, "excludes": {}},
            {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["ioperm"], "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_CHOWN"]}},
            {"names": ["arm"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}},
            {"name": "write", "action": "SCMP_ACT_ALLOW", "args": []},
        ],
    }  # fmt: skip
    found = seccomp.from_file(document, CAPABILITIES, "amd64")
    assert found["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"] and found["defaultErrnoRet"] == 1
    assert [rule["names"] for rule in found["syscalls"]] == [["read"], ["write"]]
    with pytest.raises(InputError):
        seccomp.from_file({}, (), "amd64")


def test_sysctls() -> None:
    safe = {"sysctls": [{"name": "kernel/shm_rmid_forced", "value": "1"}]}
    assert security.sysctls(made({}, safe)[0]) == {"kernel.shm_rmid_forced": "1"}
    assert security.refused_sysctl(made({}, safe)[0]) is None
    unsafe = made({}, {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]})[0]
    assert security.refused_sysctl(unsafe) == 'forbidden sysctl: "kernel.msgmax" not allowlisted'


def asks(cpu: tuple[str, str] | None = None, memory: tuple[str, str] | None = None, **more: Any) -> Json:
    """requests and limits of a container; "" for none."""
    found: Json = {"limits": {}, "requests": {}}
    for name, said in (("cpu", cpu), ("memory", memory)):
        for kind, text in zip(("requests", "limits"), said or (), strict=False):
            if text:
                found[kind][name] = text
    return {"resources": found, **more}


def test_limits_of_a_container() -> None:
    assert resources.limits({}) == Limits(cpu_request=0)
    found = resources.limits(asks(("100m", "1.5"), ("16Mi", "32Mi")))
    assert found == Limits(cpu=1500, cpu_request=100, memory=32 << 20)
    assert resources.limits(asks(("", "500m"))) == Limits(cpu=500, cpu_request=500)


def test_limits_of_a_pod() -> None:
    two = {"containers": [asks(("100m", "1"), ("1Mi", "2Mi")), asks(("50m", "500m"), ("1Mi", ""))]}
    assert resources.pod_limits(two, 99) == Limits(cpu=1500, cpu_request=150, pids=99)
    first = asks(("2", "2"), ("8Mi", "8Mi"))
    beside = asks(("100m", "100m"), ("1Mi", "1Mi"), restartPolicy="Always")
    whole = {
        "initContainers": [beside, first],
        "containers": [asks(("1", "1"), ("2Mi", "2Mi"))],
        "overhead": {"cpu": "5m"},
    }
    assert resources.pod_limits(whole, None) == Limits(cpu=2105, cpu_request=2100, memory=9 << 20)
    assert resources.pod_limits({"containers": [{}]}, None) == Limits(cpu_request=0)


def test_the_group_and_who_is_killed_first() -> None:
    best, burst, sure = pod(), pod(asks(("", ""), ("1Gi", ""))), pod(asks(("1", "1"), ("1Gi", "1Gi")))
    assert [resources.group(p) for p in (best, burst, sure)] == [
        "kubepods/besteffort/podu1", "kubepods/burstable/podu1", "kubepods/podu1",
    ]  # fmt: skip
    assert [resources.oom_score(p, p["spec"]["containers"][0], 4 << 30) for p in (best, burst, sure)] == [
        1000,
        750,
        -997,
    ]
    best["spec"]["priorityClassName"] = "system-node-critical"
    assert resources.oom_score(best, {}, 4 << 30) == -997


@given(st.integers(0, 8 << 30), st.integers(1, 8 << 30))
def test_a_burstable_one_is_between_the_others(asked: int, memory: int) -> None:
    container = asks(("1m", ""), (str(asked), ""))
    assert 3 <= resources.oom_score(pod(container), container, memory) <= 999
