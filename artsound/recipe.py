"""The recipe of a build: typed settings, read from TOML, with a digest.

All sections but `run`, which only affects speed, determine the bytes of a build.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from artsound import plugins
from artsound.columns import schema_id
from artsound.errors import BadUsage

RightsPolicy = Literal["any", "redistributable", "adaptable", "commercial", "trainable"]
Duplicates = Literal["keep", "drop"]

_NONE: Mapping[str, Collection[str]] = {}
_BUNDLED = Path(__file__).parent / "recipes"

# Paths of inputs: a build's bytes depend on their contents, not on the paths.
_PLACES = {
    "sources": {
        "artworks",
        "music",
        "artgraph",
        "fma",
        "ids",
        "artwork_ids",
        "without",
        "optouts",
        "base",
        "image_urls",
        "allow_private_hosts",
    },
    "pair": {"given", "exclude", "concept_bank", "affect_axes", "affect_fit", "calibrate"},
    "captions": {"vocabulary"},
}


def _plugin_name(kind: str, value: Any) -> str:
    """The registry's name of a value: a name, or an object passed in Python."""
    if value is None or isinstance(value, (bool, int, float, list, dict)):
        raise ValueError(f"give the name of the {kind}, in quotes.")
    try:
        name = plugins.name_of(kind, value)
        plugins.find(kind, name)
    except BadUsage as error:
        raise ValueError(str(error)) from error
    return name


EncoderName = Annotated[str, BeforeValidator(functools.partial(_plugin_name, "encoder"))]
BridgeName = Annotated[str, BeforeValidator(functools.partial(_plugin_name, "bridge"))]

# Keys added after the first release, with defaults that mean the previous behaviour: a recipe with
# these defaults has the same digest as before.
_ADDED = {
    ("embed", "image_encoder"): "clip",
    ("embed", "audio_encoder"): "clap",
    ("embed", "text_encoder"): "sentence-transformers",
    ("images", "quality"): False,
    ("audio", "quality"): False,
    ("shards", "embeddings"): False,
    ("shards", "retrieval"): False,
}
# Keys of earlier versions, with the value that means today's behaviour, so that recipes written by
# them can be read.
_REMOVED = {("pair", "quick"): 0}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Sources(_Section):
    """Where artworks and music are pulled from."""

    artworks: list[str] = Field(
        default=[],
        description="sources of artworks, each NAME:PLACE (`artsound plugins source` lists the "
        "names); empty, without artgraph: ArtGraph's server",
    )
    music: list[str] = Field(
        default=[],
        description="sources of music, each NAME:PLACE; empty, without fma: the FMA's server",
    )
    artgraph: str = Field(
        "", description="folder, zip or URL of ArtGraph: short for artgraph:PLACE in artworks"
    )
    fma: str = Field("", description="folder, zip or URL of the FMA: short for fma:PLACE in music")
    subset: Literal["small", "medium", "large", "full"] = Field(
        "large", description="FMA subset to read"
    )
    limit: int = Field(
        0, ge=0, description="use at most so many tracks, and four artworks for each; 0: all"
    )
    ids: str = Field("", description="text file with the track ids to use, one a line; empty: all")
    artwork_ids: str = Field(
        "", description="text file with the artworks to use, an image name a line; empty: all"
    )
    without: str = Field(
        "", description="text file of track ids and artworks never to use, one a line; empty: none"
    )
    optouts: str = Field(
        "",
        description="text file of items, addresses and creators that refuse AI training, one a "
        "line; what it names is not used; empty: none",
    )
    base: str = Field(
        "",
        description="earlier release (a shards folder, or the build that holds one) whose pairs, "
        "splits and unchanged shards are reused; empty: none",
    )
    track_where: str = Field(
        "", description="SQL condition over the tracks' metadata: genre = 'Jazz'; empty: all"
    )
    artwork_where: str = Field(
        "", description="SQL condition over the artworks' metadata: year < 1900; empty: all"
    )
    image_urls: bool = Field(
        False, description="fetch pictures that this ArtGraph lacks from the addresses it gives"
    )
    allow_private_hosts: bool = Field(
        False, description="fetch also from servers on this machine or in a private network"
    )


