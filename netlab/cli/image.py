"""`netlab image …`: the images that containers on this machine are made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from netlab.cli import output

if TYPE_CHECKING:
    from netlab.runtime.images.store import Image, Store

Command = TypeVar("Command", bound=Callable[..., Any])

ROOT = Path("/var/lib/netlab/images")


@click.group(
    epilog=output.examples(
        "netlab image build                       # the catalogue: busybox, nginx:1.7.9, nginx:1.9.1 …",
        "netlab image load nginx.tar              # what docker save or skopeo wrote",
        "netlab image pull busybox:1.36           # by skopeo, from a registry",
        "netlab image ls",
        "netlab image rm nginx:1.7.9",
    )
)
def image() -> None:
    """Images of containers: list, load, build, pull, remove."""


def _common(command: Command) -> Command:
    where = click.option(
        "--root", type=click.Path(path_type=Path, file_okay=False), default=ROOT, show_default=True,
        help="The store, an OCI image layout.",
    )  # fmt: skip
    return output.json_option(where(command))


def _store(root: Path) -> Store:
    from netlab.runtime.images.store import Store

    return Store(root)


def _row(image: Image) -> dict[str, object]:
    from netlab.runtime.images.reference import Reference

    name = Reference.parse(image.name)
    return {
        "name": name.short, "reference": image.name, "digest": image.digest, "size": image.size,
        "layers": list(image.layers), "command": [*image.process.get("Entrypoint", ()), *image.process.get("Cmd", ())],
    }  # fmt: skip


def _show(images: list[Image], as_json: bool) -> None:
    rows = [_row(image) for image in images]
    if as_json:
        output.emit_json(rows)
        return
    cells = [[r["name"], str(r["digest"])[7:19], f"{int(str(r['size'])) / 1e6:.1f} MB"] for r in rows]
    output.table(("image", "digest", "size"), cells)


@image.command("ls", epilog=output.examples("netlab image ls", "netlab image ls --json"))
@_common
def list_(root: Path, as_json: bool) -> None:
    """List the images that are here."""
    _show(_store(root).all(), as_json)


@image.command(
    epilog=output.examples(
        "docker save -o nginx.tar nginx:1.9.1; netlab image load nginx.tar",
        "skopeo copy docker://busybox oci-archive:busybox.tar; netlab image load busybox.tar --name busybox",
    )
)
@click.argument("archives", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--name", help="Of an image that has none in its archive.")
@_common
def load(archives: tuple[Path, ...], name: str | None, root: Path, as_json: bool) -> None:
    """Load the images of ARCHIVES: docker's or OCI's, told apart by what is in them."""
    from netlab.runtime.images import archive

    store = _store(root)
    found: list[Image] = []
    with output.progress("loading") as shown:
        for path in archives:
            tell = lambda what, path=path: shown.advance(description=f"{path.name} {what}")  # noqa: E731
            found += archive.load(store, path, name=name, tell=tell)
    _show(found, as_json)


@image.command(
    epilog=output.examples(
        "netlab image build", "netlab image build nginx:1.7.9 nginx:1.9.1", "netlab image build --list"
    )
)
@click.argument("names", nargs=-1)
@click.option("--list", "only_list", is_flag=True, help="Print the names that can be built.")
@_common
def build(names: tuple[str, ...], only_list: bool, root: Path, as_json: bool) -> None:
    """Build images of the catalogue out of Debian packages on this machine: NAMES, or all that it has the files for."""
    from netlab.runtime.images import build as catalogue
    from netlab.runtime.images.catalogue import CATALOGUE

    if only_list:
        output.emit_json(catalogue.names()) if as_json else click.echo("\n".join(catalogue.names()))
        return
    with output.progress("building", len(CATALOGUE)) as shown:
        made = catalogue.build(_store(root), list(names), tell=lambda what: shown.advance(description=what))
    _show(made, as_json)


@image.command(
    epilog=output.examples("netlab image pull busybox:1.36", "netlab image pull --insecure 127.0.0.1:5000/web")
)
@click.argument("names", nargs=-1, required=True)
@click.option("--insecure", is_flag=True, help="The registry speaks plain HTTP, or its certificate is its own.")
@_common
def pull(names: tuple[str, ...], insecure: bool, root: Path, as_json: bool) -> None:
    """Pull images from their registries, by skopeo."""
    from netlab.runtime.images import pull as registry

    with output.progress("pulling", len(names)) as shown:
        found = [
            registry.pull(_store(root), name, insecure=insecure, tell=lambda what: shown.advance(description=what))
            for name in names
        ]
    _show(found, as_json)


@image.command(epilog=output.examples("netlab image rm nginx:1.7.9"))
@click.argument("names", nargs=-1, required=True)
@_common
def rm(names: tuple[str, ...], root: Path, as_json: bool) -> None:
    """Take names away, and what no other image needs. Running containers keep what they have."""
    store = _store(root)
    gone = {name: store.remove(name) for name in names}
    if as_json:
        output.emit_json(gone)
        return
    for name, digests in gone.items():
        click.echo(f"{name} is gone, with {len(digests)} blobs")
