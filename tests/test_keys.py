from __future__ import annotations

import json
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artsound.keys import (
    KEY,
    item_key,
    normal_name,
    track_key,
    track_number,
    with_text_keys,
)
from artsound.shards.format import sample_json


def test_a_track_of_the_fma_has_its_number_in_six_digits() -> None:
    assert (track_key(2), track_key("folder-a"), track_number("000002")) == (
        "000002",
        "folder-a",
        2,
    )
    assert track_number("folder-000002") is None


def test_a_sample_s_json_names_a_track_by_its_key() -> None:
    for key in ("000002", "folder-a"):  # one JSON type, whichever the source
        assert json.loads(sample_json({"track_id": key})) == {"track_id": key}


@given(st.text(min_size=1, max_size=120))
def test_every_name_has_a_key_that_a_shard_can_hold(name: str) -> None:
    assert KEY.fullmatch(item_key("folder-", name))


@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40))
def test_names_that_differ_in_more_than_capitals_have_keys_of_their_own(a: str, b: str) -> None:
    same = normal_name(a) == normal_name(b)
    assert (item_key("folder-", a) == item_key("folder-", b)) == same


def test_capitals_and_the_encoding_of_letters_make_no_other_key() -> None:
    name = "Été à la Mer"
    decomposed = unicodedata.normalize("NFD", name).upper()
    assert item_key("folder-", name) == item_key("folder-", decomposed)
    assert item_key("folder-", "sunset_01") == "folder-sunset_01"


@pytest.mark.parametrize("kind", [pa.int32(), pa.int64()])
def test_numbers_in_tables_of_earlier_releases_become_keys(kind: pa.DataType) -> None:
    table = pa.table({"track_id": pa.array([2, 155_320], kind), "n": [1, 2]})
    assert with_text_keys(table)["track_id"].to_pylist() == ["000002", "155320"]
    assert with_text_keys(with_text_keys(table)).schema.field("track_id").type == pa.string()
