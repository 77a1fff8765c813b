"""The items to caption: record, measurements and media file of each.

They are those that pairs use, or all that were measured where a bridge is made of captions.
"""

from __future__ import annotations

import pyarrow as pa

from artsound.captions.base import CaptionItem
from artsound.catalogue import Side, described_items
from artsound.encoders.roles import captions_come_first
from artsound.recipe import Recipe
from artsound.schema import from_row
from artsound.stage import Context


def before_pairs(recipe: Recipe) -> bool:
    """Whether captions come before pairs, since a bridge of the recipe is made of them."""
    return captions_come_first(recipe)


def item_rows(context: Context, side: Side) -> tuple[pa.Table, pa.Table]:
    """Records and descriptors, row for row by ascending key, of the side's items to caption."""
    return described_items(context, side, paired=not before_pairs(context.recipe))


def read_items(context: Context, side: Side, start: int, stop: int) -> list[CaptionItem]:
    """The side's items from `start` to before `stop`, in the order of `item_rows`."""
    records, measured = item_rows(context, side)
    return [
        CaptionItem(
            side=side.name,
            item_id=record[side.key],
            record=from_row(side.name, record),
            measured=from_row(side.descriptors, values),
            media=context.workspace.path(record[side.path]),
        )
        for record, values in zip(
            records.slice(start, stop - start).to_pylist(),
            measured.slice(start, stop - start).to_pylist(),
            strict=True,
        )
    ]
