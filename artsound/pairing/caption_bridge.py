"""The `captions` bridge: each side's captions against the other side itself.

What a caption says of a painting is compared with the sound, in CLAP; what a caption says of the
music is compared with the picture, in CLIP.
"""

from __future__ import annotations

import numpy as np

from artsound.pairing.rows import centred_rows, checked_rows


def caption_rows(
    images: np.ndarray,
    artwork_captions: np.ndarray,
    audio: np.ndarray,
    track_captions: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Artworks and tracks as unit rows float32 of one space, [nA, D] and [nT, D].

    `images` and `track_captions` are CLIP's, `audio` and `artwork_captions` CLAP's; the artworks'
    two have as many rows as each other, and so have the tracks'. A score is
    w · image·(music caption) + (1 − w) · (artwork caption)·audio of rows that are first centred,
    each kind by itself, which removes the modality gaps. w gives both terms the same deviation
    over all pairs, so that neither encoder outweighs the other.
    Raises ValueError for empty, zero or non-finite rows, and where rows or widths do not fit.
    """
    images, audio = checked_rows(images, "images"), checked_rows(audio, "audio")
    seen = checked_rows(track_captions, "track captions", images.shape[1])
    heard = checked_rows(artwork_captions, "artwork captions", audio.shape[1])
    for items, captions, name in ((images, heard, "artworks"), (audio, seen, "tracks")):
        if len(items) != len(captions):
            raise ValueError(f"there are {len(items)} {name} but {len(captions)} captions")
    images, audio, seen, heard = (centred_rows(rows) for rows in (images, audio, seen, heard))
    in_clip, in_clap = _deviation(images, seen), _deviation(heard, audio)
    both = in_clip + in_clap
    # The more a term varies, the less it weighs.
    weight = in_clap / both if both > 0 else 0.5
    clip, clap = np.float32(np.sqrt(weight)), np.float32(np.sqrt(1.0 - weight))
    return (
        np.concatenate([images * clip, heard * clap], axis=1),
        np.concatenate([seen * clip, audio * clap], axis=1),
    )


def _deviation(rows: np.ndarray, others: np.ndarray) -> float:
    """The standard deviation of the dot products of all pairs, exactly, without making them."""
    x, y = rows.astype(np.float64), others.astype(np.float64)
    square = float(((x.T @ x) * (y.T @ y)).sum()) / (len(x) * len(y))
    mean = float(x.mean(axis=0) @ y.mean(axis=0))
    return float(np.sqrt(max(square - mean * mean, 0.0)))