class Images(_Section):
    """What an artwork's picture must be, and how it is released."""

    min_side: int = Field(128, ge=1, description="smallest side in pixels")
    max_pixels: int = Field(200_000_000, ge=1, description="refuse larger pictures undecoded")
    near_duplicates: Duplicates = Field("keep", description="keep in one split, or drop")
    quality: bool = Field(
        False, description="measure sharpness, contrast, margins and aspect of each picture"
    )


class Audio(_Section):
    """What a music clip must be."""

    min_seconds: float = Field(10.0, ge=0, description="shortest measured duration")
    silence_db: float = Field(-60.0, le=0, description="a clip below this RMS level is silent")
    near_duplicates: Duplicates = Field("keep", description="keep in one split, or drop")
    quality: bool = Field(
        False,
        description="measure noise, clipping, bandwidth, silence and stereo width of each clip",
    )


class RightsSection(_Section):
    """Which rights an item needs to be used."""

    policy: RightsPolicy = Field(
        "any", description="any, redistributable, adaptable, commercial or trainable"
    )
    year: int = Field(2026, description="year in which copyright terms are judged")


class Split(_Section):
    """Shares of the splits for painters, and for tracks that FMA gives none."""

    train: float = Field(0.8, gt=0, le=1, description="weight of train beside val and test")
    val: float = Field(0.1, ge=0, le=1, description="weight of val; 0: empty")
    test: float = Field(0.1, ge=0, le=1, description="weight of test; 0: empty")

    @property
    def shares(self) -> tuple[float, float, float]:
        """Those of train, val and test, in that order."""
        return self.train, self.val, self.test


class Embed(_Section):
    """Encoders beyond the measured descriptors, which are always made."""

    image_encoder: EncoderName = Field(
        "clip", description="encoder of the artworks: a name that `artsound plugins encoder` lists"
    )
    audio_encoder: EncoderName = Field(
        "clap", description="encoder of the music; the same as image_encoder: a joint one"
    )
    text_encoder: EncoderName = Field(
        "sentence-transformers",
        description="encoder of the captions of both sides, for the bridge text; "
        "sentence-transformers:NAME-OR-FOLDER",
    )
    clip_model: str = Field(
        "ViT-L-14",
        description="OpenCLIP architecture, hf-hub:OWNER/NAME or local-dir:PATH",
    )
    clip_checkpoint: str = Field(
        "datacomp_xl_s13b_b90k", description="OpenCLIP weights: file, pretrained tag, or tag@file"
    )
    clap_model: str = Field("HTSAT-base", description="audio tower of LAION-CLAP")
    clap_checkpoint: str = Field("", description="LAION-CLAP weights: file; empty: the hub's")
    precision: Literal["fp32", "fp16", "bf16"] = Field("fp32", description="forward passes")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    batch: int = Field(64, ge=1, description="items per forward pass, halved when out of memory")


