"""`artsound browse`: a web page on this machine to search, hear, judge and save pairs.

Only the index is in memory; pictures and sound are read from the shards by byte range when the
browser requests them. The page gets all data as JSON and shows it as text, never as markup, under a
content security policy that lets nothing run or load but the page's own files.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import re
import shlex
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from artsound.captions.vocabulary import key_name
from artsound.catalogue import SideName
from artsound.errors import ArtSoundError, BadData, BadUsage, redacted
from artsound.progress import human_bytes
from artsound.reports.finding import LARGEST_PICTURE, Finder, Likeness
from artsound.reports.judge_desk import JudgeDesk
from artsound.reports.judging import MIN_HEARD, checked_judge
from artsound.reports.notes import Notes, SavedViews
from artsound.reports.thumbnails import FLOOR, LONGEST, SIDES, Thumbnails, frequency_marks
from artsound.reports.views import RANGES, Bounds, PairTable, Query, catalogue_of
from artsound.reports.why import BuiltWork, ReleaseReasons
from artsound.shards.dataset import Dataset, open_pairs
from artsound.shards.subset import write_ids, write_shards, write_view
from artsound.storage import EFFECTS, read_json
from artsound.untrusted import parse_json

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response


MEDIA_TYPES = {"jpg": "image/jpeg", "mp3": "audio/mpeg"}
_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)")
_LARGEST = 10**18  # a larger position is taken for this one: numbers may have any length


def media_response(
    request: Request, data: Dataset, position: int, member: str, *, etag: str = ""
) -> Response:
    """Respond with a member of a sample: all of it (200), one byte range (206), or an error (416).

    Args:
        request: The request.
        data: The pairs.
        position: Position of the pair.
        member: jpg or mp3.
        etag: With one, the browser may cache the response and revalidate it; without, it may not.
    """

    row = data.frame.row(position, named=True)
    offset, size = row[f"{member}_offset"], row[f"{member}_size"]

    def read(start: int, stop: int) -> bytes:
        return data.store.read_ranges(row["shard"], [(offset + start, offset + stop)])[0]

    return _ranged(request, size, read, MEDIA_TYPES[member], etag)


def bytes_response(request: Request, body: bytes, media_type: str) -> Response:
    """As `media_response`, for bytes in memory that the browser may not cache."""
    return _ranged(request, len(body), lambda start, stop: body[start:stop], media_type)


def _ranged(
    request: Request, size: int, read: Callable[[int, int], bytes], media_type: str, etag: str = ""
) -> Response:
    from starlette.responses import Response

    keep = {"ETag": f'"{etag}"', "Cache-Control": "private, max-age=86400"} if etag else {}
    headers = {"Accept-Ranges": "bytes", **(keep or {"Cache-Control": "no-store"})}
    if etag and request.headers.get("if-none-match") == f'"{etag}"':
        return Response(status_code=304, headers=headers)
    requested = request.headers.get("range")
    span = byte_range(requested, size) if requested else (0, size)
    if span is None:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{size}"})
    start, stop = span
    body = read(start, stop)
    if requested and (start, stop) != (0, size):
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        return Response(body, 206, headers, media_type=media_type)
    return Response(body, 200, headers, media_type=media_type)


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """Parse a Range header.

    Args:
        header: Its value.
        size: Bytes of the resource.

    Returns:
        First byte, and the one after the last. Everything for a header of another form or with
        several ranges, as RFC 9110 permits; None when the range is outside the resource.
    """
    match = _RANGE.fullmatch(header.strip())
    if not match or match.groups() == ("", ""):
        return 0, size
    first, last = match.groups()
    begin, end = _place(first), _place(last)
    if first == "":  # the number of last bytes
        start, stop = max(0, size - end), size
    else:
        start, stop = begin, min(size, end + 1) if last else size
        if last and end < start:
            return 0, size
    return (start, stop) if start < stop else None


def _place(digits: str) -> int:
    return int(digits or 0) if len(digits) <= 18 else _LARGEST


# Music that a model generated for pairs of a release, shown beside the pairs.

GENERATED = "audio/wav"
MODEL = "model"  # the system whose music is in `wavs`; others of an evaluation in `wavs NAME`


def find_generated(folder: Path, keys: Mapping[str, int]) -> dict[str, dict[str, Path]]:
    """Find the generated music of pairs; only these files are served.

    Args:
        folder: The folder of `artsound evaluate`, or any folder of files named KEY.wav.
        keys: The keys of the release.

    Returns:
        For each key with a KEY.wav of the model the files of all systems by name, the model first.
        Links and other names are ignored.

    Raises:
        BadUsage: There is no such file.
    """
    if not folder.is_dir():
        raise BadUsage(f"{folder} is not a folder: give the --out folder of `artsound evaluate`.")
    home = folder / "wavs" if (folder / "wavs").is_dir() else folder
    found = {key: {MODEL: path} for key, path in _wavs_in(home, keys).items()}
    for other in sorted(folder.glob("wavs *")) if home != folder else ():
        for key, path in _wavs_in(other, keys).items():
            if key in found:
                found[key][other.name.removeprefix("wavs ")] = path
    if not found:
        raise BadUsage(
            f"{home} has no .wav named after a pair of these shards: give the --out folder of "
            "`artsound evaluate`, or a folder of files named KEY.wav."
        )
    return found


def _wavs_in(folder: Path, keys: Mapping[str, int]) -> dict[str, Path]:
    if folder.is_symlink():
        return {}
    return {
        path.stem: path.absolute()
        for path in sorted(folder.glob("*.wav"))
        if path.stem in keys and path.is_file() and not path.is_symlink()
    }


def read_effects(folder: Path) -> dict[str, float]:
    """The effect of the picture on the model's music, by key; none without an evaluation's file."""
    path = folder / EFFECTS
    try:
        found = read_json(path)["model"] if path.is_file() else {}
        return {str(key): float(value) for key, value in found.items() if math.isfinite(value)}
    except (ArtSoundError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadUsage(f"{path} is damaged ({error}): run `artsound evaluate` again.") from error


# The requests of the page: views, pairs, media, saving views and judgements.

NEAREST = 8  # pictures, and clips, on the page of a pair
COMPARED = 24  # pairs on a page of generated music
_LONGEST_REQUEST = 1 << 16
_LONGEST_FIELD = (500, 2000)  # characters of a field, and of `where` and `inside`
_MOST_CARDS = 500  # of one request
_PICTURE_TYPES = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "image/tiff")
_MOST_UPLOADS = 4  # pictures in memory
_MOST_FIELDS = 1000
_BODY_SECONDS = 20.0  # in which the body of a request must come
_FILES_OF: Mapping[str, SideName] = {"artwork": "artworks", "track": "tracks"}
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass
class Site:
    """The handlers of the page's requests; `save_to` is the only folder that is written to."""

    catalogue: PairTable
    save_to: Path | None
    finder: Finder
    generated: dict[str, dict[str, Path]] = field(default_factory=dict)
    min_heard: float = MIN_HEARD
    release: Dataset | None = None
    effects: Mapping[str, float] = field(default_factory=dict)
    on_this_machine: bool = True  # whether only this machine is answered
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _uploads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_MOST_UPLOADS))

    def __post_init__(self) -> None:
        self.desk = JudgeDesk(
            self.catalogue, self._folder, min_heard=self.min_heard, release=self.release
        )
        self.reasons = ReleaseReasons(self.catalogue.data)
        self.thumbnails = Thumbnails()

    def prepare(self) -> None:
        """Compute what the first page does not need, before it is asked for."""
        _ = self.catalogue.texts
        self.finder.likeness.prepare()
        self.desk.prepare()

    def view(self, request: Request) -> Response:
        """One page of the pairs that a query finds, and the facets.

        With `cards` in the address, only the cards: a list that is scrolled has the rest already.
        """
        params = request.query_params
        start, count = _whole(params.get("start", "0")), _whole(params.get("count", "48"))
        query, only_cards = query_of(params.multi_items()), "cards" in params
        found = self.catalogue.view(
            query, start=start, count=min(count, _MOST_CARDS), facets=not only_cards
        )
        if only_cards:
            return json_response(found)
        return json_response(
            {
                **found,
                "name": self.catalogue.data.name,
                "saves": self.save_to is not None,
                "compares": bool(self.generated),
                "by": self.finder.likeness.known_words(),
                "views": self.finder.views.listed(),
                "marks": self.finder.notes.counts(),
            }
        )

    def command(self, request: Request) -> Response:
        """The view as a command of `artsound subset`; null where it must be saved first."""
        data = self.catalogue.data
        query = query_of(request.query_params.multi_items())
        condition = self.catalogue.condition(query)
        if condition is None:
            return json_response({"command": None})
        parts = ["artsound", "subset", shlex.quote(redacted(data.store.location))]
        parts += ["--where", shlex.quote(condition)] if condition else []
        return json_response({"command": " ".join([*parts, "--out", "pairs.parquet"])})

    def map(self, request: Request) -> Response:
        """The places of all pairs on both maps: uint16, little endian, four for each pair."""
        from starlette.responses import Response

        data = self.catalogue.data
        etag = f'"map-{data.index_sha256[:32]}-{len(data)}"'
        headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        body = self.finder.likeness.places().astype("<u2").tobytes()
        return Response(body, media_type="application/octet-stream", headers=headers)

    def found(self, request: Request) -> Response:
        """Which pairs a query finds: a bit for each, the first of a byte the highest."""
        from starlette.responses import Response

        rows = self.catalogue.rows(query_of(request.query_params.multi_items()))
        return Response(
            np.packbits(rows).tobytes(),
            media_type="application/octet-stream",
            headers={"Cache-Control": "no-store"},
        )

    def at(self, request: Request) -> Response:
        """The card of the pair at a position of the release, which the map knows it by."""
        position = _whole(request.path_params["position"])
        if position >= len(self.catalogue.data):
            return json_response({"error": "There is no such pair."}, 404)
        return json_response(self.catalogue.cards([position])[0])

    async def picture(self, request: Request) -> Response:
        """Measure an uploaded picture, to find music for it; it is not stored."""
        from starlette.concurrency import run_in_threadpool

        async with self._uploads:  # the others wait before they are read
            body = await _bytes(request, _PICTURE_TYPES, LARGEST_PICTURE)
            token = await run_in_threadpool(self.finder.likeness.upload, body)
        return json_response({"like": f"file:{token}"})

    async def note(self, request: Request) -> Response:
        """Save the flag and the note of a pair."""
        from starlette.concurrency import run_in_threadpool

        asked = await _body(request)
        key, flag, note = (asked.get(name) for name in ("key", "flag", "note"))
        if not isinstance(key, str) or not isinstance(flag, bool) or not isinstance(note, str):
            raise BadUsage("A note has a key, a flag and a text.")

        def save() -> dict[str, Any]:
            return self.finder.notes.save(key, flag=flag, note=note)

        return json_response(await run_in_threadpool(save))

    def thumbnail(self, request: Request) -> Response:
        """A small picture of one pair."""
        from starlette.responses import Response

        position = self.catalogue.places.get(request.path_params["key"])
        side = _whole(request.query_params.get("s", str(SIDES[1])))
        if position is None or side not in SIDES:
            return json_response({"error": "There is no such picture."}, 404)
        data = self.catalogue.data
        digest = data.frame["image_sha256"][position]
        etag = f'"{digest}-{side}"'
        headers = {"ETag": etag, "Cache-Control": "private, max-age=86400"}
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        row = data.frame.select("shard", "jpg_offset", "jpg_size").row(position)
        span = row[1], row[1] + row[2]
        made = self.thumbnails.get(digest, side, lambda: data.store.read_ranges(row[0], [span])[0])
        return Response(made, media_type=MEDIA_TYPES["jpg"], headers=headers)

    def pair(self, request: Request) -> Response:
        """Everything about one pair, and the pairs next to it in the view of the address."""
        position = self.catalogue.places.get(request.path_params["key"])
        if position is None:
            return json_response({"error": "There is no such pair."}, 404)
        key = request.path_params["key"]
        try:
            query = query_of(request.query_params.multi_items())
            found = self.catalogue.pair(position, query)
        except BadUsage:  # the pair is there, whatever the address says of the others
            found = self.catalogue.pair(position)
        more = {
            **self.finder.notes.of(key),
            "saves": self.save_to is not None,
            "key_name": key_name(found["record"].get("musical_key") or ""),
        }
        return json_response({**found, **more})

    def why(self, request: Request) -> Response:
        """The parts of a pair's score, and runners-up of both sides with what the page shows."""
        position = self.catalogue.places.get(request.path_params["key"])
        if position is None:
            return json_response({"error": "There is no such pair."}, 404)
        found = self.reasons.of(position)
        for side, other in (("artwork", "track"), ("track", "artwork")):
            rows = found["runners_up"][side]
            cards = self.catalogue.item_cards(other, [one["item_id"] for one in rows])
            alone = [one["item_id"] for one, card in zip(rows, cards, strict=True) if not card]
            works = self.reasons.works(_FILES_OF[other], alone)
            found["runners_up"][side] = [
                {**one, "pair": card, "work": self._shown(works.get(one["item_id"]))}
                for one, card in zip(rows, cards, strict=True)
            ]
        return json_response(found)

    def _shown(self, work: BuiltWork | None) -> dict[str, Any] | None:
        """What the page shows of a work without a pair; `here`: its file can be requested."""
        if work is None:
            return None
        return {**work.facts, "here": self.on_this_machine and work.is_there()}

    def outside(self, request: Request) -> Response:
        """The picture or the sound of a work of the build that may have no pair in the release.

        Its rights may forbid to pass it on, so it is served to this machine only.
        """
        from starlette.responses import Response

        side, item = request.path_params["side"], request.query_params.get("id", "")
        size = _whole(request.query_params.get("s", str(SIDES[0])))
        known = side in _FILES_OF and size in SIDES and self.on_this_machine
        work = self.reasons.works(_FILES_OF[side], [item]).get(item) if known else None
        if work is None:
            return json_response({"error": "There is no such file."}, 404)
        if side == "track":
            return bytes_response(request, work.read(), MEDIA_TYPES["mp3"])
        made = self.thumbnails.get(work.item.sha256, size, work.read)
        return Response(made, media_type=MEDIA_TYPES["jpg"], headers={"Cache-Control": "no-store"})

    def near(self, request: Request) -> Response:
        """The pairs with the nearest pictures, and those with the nearest music.

        Of a release on a server, whose vectors were not fetched yet, only what fetching them would
        take, unless the address has `fetch`.
        """
        position = self.catalogue.places.get(request.path_params["key"])
        if position is None:
            return json_response({"error": "There is no such pair."}, 404)
        found: dict[str, Any] = {}
        likeness = self.finder.likeness
        try:
            size = 0 if "fetch" in request.query_params else likeness.to_fetch()
        except ArtSoundError:
            size = 0  # what is wrong is said of each kind
        if size:
            return json_response(
                {"fetch": human_bytes(size), "from": redacted(likeness.data.store.location)}
            )
        for kind in ("picture", "music"):
            try:
                found[kind] = {"pairs": self.catalogue.nearest(position, kind, NEAREST)}
            except ArtSoundError as error:
                found[kind] = {"pairs": [], "error": str(error)}
        return json_response(found)

    def media(self, request: Request) -> Response:
        """The picture or the sound of one pair."""
        position = self.catalogue.places.get(request.path_params["key"])
        member = request.path_params["member"]
        if position is None or member not in MEDIA_TYPES:
            return json_response({"error": "There is no such file."}, 404)
        column = "image_sha256" if member == "jpg" else "audio_sha256"
        etag = self.catalogue.data.frame[column][position]
        return media_response(request, self.catalogue.data, position, member, etag=etag)

    def compared(self, request: Request) -> Response:
        """One page of the pairs that have generated music, of the largest effect first."""
        if not self.generated:
            return json_response({"error": "Start `artsound browse` with --generated FOLDER."}, 404)
        start = _whole(request.query_params.get("start", "0"))
        # Without an effect last; the order of the names among equals.
        order = sorted(self.generated, key=lambda key: -self.effects.get(key, -math.inf))
        if request.query_params.get("sort") == "lowest":
            order = sorted(self.generated, key=lambda key: self.effects.get(key, math.inf))
        keys = order[start : start + COMPARED]
        cards = self.catalogue.cards([self.catalogue.places[key] for key in keys])
        pairs = [
            {
                **card,
                "seconds": self._shown_seconds(card),
                "systems": list(self.generated[card["key"]]),
                "effect": self.effects.get(card["key"]),
            }
            for card in cards
        ]
        name, total = self.catalogue.data.name, len(self.generated)
        measured = bool(self.effects)
        about = {"total": total, "page": COMPARED, "name": name, "measured": measured}
        scale = {"floor": FLOOR, "marks": frequency_marks()}
        return json_response({"pairs": pairs, **about, **scale})

    def _shown_seconds(self, card: dict[str, Any]) -> float:
        """What all spectrograms of a pair are wide: whole seconds, of the longest clip."""
        longest = card["duration_s"]
        for path in self.generated[card["key"]].values():
            with contextlib.suppress(soundfile.SoundFileError):  # the page says that it is damaged
                longest = max(longest, soundfile.info(path).duration)
        return float(min(LONGEST, max(1, math.ceil(longest - 0.1))))

    def spectrogram(self, request: Request) -> Response:
        """The spectrogram of a pair's own track, or of music that was generated for it."""
        from starlette.responses import Response

        kind, key = request.path_params["kind"], request.path_params["key"]
        seconds = _whole(request.query_params.get("seconds", "10"))
        position, path = self.catalogue.places.get(key), self._made(request)
        if position is None or path is None or not 1 <= seconds <= LONGEST:
            return json_response({"error": "There is no such spectrogram."}, 404)
        data = self.catalogue.data
        if kind == "own":
            row = data.frame.select("shard", "mp3_offset", "mp3_size").row(position)
            span = row[1], row[1] + row[2]
            made = self.thumbnails.spectrogram(
                data.frame["audio_sha256"][position],
                seconds,
                lambda: data.store.read_ranges(row[0], [span])[0],
            )
        elif kind == "generated":
            try:
                name = f"{path} {path.stat().st_mtime_ns}"
                made = self.thumbnails.spectrogram(name, seconds, path.read_bytes)
            except OSError as error:
                raise BadData(f"{path} cannot be read: {error.strerror}.") from error
        else:
            return json_response({"error": "There is no such spectrogram."}, 404)
        return Response(made, media_type="image/png", headers={"Cache-Control": "no-store"})

    def _made(self, request: Request) -> Path | None:
        """The file of the key and the system that a request names; None without any."""
        systems = self.generated.get(request.path_params["key"], {})
        return systems.get(request.query_params.get("system", MODEL))

    def generated_media(self, request: Request) -> Response:
        """Generated music; only what was found when the site was started."""
        from starlette.responses import FileResponse

        path = self._made(request)
        if path is None or not path.is_file():
            return json_response({"error": "There is no such file."}, 404)
        return FileResponse(path, media_type=GENERATED, headers={"Cache-Control": "no-store"})

    async def save(self, request: Request) -> Response:
        """Save a view: as ids, as a view in parquet, or as new shards."""
        from starlette.concurrency import run_in_threadpool

        asked = await _body(request)
        return json_response(await run_in_threadpool(self._save, asked))

    def _save(self, asked: dict[str, Any]) -> dict[str, Any]:
        name, kind = str(asked.get("name", "")), asked.get("kind")
        if not _NAME.fullmatch(name):
            raise BadUsage(
                "A view's name is up to 64 letters a–z, digits, hyphens and underscores."
            )
        suffix = {"ids": ".npy", "view": ".parquet", "shards": ""}.get(str(kind))
        if suffix is None:
            raise BadUsage("A view is saved as ids, view or shards.")
        chosen = self.catalogue.chosen(query_of(_pairs(asked.get("query"))))
        if not len(chosen):
            raise BadUsage("The view has no pairs.")
        out = self._folder() / "views" / f"{name}{suffix}"
        with self._lock:
            if out.exists():
                raise BadUsage(f"{out} exists already: choose another name.")
            out.parent.mkdir(parents=True, exist_ok=True)
            if kind == "ids":
                write_ids(chosen, out)
            elif kind == "view":
                write_view(chosen, out)
            else:
                write_shards(chosen, out)
        return {"path": str(out), "pairs": len(chosen)}

    def about_judging(self, request: Request) -> Response:
        """How many trials a view has, how many a judge has done, and the least time to listen."""
        judge, query, _ = _judge_and_query(request)
        return json_response(self.desk.about(judge, query))

    def trial(self, request: Request) -> Response:
        """The next artwork and clip for a judge: an opaque token, and how many are done."""
        judge, query, back = _judge_and_query(request)
        return json_response(self.desk.trial(judge, query, back=back))

    def comparison(self, request: Request) -> Response:
        """The next artwork with two clips for a judge."""
        judge, query, back = _judge_and_query(request)
        return json_response(self.desk.comparison(judge, query, back=back))

    def trial_media(self, request: Request) -> Response:
        """The picture or a sound of a trial, under an address that does not identify it."""
        token, _, side = request.path_params["token"].partition(".")
        member = request.path_params["member"]
        try:
            if member == "jpg" and not side:
                picture = self.desk.picture(token)
                return media_response(request, self.catalogue.data, picture, member)
            if member == "mp3" and side in ("", "b"):
                return bytes_response(
                    request, self.desk.clip(token, int(side == "b")), MEDIA_TYPES[member]
                )
        except KeyError:
            pass
        return json_response({"error": "There is no such trial."}, 404)

    async def judgement(self, request: Request) -> Response:
        """Save a judgement of a trial."""
        from starlette.concurrency import run_in_threadpool

        asked = await _body(request)
        return json_response(await run_in_threadpool(self.desk.judge, asked))

    async def preference(self, request: Request) -> Response:
        """Save the answer to a comparison."""
        from starlette.concurrency import run_in_threadpool

        asked = await _body(request)
        return json_response(await run_in_threadpool(self.desk.prefer, asked))

    def _folder(self) -> Path:
        if self.save_to is None:
            raise BadUsage("Nothing can be saved: start `artsound browse` with --save-to.")
        return self.save_to


