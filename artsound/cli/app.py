"""What every command shares: the app, the options that mean the same everywhere, the summary."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="artsound",
    help="Rebuild, curate and stream ArtSound: artwork-music pairs from ArtGraph and the FMA.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

Out = Annotated[Path, typer.Option(help="The build's folder; made when it is missing.")]
ArtGraph = Annotated[str, typer.Option(help="ArtGraph: a folder, a zip, a URL, or `sample`.")]
Fma = Annotated[str, typer.Option(help="FMA: a folder, a zip, a URL, or `sample`.")]
RecipeFile = Annotated[str, typer.Option(help="A TOML file, or artsound, open or sample.")]
Limit = Annotated[int | None, typer.Option(help="Use at most so many tracks.", min=0)]
TrackIds = Annotated[str, typer.Option(help="A file with the tracks to use, an id a line.")]
ArtworkIds = Annotated[str, typer.Option(help="A file with the artworks to use, a name a line.")]
TrackWhere = Annotated[str, typer.Option(help="SQL over the tracks' metadata: genre = 'Jazz'.")]
ArtworkWhere = Annotated[str, typer.Option(help="SQL over the artworks': year < 1900.")]
Without = Annotated[str, typer.Option(help="A file with tracks and artworks never to use.")]
Base = Annotated[str, typer.Option(help="An earlier release: keep its pairs, splits and shards.")]
Published = Annotated[
    str, typer.Option("--import-pairs", help="Published pairs (JSON, CSV, parquet) to use.")
]
ExcludePairs = Annotated[
    str, typer.Option(help="Pairs never to make: a parquet list by `artsound judgements`.")
]
Bridge = Annotated[str, typer.Option(help="affect, concepts, captions, learned or imagebind.")]
RightsChoice = Annotated[str, typer.Option(help="any, redistributable, adaptable or commercial.")]
Runner = Annotated[str, typer.Option(help="processes, threads, dask, or serial (no Prefect).")]
Workers = Annotated[int | None, typer.Option(help="Parts at work at once; 0: one per CPU.", min=0)]
Scheduler = Annotated[str, typer.Option(help="A Dask scheduler, tcp://host:8786; means dask.")]
Retry = Annotated[bool, typer.Option("--retry-failed", help="Try failed items again.")]
Json = Annotated[bool, typer.Option("--json", help="End with one line of JSON.")]
ShardsFolder = Annotated[str, typer.Argument(help="A shards folder or URL.")]
Many = Annotated[list[str] | None, typer.Option()]


def print_summary(wanted: bool, value: Any) -> None:
    """Print `value` as one line of JSON when `--json` asked for it."""
    if wanted:
        plain = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
        print(json.dumps(plain, default=str, sort_keys=True))


def say(line: str) -> None:
    """A line for the person at the terminal: results alone go to standard output."""
    print(line, file=sys.stderr, flush=True)
