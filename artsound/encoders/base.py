"""Encoders: their interface, how one is found and opened, and how its vectors are stored.

An encoder is one object (`EncoderPlugin`) in a file of its own, found by name in the registry. Its
modalities and digest are known without loading a model; opened on a device it gives an `Encoder`. A
recipe names encoders by role (`embed.image_encoder`, `embed.audio_encoder`, `embed.text_encoder`),
so the rest of the project does not depend on which ones they are.
"""

from __future__ import annotations

import functools
import gc
import re
import threading
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from artsound import plugins
from artsound.catalogue import SIDES, SideName
from artsound.encoders.batching import out_of_memory
from artsound.encoders.self_test import check_encoder_works
from artsound.errors import ArtSoundError, BadData, BadUsage
from artsound.extras import EXTRAS, Check, install_command
from artsound.gpus import current_gpu, gpu_count
from artsound.media import MediaError
from artsound.recipe import Recipe
from artsound.storage import Workspace, atomic_write, digest, read_json, sha256_bytes, write_json
from artsound.untrusted import read_array

_UNIT_TOLERANCE = 1e-3


@dataclass(frozen=True)
class EncoderSettings:
    """The settings of one encoder in a recipe.

    Attributes:
        argument: The text after a colon in the name; "" without one.
        model: The section's key ``<name>_model``; "" without one.
        checkpoint: The section's key ``<name>_checkpoint``; "" without one.
        precision: Of forward passes: fp32, fp16 or bf16.
        batch: Items per forward pass.
        section: Where these keys are written, for error messages.
    """

    argument: str = ""
    model: str = ""
    checkpoint: str = ""
    precision: str = "fp32"
    batch: int = 64
    section: str = "embed"


class Encoder(Protocol):
    """An opened encoder: a method for each of its modalities gives unit rows float32 [n, dim].

    Within rounding, a row depends only on its own item, not on the other items of a batch.

    Attributes:
        digest: Identifies weights and settings: equal digests mean equal vectors.
        dim: The width of a row.
    """

    digest: str
    dim: int

    def images(self, data: Sequence[bytes]) -> np.ndarray:  # noqa: ARG002
        """One row for each encoded picture; MediaError if one cannot be decoded."""
        raise BadUsage(f"{type(self).__name__} takes no pictures: choose another image encoder.")

    def audio(self, data: Sequence[bytes]) -> np.ndarray:  # noqa: ARG002
        """One row for each encoded clip; MediaError if one cannot be decoded."""
        raise BadUsage(f"{type(self).__name__} takes no sound: choose another audio encoder.")

    def texts(self, texts: Sequence[str]) -> np.ndarray:  # noqa: ARG002
        """One row for each text."""
        raise BadUsage(f"{type(self).__name__} takes no texts: choose another text encoder.")


class EncoderPlugin(Protocol):
    """What an encoder must have. Only `open` may load a model.

    Subclass this to use its defaults, or write a class with the same attributes. The first line
    of its docstring is what `artsound plugins` shows.

    Attributes:
        name: The name in a recipe, and of the folder of its vectors.
        version: Text; changed whenever the same weights and media would give other vectors.
        modalities: Which of image, audio and text it takes.
        extra: The extra of ArtSound that it needs, such as "models"; "" for none.
        uses_gpu: Whether it runs on a GPU if there is one.
        measured: Whether its rows are measurements, made by every build, instead of unit rows.
    """

    name: str
    version: str
    modalities: tuple[str, ...]
    extra: str = ""
    uses_gpu: bool = False
    measured: bool = False

    def installed(self) -> bool:
        """False if a library that no extra provides is missing.

        Vectors that are in the workspace are then used as they are.
        """
        return True

    def downloads(self, settings: EncoderSettings) -> bool:  # noqa: ARG002  (the protocol)
        """Whether missing weights are downloaded from the Hugging Face hub."""
        return False

    def weights(self, settings: EncoderSettings) -> Path | None:  # noqa: ARG002
        """The file of the weights; None if there are none. Raises as `digest` does."""
        return None

    def checks(self) -> Iterable[Check]:
        """More lines for `artsound doctor`."""
        return ()

    @abstractmethod
    def digest(self, settings: EncoderSettings) -> str:
        """The digest that the opened encoder will have, without loading it.

        Covers weights, architecture and precision; not device and batch.

        Raises:
            BadUsage: A setting is wrong, or a library is missing.
            BadData: Weights are missing; the message says what to fetch.
        """
        ...

    @abstractmethod
    def open(self, settings: EncoderSettings, device: str) -> Encoder:
        """The encoder with its weights on a device such as cpu or cuda:0.

        Raises:
            BadUsage: A setting is wrong, or a library is missing or too old.
            BadData: Weights are missing, broken or of another model.
        """
        ...


