"""What is asked of the server itself: /version, /healthz, /livez, /readyz, /metrics, the OpenID documents, and /."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from netlab.api import Json
from netlab.apiserver.call import Call, answer, plain, raw
from netlab.apiserver.discovery import version

Check = Callable[[], Awaitable[str | None]]

_PATHS = (
    "/.well-known/openid-configuration", "/api", "/api/v1", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v2",
    "/openapi/v3", "/openid/v1/jwks", "/readyz", "/version",
)  # fmt: skip


class Health:
    """checks: name → why it is not well, or None; ready_checks: more of them for /readyz; keys: the JWKS."""

    def __init__(
        self, checks: dict[str, Check], ready_checks: dict[str, Check], metrics: Callable[[], bytes],
        issuer: Callable[[], str], keys: Callable[[], Json],
    ) -> None:  # fmt: skip
        self.checks, self.ready_checks, self.metrics = checks, ready_checks, metrics
        self.issuer, self.keys = issuer, keys

    async def serve(self, call: Call) -> web.StreamResponse | None:
        """The answer, None if the path is none of these."""
        path = call.info.path
        top = "/" + path.strip("/").partition("/")[0]
        if top in ("/healthz", "/livez", "/readyz"):
            return await self._health(call, top, path.strip("/").partition("/")[2])
        match path:
            case "/":
                return answer(call, {"paths": list(_PATHS)})
            case "/version" | "/version/":
                return answer(call, version())
            case "/metrics":
                return raw(call, self.metrics(), 200, "text/plain; version=0.0.4; charset=utf-8")
            case "/openid/v1/jwks":
                return answer(call, self.keys())
            case "/.well-known/openid-configuration":
                return answer(call, {
                    "issuer": self.issuer(), "jwks_uri": f"{self.issuer()}/openid/v1/jwks",
                    "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
                    "id_token_signing_alg_values_supported": ["RS256"],
                })  # fmt: skip
            case _:
                return None

    async def _health(self, call: Call, top: str, name: str) -> web.StreamResponse | None:
        checks = {**self.checks, **(self.ready_checks if top == "/readyz" else {})}
        if name:
            if name not in checks:
                return None
            why = await checks[name]()
            return plain(call, "ok") if why is None else plain(call, f"internal server error: {why}", 500)
        left_out = call.query.getall("exclude", []) if hasattr(call.query, "getall") else []
        lines, failed = [], False
        for check, run in checks.items():
            if check in left_out:
                lines.append(f"[+]{check} excluded: ok")
                continue
            why = await run()
            failed = failed or why is not None
            lines.append(f"[+]{check} ok" if why is None else f"[-]{check} failed: reason withheld")
        text = "\n".join(lines)
        kind = top.strip("/")
        if failed:
            return plain(call, f"{text}\n{kind} check failed\n", 500)
        return plain(call, f"{text}\n{kind} check passed\n" if "verbose" in call.query else "ok")
