"""How a pod finds a name: resolv.conf(5), its search list and ndots. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Resolver:
    """What a resolv.conf says, as far as names need it."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    ndots: int = 1


def parse(text: str) -> Resolver:
    """A resolv.conf. What is not understood is passed over, as by every resolver; of several lists the last counts."""
    servers: list[str] = []
    search: tuple[str, ...] = ()
    ndots = 1
    for line in text.splitlines():
        words = line.split("#")[0].split(";")[0].split()
        match words:
            case ["nameserver", server, *_]:
                servers.append(server)
            case ["search" | "domain", *names]:
                search = tuple(name.rstrip(".") for name in names)
            case ["options", *options]:
                for option in options:
                    key, _, value = option.partition(":")
                    if key == "ndots" and value.isdecimal():
                        ndots = min(int(value), 15)  # as glibc bounds it
    return Resolver(tuple(servers), search, ndots)


def candidates(name: str, resolver: Resolver) -> list[str]:
    """The names that are asked for one after the other, absolute, until one is there.

    With fewer dots than ndots the search list comes first; a name that ends in a dot is taken as it is.
    """
    if name.endswith("."):
        return [name.rstrip(".")]
    longer = [f"{name}.{domain}" for domain in resolver.search]
    return [name, *longer] if name.count(".") >= resolver.ndots else [*longer, name]
