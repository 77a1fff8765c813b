"""Plug-ins: how a name finds its object, what a faulty one leads to, and what the checks notice."""

# ruff: noqa: ARG002, ARG005 (small objects that take all that a contract passes)

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from typer.testing import CliRunner

from artsound import plugins
from artsound.captions.captioners import open_captioner
from artsound.cli import app
from artsound.errors import BadData, BadUsage
from artsound.recipe import Captions, Recipe, load_recipe, refuse_code
from artsound.testing import _caption_items, check_captioner, check_preset
from artsound.training.config import Condition, Config, find_preset, read_config

CAPTIONER = '''
"""A module with a captioner."""

class Opened:
    prompt, settings = "", {}

    def __init__(self, name):
        self.name, self.version = name, "7"

    def captions(self, items):
        return [f"A text that is about {item.item_id}, and long enough." for item in items]


class Plain:
    """Says which item it is."""

    name, version, extra = "plain", "3", "models"
    sides, uses_gpu, checked = ("artwork", "track"), False, True

    def downloads(self, argument):
        return False

    def open(self, side, argument, settings, responses):
        return Opened("plain")
'''

PRESET = '''
from artsound.training.config import Config

class Short:
    """Two steps."""
    name, version, extra = "short", "1", "train"
    config = Config(preset="short", seed=3)
'''


@dataclass(frozen=True)
class Installed:
    """A folder on sys.path that packages are put into."""

    folder: Path

    def package(
        self, name: str, code: str = "", version: str = "1.0", **entries: Mapping[str, str]
    ) -> None:
        """A distribution with one module and the entry points that `entries` lists by kind."""
        module = name.replace("-", "_")
        (self.folder / f"{module}.py").write_text(code)
        info = self.folder / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "RECORD").write_text(f"{module}.py,,\n")
        lines = [
            line
            for kind, names in entries.items()
            for line in (f"[artsound.{kind}s]", *(f"{key} = {at}" for key, at in names.items()))
        ]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installed:
    monkeypatch.syspath_prepend(str(tmp_path))
    return Installed(tmp_path)


