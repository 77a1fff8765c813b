"""The tables of recipe keys in the stages' pages, written from recipe.py: part of `make docs`."""

from __future__ import annotations

import json
import re
from pathlib import Path

from artsound.recipe import Recipe

STAGES = Path(__file__).parent / "stages"
SECTIONS = {
    "README.md": ("run",),
    "ingest.md": ("sources", "images", "audio", "rights"),
    "embed.md": ("embed",),
    "pair.md": ("seed", "split", "pair"),
    "caption.md": ("captions",),
    "shard.md": ("name", "shards", "release"),
}
_TABLE = re.compile(r"(?<=\n)\| key \| default \| meaning \|\n(?:\|.*\n)+")


def table(sections: tuple[str, ...]) -> str:
    """Every key of some sections of the recipe, its default and what it means."""
    rows = ["| key | default | meaning |", "|---|---|---|"]
    recipe = Recipe()
    for name in sections:
        section = getattr(recipe, name)
        keys = getattr(type(section), "model_fields", None)
        if keys is None:
            meaning = Recipe.model_fields[name].description
            rows.append(f"| `{name}` | `{json.dumps(section)}` | {meaning} |")
            continue
        about = (type(section).__doc__ or "").strip().removesuffix(".")
        for key, field in keys.items():
            value = json.dumps(getattr(section, key))
            rows.append(f"| `{name}.{key}` | `{value}` | {field.description or about} |")
    return "\n".join(rows) + "\n"


def with_table(page: Path) -> str:
    """The page's text with its table as it should be."""
    new = table(SECTIONS[page.name])
    return _TABLE.sub(lambda _: new, page.read_text(encoding="utf-8"))


if __name__ == "__main__":
    for name in SECTIONS:
        (STAGES / name).write_text(with_table(STAGES / name), encoding="utf-8")
