"""Pairs of a build judged by models that its bridge never saw.

    python benchmarks/independent.py out --models models     # see outside_models.py for the models

Music tags hear each clip, ImageNet features and measured colours see each picture, and sentence
embeddings read both captions. Every test is a permutation test: which picture a clip has is drawn
again within its split, PERMUTATIONS times; `null` is the mean over these. Each is done over clips
and once more over musicians, whose clips and pictures are averaged first, since clips of one
musician are no independent evidence. p is two-sided; "all" is p times the number of all tests
(Bonferroni), and all tests are listed. The table is Markdown. Without --models, or where they are
not installed, the command says what to install, and ends.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from outside_models import Eye, Tagger, sentences
from scipy.stats import rankdata

import artsound
from artsound.encoders.base import load_embeddings
from artsound.encoders.descriptors import descriptor_names
from artsound.pairing.affect import load_axes, read_fit
from artsound.storage import Workspace

PERMUTATIONS = 20_000
ENERGY = (
    ("loud", "fast", "rock", "metal", "techno", "beat", "drums"),
    ("slow", "quiet", "soft", "ambient", "classical"),
)
MOOD = (("happy",), ("sad",))
# Wider, since both tags are rare; chosen before any test was run with the present axes.
WIDE = (("happy", "party", "catchy", "funk"), ("sad", "Mellow", "chill", "beautiful"))

Statistic = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Test:
    """One test: `x` [n, …] of the clips and `y` [n, …] of their pictures."""

    name: str
    x: np.ndarray
    y: np.ndarray
    statistic: Statistic


def correlation(x: np.ndarray, y: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of x [n] with y [n] in each of the orders [k, n]."""
    a, b = (rankdata(values) - (len(values) + 1) / 2 for values in (x, y))
    scale = np.sqrt((a @ a) * (b @ b))
    return b[orders] @ a / (scale or 1.0)


