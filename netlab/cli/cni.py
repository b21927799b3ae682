"""`netlab cni …`: attach namespaces to networks by CNI plugins, netlab's own or anybody else's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from netlab.base.errors import InputError
from netlab.cli import output

if TYPE_CHECKING:
    from netlab.cni.config import Attachment, NetworkList
    from netlab.cni.runner import Runner

Command = TypeVar("Command", bound=Callable[..., Any])

NET_D = Path("/etc/cni/net.d")


@click.group(
    epilog=output.examples(
        "netlab cni install /opt/cni/bin                      # netlab's plugins, for any runtime",
        "netlab cni add pods.conflist web /run/netns/web      # as a runtime would, with eth0",
        "netlab cni check pods.conflist web /run/netns/web",
        "netlab cni del pods.conflist web /run/netns/web",
    )
)
def cni() -> None:
    """Container Network Interface: call plugins as a runtime does, and install netlab's own."""


def _network(command: Command) -> Command:
    """The options of every verb that calls plugins."""
    for option in (
        click.argument("config", type=click.Path(path_type=Path, exists=True)),
        click.option("--path", "search", metavar="DIR:DIR", help="Where to look. [/opt/cni/bin:/usr/lib/cni]"),
        click.option(
            "--external",
            is_flag=True,
            help="Call netlab's plugins, too, as executables of --path.",
        ),
        click.option(
            "--root",
            type=click.Path(path_type=Path, file_okay=False),
            default=Path("/"),
            help="Where var/lib/cni is.",
        ),
        output.json_option,
    ):
        command = option(command)
    return command


def _attachment(command: Command) -> Command:
    """The options of the verbs about one interface."""
    for option in (
        click.argument("netns", required=False, default=""),
        click.argument("container"),
        click.option("--ifname", default="eth0", show_default=True, help="The interface in the container."),
        click.option("--arg", "args", multiple=True, metavar="KEY=VALUE", help="CNI_ARGS; may be repeated."),
        click.option("--capabilities", metavar="JSON", default="{}", help="What the runtime says by capabilities."),
    ):
        command = option(command)
    return _network(command)


def _open(config: Path, search: str | None, external: bool, root: Path) -> tuple[Runner, NetworkList]:
    from netlab.cni.config import load
    from netlab.daemons import cni as daemon

    directories = tuple(filter(None, search.split(":"))) if search else daemon.SEARCH
    return daemon.runner(root=root, search=directories, own=not external), load(config)


def _one(container: str, netns: str, ifname: str, args: tuple[str, ...], capabilities: str) -> Attachment:
    from netlab.cni.config import Attachment, decode
    from netlab.cni.protocol import arguments

    given = decode(capabilities, "--capabilities")
    if not isinstance(given, dict):
        raise InputError(f"--capabilities {capabilities!r} is no object", hint='such as \'{"ips": ["10.1.0.9"]}\'')
    return Attachment(
        container_id=container, netns=netns, ifname=ifname, args=arguments(";".join(args)), capabilities=given
    )


def _told(as_json: bool, done: str, document: object = None) -> None:
    if as_json:
        output.emit_json(document if document is not None else {"done": done})
    else:
        click.echo(done)


@cni.command(
    epilog=output.examples(
        "netlab cni add pods.conflist web /run/netns/web",
        "netlab cni add pods.conflist web /run/netns/web --arg K8S_POD_NAME=web --arg K8S_POD_NAMESPACE=default",
        """netlab cni add pods.conflist web /run/netns/web \\
              --capabilities '{"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}'""",
    )
)
@_attachment
def add(
    config: Path, container: str, netns: str, ifname: str, args: tuple[str, ...], capabilities: str,
    search: str | None, external: bool, root: Path, as_json: bool,
) -> None:  # fmt: skip
    """Attach the namespace at the path NETNS to the network of CONFIG, as CONTAINER."""
    runner, network = _open(config, search, external, root)
    result = runner.add(network, _one(container, netns, ifname, args, capabilities))
    addresses = ", ".join(str(ip.address) for ip in result.ips)
    _told(as_json, f"{container}: {ifname} {addresses}", result.as_document(network.version))


