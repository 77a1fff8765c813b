"""The errors that a user can cause.

`artsound …` prints the message and exits with the class's exit code; every other exception is a
bug and shows its traceback.
"""

from __future__ import annotations


class ArtSoundError(Exception):
    """A user-facing error: one line that names the file and the remedy."""

    exit_code = 1


class BadData(ArtSoundError):
    """The data, the disk or the server is at fault (exit code 1)."""


class BadUsage(ArtSoundError):
    """The request is at fault: a wrong option, a missing folder, an unknown key (exit code 2)."""

    exit_code = 2
