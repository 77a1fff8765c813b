"""The bundled synthetic sample: a miniature ArtGraph and FMA, painted and composed by code.

About a hundred pictures in eight manners and as many clips in eight genres, both spread over the
same affect plane (`plane.spread`), in exactly the layouts that the readers of the published data
read. Everything in it is invented and says so; a few files are broken on purpose.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artsound import plugins
from artsound.errors import BadData, BadUsage
from artsound.progress import QUIET, Progress
from artsound.rights import Rights, synthetic_rights, track_rights
from artsound.storage import read_json, write_json

if TYPE_CHECKING:
    import polars as pl

MARKER = "sample.json"
VERSION = 3  # raised whenever a seed would give other bytes (tests/golden.toml shows it)


@dataclass(frozen=True, slots=True)
class SamplePaths:
    """The folders of the two halves of the sample."""

    artgraph: Path
    fma: Path


def write_sample(
    folder: Path, seed: int = 0, progress: Progress = QUIET, *, more: int = 0
) -> SamplePaths:
    """Write the sample under ``folder`` as artgraph/ and fma/, as if downloaded.

    The same seed and size give the same bytes. A finished sample of this seed, size and version is
    left as it is; one that is half-written, or differs in these, is written again, file by file.
    Takes about half a minute of processor time, on all cores.

    Args:
        folder: Where to write.
        seed: Another seed gives other pictures and other music.
        progress: Counts files.
        more: Clips, and pictures, that each held-out split has beyond the usual ones.

    Raises:
        BadUsage: When ``folder`` has an artgraph/ or fma/ that is not ours.
        BadData: When the disk cannot be written.
    """
    paths = SamplePaths(folder / "artgraph", folder / "fma")
    marker = folder / MARKER
    made = sample_marker(seed, more)
    found: object = {}
    with suppress(BadData):
        found = read_json(marker)
    if found == made:
        return paths
    if not found and (paths.artgraph.exists() or paths.fma.exists()):
        raise BadUsage(f"{folder} holds data that is not ArtSound's sample: choose another folder.")
    # The heavy half of the package is loaded only when there is something to make.
    from artsound.sample.layouts import HELD_OUT, WORKS, write_artgraph, write_fma

    write_json(marker, made | {"complete": False})
    with ExitStack() as stack:
        over: Callable[..., Iterable[Any]] = map
        if (cores := len(os.sched_getaffinity(0))) > 1:  # no file of the sample needs another
            context = multiprocessing.get_context("spawn")
            over = stack.enter_context(ProcessPoolExecutor(cores, mp_context=context)).map

        def mapper(name: str, function: Callable[..., Any], *items: Sequence[Any]) -> Iterator[Any]:
            progress.start(name, len(items[0]))
            for result in over(function, *items):
                progress.advance(1)
                yield result
            progress.finish()

        write_artgraph(folder, seed=seed, count=WORKS + 2 * more, mapper=partial(mapper, "images"))
        write_fma(folder, seed=seed, held_out=HELD_OUT + more, mapper=partial(mapper, "clips"))
    write_json(marker, made)
    return paths


def sample_marker(seed: int, more: int = 0) -> dict[str, object]:
    """The marker of a finished sample: its seed and size, and the version of the code's output."""
    size = {"more": more} if more else {}
    return {"seed": seed, **size, "version": VERSION, "complete": True}


class Sample:
    """A miniature ArtGraph and FMA, painted and composed by code: nothing to download."""

    name = "sample"
    version = str(VERSION)
    sides = ("artwork", "track")
    key_prefix = ""  # its items are called as ArtGraph's and FMA's are
    synthetic = True

    def place(self, side: str, out: Path) -> Path:
        """Where one side is written in a build's folder."""
        return out / self.name / {"artwork": "artgraph", "track": "fma"}[side]

    def write(self, side: str, out: Path, options: Any, progress: Progress) -> None:
        """Write both sides into a build's folder."""
        write_sample(out / self.name, options.seed, progress)

    def _reader(self, side: str) -> Any:
        """The source whose layout the side has."""
        return plugins.get("source", {"artwork": "artgraph", "track": "fma"}[side])[0]

    def list_files(self, side: str, root: Path, options: Any) -> pl.DataFrame:
        """The files of one side."""
        from artsound.sources.files import list_files

        own = getattr(self._reader(side), "list_files", None)
        return own(side, root, options) if own else list_files(root)

    def read(self, side: str, root: Path, files: pl.DataFrame, options: Any) -> pl.DataFrame:
        """One row for each item, read as its layout is."""
        found: pl.DataFrame = self._reader(side).read(side, root, files, options)
        return found

    def rights(self, table: pl.DataFrame, this_year: int) -> list[Rights]:
        """Pictures are in the public domain (CC0); music has the licences that its table states."""
        if "painter_id" in table.columns:
            return [synthetic_rights()] * table.height
        return [track_rights(*row) for row in table.select("license", "license_url").iter_rows()]


SOURCE = Sample()
