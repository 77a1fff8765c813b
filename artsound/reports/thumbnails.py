"""Small pictures for the pages of `artsound browse`: made when they are requested, and cached."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Callable

from artsound.errors import BadData
from artsound.media import MediaError
from artsound.media.images import load_rgb

SIDES = (160, 320, 640)  # pixels of the longer side
_QUALITY = 80
_CACHE = 64_000_000  # bytes


class Thumbnails:
    """JPEGs of pictures by digest and size; the least recently used of more than 64 MB go."""

    def __init__(self) -> None:
        self._made: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, digest: str, side: int, read: Callable[[], bytes]) -> bytes:
        """The thumbnail of a picture.

        Args:
            digest: Of the picture.
            side: Its longer side in pixels, one of SIDES; smaller pictures are not enlarged.
            read: Reads the picture.

        Returns:
            A JPEG.

        Raises:
            BadData: The picture cannot be read.
        """
        name = digest, side
        with self._lock:
            if name in self._made:
                self._made.move_to_end(name)
                return self._made[name]
        made = _thumbnail(read(), side)
        with self._lock:
            if name not in self._made:
                self._made[name] = made
                self._bytes += len(made)
            while self._bytes > _CACHE:
                self._bytes -= len(self._made.popitem(last=False)[1])
        return made


def _thumbnail(data: bytes, side: int) -> bytes:
    from PIL import Image

    try:
        pixels = load_rgb(data, max_side=side)
    except MediaError as error:
        raise BadData(f"The picture cannot be read: {error}.") from error
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=_QUALITY, optimize=True)
    return out.getvalue()
