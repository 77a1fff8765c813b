"""What the commands share: the app, common options, and the JSON summary."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperCommand, TyperGroup

from artsound.errors import redacted, redacted_values
from artsound.progress import report_error

_PANELS = {  # of the help: the module of a command gives its panel
    "artsound.cli.build_commands": "Build",
    "artsound.cli.release_commands": "Release",
    "artsound.cli.training_commands": "Training",
    "artsound.cli.tool_commands": "Tools",
}


# Typer's own, whose module depends on its version; BadParameter, which it exports, is a subclass.
_UsageError: type[Any] = typer.BadParameter.__bases__[0]


@contextmanager
def _usage_errors_as_others() -> Iterator[None]:
    """Print a usage error with the head that all errors have, and exit with 2."""
    try:
        yield
    except _UsageError as error:
        if error.ctx is not None:
            say(error.ctx.get_usage())
            say(f"Try '{error.ctx.command_path} -h' for help.\n")
        report_error(error.format_message())
        raise SystemExit(2) from None


class _Command(TyperCommand):
    """Lists the options of the help by group, with plain names of their types."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            names, words = help_row(parameter, ctx)
            if not names:
                continue
            usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
            group = getattr(parameter, "rich_help_panel", None) or usual
            groups.setdefault(group, []).append((names, words))
        for group in list(groups)[2:]:
            if len(groups[group]) == 1:  # no group
                groups["Options"] += groups.pop(group)
        for group, rows in groups.items():
            if rows:
                with formatter.section(group):
                    formatter.write_dl(rows)


def help_row(parameter: Any, context: Any) -> tuple[str, str]:
    """An option or argument as one types it, and its help; empty for a hidden one."""
    names, words = parameter.get_help_record(context) or ("", "")
    for odd, plain in _TYPES.items():
        names = names.replace(odd, plain)
    return names, words


_TYPES = {"<list[str]>": "<str>", "<int range>": "<int>", "<float range>": "<float>"}


class _App(typer.Typer):
    """An app whose commands are of the class `_Command`."""

    def command(self, name: str | None = None, **options: Any) -> Any:  # type: ignore[override]
        return super().command(name, **{"cls": _Command, **options})


