"""Names of sources, encoders, captioners, bridges, presets, families and metrics.

A name is looked up in this order:

1. the built-in ones, listed here and nowhere else;
2. the entry points of installed packages, in the groups ``artsound.sources``,
   ``artsound.encoders``, ``artsound.captioners``, ``artsound.bridges``, ``artsound.presets``,
   ``artsound.families`` and ``artsound.metrics``;
3. ``package.module:Object``, anything that can be imported.

Nothing is imported before it is named. A name in a recipe or checkpoint, which may come from
another person, imports only what 1 and 2 list, unless the user allows more: `refuse_code`. A
built-in name is never replaced by another package's. A name may carry an argument after a colon,
which the object itself reads: in ``transformers:org/model`` the plug-in is ``transformers``, its
argument ``org/model``.

    plugin, argument = find("captioner", "transformers:org/model")
    captioner = plugin.load()
"""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.metadata
import importlib.util
import inspect
import operator
import os
import re
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from artsound.errors import BadUsage

KINDS = ("source", "encoder", "captioner", "bridge", "preset", "family", "metric")

_BUILT_IN: Mapping[str, Mapping[str, str]] = {
    "source": {
        "artgraph": "artsound.sources.artgraph:SOURCE",
        "fma": "artsound.sources.fma:SOURCE",
        "folder": "artsound.sources.folder:SOURCE",
        "sample": "artsound.sample:SOURCE",
    },
    "encoder": {
        "clip": "artsound.encoders.open_clip:ClipEncoder",
        "clap": "artsound.encoders.laion_clap:ClapEncoder",
        "imagebind": "artsound.encoders.imagebind:ImageBindEncoder",
        "sentence-transformers": "artsound.encoders.sentences:SentenceEncoder",
        "affect": "artsound.encoders.descriptors:AffectEncoder",
    },
    "captioner": {
        "endpoint": "artsound.captions.endpoint:EndpointPlugin",
        "grounded": "artsound.captions.grounded:GroundedPlugin",
        "lp-music-caps": "artsound.captions.lp_music_caps:LpMusicCapsPlugin",
        "transformers": "artsound.captions.transformers:TransformersPlugin",
    },
    "bridge": {
        "affect": "artsound.pairing.affect:Affect",
        "concepts": "artsound.pairing.concepts:Concepts",
        "captions": "artsound.pairing.caption_bridge:CaptionsBridge",
        "text": "artsound.pairing.caption_bridge:TextBridge",
        "cca": "artsound.pairing.cca:Cca",
        "learned": "artsound.pairing.learned:Learned",
        "joint": "artsound.pairing.joint:Joint",
        "imagebind": "artsound.pairing.joint:ImageBindBridge",
        "fusion": "artsound.pairing.fusion:Fusion",
    },
    "preset": {
        "audioldm2": "artsound.training.config:AudioLdm2Preset",
        "base": "artsound.training.config:BasePreset",
        "tiny": "artsound.training.config:TinyPreset",
        "tiny-musicgen": "artsound.training.config:TinyMusicgenPreset",
    },
    "family": {
        "diffusion": "artsound.training.family:DiffusionFamily",
        "musicgen": "artsound.training.tokens:MusicgenFamily",
    },
    "metric": {
        "clap": "artsound.training.paper:ClapMetric",
        "encoder": "artsound.training.paper:EncoderMetric",
        "imagebind": "artsound.training.paper:ImageBindMetric",
        "panns": "artsound.training.paper:PannsMetric",
        "vggish": "artsound.training.paper:VggishMetric",
    },
}  # fmt: skip

# What an object of each kind must have; `artsound.testing` checks how it behaves.
_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "source": ("name", "version", "sides", "read"),
    "encoder": (
        "name", "version", "modalities", "extra", "uses_gpu", "measured", "installed", "downloads",
        "weights", "checks", "digest", "open",
    ),
    "captioner": (
        "name", "version", "sides", "extra", "uses_gpu", "checked", "downloads", "open",
    ),
    "bridge": ("name", "version", "needs", "inputs", "rows"),
    "preset": ("name", "version", "extra", "config"),
    "family": ("name", "version", "extra", "open"),
    "metric": ("name", "version", "extra", "open"),
}  # fmt: skip

