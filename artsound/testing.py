"""Conformance checks for plug-ins: call one in a test of the package that brings the plug-in.

    from artsound.testing import check_captioner

    def test_our_captioner_keeps_the_contract():
        check_captioner("our_package.captioner:Haiku")

Each check takes a name, as a recipe has it, or the object itself, uses it on small synthetic
input, and raises AssertionError with one sentence on the first thing that is wrong. The same
checks run on the built-in objects. docs/extending.md describes what each kind must have.
"""

from __future__ import annotations

import io
import json
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, get_origin, get_type_hints

import numpy as np

from artsound import plugins
from artsound.captions.base import CaptionItem, CaptionSettings
from artsound.keys import track_key
from artsound.schema import Artwork, ArtworkDescriptors, Track, TrackDescriptors, arrow_schema


def _open(kind: str, plugin: Any) -> tuple[Any, str, str]:
    """The object of a plug-in, the argument of its name, and how messages refer to it.

    Also checks what all kinds have in common: a name without a colon, a version that is text, and
    a docstring whose first line `artsound plugins` shows.
    """
    found, argument = plugins.get(kind, plugin) if isinstance(plugin, str) else (plugin, "")
    found = plugins.checked(kind, found)
    what = f"The {kind} {found.name!r}"
    _require(isinstance(found.name, str) and bool(found.name), f"{what}: name must be text.")
    _require(":" not in found.name, f"{what}: a colon in name would begin its argument.")
    _require(
        isinstance(found.version, str) and bool(found.version), f"{what}: version must be text."
    )
    _require(bool(plugins.summary(found)), f"{what} has no docstring: say in a line what it does.")
    return found, argument, what


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _check_unit_rows(what: str, rows: Any, count: int, width: int | None = None) -> None:
    """`rows` is float32 [count, width] of finite rows of length 1."""
    _require(isinstance(rows, np.ndarray), f"{what} gave {type(rows).__name__}, not a numpy array.")
    _require(rows.dtype == np.float32, f"{what} gave {rows.dtype}, not float32.")
    shape = f"[{count}, {width or 'D'}]"
    right = rows.ndim == 2 and len(rows) == count and width in (None, rows.shape[1])
    _require(right, f"{what} gave an array of shape {list(rows.shape)}, not {shape}.")
    _require(bool(np.isfinite(rows).all()), f"{what} gave values that are not finite.")
    lengths = np.linalg.norm(rows, axis=1)
    worst = float(np.abs(lengths - 1).max()) if count else 0.0
    _require(worst < 1e-3, f"{what} gave rows that are not of length 1 (off by {worst:.3g}).")


def check_captioner(
    plugin: Any, *, sides: Sequence[str] = (), settings: CaptionSettings | None = None
) -> None:
    """Check a captioner: what it states, and its texts for four items of each of its sides.

    Texts must be the same when they are asked for again, one by one, and of a captioner that was
    opened again with an empty cache.

    Args:
        plugin: A name, with its argument after a colon, or the object.
        sides: Those of its sides to use; all by default.
        settings: What the recipe would say; by default its defaults, on the CPU.

    Raises:
        AssertionError: It does not keep the contract of `artsound.captions.base.CaptionerPlugin`.
        BadUsage: There is no such captioner, or it lacks an attribute.
    """
    found, argument, what = _open("captioner", plugin)
    settings = settings or CaptionSettings(device="cpu")
    known = bool(found.sides) and set(found.sides) <= {"artwork", "track"}
    _require(known, f"{what}: sides are {found.sides}, not artwork, track or both.")
    _require(isinstance(found.extra, str), f"{what}: extra must be text.")
    for name in ("uses_gpu", "checked"):
        _require(isinstance(getattr(found, name), bool), f"{what}: {name} must be True or False.")
    for side in sides or found.sides:
        with tempfile.TemporaryDirectory() as place:
            items = _caption_items(side, Path(place))
            first = found.open(side, argument, settings, Path(place, "first"))
            texts = _texts(what, first, items)
            _require(
                _texts(what, first, items) == texts, f"{what} gave other texts when asked again."
            )
            _require(_texts(what, first, []) == [], f"{what} gave texts for no items.")
            again = found.open(side, argument, settings, Path(place, "again"))
            for name in ("name", "version", "prompt", "settings"):
                same = getattr(again, name) == getattr(first, name)
                _require(same, f"{what}: {name} changed when it was opened again.")
            alone = [_texts(what, again, [item])[0] for item in reversed(items)]
            _require(alone[::-1] == texts, f"{what} gave other texts for each item alone.")
            _check_stated(what, found.name, first)


