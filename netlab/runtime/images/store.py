"""The store: an OCI image layout on disk, with the layers that have been unpacked beside it.

    oci-layout  index.json           as the specification has them
    blobs/sha256/<hex>               manifests, configurations, layers as they came
    layers/<hex>/                    a layer unpacked, by the digest of its tar (its diff id); `.new` while it is made
    lock                             flock'ed by whoever changes the index or takes something away

A blob is written elsewhere, its digest is taken while it is, and it is linked into place when it is what it says it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from netlab.base.errors import NetlabError
from netlab.base.lockedfiles import locked, put
from netlab.runtime.images.reference import Reference

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
REF_NAME = "org.opencontainers.image.ref.name"
#: who made an image of the catalogue, in its history
BUILT = "netlab image build"
_CHUNK = 1 << 20


class ImageError(NetlabError):
    """An image that is not there, or not what it says it is."""


class ImageNotFound(ImageError):
    """No image of that name; a registry may have it."""


@dataclass(frozen=True, slots=True)
class Image:
    """digest: of the manifest; layers: of blobs, the lowest first; config: the image configuration whole; size: bytes
    of the blobs."""

    name: str
    digest: str
    layers: tuple[str, ...]
    config: dict[str, Any]
    size: int

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """The layers by what they are unpacked, the lowest first."""
        return tuple(self.config.get("rootfs", {}).get("diff_ids", ()))

    @property
    def process(self) -> dict[str, Any]:
        """What it runs by itself: Entrypoint, Cmd, Env, User, WorkingDir …"""
        found = self.config.get("config")
        return found if isinstance(found, dict) else {}

    @property
    def built(self) -> bool:
        """Whether it was made here, of the catalogue: no registry has a newer one of it."""
        return any(step.get("created_by") == BUILT for step in self.config.get("history") or ())


class Store:
    """One directory. Several processes may use it at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    # -- blobs

    def path(self, digest: str) -> Path:
        """Where a blob is, or would be. ImageError for what is no digest: it would be a path elsewhere."""
        kind, _, hexed = digest.partition(":")
        if kind != "sha256" or len(hexed) != 64 or set(hexed) - set("0123456789abcdef"):
            raise ImageError(f"{digest!r} is no digest", hint="expected sha256: and 64 hexadecimal digits")
        return self.root / "blobs/sha256" / hexed

    def put(self, stream: BinaryIO, *, expected: str | None = None) -> tuple[str, int]:
        """Keep what the stream has: its digest and its size. ImageError if another digest was expected."""
        directory = self.root / "blobs/sha256"
        directory.mkdir(parents=True, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        with tempfile.NamedTemporaryFile(dir=directory, prefix=".new.") as file:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
                file.write(chunk)
            file.flush()
            named = f"sha256:{digest.hexdigest()}"
            if expected is not None and named != expected:
                raise ImageError(
                    f"blob {expected[:19]} is damaged: it has digest {named[:19]}", hint="fetch or save the image again"
                )
            os.fchmod(file.fileno(), 0o644)
            with contextlib.suppress(FileExistsError):
                os.link(file.name, self.path(named))
        return named, size

    def put_json(self, document: object) -> dict[str, Any]:
        """Keep a document; its digest and size, as a descriptor has them."""
        import io

        digest, size = self.put(io.BytesIO(orjson.dumps(document)))
        return {"digest": digest, "size": size}

    def json(self, digest: str) -> dict[str, Any]:
        """A document. ImageError if it is missing or makes no sense."""
        try:
            found = orjson.loads(self.path(digest).read_bytes())
        except FileNotFoundError:
            raise ImageError(f"blob {digest[:19]} is missing", hint="load or pull the image again") from None
        except ValueError as e:
            raise ImageError(f"blob {digest[:19]} is no JSON: {e}") from e
        if not isinstance(found, dict):
            raise ImageError(f"blob {digest[:19]} is no JSON object")
        return found

    # -- names

    def _entries(self) -> list[dict[str, Any]]:
        try:
            found = orjson.loads((self.root / "index.json").read_bytes())["manifests"]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError) as e:
            raise ImageError(f"{self.root / 'index.json'} makes no sense: {e}") from e
        return [entry for entry in found if REF_NAME in entry.get("annotations", {})]

    def names(self) -> dict[str, str]:
        """Every name, and the digest of its manifest."""
        return {entry["annotations"][REF_NAME]: entry["digest"] for entry in self._entries()}

    def _write(self, entries: Iterable[dict[str, Any]]) -> None:
        put(self.root / "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries)}
        put(self.root / "index.json", orjson.dumps(document, option=orjson.OPT_INDENT_2))

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else names images or takes blobs away meanwhile."""
        with locked(self.root / "lock"):
            yield

    def name(self, reference: Reference, descriptor: dict[str, Any]) -> None:
        """Give a manifest a name, which another may have had. Under `held`."""
        kept = [e for e in self._entries() if e["annotations"][REF_NAME] != str(reference)]
        entry = {"mediaType": MANIFEST, **descriptor, "annotations": {REF_NAME: str(reference)}}
        self._write([*kept, entry])

    def get(self, name: str) -> Image:
        """The image of that name or digest. ImageNotFound."""
        reference = Reference.parse(name)
        names = self.names()
        found = str(reference)
        if found not in names and reference.digest:
            found = next((known for known, digest in names.items() if digest == reference.digest), found)
        if found not in names:
            raise ImageNotFound(f"image {reference.short} is not here", hint="netlab image ls; netlab image build")
        return self._image(found, names[found])

    def all(self) -> list[Image]:
        """Every image, by name."""
        return [self._image(name, digest) for name, digest in sorted(self.names().items())]

    def _image(self, name: str, digest: str) -> Image:
        manifest = self.json(digest)
        try:
            layers = tuple(layer["digest"] for layer in manifest["layers"])
            size = sum(layer["size"] for layer in manifest["layers"]) + manifest["config"]["size"]
            config = self.json(manifest["config"]["digest"])
        except (KeyError, TypeError) as e:
            raise ImageError(f"the manifest of {name} makes no sense: {e}") from e
        image = Image(name, digest, layers, config, size)
        if len(image.diff_ids) != len(layers):
            raise ImageError(f"{name} has {len(layers)} layers and {len(image.diff_ids)} diff ids")
        return image

    def add(self, reference: Reference, config: dict[str, Any], layers: list[dict[str, Any]]) -> Image:
        """An image out of parts whose layers are here. layers: descriptors, the lowest first."""
        with self.held():
            document = {
                "schemaVersion": 2, "mediaType": MANIFEST,
                "config": {"mediaType": CONFIG, **self.put_json(config)}, "layers": layers,
            }  # fmt: skip
            descriptor = self.put_json(document)
            self.name(reference, descriptor)
        return self._image(str(reference), str(descriptor["digest"]))

    def remove(self, name: str) -> list[str]:
        """Take the name away, and what no other name needs. The digests that went. ImageNotFound."""
        with self.held():
            gone = self.get(name)
            self._write(e for e in self._entries() if e["annotations"][REF_NAME] != gone.name)
            return self._sweep()

    def _sweep(self) -> list[str]:
        needed: set[str] = set()
        unpacked: set[str] = set()
        for image in self.all():
            needed |= {image.digest, *image.layers, self.json(image.digest)["config"]["digest"]}
            unpacked |= set(image.diff_ids)
        dropped = []
        for path in (self.root / "blobs/sha256").iterdir():
            digest = f"sha256:{path.name}"
            if digest not in needed and not path.name.startswith("."):
                path.unlink()
                dropped.append(digest)
        layers = self.root / "layers"
        for path in layers.iterdir() if layers.is_dir() else ():
            if f"sha256:{path.name}" not in unpacked:
                shutil.rmtree(path)
        return sorted(dropped)
