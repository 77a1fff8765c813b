"""Prefect flows over the library: one flow per stage and one for a whole build.

The flows only decide where parts run. The library (`artsound.stage`) defines parts and, by its
markers and not by Prefect's cache, which of them are done.
"""

from __future__ import annotations

from artsound_flows import settings

__all__ = ["settings"]