def _texts(what: str, captioner: Any, items: list[CaptionItem]) -> list[str]:
    texts = captioner.captions(items)
    _require(isinstance(texts, list), f"{what} gave {type(texts).__name__}, not a list of texts.")
    right = len(texts) == len(items)
    _require(right, f"{what} gave {len(texts)} texts for {len(items)} items.")
    wrong = next((text for text in texts if not isinstance(text, str)), None)
    _require(wrong is None, f"{what} gave {wrong!r} where a text must be.")
    return texts


def _check_stated(what: str, plugin_name: str, captioner: Any) -> None:
    """What is recorded with every caption."""
    for name in ("name", "version", "prompt"):
        value = getattr(captioner, name)
        _require(isinstance(value, str), f"{what}: {name} of the opened captioner must be text.")
    right = captioner.name.partition(":")[0] == plugin_name
    _require(right, f"{what}: the opened captioner has the name {captioner.name!r}.")
    _require(bool(captioner.version), f"{what}: the opened captioner has no version.")
    settings = captioner.settings
    _require(isinstance(settings, Mapping), f"{what}: settings must be a mapping.")
    try:
        json.dumps(dict(settings))
    except (TypeError, ValueError) as error:
        raise AssertionError(f"{what}: settings must be JSON values: {error}.") from error


def _caption_items(side: str, folder: Path) -> list[CaptionItem]:
    """Four items of a side with small pictures or clips; records with little in them."""
    items = []
    for number in range(4):
        media = folder / f"{number}{'.jpg' if side == 'artwork' else '.wav'}"
        media.write_bytes(picture(number) if side == "artwork" else clip(number))
        digest = f"{number:064x}"
        record: Artwork | Track
        measured: ArtworkDescriptors | TrackDescriptors
        if side == "artwork":
            record = _filled(Artwork, title=f"Study {number}", image_sha256=digest)
            measured = _filled(ArtworkDescriptors)
        else:
            record = _filled(Track, title=f"Study {number}", audio_sha256=digest)
            measured = _filled(TrackDescriptors)
        items.append(CaptionItem(side, f"item-{number}", record, measured, media))
    return items


def _filled(record: type, **values: Any) -> Any:
    """A record with a plain value in every field that is not given."""
    plain = {str: "", int: 1, float: 0.5, bool: False, list: []}
    hints = get_type_hints(record)
    for field in fields(record):
        kind = get_origin(hints[field.name]) or hints[field.name]
        values.setdefault(field.name, plain.get(kind))
    return record(**values)


