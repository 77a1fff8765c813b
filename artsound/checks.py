"""What `artsound doctor` finds: one check, one line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "missing"]


@dataclass(frozen=True)
class Check:
    """One thing looked at. `missing`: the build that was asked about cannot run without it."""

    group: str
    name: str
    state: State
    found: str
    way_out: str = ""
