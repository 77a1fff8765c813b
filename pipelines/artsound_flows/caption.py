"""Flow: pairs to captions on both sides."""

from __future__ import annotations

from artsound.captions.caption import STAGE
from artsound_flows.engine import stage_flow

caption = stage_flow(STAGE, "Write a caption for both sides of every pair.")