def find_encoder(name: str) -> tuple[EncoderPlugin, str]:
    """An encoder's plug-in, and the argument of its name; BadUsage if there is none."""
    plugin, argument = plugins.get("encoder", name)
    return plugin, argument


def settings_of(name: str, section: Any, where: str = "embed") -> EncoderSettings:
    """An encoder's settings from a section that has keys such as ``clip_checkpoint``.

    Args:
        name: The encoder's name, with its argument if any.
        section: [embed] of a recipe, or another object with some of its keys.
        where: How messages name the section.
    """
    plugin, argument = find_encoder(name)
    known = EncoderSettings()
    return EncoderSettings(
        argument=argument,
        model=getattr(section, f"{plugin.name}_model", ""),
        checkpoint=getattr(section, f"{plugin.name}_checkpoint", ""),
        precision=getattr(section, "precision", known.precision),
        batch=getattr(section, "batch", known.batch),
        section=where,
    )


def open_encoder(name: str, settings: EncoderSettings | Recipe, *, device: str = "") -> Encoder:
    """An encoder by name, loaded once per device of a process.

    Args:
        name: A name of the registry, with its argument if any.
        settings: Its settings, or a recipe whose [embed] has them.
        device: auto, cpu, cuda or cuda:N; by default the recipe's, or auto, which is this
            thread's GPU (`artsound.gpus`) if there is one.

    Returns:
        The encoder. The rows of one of another package are checked: BadData if they are wrong.

    Raises:
        BadUsage: There is no such encoder, or a library that it needs is missing.
        BadData: Weights are missing or broken, or do not pass the self-test; the message says what
            to fetch, and where to.
    """
    if isinstance(settings, Recipe):
        device = device or settings.embed.device
        settings = settings_of(name, settings.embed)
    plugin, _ = find_encoder(name)
    with _libraries_of(plugin):
        chosen = choose_device(device or "auto") if plugin.uses_gpu else "cpu"
        with _LOADING:
            return _load(name, settings, chosen)


def encoder_digest(name: str, settings: EncoderSettings | Recipe) -> str:
    """The digest that the opened encoder will have; raises as `open_encoder` does."""
    if isinstance(settings, Recipe):
        settings = settings_of(name, settings.embed)
    plugin, _ = find_encoder(name)
    with _libraries_of(plugin):
        return _with_identity(name, plugin.digest(settings))


def check_modality(name: str, modality: str) -> None:
    """Raise BadUsage unless an encoder takes a modality: image, audio or text."""
    plugin, _ = find_encoder(name)
    if modality not in plugin.modalities:
        raise BadUsage(
            f"The encoder {name} takes {' and '.join(plugin.modalities)}, not {modality}: choose "
            "another one for [embed], or another bridge. `artsound plugins encoder` lists them."
        )


def embedding_folder(workspace: Workspace, encoder: str) -> Path:
    """The folder of an encoder's vectors: its name, made fit for a file system."""
    if re.fullmatch(r"[\w-][\w.-]*", encoder):
        return workspace.embeddings / encoder
    plain = re.sub(r"[^\w.-]+", "-", encoder).strip(".-")
    return workspace.embeddings / f"{plain}-{sha256_bytes(encoder.encode())[:8]}"


def save_embeddings(
    workspace: Workspace,
    encoder: str,
    side: SideName,
    digest: str,
    ids: Sequence[str],
    m: np.ndarray,
) -> tuple[Path, Path]:
    """Write a matrix [n, D] and its ids.

    embeddings/``encoder``/``side``.npy holds the rows (float16 or float32, C order), the JSON of
    the same name the encoder, its digest and the rows' ids.

    Returns:
        The two files.

    Raises:
        ValueError: There are not as many ids as rows.
    """
    if m.ndim != 2 or len(m) != len(ids):
        raise ValueError(f"{len(ids)} ids need as many rows, not an array of {list(m.shape)}")
    matrix = embedding_folder(workspace, encoder) / f"{side}.npy"
    names = matrix.with_suffix(".json")
    with atomic_write(matrix) as file:
        np.save(file, np.ascontiguousarray(m), allow_pickle=False)
    write_json(names, {"encoder": encoder, "digest": digest, "ids": list(ids)})
    return matrix, names


def load_embeddings(
    workspace: Workspace, encoder: str, side: SideName
) -> tuple[list[str], np.ndarray]:
    """Ids and their rows [n, D], memory-mapped; BadData if they are missing or inconsistent."""
    matrix = embedding_folder(workspace, encoder) / f"{side}.npy"
    names = read_json(matrix.with_suffix(".json"))
    try:
        m = read_array(matrix, mapped=True)
    except (OSError, ValueError) as error:
        raise BadData(f"{matrix} cannot be read ({error}): run `artsound embed`.") from error
    ids = names.get("ids") if isinstance(names, dict) else None
    if not isinstance(ids, list) or m.ndim != 2 or len(ids) != len(m):
        raise BadData(f"{matrix} and its list of ids do not agree: run `artsound embed`.")
    return ids, m


