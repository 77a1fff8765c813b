"""A Zenodo record's files, as its REST API lists them at this moment: names, sizes, digests."""

from __future__ import annotations

import json
import re

from urllib3.exceptions import HTTPError

from artsound.errors import BadData
from artsound.sources.download import RemoteFile
from artsound.sources.http import Client, reason

_RECORD = re.compile(r"(https?://[^/]+)/(?:api/)?records?/(\d+)/?$")
_LONGEST_ANSWER = 8 << 20


def is_record(url: str) -> bool:
    """Whether `url` is that of a record: `https://zenodo.org/records/8172374`, page or API."""
    return _RECORD.match(url) is not None


def record_files(url: str, client: Client) -> dict[str, RemoteFile]:
    """The files of the record at `url`, by name, with size and md5.

    Raises BadData when the server cannot be reached or answers something else than a record.
    """
    match = _RECORD.match(url)
    api = f"{match[1]}/api/records/{match[2]}" if match else url
    with client.get(api, {"Accept": "application/json"}) as response:
        if response.status_code != 200:
            raise BadData(
                f"{api} answered {response.status_code} {response.reason}: check the record."
            )
        try:
            answer = response.raw.read(_LONGEST_ANSWER)
        except HTTPError as error:
            raise BadData(f"{api} broke off: {reason(error)}; try again.") from error
    try:
        return {
            str(file["key"]): RemoteFile(
                url=str(file["links"]["self"]),
                digest=_digest(str(file["checksum"])),
                size=int(file["size"]),
            )
            for file in json.loads(answer)["files"]
        }
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadData(
            f"{api} does not answer like a Zenodo record: download its files yourself, and give "
            "the folder."
        ) from error


def _digest(checksum: str) -> str:
    """The checksum when it is of a kind that is checked here; else none."""
    return checksum if checksum.partition(":")[0] in ("md5", "sha1", "sha256") else ""
