"""Flow: catalogue to descriptors and embeddings."""

from __future__ import annotations

from artsound.encoders.embed import STAGE
from artsound_flows.engine import stage_flow

embed = stage_flow(STAGE, "Measure every artwork and track, and embed what the bridge needs.")
