"""The bundled synthetic sample: a miniature ArtGraph and FMA, painted and composed by code.

About a hundred pictures in thirteen manners and the clips of `fma_layout`, both spread over the
same affect plane (`plane.spread`), in exactly the layouts that the real readers read. Everything
in it is invented and says so; a few files are broken on purpose.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from artsound.errors import BadData, BadUsage
from artsound.progress import QUIET, Progress
from artsound.sample.workers import over_all_cores
from artsound.storage import read_json, write_json

MARKER = "sample.json"
VERSION = 2  # raised whenever a seed would give other bytes (tests/golden.toml shows it)


@dataclass(frozen=True, slots=True)
class SamplePaths:
    """Where the two halves of the sample lie."""

    artgraph: Path
    fma: Path


def write_sample(folder: Path, seed: int = 0, progress: Progress = QUIET) -> SamplePaths:
    """The sample under ``folder``: artgraph/ and fma/, as if downloaded.

    The same seed gives the same bytes. A finished sample of this seed and version is left as it
    is; one that is half-written, or of another seed or version, is written again, file by file.
    Takes about half a minute of processor time, on all cores. Raises BadUsage when ``folder``
    holds an artgraph/ or fma/ that is not ours, BadData when the disk will not take it.
    """
    paths = SamplePaths(folder / "artgraph", folder / "fma")
    marker = folder / MARKER
    made = sample_marker(seed)
    found = _read(marker)
    if found == made:
        return paths
    if not found and (paths.artgraph.exists() or paths.fma.exists()):
        raise BadUsage(f"{folder} holds data that is not ArtSound's sample: choose another folder.")
    # The heavy half of the package is loaded only when there is something to make.
    from artsound.sample.artgraph_layout import write_artgraph
    from artsound.sample.fma_layout import write_fma

    write_json(marker, made | {"complete": False})
    progress.start("sample", 0)
    try:
        with over_all_cores(progress) as mapper:
            write_artgraph(folder, seed=seed, mapper=mapper)
            write_fma(folder, seed=seed, mapper=mapper)
    finally:
        progress.finish()
    write_json(marker, made)
    return paths


def sample_marker(seed: int) -> dict[str, object]:
    """The marker of a finished sample: its seed, and the version of the code's output."""
    return {"seed": seed, "version": VERSION, "complete": True}


def _read(marker: Path) -> object:
    try:
        return read_json(marker)
    except BadData:
        return {}