def _judge_and_query(request: Request) -> tuple[str, Query, int]:
    """The judge, the view, and how many answers to go back."""
    items = request.query_params.multi_items()
    given = dict(items)
    back = _whole(given.get("back", "0"))
    query = query_of([item for item in items if item[0] not in ("judge", "back")])
    return checked_judge(given.get("judge", "")), query, back


def query_of(items: list[tuple[str, str]]) -> Query:
    """The query of an address: q, where, sort, and values of facets, which may be repeated."""
    plain: dict[str, str] = {}
    chosen: dict[str, tuple[str, ...]] = {}
    ranges: dict[str, Bounds] = {}
    if len(items) > _MOST_FIELDS:
        raise BadUsage(f"A query has at most {_MOST_FIELDS} fields.")
    for name, value in items:
        longest = _LONGEST_FIELD[name in ("where", "inside")]
        if len(value) > longest:
            raise BadUsage(f"The field {name[:40]!r} has more than {longest} characters.")
        if name in _PLAIN:
            plain[_PLAIN[name]] = value
        elif name in _RANGES:
            ranges[name] = _bounds(name, value)
        elif name not in _OF_THE_PAGE:
            chosen[name] = (*chosen.get(name, ()), value)
    return Query(chosen=chosen, ranges=ranges, **plain)


