"""Names that the kernel or the file system limits."""

from __future__ import annotations

import re

#: IFNAMSIZ is 16 with the closing NUL (linux/if.h)
DEVICE_NAME_MAX = 15
#: keeps /run/netns/<lab>.<node> and socket paths short and readable
LAB_NAME_MAX = 40

_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")


def device_name_problem(name: str) -> str | None:
    """Why the kernel would refuse `name` for a network device, or None (dev_valid_name in net/core/dev.c)."""
    if not name or name in (".", ".."):
        return "a device needs a name"
    if len(name.encode()) > DEVICE_NAME_MAX:
        return f"device name {name!r} has {len(name.encode())} bytes; Linux allows {DEVICE_NAME_MAX}"
    if any(c in "/: \t\n\v\f\r" or c.isspace() for c in name):
        return f"device name {name!r} has a slash, a colon or white space"
    return None


def label_problem(name: str, *, what: str, limit: int = LAB_NAME_MAX) -> str | None:
    """Why `name` is no good for a lab or a node (DNS label: lower case, digits, inner hyphens), or None."""
    if len(name) > limit:
        return f"{what} {name!r} has {len(name)} characters; at most {limit} are allowed"
    if not _LABEL.match(name):
        return f"{what} {name!r} must be lower-case letters, digits and inner hyphens (such as nginx-1)"
    return None
