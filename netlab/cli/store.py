"""`netlab store …`: what is in a store, in a file or in etcd; snapshots of it, and back."""

from __future__ import annotations

import asyncio
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from netlab.base.errors import InputError, NetlabError
from netlab.cli import output

if TYPE_CHECKING:
    from netlab.store.protocol import KeyValue, Store

T = TypeVar("T")

#: keys that are asked for at once
PAGE = 1000


@click.group(
    epilog=output.examples(
        "netlab store list /registry/pods/ --sqlite state.db",
        "netlab store get /registry/pods/default/web --etcd-endpoints http://127.0.0.1:2379",
        "netlab store snapshot backup.db --sqlite state.db     # while its server runs",
        "netlab store restore backup.db --sqlite new.db",
        "netlab store compact --sqlite state.db                # when its server does not",
    )
)
def store() -> None:
    """Look into the store of an API server, save it, bring it back, make it smaller.

    A store is a file (--sqlite) or in an etcd (--etcd-endpoints). The keys are those of the Kubernetes API server:
    /registry/RESOURCE/NAMESPACE/NAME.
    """


def _where(command: Callable[..., Any]) -> Callable[..., Any]:
    """--sqlite, or --etcd-endpoints and what belongs to it."""
    path = click.Path(path_type=Path, dir_okay=False)
    options = (
        click.option("--sqlite", "file", type=path, metavar="FILE", help="The store in this file."),
        click.option("--etcd-endpoints", "endpoints", metavar="URL,…", help="The store in this etcd."),
        click.option("--etcd-cafile", "ca", type=path, metavar="FILE", help="CA of etcd's certificate."),
        click.option("--etcd-certfile", "cert", type=path, metavar="FILE", help="Client certificate for etcd."),
        click.option("--etcd-keyfile", "key_", type=path, metavar="FILE", help="Its key."),
        output.json_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


def _one(file: Path | None, endpoints: str | None) -> None:
    if (file is None) == (endpoints is None):
        raise InputError(
            "which store? Exactly one of --sqlite and --etcd-endpoints says it",
            hint="netlab store list --sqlite FILE, or --etcd-endpoints http://127.0.0.1:2379",
        )


@asynccontextmanager
async def _opened(file: Path | None, *, writes: bool = False, **etcd: Any) -> AsyncIterator[Store]:
    """The store that the options name. A file is opened beside the server that has it, unless it `writes`."""
    found: Store
    _one(file, etcd["endpoints"])
    if file is not None:
        from netlab.store.sqlite import SqliteStore

        found = await SqliteStore.open(file, read_only=not writes, create=False)
    else:
        from netlab.client.etcd import EtcdClient
        from netlab.client.transport import tls_context
        from netlab.store.etcd import EtcdStore

        urls = [url.strip() for url in etcd["endpoints"].split(",") if url.strip()]
        tls = tls_context(ca=etcd["ca"], cert=etcd["cert"], key=etcd["key_"]) if etcd["ca"] or etcd["cert"] else None
        found = EtcdStore(EtcdClient(urls, tls=tls))
    try:
        yield found
    finally:
        await found.aclose()


def _run(work: Awaitable[T]) -> T:
    async def whole() -> T:
        return await work

    return asyncio.run(whole())


def _shown(key: str) -> str:
    """A key for a terminal: what does not print is escaped, and so is what is no text."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in key)


def _as_json(kv: KeyValue, *, value: bool = True) -> dict[str, object]:
    """value: as text if it is text, else in base64."""
    shown: dict[str, object] = {"key": _shown(kv.key), "created": kv.created, "revision": kv.revision}
    if value:
        shown["bytes"] = len(kv.value)
        try:
            shown["value"] = kv.value.decode()
        except UnicodeDecodeError:
            shown["value_base64"] = b64encode(kv.value).decode()
    return shown


@store.command(
    epilog=output.examples(
        "netlab store get /registry/pods/default/web --sqlite state.db | jq .spec",
        "netlab store get /registry/pods/default/web --revision 120 --sqlite state.db     # as it was then",
        "netlab store get /registry/pods/default/web --json --etcd-endpoints http://127.0.0.1:2379",
    )
)
@click.argument("key")
@click.option("--revision", type=click.IntRange(1), default=None, metavar="N", help="Of the past; default: now.")
@_where
def get(key: str, revision: int | None, as_json: bool, **where: Any) -> None:
    """Print the value of KEY as it is. The exit status is 1 if there is no such key."""

    async def work() -> tuple[KeyValue | None, int]:
        async with _opened(**where) as opened:
            return await opened.get(key, revision=revision or 0)

    kv, at = _run(work())
    if kv is None:
        raise NetlabError(
            f"there is no key {_shown(key)} at revision {at}", hint="netlab store list shows what there is"
        )
    if as_json:
        output.emit_json({**_as_json(kv), "store_revision": at})
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(kv.value)
    if sys.stdout.isatty() and not kv.value.endswith(b"\n"):
        click.echo()


@store.command(
    "list",
    epilog=output.examples(
        "netlab store list --sqlite state.db",
        "netlab store list /registry/pods/ --limit 20 --sqlite state.db",
        "netlab store list /registry/ --json --etcd-endpoints http://127.0.0.1:2379 | jq -r '.keys[].key'",
    ),
)
@click.argument("prefix", default="")
@click.option("--limit", type=click.IntRange(1), default=None, metavar="N", help="At most so many; default: all.")
@click.option("--after", default="", metavar="KEY", help="Only keys behind this one.")
@click.option("--revision", type=click.IntRange(1), default=None, metavar="N", help="Of the past; default: now.")
@_where
def list_(prefix: str, limit: int | None, after: str, revision: int | None, as_json: bool, **where: Any) -> None:
    """The keys that begin with PREFIX, in order: size of the value, revision of creation and of the last write."""

    async def work() -> tuple[list[tuple[KeyValue, int]], int, int]:
        found: list[tuple[KeyValue, int]] = []
        at, start = revision or 0, after
        async with _opened(**where) as opened:
            while True:
                size = min(PAGE, limit - len(found)) if limit else PAGE
                page = await opened.list(prefix, limit=size, after=start, revision=at)
                found += ((kv._replace(value=b""), len(kv.value)) for kv in page.items)
                at = page.revision
                if not page.more or (limit and len(found) >= limit):
                    return found, at, page.remaining
                start = page.items[-1].key

    found, at, remaining = _run(work())
    if as_json:
        keys = [{**_as_json(kv, value=False), "bytes": size} for kv, size in found]
        output.emit_json({"revision": at, "remaining": remaining, "keys": keys})
        return
    rows = [(_shown(kv.key), str(size), str(kv.created), str(kv.revision)) for kv, size in found]
    output.table(("key", "bytes", "created", "revision"), rows)
    more = f", {remaining} more" if remaining > 0 else ""
    output.note(f"{len(found)} keys{more}, at revision {at}")


@store.command(
    epilog=output.examples(
        "netlab store snapshot backup.db --sqlite state.db",
        "netlab store snapshot backup.db --etcd-endpoints http://127.0.0.1:2379",
    )
)
@click.argument("to", metavar="TO", type=click.Path(path_type=Path, dir_okay=False))
@_where
def snapshot(to: Path, as_json: bool, **where: Any) -> None:
    """Save a store into the file TO, as of one revision, while it is in use. An existing file is replaced.

    TO is itself a store in a file: `netlab store list --sqlite TO` looks into it. Of etcd the present is saved, not the
    history.
    """
    if where["file"] is not None and to.absolute() == where["file"].absolute():
        raise InputError(f"{to} cannot be a snapshot of itself")

    async def work() -> int:
        async with _opened(**where) as opened:
            return await opened.snapshot(to)

    revision = _run(work())
    size = to.stat().st_size
    if as_json:
        output.emit_json({"file": to, "revision": revision, "bytes": size})
    else:
        click.echo(f"saved {to}: revision {revision}, {size / 1e6:.1f} MB")


@store.command(
    epilog=output.examples(
        "netlab store restore backup.db --sqlite state.db",
        "netlab store restore backup.db --sqlite state.db --force     # give up what is there",
        "netlab store restore backup.db --etcd-endpoints http://127.0.0.1:2379",
    )
)
@click.argument("snapshot_", metavar="SNAPSHOT", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--force", is_flag=True, help="Replace the file, if there is one. No server may have it open.")
@_where
def restore(snapshot_: Path, force: bool, as_json: bool, **where: Any) -> None:
    """Bring SNAPSHOT back: into a file as it was, or key by key into an empty etcd, where its keys get new revisions.

    The snapshot is checked first, and a file is replaced as a whole or not at all.
    """
    from netlab.store import restoring

    async def work() -> int:
        _one(where["file"], where["endpoints"])
        if where["file"] is not None:
            return await restoring.restore_file(snapshot_, where["file"], replace=force)
        async with _opened(**where, writes=True) as opened:
            return await restoring.restore_into(snapshot_, opened)

    revision = _run(work())
    if as_json:
        output.emit_json({"revision": revision})
    else:
        click.echo(f"restored {snapshot_}: revision {revision}")


@store.command(
    epilog=output.examples(
        "netlab store compact --sqlite state.db                  # forget all of the past",
        "netlab store compact --revision 1200 --etcd-endpoints http://127.0.0.1:2379",
    )
)
@click.option("--revision", type=click.IntRange(1), default=None, metavar="N", help="The oldest to keep; default: now.")
@_where
def compact(revision: int | None, as_json: bool, **where: Any) -> None:
    """Forget what was before a revision. A file is also made smaller; no server may have it open.

    A running API server compacts its store by itself. Of etcd only `etcdctl defrag` gives the room back.
    """

    async def work() -> int:
        from netlab.store.protocol import Compacted
        from netlab.store.sqlite import SqliteStore

        async with _opened(**where, writes=True) as opened:
            at = revision or await opened.revision()
            try:
                await opened.compact(at)
            except Compacted:
                if revision is not None:
                    raise
            if isinstance(opened, SqliteStore):
                await opened.shrink()
            return at

    at = _run(work())
    size = where["file"].stat().st_size if where["file"] else None
    if as_json:
        output.emit_json({"oldest": at, "bytes": size})
    else:
        click.echo(f"compacted: revision {at} is the oldest kept" + (f", {size / 1e6:.1f} MB" if size else ""))
