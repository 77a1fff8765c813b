"""What may come as a CSV table from outside."""

from __future__ import annotations

import contextlib
import gzip
import zlib
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from artsound.readers import parse_csv

BROKEN = b'"","\r'  # polars' reader panics at it
NUMBERS: dict[str, Any] = {"has_header": False, "schema": {"a": pl.Int64, "b": pl.Int64}}
TEXTS: dict[str, Any] = {"infer_schema": False}
TRACKS: dict[str, Any] = {"has_header": False, "skip_rows": 3, "columns": [0, 1], **TEXTS}


def test_a_table_is_read_as_polars_reads_it() -> None:
    frame = parse_csv(b"a,b\n1,x\xc3\xa9\n", **TEXTS)
    assert frame.to_dict(as_series=False) == {"a": ["1"], "b": ["x\u00e9"]}


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_what_is_packed_is_not_unpacked(pack: Any) -> None:
    packed = pack(b"a,b\n" + b"1,2\n" * 100_000)
    assert len(packed) < 10_000
    with pytest.raises(pl.exceptions.ComputeError, match="compressed"):
        parse_csv(packed)


@pytest.mark.parametrize("options", [NUMBERS, TEXTS, TRACKS])
@given(data=st.binary(max_size=60) | st.text('",\r\n1a', max_size=12).map(str.encode))
@example(data=b"x\x01\x06\x00")
@example(data=b"x^mIe\x11<")
@example(data=BROKEN)
def test_other_bytes_raise_what_is_said_and_nothing_else(
    options: dict[str, Any], data: bytes
) -> None:
    with contextlib.suppress(pl.exceptions.PolarsError, ValueError):
        assert isinstance(parse_csv(data, **options), pl.DataFrame)
