"""The sample's pictures in ArtGraph's OGB layout: mapping/, raw/ and a zip of imagesf2/."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

from artsound.sample.catalogue import Work, painter_slug, plan_museum
from artsound.sample.pictures import SOUND, picture_bytes
from artsound.sample.workers import Mapper
from artsound.storage import write_bytes

LICENCE = "CC0-1.0"
SCHOOL = "synthetic"
# The earliest date that a zip can hold: the bytes must not tell when they were written.
ZIP_DATE = (1980, 1, 1, 0, 0, 0)
README = """\
A synthetic miniature of ArtGraph, painted by ArtSound's own code. No painter named here ever
lived, no picture is a reproduction, and every date, title and emotion is invented. The pictures
and their metadata are given to the public domain (CC0 1.0). A few files are broken on purpose.

mapping/, raw/       as in ArtGraph's OGB release; every painter's school is "synthetic"
imagesf2.zip         the pictures, under imagesf2/
provenance.csv       painter, title, year and licence of each file
truth.csv            the valence and arousal that each sound picture was painted for
"""

# (relation, node type, what a work relates to), in the order of the relation types.
RELATIONS: tuple[tuple[str, str, Callable[[Work], tuple[str, ...]]], ...] = (
    ("createdby", "artist", lambda work: (painter_slug(work.painter),)),
    ("hasstyle", "style", lambda work: (work.manner.style,)),
    ("hasgenre", "genre", lambda work: (work.motif.genre,)),
    ("about", "tag", lambda work: work.motif.tags),
    ("madeof", "media", lambda work: work.manner.media),
    ("hasperiod", "period", lambda work: (work.period,) if work.period else ()),
    ("elicit", "emotion", lambda work: work.emotions),
)
LABELS = ("style", "genre", "emotion")


def write_artgraph(folder: Path, *, seed: int, mapper: Mapper = map) -> Path:
    """The sample's pictures under ``folder``/artgraph; that path.

    Writes mapping/, raw/ and imagesf2.zip as ArtGraph lays them out, and beside them a README,
    provenance.csv and truth.csv (file, valence, arousal), which no reader opens: the point of the
    affect plane that each sound picture was painted for. The same seed gives the same bytes.
    About 8 s on one core; `mapper` may spread the painting over several. Raises BadData when the
    disk will not take it.
    """
    works = plan_museum(seed)
    root = folder / "artgraph"
    _write_graph(root, works)
    write_bytes(root / "imagesf2.zip", _zip(works, mapper))
    write_bytes(root / "README.txt", README.encode())
    sources = [(w.file, w.painter, w.title, w.year, LICENCE, "artsound sample") for w in works]
    header = ("file", "artist", "title", "year", "licence", "source")
    _write_rows(root / "provenance.csv", [header, *sources])
    truth = [
        (work.file, f"{work.valence:.4f}", f"{work.arousal:.4f}")
        for work in works
        if work.fault in SOUND
    ]
    _write_rows(root / "truth.csv", [("file", "valence", "arousal"), *truth])
    return root


def _write_rows(path: Path, rows: Iterable[Iterable[object]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_bytes(path, text.getvalue().encode())


def _write_graph(root: Path, works: list[Work]) -> None:
    """The nodes, the edges and the labels, every index local to its node type."""
    names: dict[str, list[str]] = {"artwork": [work.file for work in works]}
    edges: dict[tuple[str, str, str], list[tuple[int, int]]] = {}
    for relation, node, related in RELATIONS:
        names[node] = sorted({name for work in works for name in related(work)})
        at = {name: index for index, name in enumerate(names[node])}
        edges["artwork", relation, node] = [
            (index, at[name]) for index, work in enumerate(works) for name in related(work)
        ]
    names["training"] = [SCHOOL]
    edges["artist", "training", "training"] = [(i, 0) for i in range(len(names["artist"]))]

    for node, entries in names.items():
        _write_rows(root / "mapping" / f"{node}_entidx2name.csv", enumerate(entries))
    counts = [len(entries) for entries in names.values()]
    _write_rows(root / "raw" / "num-node-dict.csv", [list(names), counts])
    _write_rows(root / "raw" / "triplet-type-list.csv", edges)
    for number, (triplet, pairs) in enumerate(edges.items()):
        place = root / "raw" / "relations" / "___".join(triplet)
        _write_rows(place / "edge.csv", pairs)
        _write_rows(place / "edge_reltype.csv", [(number,)] * len(pairs))
        _write_rows(place / "num-edge-list.csv", [(len(pairs),)])
    for node, (_, _, related) in ((r[1], r) for r in RELATIONS if r[1] in LABELS):
        at = {name: index for index, name in enumerate(names[node])}
        _write_rows(
            root / "raw" / "node-label" / "artwork" / f"node-label-{node}.csv",
            [(at[related(work)[0]],) for work in works],
        )


def _zip(works: list[Work], mapper: Mapper) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for work, data in zip(works, mapper(picture_bytes, works), strict=True):
            if data is not None:
                entry = zipfile.ZipInfo(f"imagesf2/{work.file}", ZIP_DATE)
                entry.create_system, entry.external_attr = 3, 0o644 << 16
                archive.writestr(entry, data)
    return buffer.getvalue()
