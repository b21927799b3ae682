"""Archives of images, as `docker save` and `skopeo copy … oci-archive:` write them, into the store.

Which of the two an archive is shows by its files: manifest.json, or oci-layout with index.json (newer docker writes
both, and is then read as OCI). Everything is checked before an image gets its name: a broken archive leaves none.
"""

from __future__ import annotations

import contextlib
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from netlab.base.errors import InputError, MachineError
from netlab.runtime.images import layers
from netlab.runtime.images.reference import Reference
from netlab.runtime.images.store import INDEX, LAYER, MANIFEST, REF_NAME, Image, ImageError, Store

#: docker's own media types, for what is the same by another name
_ALIASES = {
    "application/vnd.docker.distribution.manifest.v2+json": MANIFEST,
    "application/vnd.docker.distribution.manifest.list.v2+json": INDEX,
}
_GZIP = LAYER + "+gzip"
#: a manifest or configuration that is larger is none
_DOCUMENT_MAX = 8 << 20


class _Archive:
    """A tar file with its members by name."""

    def __init__(self, path: Path, tell: Callable[[str], None]) -> None:
        self.path, self.tell = path, tell
        try:
            with contextlib.ExitStack() as opening:
                file = opening.enter_context(path.open("rb"))
                self.tar = opening.enter_context(tarfile.open(fileobj=file))
                self.members = {str(PurePosixPath(m.name)): m for m in self.tar.getmembers()}
                self.close = opening.pop_all().close
        except FileNotFoundError:
            raise InputError(f"{path}: no such file") from None
        except IsADirectoryError:
            hint = "expected an archive: docker save -o image.tar NAME"
            raise InputError(f"{path} is a directory", hint=hint) from None
        except (tarfile.TarError, EOFError, OSError) as e:
            raise self.wrong("is no tar archive, or cut short") from e

    def wrong(self, what: str) -> InputError:
        return InputError(
            f"{self.path}: {what}", hint="expected what `docker save` or `skopeo copy … oci-archive:` writes"
        )

    def member(self, name: str) -> tarfile.TarInfo:
        """A member, through links within the archive, which docker uses for layers that it has twice."""
        for _ in range(8):
            found = self.members.get(str(PurePosixPath(name)))
            if found is None:
                raise self.wrong(f"{name} is missing in it")
            if not (found.issym() or found.islnk()):
                return found
            base = PurePosixPath(found.name).parent if found.issym() else PurePosixPath()
            parts: list[str] = []
            for part in (base / found.linkname).parts:
                parts = parts[:-1] if part == ".." else [*parts, part]
            name = "/".join(parts)
        raise self.wrong(f"{name} is a link that leads in a circle")

    def document(self, name: str) -> Any:
        """A JSON document of it."""
        member = self.member(name)
        if member.size > _DOCUMENT_MAX:
            raise self.wrong(f"{name} has {member.size} bytes, which no document of an image has")
        file = self.tar.extractfile(member)
        try:
            return orjson.loads(file.read() if file else b"")
        except ValueError as e:
            raise self.wrong(f"{name} is not JSON: {e}") from e
        except (tarfile.TarError, OSError) as e:
            raise self.wrong(f"{name} cannot be read, the archive is cut short: {e}") from e

    def keep(self, store: Store, name: str, expected: str | None = None) -> tuple[str, int]:
        """Put a file of it into the store."""
        file = self.tar.extractfile(self.member(name))
        if file is None:
            raise self.wrong(f"{name} is no file")
        self.tell(PurePosixPath(name).name[:12])
        try:
            return store.put(file, expected=expected)  # type: ignore[arg-type]  # it reads, and that is all
        except (tarfile.TarError, EOFError) as e:
            raise self.wrong(f"{name} cannot be read, the archive is cut short: {e}") from e
        except OSError as e:
            raise MachineError(f"{store.root}: {e.strerror or e}") from e


