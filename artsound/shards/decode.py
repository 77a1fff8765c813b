"""Decodes a sample's bytes to arrays: picture, sound, and the fields beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from artsound.errors import BadData, BadUsage
from artsound.media import MediaError
from artsound.media.audio import clip_header, load_mono
from artsound.media.images import load_rgb, load_square
from artsound.media.mel import MelBands, log_mel
from artsound.untrusted import read_array

IMAGES = ("jpg", "jpeg", "png", "webp")
AUDIO = ("mp3", "flac", "wav", "ogg")


@dataclass(frozen=True)
class Decode:
    """What a decoded sample looks like. The defaults keep picture and sound as they are.

    Attributes:
        image: Whether to decode the picture; otherwise it is left out.
        audio: Whether to decode the sound; otherwise it is left out.
        image_size: Side, in pixels, of the square that the middle of the picture is scaled to;
            0 keeps the whole picture.
        sample_rate: Of the mono sound, in Hz; 0 keeps the clip's own.
        audio_seconds: Length of the sound, cut or padded with silence to exactly that; 0 keeps
            all of it.
        audio_start: Seconds from the clip's start, or "random": a place drawn from the stream's
            seed, the epoch and the key, the same for any number of workers.
        mel: Log-mel levels of the sound to add: a `MelBands`, a dict of its fields, or True for
            its defaults, which need sample_rate 16000.

    Raises:
        BadUsage: A value is impossible.
    """

    image: bool = True
    audio: bool = True
    image_size: int = 0
    sample_rate: int = 0
    audio_seconds: float = 0.0
    audio_start: float | Literal["random"] = 0.0
    mel: MelBands | Mapping[str, Any] | bool | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "mel", _bands(self.mel))
        for name in ("image_size", "sample_rate", "audio_seconds"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not 0 <= value < 1_000_000:
                raise BadUsage(f"{name} is {value!r}: give a number from 0 to a million.")
        start = self.audio_start
        if start != "random" and not (isinstance(start, (int, float)) and 0 <= start < math.inf):
            raise BadUsage(f"audio_start is {start!r}: give seconds, or 'random'.")
        if self.audio_start == "random" and not self.audio_seconds:
            raise BadUsage("A random audio_start needs audio_seconds: how much to take from there.")


def decode(sample: Mapping[str, Any], options: Decode, *, draw: float = 0.0) -> dict[str, Any]:
    """Decode a sample.

    Args:
        sample: A sample as `Dataset.read` returns it: key, members' bytes, .json fields.
        options: What the result looks like.
        draw: 0–1: the position of a random window of sound in the clip.

    Returns:
        The key, the fields of the .json, and `image`: uint8 [height, width, 3], sRGB, upright;
        `audio`: float32 [n], mono, −1..1, with `sample_rate` in Hz and `audio_start` in seconds;
        `mel`: float32 [frames, bins], if chosen; a member such as latent.npy as the array
        `latent`.

    Raises:
        BadData: Something cannot be decoded; the message names the key.
    """
    fields = sample.get("json", {})
    decoded: dict[str, Any] = {**fields} if isinstance(fields, Mapping) else {"json": fields}
    decoded["key"] = sample["key"]
    try:
        for name, data in sample.items():
            if name in IMAGES and options.image:
                decoded["image"] = _image(data, options.image_size)
            elif name in AUDIO and options.audio:
                decoded.update(_audio(data, options, draw))
            elif name.endswith(".npy"):
                decoded[name.removesuffix(".npy")] = read_array(data)
            elif name not in (*IMAGES, *AUDIO, "json", "key"):
                decoded[name] = data
    except (MediaError, ValueError) as error:
        raise BadData(f"Sample {sample['key']} cannot be decoded: {error}.") from error
    return decoded


def decode_options(given: Decode | Mapping[str, Any] | None) -> Decode | None:
    """A `Decode` made of a dict of its fields; a Decode and None stay as they are.

    Raises:
        BadUsage: It is something else, or names a field that does not exist.
    """
    if given is None or isinstance(given, Decode):
        return given
    if not isinstance(given, Mapping):
        raise BadUsage(f"decode is {given!r}: give a dict of its options, or a Decode.")
    known = [field.name for field in fields(Decode)]
    if unknown := [name for name in given if name not in known]:
        raise BadUsage(f"decode has no option {unknown[0]!r}: there are {', '.join(known)}.")
    return Decode(**given)


def _bands(given: object) -> MelBands | None:
    if given is None or given is False or isinstance(given, MelBands):
        return given or None
    if given is True:
        return MelBands()
    known = [field.name for field in fields(MelBands)]
    if not isinstance(given, Mapping) or not set(given) <= set(known):
        raise BadUsage(f"mel is {given!r}: give True, or some of {', '.join(known)}.")
    return MelBands(**given)


def _image(data: bytes, size: int) -> np.ndarray:
    return load_square(data, size) if size else load_rgb(data).copy()  # torch needs it writable


def _audio(data: bytes, options: Decode, draw: float) -> dict[str, Any]:
    own_rate, seconds = clip_header(data)
    rate = options.sample_rate or own_rate
    start = options.audio_start
    if isinstance(start, str):
        start = draw * max(0.0, seconds - options.audio_seconds)
    mono = load_mono(
        data, sample_rate=rate, start=float(start), seconds=options.audio_seconds or None
    )
    if options.audio_seconds:
        length = round(options.audio_seconds * rate)
        mono = mono[:length]
        if len(mono) < length:  # np.pad copies even when there is nothing to add
            mono = np.pad(mono, (0, length - len(mono)))
    decoded = {"audio": mono, "sample_rate": rate, "audio_start": float(start)}
    if isinstance(options.mel, MelBands):
        decoded["mel"] = log_mel(mono, rate, options.mel)
    return decoded
