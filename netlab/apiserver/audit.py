"""The audit log: a JSON line for each request, at level Metadata: who, what, when. No bodies, no tokens."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import orjson

from netlab.apiserver.call import Call


class Audit:
    """path: None for no log."""

    def __init__(self, path: Path | None, now: Callable[[], float]) -> None:
        self._file: BinaryIO | None = path.open("ab", buffering=1 << 16) if path is not None else None
        self._now = now

    def record(self, call: Call, code: int) -> None:
        """Write one line."""
        if self._file is None:
            return
        info = call.info
        stamp = datetime.fromtimestamp(self._now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        event = {
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": call.audit_id,
            "stage": "ResponseComplete", "requestURI": call.request.path_qs, "verb": info.verb,
            "user": (call.real_user or call.user).as_json(), "sourceIPs": [call.request.remote or ""],
            "userAgent": call.request.headers.get("User-Agent", ""), "responseStatus": {"code": code},
            "requestReceivedTimestamp": stamp, "stageTimestamp": stamp,
        }  # fmt: skip
        if call.real_user is not None:
            event["impersonatedUser"] = call.user.as_json()
        if info.resource:
            event["objectRef"] = {
                k: v for k, v in {
                    "resource": info.plural, "namespace": info.namespace, "name": info.name,
                    "apiGroup": info.group, "apiVersion": info.version, "subresource": info.subresource,
                }.items() if v
            }  # fmt: skip
        self._file.write(orjson.dumps(event) + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Write what is left."""
        if self._file is not None:
            self._file.close()
            self._file = None
