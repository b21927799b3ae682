"""Subresources that reach a node: log, exec, attach, portforward and proxy of pods, proxy of Services and nodes.

What can be said without the node is said here, in the original's words; then the request goes on to it.
Source: kubernetes pkg/registry/core/{pod,service,node} (strategy.go, rest/), apiserver pkg/registry/generic/rest.
"""

from __future__ import annotations

import ipaddress
import random
import ssl
from collections.abc import AsyncIterator
from urllib.parse import urlencode

import aiohttp
from aiohttp import web

from netlab.api import Json, status, times
from netlab.api.fielderrors import FieldError, invalid
from netlab.apiserver import objects
from netlab.apiserver.call import Call, headers
from netlab.apiserver.kinds import Kind
from netlab.apiserver.kubelets import ERROR_MAX, Kubelets, Place, dial_error, passed_on, unreached, upgrading
from netlab.apiserver.requestinfo import truthy
from netlab.store.protocol import Store

_KINDS = ("containers", "initContainers", "ephemeralContainers")
#: what a kubelet is asked, by what a client asks
_STREAMS = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}


class Connecting:
    """The handler of all of them."""

    def __init__(self, store: Store, kubelets: Kubelets) -> None:
        self._store, self._kubelets = store, kubelets

    async def __call__(self, call: Call, kind: Kind) -> web.StreamResponse:
        """The answer, which may have become another protocol. ApiError."""
        resource = kind.resource
        if call.info.subresource == "proxy":
            scheme, name, port = split_name(call.info.name)
            match resource.plural:
                case "pods":
                    place = await self._pod_place(kind, call.info.namespace, name, port, scheme)
                case "services":
                    place = await self._service_place(kind, call.info.namespace, name, port, scheme)
                case _:
                    place = await self._kubelets.place(name)
                    if port:
                        place = Place(place.host, _port(port), place.tls if scheme != "http" else None)
            return await self._proxy(call, place)
        pod = await self._get(kind, call.info.namespace, call.info.name)
        match call.info.subresource:
            case "log":
                return await self._log(call, pod)
            case "portforward":
                target = f"/portForward/{call.info.namespace}/{call.info.name}"
                asked = [("port", port) for port in call.query.getall("ports", [])]
                return await self._stream(call, pod, target, asked)
            case verb:
                container = container_of(pod, call.query.get("container", ""))
                asked = [(theirs, "1") for ours, theirs in _STREAMS.items() if truthy(call.query.get(ours))]
                asked += [("command", word) for word in call.query.getall("command", [])]
                return await self._stream(
                    call, pod, f"/{verb}/{call.info.namespace}/{call.info.name}/{container}", asked
                )

    async def _get(self, kind: Kind, namespace: str, name: str) -> Json:
        kv, _ = await self._store.get(objects.key(kind.resource, namespace, name))
        if kv is None:
            raise status.not_found(kind.resource.plural, kind.resource.group, name)
        return objects.load(kv)

    # -- pods

    async def _stream(self, call: Call, pod: Json, path: str, asked: list[tuple[str, str]]) -> web.StreamResponse:
        node = pod["spec"].get("nodeName")
        if not node:
            raise status.bad_request(f"pod {call.info.name} does not have a host assigned")
        place = await self._kubelets.place(node)
        if not upgrading(call.request):
            raise status.bad_request("Upgrade request required")
        return await self._kubelets.tunnel(call.request, place, f"{path}?{urlencode(asked)}")

    async def _log(self, call: Call, pod: Json) -> web.StreamResponse:
        check_log_options(call)
        container = container_of(pod, call.query.get("container", ""))
        kind = headers(call, "text/plain")
        node = pod["spec"].get("nodeName")
        if not node:  # it has not been anywhere yet
            return web.Response(headers=kind)
        place = await self._kubelets.place(node)
        flags = ("follow", "previous", "timestamps")
        asked = [(name, "true") for name in flags if truthy(call.query.get(name))]
        values = ("sinceSeconds", "sinceTime", "tailLines", "limitBytes", "stream")
        asked += [(name, call.query[name]) for name in values if call.query.get(name)]
        path = f"/containerLogs/{call.info.namespace}/{call.info.name}/{container}"
        try:
            answer = await self._kubelets.request("GET", place, f"{path}?{urlencode(asked)}" if asked else path)
        except (aiohttp.ClientError, TimeoutError) as e:
            why = unreached(e, place)
            raise status.ApiError(500, "", f'Get "{place.url(path)}": {why}') from e
        if answer.status != 200:
            text = (await answer.content.read(ERROR_MAX)).decode(errors="replace").rstrip("\n")
            answer.close()
            match answer.status:
                case 400:
                    raise status.bad_request(text)
                case 404:
                    what = f"the server could not find the requested resource ( pods/log {call.info.name})"
                    raise status.ApiError(404, "NotFound", what, {"causes": [{"message": text}]})
                case 500:
                    raise status.internal(text)
                case code:
                    raise status.ApiError(code, "", text, {})
        return await self._kubelets.passed(call.request, answer, kind)

    # -- proxy

    async def _pod_place(self, kind: Kind, namespace: str, name: str, port: str, scheme: str) -> Place:
        pod = await self._get(kind, namespace, name)
        if not port:
            ports = [p for c in pod["spec"].get("containers") or () for p in c.get("ports") or ()]
            port = str(ports[0]["containerPort"]) if ports else ""
        address = str((pod.get("status") or {}).get("podIP") or "")
        check_address(address)
        tls = _open_tls() if scheme == "https" else None
        return Place(address, _port(port or ("443" if tls else "80")), tls)

    async def _service_place(self, kind: Kind, namespace: str, name: str, port: str, scheme: str) -> Place:
        service = await self._get(kind, namespace, name)
        listed = (service.get("spec") or {}).get("ports") or []
        wanted = port
        if port.isdecimal():
            found = next((p for p in listed if p.get("port") == int(port)), None)
            if found is None:
                raise status.unavailable(f'no service port {port} found for service "{name}"')
            wanted = found.get("name", "")
        elif not port and len(listed) == 1:
            wanted = listed[0].get("name", "")
        kv, _ = await self._store.get(f"/registry/services/endpoints/{namespace}/{name}")
        subsets = objects.load(kv).get("subsets") or () if kv is not None else ()
        places = [
            (a["ip"], p["port"]) for s in subsets for p in s.get("ports") or () if p.get("name", "") == wanted
            for a in s.get("addresses") or ()
        ]  # fmt: skip
        if not places:
            raise status.unavailable(f'no endpoints available for service "{name}"')
        host, number = random.choice(places)
        check_address(host)
        return Place(host, number, _open_tls() if scheme == "https" else None)

    async def _proxy(self, call: Call, place: Place) -> web.StreamResponse:
        request = call.request
        before, _, rest = request.rel_url.raw_path.partition("/proxy")
        if not rest and request.method in ("GET", "HEAD"):  # so that relative links lead where they should
            query = f"?{request.rel_url.raw_query_string}" if request.rel_url.raw_query_string else ""
            return web.Response(status=301, headers={"Location": f"{before}/proxy/{query}"})
        target = (rest or "/") + (f"?{request.rel_url.raw_query_string}" if request.rel_url.raw_query_string else "")
        if upgrading(request):
            return await self._kubelets.tunnel(request, place, target)
        sent = passed_on(list(request.headers.items()))
        sent["X-Forwarded-Uri"], sent["X-Forwarded-Proto"] = f"{before}/proxy{rest}", request.scheme
        if "Host" in request.headers:
            sent["X-Forwarded-Host"] = request.headers["Host"]

        async def body() -> AsyncIterator[bytes]:
            async for data in request.content.iter_any():
                yield data

        try:
            answer = await self._kubelets.request(
                request.method, place, target, sent, body() if request.can_read_body else None
            )
        except (aiohttp.ClientConnectorError, TimeoutError) as e:
            raise dial_error(e, place) from e
        except aiohttp.ClientError as e:
            raise status.unavailable(f"error trying to reach service: {e}") from e
        kept = passed_on(list(answer.headers.items()))
        where = kept.get("Location", "")
        if where.startswith("/") and not where.startswith("//"):
            kept["Location"] = f"{before}/proxy{where}"
        return await self._kubelets.passed(request, answer, kept)


