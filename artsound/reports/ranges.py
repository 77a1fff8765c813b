"""Pictures and sound over HTTP, by byte range, straight from where they lie in their shard."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from artsound.shards.read import Dataset

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

MEDIA = {"jpg": "image/jpeg", "mp3": "audio/mpeg"}
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def media_response(
    request: Request, data: Dataset, position: int, member: str, *, etag: str = ""
) -> Response:
    """A member of a sample: all of it, the one stretch asked for (206), or 416.

    With an `etag` a browser may keep it, and asks again with a few bytes; without, it may not.
    """
    from starlette.responses import Response

    row = data.frame.row(position, named=True)
    offset, size = row[f"{member}_offset"], row[f"{member}_size"]
    keep = {"ETag": f'"{etag}"', "Cache-Control": "private, max-age=86400"} if etag else {}
    headers = {"Accept-Ranges": "bytes", **(keep or {"Cache-Control": "no-store"})}
    if etag and request.headers.get("if-none-match") == f'"{etag}"':
        return Response(status_code=304, headers=headers)
    wanted = request.headers.get("range")
    stretch = byte_range(wanted, size) if wanted else (0, size)
    if stretch is None:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{size}"})
    start, stop = stretch
    body = data.store.read_ranges(row["shard"], [(offset + start, offset + stop)])[0]
    if wanted and (start, stop) != (0, size):
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        return Response(body, 206, headers, media_type=MEDIA[member])
    return Response(body, 200, headers, media_type=MEDIA[member])


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """The first byte, and the one after the last, that a Range header asks for of `size` bytes.

    A header of another form, or of several ranges, asks for everything, as RFC 9110 allows; None
    when nothing of what it asks for is there.
    """
    match = _RANGE.fullmatch(header.strip())
    if not match or match.groups() == ("", ""):
        return 0, size
    first, last = match.groups()
    if first == "":  # the last so many bytes
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return 0, size
    return (start, stop) if start < stop else None
