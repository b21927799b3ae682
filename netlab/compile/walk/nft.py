"""nftables' rules as the kernel reads them: the statements that `services_nft` uses, and no others.

Facts: nft(8) 1.0.6. A rule is taken apart from left to right; the first expression that does not hold ends it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from netlab.compile.walk.packet import ACCEPT, DROP, REJECT, Journey, Step, UnknownRule, address, network
from netlab.model import HostState, NftChain, NftRule, NftSet

_RETURN, _NEXT = "return", "next"
_TOKEN = re.compile(r'"[^"]*"|\{[^}]*\}|\S+')
_VERDICTS = {"accept": ACCEPT, "drop": DROP, "reject": REJECT}


class NftEngine:
    """The tables of one node in one family."""

    def __init__(self, state: HostState, family: int) -> None:
        wanted = ("ip" if family == 4 else "ip6", "inet")
        self.chains = {(c.table, c.name): c for c in state.all(NftChain) if c.family in wanted}
        self.sets = {(s.table, s.name): s for s in state.all(NftSet) if s.family in wanted}
        self._maps = {key: {element.key: element.value for element in item.elements} for key, item in self.sets.items()}
        #: base chains by hook, in order of priority
        self.hooks: dict[str, list[NftChain]] = {}
        for chain in sorted((c for c in self.chains.values() if c.hook), key=lambda c: c.priority):
            self.hooks.setdefault(chain.hook, []).append(chain)

    def base(self, journey: Journey, chain: NftChain) -> str:
        """Pass one base chain. ACCEPT, DROP or REJECT."""
        verdict = self._chain(journey, chain)
        if verdict in (_NEXT, _RETURN):
            return DROP if chain.policy == "drop" else ACCEPT
        return verdict

    def _chain(self, journey: Journey, chain: NftChain) -> str:
        for number, rule in enumerate(chain.rules, 1):
            verdict = self._rule(journey, chain, number, rule)
            if verdict != _NEXT:
                return verdict
        return _NEXT

    def _rule(self, journey: Journey, chain: NftChain, number: int, rule: NftRule) -> str:
        words = iter(_TOKEN.findall(rule.text))

        def tell(effect: str) -> None:
            journey.steps.append(Step(journey.node, chain.table, chain.name, number, rule.text, rule.why, effect))

        for word in words:
            match word:
                case "ip" | "ip6":
                    side = next(words)
                    text = next(words)
                    if text == "." and side == "saddr":
                        if not self._pair(journey, chain, words):
                            return _NEXT
                        continue
                    if text == ".":
                        verdict = self._vmap(journey, chain, [f"{side}", *_until(words, "vmap")], next(words))
                        if verdict is None:
                            return _NEXT
                        return self._go(journey, chain, verdict, rule, tell)
                    if not self._addressed(journey, chain, side, text, words):
                        return _NEXT
                case "tcp" | "udp" | "sctp":
                    _, port = next(words), int(next(words))
                    if journey.packet.protocol != word or journey.packet.dport != port:
                        return _NEXT
                case "meta":
                    what = next(words)
                    if what == "mark":
                        if not _mark(journey, words, tell):
                            return _NEXT
                    elif what == "l4proto":
                        proto = next(words)
                        if proto == ".":
                            verdict = self._vmap(journey, chain, ["l4proto", *_until(words, "vmap")], next(words))
                            if verdict is None:
                                return _NEXT
                            return self._go(journey, chain, verdict, rule, tell)
                        if proto != journey.packet.protocol:
                            return _NEXT
                    else:
                        raise UnknownRule(f"the simulator does not know meta {what}: {rule.text}")
                case "ct":
                    if next(words) != "state" or journey.packet.state.lower() not in next(words).split(","):
                        return _NEXT
                case "fib":
                    side, _, _ = next(words), next(words), next(words)
                    if not journey.is_local(journey.packet.dst if side == "daddr" else journey.packet.src):
                        return _NEXT
                case "numgen":
                    _, _, count, how = (next(words) for _ in range(4))
                    if how != "vmap":
                        # one of `count`: the rule holds where the number is this one
                        share = 1 / int(count)
                        if journey.dice.choose((share, 1 - share)) != 0:
                            return _NEXT
                        continue
                    choices = next(words)
                    listed = dict(_pairs(choices))
                    chosen = journey.dice.choose([1 / int(count)] * int(count))
                    return self._go(journey, chain, listed[str(chosen)], rule, tell)
                case "update":
                    name, _ = next(words), next(words)
                    journey.memory.note(journey.node, name[1:], journey.packet.src)
                case "dnat":
                    target = _target(journey, words)
                    journey.rewrite(target)
                    tell(f"destination {target}")
                    return ACCEPT
                case "masquerade":
                    journey.masquerade()
                    tell(f"source {journey.packet.src}")
                    return ACCEPT
                case "comment":
                    next(words)
                case "jump" | "goto":
                    return self._go(journey, chain, f"{word} {next(words)}", rule, tell)
                case "accept" | "drop" | "reject" | "return":
                    return self._go(journey, chain, word, rule, tell)
                case _:
                    raise UnknownRule(f"the simulator does not know {word!r}: {rule.text}")
        return _NEXT

    def _go(self, journey: Journey, chain: NftChain, verdict: str, rule: NftRule, tell) -> str:  # type: ignore[no-untyped-def]
        word, _, name = verdict.partition(" ")
        if word == "return":
            tell("return")
            return _RETURN
        if word in _VERDICTS:
            tell(word)
            journey.decided = rule.why or f"{chain.name}"
            return _VERDICTS[word]
        other = self.chains.get((chain.table, name))
        if other is None:
            raise UnknownRule(f"{chain.name} leads to {name}, which is no chain of {chain.table}")
        tell(f"→ {name}")
        found = self._chain(journey, other)
        if found in (_NEXT, _RETURN):
            return _RETURN if word == "goto" else _NEXT
        return found

    def _addressed(self, journey: Journey, chain: NftChain, side: str, text: str, words: Iterator[str]) -> bool:
        ip = journey.packet.dst if side == "daddr" else journey.packet.src
        negated = text == "!="
        if negated:
            text = next(words)
        if text.startswith("@"):
            item = self.sets[chain.table, text[1:]]
            inside = (
                journey.memory.has(journey.node, item.name, ip)
                if item.dynamic
                else ip in self._maps[chain.table, item.name]
            )
        else:
            listed = text.strip("{} ").split(",")
            inside = any(address(ip) in network(one.strip()) for one in listed)
        return inside != negated

    def _pair(self, journey: Journey, chain: NftChain, words: Iterator[str]) -> bool:
        """`ip saddr . ip daddr @set`, from behind the first dot."""
        _, _, where = (next(words) for _ in range(3))
        return f"{journey.packet.src} . {journey.packet.dst}" in self._maps[chain.table, where[1:]]

    def _vmap(self, journey: Journey, chain: NftChain, parts: list[str], where: str) -> str | None:
        packet = journey.packet
        key = f"{packet.protocol} . {packet.dport}"
        if parts[0] == "daddr":
            key = f"{packet.dst} . {key}"
        if where.startswith("@"):
            return self._maps[chain.table, where[1:]].get(key)
        return dict(_pairs(where)).get(key)


def _target(journey: Journey, words: Iterator[str]) -> str:
    """`to ADDRESS:PORT`, or `ip to numgen random mod N map { 0 : ADDRESS . PORT, … }`."""
    if next(words) == "to":
        return next(words)
    _, _, _, _, count, _, listed = (next(words) for _ in range(7))
    chosen = journey.dice.choose([1 / int(count)] * int(count))
    ip, _, port = dict(_pairs(listed))[str(chosen)].partition(" . ")
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def _until(words: Iterator[str], last: str) -> list[str]:
    found = []
    for word in words:
        if word == last:
            break
        found.append(word)
    return found


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for one in text.strip("{} ").split(","):
        key, _, value = one.partition(" : ")
        yield key.strip(), value.strip()


def _mark(journey: Journey, words: Iterator[str], tell) -> bool:  # type: ignore[no-untyped-def]
    """`meta mark & M == V` as a match, `meta mark set meta mark | V` as a change."""
    packet = journey.packet
    operator = next(words)
    if operator == "set":
        _, _, how, value = (next(words) for _ in range(4))
        number = int(value, 0)
        packet.mark = packet.mark | number if how == "|" else packet.mark ^ number
        tell(f"mark {packet.mark:#x}")
        return True
    mask, compare, wanted = int(next(words), 0), next(words), int(next(words), 0)
    return (packet.mark & mask == wanted) == (compare == "==")
