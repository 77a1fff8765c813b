"""A takedown at full size: 100 works out of 105,884 pairs, a new release and the proof of absence.

    python benchmarks/takedown_drill.py [pairs]

Makes a release of synthetic pairs with media of about 1 kB each, draws 100 ids and spells each in
another way, then times `artsound withdraw` and `artsound verify --without` on the new release, as
separate commands, imports included. The goal is 60 s for both together.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from shards import fields

import artsound
from artsound.reports.card import write_cards
from artsound.schema import to_table
from artsound.shards.format import Shard, sample_json, write_shard
from artsound.shards.index import index_rows, write_index
from artsound.shards.release import write_attribution, write_readme
from artsound.storage import sha256_bytes

PAIRS, PER_SHARD, LISTED, GOAL = 105_884, 256, 100, 60.0
SPELLINGS = (
    lambda name: name,
    lambda name: name.upper(),
    lambda name: f"some/folder/{name}",
    lambda name: name.replace(" ", "%20"),
)


def make_release(folder: Path, pairs: int) -> None:
    """Write a release of `pairs` pairs, each with media of its own."""
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, 1000, dtype=np.uint8).tobytes()
    shards: list[Shard] = []
    rows = []
    for start in range(0, pairs, PER_SHARD):
        samples = []
        for number in range(start, min(start + PER_SHARD, pairs)):
            picture, clip = b"picture %d" % number + noise, b"clip %d" % number + noise
            row = fields(number) | {
                "track_id": f"{number:06d}",
                "artwork_license_id": "public-domain",
                "track_license_id": "CC-BY-4.0",
                "artwork_captioner": "grounded",
                "track_captioner": "grounded",
                "bridge": "affect",
                "track_language": "en",
                "artwork_captioner_version": "4",
                "track_captioner_version": "4",
                "artwork_caption_fallback": None,
                "track_caption_fallback": None,
                "artwork_id": f"painter-{number % 2501}_work {number}.jpg",
                "artwork_cluster": f"painter-{number % 2501}_work {number}.jpg",
                "image_sha256": sha256_bytes(picture),
                "image_original_sha256": sha256_bytes(picture),
                "audio_sha256": sha256_bytes(clip),
            }
            samples.append((row, {"jpg": picture, "mp3": clip, "json": sample_json(row)}))
        name = f"artsound-train-{start // PER_SHARD:06d}.tar"
        shard, placed = write_shard(folder / name, "train", ((r["key"], m) for r, m in samples))
        shards.append(shard)
        rows += index_rows(name, [row for row, _ in samples], placed)
    table = to_table("index", rows)
    write_attribution(folder, table)
    write_readme(folder, "drill", shards, pairs)
    write_index(folder, "drill", "", shards, table)
    write_cards(folder, folder)


def timed(*arguments: str | Path) -> tuple[float, float]:
    """Run a command of artsound; its seconds, and those of processors. It must succeed."""
    began, before = time.perf_counter(), os.times()
    subprocess.run(["artsound", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)
    spent = [getattr(os.times(), f"children_{kind}") - getattr(before, f"children_{kind}")
             for kind in ("user", "system")]  # fmt: skip
    return time.perf_counter() - began, sum(spent)


def main() -> None:
    """Make the release, take down, prove."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    with tempfile.TemporaryDirectory() as place:
        old, new, takedown = (Path(place) / name for name in ("old", "new", "takedown.txt"))
        began = time.perf_counter()
        make_release(old, pairs)
        print(f"{pairs:,} pairs made in {time.perf_counter() - began:.0f} s (not counted)")
        frame = artsound.open(old).frame
        drawn = random.Random(0).sample(range(pairs), LISTED)
        lines, gone = [], set()
        for number, row in enumerate(drawn):
            key, artwork = frame["key"][row], frame["artwork_id"][row]
            spell = SPELLINGS[number % len(SPELLINGS)]
            lines.append(spell(artwork) if number % 2 else f"{int(key)}.mp3")
            gone.add(key)
        takedown.write_text("\n".join(lines))
        withdrawn, for_withdraw = timed("withdraw", old, takedown, "--out", new)
        proven, for_proof = timed("verify", new, "--without", takedown)
        left = set(artsound.open(new).frame["key"])
        if left & gone or len(left) != pairs - LISTED:
            raise SystemExit("a listed pair is left, or another is gone")
        refused = subprocess.run(
            ["artsound", "verify", old, "--without", takedown],
            check=False, stdout=subprocess.DEVNULL,
        ).returncode  # fmt: skip
        if refused != 1:
            raise SystemExit("the old release passed the check, so the check proves nothing")
        total = withdrawn + proven
        print(f"withdraw {withdrawn:.1f} s, verify --without {proven:.1f} s: {total:.1f} s")
        print(f"time of processors: {for_withdraw:.1f} s and {for_proof:.1f} s")
        print(f"goal {GOAL:.0f} s: {'met' if total <= GOAL else 'missed'}")


if __name__ == "__main__":
    main()
