"""How varied and how true the grounded captions of a workspace are.

Prints, for each side, distinct-2 (different pairs of neighbouring words over all pairs; Li et al.
2016), for artworks also that of the record's own words with nothing between them, which captions
can hardly exceed; the most frequent phrases for measurements, and the captions that say what
neither the record nor the measurements do. The workspace must have been embedded:

    artsound ingest --artgraph … --fma … --out out && artsound embed --out out
    python benchmarks/captions.py out --show 20
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from artsound.captions import measures
from artsound.captions.grounded import artwork_facts, describe_artwork, describe_track
from artsound.captions.vocabulary import bundled_vocabulary
from artsound.schema import Artwork, ArtworkDescriptors, Track, TrackDescriptors
from artsound.storage import Workspace, read_parquet

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "captions"))

from caption_facts import PICTURE_SCALES, SOUND_SCALES, unsupported

SIDES: tuple[tuple[str, str, Any, Any, Any], ...] = (
    ("artworks", "artwork", Artwork, ArtworkDescriptors, describe_artwork),
    ("tracks", "track", Track, TrackDescriptors, describe_track),
)


def items(workspace: Workspace, side: str, record: str, *kinds: Any) -> list[tuple[Any, Any]]:
    """The records of a side with their measurements."""
    key = f"{record}_id"
    rows = read_parquet(workspace.catalog / f"{side}.parquet", record).to_pylist()
    measured = workspace.embeddings / "affect" / f"{side}.parquet"
    known = {d[key]: d for d in read_parquet(measured, f"{record}_descriptors").to_pylist()}
    return [(kinds[0](**row), kinds[1](**known[row[key]])) for row in rows]


def distinct_pairs(captions: Sequence[str]) -> float:
    """Distinct-2 of captions, lower case, without punctuation."""
    pairs = []
    for caption in captions:
        words = re.findall(r"[\w’'&-]+", caption.lower())
        pairs += list(pairwise(words))
    return len(set(pairs)) / len(pairs)


def _bare(pairs: Sequence[tuple[Any, Any]]) -> list[str]:
    """All that is recorded of each artwork (kind, painter, year, title, four colours), unjoined."""
    words = []
    for artwork, measured in pairs:
        facts = artwork_facts(artwork, measured, bundled_vocabulary().art)
        told = [facts["work"], artwork.painter, facts["year"], artwork.title, *measured.palette[:4]]
        words.append(" ".join(told))
    return words


def traits() -> list[str]:
    """All phrases for measurements."""
    scales = (*PICTURE_SCALES.values(), *SOUND_SCALES.values())
    phrases = [phrase for scale in scales for level in scale.phrases for phrase in level if phrase]
    return phrases + [phrase for _, _, several in measures.LINES for phrase in several]


def main() -> None:
    """Print the figures of a workspace."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workspace", type=Path, nargs="?", default=Path("out"))
    parser.add_argument("--show", type=int, default=0, help="captions of each side to print")
    options = parser.parse_args()
    if not (options.workspace / "embeddings").is_dir():
        print(f"not run: {options.workspace} holds no embedded build (artsound embed)")
        return
    for side, record, kind, measured, describe in SIDES:
        pairs = items(Workspace(options.workspace), side, record, kind, measured)
        captions = [describe(*pair) for pair in pairs]
        counts = Counter({t: sum(t in caption.lower() for caption in captions) for t in traits()})
        untrue = [
            (caption, found)
            for caption, pair in zip(captions, pairs, strict=True)
            if (found := unsupported(caption, *pair))
        ]
        words = sum(len(caption.split()) for caption in captions) / len(captions)
        print(
            f"{side}: {len(captions)} captions, {len(set(captions))} different, {words:.1f} words, "
            f"distinct-2 {distinct_pairs(captions):.3f}, unsupported {len(untrue)}"
        )
        if side == "artworks":
            print(f"  the record's words alone: distinct-2 {distinct_pairs(_bare(pairs)):.3f}")
        for trait, count in counts.most_common(5):
            print(f"  {count / len(captions):.1%} {trait}")
        for caption, found in untrue[:10]:
            print(f"  unsupported {found}: {caption}")
        for caption in captions[: options.show]:
            print(f"  - {caption}")


if __name__ == "__main__":
    main()
