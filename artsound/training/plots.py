"""Plots of sound and of measures, as PNG bytes; the same input gives the same bytes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from artsound.media.mel import mel_frequencies
from artsound.training.config import Mel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK, _ACCENT, _PALE, _FOURTH = "#22303c", "#b5482a", "#9fb0bd", "#4f7a5b"


def spectrogram(levels: np.ndarray, mel: Mel) -> np.ndarray:
    """An image uint8 [bins * 3, frames, 3] of a log-mel [frames, bins]: low notes at the bottom."""
    from matplotlib import colormaps

    shares = (levels.T[::-1] - mel.floor) / (mel.ceiling - mel.floor)
    rgb = colormaps["magma"](np.clip(shares, 0, 1))[..., :3]
    return np.repeat((rgb * 255).astype(np.uint8), 3, axis=0)


def spectrogram_png(levels: np.ndarray, mel: Mel) -> bytes:
    """`spectrogram` as a PNG file."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(spectrogram(levels, mel)).save(buffer, "PNG")
    return buffer.getvalue()


def labelled_spectrogram_png(levels: np.ndarray, mel: Mel) -> bytes:
    """`spectrogram` as a PNG file with axes in seconds and Hz, and a colour scale."""
    figure, axis = _figure(8.0, 3.2)
    shown = _draw(axis, levels, mel)
    unit = "dB of full scale" if mel.scale == "decibel" else "log magnitude"
    figure.colorbar(shown, ax=axis, label=unit, pad=0.01)
    return _png(figure)


def preview_image(
    picture: np.ndarray | None, own: np.ndarray, made: np.ndarray, mel: Mel
) -> np.ndarray:
    """A picture, the spectrogram of its own track, and that of the music made for it.

    Args:
        picture: uint8 [H, W, 3]; None: it cannot be read.
        own: Log-mel [frames, bins].
        made: Log-mel [frames, bins].
        mel: What both were made by.

    Returns:
        uint8 [height, width, 3].
    """
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=(11.0, 2.6), dpi=100, layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=(1, 2, 2))
    axes[0].axis("off")
    if picture is not None:
        axes[0].imshow(picture)
    for axis, levels, title in ((axes[1], own, "its own track"), (axes[2], made, "generated")):
        _draw(axis, levels, mel)
        axis.set_title(title, fontsize=10)
    return np.asarray(Image.open(io.BytesIO(_png(figure))).convert("RGB"))


def _draw(axis: Any, levels: np.ndarray, mel: Mel) -> Any:
    """A spectrogram with axes in seconds and Hz."""
    seconds = len(levels) * mel.hop / mel.sample_rate
    shown = axis.imshow(
        levels.T,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=mel.floor,
        vmax=mel.ceiling,
        extent=(0, seconds, 0, mel.bins),
    )
    # The edges and centres of the bands.
    edges = mel_frequencies(mel.bins + 2, mel.low_hz, mel.high_hz)
    marks = [hertz for hertz in (250, 500, 1000, 2000, 4000, 8000, 16000) if hertz <= mel.high_hz]
    axis.set_yticks(np.interp(marks, edges, np.arange(mel.bins + 2) - 0.5), map(str, marks))
    axis.set_xlabel("seconds")
    axis.set_ylabel("Hz")
    return shown


def effect_png(summary: dict[str, Any], effects: dict[str, np.ndarray]) -> bytes:
    """The picture's effect: a dot for every pair, mean and interval for every system."""
    figure, axis = _figure(7.0, 0.9 + 0.7 * len(effects))
    for row, (name, values) in enumerate(effects.items()):
        interval = summary["systems"][name][summary["embeddings"][0]]["condition_effect"]
        axis.scatter(values, np.full(len(values), row), s=14, color=_PALE, zorder=2)
        axis.plot([interval["low"], interval["high"]], [row, row], color=_ACCENT, lw=3, zorder=3)
        axis.scatter([interval["mean"]], [row], s=46, color=_ACCENT, zorder=4)
    axis.axvline(0, color=_INK, lw=1)
    axis.set_yticks(range(len(effects)), list(effects))
    axis.set_ylim(len(effects) - 0.5, -0.5)
    axis.set_xlabel(
        "how much closer to its own track than shuffled pictures' music is\n"
        "(in spreads of the training tracks; a dot a pair, bars 95% intervals)"
    )
    return _png(figure)


def frechet_png(summary: dict[str, Any]) -> bytes:
    """Fréchet distance by number of clips, which shows the bias of small sets."""
    figure, axis = _figure(7.0, 3.2)
    for (name, measures), colour in zip(
        summary["systems"].items(), (_ACCENT, _PALE, _INK, _FOURTH), strict=False
    ):
        sizes = measures[summary["embeddings"][0]]["frechet_by_size"]
        axis.plot(
            [int(n) for n in sizes], list(sizes.values()), marker="o", label=name, color=colour
        )
    axis.set_xlabel("generated clips")
    axis.set_ylim(bottom=0)
    axis.set_ylabel("Fréchet distance (spreads²)")
    axis.legend(frameon=False)
    return _png(figure)


def _figure(width: float, height: float) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    # Not pyplot: no global state, no display.
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    axis = figure.add_subplot()
    axis.spines[["top", "right"]].set_visible(False)
    return figure, axis


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
