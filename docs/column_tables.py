"""The dictionary of columns, docs/columns.md, written from schemas/*.json: part of `make docs`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from artsound.schema import json_schema

PAGE = Path(__file__).with_name("columns.md")

_INTRODUCTION = """\
# Columns

Every table of a build and of a release: each column's name, type, meaning and an example. Written
from [schemas/](../schemas) by `docs/column_tables.py`; each schema holds the full contract. Ranges
are inclusive. No column holds a null.
"""

# The tables in the order of the page: schema, heading, where the table is.
TABLES = (
    ("index", "Index of a release", "`shards/index.parquet`: what filters and conditions read"),
    ("sample", "Record in a shard", "`KEY.json` in a shard"),
    ("artwork", "Artworks", "`catalog/artworks.parquet`"),
    ("track", "Tracks", "`catalog/tracks.parquet`"),
    ("reject", "Rejects", "`catalog/rejects.parquet`"),
    ("artwork_descriptors", "Descriptors of artworks", "`embeddings/affect/artworks.parquet`"),
    ("track_descriptors", "Descriptors of tracks", "`embeddings/affect/tracks.parquet`"),
    ("pair", "Pairs", "`pairs/pairs.parquet`"),
    ("unmatched", "Unmatched items", "`pairs/unmatched.parquet`"),
    ("caption", "Captions", "`captions/artworks.parquet` and `captions/tracks.parquet`"),
    ("judgement", "Judgements", "the JSON lines that `artsound browse` writes"),
    ("exclusion", "Excluded pairs", "the list that `artsound judgements --out` writes"),
)
# Fields that a later table repeats with the same meaning are listed once.
_REPEATS = {"sample": "index"}
_LONGEST = 60  # characters of an example


def page() -> str:
    """The whole page, as Markdown."""
    parts = [_INTRODUCTION]
    for name, heading, place in TABLES:
        schema = json_schema(name)
        about = f"{schema['description']} In {place} ([schema](../schemas/{name}.json))."
        properties = schema["properties"]
        if name in _REPEATS:
            listed = json_schema(_REPEATS[name])["properties"]
            absent = [key for key in listed if key not in properties]
            names = ", ".join(f"`{key}`" for key in absent)
            about += f" It has the fields of the index except {names}."
            properties = {key: rules for key, rules in properties.items() if key not in listed}
        parts.append(f"## {heading}\n\n{about}\n")
        if properties:
            parts.append(_table(properties))
    return "\n".join(parts)


def _table(properties: Mapping[str, Mapping[str, Any]]) -> str:
    rows = ["| column | type | meaning | example |", "|---|---|---|---|"]
    for column, rules in properties.items():
        meaning = rules["description"].replace("<", "&lt;") + _limits(rules)
        cells = (f"`{column}`", _type(rules), meaning, _example(rules))
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows) + "\n"


def _type(rules: Mapping[str, Any]) -> str:
    """A column's type in words of Arrow: string, int32, list of string …"""
    if "arrow" in rules:
        return str(rules["arrow"])
    if rules["type"] == "array":
        return f"list of {_type(rules['items'])}"
    plain = {"integer": "int64", "number": "float64", "boolean": "bool"}
    return plain.get(rules["type"], str(rules["type"]))


def _limits(rules: Mapping[str, Any]) -> str:
    """The values that a column may have, where the schema says so: allowed ones or a range."""
    own = rules.get("items", rules)
    if "enum" in own:
        named = [f"`{value}`" if value != "" else "empty" for value in own["enum"]]
        return f" (one of {', '.join(named)})"
    low, high = own.get("minimum"), own.get("maximum")
    if low is not None and high is not None:
        return f" ({low:,} to {high:,})"
    if low is not None:
        return f" (at least {low:,})"
    return f" (at most {high:,})" if high is not None else ""


def _example(rules: Mapping[str, Any]) -> str:
    [value] = rules["examples"]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return f"`{shown}`" if shown else "empty"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
