"""Flow: pairs and captions to WebDataset shards."""

from __future__ import annotations

from artsound.shards.shard import STAGE
from artsound_flows.engine import stage_flow

shard = stage_flow(STAGE, "Pack the pairs into WebDataset tars with their index.")
