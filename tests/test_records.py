from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import jsonschema
import pyarrow as pa
import pytest

from artsound.errors import BadData
from artsound.schema import (
    RECORDS,
    Reject,
    arrow_schema,
    check_table,
    from_row,
    inlined_schema,
    json_schema,
    schema_folder,
    to_table,
)

PAIR = {
    "track_id": "000002",
    "artwork_id": "a.jpg",
    "split": "train",
    "score": 0.5,
    "bridge": "affect",
    "percentile": 0.9,
    "margin": 0.1,
    "track_rank": 1,
    "artwork_rank": 3,
    "method": "sparse",
}
REJECT = Reject("ingest", "track", "000002", "failed", "unreadable", "it is damaged")


def test_every_schema_is_valid_json_schema_2020_12() -> None:
    paths = sorted(schema_folder().glob("*.json"))
    assert {"artwork", "track", "pair", "caption", "reject", "shard_index", "recipe"} <= {
        path.stem for path in paths
    }
    for path in paths:
        jsonschema.Draft202012Validator.check_schema(json_schema(path.stem))


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_every_record_has_the_fields_of_its_schema_in_order(name: str) -> None:
    assert [field.name for field in fields(RECORDS[name])] == arrow_schema(name).names


def test_a_schema_without_references_accepts_the_same_records() -> None:
    schema, inlined = json_schema("sample"), inlined_schema("sample")
    assert "$ref" not in str(inlined)
    whole, plain = map(jsonschema.Draft202012Validator, (schema, inlined))
    sample = {name: about["examples"][0] for name, about in schema["properties"].items()}
    assert whole.is_valid(sample)
    assert plain.is_valid(sample)
    refused = 0
    for name in sample:
        for value in (None, "", "a b", "0", -1, 0, 0.5, 2, True, [], ["a"], [1], {}):
            valid = whole.is_valid({**sample, name: value})
            assert plain.is_valid({**sample, name: value}) == valid, (name, value)
            refused += not valid
        assert not plain.is_valid({other: sample[other] for other in sample if other != name})
    assert refused > len(sample)


def test_rows_become_a_table_and_come_back() -> None:
    table = to_table("reject", [REJECT])
    check_table("reject", table)
    assert from_row("reject", table.to_pylist()[0]) == REJECT


def test_an_index_row_is_a_sample_and_its_place() -> None:
    assert (
        arrow_schema("index").names[: len(arrow_schema("sample"))] == arrow_schema("sample").names
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"split": "dev"}, "Column split of a pair table holds a value that is none of 'train'"),
        ({"score": float("nan")}, "Column score of a pair table holds a value that is not finite"),
        ({"track_rank": 0}, "Column track_rank of a pair table holds a value that is below 1"),
        ({"artwork_id": ""}, "Column artwork_id of a pair table holds a value that is empty"),
        ({"track_id": "A.b"}, "track_id of a pair table holds a value that is not of the form"),
    ],
)
def test_a_value_outside_the_schema_is_named(change: dict[str, object], sentence: str) -> None:
    row = PAIR | change
    with pytest.raises(BadData) as caught:
        check_table("pair", to_table("pair", [row]))
    assert sentence in str(caught.value)


def test_wrong_types_and_fields_are_refused() -> None:
    row = PAIR
    with pytest.raises(BadData, match="wrong type"):
        to_table("pair", [row | {"track_id": 2}])
    with pytest.raises(BadData, match="wrong fields: colour"):
        to_table("pair", [row | {"colour": 1}])
    with pytest.raises(BadData, match=r"missing split"):
        check_table("pair", to_table("pair", [PAIR]).drop_columns(["split"]))
    wrong = to_table("pair", [PAIR])
    place = wrong.schema.get_field_index("score")
    wrong = wrong.set_column(place, "score", pa.array([0.5], pa.float64()))
    with pytest.raises(BadData, match="is double, but should be float"):
        check_table("pair", wrong)


def test_a_null_is_refused_even_inside_a_list(tmp_path: Path) -> None:
    schema = arrow_schema("artwork_descriptors")
    row = dict.fromkeys(schema.names, 0.5)
    row |= {"artwork_id": "a", "palette": ["red", None], "palette_hex": [], "palette_share": []}
    with pytest.raises(BadData, match="null in a list"):
        check_table("artwork_descriptors", to_table("artwork_descriptors", [row]))
