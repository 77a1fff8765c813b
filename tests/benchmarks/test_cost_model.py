"""What the cost model reckons from the rates it is given."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
from cost_model import (
    ARTWORKS,
    FMA_BYTES,
    PAIRS,
    STAGES,
    TRACKS,
    Assumed,
    Stage,
    disk,
    gpu_hours,
    least_hours,
    stages,
    table,
)
from full_size.media_rates import Rates

ASSUMED = Assumed(
    link=1000.0, picture_kb=200.0, scale_out=0.5, clip_rate=100.0, clap_rate=50.0,
    caption_rate=10.0, train_rate=20.0, epochs=2, gpu_price=1.0, core_price=0.05, disk_price=20.0,
)  # fmt: skip
ROWS = {
    name: {"items": 1000, "cpu": 2.0, "seconds": 1.0, "memory": 1, "bytes": 5000} for name in STAGES
}
CLIP = {"unpack": 0.0, "check and measure": 0.01, "digest": 0.0, "decode for CLAP": 0.0}
PICTURE = {"check and measure": 0.01, "digest": 0.0, "release": 0.0, "decode for CLIP": 0.0}
SMALL = Rates(CLIP, PICTURE, 10_000.0, 4_000.0)


def test_the_least_is_unpacking_and_decoding_everything_once() -> None:
    clip, picture = {"unpack": 0.01, "decode": 0.02}, {"decode": 0.005}
    hours = least_hours(Rates(clip, picture, 1.0, 1.0))
    assert hours == pytest.approx((TRACKS * 0.03 + ARTWORKS * 0.005) / 3600)


def found(real: Rates = SMALL, candidates: float = 0.0) -> dict[str, Stage]:
    return {stage.name: stage for stage in stages(ROWS, 2, SMALL, real, candidates)}


def test_media_like_the_rehearsals_cost_what_the_rehearsal_took() -> None:
    assert found()["ingest"].cpu == pytest.approx((TRACKS + ARTWORKS) * 0.002 / 3600)
    assert found()["shard"].cpu == pytest.approx(PAIRS * 0.002 / 3600)


def test_longer_clips_add_their_time_to_the_stages_that_decode_them() -> None:
    real = replace(SMALL, clip=CLIP | {"unpack": 0.005, "check and measure": 0.05})
    more = {name: found(real)[name].cpu - found()[name].cpu for name in STAGES}
    assert more["ingest"] == pytest.approx(TRACKS * 0.045 / 3600)
    assert more["embed"] == more["caption"] == more["report"] == more["pair"] == 0


def test_processors_halve_a_stage_and_machines_do_as_well_as_assumed() -> None:
    stage = Stage("embed", cpu=8.0, busy=1.0)
    assert stage.hours(1, 2, ASSUMED) == 4.0
    assert stage.hours(1, 4, ASSUMED) == 2.0
    assert stage.hours(4, 2, ASSUMED) == 2.0  # half of each machine's work arrives


def test_more_machines_do_not_help_what_one_machine_does_alone() -> None:
    for name in ("pair", "report"):
        stage = Stage(name, cpu=8.0, busy=1.0)
        assert stage.hours(1, 2, ASSUMED) == stage.hours(8, 2, ASSUMED)


def test_idle_processors_make_a_stage_longer_not_dearer_in_processor_time() -> None:
    assert Stage("shard", 8.0, 0.5).hours(1, 2, ASSUMED) == 8.0


def test_the_published_clips_are_counted_as_pulled_kept_and_packed() -> None:
    space = disk(ASSUMED, ROWS)
    pictures = ARTWORKS * 200_000
    assert space["sources as pulled"] == space["media in the workspace"] == FMA_BYTES + pictures
    assert space["shards"] < FMA_BYTES + pictures


def test_gpu_hours_follow_from_assumed_rates_and_are_called_so() -> None:
    hours = gpu_hours(ASSUMED)
    assert hours["CLIP and CLAP"] == pytest.approx((ARTWORKS / 100 + PAIRS / 50) / 3600)
    assert "unmeasured" in table(list(found().values()), ASSUMED, ROWS)
