"""The small files of a release deposited at a server that speaks Zenodo's deposit API."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml
from servers import listening

import artsound
from artsound.errors import BadData, BadUsage
from artsound.reports.card import write_cards
from artsound.shards.deposit import deposit
from artsound.shards.index import read_shard_index, shards_of, write_index
from artsound.shards.store import LocalStore
from artsound.shards.verify import verify

TOKEN = "a-token"
SAID = {
    "title": "A set",
    "authors": ["Ada Lovelace (0000-0002-1825-0097)", "A Society"],
    "contact": "ada@example.org",
    "license": "CC-BY-4.0",
    "date": "2026-11-01",
    "repository": "https://example.org/code",
}


@dataclass
class Zenodo:
    """`files` and `metadata` of each record by number; `published` numbers; `elsewhere`: the
    bucket is at another server."""

    url: str = ""
    files: dict[int, dict[str, bytes]] = field(default_factory=dict)
    metadata: dict[int, dict[str, object]] = field(default_factory=dict)
    published: list[int] = field(default_factory=list)
    elsewhere: bool = False


@pytest.fixture
def zenodo() -> Iterator[Zenodo]:
    state = Zenodo()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def answer(self, value: object, status: int = 200) -> None:
            body = b"" if value is None else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def record(self, number: int) -> dict[str, object]:
            bucket = "http://127.0.0.1:9" if state.elsewhere else state.url
            return {
                "id": number,
                "links": {
                    "bucket": f"{bucket}/api/files/{number}",
                    "latest_draft": f"{state.url}/api/deposit/depositions/{number + 1}",
                },
                "metadata": {"prereserve_doi": {"doi": f"10.5281/zenodo.{number}"}},
                "files": [{"id": name} for name in state.files.get(number, {})],
            }

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self.answer({"message": "Permission denied."}, 403)
                return
            parts = unquote(self.path).strip("/").split("/")
            if self.command == "POST" and self.path == "/api/deposit/depositions":
                state.files[101] = {}
                self.answer(self.record(101), 201)
            elif parts[:2] == ["api", "files"]:
                state.files[int(parts[2])][parts[3]] = body
                self.answer({"checksum": f"md5:{hashlib.md5(body).hexdigest()}"}, 201)
            elif parts[-1] == "newversion":
                state.files[int(parts[3]) + 1] = dict(state.files[int(parts[3])])
                self.answer(self.record(int(parts[3])), 201)
            elif parts[-1] == "publish":
                state.published.append(int(parts[3]))
                self.answer(self.record(int(parts[3])), 202)
            elif self.command == "DELETE":
                del state.files[int(parts[3])][parts[5]]
                self.answer(None, 204)
            elif self.command == "PUT":
                state.metadata[int(parts[3])] = json.loads(body)["metadata"]
                self.answer(self.record(int(parts[3])))
            else:
                self.answer(self.record(int(parts[3])))

        do_GET = do_POST = do_PUT = do_DELETE = handle_any

    with listening(Handler) as state.url:
        yield state


def release_of(shards: Path, folder: Path) -> Path:
    """A release whose publisher says who it is."""
    shutil.copytree(shards, folder)
    store = LocalStore(folder)
    rows, entries = artsound.open(folder).frame, shards_of(read_shard_index(store))
    write_index(folder, "set", "", entries, rows.to_arrow(), {"version": "1.0.0", "release": SAID})
    return folder


def test_small_files_are_deposited_and_the_doi_is_in_the_release(
    shards: Path, tmp_path: Path, zenodo: Zenodo
) -> None:
    folder = release_of(shards, tmp_path / "release")
    write_cards(folder, folder)
    options = {"address": zenodo.url, "describe": lambda place: write_cards(place, place)}
    made = deposit(folder, token=TOKEN, publish=True, **options)
    assert (made["doi"], zenodo.published) == ("10.5281/zenodo.101", [101])
    here = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".tar"}
    assert zenodo.files[101] == here
    assert read_shard_index(LocalStore(folder))["release"]["doi"] == made["doi"]
    assert yaml.safe_load(here["CITATION.cff"])["doi"] == made["doi"]
    assert made["doi"] in json.loads(here["croissant.json"])["citeAs"]
    assert verify(folder) == []
    told = zenodo.metadata[101]
    assert told["creators"] == [
        {"name": "Ada Lovelace", "orcid": "0000-0002-1825-0097"}, {"name": "A Society"}
    ]  # fmt: skip
    assert (told["license"], told["publication_date"]) == ("cc-by-4.0", "2026-11-01")

    again = deposit(folder, token=TOKEN, **options)
    assert (again["doi"], again["published"]) == ("10.5281/zenodo.102", False)
    assert set(zenodo.files[102]) == set(here), "files of the last version are replaced"
    assert b"zenodo.102" in zenodo.files[102]["CITATION.cff"]


def test_a_deposit_that_cannot_be_made_is_one_clear_error_and_changes_nothing(
    shards: Path, tmp_path: Path, zenodo: Zenodo
) -> None:
    with pytest.raises(BadUsage, match="does not say who publishes it"):
        deposit(shards, token=TOKEN, address=zenodo.url)
    folder = release_of(shards, tmp_path / "release")
    before = (folder / "index.json").read_bytes()
    with pytest.raises(BadData, match=r"\(403\): .*Permission denied.*Check the token"):
        deposit(folder, token="wrong", address=zenodo.url)
    with pytest.raises(BadData, match="cannot be reached"):
        deposit(folder, token=TOKEN, address="http://127.0.0.1:9")
    assert (folder / "index.json").read_bytes() == before
    zenodo.elsewhere = True
    with pytest.raises(BadData, match="of another server: not sent"):
        deposit(folder, token=TOKEN, address=zenodo.url)
