"""Images and sound: decoded in full, checked, normalised, and keyed for near-duplicates.

Every byte that comes in is hostile until it has been decoded.
"""

from __future__ import annotations

from artsound.errors import BadData


class MediaError(BadData):
    """A picture or clip that cannot be used.

    ``reason`` is a short code for counting ("audio-too-short"), ``message`` the sentence.
    """

    def __init__(self, reason: str, message: str) -> None:
        # Both go to the base class so that the error survives pickling between processes.
        super().__init__(reason, message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return self.message
