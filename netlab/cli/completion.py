"""`netlab completion`: the script that makes a shell complete netlab's commands, options and lab names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from netlab.cli.output import examples

SHELLS = ("bash", "zsh", "fish")


@click.command(
    epilog=examples(
        "netlab completion bash > /etc/bash_completion.d/netlab",
        'netlab completion bash > ~/.netlab.bash; echo ". ~/.netlab.bash" >> ~/.bashrc',
        'netlab completion zsh  > ~/.netlab.zsh;  echo ". ~/.netlab.zsh" >> ~/.zshrc',
        "netlab completion fish > ~/.config/fish/completions/netlab.fish",
    )
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of SHELL: bash (4.4 or later), zsh or fish."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"click has no completion for {shell}")
    click.echo(kind(ctx.find_root().command, {}, "netlab", "_NETLAB_COMPLETE").source())
