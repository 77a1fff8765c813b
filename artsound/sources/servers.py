"""What lies where on servers: ArtGraph's record or zips, FMA's folder of zips and its digests."""

from __future__ import annotations

import re

from artsound.errors import BadData, BadUsage
from artsound.sources.artgraph_export import ARTISTS, ARTWORKS
from artsound.sources.download import RemoteFile
from artsound.sources.http import Client, shown
from artsound.sources.zenodo import is_record, record_files

OFFICIAL = {
    "artwork": "https://zenodo.org/records/8172374",
    "track": "https://os.unil.cloud.switch.ch/fma/",
}
_FMA_FILES = {
    "fma_metadata.zip": RemoteFile("", "sha1:f0df49ffe5f2a6008d7dc83c6915b31835dfe733"),
    "fma_small.zip": RemoteFile("", "sha1:ade154f733639d52e35e32f5593efe5be76c6d70"),
    "fma_medium.zip": RemoteFile("", "sha1:c67b69ea232021025fca9231fc1c7c1a063ab50b"),
    "fma_large.zip": RemoteFile(
        "", "sha1:497109f4dd721066b5ce5e5f250ec604dc78939e", 100_306_112_191
    ),
    "fma_full.zip": RemoteFile("", "sha1:0f0ace23fbe9ba30ecb7e95f763e435ea802b8ab"),
}


def files_at(side: str, place: str, subset: str, client: Client) -> dict[str, RemoteFile]:
    """The files that a source's address stands for, by name.

    ArtGraph: the zips and exported tables of a Zenodo record, or one or more addresses of such,
    separated by spaces. FMA: the metadata and the clips of `subset` in a folder, or one zip that
    holds both. Raises BadData when the server has none, BadUsage for a name that is not plain.
    """
    return _artgraph_files(place, client) if side == "artwork" else _fma_files(place, subset)


def _artgraph_files(place: str, client: Client) -> dict[str, RemoteFile]:
    """The zips and exported tables at a Zenodo record, or at one or more addresses."""
    files: dict[str, RemoteFile] = {}
    for url in place.split():
        listed = record_files(url, client) if is_record(url) else {_name(url): RemoteFile(url)}
        files |= {
            name: remote
            for name, remote in listed.items()
            if name.lower().endswith(".zip") or name.removesuffix(".gz") in (ARTWORKS, ARTISTS)
        }
    if not files:
        raise BadData(
            f"{shown(place)} is no zip and lists none: give the address of ArtGraph's zip or "
            f"record, or load the Neo4j dump, export {ARTWORKS} from it as docs/data-engineer.md "
            "shows, and give the folder."
        )
    return _plainly_named(place, files)


def _fma_files(place: str, subset: str) -> dict[str, RemoteFile]:
    """The two zips on FMA's server or a mirror of it, or the one zip that `place` names."""
    if place.lower().endswith(".zip"):
        return _plainly_named(place, {_name(place): RemoteFile(place)})
    base = place.rstrip("/") + "/"
    names = ("fma_metadata.zip", f"fma_{subset}.zip")
    if base == OFFICIAL["track"]:
        return {
            name: RemoteFile(base + name, _FMA_FILES[name].digest, _FMA_FILES[name].size)
            for name in names
        }
    # A mirror may hold other files under these names: it has no digest to be held to.
    return {name: RemoteFile(base + name) for name in names}


def _plainly_named(place: str, files: dict[str, RemoteFile]) -> dict[str, RemoteFile]:
    for name in files:
        if not re.fullmatch(r"[\w][\w .()+-]*", name):
            raise BadUsage(f"{place} names a file {name!r}, which is not taken as a name here.")
    return files


def _name(url: str) -> str:
    plain = url.partition("#")[0].partition("?")[0].rstrip("/").removesuffix("/content")
    return plain.rpartition("/")[2]