class _Commands(TyperGroup):
    """Lists the commands of the help by panel, with whole summaries."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        with _usage_errors_as_others():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        with _usage_errors_as_others():
            return super().invoke(ctx)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        panels: dict[str, list[tuple[str, str]]] = {panel: [] for panel in _PANELS.values()}
        for name, command in self.commands.items():
            module = getattr(command.callback, "__module__", "")
            panels[_PANELS[module]].append((name, command.get_short_help_str(limit=200)))
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl(rows)


app = _App(
    name="artsound",
    cls=_Commands,
    help="Rebuild, curate and stream ArtSound: artwork-music pairs from ArtGraph and the FMA.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

Out = Annotated[Path, typer.Option(help="The build's folder; created if missing.")]
Artworks = Annotated[
    list[str] | None,
    typer.Option(
        help="A source of artworks, NAME:PLACE (folder:museum/); repeatable.",
        rich_help_panel="Sources",
    ),
]
Music = Annotated[
    list[str] | None,
    typer.Option(
        help="A source of music, NAME:PLACE (folder:label.zip); repeatable.",
        rich_help_panel="Sources",
    ),
]
ArtGraph = Annotated[
    str,
    typer.Option(
        help="Short for --artworks artgraph:PLACE; or `sample`.", rich_help_panel="Sources"
    ),
]
Fma = Annotated[
    str, typer.Option(help="Short for --music fma:PLACE; or `sample`.", rich_help_panel="Sources")
]
RecipeFile = Annotated[str, typer.Option(help="A TOML file, or artsound, open or sample.")]
Limit = Annotated[
    int | None,
    typer.Option(help="Use at most N tracks; 0: all.", min=0, rich_help_panel="Selection"),
]
TrackIds = Annotated[
    str, typer.Option(help="A file of tracks to use, one id per line.", rich_help_panel="Selection")
]
ArtworkIds = Annotated[
    str,
    typer.Option(help="A file of artworks to use, one name per line.", rich_help_panel="Selection"),
]
TrackWhere = Annotated[
    str, typer.Option(help="SQL condition on tracks: genre = 'Jazz'.", rich_help_panel="Selection")
]
ArtworkWhere = Annotated[
    str, typer.Option(help="SQL condition on artworks: year < 1900.", rich_help_panel="Selection")
]
Without = Annotated[
    str,
    typer.Option(help="A file of tracks and artworks to leave out.", rich_help_panel="Selection"),
]
AllowPrivate = Annotated[
    bool,
    typer.Option(
        "--allow-private-hosts",
        help="Fetch also from servers in a private network.",
        rich_help_panel="Sources",
    ),
]
AllowCode = Annotated[
    bool,
    typer.Option("--allow-code", help="Let the recipe's file name Python modules to import."),
]
Optouts = Annotated[
    str,
    typer.Option(help="An opt-out list: items, addresses, creators.", rich_help_panel="Sources"),
]
OptoutList = Annotated[
    Path | None, typer.Option(help="An opt-out list: items, addresses, creators.")
]
ReleaseDate = Annotated[str, typer.Option(help="Date of the new release: YYYY-MM-DD.")]
Base = Annotated[
    str,
    typer.Option(
        help="Previous release: its pairs, splits and shards stay.", rich_help_panel="Sources"
    ),
]
Published = Annotated[
    str,
    typer.Option(
        "--import-pairs",
        help="Use published pairs (JSON, CSV or Parquet file).",
        rich_help_panel="Sources",
    ),
]
ExcludePairs = Annotated[
    str,
    typer.Option(
        help="Excluded pairs: a Parquet list made by `artsound judgements`.",
        rich_help_panel="Matching",
    ),
]
Calibrate = Annotated[
    str,
    typer.Option(
        help="judgements.parquet to fit the weights of a fusion's bridges to.",
        rich_help_panel="Matching",
    ),
]
Bridge = Annotated[
    str,
    typer.Option(help="A name that `artsound plugins bridge` lists.", rich_help_panel="Matching"),
]
RightsChoice = Annotated[
    str,
    typer.Option(
        help="any, redistributable, adaptable, commercial or trainable.",
        rich_help_panel="Selection",
    ),
]
Runner = Annotated[
    str,
    typer.Option(help="processes, threads, serial, prefect or dask.", rich_help_panel="Running"),
]
Workers = Annotated[
    int | None,
    typer.Option(help="Parts run in parallel; 0: one per CPU.", min=0, rich_help_panel="Running"),
]
Scheduler = Annotated[
    str, typer.Option(help="Address of a Dask scheduler; implies dask.", rich_help_panel="Running")
]
Retry = Annotated[
    bool, typer.Option("--retry-failed", help="Try failed items again.", rich_help_panel="Running")
]
CheckOnly = Annotated[
    bool,
    typer.Option(
        "--check",
        help="Only read all files of the build and name damaged ones.",
        rich_help_panel="Running",
    ),
]


class _Silent(io.TextIOWrapper):
    """Standard output of a command with --json: nowhere, but for its `results`."""

    def __init__(self, results: TextIO) -> None:
        super().__init__(Path(os.devnull).open("wb"), encoding="utf-8")  # noqa: SIM115
        self.results = results


def _json_alone(context: typer.Context, value: bool) -> bool:
    """With --json, only the JSON goes to standard output: it has all that people are shown."""
    if value:
        silent = _Silent(sys.stdout)
        sys.stdout = silent

        def restore() -> None:
            sys.stdout = silent.results
            silent.close()

        context.call_on_close(restore)
    return value


Json = Annotated[
    bool,
    typer.Option(
        "--json", help="Print one line of JSON, and nothing else, to standard output.",
        callback=_json_alone,
    ),
]  # fmt: skip


def _shards_of(place: str) -> str:
    """The shards of a build, if its folder is given."""
    inside = Path(place) / "shards"
    if "://" not in place and not (Path(place) / "index.json").exists():
        return str(inside) if (inside / "index.json").is_file() else place
    return place


ShardsFolder = Annotated[
    str,
    typer.Argument(help="Folder or address of shards, or a build's folder.", callback=_shards_of),
]
Many = list[str] | None


def _as_text(value: object) -> str:
    return redacted(str(value))


def print_summary(as_json: bool, value: Any) -> None:
    """Print `value` as one line of JSON if `--json` was given."""
    if as_json:
        plain = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
        # A usage error leaves the context unclosed and sys.stdout silent, so ask the file itself.
        results = sys.stdout.results if isinstance(sys.stdout, _Silent) else sys.stdout
        text = json.dumps(redacted_values(plain), default=_as_text, sort_keys=True)
        print(text, file=results, flush=True)


def say(line: str) -> None:
    """Print a line to standard error; standard output is for results."""
    print(redacted(line), file=sys.stderr, flush=True)
