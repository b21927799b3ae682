"""Chains as iptables commands, and as blocks for iptables-restore."""

from hypothesis import given
from hypothesis import strategies as st

from netlab.model import Chain, HostState, IptablesRule
from netlab.model.diff import Change, Create, Delete, diff
from netlab.model.explain import commands
from netlab.model.restore import edits, restore_blocks


def chain(name: str, *rules: str, table: str = "filter", family: int = 4, why: str = "", **fields: object) -> Chain:
    made = tuple(IptablesRule.of(rule, why=f"rule {i}") for i, rule in enumerate(rules))
    return Chain(family=family, table=table, name=name, rules=made, why=why, **fields)  # type: ignore[arg-type]


OLD = HostState.of(
    [
        chain("MINE", "-s 10.0.0.0/8 -j ACCEPT", "-j RETURN"),
        chain("GONE", "-j MINE"),
        chain("FORWARD", "-i a -j MINE", "-i b -j GONE", policy="DROP"),
    ]
)
NEW = HostState.of(
    [
        chain("MINE", '-m comment --comment "it\'s mine" -j OTHER', "-j RETURN", why="policy default/mine"),
        chain("OTHER"),
        chain("FORWARD", "-i c -j OTHER", "-i a -j MINE", policy="DROP"),
        chain("POSTROUTING", "-s fd00::/64 -j MASQUERADE", table="nat", family=6),
    ]
)


def test_created_in_lines() -> None:
    lines = commands(diff(HostState(), OLD))
    assert [(line.shell(), line.why) for line in lines] == [
        ("iptables -N GONE", ""),
        ("iptables -N MINE", ""),
        ("iptables -A GONE -j MINE", "rule 0"),
        ("iptables -A MINE -s 10.0.0.0/8 -j ACCEPT", "rule 0"),
        ("iptables -A MINE -j RETURN", "rule 1"),
        ("iptables -P FORWARD DROP", ""),
        ("iptables -A FORWARD -i a -j MINE", "rule 0"),
        ("iptables -A FORWARD -i b -j GONE", "rule 1"),
    ]


def test_changed_in_lines() -> None:
    assert [line.shell() for line in commands(diff(OLD, NEW))] == [
        "iptables -N OTHER",
        "iptables -D MINE -s 10.0.0.0/8 -j ACCEPT",
        "iptables -I MINE 1 -m comment --comment 'it'\"'\"'s mine' -j OTHER",
        "iptables -D FORWARD -i b -j GONE",
        "iptables -I FORWARD 1 -i c -j OTHER",
        "iptables -F GONE",
        "iptables -X GONE",
        "ip6tables -t nat -A POSTROUTING -s fd00::/64 -j MASQUERADE",
    ]


def test_changed_in_blocks() -> None:
    assert restore_blocks(diff(OLD, NEW)) == {
        (4, "filter"): (
            "*filter\n"
            ":GONE - [0:0]\n"
            ":MINE - [0:0]\n"
            ":OTHER - [0:0]\n"
            '-A MINE -m comment --comment "it\'s mine" -j OTHER\n'
            "-A MINE -j RETURN\n"
            "-D FORWARD -i b -j GONE\n"
            "-I FORWARD 1 -i c -j OTHER\n"
            "-X GONE\n"
            "COMMIT\n"
        ),
        (6, "nat"): "*nat\n-A POSTROUTING -s fd00::/64 -j MASQUERADE\nCOMMIT\n",
    }
    typed = commands(diff(OLD, NEW), style="restore")
    assert [(line.argv, line.why) for line in typed] == [
        (("iptables-restore", "--noflush", "-w"), "policy default/mine"),
        (("ip6tables-restore", "--noflush", "-w"), ""),
    ]
    assert [line.stdin for line in typed] == list(restore_blocks(diff(OLD, NEW)).values())


def test_removed() -> None:
    blocks = restore_blocks(diff(NEW, HostState()))
    assert blocks[4, "filter"] == (
        "*filter\n:MINE - [0:0]\n:OTHER - [0:0]\n-P FORWARD ACCEPT\n"
        "-D FORWARD -i a -j MINE\n-D FORWARD -i c -j OTHER\n-X MINE\n-X OTHER\nCOMMIT\n"
    )


def test_operations_by_hand_on_a_built_in_chain() -> None:
    forward = chain("FORWARD", "-j ACCEPT", policy="DROP")
    assert [line.shell() for line in commands([Create(forward)])] == [
        "iptables -P FORWARD DROP",
        "iptables -A FORWARD -j ACCEPT",
    ]
    assert [line.shell() for line in commands([Delete(forward)])] == ["iptables -D FORWARD -j ACCEPT"]
    assert commands([Change(forward, forward)]) == []


def test_doubles_are_deleted_by_number() -> None:
    a, b = IptablesRule.of("-j A"), IptablesRule.of("-j B")
    assert [edit.words for edit in edits("X", (a, b, a), (a, b))] == [("-D", "X", "3")]
    assert [edit.words for edit in edits("X", (a, b, a), (b, a))] == [("-D", "X", "-j", "A")]


RULES = st.lists(st.sampled_from([IptablesRule.of(f"-j {name}") for name in "ABCD"]), max_size=7)


@given(RULES, RULES)
def test_edits_lead_from_one_list_to_the_other(old: list[IptablesRule], new: list[IptablesRule]) -> None:
    now = list(old)
    for edit in edits("X", old, new):
        match edit.words:
            case ("-D", "X", number) if number.isdigit():
                now.pop(int(number) - 1)
            case ("-D", "X", *args):
                now.remove(IptablesRule(tuple(args)))
            case ("-A", "X", *args):
                now.append(IptablesRule(tuple(args)))
            case ("-I", "X", number, *args):
                now.insert(int(number) - 1, IptablesRule(tuple(args)))
    assert now == new
    assert len(edits("X", old, new)) <= len(old) + len(new)
