"""What the page of `artsound browse` asks for: views, pairs, media, and keeping what is said."""

from __future__ import annotations

import json
import re
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from artsound.errors import BadUsage
from artsound.reports import judging
from artsound.reports.generated import MEDIA as GENERATED
from artsound.reports.ranges import MEDIA, media_response
from artsound.reports.view import Catalogue, Query
from artsound.shards.subset import write_ids, write_shards, write_view

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

COMPARED = 24  # pairs on a page of generated music
_LONGEST_REQUEST = 1 << 16
_OPEN_TRIALS = 10_000
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass
class Site:
    """What the page asks for. `save_to` is the only folder that is ever written to."""

    catalogue: Catalogue
    save_to: Path | None
    generated: dict[str, dict[str, Path]] = field(default_factory=dict)
    _open: OrderedDict[str, tuple[judging.Trial, tuple[str, ...]]] = field(
        default_factory=OrderedDict
    )
    _judged: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def view(self, request: Request) -> Response:
        """One page of the pairs that a query finds, and the facets."""
        start = _whole(request.query_params.get("start", "0"))
        found = self.catalogue.view(query_of(request.query_params.multi_items()), start=start)
        more = {"saves": self.save_to is not None, "compares": bool(self.generated)}
        return json_response({**found, "name": self.catalogue.data.name, **more})

    def pair(self, request: Request) -> Response:
        """All that is known of one pair."""
        position = self.catalogue.places.get(request.path_params["key"])
        if position is None:
            return json_response({"error": "There is no such pair."}, 404)
        return json_response(self.catalogue.pair(position))

    def media(self, request: Request) -> Response:
        """The picture or the sound of one pair."""
        position = self.catalogue.places.get(request.path_params["key"])
        member = request.path_params["member"]
        if position is None or member not in MEDIA:
            return json_response({"error": "There is no such file."}, 404)
        column = "image_sha256" if member == "jpg" else "audio_sha256"
        etag = self.catalogue.data.frame[column][position]
        return media_response(request, self.catalogue.data, position, member, etag=etag)

    def compared(self, request: Request) -> Response:
        """One page of the pairs that have generated music."""
        if not self.generated:
            return json_response({"error": "Start `artsound browse` with --generated FOLDER."}, 404)
        start = _whole(request.query_params.get("start", "0"))
        keys = list(self.generated)[start : start + COMPARED]
        cards = self.catalogue.cards([self.catalogue.places[key] for key in keys])
        pairs = [{**card, "spectrogram": "png" in self.generated[card["key"]]} for card in cards]
        name, total = self.catalogue.data.name, len(self.generated)
        return json_response({"pairs": pairs, "total": total, "page": COMPARED, "name": name})

    def generated_media(self, request: Request) -> Response:
        """Generated music or its spectrogram; only what was found when the site was started."""
        from starlette.responses import FileResponse

        member = request.path_params["member"]
        path = self.generated.get(request.path_params["key"], {}).get(member)
        if path is None or not path.is_file():
            return json_response({"error": "There is no such file."}, 404)
        return FileResponse(
            path, media_type=GENERATED[member], headers={"Cache-Control": "no-store"}
        )

    async def save(self, request: Request) -> Response:
        """Keep the view: as ids, as a view in parquet, or as new shards."""
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
            raise BadUsage("The view holds no pair.")
        out = self._folder() / "views" / f"{name}{suffix}"
        with self._lock:
            if out.exists():
                raise BadUsage(f"{out} is there already: choose another name.")
            out.parent.mkdir(parents=True, exist_ok=True)
            if kind == "ids":
                write_ids(chosen, out)
            elif kind == "view":
                write_view(chosen, out)
            else:
                write_shards(chosen, out)
        return {"path": str(out), "pairs": len(chosen)}

    def trial(self, request: Request) -> Response:
        """The next artwork and clip for a judge: an opaque token, and how many are done."""
        items = request.query_params.multi_items()
        judge = judging.checked_judge(dict(items).get("judge", ""))
        query = query_of([item for item in items if item[0] != "judge"])
        with self._lock:
            done = self._done(judge)
            chosen = self.catalogue.chosen(query)
            trial = judging.next_trial(chosen, judge, done)
            if trial is None:
                return json_response({"token": "", "done": len(done)})
            rows = np.flatnonzero(self.catalogue.rows(query))  # positions in the whole catalogue
            token = secrets.token_urlsafe(12)
            self._open[token] = (trial.moved(rows), chosen.asked)
            while len(self._open) > _OPEN_TRIALS:
                self._open.popitem(last=False)
            return json_response({"token": token, "done": len(done)})

    def trial_media(self, request: Request) -> Response:
        """The picture or the sound of a trial, under a name that tells nothing of it."""
        found = self._open.get(request.path_params["token"])
        member = request.path_params["member"]
        if found is None or member not in MEDIA:
            return json_response({"error": "There is no such trial."}, 404)
        trial, _ = found
        position = trial.artwork if member == "jpg" else trial.track
        return media_response(request, self.catalogue.data, position, member)

    async def judgement(self, request: Request) -> Response:
        """Keep what a judge said of a trial."""
        from starlette.concurrency import run_in_threadpool

        asked = await _body(request)
        return json_response(await run_in_threadpool(self._judge, asked))

    def _judge(self, asked: dict[str, Any]) -> dict[str, Any]:
        judge = judging.checked_judge(str(asked.get("judge", "")))
        folder = self._folder() / "judgements"
        with self._lock:
            found = self._open.get(str(asked.get("token", "")))
            if found is None:
                raise BadUsage("This trial is over: reload the page for the next.")
            trial, view = found
            rating, seconds = asked.get("rating", -1), asked.get("seconds", 0.0)
            if not isinstance(rating, int) or not isinstance(seconds, int | float):
                raise BadUsage("A rating and the seconds taken are numbers.")
            judgement = judging.judgement_of(
                self.catalogue.data, trial, judge, view=view,
                rating=rating, verdict=str(asked.get("verdict", "")), seconds=float(seconds),
            )  # fmt: skip
            done = self._done(judge)
            judging.keep(folder, judgement)
            del self._open[str(asked["token"])]
            done.add((judgement.artwork_key, judgement.track_key))
            return {"done": len(done)}

    def _done(self, judge: str) -> set[tuple[str, str]]:
        if judge not in self._judged:
            kept = judging.read_judgements(self._folder() / "judgements")
            index = self.catalogue.data.index_sha256
            self._judged[judge] = judging.judged(kept, judge, index)
        return self._judged[judge]

    def _folder(self) -> Path:
        if self.save_to is None:
            raise BadUsage("Nothing can be saved: start `artsound browse` with --save-to.")
        return self.save_to


