"""Music that a model made for pairs of a release, beside the pairs: what a folder of it holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from artsound.errors import BadUsage

MEDIA = {"wav": "audio/wav", "png": "image/png"}


def find_generated(folder: Path, keys: Mapping[str, int]) -> dict[str, dict[str, Path]]:
    """For each pair with a `<key>.wav` in `folder` (or its wavs/): its files by suffix.

    `keys` are the release's. Only plain files whose names are such a key are ever served: links
    and all else are passed over. BadUsage when there is none.
    """
    if not folder.is_dir():
        raise BadUsage(f"{folder} is not a folder: give the --out folder of `artsound evaluate`.")
    home = folder / "wavs" if (folder / "wavs").is_dir() else folder
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(home.iterdir()):
        member = path.suffix.removeprefix(".")
        if path.stem in keys and member in MEDIA and path.is_file() and not path.is_symlink():
            found.setdefault(path.stem, {})[member] = path.absolute()
    found = {key: files for key, files in found.items() if "wav" in files}
    if not found:
        raise BadUsage(
            f"{home} holds no .wav named after a pair of these shards: give the --out folder of "
            "`artsound evaluate`, or one of their keys' names."
        )
    return found