ALLOW_CODE = "ARTSOUND_ALLOW_CODE"

_SUM = re.compile(r"[+*\s]+")  # between the bridges of fusion:A+2*B
_OBJECT = re.compile(
    r"(?P<reference>[A-Za-z_]\w*(?:\.\w+)*:[A-Za-z_]\w*)(?::(?P<argument>.*))?", re.S
)


@dataclass(frozen=True)
class Plugin:
    """A name and the place of its object, which is not imported yet.

    Attributes:
        kind: One of `KINDS`.
        name: The name that recipes and options use.
        reference: ``module:Object``.
        package: The distribution that it comes with; "" for a built-in one or none.
        version: Of the distribution.
        shadowed: Whether a built-in one has its name, so that only `reference` means it.
    """

    kind: str
    name: str
    reference: str
    package: str = ""
    version: str = ""
    shadowed: bool = False

    @property
    def built_in(self) -> bool:
        """Whether it belongs to this project."""
        return _BUILT_IN[self.kind].get(self.name) == self.reference

    @property
    def origin(self) -> str:
        """Where it comes from, for people: built-in, a package with its version, or a module."""
        if self.built_in:
            return "built-in"
        return f"{self.package} {self.version}" if self.package else self.reference

    def identity(self) -> dict[str, str]:
        """Part of the digest of everything that the object makes, beside its own digest.

        Empty for a built-in one, which states its own version.
        """
        if self.built_in:
            return {}
        return {"reference": self.reference, "package": self.package, "version": self.version}

    def load(self) -> Any:
        """Import the object.

        Returns:
            The object; a class without arguments is called once, so that a plug-in may be either.

        Raises:
            BadUsage: The module cannot be imported, has no such object, or the object lacks an
                attribute that its kind must have.
        """
        return _loaded(self)


@functools.cache
def _loaded(plugin: Plugin) -> Any:
    module_name, _, attribute = plugin.reference.partition(":")
    what = f"The {plugin.kind} {plugin.name!r} ({plugin.origin})"
    try:
        found = operator.attrgetter(attribute)(importlib.import_module(module_name))
    except AttributeError as error:
        raise BadUsage(f"{what} cannot be loaded: {error}.") from error
    except Exception as error:  # whatever another package's import raises
        raise BadUsage(f"{what} cannot be imported: {type(error).__name__}: {error}.") from error
    if isinstance(found, type):
        try:
            found = found()
        except Exception as error:  # whatever another package's constructor raises
            raise BadUsage(f"{what} cannot be made: {type(error).__name__}: {error}.") from error
    return checked(plugin.kind, found, what)


def checked(kind: str, plugin: Any, what: str = "") -> Any:
    """Check that an object has the attributes of its kind, and return it.

    Args:
        kind: One of `KINDS`.
        plugin: The object.
        what: How a message refers to it; by default its type.

    Raises:
        BadUsage: The object lacks an attribute or a method.
    """
    missing = [name for name in _REQUIRED[kind] if not hasattr(plugin, name)]
    if missing:
        raise BadUsage(
            f"{what or f'A {kind} of type {type(plugin).__name__}'} lacks {', '.join(missing)}: "
            f"see docs/extending.md for what a {kind} must have."
        )
    return plugin


def summary(plugin: Any) -> str:
    """The first line of an object's docstring; "" without one."""
    return (inspect.getdoc(plugin) or "").partition("\n")[0].strip()