class PairSection(_Section):
    """How artworks and music are matched."""

    given: str = Field(
        "",
        description="JSON, CSV or parquet file of published pairs, to be used in place of a "
        "matching of our own; empty: match",
    )
    exclude: str = Field(
        "",
        description="parquet list of pairs never to be made, as `artsound judgements` writes it; "
        "their items are matched to others",
    )
    bridge: BridgeName = Field(
        "affect",
        description="vector space in which the two sides meet: a name that `artsound plugins "
        "bridge` lists, such as joint:ENCODER or fusion:affect+2*cca",
    )
    concept_bank: str = Field(
        "", description="TOML file of concepts beside the bundled ones (artsound/pairing)"
    )
    affect_axes: str = Field(
        "", description="TOML file of axes beside the bundled ones (artsound/pairing/affect.toml)"
    )
    affect_fit: str = Field(
        "", description="fits.json of a release whose scale to use; empty: fit to the train split"
    )
    calibrate: str = Field(
        "",
        description="judgements.parquet to which the weights of a fusion are fitted; "
        "empty: those of its name",
    )
    device: str = Field("cpu", description="of the candidate search: cpu, cuda or cuda:N")
    candidates: int = Field(32, ge=1, description="best partners to search of each item, both ways")
    csls: int = Field(0, ge=0, description="neighbours of the hub correction (CSLS); 0: none")
    floor: float = Field(-1.0, ge=-1, le=1, description="pairs that score less are not made")
    artwork_uses: int = Field(1, ge=1, le=64, description="tracks that may share one artwork")
    painter_uses: int = Field(
        0, ge=0, description="pairs that a painter may have in a split; 0: no limit"
    )
    compare: list[BridgeName] = Field(
        default=[],
        description="other bridges whose agreement and equal pairs are reported; "
        "agreement alone of those that need nothing more",
    )
    optimality: float = Field(
        0.999,
        ge=0,
        le=1,
        description="widen the candidates until the total is this share of "
        "the bound over all pairs",
    )


class Captions(_Section):
    """Who writes the captions of each side."""

    artworks: str = Field(
        "grounded",
        description="captioner of the artworks: a name that `artsound plugins captioner` lists, "
        "or package.module:Object; an argument follows a colon",
    )
    tracks: str = Field("grounded", description="captioner of the music, as for artworks")
    vocabulary: str = Field(
        "",
        description="TOML file of words for grounded captions beside the bundled ones "
        "(artsound/captions/vocabulary)",
    )
    artwork_prompt: str = Field("", description="prompt for artworks; empty: the usual one")
    track_prompt: str = Field("", description="prompt for music; empty: the usual one")
    max_new_tokens: int = Field(96, ge=1, description="longest text of a model, in tokens")
    min_words: int = Field(5, ge=1, description="fewest words of a model's caption")
    max_words: int = Field(80, ge=1, description="most words of a model's caption")
    min_agreement: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of other items that a model's caption must resemble less than its own, "
        "by CLIP or CLAP; 0: unchecked",
    )
    batch: int = Field(8, ge=1, description="items per forward pass of a model")
    device: str = Field("auto", description="of a model: auto, cpu, cuda or cuda:N")
    requests_at_once: int = Field(8, ge=1, le=256, description="requests to a server at once")


class Shards(_Section):
    """How pairs are packed."""

    pairs_per_shard: int = Field(256, ge=1, description="samples per shard, about")
    min_shards: int = Field(1, ge=1, description="shards per split at least, samples permitting")
    max_side: int = Field(1024, ge=16, description="longest side of a released picture")
    jpeg_quality: int = Field(92, ge=1, le=100, description="of pictures that must be re-encoded")
    exclude: str = Field(
        "", description="parquet list of pairs to leave out, as `artsound judgements` writes it"
    )
    withhold: bool = Field(
        False,
        description="leave out pairs whose picture or clip may not be passed on; their ids, "
        "digests and embeddings go to withheld.parquet",
    )
    embeddings: bool = Field(
        False, description="add the vectors of both sides, embeddings-ENCODER.parquet"
    )
    retrieval: bool = Field(
        False, description="add the best other partners of each pair, retrieval.parquet"
    )


class ReleaseSection(_Section):
    """What only the publisher of a release can say; the cards of the release print it."""

    title: str = Field("", description="title of the release; empty: made of `name`")
    authors: list[str] = Field(
        default=[], description="who publishes it, each as Name, or Name (ORCID)"
    )
    contact: str = Field("", description="where questions go: an address or a page")
    takedown: str = Field("", description="where requests to remove a work go")
    purpose: str = Field("", description="what the publisher made it for")
    funding: str = Field("", description="who paid for it")
    hosting: str = Field("", description="where it is kept, and for how long")
    homepage: str = Field("", description="address of its page")
    repository: str = Field("", description="address of the code and the recipe")
    doi: str = Field("", description="its DOI")
    date: str = Field("", pattern=r"^(\d{4}-\d{2}-\d{2})?$", description="its date: YYYY-MM-DD")
    license: str = Field(
        "", description="licence of captions, index and compilation, such as CC-BY-4.0"
    )
    responsibility: str = Field(
        "", description="statement of the publisher's responsibility, reviews and consent"
    )


