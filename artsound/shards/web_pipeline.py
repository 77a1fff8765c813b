"""A webdataset pipeline over the samples of a dataset: `Dataset.webdataset`.

webdataset reads whole tar files in order. This pipeline starts from the index instead: shards
without a wanted sample are never opened, the bytes of other samples are not read, and shards may
lie wherever `artsound.open` reads them. What follows the source is webdataset's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import webdataset

from artsound.errors import BadUsage
from artsound.shards.decode import Decode, decode
from artsound.shards.index import sample_fields
from artsound.shards.reader import SampleSource

_AT_ONCE = 16  # samples per request: neighbours are fetched by one


class WebPipeline(webdataset.DataPipeline, webdataset.FluidInterface):  # type: ignore[misc]
    """A `webdataset.DataPipeline` with the methods of `webdataset.WebDataset`."""


def web_pipeline(
    layers: Sequence[SampleSource], *, decoding: Decode | None, shuffle: int, seed: int
) -> WebPipeline:
    """The pipeline of the samples of some layers; see `artsound.shards.dataset.Dataset`."""
    if not isinstance(shuffle, int) or shuffle < 0:
        raise BadUsage(f"shuffle is {shuffle!r}: give a number of samples, 0 for none.")
    counts = layers[0].pointers.shard_counts
    shards = np.flatnonzero(counts).tolist()
    steps: list[Any] = [ShardNumbers(shards)]
    if shuffle:
        # Before the shards are shared out, so that every node takes part in every shard's turn.
        steps.append(webdataset.detshuffle(len(shards), initial=len(shards), seed=seed))
    steps += [webdataset.split_by_node, webdataset.split_by_worker, Members(tuple(layers))]
    if shuffle:
        steps.append(webdataset.detshuffle(shuffle, initial=shuffle, seed=seed))
    if decoding is not None:
        steps.append(webdataset.map(Decoding(decoding)))
    return WebPipeline(*steps)


class ShardNumbers:
    """The source of the pipeline: the numbers of the shards to read."""

    def __init__(self, numbers: list[int]) -> None:
        self.numbers = numbers

    def __call__(self) -> Iterator[int]:
        return iter(self.numbers)


class Members:
    """The step that reads: numbers of shards in, samples with their members' bytes out."""

    def __init__(self, layers: tuple[SampleSource, ...]) -> None:
        self.layers = layers

    def __call__(self, shards: Iterable[int]) -> Iterator[dict[str, Any]]:
        for shard in shards:
            numbers = np.flatnonzero(self.layers[0].pointers.shard == shard)
            for start in range(0, len(numbers), _AT_ONCE):
                yield from self._read(numbers[start : start + _AT_ONCE].tolist())

    def _read(self, numbers: list[int]) -> list[dict[str, Any]]:
        first = self.layers[0]
        samples: list[dict[str, Any]] = []
        for number in numbers:
            name = first.pointers.shards[first.pointers.shard[number]].name
            url = f"{first.store.location}/{name}"
            samples.append({"__key__": str(first.pointers.keys[number]), "__url__": url})
        for layer in self.layers:
            pointers = layer.pointers
            for name, places in _by_shard(layer, numbers).items():
                ranges = [pointers.ranges(numbers[place]) for place in places]
                pieces = iter(
                    layer.store.read_ranges(name, [one for some in ranges for one in some])
                )
                for place in places:
                    number = numbers[place]
                    present = pointers.present(number)
                    members = [next(pieces) for _ in present]
                    pointers.sample(number, members)  # raises BadData for another sample's bytes
                    samples[place].update(zip(present, members, strict=True))
        return samples


class Decoding:
    """The step that decodes: a sample as `artsound.shards.decode` gives it, with `__key__`."""

    def __init__(self, options: Decode) -> None:
        self.options = options

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        members = {name: value for name, value in sample.items() if not name.startswith("__")}
        if "json" in members:
            members["json"] = sample_fields(members["json"])
        decoded = decode({"key": sample["__key__"], **members}, self.options)
        return {"__key__": sample["__key__"], "__url__": sample["__url__"], **decoded}


def _by_shard(layer: SampleSource, numbers: Sequence[int]) -> dict[str, list[int]]:
    """The places in `numbers`, by the shard in which a layer has their members."""
    found: dict[str, list[int]] = {}
    for place, number in enumerate(numbers):
        name = layer.pointers.shards[layer.pointers.shard[number]].name
        found.setdefault(name, []).append(place)
    return found
