"""Pictures by their own addresses, as politely as a web site may ask.

A server whose answer, or a redirect to it, says that it does not want the picture in a set like
ours (page_signals.py) is obeyed. Requests to one host keep their distance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from artsound.errors import ArtSoundError
from artsound.sources.http import FAULTS, Client, Patience, read_body, reason
from artsound.sources.page_signals import refusal_in
from artsound.sources.staging import Refusal

POLITE = Patience(retries=4, per_host=2, pause=0.25)

_LARGEST = 256 << 20
_AHEAD = 32


def fetch_images(
    urls: Mapping[str, str], client: Client | None = None
) -> Iterator[tuple[str, bytes | Refusal]]:
    """(key, bytes) of the picture at each address, or (kind, code, message) of why there is none.

    In the order given. Kind is `filtered` when the server does not want its picture used, else
    `failed`. At most 32 pictures wait in memory.
    """
    client = client or Client(POLITE)
    with ThreadPoolExecutor(8) as pool:
        waiting: list[tuple[str, Future[bytes | Refusal]]] = []
        for key, url in urls.items():
            waiting.append((key, pool.submit(_fetch, url, client)))
            if len(waiting) == _AHEAD:
                name, future = waiting.pop(0)
                yield name, future.result()
        for name, future in waiting:
            yield name, future.result()


def _fetch(url: str, client: Client) -> bytes | Refusal:
    try:
        with client.get(url) as response:
            if response.status_code in (401, 403, 451):
                return "filtered", "image-refused", f"{url} answered {response.status_code}"
            if response.status_code != 200:
                return "failed", "image-unreachable", f"{url} answered {response.status_code}"
            for answer in (*response.history, response):
                if rule := refusal_in(answer.raw.headers.items()):
                    return "filtered", "image-refused", f"{url} asks not to be used: {rule}"
            data = bytearray()
            for chunk in read_body(response, _LARGEST + 1, client.patience):
                data += chunk
                if len(data) > _LARGEST:
                    return "failed", "file-too-large", f"{url} is larger than {_LARGEST:,} bytes"
            return bytes(data)
    except ArtSoundError as error:
        return "failed", "image-unreachable", str(error)
    except FAULTS as error:
        return "failed", "image-unreachable", f"{url} broke off: {reason(error)}"
