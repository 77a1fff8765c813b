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

from artsound.untrusted import csv_rows, parse_csv

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


WRONG = [
    (b"0,a\r1,b\n", "line 1 has a carriage return without a line feed"),
    (b"0,a\n1,b\r2,c\r3,d\n", "line 2 has a carriage return without a line feed"),
    (b'0,"a\nb"\n1,b\r2,c\n', "line 3 has a carriage return without a line feed"),
    (b"0,a\n1,b\x00\n", "line 2 holds a NUL character"),
    (b'0,"a\x00b"\n', "line 1 holds a NUL character"),
    ("0,a\n".encode("utf-16"), "line 1 holds a NUL character"),
    (b'0,"a\n1,b\n2,c\n', "line 1 begins a quoted cell that is never closed"),
    (b'0,"a"\n1,"b\n2,c\n', "line 2 begins a quoted cell that is never closed"),
    (b'0,a\n1,"', "line 2 begins a quoted cell that is never closed"),
]


@pytest.mark.parametrize(("data", "sentence"), WRONG)
def test_both_readers_name_the_line_of_a_damaged_table(data: bytes, sentence: str) -> None:
    for read in (csv_rows, lambda data: parse_csv(data, has_header=False, **TEXTS)):
        with pytest.raises(ValueError, match=sentence):
            read(data)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_both_readers_take_either_line_end_and_any_text_in_quotes(end: bytes) -> None:
    data = end.join([b'0,"a\r,""b"""', b'1,"c\nd"', b""])
    expected = [["0", 'a\r,"b"'], ["1", "c\nd"]]
    assert csv_rows(data) == expected
    assert [list(row) for row in parse_csv(data, has_header=False, **TEXTS).rows()] == expected


def test_rows_of_text_may_be_uneven_empty_and_begin_with_a_byte_order_mark() -> None:
    assert csv_rows(b"\xef\xbb\xbf0,a\n\n1,b,c\n") == [["0", "a"], [], ["1", "b", "c"]]
    with pytest.raises(ValueError, match="line 2 is not UTF-8"):
        csv_rows(b"0,a\n1,caf\xe9\n")
    with pytest.raises(ValueError, match=r"line 2 is wrong: .* expected after"):
        csv_rows(b'0,a\n1,"b"c\n')


@given(data=st.binary(max_size=60) | st.text('",\r\n1a\0', max_size=12).map(str.encode))
@example(data=b"\r\x00")
@example(data=b"0\r1")
def test_other_bytes_raise_a_value_error_and_nothing_else(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert all(isinstance(cell, str) for row in csv_rows(data) for cell in row)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b'id,title\n2,5" vinyl\n3,7" single\n', 2),
        (b'id,title,x\n2,"song,a\n3,"song",b"\n', 2),
        (b'id,title\n2,"a" b\n3,"c"\n', 2),
        (b'\xef\xbb\xbf"id","title"\n2,a "b"\n', 2),
    ],
)
def test_a_misplaced_quote_joins_no_rows(data: bytes, line: int) -> None:
    with pytest.raises(ValueError, match=f"^line {line} has a quotation mark that neither"):
        parse_csv(data, **TEXTS)


def test_well_quoted_cells_are_read() -> None:
    data = b'\xef\xbb\xbf"id","title"\r\n2,"say ""hi"",\nyou"\r\n3,""\r\n'
    assert parse_csv(data, **TEXTS).rows() == [("2", 'say "hi",\nyou'), ("3", "")]
    assert parse_csv(b'id\ttitle\n2\t"a,b"\n', separator="\t", **TEXTS).rows() == [("2", "a,b")]
