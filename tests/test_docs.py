"""What the documents tell people to type exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from artsound.cli import app

PROJECT = Path(__file__).resolve().parents[1]
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]


def commands(page: Path) -> list[str]:
    """The lines of a page's shell blocks that call artsound, continued lines joined."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.partition(" #")[0].strip() for line in lines if line.startswith("artsound ")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_document_shows_is_understood(page: Path) -> None:
    group = typer.main.get_command(app)
    shown = commands(page)
    assert shown
    for line in shown:
        name, *words = shlex.split(line)[1:]
        command = group.commands[name]  # type: ignore[attr-defined]
        command.make_context(name, words)  # raises what the user would be told


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_file_that_a_document_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = [t for t in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in t]
    targets += re.findall(r"`((?:artsound|pipelines|schemas|docs|benchmarks)/[\w./-]+)`", text)
    for target in targets:
        assert (page.parent / target).exists() or (PROJECT / target).exists(), target
