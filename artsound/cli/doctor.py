"""`artsound doctor`: whether this machine can run a build, and what to do where it cannot."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from artsound.cli.app import ArtGraph, Fma, Json, Limit, RecipeFile, app, print_summary

if TYPE_CHECKING:
    from artsound.checks import Check, State

_STYLES = {"ok": "green", "warning": "yellow", "missing": "bold red"}


@app.command(epilog="Example: artsound doctor --artgraph sample --fma sample --out out")
def doctor(
    out: Annotated[Path, typer.Option(help="Where a build is to lie.")] = Path("out"),
    artgraph: ArtGraph = "",
    fma: Fma = "",
    recipe: RecipeFile = "",
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Look at packages, machine, disk, checkpoints and servers; exit 1 when a build cannot run."""
    checks = _checks(out, recipe, {"artgraph": artgraph, "fma": fma, "limit": limit})
    missing = sum(check.state == "missing" for check in checks)
    _show(checks)
    print(f"Missing: {missing}. A build cannot run." if missing else "A build can run.")
    print_summary(as_json, {"missing": missing, "checks": [asdict(check) for check in checks]})
    if missing:
        raise SystemExit(1)


def _checks(out: Path, recipe: str, sources: dict[str, Any]) -> list[Check]:
    try:
        from artsound.doctor import examine
        from artsound.recipe import Recipe, bundled_recipe, load_recipe
    except ImportError:  # then the packages alone can be told of
        from artsound.packages import check_packages

        checks = list(check_packages())
        if all(check.state != "missing" for check in checks):
            raise
        return checks
    base = Recipe()
    if recipe:
        base = load_recipe(Path(recipe)) if recipe.endswith(".toml") else bundled_recipe(recipe)
    given = {key: value for key, value in sources.items() if value}
    return examine(base.replaced(sources=given), out)


def _show(checks: Sequence[Check]) -> None:
    """A line for each check, under its group; packages that are in order share one."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=100 if not sys.stdout.isatty() else None, highlight=False)
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, max_width=24)
    table.add_column(overflow="fold")
    for group, members in groupby(checks, key=lambda check: check.group):
        table.add_row("", Text(group, style="bold"), "")
        for check in _folded(group, members):
            told = Text(check.found)
            if check.way_out and check.state != "ok":
                told.append(f"\n→ {check.way_out}", style="dim")
            table.add_row(Text(check.state, style=_STYLES[check.state]), check.name, told)
    console.print(table)


def _folded(group: str, members: Iterable[Check]) -> list[Check]:
    """The checks of a group; of packages, those in order as one, and those with the same remedy."""
    from artsound.checks import Check

    found = list(members)
    if not group.startswith("packages"):
        return found
    folded: list[Check] = []
    alike: dict[tuple[State, str], list[Check]] = {}
    for check in found:
        advice = "" if check.state == "ok" else check.way_out
        alike.setdefault((check.state, advice), []).append(check)
    for (state, advice), some in alike.items():
        if len(some) == 1 and state != "ok":
            folded += some
            continue
        names = [one.name if state == "ok" else f"{one.name} ({one.found})" for one in some]
        count = f"{len(some)} in order" if state == "ok" else f"{len(some)} packages"
        folded.append(Check(group, count, state, ", ".join(names), advice))
    return folded
