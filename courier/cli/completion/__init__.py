"""``courier completion``: the script with which a shell completes commands, options and their values.

A script knows the options of the version that wrote it and starts no program, so that Tab answers at once.
"""

from __future__ import annotations

from typing import Final

import click

from courier.cli.completion.grammar import read_grammar

SHELLS: Final = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> int:
    """Print the script with which SHELL completes commands, options and values.

    For this user: courier completion bash >~/.local/share/bash-completion/completions/courier, courier completion zsh
    >~/.zfunc/_courier (with ~/.zfunc in fpath), courier completion fish >~/.config/fish/completions/courier.fish.
    """
    program = ctx.find_root().command
    assert isinstance(program, click.Group)
    click.echo(completion_script(program, shell), nl=False)
    return 0


def completion_script(program: click.Group, shell: str) -> str:
    """Return the script of one of SHELLS for a program."""
    from courier.cli.completion import bash, fish, zsh

    written = {"bash": bash.script, "zsh": zsh.script, "fish": fish.script}[shell]
    return written(read_grammar(program))
