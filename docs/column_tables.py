"""The dictionary of columns, docs/columns.md, and the schemas of a release: part of `make docs`.

schemas/sample.json and schemas/index.json are written from the table in `artsound.columns`; the
page from that table and from the other schemas.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from artsound.columns import COLUMNS, KINDS, SAMPLE, Column, json_schemas
from artsound.schema import json_schema, schema_folder

PAGE = Path(__file__).with_name("columns.md")

_INTRODUCTION = """\
# Columns

Every table of a build and of a release: each column's name, type, meaning and an example. Written
from [schemas/](../schemas) by `docs/column_tables.py`; each schema holds the full contract. Ranges
are inclusive. In a release, what is unknown is null in the index, or an empty list, and `""`, `-1`
or `[""]` in a record in a shard, so that a field has one JSON type in every sample. The other
tables hold no null: `""`, -1 and empty lists are unknown there.

## Compatibility

`index.json` of a release names its format, `artsound-shards-2`. Within a format, columns may be
added that can be unknown: readers fill them with null where a release lacks them, and ignore
columns that they do not know. A column that is renamed, removed or means something else raises the
number of the format, which is part of each schema's `$id`. `artsound.open` reads every earlier
format under today's names; `artsound migrate OLD --out NEW` writes an earlier release in today's
format, with the same pictures and clips. Earlier names in a condition are answered with those of
today.
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
    ("runner_up", "Runners-up", "`pairs/runners_up.parquet`"),
    ("unmatched", "Unmatched items", "`pairs/unmatched.parquet`"),
    ("caption", "Captions", "`captions/artworks.parquet` and `captions/tracks.parquet`"),
    ("judgement", "Judgements", "`judgements/*.parquet`, which `artsound browse` writes"),
    (
        "preference",
        "Preferences",
        "`judgements/preferences/*.parquet`, which `artsound browse` writes",
    ),
    ("exclusion", "Excluded pairs", "the list that `artsound judgements --out` writes"),
)
_LONGEST = 60  # characters of an example


def page() -> str:
    """The whole page, as Markdown."""
    parts = [_INTRODUCTION]
    for name, heading, place in TABLES:
        schema = json_schema(name)
        about = f"{schema['description']} In {place} ([schema](../schemas/{name}.json))."
        if name == "sample":
            absent = ", ".join(f"`{one.name}`" for one in COLUMNS if one not in SAMPLE)
            about += f" It has the fields of the index except {absent}."
            parts.append(f"## {heading}\n\n{about}\n")
            continue
        parts.append(f"## {heading}\n\n{about}\n")
        if name == "index":
            parts.append(_table({column.name: _rules(column) for column in COLUMNS}))
        else:
            parts.append(_table(schema["properties"]))
    return "\n".join(parts)


def _rules(column: Column) -> dict[str, Any]:
    """A column of a release as the property of a schema."""
    unit = f"; in {column.unit}" if column.unit else ""
    unknown = "; null when unknown" if column.unknown else ""
    about = {"description": column.description + unit + unknown, "examples": [column.example]}
    return {**KINDS[column.kind], **about}


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
    for name, schema in json_schemas().items():
        text = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        (schema_folder() / f"{name}.json").write_text(text, encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