def find(kind: str, name: str, key: str = "") -> tuple[Plugin, str]:
    """The plug-in that a name means, and the argument that follows it.

    Args:
        kind: One of `KINDS`.
        name: A name, ``name:argument``, ``package.module:Object`` or
            ``package.module:Object:argument``.
        key: The option or the recipe's key that holds the name, for the message of an error.

    Returns:
        The plug-in, not yet imported, and its argument ("" without one).

    Raises:
        BadUsage: There is no such name; the message has the nearest one.
    """
    for candidate, argument in ((name, ""), name.partition(":")[::2]):
        if reference := _BUILT_IN[kind].get(candidate):
            return Plugin(kind, candidate, reference), argument
        if entries := _entry_points(kind).get(candidate):
            if len({entry.reference for entry in entries}) > 1:
                origins = " and ".join(f"{one.origin} ({one.reference})" for one in entries)
                raise BadUsage(
                    f"Several packages have a {kind} {candidate!r}: {origins}. Write the place of "
                    f"the object, such as {entries[0].reference}, in place of its name."
                )
            return entries[0], argument
    match = _OBJECT.fullmatch(name)
    if match and _can_be_found(match["reference"].partition(":")[0].partition(".")[0]):
        return _outside(kind, match["reference"]), match["argument"] or ""
    known = sorted({*_BUILT_IN[kind], *_entry_points(kind)})
    asked = name.partition(":")[0]
    near = difflib.get_close_matches(asked, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(known)}."
    if match and not near:
        hint += f" There is no module {asked.partition('.')[0]!r} either."
    where = f"{key} = {name!r} is no {kind}" if key else f"There is no {kind} {name!r}"
    raise BadUsage(f"{where}: {hint}")


def get(kind: str, name: str, key: str = "") -> tuple[Any, str]:
    """The object that a name means, imported, and its argument; raises as `find` and `load` do."""
    plugin, argument = find(kind, name, key)
    return plugin.load(), argument


def refuse_code(kind: str, name: str, where: str, given: Collection[str] = ()) -> None:
    """Raise BadUsage if a name that was read from a file would import code not chosen here.

    Built-in names and those of installed packages' entry points are chosen. ``module:Object`` is
    if the user allows code of files (`may_import`), or has named the same object.

    Args:
        kind: One of `KINDS`.
        name: As `find` takes it; in the argument of a bridge, names of others are looked at, too.
        where: The file, and where in it.
        given: Names of this kind that the user gave.
    """
    chosen = {reference for one in given for reference in _unlisted(kind, one)}
    for reference in _unlisted(kind, name):
        if reference not in chosen:
            refuse_import(reference, where)


def refuse_import(reference: str, where: str) -> None:
    """Raise BadUsage unless the user allows that files name modules to import."""
    if not may_import():
        raise BadUsage(
            f"{where} would import {reference}: if you trust that code, give --allow-code where "
            f"the command has it, or set {ALLOW_CODE}=1."
        )


def may_import() -> bool:
    """Whether the environment says that files may name modules to import."""
    return os.environ.get(ALLOW_CODE, "") not in ("", "0")


def _unlisted(kind: str, name: str) -> list[str]:
    """Each ``module:Object`` in a name that is neither built-in nor an entry point's."""
    if name in _BUILT_IN[kind]:
        return []  # no need to look through what is installed
    kinds = ("bridge", "encoder") if kind == "bridge" else (kind,)
    listed_ones = {
        reference
        for one in kinds
        for reference in (
            *_BUILT_IN[one].values(),
            *(entry.reference for entries in _entry_points(one).values() for entry in entries),
        )
    }
    known = {name for one in kinds for name in (*_BUILT_IN[one], *_entry_points(one))}
    found = []
    for part in _SUM.split(name) if kind == "bridge" else [name]:
        rest = part
        while rest and rest not in known:
            head, _, argument = rest.partition(":")
            match = _OBJECT.fullmatch(rest) if head not in known else None
            if match:
                argument = match["argument"] or ""
                if match["reference"] not in listed_ones:
                    found.append(match["reference"])
            rest = argument if kind == "bridge" else ""
    return found


def refuse_argument(kind: str, name: str, argument: str, remedy: str = "leave it out") -> None:
    """Raise BadUsage, with a remedy, if a plug-in that takes no argument is given one."""
    if argument:
        raise BadUsage(f"The {kind} {name} takes no argument ({argument!r}): {remedy}.")


def name_of(kind: str, plugin: Any) -> str:
    """The name by which a recipe names an object that was passed in Python.

    Args:
        kind: One of `KINDS`.
        plugin: A class, or an object that the module of its class has under a name; a text is
            returned as it is.

    Returns:
        ``package.module:Object``, which worker processes can import, too.

    Raises:
        BadUsage: The object is not what its module has under its name, so that another process
            could not import it.
    """
    if isinstance(plugin, str):
        return plugin
    module = inspect.getmodule(plugin if isinstance(plugin, type) else type(plugin))
    if module is not None and module.__name__ != "__main__":
        for attribute, value in vars(module).items():
            if value is plugin:
                return f"{module.__name__}:{attribute}"
    raise BadUsage(
        f"The {kind} {plugin!r} cannot be imported by other processes: define it in a module, and "
        "give it as package.module:Object."
    )


