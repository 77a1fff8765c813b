"""Change 1 % of a rehearsal's tracks: every hundredth has another title in tracks.csv.

    python benchmarks/full_size/change.py OUT/fma/fma_metadata/tracks.csv

Changed once, a file is left as it is.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from artsound.storage import write_bytes

MARK = " (changed)"


def changed(text: str) -> str:
    """The table with other titles: three lines of header, then a line for each track."""
    rows = list(csv.reader(text.splitlines()))
    title = next(
        column for column, names in enumerate(zip(*rows[:2], strict=True))
        if names == ("track", "title")
    )  # fmt: skip
    for row in rows[3::100]:
        row[title] = row[title].removesuffix(MARK) + MARK
    lines: list[str] = []

    class Sink:
        def write(self, line: str) -> None:
            lines.append(line)

    csv.writer(Sink(), lineterminator="\n").writerows(rows)
    return "".join(lines)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    write_bytes(path, changed(path.read_text(encoding="utf-8")).encode())
