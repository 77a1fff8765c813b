"""What the documents tell people to type exists, and what they tell of the code is so."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import typer

from artsound.cli import app
from artsound.recipe import Recipe

PROJECT = Path(__file__).resolve().parents[1]
DOCS = PROJECT / "docs"
NOTEBOOK = DOCS / "explore.ipynb"
PAGES = [PROJECT / "README.md", PROJECT / "pipelines" / "README.md", *sorted(DOCS.rglob("*.md"))]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]

# Where each stage's reason codes are written, and what only looks like one there.
PACKAGE = PROJECT / "artsound"
MEDIA = ("media/audio.py", "media/images.py")
FETCH = ("sources/staging.py", "sources/fetch.py", "sources/files.py", "sources/image_urls.py")
REASONS = {
    "ingest": ("sources/ingest.py", *FETCH, *MEDIA),
    "pair": ("pairing/pair.py", "pairing/given.py"),
    "caption": ("captions/caption.py", "captions/checks.py"),
    "shard": ("shards/shard.py",),
}
SINGLE_WORDS = {"unreadable", "empty", "refusal", "repetitive", "disagrees"}
NO_REASONS = {"max-snippet", "max-image-preview", "max-video-preview", "fallen-out"}
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


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_that_a_document_shows_is_understood(page: Path) -> None:
    shown = commands(page)
    assert bool(shown) == ("\nartsound " in page.read_text(encoding="utf-8"))
    for line in shown:
        name, *words = shlex.split(line)[1:]
        COMMANDS[name].make_context(name, words)  # raises what the user would be told


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_and_option_that_a_document_mentions_exists(page: Path) -> None:
    for words in mentions(page.read_text(encoding="utf-8")):
        options = {word for word in words if word.startswith("--")}
        if words[0].startswith("-"):
            assert options <= {"--help", "--version"}, words
            continue
        known = {option for param in COMMANDS[words[0]].params for option in param.opts}
        assert options <= known | {"--help"}, words


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_and_file_that_a_document_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target, heading in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", text):
        if "://" not in target:
            found = page.parent / target if target else page
            assert found.exists(), target
            if heading:
                assert heading in headings(found), f"{target}#{heading}"
    for target in re.findall(r"`((?:artsound|pipelines|schemas|docs|benchmarks)/[\w./-]+)`", text):
        assert (PROJECT / target).exists(), target


def headings(page: Path) -> set[str]:
    """The anchors that a page's headings give."""
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in found}


def test_every_page_is_reached_from_the_index() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    for path in [*DOCS.rglob("*.md"), NOTEBOOK]:
        if path != DOCS / "README.md":
            assert f"({path.relative_to(DOCS)})" in index, path


def test_the_stages_pages_list_every_recipe_key_with_its_default() -> None:
    row = re.compile(r"^\| `([a-z_.]+)` \| `(.*)` \| (.*) \|$", flags=re.MULTILINE)
    shown = {}
    for page in sorted((DOCS / "stages").glob("*.md")):
        text = page.read_text(encoding="utf-8").partition("## Recipe keys")[2]
        for key, default, meaning in row.findall(text):
            shown[key] = f"| `{key}` | `{default}` | {meaning} |"
    expected = {}
    for name, field in Recipe.model_fields.items():
        section = getattr(Recipe(), name)
        keys = getattr(type(section), "model_fields", None)
        for key, one in keys.items() if keys else [("", field)]:
            full, value = (f"{name}.{key}", getattr(section, key)) if key else (name, section)
            old = shown.get(full, "").removesuffix(" |").rpartition("| ")[2]
            expected[full] = f"| `{full}` | `{json.dumps(value)}` | {one.description or old} |"
    assert list(shown.values()) == [expected[key] for key in shown if key in expected]
    assert not expected.keys() - shown.keys(), [expected[k] for k in expected.keys() - shown.keys()]


@pytest.mark.parametrize("stage", REASONS)
def test_a_stages_page_lists_every_reason_code_of_the_code(stage: str) -> None:
    code = "\n".join((PACKAGE / path).read_text(encoding="utf-8") for path in REASONS[stage])
    words = set(re.findall(r'(?<!f)"([a-z]+(?:-[a-z]+)+)"', code)) - NO_REASONS
    words |= {word for word in SINGLE_WORDS if f'"{word}"' in code}
    for ending in re.findall(r'f"\{side\}(-[a-z]+)"', code):
        words |= {side + ending for side in SIDES[stage]}
    page = (DOCS / "stages" / f"{stage}.md").read_text(encoding="utf-8")
    told = page.partition("## What it rejects")[2].partition("## Recipe keys")[0]
    shown = {
        code
        for line in told.splitlines()
        if line.startswith("| `")
        for code in re.findall(r"`([a-z]+(?:-[a-z]+)*)`", line.rsplit(" | ", 1)[0])
    }
    assert shown == words


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
