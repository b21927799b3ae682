"""The matrix on a cluster by the commands that a person types, up and down with it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

from patience import patience

#: rows of the matrix; each must have been asked
KINDS = {"pod-pod", "pod-node", "pod-Service", "node-Service", "outside-NodePort", "hairpin", "DNS", "MTU"}
#: every network with whether it carries both families
NETWORKS = {"flannel-vxlan": True, "flannel-udp": False, "flannel-host-gw": True, "calico": True}


def netlab(*words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "netlab.cli.main", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=patience(600))


def holds(name: str, place: Path, *, network: str, proxy: str, ipv6: bool) -> None:
    """Two nodes with this network and proxy, of which every cell of the matrix is true."""
    both = ["--ipv6"] if ipv6 else []
    where = ["--disk", str(place / "disk"), "--images", str(place / "images")]
    try:
        up = netlab("cluster", "up", name, "--nodes", "2", "--network", network, "--proxy", proxy, *both, *where)
        assert up.returncode == 0, up.stderr
        done = netlab("cluster", "check", name, "--json")
        assert done.returncode in (0, 1), done.stderr
        cells = json.loads(done.stdout)
        assert [cell for cell in cells if cell["outcome"] != "passed"] == []
        families = {4, 6} if ipv6 else {4}
        assert set(Counter((cell["kind"], cell["family"]) for cell in cells)) == {
            (kind, family) for kind in KINDS for family in families
        }
    finally:
        down = netlab("cluster", "down", name)
    assert down.returncode == 0, down.stderr
