"""Flow: a finished build to one page."""

from __future__ import annotations

from artsound.reports.report import STAGE
from artsound_flows.engine import stage_flow

report = stage_flow(STAGE, "Draw the report of the build.")
