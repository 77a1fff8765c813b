"""Every bridge on made-up CLIP and CLAP whose common cause is known; benchmarks/bridges.py has
the figures."""

from __future__ import annotations

import numpy as np
import pytest
from planted import Planted, accuracy, caption_vectors, recall, text_pairs

from artsound.pairing.caption_bridge import caption_rows
from artsound.pairing.concepts import concept_rows
from artsound.pairing.evidence import equal_pairs, hubness
from artsound.pairing.learned import train_heads
from artsound.pairing.rows import centred_rows, standardised, unit_rows
from artsound.pairing.search import find_candidates

ARTWORKS, TRACKS = 500, 400
CHANCE = 10 / ARTWORKS


@pytest.fixture(scope="module")
def world() -> Planted:
    return Planted.make(ARTWORKS, TRACKS, 1)


@pytest.fixture(scope="module")
def by_concepts(world: Planted) -> tuple[np.ndarray, np.ndarray]:
    return (
        concept_rows(world.audio, world.clap.texts(world.concepts)),
        concept_rows(world.images, world.clip.texts(world.concepts)),
    )


def test_concepts_recover_most_pairs(by_concepts: tuple[np.ndarray, np.ndarray]):
    assert recall(*by_concepts, 10) > 0.8
    assert accuracy(*by_concepts, 10)[0] > 0.7


def test_every_step_of_the_concepts_bridge_pays(
    world: Planted, by_concepts: tuple[np.ndarray, np.ndarray]
):
    texts = world.clap.texts(world.concepts), world.clip.texts(world.concepts)
    items = world.audio, world.images
    plain = [unit_rows(x @ c.T) for x, c in zip(items, texts, strict=True)]
    level = [unit_rows(standardised(x @ c.T)) for x, c in zip(items, texts, strict=True)]
    free = [
        unit_rows(standardised(x @ (c - c.mean(axis=0)).T))
        for x, c in zip(items, texts, strict=True)
    ]
    found = [recall(*sides, 10) for sides in (plain, level, free, by_concepts)]
    assert 2 * CHANCE < found[0] < 0.8 * found[1]
    assert found[1] < 0.8 * found[2]
    assert found[2] < found[3]
    assert accuracy(*plain, 0)[0] < 0.7 * accuracy(*by_concepts, 0)[0]


def test_the_whole_concepts_bridge_has_less_than_half_the_hubs_of_bare_similarities(
    world: Planted, by_concepts: tuple[np.ndarray, np.ndarray]
):
    plain = [
        unit_rows(world.audio @ world.clap.texts(world.concepts).T),
        unit_rows(world.images @ world.clip.texts(world.concepts).T),
    ]
    even = np.zeros(ARTWORKS)
    before = hubness(find_candidates(*plain, 32), even)
    after = hubness(find_candidates(*by_concepts, 32), even)
    assert after < 0.5 * before


def test_hub_correction_costs_little_and_changes_nothing_where_every_artwork_is_used(
    by_concepts: tuple[np.ndarray, np.ndarray],
):
    tracks, artworks = by_concepts
    (right, mean), (corrected, mean_corrected) = (accuracy(*by_concepts, n) for n in (0, 10))
    assert corrected > right - 0.02
    assert 0.98 * mean < mean_corrected <= mean + 1e-4
    # What is taken off the artworks is then the same for any assignment.
    used = artworks[:TRACKS]
    assert accuracy(tracks, used, 10)[1] == pytest.approx(accuracy(tracks, used, 0)[1], rel=2e-3)


def test_captions_recover_more_with_both_terms_than_with_one(world: Planted):
    heard, seen = caption_vectors(world)
    artworks, tracks = caption_rows(world.images, heard, world.audio, seen)
    both = recall(tracks, artworks, 10)
    assert both > 0.7
    assert both > recall(centred_rows(seen), centred_rows(world.images), 10)
    assert both > recall(centred_rows(world.audio), centred_rows(heard), 10)
    plain = np.concatenate([seen, world.audio], 1), np.concatenate([world.images, heard], 1)
    assert both > 1.3 * recall(unit_rows(plain[0]), unit_rows(plain[1]), 10)


def test_heads_trained_on_text_alone_recover_pairs_that_they_never_saw(world: Planted):
    clip, clap = train_heads(*text_pairs(world, 1500), world.images, world.audio, seed=0, steps=60)
    artworks, tracks = clip.rows(world.images), clap.rows(world.audio)
    assert recall(tracks, artworks, 10) > 0.6
    assert accuracy(tracks, artworks, 10)[0] > 0.4


def test_without_a_common_cause_no_bridge_finds_one(world: Planted):
    other = Planted.make(ARTWORKS, TRACKS, 8)
    tracks = concept_rows(other.audio, other.clap.texts(other.concepts))
    artworks = concept_rows(world.images, world.clip.texts(world.concepts))
    assert recall(tracks, artworks, 10) < 3 * CHANCE


def test_the_share_of_equal_pairs_counts_tracks_that_both_matchings_serve():
    one, other = np.array([3, -1, 5, 7]), np.array([3, 2, -1, 8])
    assert equal_pairs(one, other) == 0.5
    assert equal_pairs(one, one) == 1.0
    assert equal_pairs(one, np.full(4, -1)) == 0.0
    with pytest.raises(ValueError, match="do not compare"):
        equal_pairs(one, other[:2])
