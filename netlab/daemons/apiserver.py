"""Composition root of the API server: a store, certificates, sockets, signals.

State in the data directory: `store.db` (with sqlite), `pki/` (the CA, the server's and the admin's certificates, the
key of tokens), `admin.conf` (the administrator's kubeconfig). SIGTERM and SIGINT end it: no new connections, watches
end, requests under way are answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import socket
import ssl
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netlab.apiserver.authn import static_tokens
from netlab.apiserver.certs import Authority, token_key
from netlab.apiserver.server import SERVICES, ApiServer, Settings, runner, tls_context
from netlab.base import garbage
from netlab.base.addresses import Network
from netlab.base.errors import InputError, MachineError
from netlab.base.notify import listening, notify
from netlab.base.patience import patience
from netlab.client.kubeconfig import kubeconfig, load
from netlab.daemons.signals import until_told
from netlab.store.protocol import Store, StoreError

if TYPE_CHECKING:
    from aiohttp import web

    from netlab.client.etcd import EtcdClient

log = logging.getLogger("apiserver")

#: seconds for requests under way when the server ends
DRAIN = 5.0
#: the administrator's kubeconfig in the data directory
ADMIN = "admin.conf"
#: seconds that etcd has to answer when the server begins, and between two looks
ETCD_LIMIT, LOOK = 60.0, 0.1
#: how many connections may wait to be taken
BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class Options:
    """What `netlab apiserver` is given. store: sqlite, etcd or memory; port 0: a free one; kubeconfig: where else to
    write the administrator's; controllers: whether somebody makes what admission then insists on; advertise: the
    address that clients are told, if it is not the one that it is bound to."""

    data_dir: Path
    store: str = "sqlite"
    etcd: tuple[str, ...] = ("http://127.0.0.1:2379",)
    bind: str = "127.0.0.1"
    port: int = 6443
    kubeconfig: Path | None = None
    token_file: Path | None = None
    audit_log: Path | None = None
    service_ranges: tuple[Network, ...] = (SERVICES,)
    names: tuple[str, ...] = ()
    anonymous: bool = True
    controllers: bool = False
    advertise: str = ""


async def open_store(options: Options) -> Store:
    """The store that the options name. MachineError, InputError, StoreError."""
    match options.store:
        case "memory":
            from netlab.store.memory import MemoryStore

            return MemoryStore()
        case "sqlite":
            from netlab.store.sqlite import SqliteStore

            return await SqliteStore.open(options.data_dir / "store.db")
        case "etcd":
            from netlab.client.etcd import EtcdClient
            from netlab.store.etcd import EtcdStore

            client = EtcdClient(options.etcd)
            try:
                await answering(client, patience(ETCD_LIMIT))
            except BaseException:
                await client.aclose()
                raise
            return EtcdStore(client)
        case other:
            raise InputError(f"there is no store {other!r}", hint="sqlite, etcd or memory")


async def answering(client: EtcdClient, seconds: float) -> None:
    """Wait until etcd answers: it may have been started with us, or again. StoreError if it does not in so many
    seconds."""
    from netlab.client.transport import Unavailable

    end, said = time.monotonic() + seconds, False
    while True:
        try:
            await client.get("/")
            return
        except Unavailable as e:
            if time.monotonic() > end:
                raise StoreError(e.message) from e
            if not said:
                log.info("waiting for etcd: %s", e.message)
                said = True
        await asyncio.sleep(LOOK)


def _listening(options: Options) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.bind else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((options.bind, options.port))
        sock.listen(BACKLOG)
    except OSError as e:
        sock.close()
        raise MachineError(
            f"the API server cannot listen on {options.bind}:{options.port}: {e.strerror}", hint="choose another --port"
        ) from e
    return sock


def _inherited() -> list[socket.socket]:
    """Sockets that were opened for us, perhaps in another network than this process is in (sd_listen_fds(3))."""
    return [socket.socket(fileno=fd) for fd in listening()]


def _addresses(options: Options) -> tuple[list[str], str]:
    """The names and addresses of the server's certificate, and the address that clients are told."""
    reachable = options.advertise or options.bind
    if ipaddress.ip_address(reachable).is_unspecified:
        reachable = "127.0.0.1" if ":" not in options.bind else "::1"
    first = str(next(options.service_ranges[0].hosts()))
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
             "localhost", "127.0.0.1", first, reachable, *options.names]  # fmt: skip
    return list(dict.fromkeys(names)), reachable