class RunSection(_Section):
    """How the work is spread; never changes a byte of the result."""

    part_size: int = Field(256, ge=1, le=100_000, description="items per part")
    runner: Literal["serial", "threads", "processes", "prefect", "dask"] = Field(
        "processes", description="where parts run; prefect and dask record them in Prefect"
    )
    workers: int = Field(0, ge=0, description="parts in work at once; 0: one per processor")
    dask_address: str = Field("", description="scheduler to use; empty: a local cluster")
    notify: str = Field(
        "", description="notified when a build ends: an http(s) address or python:module:function"
    )


class Recipe(_Section):
    """A whole build: read one with `load_recipe`, or take the defaults, `Recipe()`."""

    name: str = Field("artsound", pattern=r"^[a-z0-9][a-z0-9-]*$", description="dataset name")
    seed: int = Field(0, ge=0, description="seeds every choice that is free")
    sources: Sources = Sources()
    images: Images = Images()
    audio: Audio = Audio()
    rights: RightsSection = RightsSection()
    split: Split = Split()
    embed: Embed = Embed()
    pair: PairSection = PairSection()
    captions: Captions = Captions()
    shards: Shards = Shards()
    release: ReleaseSection = ReleaseSection()
    run: RunSection = RunSection()

    def section_values(self, sections: Iterable[str]) -> dict[str, Any]:
        """The values of the named sections (or top-level keys), ready to be digested.

        The paths of sources and lists are left out, since their contents are digested.
        """
        values = self.model_dump(mode="json", exclude=_PLACES)
        return {section: values[section] for section in sections}

    def digest(self) -> str:
        """SHA-256 of all that determines a build's bytes: without `run` and paths of sources."""
        values = self.model_dump(mode="json", exclude={"run": True, **_PLACES})
        for (section, key), default in _ADDED.items():
            if values[section][key] == default:
                del values[section][key]
        if self.release == ReleaseSection():
            del values["release"]
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def pace_digest(self) -> str:
        """SHA-256 of what decides how long an item takes: not the sources, nor what is stated."""
        apart = {"name", "seed", "sources", "release", "split"}
        values = self.model_dump(mode="json", exclude=apart)
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    def replaced(self, **changes: Mapping[str, Any]) -> Recipe:
        """A copy with keys of its sections changed: `recipe.replaced(pair={"bridge": "affect"})`.

        Raises BadUsage for an unknown key or a value of the wrong type.
        """
        values = self.model_dump()
        for section, keys in changes.items():
            values[section] = {**values[section], **keys}
        return recipe_from(values, "this recipe")

    def to_toml(self) -> str:
        """The recipe as TOML that `load_recipe` reads back."""
        return tomli_w.dumps(self.model_dump(mode="json"))


def load_recipe(path: Path, *, allow_code: bool = False) -> Recipe:
    """Read the recipe in a TOML file.

    Args:
        path: The file.
        allow_code: Whether it may name modules to import, as `package.module:Object`, or as
            `python:module:function` in `run.notify`. Installed plug-ins need no permission.

    Returns:
        The recipe.

    Raises:
        BadUsage: The file is missing, is not valid TOML, or has an unknown or wrongly typed key;
            the message names the key, and the nearest known one. Or it names a module to import,
            and neither `allow_code` nor ARTSOUND_ALLOW_CODE in the environment permits that.
    """
    from artsound.untrusted import read_toml

    recipe = recipe_from(read_toml(path, "recipe"), str(path))
    if not allow_code:
        refuse_code(recipe, str(path))
    return recipe


