"""`artsound build` and one command for each stage, `doctor` and `status`.

Annotations are evaluated here (no `from __future__ import annotations`): typer reads those of seven
commands with the same options, and to compile them as strings would take a fifth of the time of
`artsound --help`.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from artsound.cli.app import (
    AllowCode,
    AllowPrivate,
    ArtGraph,
    ArtworkIds,
    Artworks,
    ArtworkWhere,
    Base,
    Bridge,
    Calibrate,
    CheckOnly,
    ExcludePairs,
    Fma,
    Json,
    Limit,
    Music,
    Optouts,
    Out,
    Published,
    RecipeFile,
    Retry,
    RightsChoice,
    Runner,
    Scheduler,
    TrackIds,
    TrackWhere,
    Without,
    Workers,
    app,
    print_summary,
    say,
)
from artsound.errors import BadData, BadUsage, redacted
from artsound.extras import install_command
from artsound.progress import counted, human_seconds

if TYPE_CHECKING:
    from rich.console import RenderableType

    from artsound.extras import Check, State
    from artsound.progress import Progress
    from artsound.recipe import Recipe
    from artsound.stage import Report
    from artsound.status import Status
    from artsound.storage import Workspace


def _command(name: str, stage: str | None, example: str, doc: str) -> None:
    """Register a command that runs one stage, or all of them; their options are the same."""

    def command(
        out: Out,
        artworks: Artworks = None,
        music: Music = None,
        artgraph: ArtGraph = "",
        fma: Fma = "",
        recipe: RecipeFile = "",
        limit: Limit = None,
        track_ids: TrackIds = "",
        artwork_ids: ArtworkIds = "",
        track_where: TrackWhere = "",
        artwork_where: ArtworkWhere = "",
        without: Without = "",
        optouts: Optouts = "",
        allow_private_hosts: AllowPrivate = False,
        allow_code: AllowCode = False,
        base: Base = "",
        import_pairs: Published = "",
        exclude_pairs: ExcludePairs = "",
        calibrate: Calibrate = "",
        bridge: Bridge = "",
        rights: RightsChoice = "",
        runner: Runner = "",
        workers: Workers = None,
        scheduler: Scheduler = "",
        retry_failed: Retry = False,
        check: CheckOnly = False,
        as_json: Json = False,
    ) -> None:
        if check:
            _check_files(out, as_json)
            return
        resume = stage is not None or not (artgraph or fma or artworks or music)
        chosen = _recipe(
            out, recipe, resume, artworks, music, artgraph, fma, limit, bridge, rights, runner,
            workers, scheduler,
            track_ids, artwork_ids, track_where, artwork_where, import_pairs, exclude_pairs,
            calibrate, without, optouts, base, allow_private_hosts, allow_code,
        )  # fmt: skip
        if stage is None and not recipe and not bridge and _matches_as_usual(chosen):
            say("Matching with the affect bridge (measured descriptors); --bridge chooses others.")
        _run_stages(stage, out, chosen, retry_failed, as_json)

    command.__doc__ = doc
    app.command(name, epilog=f"Example: artsound {name} {example}")(command)


def _check_files(out: Path, as_json: bool) -> None:
    """Read all that a build has written; BadData where something is not as it was written."""
    from artsound.stage import damaged_files
    from artsound.storage import Workspace, check_out

    check_out(out)
    workspace = Workspace(out)
    if not workspace.recipe.is_file():
        raise BadUsage(f"{out} holds no build: give --out the folder of one.")
    damaged = damaged_files(workspace)
    for name in damaged:
        print(f"damaged or missing: {workspace.path(name)}")
    print_summary(as_json, {"out": str(out), "damaged": damaged})
    if damaged:
        raise BadData(
            f"{out} has {counted(len(damaged), 'damaged or missing file')}: the same command "
            "without --check writes them again."
        )
    say("No file is damaged.")


def _matches_as_usual(recipe: "Recipe") -> bool:
    from artsound.recipe import Recipe

    usual = Recipe()
    named = (recipe.name, recipe.pair.bridge) == (usual.name, usual.pair.bridge)
    return named and not recipe.pair.given


_command(
    "build",
    None,
    "--artgraph sample --fma sample --out out",
    """Build a release: run all stages, or continue a build.

    Without sources, the build in --out is continued; if there is none, the sources are downloaded
    from the official servers. After an interruption the same command continues.
    """,
)
for _stage, _doc in {
    "ingest": "Read, check and catalogue artworks and tracks.",
    "embed": "Measure and embed every artwork and track.",
    "pair": "Assign splits, and match artworks and tracks.",
    "caption": "Write a caption for both sides of every pair.",
    "shard": "Pack the pairs into WebDataset shards.",
    "report": "Write the build's report and the release's cards.",
}.items():
    _command(_stage, _stage, "--out out", _doc)


def _recipe(
    out: Path,
    recipe: str,
    resume: bool,
    artworks: list[str] | None,
    music: list[str] | None,
    artgraph: str,
    fma: str,
    limit: int | None,
    bridge: str,
    rights: str,
    runner: str,
    workers: int | None,
    scheduler: str,
    track_ids: str,
    artwork_ids: str,
    track_where: str,
    artwork_where: str,
    import_pairs: str,
    exclude_pairs: str,
    calibrate: str,
    without: str,
    optouts: str,
    earlier: str,
    allow_private_hosts: bool,
    allow_code: bool,
) -> "Recipe":
    """The recipe that was asked for: a file, the workspace's own, or the default; then options."""
    from artsound.recipe import load_recipe, refuse_code
    from artsound.untrusted import check_path

    check_path(out)
    for path in (artgraph, fma, recipe, track_ids, artwork_ids, import_pairs, exclude_pairs,
                 calibrate, without, optouts, earlier):  # fmt: skip
        if path and "://" not in path:
            check_path(Path(path))
    stored = out / "recipe.toml"
    if recipe:
        base = _named_recipe(recipe)
    elif resume and stored.is_file():
        base = load_recipe(stored, allow_code=True)
    else:
        base = _usual_recipe(artworks, music, artgraph, fma)
    if scheduler and runner not in ("", "dask"):
        raise BadUsage("--scheduler is an address of Dask: leave --runner out, or give dask.")
    runner = "dask" if scheduler else runner
    given: dict[str, dict[str, Any]] = {
        "sources": {
            "artworks": artworks, "music": music, "artgraph": artgraph, "fma": fma,
            "limit": limit, "ids": track_ids,
            "artwork_ids": artwork_ids, "track_where": track_where,
            "artwork_where": artwork_where, "without": without, "optouts": optouts,
            "base": earlier, "allow_private_hosts": allow_private_hosts or None,
        },
        "pair": {"bridge": bridge, "given": import_pairs, "exclude": exclude_pairs,
                 "calibrate": calibrate},
        "rights": {"policy": rights},
        "run": {"runner": runner, "workers": workers, "dask_address": scheduler},
    }  # fmt: skip
    # Sources given here take the place of the recipe's on their side.
    plain = base.replaced(
        sources={
            **({"artworks": [], "artgraph": ""} if artworks or artgraph else {}),
            **({"music": [], "fma": ""} if music or fma else {}),
        }
    )
    chosen = plain.replaced(
        **{
            section: {key: value for key, value in keys.items() if value not in ("", None, [])}
            for section, keys in given.items()
        }
    )
    if not allow_code:  # judged last: what an option replaces is not imported
        sources = [*(artworks or []), *(music or [])]
        refuse_code(chosen, recipe or str(stored), {"source": sources, "bridge": [bridge]})
    return chosen


