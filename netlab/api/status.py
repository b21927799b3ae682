"""Errors of the API: Status objects with the reasons, causes and messages that clients know.

Source: apimachinery pkg/api/errors (constructors), apiserver responsewriters (forbidden texts).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netlab.api import Json
from netlab.api.fielderrors import FieldError


class ApiError(Exception):
    """An answer that is an error. code: of HTTP; details: of the Status, None for none; headers: more of them."""

    def __init__(self, code: int, reason: str, message: str, details: Json | None = None, *, meta: Json | None = None):
        super().__init__(message)
        self.code, self.reason, self.message, self.details = code, reason, message, details
        self.meta = meta or {}

    def status(self) -> Json:
        """The Status object."""
        body: Json = {
            "kind": "Status", "apiVersion": "v1", "metadata": self.meta, "status": "Failure", "message": self.message,
        }  # fmt: skip
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = self.details
        body["code"] = self.code
        return body

    @property
    def headers(self) -> dict[str, str]:
        """Retry-After, if the details tell after how many seconds."""
        after = (self.details or {}).get("retryAfterSeconds")
        return {"Retry-After": str(after)} if after else {}


def _details(name: str, group: str, kind: str, **more: Any) -> Json:
    found: Json = {"name": name, "group": group, "kind": kind, **more}
    return {k: v for k, v in found.items() if v}


def _qualified(plural: str, group: str) -> str:
    return f"{plural}.{group}" if group else plural


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(plural: str, group: str, name: str, why: str, causes: Sequence[Json] = ()) -> ApiError:
    """`pods "x" is forbidden: why`."""
    what = _qualified(plural, group)
    message = f'{what} "{name}" is forbidden: {why}' if name else f"{what} is forbidden: {why}"
    if not plural:
        message = f"forbidden: {why}"
    return ApiError(403, "Forbidden", message, _details(name, group, plural, causes=list(causes)))


def not_found(plural: str, group: str, name: str) -> ApiError:
    return ApiError(404, "NotFound", f'{_qualified(plural, group)} "{name}" not found', _details(name, group, plural))


def no_such_path() -> ApiError:
    """What the original says of a path or a resource that it does not serve."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def method_not_supported(plural: str, group: str, action: str) -> ApiError:
    message = f'{action} is not supported on resources of kind "{_qualified(plural, group)}"'
    return ApiError(405, "MethodNotAllowed", message, _details("", group, plural))


def method_not_allowed() -> ApiError:
    return ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def not_acceptable(message: str) -> ApiError:
    return ApiError(406, "NotAcceptable", message)


def already_exists(plural: str, group: str, name: str) -> ApiError:
    message = f'{_qualified(plural, group)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, _details(name, group, plural))


def name_clash(plural: str, group: str, name: str) -> ApiError:
    """No name could be made from generateName."""
    message = f'{_qualified(plural, group)} "{name}" already exists, '
    message += "the server was not able to generate a unique name for the object"
    return ApiError(409, "AlreadyExists", message, _details(name, group, plural, retryAfterSeconds=1))


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(plural: str, group: str, name: str, why: str = MODIFIED) -> ApiError:
    message = f'Operation cannot be fulfilled on {_qualified(plural, group)} "{name}": {why}'
    return ApiError(409, "Conflict", message, _details(name, group, plural))


def apply_conflict(conflicts: Sequence[tuple[str, str]]) -> ApiError:
    """Server-side apply: conflicts are (the other manager, ".spec.replicas")."""
    number = len(conflicts)
    if number == 1:
        joined = f"conflict with {conflicts[0][0]}: {conflicts[0][1]}"
    else:
        by_manager: dict[str, list[str]] = {}
        for text, where in conflicts:
            by_manager.setdefault(text, []).append(where)
        lines = []
        for text in sorted(by_manager):
            lines += [f"conflicts with {text}:", *(f"- {where}" for where in by_manager[text])]
        joined = "\n".join(lines)
    message = f"Apply failed with {number} conflict{'s' if number != 1 else ''}: {joined}"
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {text}", "field": where}
        for text, where in conflicts
    ]
    return ApiError(409, "Conflict", message, {"causes": causes})


def expired(message: str, token: str = "") -> ApiError:
    return ApiError(410, "Expired", message, meta={"continue": token} if token else None)


def too_large(message: str) -> ApiError:
    return ApiError(413, "RequestEntityTooLarge", message)


def unsupported_media_type(accepted: Sequence[str]) -> ApiError:
    message = "the body of the request was in an unknown format - accepted media types include: " + ", ".join(accepted)
    return ApiError(415, "UnsupportedMediaType", message)


def invalid(kind: str, group: str, name: str, errors: Sequence[FieldError]) -> ApiError:
    """422 with a cause for each field that is wrong."""
    texts = list(dict.fromkeys(str(e) for e in errors))
    joined = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    causes = [e.cause() for e in errors]
    message = f'{_qualified(kind, group)} "{name}" is invalid' + (f": {joined}" if texts else "")
    return ApiError(422, "Invalid", message, _details(name, group, kind, causes=causes))


def too_many_requests(message: str, retry_after: int = 0, causes: Sequence[Json] = ()) -> ApiError:
    details = {k: v for k, v in {"causes": list(causes), "retryAfterSeconds": retry_after}.items() if v}
    return ApiError(429, "TooManyRequests", message, details)


def internal(why: str) -> ApiError:
    message = f"Internal error occurred: {why}"
    return ApiError(500, "InternalError", message, {"causes": [{"message": why}]})


def unavailable(message: str) -> ApiError:
    return ApiError(503, "ServiceUnavailable", message, {"retryAfterSeconds": 1})


def too_large_revision(asked: int, current: int) -> ApiError:
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    details = {"causes": [cause], "retryAfterSeconds": 1}
    return ApiError(504, "Timeout", f"Timeout: Too large resource version: {asked}, current: {current}", details)


def success(details: Json | None = None, *, code: int = 0) -> Json:
    """The Status of something that is done."""
    body: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    if details is not None:
        body["details"] = details
    if code:
        body["code"] = code
    return body
