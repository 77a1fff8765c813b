"""Flow: raw sources to a checked catalogue."""

from __future__ import annotations

from artsound.sources.ingest import STAGE
from artsound_flows.engine import stage_flow

ingest = stage_flow(STAGE, "Pull, check and catalogue artworks and tracks.")
