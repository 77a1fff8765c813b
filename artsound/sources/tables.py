"""CSV from outside, read by polars."""

from __future__ import annotations

from typing import Any

import polars as pl

# How gzip, Zstandard and zlib begin; none of our tables does.
_PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"x\x01", b"x\x5e", b"x\x9c", b"x\xda")


def parse_csv(data: bytes, **options: Any) -> pl.DataFrame:
    """`polars.read_csv` of bytes that may be anything.

    It unpacks what looks compressed, to any size: not here. Raises PolarsError or ValueError for
    all that is not such a table.
    """
    if data.startswith(_PACKED):
        raise pl.exceptions.ComputeError("it is compressed: unpack it first")
    try:
        return pl.read_csv(data, **options)
    except pl.exceptions.PanicException as error:  # no Exception, and no PolarsError
        raise pl.exceptions.ComputeError("its rows or quotes do not end") from error
