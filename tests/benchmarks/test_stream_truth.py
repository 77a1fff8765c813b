"""The table of lost and doubled samples: zeros for this project, and counts that can be wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
from stream_truth import KINDS, SYSTEMS, Batches, Case, cases, count, ours, table, write_samples


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_samples(tmp_path_factory.mktemp("truth") / "shards")


@pytest.mark.parametrize("kind", KINDS)
def test_this_project_loses_and_doubles_nothing(samples: Path, kind: str) -> None:
    for world in ((1, 1), (2, 2), (2, 1), (1, 3)):
        case = Case(kind, 3, (world[0], 0), (world[1], 0))
        assert count(samples, ours, case) == (0, 0)
        assert count(samples, SYSTEMS["torchdata"], case) == (0, 0)


def test_a_system_that_loses_and_doubles_is_found_out(samples: Path) -> None:
    def forgetful(first: int) -> Callable[..., Batches]:
        def job(folder: Path, case: Case, state: Any, *world: int) -> Batches:
            for number, (keys, _) in enumerate(ours(folder, case, None, *world)):
                if state is None or number >= first:
                    yield keys, lambda: 1

        return job

    case = Case("plain", 3, (1, 0), (1, 0))
    assert count(samples, forgetful(3), case) == (0, 0)
    assert count(samples, forgetful(0), case) == (0, 12)
    assert count(samples, forgetful(5), case) == (8, 0)


def test_the_table_sums_over_the_stops_and_shows_errors(samples: Path) -> None:
    some = [
        case for case in cases() if case.kind == "plain" and case.begin == case.resume == (1, 0)
    ]
    found = table(samples, ["artsound"], some)
    assert found.splitlines()[2:] == ["| plain | 1 → 1 | 0 → 0 | 0, 0 |"]
    refused = table(samples, ["torchdata"], [Case("plain", 3, (1, 0), (1, 1))])
    assert refused.endswith("| error |")