def picture(seed: int, width: int = 96, height: int = 64) -> bytes:
    """A small JPEG of coloured blocks, another for each seed."""
    from PIL import Image

    blocks = np.random.default_rng(seed).integers(0, 255, (4, 6, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST).save(stream, "JPEG")
    return stream.getvalue()


def clip(seed: int, seconds: float = 2.0, rate: int = 22_050) -> bytes:
    """A short mono WAV of two tones and some noise, another for each seed."""
    import soundfile

    random = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    tones = np.sin(2 * np.pi * np.outer(random.uniform(110, 880, 2), time)).sum(axis=0)
    wave = 0.2 * tones + 0.02 * random.standard_normal(len(time))
    stream = io.BytesIO()
    soundfile.write(stream, wave.astype(np.float32), rate, format="WAV")
    return stream.getvalue()


def check_preset(plugin: Any) -> None:
    """Check a preset: its configuration is whole, has its name, and is the same read from JSON.

    Args:
        plugin: A name or the object.

    Raises:
        AssertionError: It does not keep the contract of `artsound.training.config.PresetPlugin`.
        BadUsage: There is no such preset, or it lacks an attribute.
    """
    from artsound.training.config import Config

    found, argument, what = _open("preset", plugin)
    _require(not argument, f"{what} takes no argument.")
    _require(isinstance(found.extra, str), f"{what}: extra must be text.")
    config = found.config
    right = isinstance(config, Config)
    _require(right, f"{what} has a config of type {type(config).__name__}, not Config.")
    _require(config.preset == found.name, f"{what}: its config has the name {config.preset!r}.")
    read = Config.model_validate_json(config.model_dump_json())
    _require(read == config, f"{what}: its config is another one when read from JSON.")


def check_family(plugin: Any, config: Any) -> None:
    """Check a family of generators: its codec, its loss, and its samples, without training.

    Args:
        plugin: A name or the object.
        config: A `Config` that it takes: small, and with windows of 2 s at most.

    Raises:
        AssertionError: It does not keep the contract of `artsound.training.family.FamilyPlugin`.
        BadUsage: There is no such family, it lacks an attribute, or it refuses the settings.
    """
    import torch

    from artsound.training.data import Batch, decode_clip

    found, argument, what = _open("family", plugin)
    _require(not argument, f"{what} takes no argument.")
    _require(isinstance(found.extra, str), f"{what}: extra must be text.")
    family = found.open(config)
    levels = [decode_clip(clip(seed, 6.0), config.mel).astype(np.float32) for seed in range(8)]
    codec = family.fit_codec(levels, "cpu")
    shape = codec.latent_shape
    latents = [codec.encode(each) for each in levels]
    for latent in latents:
        _check_numbers(f"{what}: a latent", latent, (shape[0], len(latent[0]), shape[2]))
    again = family.open_codec(codec.tensors(), "cpu").encode(levels[0])
    _require(np.array_equal(again, latents[0]), f"{what}: open_codec gives another codec.")
    decoded = codec.decode(latents[0])
    _check_numbers(f"{what}: decoded levels", decoded, (len(decoded), config.mel.bins))
    wave = codec.sound(decoded, seed=0)
    _check_numbers(f"{what}: a waveform", wave, (len(decoded) * config.mel.hop,))
    _require(float(np.abs(wave).max()) <= 1, f"{what}: a waveform leaves −1..1.")

    dim, count = 5, 4
    model, same = family.build(dim), family.build(dim)
    pairs = zip(model.state_dict().values(), same.state_dict().values(), strict=True)
    equal = all(torch.equal(one, other) for one, other in pairs)
    _require(equal, f"{what}: weights do not follow from the seed of the configuration.")
    random = np.random.default_rng(0)
    pictures = random.standard_normal((count, dim)).astype(np.float32)
    cut = np.stack([latent[:, : shape[1]] for latent in latents[:count]]).astype(np.float32)
    batch = Batch(
        tuple("abcd"),
        torch.from_numpy(cut),
        torch.from_numpy(pictures),
        torch.tensor([True, True, True, False]),
        torch.from_numpy(random.standard_normal(cut.shape).astype(np.float32)),
        torch.tensor([10, 300, 600, config.diffusion.steps - 1]),
    )
    losses = family.loss(model, batch)
    _check_numbers(f"{what}: the losses", losses.detach().numpy(), (count,))
    _require(torch.equal(losses, family.loss(model, batch)), f"{what}: a loss has chances.")
    losses.mean().backward()
    moved = [p.grad for p in model.parameters() if p.requires_grad and p.grad is not None]
    _require(any(bool(grad.any()) for grad in moved), f"{what}: the loss has no gradient.")

    def sample(rows: list[int], guidance: float = 2.0) -> np.ndarray:
        made = family.sample(
            model, pictures[rows], shape=shape, seeds=rows, steps=2, guidance=guidance
        )
        _check_numbers(f"{what}: a sample", made, (len(rows), *shape))
        return np.asarray(made)

    first = sample([0, 1, 2])
    _require(np.array_equal(first, sample([0, 1, 2])), f"{what} samples other latents again.")
    alone = np.concatenate([sample([row]) for row in (0, 1, 2)])
    close = np.allclose(alone, first, atol=1e-3)
    _require(close, f"{what} samples other latents for each picture alone.")
    pictures[:] = pictures[::-1]
    blind = sample([0, 1], 0.0)
    _require(not np.array_equal(blind[0], blind[1]), f"{what}: two seeds give one latent.")
    pictures[:] = pictures[::-1]
    unseen = np.array_equal(blind, sample([0, 1], 0.0))
    _require(unseen, f"{what}: at a guidance of 0 a sample depends on the picture.")


def _check_numbers(what: str, values: Any, shape: tuple[int, ...]) -> None:
    right = isinstance(values, np.ndarray) and values.dtype == np.float32
    _require(right, f"{what} is {getattr(values, 'dtype', type(values).__name__)}, not float32.")
    _require(values.shape == shape, f"{what} has the shape {values.shape}, not {shape}.")
    _require(bool(np.isfinite(values).all()), f"{what} is not finite.")


def check_metric(plugin: Any, *, device: str = "cpu") -> None:
    """Check a metric: its scores of eight clips, as themselves and as a system's.

    Args:
        plugin: A name, with its argument after a colon, or the object.
        device: Where it runs.

    Raises:
        AssertionError: It does not keep the contract of `artsound.training.paper.MetricPlugin`.
        BadData: Its weights are missing.
        BadUsage: There is no such metric, or it lacks an attribute.
    """
    from artsound.training.paper import MetricScore, PairClip

    found, argument, what = _open("metric", plugin)
    _require(isinstance(found.extra, str), f"{what}: extra must be text.")
    opened = found.open(argument, device)
    clips = [
        PairClip(
            str(seed), clip(seed), picture(seed), f"A picture {seed}.", f"A piece of music {seed}."
        )
        for seed in range(8)
    ]

    def scores(shift: int) -> list[MetricScore]:
        real = [opened.read(one) for one in clips]
        made = [opened.read(clips[(place + shift) % len(clips)]) for place in range(len(clips))]
        given = opened.scores(real, made)
        _require(
            isinstance(given, list) and all(isinstance(one, MetricScore) for one in given),
            f"{what}: scores must be a list of MetricScore.",
        )
        return list(given)

    first = scores(1)
    _require(bool(first), f"{what} gave no scores.")
    for score in first:
        _require(score.better in ("lower", "higher"), f"{what}: better is lower or higher.")
        right = score.value is None or bool(np.isfinite(score.value))
        _require(right, f"{what} gave {score.value} as {score.name}.")
    names = [score.name for score in first]
    _require(len(set(names)) == len(names), f"{what} has two scores of the same name.")
    again = [one.value for one in scores(1)]
    _require([one.value for one in first] == again, f"{what} gives other scores when asked again.")
    _require([one.name for one in scores(0)] == names, f"{what}: the names of scores change.")


def check_encoder(plugin: Any, *, settings: Any = None, device: str = "cpu") -> None:
    """Check an encoder: what it states, and its rows for four items of each of its modalities.

    Rows must be float32, finite and of length 1, the same when they are computed again, and, but
    for rounding, the same for each item alone. Media that cannot be decoded must raise MediaError.

    Args:
        plugin: A name, with its argument after a colon, or the object.
        settings: What a recipe would say, an `artsound.encoders.base.EncoderSettings`; by default
            its defaults. It needs the argument of the name, where there is one.
        device: Where to open it.

    Raises:
        AssertionError: It does not keep the contract of `artsound.encoders.base.EncoderPlugin`.
        BadUsage: There is no such encoder, or it lacks an attribute.
    """
    from artsound.encoders.base import EncoderSettings
    from artsound.media import MediaError

    found, argument, what = _open("encoder", plugin)
    settings = settings or EncoderSettings(argument=argument, batch=3)
    known = bool(found.modalities) and set(found.modalities) <= {"image", "audio", "text"}
    _require(known, f"{what}: modalities are {found.modalities}, not of image, audio and text.")
    _require(isinstance(found.extra, str), f"{what}: extra must be text.")
    for name in ("uses_gpu", "measured"):
        _require(isinstance(getattr(found, name), bool), f"{what}: {name} must be True or False.")
    digest = found.digest(settings)
    _require(isinstance(digest, str), f"{what}: its digest must be text.")
    _require(bool(digest) or found.measured, f"{what}: its digest is empty.")
    _require(found.digest(settings) == digest, f"{what} gave another digest when asked again.")
    opened = found.open(settings, device)
    _require(opened.digest == digest, f"{what}: opened, it has another digest than before.")
    items: dict[str, tuple[str, list[Any]]] = {
        "image": ("images", [picture(number) for number in range(4)]),
        "audio": ("audio", [clip(number, 2.0 + number) for number in range(4)]),
        "text": ("texts", ["a quiet sea", "a loud crowd", "", "three words more than the others"]),
    }
    for modality in found.modalities:
        method, some = items[modality]
        embed: Any = getattr(opened, method, None)
        _require(callable(embed), f"{what} takes {modality}, but has no method {method}.")
        _check_rows(f"{what}, {method},", embed, some, 0 if found.measured else opened.dim)
        if modality != "text":
            try:
                embed([some[0], b"no medium"])
            except MediaError:
                continue
            raise AssertionError(f"{what} raised no MediaError for what cannot be decoded.")


def _check_rows(what: str, embed: Any, items: list[Any], dim: int) -> None:
    """Rows of an encoder's method; `dim` 0 stands for measurements, of any width and length."""
    rows = embed(items)
    if dim:
        _check_unit_rows(what, rows, len(items), dim)
        _check_unit_rows(f"{what} for no items", embed([]), 0, dim)
    else:
        right = isinstance(rows, np.ndarray) and rows.dtype == np.float32
        _require(right and len(rows) == len(items), f"{what} gave no float32 row for each item.")
        _require(bool(np.isfinite(rows).all()), f"{what} gave values that are not finite.")
    _require(np.array_equal(embed(items), rows), f"{what} gave other rows when asked again.")
    alone = np.concatenate([embed([item]) for item in reversed(items)])[::-1]
    worst = float(np.abs(alone - rows).max())
    _require(worst < 1e-3, f"{what} gave other rows for each item alone (off by {worst:.3g}).")
    same = len({row.tobytes() for row in rows}) < len(items)
    _require(not same, f"{what} gave equal rows for different items.")


def check_bridge(plugin: Any, *, context: Any = None) -> None:
    """Check a bridge: what it states, and its rows for a small catalogue.

    Both sides must be float32 rows of length 1 and of one width, one for each of distinct items
    of the catalogue, and the same when they are made again.

    Args:
        plugin: A name, with its argument after a colon, or the object.
        context: Of a build whose embeddings, and captions where it needs them, are there. By
            default a synthetic build: vectors, captions and texts are random but fixed.

    Raises:
        AssertionError: It does not keep the contract of `artsound.pairing.bridge.Bridge`.
        BadUsage: There is no such bridge, or it lacks an attribute.
    """
    from artsound.encoders.base import Needs
    from artsound.pairing.bridge import BridgeContext

    found, argument, what = _open("bridge", plugin)
    with tempfile.TemporaryDirectory() as place:
        if context is None:
            build = _synthetic_build(Path(place), found, argument)
        else:
            build = BridgeContext(context, found.name, argument)
        needs = found.needs(build.recipe, argument)
        _require(isinstance(needs, Needs), f"{what}: needs gave {type(needs).__name__}, not Needs.")
        inputs = found.inputs(build)
        try:
            json.dumps(inputs)
        except (TypeError, ValueError) as error:
            raise AssertionError(f"{what}: inputs must be a JSON value: {error}.") from error
        _require(found.inputs(build) == inputs, f"{what} gave other inputs when asked again.")
        made = found.rows(build)
        right = isinstance(made, tuple) and len(made) == 4
        _require(right, f"{what} must give artwork ids, rows, track ids, rows.")
        catalogue = {side: set(build.descriptors(side)[0]) for side in ("artworks", "tracks")}
        for side, ids, rows in (("artworks", *made[:2]), ("tracks", *made[2:])):
            _require(len(set(ids)) == len(ids), f"{what} lists one of the {side} twice.")
            strange = sorted(set(ids) - catalogue[side])
            _require(not strange, f"{what}: {strange[:1]} is none of the {side}.")
            _check_unit_rows(f"{what}, {side},", rows, len(ids))
        same = made[1].shape[1] == made[3].shape[1]
        _require(same, f"{what}: its sides have different widths, so they share no space.")
        again = found.rows(build)
        equal = all(np.array_equal(made[n], again[n]) for n in (1, 3))
        _require(equal, f"{what} gave other rows when asked again.")


def _synthetic_build(root: Path, bridge: Any, argument: str) -> Any:
    """A build of 12 artworks and 9 tracks with random vectors, for a bridge to read."""
    from artsound.encoders.base import save_embeddings
    from artsound.pairing.bridge import BridgeContext
    from artsound.recipe import Recipe
    from artsound.schema import Caption
    from artsound.stage import Context
    from artsound.storage import Workspace

    workspace, recipe, random = Workspace(root), Recipe(), np.random.default_rng(0)
    ids: Any = {
        "artworks": [f"{number:02d}.jpg" for number in range(12)],
        "tracks": [track_key(number) for number in range(9)],
    }
    needs = bridge.needs(recipe, argument)
    side: Any
    for side, encoders in (("artworks", needs.artworks), ("tracks", needs.tracks)):
        name, record = side[:-1], Artwork if side == "artworks" else Track
        described = ArtworkDescriptors if side == "artworks" else TrackDescriptors
        columns = [hint for hint in get_type_hints(described).values() if hint is float]
        measured = random.random((len(ids[side]), len(columns)), dtype=np.float32)
        save_embeddings(workspace, "affect", side, "synthetic", ids[side], measured)
        for encoder in encoders:
            rows = _directions(random, len(ids[side]))
            save_embeddings(workspace, encoder, side, "synthetic", ids[side], rows)
        of_key = get_type_hints(record)[f"{name}_id"]
        keys = [of_key(key) for key in ids[side]]
        titles = [f"Study {n} of {name}s" for n in range(len(keys))]
        records = [
            _filled(record, **{f"{name}_id": key, "title": title})
            for key, title in zip(keys, titles, strict=True)
        ]
        _write_table(workspace.catalog / f"{side}.parquet", name, records)
        captions = [
            _filled(Caption, side=name, item_id=key, caption=title)
            for key, title in zip(ids[side], titles, strict=True)
        ]
        _write_table(workspace.captions / f"{side}.parquet", "caption", captions)

    class Build(BridgeContext):
        def encoder_digest(self, encoder: str) -> str:
            return f"synthetic {encoder}"

        def texts(self, encoder: str, texts: Sequence[str]) -> np.ndarray:
            seeds = [zlib.crc32(f"{encoder} {text}".encode()) for text in texts]
            return np.concatenate([_directions(np.random.default_rng(s), 1) for s in seeds])

    return Build(Context(workspace, recipe), bridge.name, argument)


def _directions(random: np.random.Generator, count: int, dim: int = 16) -> np.ndarray:
    rows = random.standard_normal((count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _write_table(path: Path, name: str, records: list[Any]) -> None:
    """A table of a schema, whose plain values need not keep all its rules."""
    import pyarrow as pa
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [asdict(record) for record in records]
    parquet.write_table(pa.Table.from_pylist(rows, schema=arrow_schema(name)), path)


def check_source(plugin: Any, side: str, place: Path, *, subset: str = "large") -> None:
    """A source gives rows that keep the contract of `artsound.sources.base.Source`, twice the same.

    Args:
        plugin: A name or an object.
        side: "artwork" or "track".
        place: A folder or zip that holds a few items of the source.
        subset: The FMA set to read.
    """
    from polars.testing import assert_frame_equal

    from artsound.errors import ArtSoundError
    from artsound.sources.base import Options, Place, read_place
    from artsound.sources.files import read_file

    found, _, what = _open("source", plugin)
    sides = found.sides
    _require(
        not isinstance(sides, str) and bool(sides) and set(sides) <= {"artwork", "track"},
        f"{what}: sides must be some of 'artwork' and 'track'.",
    )
    _require(side in sides, f"{what} has no side {side!r}.")
    options = Options(subset=subset)
    source = Place(side, f"{found.name}:{place}", made=found)
    files = source.list_files(place, options)
    try:
        rows, again = (read_place(source, place, files, options) for _ in range(2))
    except ArtSoundError as error:
        raise AssertionError(str(error)) from error
    _require(rows.height > 0, f"{what} gave no row for {place}.")
    try:
        assert_frame_equal(rows, again)
    except AssertionError as error:
        raise AssertionError(f"{what} gave other rows the second time: {error}") from error
    there = rows.filter(rows["name"] != "")
    _require(there.height > 0, f"{what} names no medium in {place}.")
    box, name = there.select("box", "name").row(0)
    try:
        data = read_file(place, box, name)
    except ArtSoundError as error:
        raise AssertionError(f"{what} names a medium that cannot be read: {error}") from error
    _require(bool(data), f"{what} names an empty medium, {name!r}.")