def split_name(name: str) -> tuple[str, str, str]:
    """`[scheme:]name[:port]`: scheme ("" for http), name, port. ApiError 400."""
    parts = name.split(":")
    match parts:
        case [only] if only:
            return "", only, ""
        case [first, port] if first and port:
            return "", first, port
        case [("http" | "https" | "") as scheme, first, port] if first:
            return scheme, first, port
        case _:
            raise status.bad_request(f'invalid request "{name}": [scheme:]name[:port] was expected')


def check_address(text: str) -> None:
    """ApiError 400 of an address that would be the server's own, or nobody's: whoever may write a pod's status is not
    to reach those through us."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise status.bad_request("address not allowed") from None
    if address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
        raise status.bad_request("address not allowed")


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 1 << 16:
        raise status.bad_request(f"invalid port {text!r}")
    return int(text)


def container_of(pod: Json, asked: str) -> str:
    """Which container is meant. ApiError 400."""
    name, spec = pod["metadata"]["name"], pod["spec"]
    if asked:
        if not any(c["name"] == asked for kind in _KINDS for c in spec.get(kind) or ()):
            raise status.bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    listed = [c["name"] for c in spec.get("containers") or ()]
    if len(listed) == 1:
        return str(listed[0])
    text = f"a container name must be specified for pod {name}"
    if listed:
        text += f", choose one of: [{' '.join(listed)}]"
        if spec.get("initContainers"):
            text += f" or one of the init containers: [{' '.join(c['name'] for c in spec['initContainers'])}]"
    raise status.bad_request(text)


def check_log_options(call: Call) -> None:
    """ApiError 422."""
    wrong: list[FieldError] = []
    for name, least in (("sinceSeconds", 1), ("tailLines", 0), ("limitBytes", 1)):
        text = call.query.get(name)
        if not text:
            continue
        try:
            number = int(text)
        except ValueError as e:
            raise status.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from e
        if number < least:
            why = "must be greater than 0" if least else "must be greater than or equal to 0"
            wrong.append(invalid(name, number, why))
    if text := call.query.get("sinceTime"):
        try:
            times.parse(text)
        except times.TimeError as e:
            raise status.bad_request(str(e)) from e
        if call.query.get("sinceSeconds"):
            both = FieldError(
                "FieldValueForbidden", "", "at most one of `sinceTime` or `sinceSeconds` may be specified"
            )
            wrong.append(both)
    if wrong:
        raise status.invalid("PodLogOptions", "", call.info.name, wrong)


def _open_tls() -> ssl.SSLContext:
    """Of pods nobody knows the certificate: as the original, it is not looked at."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
