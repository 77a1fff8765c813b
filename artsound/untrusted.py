"""Safe readers of untrusted files: .npy, .npz, .parquet, JSON, CSV, TOML, and pickles of numbers.

Library readers let exceptions of their dependencies through: the zip's, the tokeniser's, the
allocator's. Here they become a few documented ones. Parquet is read by pyarrow, since polars' own
reader ends the process on some damaged files.
"""

from __future__ import annotations

import csv
import difflib
import errno
import io
import json
import os
import pickle
import re
import struct
import threading
import tokenize
import tomllib
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from artsound.errors import BadUsage

if TYPE_CHECKING:
    import polars as pl


_LARGE = 10_000  # rows of a table that is checked in threads
_LONGEST = 200  # characters of a path in a message
_LONGEST_NAME = 255  # bytes, on all usual file systems
_LARGEST_TOML = 4_000_000  # bytes

# How gzip, Zstandard and zlib begin; none of our tables does.
_PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"x\x01", b"x\x5e", b"x\x9c", b"x\xda")
# Outside quoted cells: a quote that nothing closes, and a carriage return without a line feed.
_CSV_FAULT = re.compile(rb'"[^"]*"|(?P<quote>")|(?P<bare>\r)(?!\n)')
_BARE = "has a carriage return without a line feed: save the file with line ends LF or CR LF"
_UNCLOSED = "begins a quoted cell that is never closed"
_MISPLACED = (
    "has a quotation mark that neither begins nor ends a cell: remove it, or quote the whole cell "
    "and write the mark twice"
)
# NumPy has the header of an array parsed as Python. In several threads at once CPython 3.11 raises
# SystemError then, now and again (python/cpython#106905). A process that is forked meanwhile must
# not inherit a lock that another thread holds.
_PARSING = threading.Lock()
os.register_at_fork(
    before=_PARSING.acquire, after_in_parent=_PARSING.release, after_in_child=_PARSING.release
)
_FAULTS = (
    *(ValueError, TypeError, KeyError, SyntaxError, EOFError, OverflowError, MemoryError),
    *(RuntimeError, RecursionError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError),
)


def check_path(path: Path) -> None:
    """Check that a file can have this path.

    Paths are written to recipes and reports, which are UTF-8.

    Raises:
        BadUsage: The path is too long, not valid UTF-8, or may not be read.
    """
    text = str(path)
    try:
        text.encode()
        path.stat()
    except FileNotFoundError:
        # A missing folder above hides from `stat` that a name below it is too long.
        if any(len(part.encode()) > _LONGEST_NAME for part in path.parts):
            raise _too_long(text) from None
    except UnicodeEncodeError as error:
        raise BadUsage(
            f"{shown_path(text)} is not valid UTF-8: rename the file or folder."
        ) from error
    except ValueError as error:
        raise BadUsage(f"{shown_path(text)} cannot be a path: it holds a null byte.") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise _too_long(text) from error
        if error.errno == errno.EACCES:
            raise BadUsage(f"{shown_path(text)} cannot be read: no permission.") from error
        if error.errno == errno.ELOOP:
            raise BadUsage(f"{shown_path(text)} is a link that leads back to itself.") from error


def _too_long(path: str) -> BadUsage:
    return BadUsage(f"{shown_path(path)} is too long for this file system: give a shorter path.")