# Fields of an address, and what a query calls them; others are facets.
_PLAIN = {
    "q": "text", "where": "where", "sort": "sort", "by": "by", "like": "like",
    "saved": "saved", "marked": "marked", "inside": "inside",
}  # fmt: skip
_RANGES = frozenset(name for name, *_ in RANGES)
_OF_THE_PAGE = frozenset({"start", "count", "cards", "at", "show"})  # how, not what, it shows
_BOUND = re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,9})?")


def _bounds(name: str, text: str) -> Bounds:
    """The two ends of a range such as 1800..1900, 1800.. or ..1900."""
    low, dots, high = text.partition("..")
    if not dots or not all(one == "" or _BOUND.fullmatch(one) for one in (low, high)):
        raise BadUsage(f"{name}={text[:40]} is no range: write 1800..1900, 1800.. or ..1900.")
    return (float(low) if low else None, float(high) if high else None)


def _pairs(query: Any) -> list[tuple[str, str]]:
    from urllib.parse import parse_qsl

    if not isinstance(query, str | None):
        raise BadUsage("A query is a text.")
    try:
        return parse_qsl(query or "", keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise BadUsage(f"A query has at most {_MOST_FIELDS} fields.") from error


async def _bytes(request: Request, types: tuple[str, ...], most: int) -> bytes:
    """The body of a request of one of some content types; BadUsage for any other request."""
    if request.headers.get("content-type", "").partition(";")[0] not in types:
        raise BadUsage(f"The content type of a request must be {' or '.join(types)}.")
    raw = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for chunk in request.stream():
                raw += chunk
                if len(raw) > most:
                    raise BadUsage(f"The request is too long: it has more than {most:,} bytes.")
    except TimeoutError as error:
        raise BadUsage("The request did not come in time.") from error
    return bytes(raw)


async def _body(request: Request) -> dict[str, Any]:
    """The JSON object of a request; BadUsage for any other request."""
    raw = await _bytes(request, ("application/json",), _LONGEST_REQUEST)
    try:
        value = parse_json(raw)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, OverflowError) as error:  # a lone surrogate or NaN, too
        raise BadUsage("The request is not JSON in UTF-8.") from error
    if not isinstance(value, dict):
        raise BadUsage("The request is not a JSON object.")
    return value


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise BadUsage(f"{text[:20]!r} is not a whole number.")
    return int(text)


