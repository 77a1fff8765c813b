"""Decoded samples, ours and webdataset's, and the clocks that `shards.py --only decode` tells.

With the same decoders only what lies around them is compared; then, what a user of webdataset
would write: its picture decoder, and torchcodec for the sound. Ours also hands on the fields of
the .json, webdataset's samples have none.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

import artsound
from artsound.shards.decode import Decode, decode

OPTIONS = Decode(image_size=256, sample_rate=16_000, audio_seconds=10.0)
BATCH = 16


class Times(NamedTuple):
    """Seconds of each repetition: by the clock, and of processors in all processes."""

    wall: list[float]
    cost: list[float]


def decoding_times(folder: Path, repeats: int) -> dict[str, Times]:
    """What each way of decoding the shards of a folder takes, ours last."""
    import webdataset  # shard_peers.py imports this file where there may be none

    data = artsound.open(folder)
    urls = [str(path) for path in sorted(folder.glob("*.tar"))]
    workers = os.cpu_count() or 1

    def theirs(dataset: Any) -> None:
        loader = webdataset.WebLoader(dataset, batch_size=BATCH, num_workers=workers)
        assert sum(len(batch["key"]) for batch in loader) == len(data)

    def same() -> None:
        theirs(webdataset.WebDataset(urls, shardshuffle=False).map(decoded_by_webdataset))

    def own() -> None:
        opened = webdataset.WebDataset(urls, shardshuffle=False)
        theirs(opened.decode("pilrgb", sound_by_torchcodec).map(picture_and_sound))

    def ours() -> None:
        stream = data.stream(batch_size=BATCH, shuffle=False, decode=OPTIONS)
        assert sum(len(batch["key"]) for batch in stream.loader(workers=workers)) == len(data)

    return in_turns(
        {"webdataset": same, "webdataset, pil + torchcodec": own, "ours": ours}, repeats
    )


def in_turns(ways: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, Times]:
    """What each way takes, in seconds, so many times.

    The ways take turns, every other time from last to first, so that a busy moment hits all.
    """
    times = {name: Times([], []) for name in ways}
    for turn in range(repeats):
        for name in reversed(ways) if turn % 2 else ways:
            start, before = time.perf_counter(), processor_seconds()
            ways[name]()
            times[name].wall.append(time.perf_counter() - start)
            times[name].cost.append(processor_seconds() - before)
    return times


def processor_seconds() -> float:
    """What this process and its workers have used, however busy the machine is."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def decoded_by_webdataset(sample: dict[str, Any]) -> dict[str, Any]:
    """What the same functions make of a sample that webdataset read."""
    return decode({"key": sample["__key__"], "jpg": sample["jpg"], "mp3": sample["mp3"]}, OPTIONS)


def picture_and_sound(sample: dict[str, Any]) -> dict[str, Any]:
    """The same shapes from what webdataset's "pilrgb" and a sound decoder made of a sample."""
    picture = ImageOps.fit(sample["jpg"], (256, 256), Image.Resampling.BICUBIC)
    return {"key": sample["__key__"], "image": np.array(picture), "audio": sample["mp3"]}


def sound_by_torchcodec(name: str, data: bytes) -> Any:
    """A decoder for webdataset, whose own torch_audio needs torchaudio and decodes whole clips."""
    if not name.endswith("mp3"):
        return None
    from torchcodec.decoders import AudioDecoder

    decoder = AudioDecoder(data, sample_rate=OPTIONS.sample_rate, num_channels=1)
    sound = decoder.get_samples_played_in_range(0, OPTIONS.audio_seconds).data[0].numpy()
    wanted = round(OPTIONS.audio_seconds * OPTIONS.sample_rate)
    return np.pad(sound[:wanted], (0, max(0, wanted - len(sound))))
