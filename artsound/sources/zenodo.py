"""A Zenodo record's files, as its REST API lists them at this moment: names, sizes, digests.

Zenodo has answered in three forms: files with `key` (until 2023, and again today), files with
`filename` and `filesize` (October 2023), and InvenioRDM's own `files.entries`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urljoin, urlsplit

from artsound.errors import BadData
from artsound.sources.http import FAULTS, Client, RemoteFile, read_body, reason, shown, status

_RECORD = re.compile(
    r"(?P<base>https?://[^/?#]+)/(?:api/)?records?/(?P<id>\d+)"
    r"(?P<latest>/(?:versions/)?latest)?(?:/(?:files|preview|versions|export)?)?/?$"
)
_DOI = re.compile(r"(?:^|/|doi:)10\.5281/zenodo\.(?P<id>\d+)(?:\.svg)?/?$", re.IGNORECASE)
_LONGEST_ANSWER = 8 << 20
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
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
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
    if int(size) < 0:
        raise ValueError("a size below zero")
    return str(name), RemoteFile(place, _digest(str(file.get("checksum") or "")), int(size))


def _digest(checksum: str) -> str:
    """The checksum when it is of a kind that is checked here; else none."""
    kind, mark, value = checksum.partition(":")
    if not mark:
        kind, value = _DIGESTS.get(len(checksum), ""), checksum
    known = kind in _DIGESTS.values() and re.fullmatch(r"[0-9a-fA-F]+", value)
    return f"{kind}:{value.lower()}" if known else ""
