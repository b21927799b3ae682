"""The kubectl of this machine: which it is, and what it says. It fetches nothing."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from netlab.base.errors import MachineError

_VERSIONED = re.compile(r"kubectl[.-]v?1\.(\d+)(\.\d+)?")


def find() -> Path | None:
    """kubectl on the PATH, or the newest of those that have a version in their name (`kubectl.1.33`)."""
    plain = shutil.which("kubectl")
    if plain is not None:
        return Path(plain)
    found = []
    for folder in map(Path, os.environ.get("PATH", "").split(os.pathsep)):
        for file in folder.glob("kubectl[.-]*") if folder.is_dir() else ():
            match = _VERSIONED.fullmatch(file.name)
            if match is not None and os.access(file, os.X_OK):
                found.append((int(match[1]), file))
    return max(found, default=(0, None), key=lambda f: f[0])[1]


def missing() -> MachineError:
    """What to say where there is none."""
    return MachineError(
        "kubectl is not installed",
        hint="any from 1.27 on will do: apt-get install kubernetes-client (Debian 13), snap install kubectl --classic "
        "(Ubuntu), or the one file of kubernetes.io/docs/tasks/tools in /usr/local/bin",
    )


def environment(folder: Path) -> dict[str, str]:
    """Variables for the server whose administrator's kubeconfig is in a folder."""
    # kubectl remembers by the server's address what kinds there are: of a server made anew that would be wrong
    return {"KUBECONFIG": str(folder / "admin.conf"), "KUBECACHEDIR": str(folder / "kubectl-cache")}


def said(words: Sequence[str], *, environ: dict[str, str], timeout: float) -> tuple[int, str]:
    """Run it: its status, and all that it printed, errors last. MachineError if there is none; KernelError if it is not
    done in `timeout` seconds."""
    from netlab.kernel import commands

    program = find()
    if program is None:
        raise missing()
    done = commands.run_in(None, [str(program), *words], env=environ, timeout=timeout)
    return done.returncode, done.stdout + done.stderr