def query_of(items: list[tuple[str, str]]) -> Query:
    """The query that an address tells: q, where, sort, and values of facets, each maybe often."""
    plain = {"q": "", "where": "", "sort": "best"}
    chosen: dict[str, tuple[str, ...]] = {}
    for name, value in items:
        if name in plain:
            plain[name] = value
        elif name != "start":
            chosen[name] = (*chosen.get(name, ()), value)
    return Query(plain["q"][:500], chosen, plain["where"][:2000], plain["sort"])


def _pairs(query: Any) -> list[tuple[str, str]]:
    from urllib.parse import parse_qsl

    return parse_qsl(str(query or ""), keep_blank_values=True, max_num_fields=1000)


async def _body(request: Request) -> dict[str, Any]:
    """The JSON object of a request that comes from our own page; else BadUsage."""
    origin = request.headers.get("origin")
    if origin is not None and origin != f"{request.url.scheme}://{request.headers.get('host')}":
        raise BadUsage("This request came from another page.")
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise BadUsage("A request holds JSON.")
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > _LONGEST_REQUEST:
            raise BadUsage("The request is too long.")
    try:
        value = json.loads(raw)
    except ValueError as error:
        raise BadUsage("The request is not JSON.") from error
    if not isinstance(value, dict):
        raise BadUsage("The request is not a JSON object.")
    return value


def _whole(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise BadUsage(f"{text[:20]!r} is not a whole number.")
    return int(text)


def json_response(value: Any, status: int = 200) -> Response:
    """A value as JSON that no browser keeps."""
    from starlette.responses import JSONResponse

    return JSONResponse(value, status, headers={"Cache-Control": "no-store"})
