"""SQL conditions over the columns of a table.

A condition may come from another person's recipe or a web page, so its cost is bounded before it
runs: only functions whose result is no longer than their arguments are allowed, and only so many
operations that polars, whose planning time grows with their cube, takes at most a second or two
over the full set.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from artsound.columns import NUMBER, RENAMED
from artsound.errors import BadUsage

# Quoted text is skipped, so that 'the select few' is no query. Comments and escapes are refused:
# they could hide one.
_TOKENS = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")
_FORBIDDEN = re.compile(r"--|/\*|[;\\`$]|\b(select|from|with|table|values|into)\b", re.IGNORECASE)
# FROM where it does not name a table.
_FROM = re.compile(
    r"(\bdistinct\s+|\b(?:substring|trim|extract)\s*\([^()]*)\bfrom\b", re.IGNORECASE
)

FUNCTIONS = frozenset(
    {
        "abs", "ceil", "ceiling", "floor", "round", "sign", "sqrt", "exp", "ln", "log",
        "log2", "log10", "mod", "pow", "power", "lower", "upper", "initcap", "length",
        "char_length", "character_length", "octet_length", "left", "right", "substr",
        "substring", "trim", "ltrim", "rtrim", "starts_with", "ends_with", "strpos",
        "position", "regexp_like", "reverse", "extract", "coalesce", "nullif", "ifnull", "if",
        "greatest", "least", "cast", "try_cast", "array_contains", "array_length", "any",
        "all", "min", "max", "avg", "sum", "count", "median", "stddev", "variance",
        "quantile_cont", "quantile_disc", "first", "last", "row_number", "rank", "dense_rank",
        "over",
    }
)  # fmt: skip
_BEFORE_BRACKETS = frozenset(
    {
        "and", "or", "not", "in", "between", "when", "then", "else", "is", "like", "ilike",
        "rlike", "regexp", "from", "as", "by", "distinct", "varchar", "char",
    }
)  # fmt: skip
_CALL = re.compile(r"(\"(?:[^\"]|\"\")*\"|\w+)\s*\(")
_EMPTY_CALL = re.compile(r"\b(greatest|least)\s*\(\s*\)", re.IGNORECASE)  # polars panics
_OPERATION = re.compile(
    r"\w+\s*\(|[-+*/%<>=!~&|^@:]+|\[|\b(?:and|or|not|in|is|between|i?like|rlike|regexp|when|as)\b",
    re.IGNORECASE,
)
_MOST_OPERATIONS = 100
_LONGEST = 1_000_000  # characters of a condition, which may list the keys of a whole set
_LONGEST_LITERAL = 1000

_TEXT = r"'(?:[^']|'')*'"
_LITERAL = re.compile(r"'((?:[^']|'')*)'")
# A column, how it is compared, and one text or several.
_COMPARED = re.compile(
    rf"""(\w+|"[^"]+")\s*(=|==|<=>|(?:not\s+)?i?like|in\s*\()\s*({_TEXT})((?:\s*,\s*{_TEXT})*)""",
    re.IGNORECASE,
)
_MISSING = re.compile(r'unable to find column "(.*)"')
_OPERATORS = "=, <>, <, <=, >, >=, +, -, *, /, AND, OR, NOT, IN, BETWEEN, LIKE and IS NULL"
_SHOWN = 12
_SHOWN_TEXT = 300  # characters of a condition in a message


def rows_where(frame: pl.DataFrame, where: str) -> npt.NDArray[np.bool_]:
    """The rows that fulfil an SQL condition in polars' dialect: bool [n].

    Raises:
        BadUsage: A column is unknown, or the text is not a condition.
    """
    shown = repr(where if len(where) <= _SHOWN_TEXT else f"{where[:_SHOWN_TEXT]}…")
    plain = _TOKENS.sub("''", where)
    stray = _FORBIDDEN.search(_FROM.sub(r"\1", plain))
    if stray:
        raise BadUsage(
            f"The condition {shown} contains {stray.group()!r}: give one condition over the "
            f"columns {shown_columns(frame)}."
        )
    if costly := _costly(where):
        raise BadUsage(f"The condition {shown} {costly}")
    try:
        found = frame.select(pl.sql_expr(where))
    # Besides its own errors, polars raises those of Python, and panics.
    except (Exception, pl.exceptions.PanicException) as error:
        raise BadUsage(f"The condition {shown} {_fault(frame, where, error)}") from error
    column = found.to_series()
    if column.dtype != pl.Boolean or column.len() not in (1, frame.height):
        raise BadUsage(f"The condition {shown} is not true or false for each row.")
    mask = column.fill_null(False).to_numpy()
    return np.broadcast_to(mask, frame.height).copy()


