"""Names out of a file like /etc/hosts (hosts(5)), for what belongs to no cluster. Pure."""

from __future__ import annotations

from netlab.base.errors import InputError, Problem
from netlab.compile.fields import is_domain
from netlab.dns.records import Answer, Labels, Record, version

_TYPE = {4: "A", 6: "AAAA"}


class Hosts:
    """name to addresses. ttl: seconds of every answer."""

    def __init__(self, addresses: dict[str, tuple[str, ...]], ttl: int) -> None:
        self._addresses, self._ttl = addresses, ttl

    @classmethod
    def parse(cls, text: str, place: str, ttl: int) -> Hosts:
        """InputError with every line that makes no sense."""
        found: dict[str, list[str]] = {}
        problems: list[Problem] = []
        for number, line in enumerate(text.splitlines(), 1):
            address, *names = line.partition("#")[0].split() or [""]
            if not address:
                continue
            wrong = [] if version(address) else [address]
            wrong += [name for name in names if not is_domain(name)]
            if wrong or not names:
                said = f"{wrong[0]!r} is not understood" if wrong else "a name is missing"
                problems.append(
                    Problem(f"{place}:{number}", said, "an address and names: 198.51.100.10 my.example.com")
                )
                continue
            for name in names:
                found.setdefault(name.lower().rstrip("."), []).append(address)
        if problems:
            raise InputError(problems)
        return cls({name: tuple(dict.fromkeys(addresses)) for name, addresses in found.items()}, ttl)

    def look(self, asked: Labels, kind: str) -> Answer | None:
        """The answer to a question; None if the name is not in the file. An empty one has no SOA: it is no zone."""
        addresses = self._addresses.get(".".join(asked).lower())
        if addresses is None:
            return None
        fits = (a for a in addresses if _TYPE[version(a)] == kind)
        return Answer(records=tuple(Record(".".join(asked), kind, self._ttl, address) for address in fits))
