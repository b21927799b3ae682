"""Pictures of labs: whole outputs against tests/golden/graph, and what must hold of every one."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from netlab.lab.graph import Cable, Graph, picture
from netlab.lab.graph.dot import dot
from netlab.lab.graph.mermaid import mermaid
from netlab.lab.graph.text import text
from netlab.lab.labfile import Lab

ROOT = Path(__file__).parents[3]
LABS = {
    "docker0": ROOT / "labs" / "docker0" / "lab.yaml",
    "odd": ROOT / "tests" / "golden" / "graph" / "odd.yaml",
}
WRITERS = {"txt": text, "mmd": mermaid, "dot": dot}


def graph(name: str, broken: tuple[tuple[str, str], ...] = ()) -> Graph:
    return picture(Lab(LABS[name]).topology, broken=broken)


@pytest.mark.parametrize("lab", LABS)
@pytest.mark.parametrize("suffix", WRITERS)
def test_golden(lab: str, suffix: str, golden: Callable[[str, str], None]) -> None:
    golden(f"graph/{lab}.{suffix}", WRITERS[suffix](graph(lab)))


def test_guests_are_inside_whom_they_share_with() -> None:
    boxes = {box.name: box for box in graph("docker0").all_boxes()}
    assert [box.name for box in graph("docker0").boxes] == ["lan", "node1", "node2", "outside"]
    assert [box.name for box in boxes["node1"].inside] == ["nginx-1", "nginx-2", "nginx-host"]
    assert [box.name for box in boxes["nginx-2"].guests] == ["debug"]
    assert boxes["nginx-1"].published == ("8080 → 80/tcp",)


def test_every_cable_is_drawn_once_with_what_it_does_to_packets() -> None:
    assert graph("odd").cables[1] == Cable(a=("r1", "eth1"), b=("r2", "eth1"), impaired="r1:eth1 1 Mbit/s")
    ends = [end for cable in graph("docker0").cables for end in (cable.a, cable.b)]
    assert len(ends) == len(set(ends)) == 12


def test_what_is_broken_is_marked_in_every_language() -> None:
    drawn = graph("docker0", (("node1", "docker0"), ("node1", "vethea91a87")))
    whole = {name: write(drawn) for name, write in WRITERS.items()}
    assert whole["txt"].count("[not as it should be]") == 2
    assert ":::broken" in whole["mmd"] and "-.-|" in whole["mmd"]
    assert "#c0392b" in whole["dot"] and "#c0392b" not in dot(graph("docker0"))


@pytest.mark.parametrize("lab", LABS)
def test_frames_are_straight(lab: str) -> None:
    for block in text(graph(lab)).split("\n\n")[1:]:
        assert len({len(line) for line in block.strip("\n").split("\n")}) == 1


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs dot (apt-get install graphviz)")
@pytest.mark.parametrize("lab", LABS)
def test_graphviz_takes_it_without_a_word(lab: str) -> None:
    done = subprocess.run(["dot", "-Tsvg"], input=dot(graph(lab)), capture_output=True, text=True, check=True)
    words = " ".join("".join(ElementTree.fromstring(done.stdout).itertext()).split())
    assert done.stderr == ""
    assert all(port.name in words for box in graph(lab).all_boxes() if box.role != "network" for port in box.ports)
