"""The documentation as one site: built strictly, complete, searchable, and at home on this host."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from artsound.cli import app

PROJECT = Path(__file__).resolve().parents[1]
API = PROJECT / "docs" / "api"

pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site; anything that MkDocs warns of, such as a page that no menu has, is an error."""
    out = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--quiet",
        "--strict",
        "--site-dir",
        str(out),
    ]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=PROJECT, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return out


@pytest.fixture(scope="module")
def found(site: Path) -> dict[str, str]:
    """What the search reads: the text of each heading, in lower case, by address."""
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    return {one["location"]: f"{one['title']} {one['text']}".lower() for one in index["docs"]}


@pytest.mark.parametrize(
    ("word", "page"),
    [
        ("resume", "streaming.html"),
        ("resume", "training-loops.html"),
        ("resume", "commands.html"),
        ("percentile", "columns.html"),
        ("locked by another build", "errors.html"),
        ("slurm", "clusters.html"),
        ("load_state_dict", "api/streams.html"),
        ("artwork_uses", "recipe.html"),
    ],
)
def test_the_search_finds_a_word_where_it_is_explained(
    found: dict[str, str], word: str, page: str
) -> None:
    assert page in {place.partition("#")[0] for place, text in found.items() if word in text}


def test_every_command_and_option_has_its_place_in_the_site(site: Path) -> None:
    page = (site / "commands.html").read_text(encoding="utf-8")
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        assert f'id="artsound-{name}"' in page, name
        for option in (one for param in command.params for one in param.opts):
            assert option in page, f"{name} {option}"


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 35
    for page in pages:
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source)[^>]* src=\"([^\"]+)", text)
        loaded += re.findall(r"<link(?![^>]*canonical)[^>]* href=\"([^\"]+)", text)
        assert not [address for address in loaded if "//" in address], page
    for style in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(?:https?:)?//", style.read_text(encoding="utf-8")), style


def test_everything_that_the_api_pages_name_has_a_docstring() -> None:
    bare, listed = [], 0
    for page in API.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        for name, members in re.findall(
            r"^::: (\S+)(?:\n    options: .*members: \[(.*?)\])?", text, re.M
        ):
            module, _, last = name.rpartition(".")
            owner = getattr(importlib.import_module(module), last, None) if module else None
            if owner is None or inspect.ismodule(owner):
                owner = importlib.import_module(name)
            things = [owner] if not inspect.ismodule(owner) else []
            things += [getattr(owner, member) for member in re.findall(r"\w+", members)]
            listed += len(things)
            for thing in things:
                own = [thing]
                if inspect.isclass(thing):
                    methods = {k: v for k, v in vars(thing).items() if not k.startswith("_")}
                    own += [v for v in methods.values() if inspect.isfunction(v)]
                for one in own:
                    made_up = f"{one.__name__}("  # a dataclass without a docstring
                    doc = inspect.getdoc(one) or made_up
                    bare += [f"{name}: {one.__qualname__}"] * doc.startswith(made_up)
    assert listed > 80
    assert not bare
