"""A plugin's refusal, with the number that the protocol gives it. Source: CNI specification 1.1.0, section 5, Error."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from netlab.base.errors import EXIT_FAILED, EXIT_INPUT, EXIT_MACHINE, NetlabError


class Code(IntEnum):
    """Below 100: the specification's; from 100 on: netlab's plugins' own."""

    VERSION = 1
    UNSUPPORTED_FIELD = 2
    UNKNOWN_CONTAINER = 3
    ENVIRONMENT = 4
    IO = 5
    DECODE = 6
    CONFIG = 7
    TRY_LATER = 11
    NOT_AVAILABLE = 50
    LIMITED = 51
    KERNEL = 100
    NO_ADDRESS = 101
    CHECK = 102
    PLUGIN = 103
    CRASHED = 104


#: what the command line ends with, where it is not 1
_EXIT = {
    Code.VERSION: EXIT_INPUT, Code.UNSUPPORTED_FIELD: EXIT_INPUT, Code.ENVIRONMENT: EXIT_INPUT,
    Code.DECODE: EXIT_INPUT, Code.CONFIG: EXIT_INPUT, Code.PLUGIN: EXIT_MACHINE,
}  # fmt: skip


class CniError(NetlabError):
    """What went wrong and, in `details`, what to do about it. code: of another plugin, it may be any."""

    def __init__(self, code: int, message: str, details: str = "") -> None:
        super().__init__(message, hint=details or None)
        self.code = int(code)
        self.details = details
        self.exit_status = {int(c): status for c, status in _EXIT.items()}.get(self.code, EXIT_FAILED)

    def as_document(self, version: str) -> dict[str, Any]:
        """The error as a plugin prints it."""
        document: dict[str, Any] = {"cniVersion": version, "code": self.code, "msg": self.message}
        return document | ({"details": self.details} if self.details else {})

    @classmethod
    def of(cls, error: NetlabError) -> CniError:
        """Any error of ours, as the protocol can say it."""
        if isinstance(error, cls):
            return error
        return cls(Code.KERNEL, error.message, error.hint or "")