def json_response(value: Any, status: int = 200) -> Response:
    """Respond with a value as JSON that the browser does not cache."""
    from starlette.responses import JSONResponse

    return JSONResponse(value, status, headers={"Cache-Control": "no-store"})


# The server.

LOOPBACK = ("127.0.0.1", "localhost", "::1")
# By the page, not by people.
_REQUESTED = (
    "/api/", "/media/", "/thumb/", "/outside/", "/generated/", "/spectrogram/", "/trial/", "/page/",
)  # fmt: skip
_FILES = {
    "browse.css": "text/css",
    "browse.js": "text/javascript",
    "compare.js": "text/javascript",
    "grid.js": "text/javascript",
    "facets.js": "text/javascript",
    "list.js": "text/javascript",
    "map.js": "text/javascript",
    "pair.js": "text/javascript",
    "judge.js": "text/javascript",
    "page.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}


def serve(
    shards: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    save_to: Path | None = None,
    generated: Path | None = None,
    min_heard: float = MIN_HEARD,
    against: str = "",
) -> None:
    """Serve the page until Ctrl-C.

    Args:
        shards: Folder or address of shards.
        host: Address to listen on.
        port: Port; 0: any free one.
        save_to: Folder for saved views and judgements; by default the one that contains the
            shards' folder. For shards on a server nothing can be saved without it.
        generated: A folder of generated music (KEY.wav); adds a page that shows it beside the
            pairs.
        min_heard: Seconds of a clip that a judge must hear before an answer.
        against: Another release: judges also compare its music for the same artworks.

    Raises:
        BadUsage: The port is in use, or there are no shards.
        BadData: The index is damaged, or is not one of this project.
    """
    import uvicorn

    from artsound.reports.web_guard import BACKLOG, ImpatientProtocol

    app = browse_app(
        open_pairs(shards), host=host, save_to=save_to, generated=generated,
        min_heard=min_heard, release=open_pairs(against) if against else None,
    )  # fmt: skip
    listener = listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    print(f"Browse at http://{shown}:{listener.getsockname()[1]}/ (Ctrl-C ends)", flush=True)
    config = uvicorn.Config(
        app, http=ImpatientProtocol, ws="none", backlog=BACKLOG, log_level="error",
        access_log=False, server_header=False,
    )  # fmt: skip
    with listener:
        uvicorn.Server(config).run(sockets=[listener])


def browse_app(
    data: Dataset,
    *,
    host: str = "127.0.0.1",
    save_to: Path | None = None,
    generated: Path | None = None,
    min_heard: float = MIN_HEARD,
    release: Dataset | None = None,
) -> Starlette:
    """Return the page and its API as a Starlette application; see `serve` for the arguments.

    `release` is the dataset of `against`.

    On a loopback host it answers only requests whose Host header names this machine, which
    prevents DNS rebinding. Requests of other pages are refused (`artsound.reports.web_guard`).
    """
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.routing import Route

    from artsound.reports.web_guard import Guard

    if save_to is None and data.store.is_local:
        save_to = Path(data.store.location).absolute().parent
    finder = Finder(Likeness(data), Notes(save_to, data), SavedViews(save_to))
    catalogue = catalogue_of(data, finder)
    made = find_generated(generated, catalogue.places) if generated is not None else {}
    effects = read_effects(generated) if generated is not None else {}
    near = host in LOOPBACK
    site = Site(catalogue, save_to, finder, made, min_heard, release, effects, near)
    # Computed in the background after the first page, not when the first letter is typed.
    prepare = threading.Timer(0.25, site.prepare)
    prepare.daemon = True
    prepare.start()
    hosts = [*LOOPBACK, "[::1]"] if near else ["*"]
    return Starlette(
        routes=[
            Route("/", _shell),
            Route("/pair/{key}", _shell),
            Route("/judge", _shell),
            Route("/compare", _shell),
            Route("/page/{name}", _file),
            Route("/api/view", site.view),
            Route("/api/pair/{key}", site.pair),
            Route("/api/why/{key}", site.why),
            Route("/api/near/{key}", site.near),
            Route("/api/save", site.save, methods=["POST"]),
            Route("/api/note", site.note, methods=["POST"]),
            Route("/api/picture", site.picture, methods=["POST"]),
            Route("/api/command", site.command),
            Route("/api/map", site.map),
            Route("/api/found", site.found),
            Route("/api/at/{position}", site.at),
            Route("/thumb/{key}.jpg", site.thumbnail),
            Route("/outside/{side}", site.outside),
            Route("/api/judging", site.about_judging),
            Route("/api/trial", site.trial),
            Route("/api/judgement", site.judgement, methods=["POST"]),
            Route("/api/comparison", site.comparison),
            Route("/api/preference", site.preference, methods=["POST"]),
            Route("/api/generated", site.compared),
            Route("/media/{key}.{member}", site.media),
            Route("/generated/{key}.wav", site.generated_media),
            Route("/spectrogram/{kind}/{key}.png", site.spectrogram),
            Route("/trial/{token}.{member}", site.trial_media),
        ],
        middleware=[
            Middleware(Guard, pages=("/", "/judge", "/compare", "/pair/")),
            Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False),
        ],
        exception_handlers={ArtSoundError: _error_response, 404: _unknown},
    )


def _shell(request: Request, status: int = 200) -> Response:
    from starlette.responses import Response

    return Response(_page_file("browse.html"), status, media_type="text/html")


def _unknown(request: Request, error: Exception) -> Response:
    """The page, which says that there is no such address; what it requests itself gets JSON."""
    if request.url.path.startswith(_REQUESTED):
        return json_response({"error": "There is no such address."}, 404)
    return _shell(request, 404)


def _file(request: Request) -> Response:
    from starlette.responses import Response

    name = request.path_params["name"]
    if name not in _FILES:
        return json_response({"error": "There is no such file."}, 404)
    return Response(
        _page_file(name), media_type=_FILES[name], headers={"Cache-Control": "no-cache"}
    )


def _page_file(name: str) -> bytes:
    return (files("artsound.reports") / "page" / name).read_bytes()


def _error_response(request: Request, error: Exception) -> Response:
    return json_response({"error": str(error)}, 400)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on a port (0: any free one); BadUsage when it is in use."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)  # connections before the server runs wait instead of being refused
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise BadUsage(
            f"Cannot listen on {host} port {port} ({reason}): choose another --port."
        ) from error
    return listener