def likeness(x: np.ndarray, y: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Spearman's correlation of the distances within x [n, D] and within y [n, E]: RSA."""
    upper = np.triu_indices(len(x), 1)
    a, b = (_ranked(_cosines(rows)[upper]) for rows in (x, y))
    square = np.zeros((len(x), len(x)))
    square[upper] = b
    square += square.T
    scale = np.sqrt((a @ a) * (b @ b))
    rows, columns = upper
    parts = np.array_split(orders, max(1, len(orders) // 500))
    return np.concatenate([square[o[:, rows], o[:, columns]] @ a for o in parts]) / scale


def together(x: np.ndarray, y: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """The mean cosine of x [n, D] with y [n, D] in each order, each side centred."""
    a, b = (_units(rows - rows.mean(axis=0)) for rows in (x, y))
    cosines = a @ b.T
    return cosines[np.arange(len(x)), orders].mean(axis=1)


def _units(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _cosines(rows: np.ndarray) -> np.ndarray:
    unit = _units(rows - rows.mean(axis=0))
    return unit @ unit.T


def _ranked(values: np.ndarray) -> np.ndarray:
    ranks: np.ndarray = rankdata(values)
    return ranks - ranks.mean()


def _standard(values: np.ndarray) -> np.ndarray:
    spread = values.std(axis=0)
    return (values - values.mean(axis=0)) / np.where(spread > 1e-9, spread, np.inf)


def residual(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Values [n, …] without what a linear regression on `known` [n, K] explains."""
    table = np.column_stack([np.ones(len(known)), _standard(known)])
    return values - table @ np.linalg.lstsq(table, values, rcond=None)[0]


def result(test: Test, groups: np.ndarray) -> tuple[float, float, float]:
    """The statistic, its mean if pictures are exchanged within `groups`, and p."""
    rng = np.random.default_rng(zlib.crc32(test.name.encode()))
    orders = np.tile(np.arange(len(groups)), (PERMUTATIONS + 1, 1))
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        shuffled = rng.permuted(np.tile(members, (PERMUTATIONS, 1)), axis=1)
        orders[1:, members] = shuffled
    values = test.statistic(test.x, test.y, orders)
    null = float(values[1:].mean())
    farther = np.abs(values[1:] - null) >= abs(values[0] - null) - 1e-12
    return float(values[0]), null, float((1 + farther.sum()) / (PERMUTATIONS + 1))


def averaged(rows: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """The means of rows [n, …] over each owner, float64 [owners, …]."""
    return np.stack([rows[owners == owner].mean(axis=0) for owner in range(owners.max() + 1)])


def _contrast(
    tags: np.ndarray, names: Sequence[str], sets: tuple[Sequence[str], ...]
) -> np.ndarray:
    """Standardised log-odds of some tags less those of others: [n]."""
    odds = _standard(np.log(tags) - np.log1p(-tags))
    more, fewer = (odds[:, [names.index(tag) for tag in part]].mean(axis=1) for part in sets)
    return more - fewer


def _descriptors(
    build: Path, side: str, items: Sequence[str]
) -> tuple[np.ndarray, Mapping[str, np.ndarray]]:
    ids, rows = load_embeddings(Workspace(build), "affect", side)  # type: ignore[arg-type]
    place = {name: n for n, name in enumerate(ids)}
    table = np.asarray(rows[[place[item] for item in items]], dtype=np.float64)
    return table, dict(zip(descriptor_names(side[:-1]), table.T, strict=True))


def tests_of(build: Path, models: Path) -> tuple[list[Test], np.ndarray, np.ndarray]:
    """All tests of a build's pairs, the split of each clip, and its musician, as numbers."""
    data = artsound.open(str(build / "shards"))
    frame = data.frame
    samples = [data.read(n) for n in range(len(data))]
    clips, pictures = ([sample[kind] for sample in samples] for kind in ("mp3", "jpg"))
    tagger, other = Tagger(models, "MTT"), Tagger(models, "MSD")
    heard = [tagger(clip) for clip in clips]
    mtt, msd = np.array([tags for tags, _ in heard]), np.array([other(clip)[0] for clip in clips])
    sound = np.array([features for _, features in heard])
    eye = Eye(models)
    sight = np.array([eye(picture)[0] for picture in pictures], dtype=np.float64)
    captions = [
        sentences(models, frame[f"{side}_caption"].to_list()) for side in ("track", "artwork")
    ]
    all_clip, clip = _descriptors(build, "tracks", frame["track_id"].to_list())
    all_picture, picture = _descriptors(build, "artworks", frame["artwork_id"].to_list())
    fit = read_fit(build / "shards" / "fits.json")
    axis = dict(zip(fit.axes, fit.track_places(all_clip).T, strict=True))
    styles = frame["artwork_style"].fill_null("").to_list()
    seen = dict(zip(fit.axes, fit.artwork_places(all_picture, styles).T, strict=True))

    energy = _contrast(mtt, tagger.tags, ENERGY)
    mood, wide = (_contrast(msd, other.tags, sets) for sets in (MOOD, WIDE))
    calm = axis["arousal"][:, None]
    used = [{name for one in load_axes() for name in getattr(one, side)} for side in
            ("track", "artwork")]  # fmt: skip
    clip_rest, clip_used, picture_rest, picture_used = (
        np.column_stack([values for name, values in table.items() if (name in known) == inside])
        for table, known in zip((clip, picture), used, strict=True)
        for inside in (False, True)
    )
    tests = [
        Test("clip: arousal axis, tags of energy", axis["arousal"], energy, correlation),
        Test("clip: valence axis, happy - sad", axis["valence"], mood, correlation),
        Test("clip: valence axis, happy - sad; wider", axis["valence"], wide, correlation),
        Test("clip: valence axis, happy - sad; arousal removed",
             residual(axis["valence"], calm), residual(mood, calm), correlation),
        Test("clip: valence axis, happy - sad; wider, arousal removed",
             residual(axis["valence"], calm), residual(wide, calm), correlation),
        Test("clip: arousal axis, happy - sad", axis["arousal"], mood, correlation),
        Test("clip: majorness, happy - sad", clip["majorness"], mood, correlation),
        Test("clip: clear_majorness, happy - sad", clip["clear_majorness"], mood, correlation),
        *(Test(f"pair: energy, {name}", energy, picture[name], correlation)
          for name in ("colourfulness", "chroma", "complexity", "edge_density")),
        *(Test(f"pair: happy - sad{how}, {name}", values, picture_values, correlation)
          for how, values in (("", mood), ("; wider", wide))
          for name, picture_values in (("lightness", picture["lightness"]),
                                       ("yellowness", picture["yellowness"]),
                                       ("valence of the picture", seen["valence"]))),
        Test("pair: sound alike, sight alike", sound, sight, likeness),
        Test("pair: sound alike, sight alike; used descriptors removed",
             sound, residual(sight, picture_used), likeness),
        Test("pair: captions alike", captions[0], captions[1], together),
        Test("held out: all descriptors alike",
             _standard(clip_rest), _standard(picture_rest), likeness),
        Test("held out: all descriptors alike; used ones removed",
             residual(_standard(clip_rest), clip_used),
             residual(_standard(picture_rest), picture_used), likeness),
        Test("held out: rolloff, saturation", clip["rolloff"], picture["saturation"], correlation),
        Test("held out: zero_crossings, hue_entropy",
             clip["zero_crossings"], picture["hue_entropy"], correlation),
        Test("held out: bandwidth, fineness", clip["bandwidth"], picture["fineness"], correlation),
        Test("held out: dynamic_range, lightness_spread",
             clip["dynamic_range"], picture["lightness_spread"], correlation),
    ]  # fmt: skip
    splits = np.unique(frame["split"].to_numpy(), return_inverse=True)[1]
    musicians = np.unique(frame["musician_id"].cast(str).to_numpy(), return_inverse=True)[1]
    return tests, splits, musicians


def table(tests: Sequence[Test], splits: np.ndarray, musicians: np.ndarray) -> str:
    """All tests over clips and over musicians, as a Markdown table."""
    owners = musicians.max() + 1
    by_musician = averaged(splits[:, None].astype(float), musicians)[:, 0]  # no one is in two
    lines = [
        f"{len(splits)} pairs of {owners} musicians; {2 * len(tests)} tests, "
        f"{PERMUTATIONS:,} permutations each.",
        "",
        "| test | over clips | null | p | all | over musicians | null | p | all |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for test in tests:
        mean = Test(
            test.name, averaged(test.x, musicians), averaged(test.y, musicians), test.statistic
        )
        cells = []
        for one, groups in ((test, splits), (mean, by_musician)):
            value, null, p = result(one, groups)
            cells += [
                f"{value:.2f}",
                f"{null:.2f}",
                f"{p:.4f}",
                f"{min(1, p * 2 * len(tests)):.3f}",
            ]
        lines.append(f"| {' | '.join([test.name, *cells])} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=Path, nargs="?", default=Path("out"))
    parser.add_argument("--models", type=Path, default=Path("models"))
    options = parser.parse_args()
    if not (options.models / "musicnn").is_dir() or not options.build.is_dir():
        print(
            f"not run: it needs a build ({options.build}) and the models in {options.models}: "
            "see benchmarks/outside_models.py"
        )
        return
    print(table(*tests_of(options.build, options.models)))


if __name__ == "__main__":
    main()
