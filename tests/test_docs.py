"""The documents are true: commands, links, files, tables and examples in them exist and work."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import shutil
import tomllib
from pathlib import Path

import nbformat
import pytest
import typer
import yaml
from jsonschema import Draft202012Validator
from nbclient import NotebookClient

import artsound
from artsound import __version__
from artsound.cli import app
from artsound.recipe import Recipe
from artsound.schema import json_schema
from artsound.storage import Workspace

PROJECT = Path(__file__).resolve().parents[1]
DOCS = PROJECT / "docs"
NOTEBOOK = DOCS / "explore.ipynb"
PAGES = [
    *(PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    PROJECT / "pipelines" / "README.md",
    *sorted(DOCS.rglob("*.md")),
]
TARGETS = set(re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), flags=re.MULTILINE))
ARTSOUND = typer.main.get_command(app)
COMMANDS = ARTSOUND.commands  # type: ignore[attr-defined]

# Where each stage's reason codes are written, and what only looks like one there.
PACKAGE = PROJECT / "artsound"
MEDIA = ("media/audio.py", "media/images.py", "media/limits.py")
FETCH = (
    "sources/fma.py",
    "sources/selection.py",
    "sources/fetch.py",
    "sources/files.py",
    "sources/files.py",
)
REASONS = {
    "ingest": ("sources/ingest.py", *FETCH, *MEDIA),
    "pair": ("pairing/pair.py", "pairing/imported_pairs.py"),
    "caption": ("captions/caption.py", "captions/checks.py"),
    "shard": ("shards/shard.py",),
}
SINGLE_WORDS = {"withdrawn", "unreadable", "empty", "refusal", "repetitive", "disagrees"}
NO_REASONS = {
    *("max-snippet", "max-image-preview", "max-video-preview", "fallen-out"),
    *("x-robots-tag", "tdm-reservation", "content-usage", "content-signal"),  # headers
    *("lp-music-caps", "opt-outs"),
}
SIDES = {"pair": ("artwork", "track"), "shard": ("image", "audio")}


def name_of(page: Path) -> str:
    return str(page.relative_to(PROJECT))


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language in a page."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[str]:
    """The lines of a page's shell blocks that call artsound, continued lines joined."""
    lines = "\n".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    return [line.partition(" #")[0].strip() for line in lines if line.startswith("artsound ")]


def mentions(text: str) -> list[list[str]]:
    """What a text says in passing about commands: the words of each `artsound …` in backticks."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return [found.split()[1:] for found in re.findall(r"`(artsound [^`]+)`", prose)]


def after_options(words: list[str]) -> list[str]:
    """A line from its command's name on, the options before it left out; they must exist."""
    known = {option: param for param in ARTSOUND.params for option in param.opts}
    while words and words[0].startswith("-"):
        if words[0] == "--help":
            return []
        param = known[words[0]]
        words = words[1 if getattr(param, "is_flag", False) else 2 :]
    return words


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_that_a_document_shows_is_understood(page: Path) -> None:
    shown = commands(page)
    assert bool(shown) == ("\nartsound " in page.read_text(encoding="utf-8"))
    for line in shown:
        name, *words = after_options(shlex.split(line)[1:])
        COMMANDS[name].make_context(name, words)  # raises the error that a user would see


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_and_option_that_a_document_mentions_exists(page: Path) -> None:
    for words in mentions(page.read_text(encoding="utf-8")):
        own = after_options(words)
        if own:
            known = {option for param in COMMANDS[own[0]].params for option in param.opts}
            used = {word for word in own if word.startswith("--")}
            assert used <= known | {"--help"}, words


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_make_target_and_benchmark_that_a_document_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    shown = "\n".join(blocks(page, "sh"))
    used = re.findall(r"`make ([a-z]+)", text) + re.findall(r"^make ([a-z]+)", shown, flags=re.M)
    assert set(used) <= TARGETS
    for script in re.findall(r"`([a-z_]+\.py)\b", text):
        places = (PROJECT / "benchmarks" / script, DOCS / script, PROJECT / "artsound" / script)
        assert any(place.is_file() for place in places), script


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_and_file_that_a_document_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target, heading in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", text):
        if "://" not in target:
            found = page.parent / target if target else page
            assert found.exists(), target
            if heading:
                assert heading in headings(found), f"{target}#{heading}"
    folders = "artsound|pipelines|schemas|docs|benchmarks|tests|examples|data_cards"
    for target in re.findall(rf"`((?:{folders})/[\w./-]+)`", text):
        assert (PROJECT / target).exists(), target