def _named_recipe(recipe: str) -> "Recipe":
    """The recipe that --recipe names; what it would import is for the caller to judge."""
    from artsound.recipe import bundled_recipe, load_recipe

    if recipe.endswith(".toml"):
        return load_recipe(Path(recipe), allow_code=True)
    return bundled_recipe(recipe)


def _usual_recipe(
    artworks: list[str] | None, music: list[str] | None, artgraph: str, fma: str
) -> "Recipe":
    """The bundled recipe of the source that is named for both sides, or the default."""
    from artsound.recipe import Recipe, bundled_names, bundled_recipe

    named = {*(artworks or []), *(music or []), artgraph, fma} - {""}
    both = len(named) == 1 and bool(artworks or artgraph) and bool(music or fma)
    name = named.pop() if both else ""
    return bundled_recipe(name) if name in bundled_names() else Recipe()


def _run_stages(
    only: str | None, out: Path, recipe: "Recipe", retry_failed: bool, as_json: bool
) -> None:
    from artsound.build import stage_order
    from artsound.processes import ends_at_once
    from artsound.progress import build_progress, earlier_build, remember_build
    from artsound.storage import Workspace

    workspace = Workspace(out)
    stages = stage_order(recipe) if only is None else (only,)
    settings = recipe.pace_digest()
    with (
        ends_at_once("artsound: stopped; the same command continues from here."),
        build_progress(stages, earlier_build(settings)) as progress,
    ):
        run = _runner(workspace, recipe, only, progress)
        reports = run(workspace, recipe, only=only, progress=progress, retry_failed=retry_failed)
    if only is None and not any(report.parts_skipped for report in reports):
        durations = {one.stage: (one.items_in, one.seconds) for one in reports}
        remember_build(settings, durations)
    _print_stages(reports)
    for name, path in (("shards", workspace.shards), ("report", workspace.report / "index.html")):
        if path.exists():
            print(f"{name}: {path}")
    print_summary(as_json, {"out": str(out), "stages": [asdict(report) for report in reports]})


