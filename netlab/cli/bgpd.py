"""`netlab bgpd`: run a BGP speaker in this network namespace."""

from __future__ import annotations

from pathlib import Path

import click

from netlab.base.errors import InputError
from netlab.cli import output


def _address(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, int] | None:
    if value is None:
        return None
    host, colon, port = value.rpartition(":")
    if not colon or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(f"--metrics-address {value!r} is not HOST:PORT", hint="such as 127.0.0.1:9179 or [::1]:9179")
    return host.strip("[]"), int(port)


@click.command(
    epilog=output.examples(
        "ip netns exec lab.r1 netlab bgpd --config r1.yaml",
        "netlab bgpd --config r1.yaml --check                   # every mistake in it, and nothing else",
        "netlab bgpd --config r1.yaml --event-log r1.jsonl      # every message, as JSON lines",
        "netlab bgpd --config r1.yaml --metrics-address 127.0.0.1:9179",
        "kill -HUP PID                                          # read the file again; sessions go on",
        "kill -USR2 PID                                         # leave for a restart: routes stay",
    )
)
@click.option("--config", "config", type=click.Path(path_type=Path), required=True, help="YAML or JSON.")
@click.option("--socket", type=click.Path(path_type=Path), help="Control socket. [/run/netlab/bgp/NAME.sock]")
@click.option("--event-log", type=click.Path(path_type=Path), help="Append every message to this file, as JSON lines.")
@click.option("--metrics-address", metavar="HOST:PORT", callback=_address, help="Serve /healthz, /readyz, /metrics.")
@click.option("--this-machine", is_flag=True, help="Program the machine's own namespace, which is refused otherwise.")
@click.option("--check", is_flag=True, help="Look at the configuration and end.")
@output.json_option
def bgpd(
    config: Path,
    socket: Path | None,
    event_log: Path | None,
    metrics_address: tuple[str, int] | None,
    this_machine: bool,
    check: bool,
    as_json: bool,
) -> None:
    """Run a BGP speaker. It listens, connects and sets routes in the network namespace that it is started in."""
    if check:
        from netlab.bgp.config import load

        found = load(config)
        if as_json:
            output.emit_json({"name": found.name, "as": found.asn, "peers": [p.name for p in found.peers]})
        else:
            click.echo(f"{config}: AS {found.asn}, {len(found.peers)} peers, {len(found.networks)} networks")
        return
    from netlab.daemons import bgpd as daemon

    daemon.run(
        daemon.Options(
            config=config, socket=socket, event_log=event_log, metrics=metrics_address, this_machine=this_machine
        )
    )