def _costly(where: str) -> str:
    """Why a condition may cost more time or memory than it should, and the remedy; or nothing."""
    texts = [match for match in _TOKENS.findall(where) if match.startswith("'")]
    if len(where) > _LONGEST or max(map(len, texts), default=0) > _LONGEST_LITERAL + 2:
        return (
            f"is longer than {_LONGEST:,} characters, or a text in it longer than "
            f"{_LONGEST_LITERAL:,}: give a list of keys, or several conditions in turn."
        )
    bare = _TOKENS.sub(lambda match: "''" if match.group()[0] == "'" else match.group(), where)
    for name in _CALL.findall(bare):
        if name.lower() not in FUNCTIONS and name.lower() not in _BEFORE_BRACKETS:
            return (
                f"uses a function {name!r} that is not available here; use {_OPERATORS}, or a "
                "function such as lower, length, round, coalesce, cast or array_contains."
            )
    plain = _TOKENS.sub("''", where)
    if "||" in plain:
        return "joins texts by ||, which is not available here: compare each of them."
    if empty := _EMPTY_CALL.search(plain):
        return f"calls {empty[1]} without arguments: give it columns or values."
    if sum(1 for _ in _OPERATION.finditer(plain)) > _MOST_OPERATIONS:
        return (
            f"has more than {_MOST_OPERATIONS} operations: list values with IN (…), or apply "
            "several conditions in turn."
        )
    return ""


def without_match(frame: pl.DataFrame, where: str) -> str:
    """The nearest values, for an SQL condition that no row fulfils: the end of a sentence."""
    for name, _, first, rest in _COMPARED.findall(where):
        column = _column(frame, name)
        if column is None:
            continue
        known = _values(frame[column])
        lowered = {value.lower() for value in known}
        for literal in _LITERAL.findall(first + rest):
            text = literal.replace("''", "'")
            if known and text.lower().strip("%") not in lowered:
                near = nearest(text.strip("%"), known)
                if near:
                    return f"did you mean {near!r}?"
                more = ", …" if len(known) > _SHOWN else ""
                return f"{column} is one of {', '.join(known[:_SHOWN])}{more}."
            if text not in known and text.lower() in lowered:
                return f"did you mean {nearest(text, known)!r}?"
    for name in re.findall(r"[A-Za-z_]\w*", _TOKENS.sub("", where)):
        column = _column(frame, name)
        if column is not None and frame[column].dtype.is_numeric() and frame.height:
            known_numbers = frame[column].drop_nulls()
            if known_numbers.len():
                low, high = known_numbers.min(), known_numbers.max()
                return f"{column} is between {low!s} and {high!s} here."
    return "loosen the condition."


def nearest(value: str, known: Sequence[str], cutoff: float = 0.6) -> str:
    """The known text most similar to `value`, ignoring case; empty if none is similar."""
    folded = {text.lower(): text for text in reversed(known)}
    within = [text for text in folded if value.lower() and value.lower() in text]
    if value.lower() in folded:
        return folded[value.lower()]
    near = difflib.get_close_matches(value.lower(), folded, n=1, cutoff=cutoff) or within
    return folded[near[0]] if near else ""


def nearest_column(name: str, columns: Sequence[str], cutoff: float = 0.6) -> str:
    """The column most like a name, or whose earlier name is; empty when there is none."""
    earlier = {old: new for old, new in RENAMED.items() if new in columns}
    near = nearest(name, [*columns, *earlier], cutoff)
    return earlier.get(near, near)


def _fault(frame: pl.DataFrame, where: str, error: BaseException) -> str:
    """Why a condition cannot be used, and the remedy."""
    reason = str(error).strip().splitlines()[0].partition("; valid columns")[0]
    missing = _MISSING.search(reason)
    if missing:
        name = missing[1]
        if RENAMED.get(name) in frame.columns:
            return (
                f"names the column {name}, which is called {RENAMED[name]} since format {NUMBER}."
            )
        near = nearest_column(name, frame.columns, 0.7)
        compared = re.search(rf"([=<>~(,]|\blike)\s*\"?{re.escape(name)}\b", where, re.IGNORECASE)
        if compared and not near:
            return (
                f"compares with {name}, which is not a column: text must be in single quotes, as "
                "in painter = 'Claude Monet'."
            )
        if near:
            return f"names a column {name!r} that does not exist: did you mean {near}?"
        return (
            f"names a column {name!r} that does not exist; the columns are {shown_columns(frame)}."
        )
    if "is not currently supported" in reason or "unsupported function" in reason:
        part = "a function" if "function" in reason else "an operator"
        called = re.search(r"'(.*)'", reason) if part == "a function" else None
        named = f" {called[1]!r}" if called else ""
        return f"uses {part}{named} that is not available here; use {_OPERATORS}."
    if "unable to parse" in reason or "sql parser error" in reason:
        return (
            "is not an SQL condition: write one such as score > 0.5 AND painter = 'Claude Monet', "
            "with text in single quotes."
        )
    return f"cannot be used ({reason}); the columns are {shown_columns(frame)}."


def _column(frame: pl.DataFrame, name: str) -> str | None:
    """The table's column of this name, which SQL may write in quotes."""
    plain = name.strip('"')
    return plain if plain in frame.columns else None


def _values(series: pl.Series) -> list[str]:
    """The known texts of a column, sorted; none for a column of something else."""
    flat = series.explode() if isinstance(series.dtype, pl.List) else series
    if flat.dtype != pl.String:
        return []
    return [text for text in flat.drop_nulls().unique().sort().to_list() if text]


def shown_columns(frame: pl.DataFrame) -> str:
    """The columns for messages: the first of them, without offsets and sizes of bytes."""
    names = [name for name in frame.columns if not name.endswith(("_offset", "_size"))]
    if len(names) <= _SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[:_SHOWN])} and {len(names) - _SHOWN} more (page Columns)"


_SHOWN = 30  # columns of a message
