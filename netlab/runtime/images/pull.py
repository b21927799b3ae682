"""Images from a registry: skopeo fetches them into an archive, which is loaded as any other."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from netlab.base.errors import KernelError, NetlabError
from netlab.kernel.commands import run_in
from netlab.runtime.images import archive
from netlab.runtime.images.reference import Reference
from netlab.runtime.images.store import Image, ImageError, ImageNotFound, Store

#: seconds for a large image by a slow line
PATIENCE = 1800.0


def pull(store: Store, name: str, *, insecure: bool = False, tell: Callable[[str], None] = lambda _: None) -> Image:
    """The image of that name. MachineError without skopeo, ImageError with its words.

    insecure: a registry that speaks plain HTTP, or has a certificate that nobody vouches for.
    """
    reference = Reference.parse(name)
    store.root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store.root, prefix=".pull.") as directory:
        target = Path(directory, "image.tar")
        argv = ["skopeo", "copy", "--quiet", *(["--src-tls-verify=false"] if insecure else [])]
        tell(f"pulling {reference.short}")
        try:
            run_in(None, [*argv, f"docker://{reference}", f"oci-archive:{target}"], timeout=PATIENCE, check=True)
        except KernelError as e:
            kind = ImageNotFound if "manifest unknown" in e.message or "name unknown" in e.message else ImageError
            raise kind(f"{reference.short} cannot be pulled: {e.message.rpartition('msg=')[2] or e.message}") from e
        return archive.load(store, target, name=str(reference), tell=tell)[0]


#: what skopeo says first of who cannot be asked, before the words of the HTTP client
_PINGING = re.compile(r"pinging container registry \S+: (?P<why>.*)", re.DOTALL)
_DENIED = ("requested access to the resource is denied", "unauthorized", "authentication required", "403 (Forbidden)")


def as_containerd(reference: Reference, error: NetlabError) -> str:
    """Why an image could not be pulled, as a container runtime tells it to a kubelet, and kubectl to a person."""
    if isinstance(error, ImageNotFound):
        code, why = "NotFound", f"{reference}: not found"
    elif any(said in error.message for said in _DENIED):
        code = "Unknown"
        why = (
            "pull access denied, repository does not exist or may require authorization: server message: "
            "insufficient_scope: authorization failed"
        )
    elif found := _PINGING.search(error.message):
        code, why = "Unknown", f"failed to do request: {found['why'].strip().strip(chr(34))}"
    else:
        code, why = "Unknown", error.message
    return (
        f'rpc error: code = {code} desc = failed to pull and unpack image "{reference}": '
        f'failed to resolve reference "{reference}": {why}'
    )
