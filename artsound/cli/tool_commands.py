"""`artsound plugins` lists what can be named; `artsound completion` teaches a shell."""

import itertools
import shutil
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
        str,
        typer.Argument(
            help="source, encoder, captioner, bridge, preset, family or metric; all by default."
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """List sources, encoders, bridges and all other plug-ins, built-in and of other packages."""
    from artsound.plugins import KINDS, listed

    found = [line for one in ([kind] if kind else KINDS) for line in listed(one)]
    _show(found)
    print_summary(as_json, [asdict(line) for line in found])


def _show(found: "list[PluginLine]") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from artsound.progress import plural

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("name", no_wrap=True)
    table.add_column("origin", overflow="fold")
    table.add_column("what it does \\[extra]", overflow="fold", ratio=1)
    for kind, lines in itertools.groupby(found, key=lambda line: line.kind):
        table.add_row(Text(plural(kind), "bold"))
        for line in lines:
            about = Text(line.summary + (f" [{line.extra}]" if line.extra else ""))
            if line.shadowed:
                text = f"Shadowed by the built-in {line.name}: write {line.reference}."
                about = Text(text, "yellow")
            if line.error:
                about = Text(line.error, "red")
            table.add_row(f"  {line.name}", line.origin, about)
        table.add_section()
    width = shutil.get_terminal_size((100, 24)).columns
    Console(width=width, highlight=False).print(table)


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
