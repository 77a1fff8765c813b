from __future__ import annotations

import csv
import tempfile
from pathlib import Path

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from artsound.shards.release import _ARTWORK, _COLUMNS, _TRACK, plain_cell, write_attribution


@given(st.text(), st.text())
def test_attribution_of_any_text_is_read_back_by_a_csv_reader(title: str, author: str) -> None:
    columns = dict.fromkeys((*_ARTWORK, *_TRACK), title) | {_ARTWORK[-1]: author}
    with tempfile.TemporaryDirectory() as folder:
        rows = pa.table({name: [value] for name, value in columns.items()})
        path = write_attribution(Path(folder), rows)
        with path.open(encoding="utf-8", newline="") as file:
            found = list(csv.reader(file))
    assert found[0] == list(_COLUMNS)
    assert [[plain_cell(cell) for cell in line[:8]] for line in found] == [
        list(_COLUMNS[:8]),
        ["artwork", *(columns[name] for name in _ARTWORK)],
        ["track", *(columns[name] for name in _TRACK)],
    ]