def choose_device(name: str) -> str:
    """The device that a setting means on this machine.

    Args:
        name: auto, cpu, cuda or cuda:N.

    Returns:
        cpu, cuda or cuda:N; for auto this thread's GPU, or the CPU if there is none.

    Raises:
        BadUsage: There is no such device here.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise BadUsage(f"embed.device is {name!r}: give auto, cpu, cuda or cuda:N.")
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise BadUsage(f"torch is not installed: {install_command('models')}") from error
    gpus = gpu_count() if name != "cpu" else 0
    if name == "auto":
        return f"cuda:{current_gpu()}" if gpus else "cpu"
    if name.startswith("cuda") and int(name.partition(":")[2] or 0) >= gpus:
        raise BadUsage(
            f"embed.device is {name}, but torch finds {gpus} GPUs here: use auto or cpu."
        )
    return name


_LOADING = threading.Lock()  # functools.cache would let two threads load the same weights


@functools.cache
def _load(name: str, settings: EncoderSettings, device: str) -> Encoder:
    plugin, _ = find_encoder(name)
    try:
        opened: Encoder = plugin.open(settings, device)
    except RuntimeError as error:
        if (lack := out_of_memory(error, f"The encoder {name}", device)) is not None:
            raise lack from error
        raise
    if not plugins.find("encoder", name)[0].built_in:
        opened = _Watched(name, opened)
    weights = plugin.weights(settings)
    if weights is not None and (name, opened.digest, device) not in _tested:
        check_encoder_works(opened, name, weights, plugin.modalities, settings.precision)
        _tested.add((name, opened.digest, device))
    return opened


_tested: set[tuple[str, str, str]] = set()  # name, digest and device, once per process


def unload_encoders() -> None:
    """Free the memory of all encoders, of this process and of its GPUs."""
    with _LOADING:
        if not _load.cache_info().currsize:
            return
        _load.cache_clear()
    gc.collect()
    if gpu_count():
        import torch

        torch.cuda.empty_cache()


def _with_identity(name: str, made_by: str) -> str:
    """A digest with the plug-in's package; for a built-in one, the digest itself."""
    identity = plugins.identity("encoder", name)
    return digest([made_by, identity]) if identity else made_by


@contextmanager
def _libraries_of(plugin: EncoderPlugin) -> Iterator[None]:
    """Within this block a missing library raises BadUsage, which names the extra."""
    try:
        yield
    except ImportError as error:
        missing = install_command(package=str(error.name))
        remedy = install_command(plugin.extra) if plugin.extra in EXTRAS.values() else missing
        raise BadUsage(
            f"The encoder {plugin.name} needs {error.name}: {remedy}, or choose another encoder or "
            "bridge."
        ) from error


class _Watched:
    """An encoder of another package, whose rows are checked."""

    def __init__(self, name: str, encoder: Encoder) -> None:
        self._name, self._encoder = name, encoder
        self.dim = int(encoder.dim)
        self.digest = _with_identity(name, encoder.digest)

    def images(self, data: Sequence[bytes]) -> np.ndarray:
        return self._rows("images", data)

    def audio(self, data: Sequence[bytes]) -> np.ndarray:
        return self._rows("audio", data)

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        return self._rows("texts", texts)

    def _rows(self, method: str, items: Sequence[Any]) -> np.ndarray:
        what = f"The encoder {self._name}"
        call: Callable[[Sequence[Any]], np.ndarray] | None = getattr(self._encoder, method, None)
        if call is None:
            raise BadUsage(f"{what} has no method {method}, as its modalities require.")
        try:
            rows = call(items)
        except (ArtSoundError, MediaError):
            raise
        except Exception as error:  # whatever another package raises
            raise BadData(f"{what} failed: {type(error).__name__}: {error}.") from error
        if not isinstance(rows, np.ndarray) or rows.dtype != np.float32:
            kind = rows.dtype if isinstance(rows, np.ndarray) else type(rows).__name__
            raise BadData(f"{what} gave {kind}, not an array of float32: correct the plug-in.")
        if rows.shape != (len(items), self.dim):
            raise BadData(
                f"{what} gave an array {list(rows.shape)} for {len(items)} items of dimension "
                f"{self.dim}: correct the plug-in."
            )
        lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
        if not (np.abs(lengths - 1.0) <= _UNIT_TOLERANCE).all():
            raise BadData(f"{what} gave rows that are not finite or not of length 1.")
        return rows


