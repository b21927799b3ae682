"""iptables' rules as the kernel reads them: one node's chains and sets, and a packet that passes a hook.

Facts: iptables-extensions(8): conntrack, addrtype, mark, statistic, recent, set, physdev, tcp, udp, sctp, icmp6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from netlab.compile.walk.packet import ACCEPT, DROP, REJECT, Journey, Step, UnknownRule, address, network
from netlab.model import Chain, HostState, Ipset, IptablesRule

#: what a rule's target says: go on, leave the chain, or a verdict
_NEXT, _RETURN = "next", "return"
#: weight of a fair choice is not all or nothing: probability of `statistic`
Match = Callable[[Journey], bool]
_DEPTH_MAX = 64


class IptablesEngine:
    """The chains and sets of one node in one family."""

    def __init__(self, state: HostState, family: int) -> None:
        self.chains = {(c.table, c.name): c for c in state.all(Chain) if c.family == family}
        self.sets = {s.name: IpsetView(s) for s in state.all(Ipset)}
        self._rules: dict[str, tuple[tuple[Match, ...], tuple[str, ...]]] = {}

    def hook(self, journey: Journey, table: str, name: str) -> str:
        """Pass a built-in chain. ACCEPT, DROP or REJECT."""
        chain = self.chains.get((table, name))
        if chain is None:
            return ACCEPT
        verdict = self._chain(journey, chain, 0)
        if verdict in (_NEXT, _RETURN):
            if chain.policy == "DROP":
                why = chain.why or "the chain's policy"
                journey.steps.append(Step(journey.node, table, name, 0, "policy DROP", why, "drop"))
                journey.decided = why
                return DROP
            return ACCEPT
        return verdict

    def _chain(self, journey: Journey, chain: Chain, depth: int) -> str:
        if depth > _DEPTH_MAX:
            raise UnknownRule(f"chain {chain.name} in {chain.table} jumps in a circle")
        for number, rule in enumerate(chain.rules, 1):
            matches, target = self._parsed(rule)
            if not all(match(journey) for match in matches):
                continue
            verdict = self._target(journey, chain, number, rule, target, depth)
            if verdict != _NEXT:
                return verdict
        return _NEXT

    def _target(
        self, journey: Journey, chain: Chain, number: int, rule: IptablesRule, target: tuple[str, ...], depth: int
    ) -> str:
        def tell(effect: str) -> None:
            journey.steps.append(Step(journey.node, chain.table, chain.name, number, rule.line, rule.why, effect))

        if not target:
            return _NEXT
        jump, name, *options = target
        packet = journey.packet
        if name in ("ACCEPT", "DROP", "REJECT"):
            tell(name.lower())
            journey.decided = rule.why or f"{chain.name} rule {number}"
            return {"ACCEPT": ACCEPT, "DROP": DROP, "REJECT": REJECT}[name]
        if name == "RETURN":
            tell("return")
            return _RETURN
        if name == "MARK":
            value, _, mask = options[1].partition("/")
            packet.mark = (packet.mark & ~int(mask or "0xffffffff", 0)) ^ int(value, 0)
            tell(f"mark {packet.mark:#x}")
            return _NEXT
        if name == "DNAT":
            journey.rewrite(options[1])
            tell(f"destination {options[1]}")
            return ACCEPT
        if name in ("MASQUERADE", "SNAT"):
            journey.masquerade()
            tell(f"source {packet.src}")
            return ACCEPT
        other = self.chains.get((chain.table, name))
        if other is None:
            raise UnknownRule(f"{chain.name} rule {number} jumps to {name}, which is no chain of {chain.table}")
        tell(f"→ {name}")
        verdict = self._chain(journey, other, depth + 1)
        if verdict == _RETURN:
            return _RETURN if jump == "-g" else _NEXT
        return _RETURN if verdict == _NEXT and jump == "-g" else verdict

    # -- matches

    def _parsed(self, rule: IptablesRule) -> tuple[tuple[Match, ...], tuple[str, ...]]:
        known = self._rules.get(rule.line)
        if known is None:
            known = self._rules[rule.line] = self._parse(rule)
        return known

    def _parse(self, rule: IptablesRule) -> tuple[tuple[Match, ...], tuple[str, ...]]:
        words = list(rule.args)
        matches: list[Match] = []
        loaded = ""
        options: dict[str, Sequence[str]] = {}
        at = 0
        while at < len(words):
            negated = words[at] == "!"
            at += negated
            option = words[at]
            values = []
            at += 1
            if option in ("-j", "-g"):
                matches += self._module(rule, loaded, options)
                return tuple(matches), (option, *words[at:])
            while at < len(words) and words[at] != "!" and not words[at].startswith("-"):
                values.append(words[at])
                at += 1
            if option == "-m":
                matches += self._module(rule, loaded, options)
                loaded, options = values[0], {}
            elif option in ("-s", "-d", "-p", "-i", "-o") and not loaded:
                matches.append(_base(option, values[0], negated))
            else:
                options[("! " if negated else "") + option] = values
        matches += self._module(rule, loaded, options)
        return tuple(matches), ()

    def _module(self, rule: IptablesRule, name: str, options: dict[str, Sequence[str]]) -> list[Match]:
        if name in ("", "comment"):
            return []
        if name in ("statistic", "recent"):
            made = _statistic(options) if name == "statistic" else _recent(options)
            return [made]
        found = []
        for option, values in options.items():
            wanted = not option.startswith("! ")
            match = self._option(name, option.removeprefix("! "), values)
            if match is None:
                raise UnknownRule(f"the simulator does not know -m {name} {option}: {rule.line}")
            found.append(match if wanted else _not(match))
        return found

    def _option(self, name: str, option: str, values: Sequence[str]) -> Match | None:
        match name, option:
            case ("tcp" | "udp" | "sctp", "--dport" | "--sport"):
                first, _, last = values[0].partition(":")
                low, high = int(first), int(last or first)
                if option == "--dport":
                    return lambda j: low <= j.packet.dport <= high
                return lambda j: low <= j.packet.sport <= high
            case "conntrack", "--ctstate":
                states = set(values[0].split(","))
                return lambda j: j.packet.state in states or ("DNAT" in states and j.packet.dnat)
            case "mark", "--mark":
                value, _, mask = values[0].partition("/")
                wanted, bits = int(value, 0), int(mask or "0xffffffff", 0)
                return lambda j: j.packet.mark & bits == wanted
            case "addrtype", "--dst-type" | "--src-type" if values[0] == "LOCAL":
                if option == "--dst-type":
                    return lambda j: j.is_local(j.packet.dst)
                return lambda j: j.is_local(j.packet.src)
            case "physdev", "--physdev-is-in":
                return lambda j: j.packet.bridged
            case "icmp6", "--icmpv6-type":
                return lambda j: False  # a walk's packets are none of those
            case "set", "--match-set":
                view = self.sets.get(values[0])
                if view is None:
                    raise UnknownRule(f"there is no set {values[0]}")
                sides = values[1].split(",")
                return lambda j: view.has(j, sides)
        return None


def _not(match: Match) -> Match:
    return lambda j: not match(j)


def _base(option: str, text: str, negated: bool) -> Match:
    def has(journey: Journey) -> bool:
        packet = journey.packet
        if option == "-p":
            return packet.protocol == text
        if option in ("-s", "-d"):
            ip = address(packet.src if option == "-s" else packet.dst)
            return ip in network(text)
        return (packet.iif if option == "-i" else packet.oif) == text

    return _not(has) if negated else has


def _statistic(options: dict[str, Sequence[str]]) -> Match:
    share = float(options["--probability"][0])
    return lambda j: j.dice.choose((share, 1 - share)) == 0


def _recent(options: dict[str, Sequence[str]]) -> Match:
    name = options["--name"][0]
    if "--rcheck" in options:
        return lambda j: j.memory.has(j.node, name, j.packet.src)

    def remember(journey: Journey) -> bool:
        journey.memory.note(journey.node, name, journey.packet.src)
        return True

    return remember


class IpsetView:
    """A set that can be asked."""

    def __init__(self, item: Ipset) -> None:
        self.kinds = item.type.partition(":")[2].split(",")
        self._exact: set[tuple[str, ...]] = set()
        #: (all but the network, the network, whether it counts as in)
        self._networks: list[tuple[tuple[str, ...], str, bool]] = []
        for entry in item.entries:
            text, *flags = entry.split()
            parts = tuple(text.split(","))
            if "net" in self.kinds:
                at = self.kinds.index("net")
                self._networks.append(((*parts[:at], *parts[at + 1 :]), parts[at], "nomatch" not in flags))
            else:
                self._exact.add(parts)

    def has(self, journey: Journey, sides: Sequence[str]) -> bool:
        """Whether the packet, looked at by `sides` (`dst,dst`), is in the set."""
        packet = journey.packet
        parts: list[str] = []
        for kind, side in zip(self.kinds, sides, strict=True):
            if kind == "port":
                number = packet.dport if side == "dst" else packet.sport
                parts.append(str(number) if len(self.kinds) == 1 else f"{packet.protocol}:{number}")
            else:
                parts.append(packet.dst if side == "dst" else packet.src)
        if "net" not in self.kinds:
            return tuple(parts) in self._exact
        at = self.kinds.index("net")
        rest, ip = (*parts[:at], *parts[at + 1 :]), address(parts[at])
        fitting = [(network(n).prefixlen, yes) for r, n, yes in self._networks if r == rest and ip in network(n)]
        return max(fitting)[1] if fitting else False