def load(
    store: Store, path: Path, *, name: str | None = None, tell: Callable[[str], None] = lambda _: None
) -> list[Image]:
    """The images of an archive. name: for one that has none. InputError, or ImageError, with what is wrong."""
    archive = _Archive(path, tell)
    with contextlib.closing(archive):
        try:
            if "oci-layout" in archive.members:
                return _oci(store, archive, name)
            if "manifest.json" in archive.members:
                return _docker(store, archive, name)
        except (KeyError, TypeError, AttributeError, IndexError) as e:
            raise archive.wrong(f"its documents make no sense: {type(e).__name__} {e}") from e
    raise archive.wrong("has neither oci-layout nor manifest.json: no archive of images")


def _references(archive: _Archive, named: list[str], name: str | None) -> list[Reference]:
    texts = [name] if name else named
    if not texts:
        raise InputError(f"{archive.path}: an image of it has no name", hint="give it one: --name nginx:1.9.1")
    return [Reference.parse(text) for text in texts]


def _docker(store: Store, archive: _Archive, name: str | None) -> list[Image]:
    found = []
    for entry in archive.document("manifest.json"):
        references = _references(archive, list(entry.get("RepoTags") or []), name)
        config = archive.document(entry["Config"])
        descriptors = []
        for file in entry["Layers"]:
            digest, size = archive.keep(store, file)
            descriptors.append({"mediaType": _layer_type(store, digest), "digest": digest, "size": size})
        _check(store, archive, config, descriptors)
        found += [store.add(reference, config, descriptors) for reference in references]
    if not found:
        raise archive.wrong("has no image in it")
    return found


def _layer_type(store: Store, digest: str) -> str:
    with store.path(digest).open("rb") as file:
        return _GZIP if file.read(2) == b"\x1f\x8b" else LAYER


def _check(store: Store, archive: _Archive, config: Any, descriptors: list[dict[str, Any]]) -> None:
    """Each layer is what the configuration says that it is when it is unpacked."""
    wanted = list(config["rootfs"]["diff_ids"])
    if len(wanted) != len(descriptors):
        raise archive.wrong(f"an image of it has {len(descriptors)} layers and {len(wanted)} diff ids")
    for expected, descriptor in zip(wanted, descriptors, strict=True):
        digest = layers.diff_id(store.path(descriptor["digest"]))
        if digest != expected:
            raise ImageError(f"{archive.path}: a layer is damaged: {digest[:19]}, expected {expected[:19]}")


def _oci(store: Store, archive: _Archive, name: str | None) -> list[Image]:
    found = []
    for entry in archive.document("index.json")["manifests"]:
        kept = entry.get("annotations") or {}
        named = [kept[key] for key in ("io.containerd.image.name", REF_NAME) if key in kept][:1]
        references = _references(archive, named, name)
        manifest = _manifest(archive, entry)
        config = archive.document(_blob(manifest["config"]["digest"]))
        descriptors = []
        for layer in manifest["layers"]:
            digest, size = archive.keep(store, _blob(layer["digest"]), layer["digest"])
            descriptors.append({"mediaType": _layer_type(store, digest), "digest": digest, "size": size})
        _check(store, archive, config, descriptors)
        found += [store.add(reference, config, descriptors) for reference in references]
    if not found:
        raise archive.wrong("has no image in it")
    return found


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _manifest(archive: _Archive, entry: dict[str, Any]) -> dict[str, Any]:
    """The manifest that an entry leads to: itself, or that of this architecture in an index."""
    kind = _ALIASES.get(entry["mediaType"], entry["mediaType"])
    document: dict[str, Any] = archive.document(_blob(entry["digest"]))
    if kind != INDEX:
        return document
    import platform

    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    for inner in document["manifests"]:
        if (inner.get("platform") or {}).get("architecture", machine) == machine:
            return _manifest(archive, inner)
    raise archive.wrong(f"has no image for {machine}")
