"""The store and the archives that are loaded into it: docker's and OCI's, whole and broken."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from netlab.base.errors import InputError, MachineError, NetlabError
from netlab.cli.main import cli
from netlab.runtime.images import archive, build, catalogue, pull
from netlab.runtime.images.reference import Reference
from netlab.runtime.images.store import ImageError, ImageNotFound, Store

Files = dict[str, bytes]


def sha(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def tar_of(files: Files) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return output.getvalue()


LAYERS = [tar_of({"a": b"1"}), tar_of({"b": b"2"})]
CONFIG = json.dumps(
    {
        "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/a"]},
        "rootfs": {"type": "layers", "diff_ids": [sha(layer) for layer in LAYERS]},
    }
).encode()  # fmt: skip


def docker(name: str | None = "web:v1") -> Files:
    manifest = [{"Config": "c.json", "RepoTags": [name] if name else None, "Layers": ["0/layer.tar", "1/layer.tar"]}]
    return {
        "manifest.json": json.dumps(manifest).encode(), "c.json": CONFIG, "0/layer.tar": LAYERS[0],
        "1/layer.tar": LAYERS[1],
    }  # fmt: skip


def oci(name: str | None = "web:v1", *, index: bool = False) -> Files:
    blobs = [CONFIG, gzip.compress(LAYERS[0], mtime=0), LAYERS[1]]
    layers = [{"mediaType": "application/x", "digest": sha(b), "size": len(b)} for b in blobs[1:]]
    manifest = json.dumps({"config": {"digest": sha(CONFIG), "size": len(CONFIG)}, "layers": layers}).encode()
    blobs.append(manifest)
    kind, top = "application/vnd.oci.image.manifest.v1+json", manifest
    if index:
        machines = [{"mediaType": kind, "digest": sha(manifest), "size": 1, "platform": {"architecture": "amd64"}}]
        wrong = {"mediaType": kind, "digest": sha(b""), "size": 1, "platform": {"architecture": "s390x"}}
        top = json.dumps({"manifests": [wrong, *machines]}).encode()
        blobs.append(top)
        kind = "application/vnd.oci.image.index.v1+json"
    annotations = {"org.opencontainers.image.ref.name": name} if name else {}
    entry = {"mediaType": kind, "digest": sha(top), "size": len(top), "annotations": annotations}
    return {
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": json.dumps({"manifests": [entry]}).encode(),
        **{f"blobs/{sha(blob).replace(':', '/')}": blob for blob in blobs},
    }  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def saved(tmp_path: Path, files: Files) -> Path:
    path = tmp_path / "image.tar"
    path.write_bytes(tar_of(files))
    return path


@pytest.mark.parametrize("files", [docker(), oci(), oci(index=True)])
def test_archives_of_both_kinds(store: Store, tmp_path: Path, files: Files) -> None:
    [image] = archive.load(store, saved(tmp_path, files))
    assert store.get("web:v1") == image == store.get(f"web@{image.digest}")
    assert image.process == {"Cmd": ["/a"]} and image.diff_ids == tuple(map(sha, LAYERS))
    [again] = archive.load(store, saved(tmp_path, files))
    assert again == image and len(store.all()) == 1
    for blob in (store.root / "blobs/sha256").iterdir():
        assert sha(blob.read_bytes()) == f"sha256:{blob.name}"
    assert len(store.remove("web:v1")) == 4
    assert store.all() == [] and not list((store.root / "blobs/sha256").iterdir())


def test_an_image_without_a_name_is_given_one(store: Store, tmp_path: Path) -> None:
    for files in (docker(None), oci(None)):
        with pytest.raises(InputError, match="no name"):
            archive.load(store, saved(tmp_path, files))
        assert archive.load(store, saved(tmp_path, files), name="mine")[0].name == "docker.io/library/mine:latest"


def changed(files: Files, **changes: Any) -> Files:
    return {**files, **{k.replace("__", "/").replace("_json", ".json"): v for k, v in changes.items()}}


def without(files: Files, *names: str) -> Files:
    return {k: v for k, v in files.items() if k not in names}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"etc/passwd": b""}, "neither oci-layout nor manifest.json"),
        (without(docker(), "1/layer.tar"), "1/layer.tar is missing"),
        (without(docker(), "c.json"), "c.json is missing"),
        (changed(docker(), manifest_json=b"{"), "manifest.json is not JSON"),
        (changed(docker(), manifest_json=b"[]"), "no image"),
        (changed(docker(), manifest_json=b'[{"RepoTags": ["a"]}]'), "KeyError 'Config'"),
        (changed(docker(), c_json=b'{"rootfs": {"diff_ids": []}}'), "2 layers and 0 diff ids"),
        ({**docker(), "1/layer.tar": LAYERS[0]}, "a layer is damaged"),
        ({**docker(), "1/layer.tar": gzip.compress(LAYERS[1])[:-9]}, "cannot be unpacked"),
        ({**oci(), f"blobs/{sha(LAYERS[1]).replace(':', '/')}": b"x"}, "is damaged"),
        (without(oci(), "index.json"), "index.json is missing"),
        (docker("Not A Name"), "invalid reference format"),
    ],
)
def test_a_broken_archive_says_what_is_wrong_and_leaves_no_image(
    store: Store, tmp_path: Path, files: Files, said: str
) -> None:
    with pytest.raises(NetlabError, match=said):
        archive.load(store, saved(tmp_path, files))
    assert store.names() == {}


def test_an_archive_that_is_cut_short(store: Store, tmp_path: Path) -> None:
    whole = tar_of(docker())
    path = tmp_path / "image.tar"
    for length in range(0, len(whole) - 10240, 700):
        path.write_bytes(whole[:length])
        with pytest.raises(NetlabError):
            archive.load(store, path)
    for missing in (tmp_path / "none.tar", tmp_path):
        with pytest.raises(InputError):
            archive.load(store, missing)
    assert store.names() == {}


def test_a_name_is_found_or_not_and_a_digest_is_no_path(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ImageNotFound, match="web:v2"):
        store.get("web:v2")
    archive.load(store, saved(tmp_path, docker()))
    with pytest.raises(ImageNotFound):
        store.remove("web:v2")
    with pytest.raises(ImageError, match="no digest"):
        store.path("sha256:../../etc/passwd")


def test_what_two_images_share_stays_until_the_second_goes(store: Store, tmp_path: Path) -> None:
    path = saved(tmp_path, docker())
    archive.load(store, path)
    archive.load(store, path, name="other")
    assert store.remove("web:v1") == []
    assert store.get("other").process == {"Cmd": ["/a"]}
    assert len(store.remove("other")) == 4


def test_the_catalogue_says_what_it_lacks(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"nginx:1\.91"):
        build.build(store, ["nginx:1.91"])
    with pytest.raises(InputError) as absent:
        build.build(store, ["quay.io/coreos/flannel:v0.8.0-amd64"])
    assert absent.value.hint == "netlab flanneld runs on each node, as part of netlab agent"
    monkeypatch.setattr(build, "CATALOGUE", (catalogue.Recipe(names=("note",), texts={"note": "x"}),))
    [built] = build.build(store, ["note"])
    assert built.built and store.get("note").built
    recipe = catalogue.Recipe(names=("x",), binaries=("/nowhere/busybox",))
    monkeypatch.setattr(build, "CATALOGUE", (recipe,))
    monkeypatch.setitem(catalogue.PACKAGES, "/nowhere/busybox", "busybox-static")
    with pytest.raises(MachineError) as lacking:
        build.build(store, ["x"])
    assert lacking.value.hint == "apt-get install --no-install-recommends busybox-static"
    assert build.build(store, []) == []


def test_what_is_made_anew_when_the_catalogue_changes(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recipes = {name: catalogue.Recipe(names=(name, f"{name}:v0"), texts={"note": "x"}) for name in ("note", "other")}
    monkeypatch.setattr(build, "CATALOGUE", (*recipes.values(), catalogue.Recipe(names=("x",), binaries=("/nowhere",))))
    assert build.lacking(store) == ["note", "other"]
    build.build(store, [])
    assert build.lacking(store) == []
    changed = catalogue.Recipe(names=("note", "note:v0"), texts={"note": "y"})
    monkeypatch.setattr(build, "CATALOGUE", (changed, recipes["other"]))
    assert build.lacking(store) == ["note"]
    # another image of that name is somebody's own
    for name in changed.names:
        archive.load(store, saved(tmp_path, docker()), name=name)
    assert build.lacking(store) == []


def test_pull_without_skopeo_says_what_brings_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MachineError) as lacking:
        pull.pull(store, "busybox")
    assert (lacking.value.exit_status, lacking.value.hint) == (3, "apt-get install skopeo")
    assert not [p for p in store.root.iterdir() if p.name.startswith(".pull")]


@pytest.mark.parametrize(
    ("error", "code", "why"),
    [
        (ImageNotFound("x cannot be pulled: manifest unknown"), "NotFound", "docker.io/library/nginx:1.91: not found"),
        (
            ImageError('x cannot be pulled: "initializing source docker://nginx: reading manifest 1.91 in '
                       'docker.io/library/nginx: requested access to the resource is denied"'),
            "Unknown", "pull access denied, repository does not exist or may require authorization: server message: "
            "insufficient_scope: authorization failed",
        ),
        (
            ImageError('x cannot be pulled: "initializing source docker://nginx:1.91: pinging container registry r.example: '
                       'Get "https://r.example/v2/": dial tcp: lookup r.example: no such host"'),
            "Unknown", 'failed to do request: Get "https://r.example/v2/": dial tcp: lookup r.example: no such host',
        ),
        (ImageError("layer is damaged"), "Unknown", "layer is damaged"),
    ],
)  # fmt: skip
def test_why_it_cannot_be_pulled_as_kubelets_are_told(error: NetlabError, code: str, why: str) -> None:
    told = pull.as_containerd(Reference.parse("nginx:1.91"), error)
    whole = "docker.io/library/nginx:1.91"
    assert told == (
        f'rpc error: code = {code} desc = failed to pull and unpack image "{whole}": failed to resolve reference "{whole}": {why}'
    )


def test_the_command_line(tmp_path: Path) -> None:
    root = ["--root", str(tmp_path / "store"), "--json"]
    run: Callable[..., Any] = lambda *args: CliRunner().invoke(cli, ["image", *args, *root])  # noqa: E731
    path = saved(tmp_path, docker())
    loaded = json.loads(run("load", str(path)).output)
    assert [(i["name"], i["command"]) for i in loaded] == [("web:v1", ["/a"])]
    assert json.loads(run("ls").output) == loaded
    assert list(json.loads(run("rm", "web:v1").output)) == ["web:v1"]
    broken = run("rm", "web:v1")
    assert broken.exit_code == 1 and "web:v1" in json.loads(broken.output)["error"]
    assert run("load", str(tmp_path / "none")).exit_code == 2
    assert "nginx:1.9.1" in json.loads(run("build", "--list").output)
