"""What `make docs` adds to the pages of docs/: MkDocs calls the functions named `on_…`.

The commands and the error messages are written from the code, so that they are always current.
CHANGELOG.md, CONTRIBUTING.md and the schemas become part of the site, and links to files of the
checkout that the site lacks become plain text.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from artsound.cli import app
from artsound.cli.app import help_row

PROJECT = Path(__file__).resolve().parents[1]
# Files outside docs/ that are part of the site, and their place there.
ADDED = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "data_cards/report.png": "images/report.png",
    "artsound/reports/page/icon.svg": "images/icon.svg",
    **{f"schemas/{path.name}": f"schemas/{path.name}" for path in PROJECT.glob("schemas/*.json")},
}
_LINK = re.compile(r"(?<!`)\[([^\]\[]*(?:\[[^\]]*\])?[^\]\[]*)\]\(([^)\s#]*)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files that are outside docs/."""
    for source, place in ADDED.items():
        content = (PROJECT / source).read_bytes()
        files.append(File.generated(config, place, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in what is written from the code, and direct the links to files outside docs/."""
    here = page.file.src_uri
    source = next((path for path, place in ADDED.items() if place == here), f"docs/{here}")
    fills = {"<!-- commands -->": commands, "<!-- errors -->": errors}
    for mark, text in fills.items():
        if mark in markdown:
            markdown = markdown.replace(mark, text())
    return _LINK.sub(lambda link: _directed(link, source, here), markdown)


def _directed(link: re.Match[str], source: str, here: str) -> str:
    """A link of the page `here`, whose file in the checkout is `source`."""
    text, target, anchor = link[1], link[2], link[3] or ""
    if not target or "://" in target or target.startswith("mailto:"):
        return link[0]
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    if path == "README.md":
        path = "docs/README.md"
    place = ADDED.get(path, path.removeprefix("docs/") if path.startswith("docs/") else "")
    if not place:
        if not (PROJECT / path).exists():
            raise FileNotFoundError(f"{source} links to {path}, which does not exist.")
        return f"`{path}`" if text.strip("`/") == path else f"{text} (`{path}`)"
    return f"[{text}]({posixpath.relpath(place, posixpath.dirname(here) or '.')}{anchor})"


# The commands


def commands() -> str:
    """Every command with its arguments and options, as Markdown."""
    group: Any = typer.main.get_command(app)
    parts = []
    for name in group.list_commands(None):
        command = group.commands[name]
        context = command.make_context(name, [], resilient_parsing=True)
        usage = " ".join(["artsound", name, *command.collect_usage_pieces(context)])
        parts.append(f"## artsound {name}\n\n{_paragraphs(command.help)}\n")
        parts.append(f"```text\n{usage}\n```\n")
        records = [help_row(one, context) for one in command.get_params(context)]
        rows = [f"| {cell(first)} | {cell(text, code=False)} |" for first, text in records if first]
        parts += ["| option | meaning |", "|---|---|", *rows, ""]
        if command.epilog:
            parts.append(
                f"{_paragraphs(command.epilog.replace('Example: ', 'Example: `') + '`')}\n"
            )
    return "\n".join(parts)


def cell(text: str, code: bool = True) -> str:
    """Text as the cell of a table, as code or as words."""
    text = " ".join(text.split()).replace("<", "&lt;").replace("|", "&#124;")
    return f"<code>{text}</code>" if code else text


def _paragraphs(text: str | None) -> str:
    return "\n\n".join(" ".join(part.split()) for part in (text or "").split("\n\n"))


# The error messages


def errors() -> str:
    """Every message of an error that a user can cause, by room, as Markdown."""
    rooms: dict[str, set[str]] = {}
    for path in sorted((PROJECT / "artsound").rglob("*.py")):
        room = path.relative_to(PROJECT / "artsound").parts[0].removesuffix(".py")
        rooms.setdefault(room, set()).update(messages(path))
    parts = []
    for room, found in rooms.items():
        if found:
            lines = [f"- {_escaped(text)}" for text in sorted(found, key=str.lower)]
            parts += [f"## {room}\n", *lines, ""]
    return "\n".join(parts)


def _escaped(text: str) -> str:
    """Text as Markdown: what is between backticks stays code, nothing else is markup."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:  # a backtick without its partner
        pieces = ["`".join(pieces)]
    special = r"([<>*_\[\]`\\])"
    return "`".join(
        re.sub(special, r"\\\1", piece) if number % 2 == 0 else piece
        for number, piece in enumerate(pieces)
    )


def messages(path: Path) -> Iterator[str]:
    """The messages of one file's errors; what differs from case to case is an ellipsis."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Call) and node.args and isinstance(node.func, ast.Name)):
            continue
        text = _literal(node.args[0])
        if node.func.id in {"BadData", "BadUsage"} and len(text.replace("…", "").split()) > 2:
            yield " ".join(text.split())


def _literal(node: ast.expr) -> str:
    """The text of an expression, as far as it is written in the code."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return re.sub("…(?:…)+", "…", "".join(_literal(part) for part in node.values))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _literal(node.left) + _literal(node.right)
    return "…"