def command(installed: Installed, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`artsound …` where the packages are installed."""
    code = f"import sys; sys.path.insert(0, {str(installed.folder)!r}); import artsound.cli as c; "
    return subprocess.run(
        [sys.executable, "-c", code + "c.main()", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_packages_entry_point_is_found_by_its_name_and_imported_only_when_it_is_loaded(
    installed: Installed,
) -> None:
    installed.package("lazy-plain", CAPTIONER, captioner={"plain": "lazy_plain:Plain"})
    plugin, argument = plugins.find("captioner", "plain:of/three")
    assert (plugin.name, plugin.origin, argument) == ("plain", "lazy-plain 1.0", "of/three")
    assert "lazy_plain" not in sys.modules
    assert plugin.load().version == "3"
    assert plugin.identity() == {
        "reference": "lazy_plain:Plain",
        "package": "lazy-plain",
        "version": "1.0",
    }


def test_an_object_is_named_by_its_place_whether_or_not_it_was_installed(
    installed: Installed,
) -> None:
    installed.package("placed-plain", CAPTIONER, captioner={"plain": "placed_plain:Plain"})
    (installed.folder / "loose_plain.py").write_text(CAPTIONER)
    plugin, argument = plugins.find("captioner", "placed_plain:Plain:an argument")
    assert (plugin.origin, argument) == ("placed-plain 1.0", "an argument")
    plugin, argument = plugins.find("captioner", "loose_plain:Plain")
    assert (plugin.origin, argument) == ("loose_plain:Plain", "")
    assert plugin.identity() == {"reference": "loose_plain:Plain", "package": "", "version": ""}


def test_a_built_in_name_is_never_replaced(installed: Installed) -> None:
    installed.package("shadow", CAPTIONER, captioner={"grounded": "shadow:Plain"})
    assert plugins.find("captioner", "grounded")[0].built_in
    assert plugins.identity("captioner", "grounded") == {}
    [line] = [line for line in plugins.listed("captioner") if line.shadowed]
    assert (line.name, line.origin, line.reference) == ("grounded", "shadow 1.0", "shadow:Plain")
    assert plugins.find("captioner", line.reference)[0].origin == "shadow 1.0"


def test_a_name_that_two_packages_have_must_be_written_as_a_place(installed: Installed) -> None:
    for name in ("twin-a", "twin-b"):
        at = f"{name.replace('-', '_')}:Plain"
        installed.package(name, CAPTIONER, captioner={"twin": at})
    with pytest.raises(BadUsage, match=r"twin-a 1\.0 \(twin_a:Plain\) and twin-b 1\.0.*Write the"):
        plugins.find("captioner", "twin")
    assert plugins.find("captioner", "twin_b:Plain")[0].package == "twin-b"
    errors = [line.error for line in plugins.listed("captioner") if line.name == "twin"]
    assert len(errors) == 2
    assert all("Several packages" in error for error in errors)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import no_such_library_at_all", "cannot be imported: ModuleNotFoundError: .*no_such_lib"),
        ("1 / 0", "cannot be imported: ZeroDivisionError"),
        ("class = 3", "cannot be imported: SyntaxError"),
        ("Other = 3", "cannot be loaded: .*Plain"),
        ("def f():\n    pass\nclass Plain:\n    def __init__(self, n):\n        pass", "be made"),
        (CAPTIONER.replace("def open", "def opened"), "lacks open: see docs/extending.md"),
        (CAPTIONER.replace("uses_gpu, ", "").replace("False, True", "True"), "lacks uses_gpu"),
    ],
)
def test_a_plug_in_that_cannot_be_used_is_one_error_that_names_its_package(
    installed: Installed, code: str, message: str
) -> None:
    name = f"broken-{abs(hash(message)) % 10**9}"
    module = name.replace("-", "_")
    installed.package(name, code, version="0.3", captioner={"odd": f"{module}:Plain"})
    for choice in ("odd", f"{module}:Plain"):
        with pytest.raises(BadUsage, match=message) as caught:
            open_captioner("track", Captions(tracks=choice), installed.folder)
        assert f"({name} 0.3)" in str(caught.value)
    [line] = [line for line in plugins.listed("captioner") if line.name == "odd"]
    assert line.error == str(caught.value).replace(f"'{module}:Plain'", "'odd'")


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("preset", "tiney", "There is no preset 'tiney': did you mean 'tiny'?"),
        ("captioner", "transfomers:a/b", "did you mean 'transformers'?"),
        ("captioner", "xyzzy", "choose one of endpoint, grounded"),
        ("captioner", "xyzzy:Thing", "There is no module 'xyzzy' either."),
        ("preset", "", "There is no preset ''"),
    ],
)
def test_a_name_that_is_not_found_gets_the_nearest_one(kind: str, name: str, message: str) -> None:
    with pytest.raises(BadUsage) as caught:
        plugins.find(kind, name)
    assert message in str(caught.value)


def test_the_command_lists_all_with_their_origin_and_what_is_wrong(installed: Installed) -> None:
    installed.package("good", CAPTIONER, "2.5", captioner={"plain": "good:Plain"})
    installed.package("bad", "import nowhere_to_be_found", captioner={"sad": "bad:Plain"})
    installed.package("cover", PRESET, preset={"tiny": "cover:Short"})
    done = command(installed, "plugins", "--json")
    assert done.returncode == 0, done.stderr
    lines = {
        (x["kind"], x["origin"], x["name"]): x for x in json.loads(done.stdout.splitlines()[-1])
    }
    assert lines["captioner", "built-in", "grounded"]["summary"].startswith("Sentences from")
    plain = lines["captioner", "good 2.5", "plain"]
    assert (plain["extra"], plain["summary"]) == ("models", "Says which item it is.")
    assert "nowhere_to_be_found" in lines["captioner", "bad 1.0", "sad"]["error"]
    assert lines["preset", "cover 1.0", "tiny"]["shadowed"] is True
    assert "Shadowed" in command(installed, "plugins").stdout
    assert "preset" not in command(installed, "plugins", "captioner").stdout
    done = command(installed, "plugins", "captoner")
    assert (done.returncode, "did you mean captioner?" in done.stderr) == (2, True)


def test_listing_plug_ins_loads_nothing_heavy(installed: Installed) -> None:
    code = (
        "import sys; from artsound import plugins; "
        "assert all(not x.error for kind in plugins.KINDS for x in plugins.listed(kind)); "
        "heavy = ('torch', 'transformers', 'prefect', 'librosa', 'numba', 'diffusers'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_built_in_has_a_line_that_says_what_it_does() -> None:
    for kind in plugins.KINDS:
        for line in plugins.listed(kind):
            assert line.summary
            assert not line.error


def test_an_object_may_be_given_in_python_if_other_processes_can_import_it(
    installed: Installed,
) -> None:
    (installed.folder / "passed_plain.py").write_text(CAPTIONER)
    import passed_plain  # type: ignore[import-not-found]

    assert plugins.name_of("captioner", passed_plain.Plain) == "passed_plain:Plain"
    assert plugins.name_of("captioner", "grounded") == "grounded"

    class Local(passed_plain.Plain):  # type: ignore[misc]
        pass

    with pytest.raises(BadUsage, match="define it in a module"):
        plugins.name_of("captioner", Local)


def test_captions_of_a_plug_in_name_its_package_and_versions(installed: Installed) -> None:
    installed.package("named-plain", CAPTIONER, "2.5", captioner={"plain": "named_plain:Plain"})
    captioner = open_captioner("track", Captions(tracks="plain"), installed.folder)
    assert captioner.name == "plain"
    assert captioner.version == (
        "7; plug-in 3; reference named_plain:Plain; package named-plain; version 2.5"
    )


def test_a_captioner_that_takes_a_built_in_ones_name_is_recorded_under_its_own(
    installed: Installed,
) -> None:
    installed.package(
        "poser", CAPTIONER.replace('Opened("plain")', 'Opened("grounded")'),
        captioner={"plain": "poser:Plain"},
    )  # fmt: skip
    assert open_captioner("track", Captions(tracks="plain"), installed.folder).name == "plain"


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("['one']", "gave 1 texts for 4 items"),
        ("[None] * 4", "gave NoneType, not a text, for item"),
    ],
)
def test_a_captioner_that_gives_no_text_for_each_item_is_named(
    installed: Installed, texts: str, message: str
) -> None:
    name = f"faulty{len(texts)}"
    start = CAPTIONER.index("return [")
    code = CAPTIONER.replace(CAPTIONER[start : CAPTIONER.index("\n", start)], f"return {texts}")
    installed.package(name, code, captioner={"plain": f"{name}:Plain"})
    captioner = open_captioner("track", Captions(tracks="plain"), installed.folder)
    with pytest.raises(BadData, match=message) as caught:
        captioner.captions(_caption_items("track", installed.folder))
    assert f"'plain' ({name} 1.0)" in str(caught.value)


class Opened:
    """A captioner that keeps the contract, for faulty ones to differ from."""

    prompt = ""

    def __init__(self) -> None:
        self.name, self.version, self.calls = "sound", "1", 0
        self.settings: Any = {}

    def captions(self, items: Any) -> Any:
        self.calls += 1
        return [f"A text on {item.item_id}." for item in items]


class Sound:
    """Says which item it is."""

    name, version, extra, sides = "sound", "1", "", ("track",)
    uses_gpu, checked, faulty = False, True, Opened

    def downloads(self, argument: str) -> bool:
        return False

    def open(self, side: str, argument: str, settings: Any, responses: Path) -> Any:
        return self.faulty()


def _with(**changes: Any) -> Sound:
    return type("Changed", (Sound,), {"__doc__": Sound.__doc__, **changes})()


def _writes(write: Callable[[Opened, Any], Any]) -> Sound:
    return _with(faulty=type("Faulty", (Opened,), {"captions": write}))


def _opened(**values: Any) -> Sound:
    def change(self: Opened) -> None:
        Opened.__init__(self)
        vars(self).update(values)

    return _with(faulty=type("Faulty", (Opened,), {"__init__": change}))


def _counting(self: Opened, items: Any) -> list[str]:
    self.calls += 1
    return [f"call {self.calls}" for _ in items]


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (_with(__doc__=""), "has no docstring"),
        (_with(name="a:b"), "a colon in name"),
        (_with(version=3), "version must be text"),
        (_with(sides=()), "sides are"),
        (_with(sides=("picture",)), "sides are"),
        (_with(uses_gpu="no"), "uses_gpu must be True or False"),
        (_writes(lambda _, items: ["a"] * 3), "3 texts for 4 items"),
        (_writes(lambda _, items: tuple("a" for _ in items)), "tuple, not a list"),
        (_writes(lambda _, items: [1.5 for _ in items]), "1.5 where a text must be"),
        (_writes(lambda _, items: ["a"] * max(1, len(items))), "texts for no items|1 texts for 0"),
        (_writes(_counting), "other texts when asked again"),
        (_writes(lambda _, items: [f"{len(items)}" for _ in items]), "for each item alone"),
        (_opened(settings={"at": Path()}), "JSON values"),
        (_opened(version=""), "no version"),
        (_opened(name="grounded"), "the name 'grounded'"),
        (_opened(settings=object()), "settings changed|a mapping"),
    ],
)
def test_the_conformance_check_of_captioners_notices(plugin: Sound, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_captioner(plugin)


def test_captioners_that_keep_the_contract_pass() -> None:
    check_captioner(Sound())
    check_captioner("grounded")
    with pytest.raises(BadUsage, match="type object lacks name, version, sides"):
        check_captioner(object())


@pytest.mark.parametrize("name", [plugin.name for plugin in plugins.available("preset")])
def test_the_built_in_presets_keep_the_contract(name: str) -> None:
    check_preset(name)
    assert "plugin" not in find_preset(name).model_dump(mode="json")


def test_the_conformance_check_of_presets_notices() -> None:
    def preset(config: Any) -> Any:
        stated = {"__doc__": "A preset.", "name": "p", "version": "1", "extra": "train"}
        return type("Preset", (), {**stated, "config": config})()

    check_preset(preset(Config(preset="p")))
    for config, message in ((Config(preset="q"), "the name 'q'"), ({"preset": "p"}, "type dict")):
        with pytest.raises(AssertionError, match=message):
            check_preset(preset(config))


def test_a_run_by_a_packages_preset_names_the_package(installed: Installed) -> None:
    installed.package("short-run", PRESET, "0.2", preset={"short": "short_run:Short"})
    config = find_preset("short")
    assert (config.preset, config.seed, config.plugin["package"]) == ("short", 3, "short-run")
    saved = installed.folder / "config.json"
    saved.write_text(config.model_dump_json())
    assert read_config(saved) == config
    with pytest.raises(BadUsage, match="takes no argument"):
        find_preset("short:x")


def test_a_preset_with_anything_but_a_configuration_is_refused(installed: Installed) -> None:
    code = PRESET.replace("Config(", "dict(")
    installed.package("odd-run", code, preset={"odd": "odd_run:Short"})
    with pytest.raises(BadUsage, match=r"odd-run 1\.0\) has a config of type dict"):
        find_preset("odd")


def test_the_place_of_a_plug_in_is_part_of_its_identity(installed: Installed) -> None:
    installed.package("moved", CAPTIONER, "1.0", captioner={"plain": "moved:Plain"})
    plugin, _ = plugins.find("captioner", "plain")
    assert plugin.identity() != replace(plugin, version="1.1").identity()
    assert plugin.identity() != replace(plugin, reference="moved:Other").identity()


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("pair", "bridge", "foreign:Thing"),
        ("pair", "bridge", "joint:foreign:Thing"),
        ("pair", "bridge", "fusion:affect+2*joint:foreign:Thing:x"),
        ("pair", "compare", ["concepts", "foreign:Thing"]),
        ("embed", "image_encoder", "foreign:Thing"),
        ("captions", "tracks", "foreign:Thing:argument"),
        ("sources", "music", ["folder:a", "foreign:Thing:place"]),
        ("run", "notify", "python:foreign:Thing"),
    ],
)
def test_the_file_of_a_recipe_imports_no_module_that_nobody_allowed(
    installed: Installed, monkeypatch: pytest.MonkeyPatch, section: str, key: str, value: Any
) -> None:
    (installed.folder / "foreign.py").write_text("raise RuntimeError('imported')")
    file = installed.folder / "r.toml"
    file.write_text(tomli_w.dumps({section: {key: value}}))
    refused = rf"{section}.{key} of .*r.toml would import foreign:Thing: .*--allow-code"
    with pytest.raises(BadUsage, match=refused):
        load_recipe(file)
    doctor = ["doctor", "--recipe", str(file), "--out", str(installed.folder / "out")]
    with pytest.raises(BadUsage, match=refused):
        CliRunner().invoke(app, doctor, catch_exceptions=False)
    assert "foreign" not in sys.modules
    assert getattr(load_recipe(file, allow_code=True), section) is not None
    monkeypatch.setenv("ARTSOUND_ALLOW_CODE", "1")
    assert getattr(load_recipe(file), section) is not None


def test_a_recipe_may_name_what_is_installed_or_also_given_as_an_option(
    installed: Installed,
) -> None:
    installed.package("lazy-two", CAPTIONER, captioner={"two": "lazy_two:Plain"})
    (installed.folder / "foreign.py").write_text("")
    file = installed.folder / "r.toml"
    for value in ("two", "two:argument", "lazy_two:Plain"):
        file.write_text(f'[captions]\ntracks = "{value}"\n')
        assert load_recipe(file).captions.tracks == value
    recipe = Recipe().replaced(pair={"bridge": "joint:foreign:Thing"})
    refuse_code(recipe, "r.toml", {"bridge": ["joint:foreign:Thing"]})
    with pytest.raises(BadUsage, match="would import"):
        refuse_code(recipe, "r.toml", {"bridge": ["affect"]})


def test_a_checkpoint_imports_no_module_that_nobody_allowed(installed: Installed) -> None:
    (installed.folder / "foreign.py").write_text("raise RuntimeError('imported')")
    config = Config(preset="tiny").model_copy(
        update={"condition": Condition(encoder="foreign:Thing")}
    )
    saved = installed.folder / "config.json"
    saved.write_text(config.model_dump_json())
    with pytest.raises(BadUsage, match=r"condition.encoder of .* would import foreign:Thing"):
        read_config(saved)
