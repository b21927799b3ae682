"""Names of images: `nginx` is docker.io/library/nginx:latest. Source: the distribution project's reference grammar."""

from __future__ import annotations

import re
from dataclasses import dataclass

from netlab.base.errors import InputError

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_NAME = re.compile(
    rf"^(?:(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]+)?|\[[0-9a-fA-F:]+\](?::[0-9]+)?)/)?(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)$"
)
_TAG = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")
_DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")


@dataclass(frozen=True, slots=True)
class Reference:
    """tag: "" if there is a digest; digest: "" if there is none."""

    host: str
    path: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        return (
            f"{self.host}/{self.path}"
            + (f":{self.tag}" if self.tag else "")
            + (f"@{self.digest}" if self.digest else "")
        )

    @property
    def short(self) -> str:
        """As a person writes it."""
        text = str(self).removeprefix("docker.io/")
        return text.removeprefix("library/") if self.host == "docker.io" else text

    @classmethod
    def parse(cls, text: str) -> Reference:
        """From what stands in a pod's `image`. InputError, worded as the original's."""
        name, _, digest = text.partition("@")
        head, colon, tag = name.rpartition(":")
        if not colon or "/" in tag:
            head, tag = name, ""
        host, slash, path = head.partition("/")
        if not slash or not (set(host) & set(".:") or host == "localhost"):
            host, path = "docker.io", head
        if host == "docker.io" and "/" not in path:
            path = f"library/{path}"
        matched = _NAME.match(f"{host}/{path}") and not name.endswith(":")
        if (
            not matched
            or name.endswith(":")
            or (tag and not _TAG.match(tag))
            or ("@" in text and not _DIGEST.match(digest))
        ):
            raise InputError(
                f"couldn't parse image name {text!r}: invalid reference format",
                hint="lower case, such as nginx:1.9.1 or registry.example:5000/team/web:v2",
            )
        return cls(host, path, tag or ("" if digest else "latest"), digest)
