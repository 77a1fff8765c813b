"""The page of recipe keys, docs/recipe.md, written from recipe.py: part of `make docs`."""

from __future__ import annotations

import json
from pathlib import Path

from artsound.recipe import Recipe

PAGE = Path(__file__).with_name("recipe.md")
# The stage that reads them, or `run`, and the sections of a recipe.
SECTIONS = {
    "ingest": ("sources", "images", "audio", "rights"),
    "embed": ("embed",),
    "pair": ("seed", "split", "pair"),
    "caption": ("captions",),
    "shard": ("name", "shards", "release"),
    "run": ("run",),
}

_INTRODUCTION = """\
# Recipe keys

Every key of a recipe with its default, by the [stage](stages/README.md) that reads it. Written from
the code by `docs/recipe_tables.py`.

A recipe is one TOML file. It states only what differs from the defaults, and an option of the
command line takes precedence over it:

```toml
name = "calm-pairs"

[sources]
limit = 500
track_where = "genre = 'Classical'"

[rights]
policy = "redistributable"
```

```sh
artsound build --recipe calm.toml --artgraph ArtGraph/ --fma fma/ --out out
```

`--recipe` also takes the name of a bundled one: `artsound` (CLIP and CLAP, the full rebuild),
`open` (only works that may be redistributed) or `sample`. A build saves its whole recipe as
`recipe.toml` in its folder, so that `artsound build --out out` continues it. After a change only
the parts that depend on the changed keys are repeated. A key that does not exist is an error that
names the nearest one.
"""


def page() -> str:
    """The whole page, as Markdown."""
    parts = [_INTRODUCTION]
    for stage, sections in SECTIONS.items():
        parts.append(f"## {stage}\n\n{_about(stage)}\n\n{table(sections)}")
    return "\n".join(parts)


def _about(stage: str) -> str:
    if stage == "run":
        return "How the work is distributed. None of these keys changes a byte of the result."
    return f"Read by the stage [{stage}](stages/{stage}.md)."


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


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