def refuse_code(recipe: Recipe, origin: str, given: Mapping[str, Collection[str]] = _NONE) -> None:
    """Raise BadUsage if a recipe would import a module that is no installed plug-in.

    Args:
        recipe: The recipe.
        origin: The file that it was read from, for the message.
        given: Names that did not come from the file but from the user, by kind of plug-in; under
            `notify`, what to notify.
    """
    embed, pair, captions = recipe.embed, recipe.pair, recipe.captions
    for kind, key, names in (
        ("source", "sources.artworks", recipe.sources.artworks),
        ("source", "sources.music", recipe.sources.music),
        ("encoder", "embed.image_encoder", [embed.image_encoder]),
        ("encoder", "embed.audio_encoder", [embed.audio_encoder]),
        ("encoder", "embed.text_encoder", [embed.text_encoder]),
        ("bridge", "pair.bridge", [pair.bridge]),
        ("bridge", "pair.compare", pair.compare),
        ("captioner", "captions.artworks", [captions.artworks]),
        ("captioner", "captions.tracks", [captions.tracks]),
    ):
        for name in names:
            plugins.refuse_code(kind, name, f"{key} of {origin}", given.get(kind, ()))
    target = recipe.run.notify
    if target.startswith("python:") and target not in given.get("notify", ()):
        plugins.refuse_import(target.removeprefix("python:"), f"run.notify of {origin}")


def bundled_names() -> list[str]:
    """The names of the recipes that come with the project."""
    return sorted(entry.stem for entry in _BUNDLED.glob("*.toml"))


def bundled_recipe(name: str) -> Recipe:
    """Read one of the recipes that come with the package: artsound, open or sample."""
    known = {entry.stem: entry for entry in sorted(_BUNDLED.glob("*.toml"))}
    if name not in known:
        raise BadUsage(
            f"There is no recipe {name!r}: give a .toml file, or one of {', '.join(known)}."
        )
    return load_recipe(known[name])


def recipe_from(values: Mapping[str, Any], origin: str) -> Recipe:
    """Return the recipe that `values` describe; BadUsage names `origin` and the first wrong key."""
    values = _without_removed(values)
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise BadUsage(_sentence(error, origin)) from error


def recipe_schema() -> dict[str, Any]:
    """The JSON Schema of a recipe, as in schemas/recipe.json."""
    schema = Recipe.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": schema_id("recipe"),
        **schema,
    }


def _without_removed(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """`values` without removed keys that have today's behaviour as their value."""
    kept = {name: dict(keys) for name, keys in values.items() if isinstance(keys, Mapping)}
    for (section, key), always in _REMOVED.items():
        if kept.get(section, {}).get(key) == always:
            del kept[section][key]
    return {**values, **kept}


def _sentence(error: ValidationError, origin: str) -> str:
    fault = error.errors(include_url=False)[0]
    path = [str(step) for step in fault["loc"]]
    key = ".".join(path)
    if fault["type"] == "value_error":
        return f"In {origin}, the key {key} is wrong: {fault['ctx']['error']}"
    if fault["type"] != "extra_forbidden":
        found = repr(fault["input"])
        return f"In {origin}, the key {key} is wrong: {fault['msg'].lower()}, not {found[:60]}."
    nearest = _nearest_key(path)
    hint = (
        f" did you mean {nearest}?" if nearest else " see schemas/recipe.json for the known ones."
    )
    return f"In {origin}, there is no key {key}:{hint}"


def _nearest_key(path: list[str]) -> str:
    known = list(_all_keys())
    wanted = ".".join(path)
    near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.5)
    if not near:  # the right key in the wrong section
        near = [key for key in known if key.rsplit(".", 1)[-1] == path[-1]][:1]
    return near[0] if near else ""


def _all_keys() -> Iterable[str]:
    for name, field in Recipe.model_fields.items():
        yield name
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            for key in section.model_fields:
                yield f"{name}.{key}"