def shown_path(path: object) -> str:
    """Return a path as messages show it: bytes that are no text escaped, long paths shortened."""
    text = str(path).encode("utf-8", "backslashreplace").decode()
    text = text.replace("\0", "\\0")
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}…{text[-_LONGEST // 4 :]}"


def near_path(path: Path) -> str:
    """`did you mean …?` with the name nearest to a path that does not exist; empty without one."""
    folder, name = path.parent, path.name
    while not folder.exists() and folder != folder.parent:
        folder, name = folder.parent, folder.name
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return ""
    folded = {one.lower(): one for one in names}
    near = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.6)
    return f"did you mean {shown_path(folder / folded[near[0]])}?" if near else ""


def nearest(name: str, known: Iterable[str]) -> str:
    """`: did you mean …?` with the known name nearest to an unknown one; empty without one."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f": did you mean {near[0]}?" if near else ""


def read_array(source: Path | bytes, *, mapped: bool = False) -> np.ndarray:
    """Read the array of a .npy file, or of the bytes of one.

    Args:
        source: The file, or its bytes.
        mapped: Whether to map the file into memory and read it as needed.

    Returns:
        The array, in this machine's byte order.

    Raises:
        ValueError: It is not a valid .npy file of one array without pickles.
        OSError: The file cannot be read.
    """
    try:
        with _PARSING:
            found = np.load(
                io.BytesIO(source) if isinstance(source, bytes) else source,
                mmap_mode="r" if mapped else None,
                allow_pickle=False,
            )
    except _FAULTS as error:
        raise _damaged(error) from error
    if not isinstance(found, np.ndarray):
        found.close()
        raise ValueError("it holds several arrays")
    return found if found.dtype.isnative else found.astype(found.dtype.newbyteorder("="))


def read_arrays(source: Path | bytes) -> dict[str, np.ndarray]:
    """Read the arrays of a .npz file, or of its bytes, by name; raises as `read_array` does."""
    try:
        with _PARSING:
            found = np.load(
                io.BytesIO(source) if isinstance(source, bytes) else source, allow_pickle=False
            )
            if isinstance(found, np.ndarray):
                raise ValueError("it holds a single array")
            with found:
                return {name: found[name] for name in found.files}
    except _FAULTS as error:
        raise _damaged(error) from error


class NoColumnError(ValueError):
    """A table lacks a column that is asked for."""


def read_table(
    source: Path | bytes | io.RawIOBase, columns: Sequence[str] | None = None
) -> pa.Table:
    """Read the rows of a .parquet file, or of the bytes of one.

    Args:
        source: The file, or its bytes, or an open file, of which only the columns are read.
        columns: The columns to read; None: all.

    Returns:
        The table, validated in full.

    Raises:
        ValueError: It is not a valid file, lacks a column (NoColumnError), or has text that is not
            UTF-8.
        OSError: The file cannot be read.
    """
    if isinstance(source, io.RawIOBase):
        return _parsed(pa.PythonFile(source, mode="r"), columns)
    if isinstance(source, Path):
        with pa.OSFile(str(source)) as file:  # raises OSError
            return _parsed(file, columns)
    return _parsed(pa.BufferReader(source), columns)


def read_table_schema(data: bytes) -> tuple[pa.Schema, int]:
    """Read what columns the bytes of a .parquet file have, and its number of rows.

    What the file says of each part of a column is not looked at: pyarrow ends the process over
    some damage there, which it reports when the column is read.

    Raises:
        ValueError: It is not a valid file.
    """
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as parquet:
            return parquet.schema_arrow, parquet.metadata.num_rows
    except (OSError, pa.ArrowException, *_FAULTS) as error:
        raise _damaged(error) from error


def parse_json(data: bytes) -> Any:
    """Parse untrusted JSON; ValueError for everything that is wrong with it."""
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_toml(path: Path, kind: str) -> dict[str, Any]:
    """Read a TOML file.

    Args:
        path: The file.
        kind: What messages call it: "recipe".

    Returns:
        Its values.

    Raises:
        BadUsage: The file is missing, unreadable, larger than 4 MB, or not valid TOML.
    """
    check_path(path)
    try:
        if path.stat().st_size > _LARGEST_TOML:
            raise BadUsage(f"The {kind} {path} is larger than {_LARGEST_TOML:,} bytes.")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadUsage(f"There is no {kind} {path}: give the path of a TOML file.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadUsage(f"The {kind} {path} cannot be read: {error}.") from error
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise BadUsage(f"The {kind} {path} is not valid TOML: {reason}.") from error


def parse_csv(data: bytes, **options: Any) -> pl.DataFrame:
    """Parse an untrusted CSV table with `polars.read_csv`.

    Compressed data, which polars would decompress to any size, NUL characters, stray carriage
    returns and misplaced quotes, from which polars joins rows, are refused.

    Raises:
        polars.exceptions.PolarsError: The data is not such a table.
        ValueError: A line has a NUL character, a stray carriage return, or a quote that is never
            closed, or that is within a cell.
    """
    import polars as pl

    if data.startswith(_PACKED):
        raise pl.exceptions.ComputeError("it is compressed: unpack it first")
    _check_nul(data)
    if data.count(b'"') % 2 or data.count(b"\r") != data.count(b"\r\n"):  # seldom: worth a walk
        for match in _CSV_FAULT.finditer(data):
            if match.lastgroup:
                reason = _BARE if match.lastgroup == "bare" else _UNCLOSED
                raise ValueError(f"line {_line(data, match.start())} {reason}")
    plain = data.removeprefix(b"\xef\xbb\xbf")
    well = _well_quoted(options.get("separator", ",")).match(plain)
    if well is not None and well.end() < len(plain):
        raise ValueError(f"line {_line(plain, well.end())} {_MISPLACED}")
    try:
        return pl.read_csv(data, **options)
    except pl.exceptions.PanicException as error:  # no Exception, and no PolarsError
        raise pl.exceptions.ComputeError("its rows or quotes do not end") from error


@lru_cache
def _well_quoted(separator: str) -> re.Pattern[bytes]:
    """The longest beginning of a table in which every quoted cell is the whole of its cell."""
    mark = re.escape(separator.encode())
    quoted = rb'(?<![^%b\n])"(?:[^"]|"")*+"(?![^%b\r\n])' % (mark, mark)
    return re.compile(rb'(?:[^"]++|%b)*+' % quoted)


def swallowed(cells: Iterable[object], names: Callable[[str], bool]) -> str:
    """The first cell that holds parts of other rows, as a stray quotation mark makes it; or "".

    Args:
        cells: Cells of a table that was parsed.
        names: Whether a text is what only the column that names a row's item holds.
    """
    for cell in cells:
        if isinstance(cell, str) and "\n" in cell:
            pieces = re.split(r"[\n,;\t]", cell)
            if any(names(piece.strip(' "\r')) for piece in pieces):
                return cell
    return ""


def csv_rows(data: bytes) -> list[list[str]]:
    """Parse a small CSV table in UTF-8 whose rows may have different lengths.

    Returns:
        The cells, row by row; an empty line is an empty row.

    Raises:
        ValueError: Bytes are not UTF-8, or there are NUL characters, carriage returns without a
            line feed or wrong quotes; the message names the line.
    """
    _check_nul(data)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = _line(data, error.start)
        raise ValueError(f"line {line} is not UTF-8: convert the file (iconv -t UTF-8)") from error
    reader = csv.reader(io.StringIO(text), strict=True)
    rows: list[list[str]] = []
    line = 1
    try:
        for row in reader:
            rows.append(row)
            line = reader.line_num + 1
    except csv.Error as error:
        reason = str(error)
        if "new-line character" in reason:
            raise ValueError(f"line {reader.line_num} {_BARE}") from error
        if "unexpected end" in reason:
            raise ValueError(f"line {line} {_UNCLOSED}") from error
        raise ValueError(f"line {line} is wrong: {reason}") from error
    return rows


def _check_nul(data: bytes) -> None:
    at = data.find(b"\0")
    if at >= 0:
        raise ValueError(
            f"line {_line(data, at)} holds a NUL character: the file is damaged, or not UTF-8"
        )


def _line(data: bytes, at: int) -> int:
    """The number of the line, from 1, that holds byte `at`."""
    return data.count(b"\n", 0, at) + 1


class ForbiddenObject(pickle.UnpicklingError):
    """A pickle holds an object that is neither a plain value nor numbers; the text is its name."""


class NumbersUnpickler(pickle.Unpickler):
    """Reads pickles of protocols 2 to 5 that hold plain values, tensors and numeric arrays.

    Anything else raises ForbiddenObject, which names it, before any of it is called. NumPy's own
    classes are not called either: arrays and numbers are made from their bytes here.
    """

    def find_class(self, module: str, name: str) -> Any:
        """What a name in the pickle stands for; ForbiddenObject unless it is harmless."""
        found = _NUMPY.get((re.sub(r"^numpy\._core\b", "numpy.core", module), name))
        if found is None:
            found = _PLAIN.get((module, name))
        if found is None and module.partition(".")[0] == "torch":
            found = _of_torch(module, name)
        if found is None:
            raise ForbiddenObject(f"{module}.{name}")
        return found


class _PickledType:
    """Stands for a numpy.dtype in a pickle: a kind of number, and its byte order."""

    def __init__(self, code: object, align: object = False, copy: object = True) -> None:
        del align, copy
        kind = np.dtype(code) if isinstance(code, str) else None
        if kind is None or kind.kind not in "biufcSU":
            raise ForbiddenObject(f"numpy.dtype({code!r})")
        self.kind = kind

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.kind = self.kind.newbyteorder(state[1] if state[1] in ("<", ">") else "=")


class _PickledArray:
    """Stands for a numpy.ndarray in a pickle; `array` is it."""

    array: np.ndarray

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran, data = state
        self.array = _from_bytes(data, kind, shape, "F" if fortran else "C").array


def _from_bytes(data: Any, kind: _PickledType, shape: Any, order: str) -> _PickledArray:
    if isinstance(data, str):  # as a pickle of Python 2 is read
        data = data.encode("latin-1")
    made = _PickledArray()
    made.array = np.frombuffer(data, kind.kind).reshape(shape, order="F" if order == "F" else "C")
    return made


def _scalar(kind: _PickledType, data: Any) -> Any:
    return _from_bytes(data, kind, (), "C").array[()]


def _encoded_text(text: str, encoding: str) -> bytes:
    """How protocol 2 writes bytes; other codecs decompress, or import modules."""
    if encoding not in ("latin1", "latin-1"):
        raise ForbiddenObject(f"_codecs.encode({encoding!r})")
    return text.encode("latin-1")


def _byte_array(data: Any = b"", encoding: str = "latin-1") -> bytearray:
    return bytearray(_encoded_text(data, encoding) if isinstance(data, str) else memoryview(data))


def _no_bytes() -> bytes:
    return b""


_NUMPY: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _PickledType,
    ("numpy", "ndarray"): _PickledArray,
    ("numpy.core.multiarray", "_reconstruct"): lambda *_: _PickledArray(),
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_bytes,
}
_PLAIN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _encoded_text,
    **{
        (module, name): kind
        for module in ("builtins", "__builtin__")
        for name, kind in (
            ("set", set), ("frozenset", frozenset), ("complex", complex),
            ("bytes", _no_bytes), ("bytearray", _byte_array),
        )
    },
}  # fmt: skip
_TORCH = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter")


def _of_torch(module: str, name: str) -> Any:
    import torch

    if module == "torch._utils" and name in _TORCH:
        return getattr(torch._utils, name)
    found = getattr(torch, name, None) if module == "torch" else None
    harmless = isinstance(found, torch.dtype) or found in (torch.Size, torch.device)
    return found if harmless else None


def plain_arrays(content: Any) -> Any:
    """What `NumbersUnpickler` read, with an array in each place where it has one."""
    if isinstance(content, _PickledArray):
        return content.array
    if isinstance(content, dict):
        return {name: plain_arrays(value) for name, value in content.items()}
    return content


def _parsed(file: pa.NativeFile, columns: Sequence[str] | None) -> pa.Table:
    try:
        with pq.ParquetFile(file, pre_buffer=True) as parquet:
            table = parquet.read(
                columns=None if columns is None else list(columns),
                use_threads=parquet.metadata.num_rows >= _LARGE,  # else they cost more than they do
            )
        _validate(table)
    except (OSError, pa.ArrowException, *_FAULTS) as error:
        raise _damaged(error) from error
    if missing := [name for name in columns or () if name not in table.column_names]:
        raise NoColumnError(f"it has no column {missing[0]}")
    return table


def _validate(table: pa.Table) -> None:
    """Raise ArrowException for a table that is not sound; a large one is checked in threads."""
    if table.num_rows < _LARGE:
        table.validate(full=True)
        return
    table.validate()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(lambda column: column.validate(full=True), table.columns))


def _damaged(error: Exception) -> ValueError:
    """The error of a library as one line."""
    text = str(error).strip() or type(error).__name__
    return ValueError(f"it is not sound: {text.splitlines()[0][:120]}")
