"""Which plugins there are, in the original's order."""

from __future__ import annotations

from netlab.apiserver.admission import Admission
from netlab.apiserver.admission.namespaces import NamespaceLifecycle
from netlab.apiserver.handlers import Context


def build(ctx: Context, lifecycle: NamespaceLifecycle) -> Admission:
    """The chain of a server."""
    return Admission([lifecycle])
