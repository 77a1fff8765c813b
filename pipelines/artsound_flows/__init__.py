"""Prefect flows over the library: one flow per stage and one for a whole build.

The flows are thin. They say where parts run; what a part is, and when it is done, is the
library's business (`artsound.stage`), and its markers, not Prefect's cache, are the truth.
"""

from __future__ import annotations

from artsound_flows import settings

__all__ = ["settings"]
