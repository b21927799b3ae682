"""What files volumes have, how they change, and what no link in them leads to."""

from __future__ import annotations

import asyncio
import base64
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from makingworld import NODE, Given, pod

from netlab.api import Json
from netlab.kubelet.making import Missing, atomic, hostpaths, owning, payload, subpaths
from netlab.kubelet.making.payload import File
from netlab.kubelet.making.tokens import Tokens
from netlab.kubelet.making.volumes import Volumes, failed


def world() -> Given:
    found = Given()
    found.put("configmap", "one", data={"a": "1", "b": "2"}, binaryData={"c": base64.b64encode(b"\xff\0").decode()})
    found.put_secret("two", k="v")
    return found


def test_files_of_a_configmap_and_of_a_secret() -> None:
    assert payload.configmap(world(), "default", {"name": "one"}, 0o644) == {
        "a": File(b"1", 0o644), "b": File(b"2", 0o644), "c": File(b"\xff\0", 0o644),
    }  # fmt: skip
    items = [{"key": "c", "path": "x/y", "mode": 0o400}, {"key": "a", "path": "z"}]
    assert payload.configmap(world(), "default", {"name": "one", "items": items}, 0o600) == {
        "x/y": File(b"\xff\0", 0o400), "z": File(b"1", 0o600),
    }  # fmt: skip
    assert payload.secret(world(), "default", {"secretName": "two"}, 0o644) == {"k": File(b"v", 0o644)}
    with pytest.raises(Missing, match='secret "two" not found'):
        payload.secret(world(), "other", {"secretName": "two"}, 0o644)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"configMap": {"name": "none"}}, 'configmap "none" not found'),
        ({"secret": {"name": "none"}}, 'secret "none" not found'),
        (
            {"configMap": {"name": "one", "items": [{"key": "k", "path": "p"}]}},
            "configmap references non-existent config key: k",
        ),
        ({"secret": {"name": "two", "items": [{"key": "n", "path": "p"}]}}, "references non-existent secret key: n"),
        (
            {"downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "spec.x"}}]}},
            "unsupported fieldPath: spec.x",
        ),
        ({"clusterTrustBundle": {"path": "p"}}, "projected sources of kind clusterTrustBundle are not supported here"),
    ],
)
def test_what_a_volume_lacks(source: Json, said: str) -> None:
    def made(*sources: Json) -> payload.Payload:
        return payload.projected(pod(), {"sources": list(sources)}, world(), NODE, {}, mode=0o644)

    with pytest.raises(Missing) as lacking:
        made(source)
    assert (str(lacking.value), lacking.value.reason) == (said, "FailedMount")
    assert str(failed("v", lacking.value)) == f'MountVolume.SetUp failed for volume "v" : {said}'
    with pytest.raises(Missing) as both:
        made(source, {"secret": {"name": "other"}})
    assert str(both.value) == f'[{said}, secret "other" not found]'
    [inner] = source.values()
    if source.keys() <= {"configMap", "secret"}:
        inner["optional"] = True
        assert made(source) == {}


def test_a_projected_volume() -> None:
    limits = {"resources": {"limits": {"memory": "64Mi"}}}
    sources = [
        {"configMap": {"name": "one", "items": [{"key": "a", "path": "same"}]}},
        {"secret": {"name": "two", "items": [{"key": "k", "path": "same", "mode": 0o400}]}},
        {"serviceAccountToken": {"path": "token"}},
        {
            "downwardAPI": {
                "items": [
                    {"path": "memory", "resourceFieldRef": {"containerName": "main", "resource": "limits.memory"}},
                    {"path": "cpu", "resourceFieldRef": {"containerName": "main", "resource": "limits.cpu", "divisor": "1m"}},
                    {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}},
                ]
            }
        },
    ]  # fmt: skip

    def made(**spec: Any) -> payload.Payload:
        return payload.projected(pod(limits, **spec), {"sources": sources}, world(), NODE, {2: "t0ken"}, mode=0o640)

    assert made() == {
        "same": File(b"v", 0o400), "token": File(b"t0ken", 0o640), "memory": File(b"67108864", 0o640),
        "cpu": File(b"2000", 0o640), "name": File(b"web-0", 0o640),
    }  # fmt: skip
    # a token is for whoever the containers run as, and for nobody else
    assert made(securityContext={"runAsUser": 7})["token"] == File(b"t0ken", 0o600, 7)
    assert made(securityContext={"fsGroup": 7})["token"] == File(b"t0ken", 0o600, None)
    assert payload.owner(pod({"securityContext": {"runAsUser": 1}}, {}, securityContext={"runAsUser": 2})) is None


@pytest.mark.parametrize("path", ["/etc/passwd", "a/../../b", "..data", "..", ""])
def test_paths_that_lead_elsewhere(path: str) -> None:
    with pytest.raises(Missing, match="invalid path"):
        payload.checked(["fine/..so", path])