def write_private(path: Path, data: bytes) -> None:
    """A file that only its owner reads, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
        file.write(data)
    temporary.replace(path)


class Running:
    """A server that answers, for those who run it in their own loop. `url`, `ca`, `aclose`."""

    def __init__(self, server: ApiServer, store: Store, http: web.ServerRunner, url: str, authority: Authority) -> None:
        self.server, self.store, self.url, self.authority = server, store, url, authority
        self._http = http

    async def aclose(self) -> None:
        """End watches, answer what is under way, close the store."""
        await self.server.aclose()
        await self._http.cleanup()
        await self.store.aclose()


async def serve(options: Options) -> Running:
    """Start a server. MachineError, InputError, StoreError."""
    from aiohttp import web

    options.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    pki = options.data_dir / "pki"
    authority = Authority.open(pki)
    names, reachable = _addresses(options)
    authority.kept("apiserver", "kube-apiserver", addresses=names, server=True)
    authority.kept("apiserver-kubelet-client", "kube-apiserver-kubelet-client", ("system:masters",))
    to_nodes = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    to_nodes.load_cert_chain(pki / "apiserver-kubelet-client.crt", pki / "apiserver-kubelet-client.key")
    admin = authority.kept("admin", "kubernetes-admin", ("system:masters",))
    static = static_tokens(options.token_file.read_text(encoding="utf-8")) if options.token_file else {}
    sock, others = _listening(options), _inherited()
    try:
        port = sock.getsockname()[1]
        host = f"[{reachable}]" if ":" in reachable else reachable
        url = f"https://{host}:{port}"
        store = await open_store(options)
        try:
            server = ApiServer(store, Settings(
                issuer="https://kubernetes.default.svc.cluster.local", address=f"{host}:{port}",
                token_key=token_key(pki), service_ranges=options.service_ranges, endpoints=(reachable,), port=port,
                static=static, anonymous=options.anonymous, audit_log=options.audit_log, authority=authority,
                accounts_required=options.controllers, kubelet_tls=to_nodes,
            ))  # fmt: skip
            await server.start()
        except BaseException:
            await store.aclose()
            raise
        http = runner(server)
        await http.setup()
        context = tls_context(pki / "apiserver.crt", pki / "apiserver.key", pki / "ca.crt")
        for each in (sock, *others):
            await web.SockSite(http, each, ssl_context=context, backlog=BACKLOG).start()
    except BaseException:
        for each in (sock, *others):
            each.close()
        raise
    config = kubeconfig(url, authority.pair.cert, cert=admin.cert, key=admin.key)
    for path in (options.data_dir / ADMIN, options.kubeconfig):
        if path is not None:
            write_private(path, config)
    return Running(server, store, http, url, authority)


async def started(options: Options, ended: asyncio.Event) -> Running | None:
    """A server that answers; None if it had to end before. MachineError, InputError, StoreError."""
    starting, told = asyncio.ensure_future(serve(options)), asyncio.ensure_future(ended.wait())
    try:
        await asyncio.wait({starting, told}, return_when=asyncio.FIRST_COMPLETED)
        return await starting if starting.done() else None
    finally:
        starting.cancel()
        told.cancel()
        await asyncio.gather(starting, told, return_exceptions=True)


def issue_kubeconfig(data_dir: Path, user: str, groups: Sequence[str], *, server: str = "") -> bytes:
    """A kubeconfig for a user of the server that has this data directory. server: its URL, if not the administrator's.

    InputError if there is no such server.
    """
    admin = data_dir / ADMIN
    if not (data_dir / "pki" / "ca.key").exists() or not (server or admin.exists()):
        raise InputError(
            f"{data_dir} is no data directory of an API server", hint=f"netlab server --data-dir {data_dir} makes one"
        )
    authority = Authority.open(data_dir / "pki")
    pair = authority.issue(user, groups)
    return kubeconfig(server or load(admin).server, authority.pair.cert, cert=pair.cert, key=pair.key, user=user)


async def close(running: Running) -> None:
    """End in good order, if that does not take too long."""
    notify("STOPPING=1")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2 * DRAIN):
            await running.aclose()


async def _main(options: Options) -> None:
    ended = until_told()
    running = await started(options, ended)
    if running is None:
        return
    log.info("the API server answers on %s", running.url)
    notify(f"READY=1\nSTATUS=answering on {running.url}")
    await ended.wait()
    await close(running)


def _allow_connections() -> None:
    """As many descriptors as this process may have: each watcher holds one."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def run(options: Options, main: Callable[[Options], Coroutine[Any, Any, None]] = _main) -> None:
    """Be the API server until a signal. main: what to be more than that."""
    import uvloop

    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    _allow_connections()
    with garbage.looked_for_rarely():
        uvloop.run(main(options))
