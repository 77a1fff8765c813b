"""The command that teaches a shell the commands and options of `artsound`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from artsound.cli.app import app


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
