"""`artsound plugins` lists what can be named; `artsound completion` teaches a shell."""

from __future__ import annotations

import sys
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from artsound.cli.app import Json, app, print_summary

if TYPE_CHECKING:
    from artsound.plugins import PluginLine


@app.command(epilog="Example: artsound plugins captioner")
def plugins(
    kind: Annotated[
        str, typer.Argument(help="source, encoder, captioner, bridge or preset; all by default.")
    ] = "",
    as_json: Json = False,
) -> None:
    """List sources, encoders, captioners, bridges and presets, built-in and of other packages."""
    from artsound.plugins import KINDS, listed

    found = [line for one in ([kind] if kind else KINDS) for line in listed(one)]
    _show(found)
    print_summary(as_json, [asdict(line) for line in found])


def _show(found: list[PluginLine]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=100 if not sys.stdout.isatty() else None, highlight=False)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("kind", "name", "origin", "extra"):
        table.add_column(column, overflow="fold")
    table.add_column("what it does", overflow="fold", ratio=1)
    for line in found:
        about = Text(line.summary)
        if line.shadowed:
            about = Text(f"Shadowed by the built-in {line.name}: write {line.reference}.", "yellow")
        if line.error:
            about = Text(line.error, "red")
        table.add_row(line.kind, line.name, line.origin, line.extra, about)
    console.print(table)


class Shell(StrEnum):
    """A shell that can complete what is being typed."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


@app.command(
    epilog="Example: artsound completion bash > ~/.local/share/bash-completion/completions/artsound"
)
def completion(shell: Annotated[Shell, typer.Argument(help="bash, zsh or fish.")]) -> None:
    """Print the script by which a shell completes commands and options."""
    from typer.completion import get_completion_script

    print(
        get_completion_script(
            prog_name="artsound", complete_var="_ARTSOUND_COMPLETE", shell=shell.value
        )
    )
