from __future__ import annotations

import contextlib
import gc
import io
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artsound.errors import BadData
from artsound.shards.index import read_frame
from artsound.untrusted import read_array, read_arrays, read_table

ROWS = np.arange(12, dtype=np.float16).reshape(3, 4)


def npy() -> bytes:
    out = io.BytesIO()
    np.save(out, ROWS)
    return out.getvalue()


def npz() -> bytes:
    out = io.BytesIO()
    np.savez(out, rows=ROWS, names=np.array(["a", "b"]))
    return out.getvalue()


def spoilt(data: bytes, at: int, value: int, length: int) -> bytes:
    """`data` with one byte changed, cut to `length`."""
    place = at % len(data)
    return (data[:place] + bytes([value]) + data[place + 1 :])[: length % (len(data) + 1)]


class _Cycle:
    """Garbage whose collection lets another thread continue."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        time.sleep(0)


def test_arrays_are_read_in_several_threads_at_once() -> None:
    one, several = npy(), npz()

    def read(number: int) -> bool:
        _Cycle()
        arrays = read_arrays(several) if number % 8 == 0 else {"rows": read_array(one)}
        return np.array_equal(arrays["rows"], ROWS)

    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(1, 1, 1)
    try:
        with ThreadPoolExecutor(6) as pool:
            assert all(pool.map(read, range(8000)))
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*thresholds)


def test_numbers_come_in_this_machine_s_order_of_bytes() -> None:
    out = io.BytesIO()
    np.save(out, np.array([1, 256], dtype=">i4"))
    found = read_array(out.getvalue())
    assert found.dtype.isnative
    assert found.tolist() == [1, 256]


def test_what_numpy_wrote_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    path.write_bytes(npy())
    for found in (read_array(path), read_array(npy()), read_array(path, mapped=True)):
        assert found.dtype == np.float16
        assert (found == ROWS).all()
    (tmp_path / "both.npz").write_bytes(npz())
    both = read_arrays(tmp_path / "both.npz")
    assert (both["rows"] == ROWS).all()
    assert both["names"].tolist() == ["a", "b"]


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 200), st.integers(0, 255), st.integers(0, 1 << 20))
def test_damaged_arrays_are_a_value_error_whatever_numpy_makes_of_them(
    at: int, value: int, length: int
) -> None:
    for data in (spoilt(npy(), at, value, 1 << 20), spoilt(npy(), at, value, length)):
        with contextlib.suppress(ValueError):
            assert isinstance(read_array(data), np.ndarray)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 1 << 20), st.integers(0, 255), st.integers(0, 1 << 20))
def test_damaged_archives_are_a_value_error(
    tmp_path_factory: pytest.TempPathFactory, at: int, value: int, length: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "spoilt.npz"
    path.write_bytes(spoilt(npz(), at, value, length))
    with contextlib.suppress(ValueError):
        assert isinstance(read_arrays(path), dict)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=4), st.integers(0, 1 << 20))
def test_damaged_tables_are_a_value_error_and_never_end_the_process(
    at: int, put: bytes, length: int
) -> None:
    out = io.BytesIO()
    pq.write_table(pa.table({"key": ["a", "b", "c"], "tags": [["x"], [], ["y", "z"]]}), out)
    whole = out.getvalue()
    place = at % len(whole)
    data = (whole[:place] + put + whole[place + len(put) :])[: len(whole)]
    for spoilt_data in (data, data[: length % len(data)]):
        with contextlib.suppress(BadData):
            assert isinstance(read_frame(spoilt_data, "spoilt"), pl.DataFrame)


def test_tables_lack_no_asked_column_and_hold_no_text_but_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"key": ["a"], "n": [1]}), path)
    assert read_table(path, ["n"]).to_pylist() == [{"n": 1}]
    with pytest.raises(ValueError, match="it has no column m"):
        read_table(path, ["m"])
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "none.parquet")
    raw = pa.array([b"\xff\xfe"]).view(pa.string())
    pq.write_table(pa.table({"key": raw}), path)
    with pytest.raises(ValueError, match="UTF8"):
        read_table(path)


def test_hostile_headers_are_refused(tmp_path: Path) -> None:
    huge = b"{'descr': '<f8', 'fortran_order': False, 'shape': (100000000000000,), }"
    header = b"\x93NUMPY\x01\x00\x76\x00" + huge.ljust(117) + b"\n"
    with pytest.raises(ValueError, match="not sound"):
        read_array(header)
    out = io.BytesIO()
    np.save(out, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="pickle"):
        read_array(out.getvalue())
    with pytest.raises(ValueError, match="several arrays"):
        read_array(npz())
    (tmp_path / "one.npz").write_bytes(npy())
    with pytest.raises(ValueError, match="single array"):
        read_arrays(tmp_path / "one.npz")
