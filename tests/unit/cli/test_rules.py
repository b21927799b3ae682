"""`netlab rules` and `netlab policy`: what they print, exit statuses, errors with places. No root, no kernel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from oracle import worlds

from netlab.cli.main import cli

SERVICE: dict[str, Any] = {
    "apiVersion": "v1", "kind": "Service", "metadata": {"name": "hostnames", "namespace": "x"},
    "spec": {
        "type": "NodePort", "selector": {"app": "hostnames"}, "clusterIP": "10.0.1.175",
        "ports": [{"name": "default", "port": 80, "targetPort": "serve-80-tcp", "nodePort": 30080}],
    },
}  # fmt: skip
DENY: dict[str, Any] = {
    "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "deny-b", "namespace": "x"},
    "spec": {"podSelector": {"matchLabels": {"pod": "b"}}, "ingress": [{"from": [{"podSelector": {"matchLabels": {"pod": "c"}}}]}]},
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> str:
    pods = worlds.nine()
    for pod in pods:
        pod["metadata"]["labels"] |= {"app": "hostnames"}
    items = [worlds.node(n) for n in worlds.NODES] + worlds.namespaces() + pods + [SERVICE, DENY]
    (tmp_path / "all.json").write_text(json.dumps({"kind": "List", "items": items}))
    return str(tmp_path)


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words))


@pytest.mark.parametrize("mode", ["iptables", "ipvs", "nftables"])
def test_compile_prints_every_mode(folder: str, mode: str) -> None:
    done = run("rules", "compile", "-f", folder, "--node", "n1", "--mode", mode)
    assert done.exit_code == 0, done.output
    marks = {"iptables": "KUBE-SVC-", "ipvs": "ipvsadm", "nftables": "nft -f - <<'EOF'"}
    assert marks[mode] in done.output and "NETPOL-FORWARD" in done.output


def test_compile_why_and_json(folder: str) -> None:
    done = run("rules", "compile", "-f", folder, "--node", "n1", "--why", "--no-policies")
    assert "# Service x/hostnames port 80\niptables -t nat -A KUBE-NODEPORTS" in done.output
    assert "NETPOL" not in done.output
    found = json.loads(run("rules", "compile", "-f", folder, "--node", "n1", "--json").output)
    assert {item["type"] for item in found["items"]} >= {"Chain", "Sysctl"}


def test_walk_tells_every_rule_and_the_end(folder: str) -> None:
    done = run(
        "rules", "walk", "-f", folder, "--from", "x/a", "--to", "x/hostnames:default", "--choose", "1", "--choose", "1"
    )
    assert done.exit_code == 0, done.output
    assert "delivered to pod x/c" in done.output and "because of Service x/hostnames port 80" in done.output
    done = run("rules", "walk", "-f", folder, "--from", "x/a", "--to", "x/hostnames:80", "--all")
    assert done.exit_code == 1 and done.output.count("%") == 3
    assert "dropped on n2: Pod x/b: isolated for ingress by NetworkPolicy x/deny-b" in done.output


def test_walk_json_and_other_places(folder: str) -> None:
    words = ["rules", "walk", "-f", folder, "--from", "203.0.113.9@n2", "--to", "node:n2:30080", "--all", "--json"]
    outcomes = json.loads(run(*words).output)["outcomes"]
    assert {o["where"] for o in outcomes if o["verdict"] == "delivered"} == {"pod x/a", "pod x/c"}
    assert all(o["masqueraded"] for o in outcomes if o["verdict"] == "delivered")
    assert run("rules", "walk", "-f", folder, "--from", "node:n1", "--to", "pod/y/a:80").exit_code == 0
    assert run("rules", "walk", "-f", folder, "--from", "y/a", "--to", "pod/x/b:80", "--established").exit_code == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--from", "x/aa", "--to", "x/hostnames:80"), "did you mean 'x/a'"),
        (("--from", "x/a", "--to", "x/hostname:80"), "did you mean 'x/hostnames'"),
        (("--from", "x/a", "--to", "x/hostnames"), "has no port"),
        (("--from", "x/a", "--to", "x/hostnames:http"), "it has default"),
        (("--from", "node:n9", "--to", "x/hostnames:80"), "n9"),
        (("--from", "x/a", "--to", "x/hostnames:80", "--cluster-cidr", "10/x"), "--cluster-cidr"),
        (("--from", "x/a", "--to", "x/hostnames:80", "--choose", "7"), "--choose"),
    ],
)
def test_wrong_input_is_told_with_what_to_do(folder: str, words: tuple[str, ...], told: str) -> None:
    done = run("rules", "walk", "-f", folder, *words)
    assert done.exit_code == 2 and told in done.output, done.output


def test_bad_manifests_name_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: Service\nmetadata: {name: X}\nspec:\n  ports: [{port: 0}]\n")
    (tmp_path / "b.yaml").write_text("a: [\n")
    done = run("rules", "compile", "-f", str(tmp_path), "--node", "n1")
    assert done.exit_code == 2 and "b.yaml:" in done.output
    (tmp_path / "b.yaml").unlink()
    done = run("rules", "compile", "-f", str(tmp_path), "--node", "n1", "--json")
    assert done.exit_code == 2 and {p["place"] for p in json.loads(done.output)["problems"]} == {
        f"{tmp_path}/a.yaml:2", f"{tmp_path}/a.yaml:4",
    }  # fmt: skip


def test_matrix(folder: str) -> None:
    done = run("policy", "matrix", "-f", folder, "--port", "80", "--outside", "203.0.113.9")
    lines = {line.split()[0]: line.split()[1:] for line in done.output.splitlines() if line and "/" in line.split()[0]}
    assert lines["y/a"] == [".", "x", ".", ".", ".", ".", ".", ".", "."] and "x" not in lines["x/c"]
    found = json.loads(run("policy", "matrix", "-f", folder, "--port", "80/udp", "--json").output)
    assert ["y/a", "x/b"] in found["ports"][0]["denied"] and len(found["ports"][0]["denied"]) == 7


def test_matrix_explains(folder: str) -> None:
    done = run("policy", "matrix", "-f", folder, "--port", "80", "--explain", "y/a", "x/b")
    assert "may not" in done.output and "NetworkPolicy x/deny-b" in done.output
    done = run("policy", "matrix", "-f", folder, "--port", "80", "--explain", "x/c", "x/b")
    assert "allowed by NetworkPolicy x/deny-b ingress[0]" in done.output
    found = json.loads(run("policy", "matrix", "-f", folder, "--explain", "x/c", "x/a", "--json").output)
    assert found["ports"][0] == {
        "port": 80,
        "protocol": "tcp",
        "verdict": "delivered",
        "allowed_by": [],
        "denied_by": None,
    }


def test_matrix_wrong_port(folder: str) -> None:
    assert run("policy", "matrix", "-f", folder, "--port", "80/icmp").exit_code == 2
