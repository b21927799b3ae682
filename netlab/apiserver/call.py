"""One request on its way through the chain, and what it may be answered with."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import yaml
from aiohttp import web
from multidict import CIMultiDict, MultiMapping

from netlab.api import Json
from netlab.api.status import ApiError
from netlab.apiserver.negotiate import PLAIN, Form
from netlab.apiserver.requestinfo import RequestInfo

_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class User:
    """Who asks."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def as_json(self) -> Json:
        """authentication.k8s.io/v1 UserInfo."""
        out: Json = {"username": self.name}
        if self.uid:
            out["uid"] = self.uid
        if self.groups:
            out["groups"] = list(self.groups)
        if self.extra:
            out["extra"] = {k: list(v) for k, v in self.extra}
        return out


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


@dataclass(slots=True)
class Call:
    """A request: what it asks for, by whom, and the warnings that its answer will carry."""

    request: web.BaseRequest
    info: RequestInfo
    query: MultiMapping[str]
    user: User = ANONYMOUS
    real_user: User | None = None
    warnings: list[str] = field(default_factory=list)
    body: bytes | None = None
    audit_id: str = ""

    def warn(self, text: str) -> None:
        """A Warning header (once each)."""
        if text not in self.warnings:
            self.warnings.append(text)


Handler = Callable[[Call], Awaitable[web.StreamResponse]]


def _quoted(text: str) -> str:
    clean = "".join(c if c.isprintable() else " " for c in text)
    return clean.replace("\\", "\\\\").replace('"', '\\"')


def headers(call: Call, content_type: str = _JSON) -> CIMultiDict[str]:
    """The headers of every answer."""
    found: CIMultiDict[str] = CIMultiDict()
    found["Content-Type"] = content_type
    found["Cache-Control"] = "no-cache, private"
    if call.audit_id:
        found["Audit-Id"] = call.audit_id
    for text in call.warnings:
        found.add("Warning", f'299 - "{_quoted(text)}"')
    return found


def raw(call: Call, body: bytes, status: int = 200, content_type: str = _JSON) -> web.Response:
    """An answer of bytes."""
    return web.Response(body=body, status=status, headers=headers(call, content_type))


def answer(call: Call, obj: Any, status: int = 200, form: Form = PLAIN) -> web.Response:
    """An answer of an object."""
    if form.yaml:
        text = yaml.dump(obj, Dumper=yaml.CSafeDumper, sort_keys=True, default_flow_style=False, allow_unicode=True)
        return raw(call, text.encode(), status, "application/yaml")
    pretty = call.query.get("pretty")
    if pretty is not None and pretty not in ("0", "false"):
        return raw(call, orjson.dumps(obj, option=orjson.OPT_INDENT_2), status)
    return raw(call, orjson.dumps(obj), status)


def error(call: Call, e: ApiError) -> web.Response:
    """An answer of an error."""
    response = raw(call, orjson.dumps(e.status()), e.code)
    response.headers.update(e.headers)
    return response


def plain(call: Call, text: str, status: int = 200) -> web.Response:
    """An answer of plain text."""
    return raw(call, text.encode(), status, "text/plain; charset=utf-8")


def token(value: Json) -> str:
    """A value as an opaque token: base64 of its JSON without padding, as the original's."""
    return base64.urlsafe_b64encode(orjson.dumps(value)).decode().rstrip("=")