@cni.command("del", epilog=output.examples("netlab cni del pods.conflist web /run/netns/web"))
@_attachment
def delete(
    config: Path, container: str, netns: str, ifname: str, args: tuple[str, ...], capabilities: str,
    search: str | None, external: bool, root: Path, as_json: bool,
) -> None:  # fmt: skip
    """Detach CONTAINER. Nothing to detach is no error, and the namespace may be gone."""
    runner, network = _open(config, search, external, root)
    runner.delete(network, _one(container, netns, ifname, args, capabilities))
    _told(as_json, f"{container}: {ifname} is gone")


@cni.command(epilog=output.examples("netlab cni check pods.conflist web /run/netns/web"))
@_attachment
def check(
    config: Path, container: str, netns: str, ifname: str, args: tuple[str, ...], capabilities: str,
    search: str | None, external: bool, root: Path, as_json: bool,
) -> None:  # fmt: skip
    """Say whether CONTAINER is attached as it was."""
    runner, network = _open(config, search, external, root)
    runner.check(network, _one(container, netns, ifname, args, capabilities))
    _told(as_json, f"{container}: {ifname} is as it was made")


@cni.command(epilog=output.examples("netlab cni status pods.conflist"))
@_network
def status(config: Path, search: str | None, external: bool, root: Path, as_json: bool) -> None:
    """Say whether the network takes containers now."""
    runner, network = _open(config, search, external, root)
    runner.status(network)
    _told(as_json, f"{network.name}: ready")


@cni.command(epilog=output.examples("netlab cni gc pods.conflist --keep web:eth0 --keep db:eth0"))
@_network
@click.option("--keep", multiple=True, metavar="CONTAINER:IFNAME", help="What may stay; may be repeated.")
def gc(
    config: Path, search: str | None, external: bool, root: Path, keep: tuple[str, ...], as_json: bool
) -> None:  # fmt: skip
    """Take away what is of no container that --keep names."""
    runner, network = _open(config, search, external, root)
    pairs = [text.partition(":") for text in keep]
    runner.gc(network, {(container, ifname or "eth0") for container, _, ifname in pairs})
    _told(as_json, f"{network.name}: {len(pairs)} kept")


@cni.command("list", epilog=output.examples("netlab cni list", "netlab cni list --json"))
@click.option(
    "--root", type=click.Path(path_type=Path, file_okay=False), default=Path("/"), help="Where var/lib/cni is."
)
@output.json_option
def list_(root: Path, as_json: bool) -> None:
    """List what is attached, by whichever runtime that caches results as libcni does."""
    from netlab.daemons import cni as daemon

    rows = [
        {
            "network": network, "container": a.container_id, "interface": a.ifname, "netns": a.netns,
            "addresses": [str(ip.address) for ip in result.ips] if result else [],
        }
        for network, a, result in daemon.runner(root=root).cached()
    ]  # fmt: skip
    if as_json:
        output.emit_json(rows)
        return
    columns = ("network", "container", "interface", "addresses")
    output.table(columns, [[r["network"], r["container"], r["interface"], ", ".join(r["addresses"])] for r in rows])


@cni.command(
    epilog=output.examples(
        "netlab cni install /opt/cni/bin",
        "netlab cni install /opt/cni/bin --prefix netlab-     # beside plugins of the same names",
    )
)
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--prefix", default="", help="Put in front of every name.")
@output.json_option
def install(directory: Path, prefix: str, as_json: bool) -> None:
    """Put netlab's plugins into DIRECTORY, where a runtime looks for executables."""
    from netlab.daemons import cni as daemon

    made = daemon.install(directory, prefix=prefix)
    _told(as_json, "\n".join(str(path) for path in made), [str(path) for path in made])