def _runner(
    workspace: "Workspace", recipe: "Recipe", only: str | None, progress: "Progress"
) -> "Callable[..., list[Report]]":
    """The function that runs a build: the library's, or, where it adds something, Prefect's.

    It does for a server of the user's own, which records the build, and for the runners dask and
    prefect. Only then is Prefect imported.
    """
    from artsound.build import check_build, run_build

    name = recipe.run.runner
    if name == "serial":
        return run_build
    needed = ("prefect", "artsound_flows", *(("prefect_dask",) if name == "dask" else ()))
    if not all(map(find_spec, needed)):
        install = install_command("dask" if name == "dask" else "prefect")
        if name in ("dask", "prefect"):
            raise BadUsage(f"The runner {name} needs an extra: {install}.")
        if os.environ.get("PREFECT_API_URL"):
            say(f"Prefect is not installed ({install}): PREFECT_API_URL gets no report.")
        return run_build
    from artsound_flows.server import has_own_server, start

    own_server = has_own_server()
    if name in ("processes", "threads") and not own_server:
        return run_build
    check_build(workspace, recipe, only, progress)
    say("Starting Prefect …")
    if not own_server:
        start()  # it starts while this process imports the rest
    from artsound_flows.flows import run_with_prefect

    return run_with_prefect


