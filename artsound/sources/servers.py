"""What is where on servers: the files of a Zenodo record, ArtGraph's zips, FMA's folder of zips."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urljoin, urlsplit

from artsound.errors import BadData, BadUsage
from artsound.sources.artgraph import ARTISTS, ARTWORKS
from artsound.sources.fma import METADATA_ZIP
from artsound.sources.http import FAULTS, Client, RemoteFile, read_body, reason, shown, status

# A Zenodo record's files, as its REST API lists them at this moment: names, sizes, digests.
#
# Zenodo has answered in three forms: files with `key` (until 2023, and again today), files with
# `filename` and `filesize` (October 2023), and InvenioRDM's own `files.entries`.

_RECORD = re.compile(
    r"(?P<base>https?://[^/?#]+)/(?:api/)?records?/(?P<id>\d+)"
    r"(?P<latest>/(?:versions/)?latest)?(?:/(?:files|versions|(?:preview|export)(?:/[^/]*)?)?)?/?$",
    re.IGNORECASE,
)
_DOI = re.compile(r"(?:^|/|doi:)10\.5281/zenodo\.(?P<id>\d+)(?:\.svg)?/?$", re.IGNORECASE)
_LONGEST_ANSWER = 8 << 20
_NO_RECORD = (ValueError, KeyError, TypeError, AttributeError, OverflowError)
_DIGESTS = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}


def is_record(url: str) -> bool:
    """Whether `url` is that of a record: its page, its place in the API, or its DOI.

    `https://zenodo.org/records/8172374`, with `?token=...`, `#files` or `/latest` behind it too,
    and `https://doi.org/10.5281/zenodo.8172374`.
    """
    return _api(url) is not None


def record_files(url: str, client: Client) -> dict[str, RemoteFile]:
    """The files of the record at `url`, by name, with size and digest.

    Raises BadData when the server cannot be reached, answers something else than a record, or
    shows no files of it.
    """
    api = _api(url) or url
    with client.get(api, {"Accept": "application/json"}) as response:
        if response.status_code in (401, 403):
            raise BadData(
                f"{shown(api)} answered {status(response)}: the record is restricted; download "
                "its files yourself, and give the folder."
            )
        if response.status_code != 200:
            raise BadData(f"{shown(api)} answered {status(response)}: check the record.")
        try:
            answer = b"".join(read_body(response, _LONGEST_ANSWER, client.patience))
        except FAULTS as error:
            raise BadData(f"{shown(api)} broke off: {reason(error)}; try again.") from error
    try:
        files = json.loads(answer)["files"]
        if isinstance(files, dict):
            entries = files.get("entries") or {}
            files = list(entries.values()) if isinstance(entries, dict) else entries
        listed = dict(_file(api, file) for file in files)
    except (*_NO_RECORD, RecursionError) as error:
        raise BadData(
            f"{shown(api)} does not answer like a Zenodo record that shows its files: download "
            "them yourself, and give the folder."
        ) from error
    return listed


def _api(url: str) -> str | None:
    """The address of a record in the API, or None for what is no record's address."""
    parts = urlsplit(url)
    plain = parts._replace(query="", fragment="").geturl()
    if match := _RECORD.match(plain):
        api = f"{match['base']}/api/records/{match['id']}"
        api += "/versions/latest" if match["latest"] else ""
    elif match := _DOI.search(plain):
        api = f"https://zenodo.org/api/records/{match['id']}"
    else:
        return None
    token = parse_qs(parts.query).get("token", [])
    return f"{api}?{urlencode({'token': token[0]})}" if token else api


def _file(api: str, file: Mapping[str, Any]) -> tuple[str, RemoteFile]:
    """Name and place of one file in any of the three forms."""
    name = file["key"] if "key" in file else file["filename"]
    size = file["size"] if "size" in file else file["filesize"]
    links = file.get("links") or {}
    base, _, query = api.partition("?")
    own = f"{base}/files/{quote(str(name), safe='')}/content"
    link = links.get("content") or links.get("download") or links.get("self") or own
    place = urljoin(api, str(link))
    if query and "token=" not in place and urlsplit(place).netloc == urlsplit(api).netloc:
        place += ("&" if "?" in place else "?") + query
    if int(size) < 0 or not (isinstance(name, str) and name):
        raise ValueError("a size below zero, or no name")
    return name, RemoteFile(place, _digest(str(file.get("checksum") or "")), int(size))


def _digest(checksum: str) -> str:
    """The checksum when it is of a kind that is checked here; else none."""
    kind, mark, value = (part.strip().lower() for part in checksum.partition(":"))
    if not mark:
        kind, value = "", kind
    length = len(value) if re.fullmatch(r"[0-9a-f]+", value) else 0
    found = _DIGESTS.get(length, "")
    return f"{found}:{value}" if found and kind in ("", found) else ""


