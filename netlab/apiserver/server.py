"""The server: everything put together, and the chain that a request goes through.

limits ─▶ request info ─▶ authentication ─▶ audit ─▶ impersonation ─▶ authorization ─▶ router
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from urllib.parse import unquote

from aiohttp import web

from netlab.api import status
from netlab.apiserver import authz, bootstrap, metadata
from netlab.apiserver.admission import Admission
from netlab.apiserver.admission.chain import Chain
from netlab.apiserver.aggregation import Aggregation
from netlab.apiserver.audit import Audit
from netlab.apiserver.authn import Authenticator
from netlab.apiserver.call import Call, User, error
from netlab.apiserver.certs import Authority
from netlab.apiserver.connecting import Connecting
from netlab.apiserver.custom.definitions import Definitions
from netlab.apiserver.discovery import Discovery
from netlab.apiserver.handlers import Context
from netlab.apiserver.health import Health
from netlab.apiserver.kubelets import Kubelets
from netlab.apiserver.metrics import Metrics
from netlab.apiserver.nodes import Nodes
from netlab.apiserver.openapi import OpenApi
from netlab.apiserver.rbac import Rbac
from netlab.apiserver.registry import Registry
from netlab.apiserver.requestinfo import request_info
from netlab.apiserver.reviews import Reviews
from netlab.apiserver.router import Router
from netlab.apiserver.seats import Seats
from netlab.apiserver.subresources import Subresources
from netlab.apiserver.tokens import Tokens
from netlab.apiserver.usages import Usages
from netlab.apiserver.webhooks.caller import Caller
from netlab.base.addresses import Network
from netlab.store.protocol import Store, StoreError

log = logging.getLogger("apiserver")

#: seconds that a request may take if it is no watch and streams nothing
REQUEST_SECONDS = 60.0
#: requests under way at once, those that wait for a seat included: the original's --max-requests-inflight and
#: --max-mutating-requests-inflight together, and its 64 queues of 50
INFLIGHT_MAX = 600 + 64 * 50
#: seconds that an idle connection is kept
KEEPALIVE = 120.0
#: of Services, where nothing else is said
SERVICES = IPv4Network("10.96.0.0/12")
_STREAMS = ("log", "exec", "attach", "portforward", "proxy")


@dataclass(frozen=True, slots=True)
class Settings:
    """issuer: of tokens, and their audience; address: `host:port` for clients; service_ip: of the Service
    `kubernetes`, the first of service_ranges; endpoints: addresses of this server; secure: whether there is TLS."""

    issuer: str
    address: str
    token_key: bytes
    service_ranges: tuple[Network, ...] = (SERVICES,)
    endpoints: Sequence[str] = ("127.0.0.1",)
    port: int = 6443
    static: dict[str, User] = field(default_factory=dict)
    anonymous: bool = True
    #: whether a pod is refused whose ServiceAccount is not there: with a controller that makes `default` accounts
    accounts_required: bool = False
    audit_log: Path | None = None
    authority: Authority | None = None
    #: with the server's client certificate and the CA of the kubelets'; without it no node is reached
    kubelet_tls: ssl.SSLContext | None = None
    now: Callable[[], float] = time.time


class ApiServer:
    """One server over one store. `start` prepares the store, `handle` answers, `aclose` ends the watches."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store, self.settings = store, settings
        self.ctx = Context(store, Registry(), Admission(), settings.now)
        self.tokens = Tokens(settings.token_key, settings.issuer, settings.now)
        self.rbac = Rbac(store)
        self.caller = Caller(store)
        self.chain = Chain(
            store,
            self.rbac,
            self.ctx.registry,
            self.caller,
            service_ranges=settings.service_ranges,
            accounts_required=settings.accounts_required,
        )
        self.authorizer = authz.Authorizer(self.rbac, Nodes(store))
        self.authenticator = Authenticator(
            store, self.tokens, settings.now, settings.static, anonymous=settings.anonymous
        )
        self.metrics, self.audit = Metrics(), Audit(settings.audit_log, settings.now)
        self.seats = Seats()
        self.ready = False
        self.inflight = 0
        health = Health(
            {"ping": self._ping, "etcd": self._store_answers}, {"informer-sync": self._synced}, self.metrics.page,
            lambda: settings.issuer, self.tokens.keys,
        )  # fmt: skip
        self.kubelets = Kubelets(store, settings.kubelet_tls) if settings.kubelet_tls is not None else None
        connect = Connecting(store, self.kubelets) if self.kubelets is not None else None
        reviews = Reviews(self.authenticator, self.authorizer)
        self.router = Router(
            self.ctx, Discovery(self.ctx.registry, settings.address), OpenApi(self.ctx.registry), health,
            Subresources(self.ctx, self.tokens, connect), reviews, Usages(store, self.kubelets, settings.now),
        )  # fmt: skip
        self.definitions = Definitions(self.ctx, self.caller)
        self.aggregation = Aggregation(self.ctx, self.rbac)
        self._listers = [*self.rbac.listers(), *self.chain.listers]

    async def _ping(self) -> str | None:
        return None

    async def _store_answers(self) -> str | None:
        try:
            await self.store.revision()
        except StoreError as e:
            return str(e)
        return None

    async def _synced(self) -> str | None:
        return None if self.ready else "caches are not filled yet"

    async def start(self) -> None:
        """Prepare the store, fill the caches. StoreError."""
        self.ctx.admission = self.chain.admission
        first = str(next(self.settings.service_ranges[0].hosts()))
        await bootstrap.prepare(self.ctx, service_ip=first, addresses=self.settings.endpoints, port=self.settings.port)
        await asyncio.gather(*(lister.start() for lister in self._listers))
        await self.definitions.start()
        await self.aggregation.start()
        self.ready = True

    async def aclose(self) -> None:
        """End the watches and the caches. The store stays open."""
        self.ready = False
        self.ctx.closing.set()
        await self.aggregation.aclose()
        await self.definitions.aclose()
        for lister in self._listers:
            await lister.aclose()
        await self.caller.aclose()
        if self.kubelets is not None:
            await self.kubelets.aclose()
        self.audit.close()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The whole chain: never raises but for a client that went away."""
        path = request.path
        call = Call(request, request_info(request.method, path, request.query), request.query)
        call.audit_id = request.headers.get("Audit-Id", "") or metadata.unique()
        started = time.perf_counter()
        self.metrics.started(call)
        # watches and streams are long: they are not counted, or many of them would leave no room for anything else
        long = call.info.verb == "watch" or call.info.subresource in _STREAMS
        self.inflight += not long
        code = 499
        try:
            response = await self._answer(call, long=long)
            code = response.status
        except status.ApiError as e:
            response = error(call, e)
            code = e.code
        except (ConnectionError, asyncio.CancelledError):
            raise
        except StoreError as e:
            log.warning("%s %s: %s", request.method, path, e)
            response = error(call, status.unavailable(str(e)))
            code = response.status
        except TimeoutError:
            text = "request did not complete within the allotted timeout"
            response = error(call, status.ApiError(504, "Timeout", f"Timeout: {text}", {}))
            code = 504
        except Exception:
            log.exception("%s %s", request.method, path)
            response = error(call, status.internal("an error on the server has prevented the request from succeeding"))
            code = 500
        finally:
            self.inflight -= not long
            known = call.info.resource and (
                self.ctx.registry.find(call.info.group, call.info.version, call.info.plural) is not None
            )
            self.metrics.ended(call, code, time.perf_counter() - started, known=known)
            self.audit.record(call, code)
        return response

    async def _answer(self, call: Call, *, long: bool) -> web.StreamResponse:
        info = call.info
        if self.inflight > INFLIGHT_MAX and not long and not info.path.startswith(("/healthz", "/livez", "/readyz")):
            raise status.too_many_requests("Too many requests, please try again later.", 1)
        if any(step in (".", "..") for step in unquote(info.path).split("/")):
            raise status.no_such_path()
        call.user = await self.authenticator(call)
        other = await authz.impersonated(call, self.authorizer)
        if other is not None:
            call.real_user, call.user = call.user, other
        ask = authz.ask_of(call)
        decision = self.rbac.decide(call.user, ask)
        if not decision.allowed:
            await self.authorizer.check(call.user, ask)
        if long:
            return await self.router(call)
        async with asyncio.timeout(REQUEST_SECONDS), self.seats.of(call):
            return await self.router(call)


def tls_context(cert: Path, key: Path, client_ca: Path) -> ssl.SSLContext:
    """TLS 1.2 and later; client certificates of our CA are asked for, not demanded."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(cert, key)
    context.load_verify_locations(client_ca)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    return context


def runner(server: ApiServer) -> web.ServerRunner:
    """The HTTP side of a server, to be set up and given a site."""
    http = web.Server(
        server.handle, handler_cancellation=True, keepalive_timeout=KEEPALIVE, access_log=None, max_line_size=65536,
        max_field_size=65536,
    )  # fmt: skip
    return web.ServerRunner(http, shutdown_timeout=5.0)
