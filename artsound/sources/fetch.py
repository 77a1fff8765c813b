"""Fetches what a recipe needs from servers to OUT/sources, in the layouts that are read there.

    OUT/sources/fma/      fma_metadata.zip and fma_large.zip, or members/fma_large/…
    OUT/sources/artgraph/ the zips of the record, or members/mapping/… and members/imagesf2/…
    OUT/sources/*.json    where from, which items were chosen, which were refused and why

A whole set comes as whole zips. With a limit, lists of ids, imported pairs, a condition on metadata
or a rights policy, the metadata come first, the same choice is made from them that ingest makes,
and only the members chosen are transferred, by byte range. What is there already is not fetched
again, so a download that was killed continues where it stopped. Pictures may also be fetched by
their own addresses, unless the answer's headers speak against their use.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import polars as pl

from artsound.errors import ArtSoundError, BadData, BadUsage, redacted
from artsound.progress import QUIET, Progress, human_bytes, human_seconds
from artsound.read_ahead import ordered_ahead
from artsound.recipe import Recipe
from artsound.sources.base import Options, Place, all_places
from artsound.sources.files import (
    MEDIA_LIMIT,
    TABLE_LIMIT,
    UnreadableFile,
    ZipMember,
    check_place,
    is_safe_name,
)
from artsound.sources.http import (
    Client,
    Patience,
    RemoteFile,
    check_reachable,
    content_length,
    digest_of,
    download,
    read_body,
    reason,
    shown,
    status,
    unsigned,
)
from artsound.sources.remote_zip import RemoteZip, open_remote_zip
from artsound.sources.selection import (
    Fetched,
    Refusal,
    choice_of,
    choose_rows,
    fetched_path,
    tracks_to_look_at,
)
from artsound.sources.servers import Server
from artsound.stage import damaged_files_of
from artsound.storage import (
    Workspace,
    digest,
    make_folder,
    read_json,
    sha256_file,
    sync_file_system,
    write_bytes,
    write_json,
)

# What a server's answer says about the use of a picture in a training set.
#
# Read are `X-Robots-Tag` (a field may come on several lines, each with rules for robots of its
# own), the TDM Reservation Protocol's `TDM-Reservation` (W3C Community Group report, 2024), and
# the preferences `Content-Usage: train-ai=n` (draft-ietf-aipref-attach) and
# `Content-Signal: ai-train=no`.

ROBOT = "artsound"

_REFUSING = ("noai", "noimageai", "noml", "noindex", "noimageindex", "none")
_WITH_VALUE = frozenset(
    {"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"}
)
_PLAIN = frozenset(
    {"all", "index", "follow", "nofollow", "noarchive", "nosnippet", "notranslate", "nocache",
     "nositelinkssearchbox", "indexifembedded", "noodp", "noydir"}
)  # fmt: skip
_NO_TRAINING = re.compile(r"\b(?:train-(?:gen)?ai|ai-train|tdm)\s*=\s*[\"?]*(?:no?|0)\b")
_ROBOT_NAME = re.compile(r"\*|[a-z][\w .*/-]*")


def refusal_in(fields: Iterable[tuple[str, str]]) -> str:
    """What in an answer's header fields speaks against using its picture, or nothing.

    Args:
        fields: Name and value of every header line, as received: several lines of one name must
            not be joined, since each has its own robots.

    Returns:
        The rule, such as `noai` or `tdm-reservation: 1`; empty when nothing is against it.
    """
    for name, value in fields:
        field = name.strip().lower()
        if field == "x-robots-tag" and (word := unwanted(value)):
            return word
        if field == "tdm-reservation" and value.strip().split(",")[0].strip() not in ("", "0"):
            return f"tdm-reservation: {value.strip()}"
        if field in ("content-usage", "content-signal") and _NO_TRAINING.search(value.lower()):
            return f"{field}: {value.strip()}"
    return ""


def unwanted(line: str) -> str:
    """The word of one line of X-Robots-Tag that speaks against us, or nothing.

    A rule for a robot of another name (`googlebot: noindex`) is not meant for us, nor are those
    after it on the line; one for every robot is, and so is one that names us.
    """
    robot = ""
    for rule in re.split(r"[,;]", line.lower()):
        before, mark, after = (word.strip() for word in rule.partition(":"))
        word = before
        if mark and before not in _WITH_VALUE:
            if before in _REFUSING or before in _PLAIN:
                word = before  # "noai: 1" is no robot's name
            elif _ROBOT_NAME.fullmatch(before):
                robot, word = before, after
            else:
                continue  # the rest of a date
        if robot in ("", "*", ROBOT):
            found = [one for one in word.split() if one in _REFUSING]
            if found:
                return found[0]
    return ""


# Pictures by their own addresses, as politely as a web site may ask.
#
# A server whose answer, or a redirect to it, says that it does not want the picture in a set like
# ours is obeyed. Requests to one host keep their distance.

POLITE = Patience(retries=4, per_host=2, pause=0.25, body=600.0)

_LARGEST = 256 << 20
_AHEAD = 32


def fetch_images(
    urls: Mapping[str, str], client: Client | None = None, *, largest: int = _LARGEST
) -> Iterator[tuple[str, bytes | Refusal]]:
    """(key, bytes) of the picture at each address, or (kind, code, message) of why there is none.

    In the order given. Kind is `filtered` when the server does not want its picture used, else
    `failed`; a picture of more than `largest` bytes fails. At most 32 pictures wait in memory.
    """
    client = client or Client(POLITE)

    def fetch(item: tuple[str, str]) -> tuple[str, bytes | Refusal]:
        key, url = item
        return key, _fetch(url, client, largest)

    with ThreadPoolExecutor(8) as pool:
        yield from ordered_ahead(pool, fetch, urls.items(), _AHEAD - 1)


def _fetch(url: str, client: Client, largest: int) -> bytes | Refusal:
    try:
        with client.get(url) as response:
            if response.status_code in (401, 403, 451):
                return (
                    "filtered",
                    "image-refused",
                    f"{redacted(url)} answered {response.status_code}",
                )
            if response.status_code != 200:
                return (
                    "failed",
                    "image-unreachable",
                    f"{redacted(url)} answered {response.status_code}",
                )
            for answer in (*response.history, response):
                if rule := refusal_in(answer.raw.headers.items()):
                    return (
                        "filtered",
                        "image-refused",
                        f"{redacted(url)} asks not to be used: {rule}",
                    )
            data = bytearray()
            for chunk in read_body(response, largest + 1, client.patience):
                data += chunk
                if len(data) > largest:
                    return (
                        "failed",
                        "file-too-large",
                        f"{redacted(url)} is larger than {largest:,} bytes",
                    )
            return bytes(data)
    except ArtSoundError as error:
        return "failed", "image-unreachable", str(error)
    except Exception as error:  # noqa: BLE001  (a library's fault with one answer costs one picture)
        return "failed", "image-unreachable", redacted(f"{url} broke off: {reason(error)}")


_RATE = 20_000_000  # bytes per second that a rough time is reckoned with
_DAMAGED = "fetch-damaged"  # the code of what may come right when it is asked for again
_BY_ADDRESS = "address"  # stands for a zip's name in a listing
_DIRECTORY = "directory:"  # begins the digest of an archive's directory, not of its bytes
_MEMBERS = "members"  # not the zip's own name: a zip beside a folder of its name is not opened


@dataclass(frozen=True)
class _Pull:
    """One source to be fetched: what its server has, and where it goes.

    `archives` has, by the name of each whole file, the digest of the bytes that came; of a zip of
    which members came, that of its directory.
    """

    source: Place
    place: str
    root: Path
    note: Path
    key: str
    partly: bool
    files: Mapping[str, RemoteFile]
    archives: dict[str, str]

    @property
    def server(self) -> Server:
        """How the source is fetched."""
        server: Server = self.source.get("server")
        return server


def fetch_sources(workspace: Workspace, recipe: Recipe, progress: Progress = QUIET) -> None:
    """Fetch what the recipe wants of sources on servers; sources on this disk are left alone.

    Call it with the workspace's lock held. What was fetched before for the same wants is
    believed without asking the server. Raises BadUsage for an address that cannot be one of a
    source, BadData when a server, its bytes or the disk are at fault; what has come is kept.
    """
    client = Client(allow_private_hosts=recipe.sources.allow_private_hosts)
    pulls = [
        pull
        for place in all_places(recipe)
        if place.must_fetch(recipe)
        and (pull := _begin(workspace, recipe, place, client)) is not None
    ]
    for pull in pulls:
        _look_for_tables(workspace, pull, client)
    _announce([pull for pull in pulls if not pull.partly], workspace, client, progress)
    for pull in pulls:
        _tell_unchecked(pull, progress)
        fetched, files = Fetched(), [pull.root / name for name in pull.files]
        if pull.partly:
            fetched, files = _fetch_part(workspace, recipe, pull, client, progress)
        else:
            for name, remote in pull.files.items():
                _download(pull, name, remote, client, progress)
        _write_note(workspace, pull, fetched, files)


def check_servers(recipe: Recipe) -> None:
    """Raise BadUsage or BadData when servers that a build begins with cannot be reached."""
    check_reachable(
        (address for place in all_places(recipe) for address in place.address.split()),
        allow_private_hosts=recipe.sources.allow_private_hosts,
    )


def _begin(workspace: Workspace, recipe: Recipe, source: Place, client: Client) -> _Pull | None:
    """What is to be fetched of one source, or None: it is all there."""
    side, place, note = source.side, source.address or source.place, fetched_path(workspace, source)
    if source.get("server") is None:
        raise BadUsage(
            f"The source {source.spec!r} cannot be fetched from a server: give a folder or a zip."
        )
    root = source.root(workspace, recipe)
    here = not source.address  # only the pictures that it lacks are on servers
    by_address = side == "artwork" and recipe.sources.image_urls
    limit = tracks_to_look_at(workspace, recipe) if side == "track" else recipe.sources.limit
    choice = choice_of(recipe)
    partly = bool(limit or choice or by_address) or recipe.rights.policy != "any"
    stated = [word.partition("#")[2] for word in place.split()]
    same = unsigned(place)
    wants: list[Any] = [same, *filter(None, stated), recipe.sources.subset, partly]
    if partly:
        wants += [limit, choice, by_address, recipe.rights.model_dump()]
    key = digest(wants)
    kept = _read_note(note, same)
    if kept["place"] != same and root.exists() and any(root.iterdir()):
        raise BadUsage(
            f"{root} holds what was fetched from {kept['place']}: remove {workspace.sources}, or "
            "choose another --out."
        )
    lost = _take_out_damaged(workspace, kept["files"])
    lost |= _take_out_changed(root, kept["archives"], note)
    if kept["key"] == key and not here and not lost:
        return None
    make_folder(root)
    if here:
        files = _link(Path(place), root)
    else:
        check_reachable(place.split(), allow_private_hosts=client.allow_private_hosts)
        files = source.get("server").files_at(place, recipe.sources.subset, client)
    sizes = {root / Path(name).name: size for name, (size, _) in kept["files"].items()}
    files = {
        name: _as_before(remote, kept["archives"].get(name, ""), sizes.get(root / name, -1), note)
        for name, remote in files.items()
    }
    pull = _Pull(source, same, root, note, key, partly, files, kept["archives"])
    _begin_note(pull, kept["files"])
    return pull


def _as_before(remote: RemoteFile, known: str, size: int, note: Path) -> RemoteFile:
    """A file that has come before is held to the bytes that came; what is stated goes first."""
    if not known or known.startswith(_DIRECTORY):
        return remote
    changed = _changed(note)
    if remote.digest.partition(":")[0] in ("", known.partition(":")[0]):
        if remote.digest not in ("", known):
            raise BadData(
                f"{shown(remote.url)} is stated to have {remote.digest}, and had {known}: {changed}"
            )
        return RemoteFile(remote.url, known, max(remote.size, size), changed)
    return remote


def _changed(note: Path) -> str:
    return (
        "the archive behind this address is not the one that was fetched before. To take it, "
        f"remove {note.parent}; or give a copy of the earlier one."
    )


def _download(
    pull: _Pull, name: str, remote: RemoteFile, client: Client, progress: Progress
) -> Path:
    """Fetch a whole file, or take the one that is there, and note its digest."""
    path = pull.root / name
    found: dict[str, str] = {}
    download(remote, path, client=client, progress=progress, digests=found)
    if not found and not pull.archives.get(name, _DIRECTORY).startswith(_DIRECTORY):
        return path
    pull.archives[name] = found.get(name) or digest_of(path, remote.digest or "sha256:")
    if remote.digest and pull.archives[name] != remote.digest:
        raise BadData(f"{path} has not the {remote.digest} of {shown(remote.url)}: remove it.")
    return path


def _link(place: Path, root: Path) -> dict[str, RemoteFile]:
    """Lay links to what `place` holds into `root`, where what it lacks will lie; nothing remote."""
    check_place(place)
    for entry in sorted(place.iterdir()) if place.is_dir() else [place]:
        if not (root / entry.name).is_symlink():
            (root / entry.name).symlink_to(entry.resolve())
    return {}


def _look_for_tables(workspace: Workspace, pull: _Pull, client: Client) -> None:
    """Raise BadData for an ArtGraph on a server without a table of artworks, before it is pulled.

    Only the directories of its zips travel. A server that serves no ranges is believed.
    """
    server = pull.server
    if server.main_table is None or not pull.files or set(server.exported) & set(pull.files):
        return
    for name, remote in pull.files.items():
        if not name.lower().endswith(".zip") or (pull.root / name).exists():
            return
        try:
            archive = open_remote_zip(remote.url, cache=_directories(workspace), client=client)
        except BadData:
            return  # the pull itself says what is wrong, or fetches the zip whole
        if any(server.main_table.search(member) for member in archive.members):
            return
    raise BadData(
        f"{shown(pull.place)} holds no table of {pull.source.side}s, only "
        f"{', '.join(sorted(pull.files))}: {server.no_table}"
    )


def _directories(workspace: Workspace) -> Path:
    """Where directories of zips on servers are cached."""
    return workspace.sources / "zips"


def _announce(
    pulls: Sequence[_Pull], workspace: Workspace, client: Client, progress: Progress
) -> None:
    """Note the size and time of whole sets; BadData if the disk has too little space."""
    missing, sizes = 0, []
    for pull in pulls:
        size = 0
        for name, remote in pull.files.items():
            if not (pull.root / name).exists():
                size += remote.size if remote.size >= 0 else _ask_size(remote.url, client)
                size -= _size(pull.root / f"{name}.part", 0)
        if size > 0:
            missing += size
            sizes.append(f"{human_bytes(size)} of {pull.server.title} from {_host(pull.place)}")
    if not sizes:
        return
    # Ingest keeps the original bytes a second time, under their digests.
    free = shutil.disk_usage(make_folder(workspace.sources)).free
    need = 2 * missing
    progress.note(
        f"Fetching {' and '.join(sizes)}: about {human_seconds(missing / _RATE)} at "
        f"{human_bytes(_RATE)}/s; "
        f"the build will need {human_bytes(need)} of the {human_bytes(free)} that are free."
    )
    if need > free:
        raise BadData(
            f"{workspace.root} has {human_bytes(free)} free, but the build needs about "
            f"{human_bytes(need)}: make room, choose another --out, or take a part with --limit."
        )


def _tell_unchecked(pull: _Pull, progress: Progress) -> None:
    """Say which files have no digest to be held to."""
    names = [name for name, remote in pull.files.items() if not remote.digest]
    if names:
        progress.note(
            f"{_host(pull.place)} states no digest of {', '.join(names)}: their sizes and, in "
            "zips, their CRC-32 are checked, which a forged file would pass. Their SHA-256 is "
            "noted to compare what is fetched again; #sha256=… behind a zip's address states it."
        )


def _fetch_part(
    workspace: Workspace, recipe: Recipe, pull: _Pull, client: Client, progress: Progress
) -> tuple[Fetched, list[Path]]:
    """Metadata first, then the members that the recipe chooses; what was wanted, and the files."""
    archives: dict[str, RemoteZip] = {}
    files: list[Path] = []
    for name, remote in pull.files.items():
        path = pull.root / name
        if path.exists() or not name.endswith(".zip") or name in pull.server.whole:
            files.append(_download(pull, name, remote, client, progress))
            continue
        archive = open_remote_zip(remote.url, cache=_directories(workspace), client=client)
        _check_directory(pull, name, archive)
        archives[name] = archive
        tables = [one for one in archive.members.values() if pull.server.tables.search(one.name)]
        if broken := _fetch_members(name, archive, tables, TABLE_LIMIT, pull.root, progress):
            raise BadData(f"{remote.url}: {next(iter(broken.values()))[2]}")
        files += [_member_path(pull.root, table.name) for table in tables]
    if pull.files and not files:
        raise BadData(f"{pull.place} is not {pull.server.title}: it holds no table of its items.")
    local = pull.source.list_files(pull.root, Options.of(recipe))
    listing = pl.concat([_without_media(local), _remote_listing(archives, pull.server)])
    if pull.source.side == "artwork" and recipe.sources.image_urls:
        listing = pl.concat([listing, _addressed(pull, listing, Options.of(recipe))])
    chosen, aside = choose_rows(
        workspace, recipe, pull.source.side, [(pull.source, pull.root, listing, Fetched())]
    )
    refused: dict[str, Refusal] = {}
    ids = dict(zip(chosen["name"], chosen[f"{pull.source.side}_id"].to_list(), strict=True))
    for name, archive in archives.items():
        members = [archive.members[one] for one in chosen.filter(pl.col("box") == name)["name"]]
        _tell_part(pull, name, archive, members, progress)
        broken = _fetch_members(name, archive, members, MEDIA_LIMIT, pull.root, progress)
        files += [_member_path(pull.root, one.name) for one in members if one.name not in broken]
        refused |= {ids[one]: why for one, why in broken.items()}
    by_address = chosen.filter(pl.col("box") == _BY_ADDRESS)
    if not by_address.is_empty():
        urls = dict(by_address.select("name", "source_url").iter_rows())
        polite = Client(POLITE, allow_private_hosts=client.allow_private_hosts)
        broken_urls = _fetch_addressed(urls, pull.root, polite, progress)
        files += [_member_path(pull.root, one) for one in urls if one not in broken_urls]
        refused |= {ids[one]: why for one, why in broken_urls.items()}
    return Fetched(tuple(sorted([*ids.values(), *aside["item_id"]])), refused), files


def _remote_listing(archives: Mapping[str, RemoteZip], server: Server) -> pl.DataFrame:
    """What zips on a server hold, as `list_files` would list them were they here; no tables."""
    rows = [
        (box, member.name, member.size, f"c{member.crc:08x}")
        for box, archive in archives.items()
        for member in archive.members.values()
        if not server.tables.search(member.name)
    ]
    schema = {"box": pl.String, "name": pl.String, "size": pl.Int64, "stamp": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _addressed(pull: _Pull, listing: pl.DataFrame, options: Options) -> pl.DataFrame:
    """The pictures that no zip or folder holds but that have an address, as rows of a listing."""
    rows = pull.source.source.read("artwork", pull.root, listing, options).filter(
        (pl.col("name") == "") & (pl.col("source_url") != "")
    )
    safe = [name for name in rows["artwork_id"] if is_safe_name(name)]
    return pl.DataFrame(
        [(_BY_ADDRESS, f"images/{name}", 0, "") for name in safe],
        schema=listing.schema,
        orient="row",
    )


def _fetch_addressed(
    urls: Mapping[str, str], root: Path, client: Client, progress: Progress
) -> dict[str, Refusal]:
    """Download missing pictures by their addresses; the reasons for those unavailable."""
    refused = _no_file_names(urls, root)
    missing = {
        name: url
        for name, url in urls.items()
        if name not in refused and _size(_member_path(root, name)) <= 0
    }
    progress.start("images by address", len(missing))
    try:
        for name, data in fetch_images(missing, client):
            if isinstance(data, bytes):
                write_bytes(_member_path(root, name), data, durable=False)
            else:
                refused[name] = data
            progress.advance(1)
    finally:
        progress.finish()
    sync_file_system(root)
    return refused


def _without_media(files: pl.DataFrame) -> pl.DataFrame:
    """Local files without members fetched before: the choice is made as if there were none."""
    fetched = (pl.col("box") == "") & pl.col("name").str.starts_with(f"{_MEMBERS}/")
    return files.filter(~fetched | pl.col("name").str.contains(r"\.csv(\.gz)?$"))


def _fetch_members(
    box: str,
    archive: RemoteZip,
    members: Iterable[ZipMember],
    limit: int,
    root: Path,
    progress: Progress,
) -> dict[str, Refusal]:
    """Members of a zip on a server, but for those already here; why some are unavailable."""
    missing = {one.name: one for one in members if _size(_member_path(root, one.name)) != one.size}
    if not missing:
        return {}
    broken = _no_file_names(missing, root)
    progress.start(box, sum(one.packed for one in missing.values()), "bytes")
    try:
        # Those that came damaged are asked for once more.
        for names in (
            missing.keys() - broken.keys(),
            [n for n in broken if broken[n][1] == _DAMAGED],
        ):
            for name, data in archive.read(names, limit=limit):
                if isinstance(data, UnreadableFile):
                    code = _DAMAGED if data.reason == "file-damaged" else data.reason
                    broken[name] = ("failed", code, str(data))
                    continue
                write_bytes(_member_path(root, name), data, durable=False)
                broken.pop(name, None)
                progress.advance(missing[name].packed)
    finally:
        progress.finish()
    sync_file_system(root)
    return broken


def _check_directory(pull: _Pull, name: str, archive: RemoteZip) -> None:
    """Raise BadData where members have come from an archive with another directory."""
    members = sorted(archive.members.values(), key=lambda member: member.offset)
    found = _DIRECTORY + digest([[one.name, one.offset, one.size, one.crc] for one in members])
    known = pull.archives.get(name, found)
    if known.startswith(_DIRECTORY) and known != found:
        raise BadData(f"{shown(archive.url)} has another directory: {_changed(pull.note)}")
    pull.archives[name] = found


def _tell_part(
    pull: _Pull, box: str, archive: RemoteZip, members: Sequence[ZipMember], progress: Progress
) -> None:
    """Say how much of a zip travels; BadData when there is too little room."""
    size = sum(
        one.packed for one in members if _size(_member_path(pull.root, one.name)) != one.size
    )
    if not size:
        return
    whole = sum(one.packed for one in archive.members.values())
    progress.note(
        f"Fetching {len(members):,} of the {len(archive.members):,} files in {box}: "
        f"{human_bytes(size)} of {human_bytes(whole)} travel."
    )
    free = shutil.disk_usage(pull.root).free
    if 2 * size > free:
        raise BadData(
            f"{pull.root} has {human_bytes(free)} free, but this build needs about "
            f"{human_bytes(2 * size)}: make room, choose another --out, or a smaller --limit."
        )


def _write_note(workspace: Workspace, pull: _Pull, fetched: Fetched, files: list[Path]) -> None:
    """Prove what was fetched; a pull with failures is tried again by the next build."""
    failed = any(kind == "failed" for kind, _, _ in fetched.refused.values())
    note = {
        "place": pull.place,
        "key": "" if failed else pull.key,
        "files": {workspace.relative(path): _proof(path) for path in files},
        "archives": pull.archives,
        "wanted": fetched.wanted,
        "refused": fetched.refused,
    }
    write_json(pull.note, {**note, "sha256": digest(note)})


def _begin_note(pull: _Pull, files: Mapping[str, tuple[int, str]]) -> None:
    """Note a pull that is not complete, with what is proved of an earlier one."""
    begun = {
        "place": pull.place, "key": "", "files": files, "archives": pull.archives, "wanted": [],
        "refused": {},
    }  # fmt: skip
    write_json(pull.note, {**begun, "sha256": digest(begun)})


def _proof(path: Path) -> list[Any]:
    """Size and SHA-256 of a file; "" for a zip, whose digest is that of its archive."""
    return [_size(path), "" if path.suffix.lower() == ".zip" else sha256_file(path)]


def _read_note(note: Path, place: str) -> dict[str, Any]:
    """What a note proves; nothing if there is none, or if it is damaged or an older one."""
    nothing: dict[str, Any] = {"place": place, "key": "", "files": {}, "archives": {}}
    try:
        kept = read_json(note)
        if kept.pop("sha256") != digest(kept):
            return nothing
        files = {str(name): (int(size), str(sha256)) for name, (size, sha256) in
                 kept["files"].items()}  # fmt: skip
        archives = {str(name): str(one) for name, one in kept.get("archives", {}).items()}
        before = unsigned(str(kept["place"]))
        return {"place": before, "key": str(kept["key"]), "files": files,
                "archives": archives if before == place else {}}  # fmt: skip
    except (BadData, KeyError, TypeError, ValueError, AttributeError):
        return nothing


def _take_out_damaged(workspace: Workspace, files: Mapping[str, tuple[int, str]]) -> bool:
    """Remove those fetched files that have changed since, and say whether any is lost."""
    digests = {name: sha256 for name, (_, sha256) in files.items() if sha256}
    for name in damaged_files_of(workspace, digests):
        if workspace.path(name).resolve().is_relative_to(workspace.sources.resolve()):
            workspace.path(name).unlink(missing_ok=True)
    return any(_size(workspace.path(name)) != size for name, (size, _) in files.items())


def _take_out_changed(root: Path, archives: Mapping[str, str], note: Path) -> bool:
    """Remove those archives that were changed after their note, and say whether there are any.

    Others are not read: they may have 100 GB, and ingest checks each member that it reads.
    """
    changed = False
    for name, known in archives.items():
        path = root / name
        if known.startswith(_DIRECTORY) or not path.is_file() or path.is_symlink():
            continue
        if path.stat().st_ctime_ns <= note.stat().st_mtime_ns:
            continue
        if digest_of(path, known) != known:
            path.unlink()
            changed = True
    if archives and not changed:
        note.touch()
    return changed


def _member_path(root: Path, name: str) -> Path:
    return root / _MEMBERS / name


def _no_file_names(names: Collection[str], root: Path) -> dict[str, Refusal]:
    """The names that no file below `root` can have beside the others, each with the reason."""
    folders = {str(folder) for name in names for folder in PurePosixPath(name).parents}
    refused: dict[str, Refusal] = {}
    for name in names:
        path = _member_path(root, name)
        # Linux, macOS and Windows refuse names so long.
        if any(len(step) > 255 for step in map(_bytes, path.parts)) or len(_bytes(path)) > 4000:
            why = f"{name} has a step of over 255 bytes, which cannot be a file's name here"
            refused[name] = ("failed", "file-name-too-long", f"{why}: download the whole set.")
        elif name in folders or not PurePosixPath(name).name:
            why = f"{name!r} is no name of a file here, but a folder's"
            refused[name] = ("failed", "file-name-unusable", f"{why}: rename it in the set.")
    return refused


def _bytes(path: str | Path) -> bytes:
    return os.fsencode(str(path))


def _ask_size(url: str, client: Client) -> int:
    """The size of a remote file as its server tells it; 0 when it does not."""
    with client.get(url) as response:
        if response.status_code != 200:
            raise BadData(f"{shown(url)} answered {status(response)}: check the address.")
        return max(content_length(response), 0)


def _size(path: Path, absent: int = -1) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return absent


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]