NAMES = st.sampled_from(["a", "b", "d/x", "d/y", "e/f/g"])
PAYLOADS = st.dictionaries(NAMES, st.builds(File, st.binary(max_size=3), st.sampled_from([0o644, 0o400]), st.none()))


@given(st.lists(PAYLOADS, min_size=1, max_size=5))
def test_a_volume_is_what_was_written_last(
    tmp_path_factory: pytest.TempPathFactory, steps: list[dict[str, File]]
) -> None:
    directory = tmp_path_factory.mktemp("v")
    for before, step in zip([None, *steps], steps, strict=False):
        link = str((directory / "..data").readlink()) if before is not None else ""
        changed = atomic.write(directory, step, lambda new: None)
        contents = None if before is None else {path: file.content for path, file in before.items()}
        assert changed == (contents != {path: file.content for path, file in step.items()})
        assert changed == (str((directory / "..data").readlink()) != link)
        # what a container sees, through the links
        seen = {p for p in NAMES_ALL if (directory / p).is_file()}
        assert seen == step.keys()
        for path, file in step.items():
            assert (directory / path).read_bytes() == file.content
            if changed:
                assert stat.S_IMODE((directory / path).stat().st_mode) == file.mode
        # and nothing besides: one directory, its link, a link for each name
        visible = {p.partition("/")[0] for p in step}
        assert {e.name for e in os.scandir(directory)} == {"..data", str((directory / "..data").readlink()), *visible}


NAMES_ALL = ("a", "b", "d/x", "d/y", "e/f/g")


def test_what_a_crash_left_is_taken_away(tmp_path: Path) -> None:
    atomic.write(tmp_path, {"a": File(b"1", 0o644)}, lambda new: None)
    (tmp_path / "..2026_01_01_00_00_00.half").mkdir()
    (tmp_path / "..data_tmp").symlink_to("..2026_01_01_00_00_00.half")
    (tmp_path / "gone").symlink_to("..data/gone")
    assert not atomic.write(tmp_path, {"a": File(b"1", 0o644)}, lambda new: None)
    assert len(list(tmp_path.iterdir())) == 3
    assert atomic.write(tmp_path, {}, lambda new: None)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_group_gets_what_is_there_and_follows_nothing(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("x")
    outside.chmod(0o600)
    volume = tmp_path / "v"
    (volume / "d").mkdir(parents=True)
    (volume / "d" / "f").touch(mode=0o600)
    (volume / "l").symlink_to(outside)
    volume.chmod(0o700)
    owning.give(volume, os.getgid(), read_only=False)
    modes = {p: stat.S_IMODE((volume / p).stat().st_mode) for p in (".", "d", "d/f")}
    assert modes == {".": 0o2770, "d": 0o2775, "d/f": 0o660}
    assert stat.S_IMODE(outside.stat().st_mode) == 0o600
    # the directory itself shows that it was done
    (volume / "d" / "f").chmod(0o600)
    owning.give(volume, os.getgid(), read_only=False, unless_given=True)
    assert stat.S_IMODE((volume / "d" / "f").stat().st_mode) == 0o600
    assert owning.mode_for(0o400, directory=False, read_only=True) == 0o440


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/etc", "error SubPath `/etc` must not be an absolute path"),
        ("a/../b", "unable to provision SubPath `a/../b`: must not contain '..'"),
    ],
)
def test_subpaths_that_are_refused_as_they_stand(text: str, said: str) -> None:
    with pytest.raises(Missing) as refused:
        subpaths.checked(text)
    assert (str(refused.value), refused.value.reason) == (said, "CreateContainerConfigError")
    assert subpaths.checked("a/..b") == "a/..b"


STEPS = st.sampled_from(["a", "b", "in", "out", "up", "abs", "file", "loop"])


@given(st.lists(STEPS, min_size=1, max_size=4))
def test_no_subpath_leads_out_of_its_volume(tmp_path_factory: pytest.TempPathFactory, steps: list[str]) -> None:
    top = tmp_path_factory.mktemp("s")
    volume, outside = top / "volume", top / "outside"
    for directory in (volume / "a" / "b", outside / "a"):
        directory.mkdir(parents=True)
    (volume / "file").touch()
    for at in (volume, volume / "a"):
        (at / "in").symlink_to("b" if at != volume else "a")
        (at / "out").symlink_to(outside)
        (at / "up").symlink_to("..")
        (at / "abs").symlink_to(volume / "a")
        (at / "loop").symlink_to("loop")
    before = sorted(outside.rglob("*"))
    text = "/".join(steps)
    try:
        fd = subpaths.opened(volume, text, mount="v", container="c")
    except Missing as e:
        assert e.reason == "CreateContainerConfigError" and 'of container "c"' in str(e)
        real = os.path.realpath(volume / text)
        # refused for a reason: it leads out, through a file, or in a circle
        assert not real.startswith(f"{volume}/") or "file" in steps or "loop" in steps or not Path(real).exists()
    else:
        found = str(Path(f"/proc/self/fd/{fd}").readlink())
        os.close(fd)
        assert found == str(volume) or found.startswith(f"{volume}/")
        assert found == os.path.realpath(volume / text)
    assert sorted(outside.rglob("*")) == before


