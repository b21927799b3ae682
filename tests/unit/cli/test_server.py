"""The verbs of a control plane: who may speak to it, and which kubectl with which configuration."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from netlab.cli.main import cli
from netlab.client.kubeconfig import load
from netlab.client.rest import ApiError, RestClient
from netlab.daemons import apiserver, controllers, server


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, args)


def test_named_users_and_the_controllers_of_one_process(tmp_path: Path) -> None:
    data, elsewhere = tmp_path / "data", tmp_path / "admin"

    async def test() -> None:
        options = apiserver.Options(data, store="memory", port=0, kubeconfig=elsewhere, controllers=True)
        running = await apiserver.serve(options)
        loops = server.controllers_of(running)
        working = asyncio.create_task(loops.run())
        try:
            async with asyncio.timeout(30):
                await loops.runner.ready.wait()
            assert (data / "admin.conf").read_bytes() == elsewhere.read_bytes()
            assert (data / "admin.conf").stat().st_mode & 0o777 == 0o600
            file = tmp_path / "jane.conf"
            done = await asyncio.to_thread(
                run, "kubeconfig", "jane", "--group", "dev", "--data-dir", str(data), "-o", str(file)
            )
            assert done.exit_code == 0, done.output
            jane = RestClient(load(file))
            review = await jane.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
            assert review["status"]["userInfo"] == {"username": "jane", "groups": ["dev", "system:authenticated"]}
            with pytest.raises(ApiError, match='User "jane" cannot list'):
                await jane.list("/api/v1/secrets")
            await jane.aclose()
            printed = await asyncio.to_thread(
                run, "kubeconfig", "joe", "--data-dir", str(data), "--server", "https://10.0.0.1:6443"
            )
            assert json.loads(printed.output)["clusters"][0]["cluster"]["server"] == "https://10.0.0.1:6443"
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            await running.aclose()

    asyncio.run(test())


def test_no_server_was_ever_here(tmp_path: Path) -> None:
    done = run("kubeconfig", "jane", "--data-dir", str(tmp_path))
    assert done.exit_code == 2 and "no data directory of an API server" in done.output
    done = run("kubectl", "--data-dir", str(tmp_path), "get", "pods")
    assert done.exit_code in (2, 3)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH without a kubectl, and a home without a configuration."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("NETLAB_DATA_DIR", raising=False)
    return folder


def program(path: Path) -> None:
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)


def test_without_kubectl_it_says_what_brings_it(programs: Path) -> None:
    done = run("kubectl", "get", "pods")
    assert done.exit_code == 3
    assert "kubectl is not installed" in done.output and "kubernetes.io/docs/tasks/tools" in done.output


def test_the_newest_kubectl_with_the_server_of_the_data_directory(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr("netlab.kernel.commands.become", lambda argv, env: started.append((argv, env)))
    for name in ("kubectl.1.9", "kubectl.1.33", "kubectl-1.27", "kubectl.old"):
        program(programs / name)
    newest = str(programs / "kubectl.1.33")
    done = run("kubectl", "get", "pods")
    assert done.exit_code == 2 and "nothing says which server to ask" in done.output
    data = tmp_path / "data"
    data.mkdir()
    (data / "admin.conf").write_text("{}")
    assert run("kubectl", "--data-dir", str(data), "get", "pods", "--help").exit_code == 0
    assert run("kubectl", "--data-dir", str(data), "get", "--kubeconfig=x").exit_code == 0
    monkeypatch.setenv("KUBECONFIG", "mine")
    assert run("kubectl", "version").exit_code == 0
    program(programs / "kubectl")
    monkeypatch.setenv("NETLAB_DATA_DIR", str(data))
    assert run("kubectl", "-n", "x", "get", "pods").exit_code == 0
    ours = {"KUBECONFIG": str(data / "admin.conf"), "KUBECACHEDIR": str(data / "kubectl-cache")}
    assert started == [
        ([newest, "get", "pods", "--help"], ours), ([newest, "get", "--kubeconfig=x"], {}), ([newest, "version"], {}),
        ([str(programs / "kubectl"), "-n", "x", "get", "pods"], ours),
    ]  # fmt: skip


def test_which_controllers_run(tmp_path: Path) -> None:
    everyone = {str(c.NAME) for c in controllers.CONTROLLERS}
    assert {str(c.NAME) for c in controllers.chosen("*, -job-controller")} == everyone - {"job-controller"}
    assert [str(c.NAME) for c in controllers.chosen("job-controller")] == ["job-controller"]
    done = run("server", "--data-dir", str(tmp_path), "--controllers", "*,-nobody")
    assert done.exit_code == 2 and "there is no controller nobody" in done.output and "job-controller" in done.output
