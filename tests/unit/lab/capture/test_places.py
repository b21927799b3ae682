import pytest

from netlab.base.errors import InputError
from netlab.lab.capture.packet import Place
from netlab.lab.capture.places import select

DEVICES = {"node1": ["lo", "eth0", "vetha1", "vethb2"], "node2": ["lo", "eth0"]}


def test_a_place_prints_and_parses_as_node_and_device() -> None:
    assert str(Place("nginx-1", "eth0")) == "nginx-1:eth0"
    assert Place.parse("nginx-1:eth0") == Place("nginx-1", "eth0")
    assert Place.parse("eth0") == Place("", "eth0")
    assert str(Place("", "eth0")) == "eth0"


@pytest.mark.parametrize(
    ("patterns", "places"),
    [
        (["node1:veth*"], ["node1:vetha1", "node1:vethb2"]),
        (["*:eth0"], ["node1:eth0", "node2:eth0"]),
        (["node2"], ["node2:lo", "node2:eth0"]),
        (["node2:eth0", "node*:eth0"], ["node2:eth0", "node1:eth0"]),
    ],
)
def test_patterns_select_each_place_once(patterns: list[str], places: list[str]) -> None:
    assert [str(place) for place in select(patterns, DEVICES)] == places


def test_every_bad_pattern_is_reported_with_what_there_is_and_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        select(["nod1:eth0", "node1:ethO", "node2:eth0"], DEVICES)
    node, device = caught.value.problems
    assert node.place == "nod1:eth0"
    assert "nodes: node1, node2" in node.message and node.hint == "did you mean 'node1'?"
    assert "eth0, lo, vetha1, vethb2" in device.message and device.hint == "did you mean 'eth0'?"


def test_a_lab_without_nodes_says_so() -> None:
    with pytest.raises(InputError, match="there are no nodes"):
        select(["*"], {})