def test_a_directory_that_is_missing_is_as_open_as_the_volume(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    os.close(subpaths.opened(tmp_path, "x/y", mount="v", container="c"))
    assert stat.S_IMODE((tmp_path / "x" / "y").stat().st_mode) == 0o777


def test_host_paths(tmp_path: Path) -> None:
    file, directory = tmp_path / "f", tmp_path / "d" / "e"
    hostpaths.provide(tmp_path / "nothing", "")
    hostpaths.provide(directory, "DirectoryOrCreate")
    hostpaths.provide(file, "FileOrCreate")
    hostpaths.provide(directory, "Directory")
    hostpaths.provide(file, "File")
    hostpaths.provide(Path("/dev/null"), "CharDevice")
    assert stat.S_IMODE(directory.stat().st_mode) == 0o755 and stat.S_IMODE(file.stat().st_mode) == 0o644
    for path, kind, said in (
        (file, "Directory", f"hostPath type check failed: {file} is not a directory"),
        (directory, "File", f"hostPath type check failed: {directory} is not a file"),
        (file, "Socket", f"hostPath type check failed: {file} is not a socket file"),
        (file, "CharDevice", f"hostPath type check failed: {file} is not a character device"),
        (tmp_path / "no", "BlockDevice", f"hostPath type check failed: {tmp_path / 'no'} is not a block device"),
        (tmp_path / "no" / "f", "FileOrCreate", f"open {tmp_path / 'no' / 'f'}: no such file or directory"),
    ):
        with pytest.raises(Missing) as refused:
            hostpaths.provide(path, kind)
        assert str(refused.value) == said


def test_claims(tmp_path: Path) -> None:
    given_ = world()
    volumes = Volumes(tmp_path / "pods", given_, NODE)

    def place(**source: Any) -> tuple[Path, bool]:
        return volumes.path(pod(), {"name": "v", **source})

    claimed = {"persistentVolumeClaim": {"claimName": "data", "readOnly": True}}
    with pytest.raises(Missing, match='persistentvolumeclaim "data" not found'):
        place(**claimed)
    given_.put("claim", "data", spec={}, status={"phase": "Pending"})
    with pytest.raises(Missing, match='persistentvolumeclaim "data" is not bound'):
        place(**claimed)
    given_.put("claim", "data", spec={"volumeName": "pv1"}, status={"phase": "Bound"})
    for kind in ("hostPath", "local"):
        given_.put("volume", "pv1", spec={"capacity": {}, kind: {"path": "/srv/data"}})
        assert place(**claimed) == (Path("/srv/data"), True)
    given_.put("volume", "pv1", spec={"nfs": {"server": "192.0.2.1"}})
    with pytest.raises(Missing, match="no volume plugin matched: nfs is not supported here"):
        place(**claimed)
    with pytest.raises(Missing, match="csi is not supported"):
        place(csi={"driver": "x"})
    given_.put("claim", "web-0-v", spec={"volumeName": "pv1"}, status={"phase": "Bound"})
    with pytest.raises(Missing, match="was not created for pod web-0"):
        place(ephemeral={"volumeClaimTemplate": {}})


class Clock:
    """now, as the test says."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_tokens_are_renewed_in_time() -> None:
    clock = Clock()
    given_ = Given(clock)
    tokens = Tokens(given_.token, clock)
    made, source = pod(), {"path": "token", "expirationSeconds": 1000, "audience": "vault"}

    def get() -> str:
        return asyncio.run(tokens.get(made, source))

    assert get() == get() == "default/default#1"
    assert given_.tokens[0] == {
        "namespace": "default", "account": "default", "audiences": ["vault"], "expirationSeconds": 1000,
        "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "web-0", "uid": "u1"},
    }  # fmt: skip
    clock.now += 799
    assert get() == "default/default#1"
    clock.now += 1
    assert get() == "default/default#2"
    # who cannot be asked now leaves the old one, as long as it is good
    given_.refusal = "the server is away"
    clock.now += 900
    assert get() == "default/default#2"
    clock.now += 100
    with pytest.raises(Missing, match="failed to fetch token: the server is away") as refused:
        get()
    assert refused.value.reason == "FailedMount"
    given_.refusal = ""
    assert get() == "default/default#3"
    tokens.forget("u1")
    assert get() == "default/default#4"
    source["expirationSeconds"] = 10**7
    assert get() == "default/default#5"
    clock.now += 24 * 3600
    assert get() == "default/default#6"
