"""The small files of a release as a record of Zenodo, for its DOI: `artsound deposit`.

Shards stay where they are hosted: a record has the index, the cards and all else that describes
them. The DOI is reserved first and written into index.json and the cards, so that what is deposited
and what is pushed afterwards both state it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from artsound.errors import BadData, BadUsage
from artsound.shards.index import SHARDS, read_shard_index
from artsound.shards.release import check_sound
from artsound.shards.store import LocalStore, shards_folder
from artsound.storage import write_json

ZENODO = "https://zenodo.org"
# What a record needs of the recipe's table [release].
_MUST_SAY = ("title", "authors", "contact", "license")
_ORCID = re.compile(r"\s*\((\d{4}-\d{4}-\d{4}-\d{3}[\dX])\)\s*$")
_SECONDS = 60


def deposit(
    folder: Path,
    *,
    token: str,
    address: str = ZENODO,
    publish: bool = False,
    describe: Callable[[Path], object] = lambda _: None,
) -> dict[str, Any]:
    """Deposit the small files of a release, with a DOI that is written into the release.

    A release that has a DOI of the same server becomes the next version of that record.

    Args:
        folder: A release on this machine, or the folder of the build that has it.
        token: An access token of the server, which may deposit.
        address: The server, or another in Zenodo's form (https://sandbox.zenodo.org).
        publish: Publish the record, which cannot be undone; else it stays a draft to look at.
        describe: Called with the folder when it has its DOI, to write its cards again.

    Returns:
        `doi`; `record`, the page of the record; `files`, their names; `published`.

    Raises:
        BadUsage: The release does not say who publishes it.
        BadData: The server refuses, or does not answer in Zenodo's form.
    """
    folder = shards_folder(folder)
    about = read_shard_index(LocalStore(folder))
    check_sound(folder)
    said = dict(about.get("release", {}))
    if lacking := [name for name in _MUST_SAY if not said.get(name)]:
        raise BadUsage(
            f"{folder} does not say who publishes it: give {', '.join(lacking)} in the table "
            "[release] of the recipe and build again."
        )
    server = _Server(address.rstrip("/"), token)
    draft = server.draft(str(said.get("doi", "")))
    try:
        number, bucket = draft["id"], str(draft["links"]["bucket"])
        doi = str(draft["metadata"]["prereserve_doi"]["doi"])
    except (KeyError, TypeError) as error:
        raise BadData(f"{address} reserved no DOI: its answer lacks {error}.") from error
    write_json(folder / SHARDS, {**about, "release": {**said, "doi": doi}})
    describe(folder)
    files = sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and path.suffix != ".tar" and path.name[0] != "."
    )
    place = f"/api/deposit/depositions/{number}"
    for name in draft.get("files", []):  # a next version begins with the files of the last one
        server.ask("DELETE", f"{place}/files/{name['id']}")
    for path in files:
        server.ask("PUT", f"{bucket}/{quote(path.name)}", data=path.read_bytes())
    server.ask("PUT", place, json={"metadata": _metadata(about, said)})
    if publish:
        server.ask("POST", f"{place}/actions/publish")
    return {
        "doi": doi,
        "record": f"{server.address}/{'records' if publish else 'deposit'}/{number}",
        "files": [path.name for path in files],
        "published": publish,
    }


def _metadata(about: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """The description of the record in Zenodo's terms."""
    creators = []
    for author in said["authors"]:
        orcid = _ORCID.search(author)
        creators.append({"name": _ORCID.sub("", author), **({"orcid": orcid[1]} if orcid else {})})
    links = [
        {"identifier": said[key], "relation": relation, "resource_type": kind}
        for key, relation, kind in (
            ("homepage", "isSupplementTo", "dataset"),
            ("repository", "isCompiledBy", "software"),
        )
        if str(said.get(key, "")).startswith("http")
    ]
    return {
        "upload_type": "dataset",
        "title": said["title"],
        "version": about.get("version", ""),
        "creators": creators,
        "description": (
            f"Index, cards and licences of {about['samples']:,} artwork-music pairs; the shards "
            f"are hosted elsewhere. Index {about['index_sha256']}. Every picture and clip has its "
            "own licence: ATTRIBUTION.csv. The licence of this record is that of captions, index "
            f"and compilation. Contact: {said['contact']}"
        ),
        "license": str(said["license"]).lower(),
        "keywords": ["art", "music", "captions", "multimodal"],
        **({"publication_date": said["date"]} if said.get("date") else {}),
        **({"related_identifiers": links} if links else {}),
    }


class _Server:
    """A server in the form of Zenodo's deposit API."""

    def __init__(self, address: str, token: str) -> None:
        self.address, self._token = address, token

    def draft(self, doi: str) -> dict[str, Any]:
        """A new draft; of the record with this DOI, the next version, if it is of this server."""
        known = re.fullmatch(r"10\.\d{4,9}/zenodo\.(\d+)", doi)
        if not known:
            return self._object(self.ask("POST", "/api/deposit/depositions", json={}))
        place = f"/api/deposit/depositions/{known[1]}/actions/newversion"
        begun = self._object(self.ask("POST", place))
        try:
            return self._object(self.ask("GET", str(begun["links"]["latest_draft"])))
        except (KeyError, TypeError) as error:
            raise BadData(f"{self.address} began no next version of {doi}.") from error

    def ask(self, method: str, place: str, **more: Any) -> Any:
        """The answer to a request, as JSON; None for an empty one."""
        url = place if place.startswith("http") else f"{self.address}{place}"
        if not url.startswith(f"{self.address}/"):
            raise BadData(f"{self.address} gave the address {url}, of another server: not sent.")
        try:
            answer = requests.request(
                method, url, headers={"Authorization": f"Bearer {self._token}"},
                timeout=_SECONDS, allow_redirects=False, **more,
            )  # fmt: skip
        except requests.RequestException as error:
            raise BadData(f"{self.address} cannot be reached: {error}.") from error
        if not 200 <= answer.status_code < 300:
            said = " ".join(answer.text.split())[:200]
            raise BadData(
                f"{self.address} refused {method} {url.removeprefix(self.address)} "
                f"({answer.status_code}): {said or answer.reason}. Check the token and its scopes."
            )
        try:
            return answer.json() if answer.content else None
        except ValueError as error:
            raise BadData(f"{self.address} did not answer in JSON: is it Zenodo?") from error

    def _object(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise BadData(f"{self.address} did not answer in Zenodo's form.")
        return value