def _print_stages(reports: "Sequence[Report]") -> None:
    """Print the table of stages: items in, out, filtered and failed, and speed."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from artsound.progress import human_bytes

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("stage")
    for column in ("in", "out", "filtered", "failed", "seconds", "items/s", "size", "memory"):
        table.add_column(column, justify="right")
    for report in reports:
        fresh = report.parts_skipped < report.parts
        table.add_row(
            report.stage,
            f"{report.items_in:,}",
            f"{report.items_out:,}",
            f"{report.filtered:,}",
            f"{report.failed:,}",
            f"{report.seconds:.1f}",
            f"{report.items_per_second:,.0f}" if fresh else "reused",
            human_bytes(report.bytes),
            human_bytes(report.peak_memory),
        )
    Console(width=80 if not sys.stdout.isatty() else None).print(table)


# `artsound doctor`: checks whether this machine can run a build.

_STYLES = {"ok": "green", "warning": "yellow", "missing": "bold red"}


@app.command(epilog="Example: artsound doctor --artgraph sample --fma sample --out out")
def doctor(
    out: Annotated[Path, typer.Option(help="Folder of the build to come.")] = Path("out"),
    artworks: Artworks = None,
    music: Music = None,
    artgraph: ArtGraph = "",
    fma: Fma = "",
    recipe: RecipeFile = "",
    limit: Limit = None,
    allow_private_hosts: AllowPrivate = False,
    allow_code: AllowCode = False,
    as_json: Json = False,
) -> None:
    """Check whether this machine can run a build.

    Checks packages, processors, memory, disk, checkpoints and servers. Exit status 1: it cannot.
    """
    sources = {"artworks": artworks, "music": music, "artgraph": artgraph, "fma": fma}
    more = {"limit": limit, "allow_private_hosts": allow_private_hosts}
    checks = _checks(out, recipe, {**sources, **more}, allow_code)
    missing = sum(check.state == "missing" for check in checks)
    _show_checks(checks)
    print(f"Missing: {missing}. A build cannot run." if missing else "A build can run.")
    print_summary(as_json, {"missing": missing, "checks": [asdict(check) for check in checks]})
    if missing:
        raise SystemExit(1)


def _checks(out: Path, recipe: str, sources: dict[str, Any], allow_code: bool) -> "list[Check]":
    try:
        from artsound.environment import examine
        from artsound.recipe import Recipe, refuse_code
    except ImportError:  # then the packages alone can be examined
        from artsound.extras import check_packages

        checks = list(check_packages())
        if all(check.state != "missing" for check in checks):
            raise
        return checks
    base = _named_recipe(recipe) if recipe else Recipe()
    given = {key: value for key, value in sources.items() if value}
    chosen = base.replaced(sources=given)
    if not allow_code:
        named = [*(sources["artworks"] or []), *(sources["music"] or [])]
        refuse_code(chosen, recipe or "the recipe", {"source": named})
    return examine(chosen, out)


def _show_checks(checks: "Sequence[Check]") -> None:
    """Print a line for each check under its group; packages without problems share one."""
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
            text = Text(redacted(check.found))
            if check.remedy and check.state != "ok":
                text.append(f"\n→ {check.remedy}", style="dim")
            table.add_row(Text(check.state, style=_STYLES[check.state]), check.name, text)
    console.print(table)


def _folded(group: str, members: "Iterable[Check]") -> "list[Check]":
    """The checks of a group; packages without problems, or with the same remedy, are one line."""
    from artsound.extras import Check

    found = list(members)
    if not group.startswith("packages"):
        return found
    folded: list[Check] = []
    alike: dict[tuple[State, str], list[Check]] = {}
    for check in found:
        advice = "" if check.state == "ok" else check.remedy
        alike.setdefault((check.state, advice), []).append(check)
    for (state, advice), some in alike.items():
        if len(some) == 1 and state != "ok":
            folded += some
            continue
        names = [one.name if state == "ok" else f"{one.name} ({one.found})" for one in some]
        count = f"{len(some)} in order" if state == "ok" else f"{len(some)} packages"
        folded.append(Check(group, count, state, ", ".join(names), advice))
    return folded


# `artsound status`: the progress of a build, from another terminal.

_PAUSE = 2.0  # seconds between two looks


@app.command(epilog="Example: artsound status out --watch")
def status(
    out: Annotated[Path, typer.Argument(help="The --out folder of a build.")],
    watch: Annotated[bool, typer.Option("--watch", help="Refresh until it has ended.")] = False,
    as_json: Json = False,
) -> None:
    """Show the progress of a build, and what to do next."""
    from artsound.status import read_status
    from artsound.storage import Workspace

    workspace = Workspace(out)
    first = read_status(workspace)
    last = _show_status(first, again=(lambda: read_status(workspace)) if watch else None)
    print_summary(as_json, last)


def _show_status(status: "Status", again: "Callable[[], Status] | None" = None) -> "Status":
    """Print the status of a build; with `again`, refresh it every two seconds while it runs.

    Without a terminal it is printed once, when the build has ended. Returns the last status.
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


def _status_view(status: "Status") -> "RenderableType":
    """A summary line, a row for each stage, and what to do next."""
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
            Text(stage.state, style=_STATUS_STYLES.get(stage.state, "")),
            f"{stage.parts_done:,}/{stage.parts:,}" if known else "",
            *(f"{count:,}" if known else "" for count in counts),
            f"{stage.rate:,.0f}" if stage.rate >= 0.5 else "",
            human_seconds(stage.seconds_left) if stage.seconds_left is not None else "",
        )
    return Group(Text(_sentence(status)), table, Text(f"Next: {status.next}"))


_STATUS_STYLES = {"running": "bold", "merging": "bold", "preparing": "bold", "done": "green"}
_STATUS_STYLES |= {"failed": "bold red", "stopped": "yellow"}


def _sentence(status: "Status") -> str:
    """The summary line: which process runs since when, or how it ended, and the last write."""
    holder = status.holder
    wrote = f"Last written {human_seconds(max(0.0, status.asked - status.wrote))} ago."
    by = f" by process {holder.pid} on {holder.host} ({holder.command})" if holder else ""
    since = human_seconds(max(0.0, status.asked - holder.started)) if holder else ""
    match status.state:
        case "running":
            text = f"running for {since}{by}."
        case "unknown":
            text = f"begun {since} ago{by}: ask there whether it still runs."
        case "failed":
            text = f"failed: {status.error}"
        case "stopped":
            text = "stopped before its end; the same command continues it."
        case "unfinished":
            left = [stage.stage for stage in status.stages if stage.state != "done"]
            text = f"not running; still to do: {', '.join(left)}."
        case _:
            text = "done."
    return f"{status.out}: {text} {wrote}"
