"""The documents are true: commands, links, files, tables and examples in them exist and work."""

from __future__ import annotations

import importlib
import inspect
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import typer
import yaml
from jsonschema import Draft202012Validator
from nbclient import NotebookClient

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
MEDIA = ("media/audio.py", "media/images.py")
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


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name_of)
def test_every_python_block_of_a_document_runs_on_the_sample(
    page: Path, built: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert built.root.name == "out"
    monkeypatch.chdir(built.root.parent)
    for block in blocks(page, "python"):
        own_process = re.sub(r"workers=\d+", "workers=0", block)
        exec(compile(own_process, str(page), "exec"), {})


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


def test_every_page_is_reached_from_the_index() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    for path in [*DOCS.rglob("*.md"), NOTEBOOK]:
        if path != DOCS / "README.md":
            assert f"({path.relative_to(DOCS)})" in index, path


def test_the_stages_pages_list_every_recipe_key_with_its_default() -> None:
    tables = runpy.run_path(str(DOCS / "recipe_tables.py"))
    listed = [name for sections in tables["SECTIONS"].values() for name in sections]
    assert sorted(listed) == sorted(Recipe.model_fields)
    for name, sections in tables["SECTIONS"].items():
        page = DOCS / "stages" / name
        stale = f"the table of recipe keys in {name} is stale: run docs/recipe_tables.py"
        assert tables["table"](sections) in page.read_text(encoding="utf-8"), stale


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


def test_the_reference_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "default", DOCS / "reference.py", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROJECT)
    assert done.returncode == 0, done.stderr
    assert "pdoc" not in done.stderr
    pages = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.html")}
    assert {"index.html", "artsound.html", "artsound/shards/dataset.html"} <= pages
    # What pdoc takes for a name of ours in the midst of code would garble the code.
    for page in tmp_path.rglob("*.html"):
        assert not re.search(r"[)\]\"]<a [^>]*>artsound\.", page.read_text(encoding="utf-8")), page


def test_everything_in_the_reference_is_explained() -> None:
    listed = (DOCS / "reference.py").read_text(encoding="utf-8")
    bare = []
    for name in re.findall(r'"(artsound[\w.]*)"', listed):
        for key, value in vars(importlib.import_module(name)).items():
            if key.startswith("_") or getattr(value, "__module__", "") != name:
                continue
            own = [(key, value)] if inspect.isfunction(value) else []
            if inspect.isclass(value):
                own = [(key, value), *((f"{key}.{k}", v) for k, v in vars(value).items())]
            for label, thing in own:
                public = not label.rpartition(".")[2].startswith("_")
                if public and (inspect.isfunction(thing) or thing is value):
                    made_up = f"{thing.__name__}("  # a dataclass without a docstring
                    doc = inspect.getdoc(thing) or made_up
                    bare += [f"{name}.{label}"] * doc.startswith(made_up)
    assert not bare


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
