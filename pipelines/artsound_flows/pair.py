"""Flow: embeddings to one-to-one pairs."""

from __future__ import annotations

from artsound.pairing.pair import STAGE
from artsound_flows.engine import stage_flow

pair = stage_flow(STAGE, "Split, score and match artworks and tracks.")
