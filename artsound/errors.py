"""The errors a user can cause, each told in one sentence.

`artsound …` prints the sentence and leaves with the class's exit code; everything else is a bug
and shows its traceback.
"""

from __future__ import annotations


class ArtSoundError(Exception):
    """A fault told in one sentence that names the file and the way out."""

    exit_code = 1


class BadData(ArtSoundError):
    """The data, the disk or the server is at fault (exit code 1)."""


class BadUsage(ArtSoundError):
    """The request is at fault: a wrong option, a missing folder, an unknown key (exit code 2)."""

    exit_code = 2