def identity(kind: str, name: str) -> dict[str, str]:
    """`Plugin.identity` of the plug-in that a name means."""
    return find(kind, name)[0].identity()


def available(kind: str) -> list[Plugin]:
    """Every plug-in of a kind that has a name here: built-in ones first, then by name.

    A package's entry point with the name of a built-in one is listed with `shadowed` set.
    """
    built_in = [Plugin(kind, name, reference) for name, reference in _BUILT_IN[kind].items()]
    others = [plugin for entries in _entry_points(kind).values() for plugin in entries]
    return built_in + sorted(others, key=lambda plugin: (plugin.name, plugin.reference))


@dataclass(frozen=True)
class PluginLine:
    """One line of `artsound plugins`.

    Attributes:
        kind: One of `KINDS`.
        name: The name that recipes and options use.
        origin: built-in, the package with its version, or a module.
        reference: The place of the object, ``module:Object``.
        extra: The extra of ArtSound that it needs, "" for none.
        summary: What it does: the first line of its docstring.
        shadowed: Whether a built-in one has its name, so that only `reference` means it.
        error: Why it cannot be used; "" if it can.
    """

    kind: str
    name: str
    origin: str
    reference: str
    extra: str = ""
    summary: str = ""
    shadowed: bool = False
    error: str = ""


def listed(kind: str) -> list[PluginLine]:
    """Every plug-in of a kind with its object's attributes, or why it cannot be used.

    Raises:
        BadUsage: There is no such kind.
    """
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(KINDS)}."
        raise BadUsage(f"There is no kind of plug-in {kind!r}: {hint}")
    lines = []
    for plugin in available(kind):
        line = PluginLine(
            kind, plugin.name, plugin.origin, plugin.reference, shadowed=plugin.shadowed
        )
        try:
            if not plugin.shadowed:
                find(kind, plugin.name)  # raises if several packages have the name
            found = plugin.load()
            line = replace(line, extra=str(getattr(found, "extra", "")), summary=summary(found))
        except BadUsage as error:
            line = replace(line, error=str(error))
        lines.append(line)
    return lines


def _entry_points(kind: str) -> Mapping[str, list[Plugin]]:
    return _entry_points_on(tuple(sys.path), kind)


@functools.cache
def _entry_points_on(_path: tuple[str, ...], kind: str) -> Mapping[str, list[Plugin]]:
    found: dict[str, list[Plugin]] = {}
    for entry in importlib.metadata.entry_points(group=_group(kind)):
        distribution = entry.dist
        plugin = Plugin(
            kind,
            entry.name,
            entry.value.partition("[")[0].replace(" ", ""),
            distribution.name if distribution else "",
            distribution.version if distribution else "",
            shadowed=entry.name in _BUILT_IN[kind],
        )
        entries = found.setdefault(entry.name, [])
        if plugin not in entries:
            entries.append(plugin)
    return found


def _group(kind: str) -> str:
    """The group of entry points of a kind."""
    return f"artsound.{kind.removesuffix('y')}ies" if kind.endswith("y") else f"artsound.{kind}s"


def _can_be_found(module: str) -> bool:
    """Whether a top-level module exists; it is not imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _outside(kind: str, reference: str) -> Plugin:
    """The plug-in `module:Object`, with the distribution that its top-level module came with."""
    for entries in _entry_points(kind).values():
        for entry in entries:
            if entry.reference == reference:
                return replace(entry, name=reference, shadowed=False)
    top = reference.partition(":")[0].partition(".")[0]
    package, version = _distribution_of(tuple(sys.path), top)
    return Plugin(kind, reference, reference, package, version)


@functools.cache
def _distribution_of(_path: tuple[str, ...], top: str) -> tuple[str, str]:
    """The distribution that has a top-level module, and its version; "" for both without one.

    Found once for each `sys.path`: the metadata of every installed package is read for it.
    """
    names = importlib.metadata.packages_distributions().get(top, [])
    return (names[0], importlib.metadata.version(names[0])) if names else ("", "")
