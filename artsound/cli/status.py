"""`artsound status`: how far a build is, asked from another terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from artsound.cli.app import Json, app, print_summary
from artsound.console import human_seconds

if TYPE_CHECKING:
    from rich.console import RenderableType

    from artsound.status import Status

_PAUSE = 2.0  # seconds between two looks


@app.command(epilog="Example: artsound status out --watch")
def status(
    out: Annotated[Path, typer.Argument(help="The folder that a build was given as --out.")],
    watch: Annotated[bool, typer.Option("--watch", help="Look again until it has ended.")] = False,
    as_json: Json = False,
) -> None:
    """Tell how far a running or stopped build is, who runs it, and what to do next."""
    from artsound.status import read_status
    from artsound.storage import Workspace

    workspace = Workspace(out)
    first = read_status(workspace)
    last = _show(first, again=(lambda: read_status(workspace)) if watch else None)
    print_summary(as_json, last)


def _show(status: Status, again: Callable[[], Status] | None = None) -> Status:
    """Print how far a build is; with `again`, anew every two seconds for as long as it runs.

    Without a terminal, that is once, when it no longer runs. Returns the last status.
    """
    from rich.console import Console
    from rich.live import Live

    console = Console(width=100 if not sys.stdout.isatty() else None, highlight=False)
    if again is not None:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            while status.state == "running":
                if console.is_terminal:
                    live.update(_status_view(status), refresh=True)
                time.sleep(_PAUSE)
                status = again()
    console.print(_status_view(status))
    return status


def _status_view(status: Status) -> RenderableType:
    """A sentence on the whole, a row for each stage, and what to do next."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("stage", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for column in ("parts", "in", "out", "filtered", "failed", "items/s", "left"):
        table.add_column(column, justify="right", no_wrap=True)
    for stage in status.stages:
        known = stage.parts > 0
        counts = (stage.items_in, stage.items_out, stage.filtered, stage.failed)
        table.add_row(
            stage.stage,
            Text(stage.state, style=_STYLES.get(stage.state, "")),
            f"{stage.parts_done:,}/{stage.parts:,}" if known else "",
            *(f"{count:,}" if known else "" for count in counts),
            f"{stage.rate:,.0f}" if stage.rate >= 0.5 else "",
            human_seconds(stage.seconds_left) if stage.seconds_left is not None else "",
        )
    return Group(Text(_sentence(status)), table, Text(f"Next: {status.next}"))


_STYLES = {"running": "bold", "merging": "bold", "preparing": "bold", "done": "green"}
_STYLES |= {"failed": "bold red", "stopped": "yellow"}


def _sentence(status: Status) -> str:
    """Who works there since when, or how it ended, and when something was last written."""
    holder = status.holder
    wrote = f"Last written {human_seconds(max(0.0, status.asked - status.wrote))} ago."
    by = f" by process {holder.pid} on {holder.host} ({holder.command})" if holder else ""
    since = human_seconds(max(0.0, status.asked - holder.started)) if holder else ""
    match status.state:
        case "running":
            told = f"running for {since}{by}."
        case "unknown":
            told = f"begun {since} ago{by}: ask there whether it still runs."
        case "failed":
            told = f"failed: {status.error}"
        case "stopped":
            told = "stopped before its end; the same command continues it."
        case "unfinished":
            left = [stage.stage for stage in status.stages if stage.state != "done"]
            told = f"not running; still to do: {', '.join(left)}."
        case _:
            told = "done."
    return f"{status.out}: {told} {wrote}"