def test_the_tree_in_contributing_names_only_what_is_there() -> None:
    [tree] = blocks(PROJECT / "CONTRIBUTING.md", "text")
    names = re.findall(r"[a-z_]+(?:\.py\b|/)", tree)
    assert len(names) > 20
    for name in names:
        assert (PROJECT / name).exists() or (PACKAGE / name).exists(), name


def headings(page: Path) -> set[str]:
    """The anchors that a page's headings give."""
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in found}


TUTORIAL = DOCS / "tutorial.md"  # its blocks depend on each other, and have a test of their own
WITH_PYTHON = [page for page in PAGES if blocks(page, "python") and page != TUTORIAL]


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_every_python_block_of_a_document_runs_on_the_sample(
    page: Path, built: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("out").symlink_to(built.root)
    for block in blocks(page, "python"):
        own_process = re.sub(r"workers=\d+", "workers=0", block)
        exec(compile(own_process, str(page), "exec"), {})


def test_the_tutorial_runs_from_its_first_command_to_its_last(
    built: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but its build, which the fixture has made in fewer pairs; training takes two steps."""
    shutil.copytree(built.root, tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    parts = re.findall(r"^```(sh|python)\n(.*?)^```", TUTORIAL.read_text("utf-8"), re.M | re.S)
    for language, block in parts:
        if language == "python":
            exec(compile(re.sub(r"workers=\d+", "workers=0", block), str(TUTORIAL), "exec"), {})
            continue
        for line in block.splitlines():
            words = shlex.split(line.replace("--steps 200", "--steps 2"), comments=True)
            if words[:1] == ["artsound"] and words[1] != "build":
                ARTSOUND(words[1:], standalone_mode=False)
    assert {"fitting.parquet", "unseen.wav", "unseen.png"} <= set(os.listdir())
    assert "takedown.txt" in os.listdir()
    assert len(artsound.open("next")) == len(artsound.open("out/shards")) - 1


def test_the_page_of_training_loops_shows_the_examples_as_they_are() -> None:
    page = (DOCS / "training-loops.md").read_text(encoding="utf-8")
    examples = sorted((PROJECT / "examples" / "training_loops").glob("*.py"))
    assert len(examples) == 5
    for example in examples:
        assert f"```python\n{example.read_text(encoding='utf-8')}```\n" in page, example.name


def test_every_message_that_troubleshooting_explains_is_in_the_code() -> None:
    hooks = runpy.run_path(str(DOCS / "site_hooks.py"))
    folders = (PACKAGE, PROJECT / "pipelines" / "artsound_flows")
    paths = [path for folder in folders for path in folder.rglob("*.py")]
    messages = [message for path in paths for message in hooks["messages"](path)]
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    entries = re.findall(r"^- (\*.*?)(?=^- |^#|\Z)", page, flags=re.MULTILINE | re.DOTALL)
    quoted = [text for entry in entries for text in re.findall(r"(?<!\*)\*([^*]+)\*", entry)]
    assert len(quoted) > 25
    for text in quoted:
        pattern = ".*".join(re.escape(" ".join(part.split())) for part in text.split("…"))
        assert any(re.search(pattern, message) for message in messages), text


def test_documents_use_plain_words() -> None:
    avoided = r"\b(anew|told|ways? out|be had|go(?:es|ne)? on|(?:any|some|no)body)\b"
    texts = {name_of(page): page.read_text(encoding="utf-8") for page in PAGES}
    found = {name: re.findall(avoided, text, re.IGNORECASE) for name, text in texts.items()}
    assert not {name: words for name, words in found.items() if words}


def test_the_guide_lists_every_extra() -> None:
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    page = (DOCS / "data-engineer.md").read_text(encoding="utf-8")
    table = page.partition("| extra | for |")[2].partition("\n\n")[0]
    listed = re.findall(r"`([a-z0-9]+)`[,|\s]", "".join(re.findall(r"^\|[^|]*\|", table, re.M)))
    assert sorted(listed) == sorted(extras["project"]["optional-dependencies"])


def test_the_dictionary_of_columns_is_current() -> None:
    script = runpy.run_path(str(DOCS / "column_tables.py"))
    current = script["PAGE"].read_text(encoding="utf-8") == script["page"]()
    assert current, "docs/columns.md is out of date: run docs/column_tables.py"


def test_the_dictionary_has_every_table_and_each_example_fulfils_its_schema() -> None:
    script = runpy.run_path(str(DOCS / "column_tables.py"))
    listed = [name for name, *_ in script["TABLES"]]
    others = {"recipe", "shard_index"}  # no tables: on the stages' pages, and for machines
    assert sorted([*listed, *others]) == sorted(f.stem for f in (PROJECT / "schemas").iterdir())
    for name in listed:
        kinds = json_schema(name).get("$defs", {})
        for column, rules in json_schema(name)["properties"].items():
            [example] = rules["examples"]
            validator = Draft202012Validator({**rules, "$defs": kinds})
            assert validator.is_valid(example), f"{name}.{column}"


def test_the_citation_file_is_complete_and_names_this_version() -> None:
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "type", "license", "references"} <= citation.keys()
    assert citation["version"] == __version__
    for work in [citation, *citation["references"]]:
        assert work["title"]
        assert work["type"]
        assert all({"name"} <= one.keys() or {"family-names", "given-names"} <= one.keys()
                   for one in work["authors"])  # fmt: skip


def test_the_page_of_recipe_keys_is_current_and_has_every_section() -> None:
    tables = runpy.run_path(str(DOCS / "recipe_tables.py"))
    listed = [name for sections in tables["SECTIONS"].values() for name in sections]
    assert sorted(listed) == sorted(Recipe.model_fields)
    current = tables["PAGE"].read_text(encoding="utf-8") == tables["page"]()
    assert current, "docs/recipe.md is out of date: run docs/recipe_tables.py"


@pytest.mark.parametrize("stage", REASONS)
def test_a_stages_page_lists_every_reason_code_of_the_code(stage: str) -> None:
    code = "\n".join((PACKAGE / path).read_text(encoding="utf-8") for path in REASONS[stage])
    words = set(re.findall(r'(?<!f)"([a-z]+(?:-[a-z]+)+)"', code)) - NO_REASONS
    words |= {word for word in SINGLE_WORDS if f'"{word}"' in code}
    for ending in re.findall(r'f"\{side\}(-[a-z]+)"', code):
        words |= {side + ending for side in SIDES[stage]}
    page = (DOCS / "stages" / f"{stage}.md").read_text(encoding="utf-8")
    reported = page.partition("## What it rejects")[2].partition("## Recipe keys")[0]
    shown = {
        code
        for line in reported.splitlines()
        if line.startswith("| `")
        for code in re.findall(r"`([a-z]+(?:-[a-z]+)*)`", line.rsplit(" | ", 1)[0])
    }
    assert shown == words, "a code that the page lacks, or that is none: add it to NO_REASONS"


def test_every_file_that_rejects_items_is_listed_above() -> None:
    listed = {path for paths in REASONS.values() for path in paths}
    rejecting = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if re.search(
            r"\b(?:Reject|MediaError|UnreadableFile)\(\s*[^\s)e]", path.read_text(encoding="utf-8")
        )
        and not re.search(r"^class (?:Reject|MediaError)\b", path.read_text(), flags=re.MULTILINE)
    }
    assert rejecting <= listed


def test_the_notebook_runs_from_its_first_cell_to_its_last(
    built: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARTSOUND_SHARDS", str(built.shards))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    assert not any(cell.get("execution_count") for cell in notebook.cells)
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    shown = {
        cell.id: {kind for out in cell.outputs for kind in out.get("data", {})}
        for cell in notebook.cells
        if cell.cell_type == "code"
    }
    assert "text/html" in shown["load"]
    assert "text/html" in shown["listen"]
    for plot in ("look", "spectrogram", "scores", "batch"):
        assert "image/png" in shown[plot], plot
