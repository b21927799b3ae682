"""`netlab dns lookup` out of manifests, and what is said to wrong words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from dnsworld import TEXT

from netlab.cli.main import cli


@pytest.fixture
def manifests(tmp_path: Path) -> str:
    file = tmp_path / "world.yaml"
    file.write_text(TEXT)
    return str(file)


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, ["dns", "lookup", *words])


def test_a_name_is_looked_for_as_a_pod_does(manifests: str, tmp_path: Path) -> None:
    conf = tmp_path / "resolv.conf"
    conf.write_text("nameserver 10.96.0.10\nsearch x.svc.cluster.local default.svc.cluster.local\noptions ndots:5\n")
    result = run("-f", manifests, "web-0.nginx", "--resolv-conf", str(conf))
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "web-0.nginx.x.svc.cluster.local A: NXDOMAIN",
        "web-0.nginx.x.svc.cluster.local AAAA: NXDOMAIN",
        "web-0.nginx.default.svc.cluster.local A: NOERROR",
        "  web-0.nginx.default.svc.cluster.local 5 A 10.244.0.30",
        "web-0.nginx.default.svc.cluster.local AAAA: no record of this type",
    ]


def test_an_address(manifests: str) -> None:
    result = run("-f", manifests, "10.96.0.5", "--json")
    (found,) = json.loads(result.output)
    assert found["answers"][0]["records"][0]["data"] == "hostnames.default.svc.cluster.local."


def test_an_alias_and_what_does_not_exist(manifests: str) -> None:
    result = run("-f", manifests, "my-service.default.svc.cluster.local", "cname")
    assert "CNAME my.database.example.com." in result.output
    gone = run("-f", manifests, "gone.default.svc.cluster.local", "A")
    assert (gone.exit_code, gone.output) == (1, "gone.default.svc.cluster.local A: NXDOMAIN\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("web", "NOTYPE", "-f", "MANIFESTS"), "'NOTYPE' is no type of record"),
        (("a..b", "-f", "MANIFESTS"), "is no name"),
        (("web",), "whom to ask?"),
        (("web", "--server", "10.0.0.1:x"), "is no port"),
        (("web", "--server", "nonsense"), "is not an IP address"),
        (("web", "-f", "MANIFESTS", "--zone", "-x-"), "is no name of the DNS"),
    ],
)
def test_wrong_words(manifests: str, words: tuple[str, ...], said: str) -> None:
    result = run(*(manifests if word == "MANIFESTS" else word for word in words))
    assert result.exit_code == 2
    assert said in result.output
