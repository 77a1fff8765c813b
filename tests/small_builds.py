"""Recipes of small builds, for the tests of several rooms."""

from __future__ import annotations

from artsound.recipe import Recipe, bundled_recipe
from artsound.sources.sample import SamplePaths


def small_recipe(sample: SamplePaths, limit: int = 24) -> Recipe:
    """The sample's recipe on sources already written, with at most `limit` tracks."""
    sources = {"artgraph": str(sample.artgraph), "fma": str(sample.fma), "limit": limit}
    return bundled_recipe("sample").replaced(
        sources=sources, shards={"pairs_per_shard": 6}, run={"runner": "serial", "part_size": 16}
    )