# The encoders and captions that a recipe's bridges and checks need. Bridges are found in the
# registry, so that this room does not depend on the pairing room.


@dataclass(frozen=True)
class Needs:
    """The inputs of a bridge, beside the measured descriptors.

    Attributes:
        artworks: Encoders whose vectors of all artworks it needs.
        tracks: Encoders whose vectors of all tracks it needs.
        texts: Encoders by which it embeds texts.
        captions: Whether it needs the captions of all items, so that captions come before pairs.
        extra: An extra of ArtSound that it needs beside those of its encoders; "" for none.
    """

    artworks: tuple[str, ...] = ()
    tracks: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    captions: bool = False
    extra: str = ""

    @classmethod
    def of_both(cls, recipe: Recipe, **more: Any) -> Needs:
        """Vectors of both sides, and both sides' encoders for texts."""
        image, audio = recipe.embed.image_encoder, recipe.embed.audio_encoder
        return cls((image,), (audio,), texts=(image, audio), **more)


def bridges_of(recipe: Recipe) -> tuple[str, ...]:
    """The names of the recipe's bridges, each once; the one that makes the pairs is first.

    The last are the built-in ones that need nothing beside what the others need: their agreement
    is reported though no one asked for it.
    """
    named = dict.fromkeys((recipe.pair.bridge, *recipe.pair.compare))
    return (*named, *(name for name in _at_hand(recipe, named) if name not in named))


def _at_hand(recipe: Recipe, named: Collection[str]) -> Iterator[str]:
    """The built-in bridges without an argument whose needs are among those of the `named`."""
    needs = [_needs(recipe, name) for name in named]
    known = {
        field.name: {value for one in needs for value in _several(getattr(one, field.name))}
        for field in fields(Needs)
    }
    for plugin in plugins.available("bridge"):
        if plugin.built_in:
            try:
                own = _needs(recipe, plugin.name)
            except BadUsage:  # it needs an argument, or weights that the recipe does not name
                continue
            if all(set(_several(getattr(own, name))) <= values for name, values in known.items()):
                yield plugin.name


def _several(value: Any) -> tuple[Any, ...]:
    """The values of one of the Needs: those that are not empty."""
    return tuple(one for one in (value if isinstance(value, tuple) else (value,)) if one)


def _needs(recipe: Recipe, name: str) -> Needs:
    plugin, argument = plugins.get("bridge", name)
    needs: Needs = plugin.needs(recipe, argument)
    return needs


def needs_of(recipe: Recipe) -> Iterator[Needs]:
    """What each bridge of the recipe needs."""
    for name in dict.fromkeys((recipe.pair.bridge, *recipe.pair.compare)):
        yield _needs(recipe, name)


def captions_come_first(recipe: Recipe) -> bool:
    """Whether captions come before pairs, because a bridge of the recipe uses them."""
    return any(needs.captions for needs in needs_of(recipe))


def side_encoder(recipe: Recipe, side: SideName) -> str:
    """The encoder that the recipe names for a side's media."""
    return recipe.embed.image_encoder if side == "artworks" else recipe.embed.audio_encoder


def media_encoders(recipe: Recipe) -> list[tuple[SideName, str]]:
    """Sides, with the encoders whose vectors bridges and checks of captions need.

    Raises:
        BadUsage: An encoder does not take the side's media.
    """
    found: dict[tuple[SideName, str], None] = {}
    for needs in needs_of(recipe):
        found |= dict.fromkeys(("artworks", name) for name in needs.artworks)
        found |= dict.fromkeys(("tracks", name) for name in needs.tracks)
    found |= dict.fromkeys(_checked_captions(recipe))
    for side, name in found:
        check_modality(name, SIDES[side].media)
    return [(side, name) for side, name in found if not plugins.get("encoder", name)[0].measured]


def text_encoders(recipe: Recipe) -> list[str]:
    """The encoders by which bridges and checks of captions embed texts, each once.

    Raises:
        BadUsage: An encoder does not take texts.
    """
    found = [name for needs in needs_of(recipe) for name in needs.texts]
    found += [name for _, name in _checked_captions(recipe)]
    for name in found:
        check_modality(name, "text")
    return list(dict.fromkeys(found))


def encoders_of(recipe: Recipe) -> list[str]:
    """All encoders whose weights a build needs, each once; raises as the two above do."""
    names = [name for _, name in media_encoders(recipe)]
    return list(dict.fromkeys([*names, *text_encoders(recipe)]))


def _checked_captions(recipe: Recipe) -> list[tuple[SideName, str]]:
    """The sides whose captions are compared with their items, with the encoders for it."""
    if not recipe.captions.min_agreement:
        return []
    return [
        (side, side_encoder(recipe, side))
        for side in SIDES
        if plugins.get("captioner", getattr(recipe.captions, side))[0].checked
    ]
