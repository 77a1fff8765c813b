"""The measures of published papers on generated music: `evaluate --protocol paper`.

Each is a plug-in of the kind `metric` (`MetricPlugin`). It reads one clip at a time, so that only
rows and numbers are in memory, and compares what it read of the real tracks with what it read of a
system's, in the same order. Levels are not changed, and each system has one clip for each pair.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from artsound import plugins
from artsound.encoders.base import EncoderSettings, open_encoder
from artsound.errors import BadData, BadUsage
from artsound.media.audio import load_mono
from artsound.progress import QUIET, Progress
from artsound.training.audio_networks import PANNS_FILE, VGGISH_FILE, Cnn14, Vggish
from artsound.training.metrics import (
    frechet_by_size,
    frechet_distance,
    frechet_without_bias,
    kernel_distance,
)

_SMALLEST = 1e-6  # added to probabilities by AudioLDM's evaluation


@dataclass(frozen=True)
class PairClip:
    """What a metric reads: the sound of a pair, and the picture and captions it belongs to.

    Attributes:
        key: Of the pair.
        sound: An audio file.
        picture: The artwork, a JPEG.
        artwork_caption: "" where the release has none.
        track_caption: "" where the release has none.
    """

    key: str
    sound: bytes
    picture: bytes = b""
    artwork_caption: str = ""
    track_caption: str = ""

    def mono(self, rate: int) -> np.ndarray:
        """The sound as float32 at `rate` Hz."""
        return load_mono(self.sound, sample_rate=rate)


@dataclass(frozen=True)
class MetricScore:
    """One number of a system.

    Attributes:
        name: Of the measure.
        value: None if it could not be measured.
        better: "lower" or "higher".
        note: The numbers of rows, or why it was not measured.
    """

    name: str
    value: float | None
    better: str
    note: str = ""


class Metric(Protocol):
    """An opened metric."""

    def read(self, clip: PairClip) -> Any:
        """What `scores` needs of one clip."""
        ...

    def scores(self, real: Sequence[Any], made: Sequence[Any]) -> list[MetricScore]:
        """The measures of a system.

        Args:
            real: What was read of the real tracks, in the order of the pairs.
            made: What was read of the system's clips for the same pairs.
        """
        ...


class MetricPlugin(Protocol):
    """What a metric must have: subclass this, or write a class with the same attributes.

    The first line of its docstring is what `artsound plugins` shows.

    Attributes:
        name: The name that `--metric` takes.
        version: Of the plug-in; text.
        extra: The extra of ArtSound that it needs.
    """

    name: str
    version: str
    extra: str = "train"

    @abstractmethod
    def open(self, argument: str, device: str) -> Metric:
        """Load what it needs on a device.

        Args:
            argument: The text after a colon in its name, such as a file of weights.
            device: "cpu", or that of a GPU.

        Raises:
            BadData: Weights are missing or damaged.
            BadUsage: The argument is wrong.
        """
        ...


def _frechet(real: np.ndarray, made: np.ndarray, what: str, unit: str) -> list[MetricScore]:
    """The Fréchet distance and its limit for many clips, with what limits their ranks."""
    counts = f"{len(real):,} and {len(made):,} {unit} of {real.shape[1]:,} numbers"
    if min(len(real), len(made)) <= real.shape[1]:
        counts += (
            "; fewer than its numbers, so that covariances have not full rank and the distance is "
            "biased upwards"
        )
    unbiased = frechet_without_bias(frechet_by_size(real, made))
    return [
        MetricScore(f"FAD ({what})", frechet_distance(real, made), "lower", counts),
        MetricScore(f"FAD∞ ({what})", unbiased, "lower", counts),
    ]


class VggishMetric(MetricPlugin):
    """FAD on VGGish: examples of 0.96 s (Kilgour et al., Interspeech 2019)."""

    name, version = "vggish", "1"

    def open(self, argument: str, device: str) -> Metric:
        """Load a published file of weights; raises as `Vggish` does."""
        return _Vggish(Vggish(_given(argument, self.name, VGGISH_FILE), device))


@dataclass(frozen=True)
class _Vggish:
    model: Vggish

    def read(self, clip: PairClip) -> np.ndarray:
        return self.model(clip.mono(self.model.rate))

    def scores(self, real: Sequence[np.ndarray], made: Sequence[np.ndarray]) -> list[MetricScore]:
        return _frechet(np.concatenate(real), np.concatenate(made), "VGGish", "frames")


class PannsMetric(MetricPlugin):
    """FAD, kernel distance and KL over 527 classes on PANNs CNN14, a row for each clip."""

    name, version = "panns", "1"

    def open(self, argument: str, device: str) -> Metric:
        """Load a published file of weights; raises as `Cnn14` does."""
        return _Panns(Cnn14(_given(argument, self.name, PANNS_FILE), device))


@dataclass(frozen=True)
class _Panns:
    model: Cnn14

    def read(self, clip: PairClip) -> tuple[np.ndarray, np.ndarray]:
        return self.model(clip.mono(self.model.rate))

    def scores(self, real: Sequence[Any], made: Sequence[Any]) -> list[MetricScore]:
        first, second = (np.array([row for row, _ in rows]) for rows in (real, made))
        logits = [np.array([each for _, each in rows]) for rows in (real, made)]
        divergence = tag_divergence(*logits)
        classes = f"{len(real):,} pairs, {logits[0].shape[1]:,} classes"
        return [
            *_frechet(first, second, "PANNs", "clips"),
            _kernel(first, second, "PANNs"),
            MetricScore("KL (PANNs)", divergence, "lower", classes),
        ]


def _kernel(real: np.ndarray, made: np.ndarray, what: str) -> MetricScore:
    """The kernel distance as kadtk 1.1.0 has it: its width is a distance within the made clips."""
    counts = f"{len(real):,} and {len(made):,} clips; unbiased at any number"
    return MetricScore(f"KAD ({what})", kernel_distance(made, real), "lower", counts)


def tag_divergence(real: np.ndarray, made: np.ndarray) -> float:
    """Mean KL(real ‖ generated) in nats of the softmax of a tagger's logits [n, classes], by pair.

    As in the evaluations of AudioGen and AudioLDM; 1e-6 is added to the generated probabilities.
    """
    from scipy.special import log_softmax, softmax

    p, log_p = (
        softmax(real.astype(np.float64), axis=1),
        log_softmax(real.astype(np.float64), axis=1),
    )
    log_q = np.log(softmax(made.astype(np.float64), axis=1) + _SMALLEST)
    return float((p * (log_p - log_q)).sum(axis=1).mean())


class ClapMetric(MetricPlugin):
    """CLAP score: the mean cosine of each clip with the captions of its pair."""

    name, version = "clap", "1"

    def open(self, argument: str, device: str) -> Metric:
        """Load LAION-CLAP: a file, or TOWER@FILE for another audio tower than HTSAT-base."""
        _given(argument, self.name, "music_audioset_epoch_15_esc_90.14.pt of lukewys/laion_clap")
        tower, at, file = argument.partition("@")
        if not at or not tower.startswith("HTSAT"):
            tower, file = "HTSAT-base", argument
        settings = EncoderSettings(model=tower, checkpoint=file, batch=8)
        return _Clap(open_encoder("clap", settings, device=device))


@dataclass(frozen=True)
class _Clap:
    model: Any

    def read(self, clip: PairClip) -> list[float | None]:
        [sound] = self.model.audio([clip.sound])
        texts = (clip.track_caption, clip.artwork_caption)
        known = [text for text in texts if text.strip()]
        rows = iter(self.model.texts(known) if known else ())
        return [float(next(rows) @ sound) if text.strip() else None for text in texts]

    def scores(self, real: Sequence[Any], made: Sequence[Any]) -> list[MetricScore]:  # noqa: ARG002
        names = ("CLAP score (track's caption)", "CLAP score (artwork's caption)")
        return [
            _mean(name, [row[place] for row in made], "captions")
            for place, name in enumerate(names)
        ]


class ImageBindMetric(MetricPlugin):
    """ImageBind score: the mean cosine of each clip with the picture of its pair."""

    name, version = "imagebind", "1"

    def open(self, argument: str, device: str) -> Metric:
        """Load ImageBind from where the encoder `imagebind` has it; raises as that does."""
        plugins.refuse_argument("metric", self.name, argument)
        return _ImageBind(open_encoder("imagebind", EncoderSettings(batch=8), device=device))


@dataclass(frozen=True)
class _ImageBind:
    model: Any

    def read(self, clip: PairClip) -> float | None:
        if not clip.picture:
            return None
        [sound], [picture] = self.model.audio([clip.sound]), self.model.images([clip.picture])
        return float(sound @ picture)

    def scores(self, real: Sequence[Any], made: Sequence[Any]) -> list[MetricScore]:  # noqa: ARG002
        return [_mean("ImageBind score", made, "pictures")]


class EncoderMetric(MetricPlugin):
    """FAD and kernel distance in the space of any encoder of sound: encoder:NAME."""

    name, version = "encoder", "1"

    def open(self, argument: str, device: str) -> Metric:
        """Open the encoder of that name; raises as it does."""
        if not argument:
            raise BadUsage("The metric encoder needs a name: write encoder:NAME.")
        plugin, rest = plugins.get("encoder", argument)
        if "audio" not in plugin.modalities:
            raise BadUsage(f"The encoder {argument} takes no sound: name one that does.")
        settings = EncoderSettings(argument=rest, batch=8)
        return _Encoder(plugin.name, open_encoder(argument, settings, device=device))


@dataclass(frozen=True)
class _Encoder:
    name: str
    model: Any

    def read(self, clip: PairClip) -> np.ndarray:
        [row] = self.model.audio([clip.sound])
        return np.asarray(row)

    def scores(self, real: Sequence[np.ndarray], made: Sequence[np.ndarray]) -> list[MetricScore]:
        first, second = np.array(real), np.array(made)
        return [
            *_frechet(first, second, self.name, "clips"),
            _kernel(first, second, self.name),
        ]


def _mean(name: str, values: Sequence[float | None], what: str) -> MetricScore:
    known = [value for value in values if value is not None]
    if not known:
        return MetricScore(name, None, "higher", f"not measured: the release has no {what}")
    return MetricScore(name, float(np.mean(known)), "higher", f"{len(known):,} clips")


def _given(argument: str, name: str, published: str) -> str:
    if not argument:
        raise BadUsage(f"The metric {name} needs its weights: write {name}:FILE, with {published}.")
    return argument


# What a paper's table has, and the option that gives its weights.
_PUBLISHED: Mapping[str, tuple[tuple[str, ...], str]] = {
    "vggish": (("FAD (VGGish)",), "give --vggish FILE"),
    "panns": (("FAD (PANNs)", "KAD (PANNs)", "KL (PANNs)"), "give --panns FILE"),
    "clap": (("CLAP score",), "give --clap FILE"),
    "imagebind": (("ImageBind score",), ""),
}


@dataclass(frozen=True)
class Opened:
    """The metrics to measure by, and the rows of those that cannot be measured."""

    metrics: Mapping[str, Metric]
    missing: tuple[MetricScore, ...]


def open_metrics(
    weights: Mapping[str, str], others: Sequence[str] = (), *, device: str = "cpu"
) -> Opened:
    """Open the published metrics and those that the user names.

    Args:
        weights: For `vggish`, `panns` and `clap` the argument, a file; those left out become rows
            that say what to give.
        others: Names of more metrics, as ``--metric`` takes them.
        device: Where they run.

    Raises:
        BadData: Weights that were given are missing or damaged.
        BadUsage: There is no such metric, or its argument is wrong.
    """
    opened: dict[str, Metric] = {}
    missing: list[MetricScore] = []
    for name, (measures, option) in _PUBLISHED.items():
        remedy = option
        if name in weights or not option:
            try:
                opened[name] = plugins.get("metric", name)[0].open(weights.get(name, ""), device)
                continue
            except (BadData, BadUsage) as error:
                if name in weights:
                    raise
                remedy = str(error).rstrip(".")
        missing += [MetricScore(each, None, "", f"not measured: {remedy}") for each in measures]
    for name in others:
        plugin, argument = plugins.get("metric", name, "--metric")
        opened[name] = plugin.open(argument, device)
    return Opened(opened, tuple(missing))


def measure_paper(
    opened: Opened,
    real: Iterable[PairClip],
    systems: Mapping[str, Callable[[], Iterator[PairClip]]],
    progress: Progress = QUIET,
    *,
    pairs: int = 0,
) -> dict[str, Any]:
    """Measure systems against the real tracks.

    Args:
        opened: The metrics.
        real: The real tracks, in the order of the pairs.
        systems: For each system its clips, in the same order.
        progress: Counts clips read.
        pairs: Their number, for the progress.

    Returns:
        `systems`, with scores by name, and `missing`, as in metrics.json.

    Raises:
        BadData: A metric gave a number that is not finite.
    """

    def read(name: str, clips: Iterable[PairClip]) -> dict[str, list[Any]]:
        rows: dict[str, list[Any]] = {metric: [] for metric in opened.metrics}
        progress.start(f"read {name}", pairs)
        for clip in clips if opened.metrics else ():
            for metric, one in opened.metrics.items():
                rows[metric].append(one.read(clip))
            progress.advance(1)
        progress.finish()
        return rows

    own = read("own tracks", real)
    found: dict[str, list[dict[str, Any]]] = {}
    for system, clips in {"own track": None, **systems}.items():
        rows = own if clips is None else read(system, clips())
        found[system] = []
        for metric, one in opened.metrics.items():
            for score in one.scores(own[metric], rows[metric]):
                if score.value is not None and not np.isfinite(score.value):
                    raise BadData(
                        f"The metric {metric} gave {score.value} for {score.name} of {system}: "
                        "look at its weights, or leave it out."
                    )
                found[system].append(asdict(score))
    return {"systems": found, "missing": [asdict(score) for score in opened.missing]}


def paper_table(paper: Mapping[str, Any]) -> tuple[tuple[str, ...], list[list[str]]]:
    """Heading and rows of a table: a row for each measure, a column for each system."""
    systems = paper["systems"]
    first = next(iter(systems.values()))
    arrows = {"lower": " ↓", "higher": " ↑"}
    rows = [
        [
            f"{score['name']}{arrows.get(score['better'], '')}",
            *(_number(scores[place]["value"]) for scores in systems.values()),
            score["note"],
        ]
        for place, score in enumerate(first)
    ]
    rows += [[score["name"], *("–" for _ in systems), score["note"]] for score in paper["missing"]]
    return ("measure", *systems, "of"), rows


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{0.0 if abs(value) < 1e-9 else value:.4g}"