@dataclass(frozen=True)
class Server:
    """How a source is fetched.

    Attributes:
        title: What messages call the source.
        official: The address that an empty place means; "" for none.
        files_at: The files that an address stands for, by name, given the FMA subset and a client.
        tables: The names of the files in zips that hold metadata.
        whole: Zips that are fetched whole, since they hold nothing but metadata.
        main_table: The names of the table without which a source cannot be read; None: unchecked.
        exported: Files outside zips that stand for the main table.
        no_table: What to do about a server without it.
    """

    title: str
    official: str
    files_at: Callable[[str, str, Client], dict[str, RemoteFile]]
    tables: re.Pattern[str]
    whole: tuple[str, ...] = ()
    main_table: re.Pattern[str] | None = None
    exported: tuple[str, ...] = ()
    no_table: str = ""


FMA_ADDRESS = "https://os.unil.cloud.switch.ch/fma/"
_FMA_FILES = {
    "fma_metadata.zip": RemoteFile("", "sha1:f0df49ffe5f2a6008d7dc83c6915b31835dfe733"),
    "fma_small.zip": RemoteFile("", "sha1:ade154f733639d52e35e32f5593efe5be76c6d70"),
    "fma_medium.zip": RemoteFile("", "sha1:c67b69ea232021025fca9231fc1c7c1a063ab50b"),
    "fma_large.zip": RemoteFile(
        "", "sha1:497109f4dd721066b5ce5e5f250ec604dc78939e", 100_306_112_191
    ),
    "fma_full.zip": RemoteFile("", "sha1:0f0ace23fbe9ba30ecb7e95f763e435ea802b8ab"),
}


def _artgraph_files(place: str, subset: str, client: Client) -> dict[str, RemoteFile]:
    """The zips and exported tables at a Zenodo record, or at one or more addresses.

    Addresses are separated by spaces. Raises BadData when there are none, BadUsage for a name that
    is not plain.
    """
    files: dict[str, RemoteFile] = {}
    for url in place.split():
        listed = record_files(url, client) if is_record(url) else {_name(url): _given(url)}
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


def _fma_files(place: str, subset: str, client: Client) -> dict[str, RemoteFile]:
    """The two zips on FMA's server or a mirror of it, or the one zip that `place` names."""
    parts = urlsplit(place)
    if parts.path.lower().endswith(".zip"):
        return _plainly_named(place, {_name(place): _given(place)})
    if parts.fragment:
        raise BadUsage(f"{shown(place)} names a folder: a digest belongs to the address of a zip.")
    base = place.rstrip("/") + "/"
    names = ("fma_metadata.zip", f"fma_{subset}.zip")
    if base == FMA_ADDRESS:
        return {
            name: RemoteFile(base + name, _FMA_FILES[name].digest, _FMA_FILES[name].size)
            for name in names
        }
    # A mirror may hold other files under these names: it has no digest to be compared with.
    folder = parts.path.rstrip("/")
    return {name: RemoteFile(parts._replace(path=f"{folder}/{name}").geturl()) for name in names}


def _given(url: str) -> RemoteFile:
    """The file at an address, held to the digest behind its `#`, as in `…/a.zip#sha256=…`."""
    plain, _, fragment = url.partition("#")
    if not fragment:
        return RemoteFile(url)
    kind, _, value = fragment.partition("=")
    found = _digest(f"{kind}:{value}")
    if not found:
        raise BadUsage(
            f"{shown(url)} ends in #{shown(fragment)[:80]}, which is no digest: write it as "
            "#sha256= and 64 hexadecimal digits, or leave it out."
        )
    return RemoteFile(plain, found)


def _plainly_named(place: str, files: Mapping[str, RemoteFile]) -> dict[str, RemoteFile]:
    for name in files:
        if not re.fullmatch(r"[\w][\w .()+-]*", name):
            raise BadUsage(f"{place} names a file {name!r}, which is not taken as a name here.")
    return dict(files)


def _name(url: str) -> str:
    plain = url.partition("#")[0].partition("?")[0].rstrip("/").removesuffix("/content")
    return plain.rpartition("/")[2]


ARTGRAPH = Server(
    title="ArtGraph",
    official="https://zenodo.org/records/8172374",
    files_at=_artgraph_files,
    tables=re.compile(
        r"(^|/)(mapping/[^/]+_entidx2name\.csv|raw/relations/[^/]+/edge\.csv"
        rf"|raw/node-label/artwork/node-label-[^/]+\.csv|{ARTWORKS}|{ARTISTS})(\.gz)?$"
    ),
    main_table=re.compile(rf"(^|/)(mapping/artwork_entidx2name\.csv|{ARTWORKS})(\.gz)?$"),
    exported=(ARTWORKS,),
    no_table=(
        f"load the Neo4j dump of the same record, export {ARTWORKS} from it as "
        "docs/data-engineer.md shows, and give the folder that holds it and the zips."
    ),
)
FMA = Server(
    title="the FMA",
    official=FMA_ADDRESS,
    files_at=_fma_files,
    tables=re.compile(r"(^|/)(tracks|genres|raw_tracks)\.csv(\.gz)?$"),
    whole=(METADATA_ZIP,),
)
