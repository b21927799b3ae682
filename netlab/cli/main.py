"""The `netlab` command: its table of commands, and the one place where an error becomes a message and an exit status.

Exit statuses: 0 all well, 1 a check failed or an operation did, 2 the input is wrong, 3 this machine cannot do it;
130 and 141 as a shell reports them: interrupted, and the reader of our output went away.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import sys
from typing import Any, NoReturn

import click

from netlab import __version__
from netlab.base.errors import EXIT_FAILED, NetlabError
from netlab.cli import output
from netlab.cli.lazy import Entry, LazyGroup

EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 128 + 2, 128 + 13  # SIGINT, SIGPIPE

COMMANDS = {
    "lab": Entry("netlab.cli.lab:lab", "Build a lab, look inside it, break it, take it down."),
    "exercise": Entry("netlab.cli.exercise:exercise", "Exercises on a lab: start, hints, grading, solution."),
    "doctor": Entry("netlab.cli.doctor:doctor", "What this machine can do, and what brings the rest."),
    "flanneld": Entry("netlab.cli.flanneld:flanneld", "Be a node of a flannel network (what labs run in their nodes)."),
    "bgp": Entry("netlab.cli.bgp:bgp", "Look into a running bgpd: peers, routes, and why."),
    "bgpd": Entry("netlab.cli.bgpd:bgpd", "Run a BGP speaker in this network namespace."),
    "store": Entry("netlab.cli.store:store", "Look into an API server's store, save it, bring it back."),
    "rules": Entry("netlab.cli.rules:rules", "Services and policies as rules, and a packet's way through them."),
    "kubelet": Entry("netlab.cli.kubelet:kubelet", "Run the pods of a node."),
    "proxy": Entry("netlab.cli.proxy:proxy", "Serve Services on a node (what labs run in their nodes)."),
    "policy": Entry("netlab.cli.policy:policy", "Who reaches whom under NetworkPolicies, and which one decides."),
    "policyd": Entry("netlab.cli.policyd:policyd", "Hold NetworkPolicies on a node (what labs run in their nodes)."),
    "dns": Entry("netlab.cli.dns:dns", "Cluster DNS: serve it, or ask whom a name leads to."),
    "server": Entry("netlab.cli.server:server", "Be a cluster's control plane, which other machines can join."),
    "token": Entry("netlab.cli.server:token", "Print the command by which a machine joins this one's server."),
    "cluster": Entry("netlab.cli.cluster:cluster", "Kubernetes on this machine: nodes made of namespaces, real pods."),
    "agent": Entry("netlab.cli.agent:agent", "Be a node of a cluster: all of its parts in one process."),
    "apiserver": Entry("netlab.cli.apiserver:apiserver", "Serve the Kubernetes API alone."),
    "controllers": Entry("netlab.cli.server:controllers", "Run the controllers against an API server."),
    "scheduler": Entry("netlab.cli.server:scheduler", "Give pods their nodes, against an API server."),
    "kubeconfig": Entry("netlab.cli.server:kubeconfig", "Let a named user speak to a server."),
    "kubectl": Entry("netlab.cli.kubectl:kubectl", "Your kubectl, with a server of this machine."),
    "networkd": Entry("netlab.cli.networkd:networkd", "Make Network objects of the API real in this namespace."),
    "cni": Entry("netlab.cli.cni:cni", "Attach namespaces by CNI plugins, netlab's or anybody's."),
    "image": Entry("netlab.cli.image:image", "Images of containers: list, load, build, pull, remove."),
    "vm": Entry("netlab.cli.vm:vm", "Run a command on another kernel, in a VM over this machine's files."),
    "bench": Entry("netlab.cli.bench:bench", "Measure netlab beside the tools it is compared with."),
    "completion": Entry("netlab.cli.completion:completion", "Print the completion script of your shell."),
}


class Root(LazyGroup):
    """The root group. click itself answers its usage errors (status 2); everything else that can happen ends here."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # here, so that a reader who is gone is noticed here
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except NetlabError as e:
            report(e, as_json=output.json_mode(ctx))
            ctx.exit(e.exit_status)
        except KeyboardInterrupt:
            ctx.exit(EXIT_INTERRUPTED)
        except Exception as e:  # noqa: BLE001 - the last resort: a user is owed a sentence, not a traceback
            if isinstance(e, BrokenPipeError) and _reader_gone():
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                ctx.exit(EXIT_BROKEN_PIPE)
            surprise = NetlabError(
                f"unexpected {type(e).__name__}: {e}",
                hint="this is a bug in netlab: please report it, with what NETLAB_DEBUG=1 in the environment shows",
            )
            surprise.__cause__ = e
            report(surprise, as_json=output.json_mode(ctx))
            ctx.exit(EXIT_FAILED)
        return result


def report(error: NetlabError, *, as_json: bool) -> None:
    """Tell the user: `error: …` and the hint on stderr, or with --json the error's JSON on stdout."""
    if os.environ.get("NETLAB_DEBUG") == "1":
        import traceback

        traceback.print_exception(error, file=sys.stderr)
    if as_json:
        output.emit_json(error.as_json())
    else:
        click.echo(output.style("error:", "red", sys.stderr) + f" {error}", err=True)


def _reader_gone() -> bool:
    """Whether stdout is a pipe that nobody reads. Any other broken pipe is a fault like every fault."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
    except (OSError, ValueError):  # stdout is closed, or not a file
        return False


@click.group(
    cls=Root,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=output.examples(
        "netlab doctor                 # can this machine do it?",
        "netlab lab up docker0         # a Docker-style network, in namespaces",
        "netlab lab check docker0      # is it as it should be?",
        "netlab exercise list",
    ),
)
@click.version_option(__version__, prog_name="netlab")
def cli() -> None:
    """Container networking on one Linux machine: build it, look inside every hop, break it, mend it."""


def main() -> NoReturn:
    """The console script."""
    # most verbs end before there is garbage worth looking for, and looking early costs a twentieth of their time
    gc.set_threshold(50_000)
    status = EXIT_INTERRUPTED
    try:
        cli.main(prog_name="netlab")
    except KeyboardInterrupt:  # before a command runs
        pass
    except SystemExit as e:
        status = e.code if isinstance(e.code, int) else EXIT_FAILED if e.code else 0
    _leave(status)


def _leave(status: int) -> NoReturn:
    """End the process without taking every module apart first, which costs a verb a tenth of its time."""
    logging = sys.modules.get("logging")
    if logging is not None:
        logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # the reader went away, or it is closed
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
