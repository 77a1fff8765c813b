"""The caption stage: one caption for every artwork and track that a pair uses.

If a bridge uses captions, the stage comes before pairing and captions all items.

Each side has the captioner that the recipe names. Texts of models are tidied and checked; a caption
that fails is replaced by the grounded one, and the reason is recorded. Near-duplicates, and
captions that agree better with other items than with their own (if the recipe has that check), can
only be found across the whole side: they are replaced at the end.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from artsound.captions.base import Captioner, CaptionItem
from artsound.captions.captioners import captioner_plugin, open_captioner
from artsound.captions.checks import (
    PASSED,
    Limits,
    caption_agreements,
    check_embedded,
    failure,
    near_duplicates,
    tidy,
)
from artsound.captions.grounded import Grounded
from artsound.captions.phrasing import word_count
from artsound.captions.vocabulary import load_vocabulary
from artsound.catalogue import (
    SIDES,
    Side,
    described_items,
    descriptors_path,
    names_of_people,
    rows_digest,
    table_path,
)
from artsound.encoders.base import captions_come_first
from artsound.errors import BadData
from artsound.gpus import current_gpu
from artsound.recipe import Recipe
from artsound.schema import Caption, from_row, to_table
from artsound.stage import (
    Context,
    Outcome,
    Part,
    Report,
    Stage,
    in_order,
    part_path,
    recall,
    remember,
    split_into_parts,
)
from artsound.storage import digest, read_parquet, sha256_bytes, write_parquet

_ANY_LENGTH = Limits(1, 1_000_000)


def before_pairs(recipe: Recipe) -> bool:
    """Whether captions come before pairs, since a bridge of the recipe uses them."""
    return captions_come_first(recipe)


def item_rows(context: Context, side: Side) -> tuple[pa.Table, pa.Table]:
    """Records and descriptors of the side's items to caption, row for row by ascending key.

    These are the items of pairs, or all measured ones if a bridge uses captions.
    """
    return described_items(context, side, paired=not before_pairs(context.recipe))


def read_items(context: Context, side: Side, start: int, stop: int) -> list[CaptionItem]:
    """The side's items from `start` to before `stop`, in the order of `item_rows`."""
    return _items(context, side, range(start, stop))


def _items(context: Context, side: Side, places: Sequence[int]) -> list[CaptionItem]:
    """The side's items at some places in the order of `item_rows`."""
    chosen = pa.array(places, pa.int64())
    records, measured = (table.take(chosen).to_pylist() for table in item_rows(context, side))
    return [
        CaptionItem(
            side=side.name,
            item_id=record[side.key],
            record=from_row(side.name, record),
            measured=from_row(side.descriptors, values),
            media=context.workspace.path(record[side.path]),
        )
        for record, values in zip(records, measured, strict=True)
    ]


def check(context: Context) -> None:
    """Raise BadUsage or BadData if a captioner or vocabulary of the recipe is unavailable."""
    _fallback(context)
    for side in SIDES.values():
        _captioner(context, side)


def plan(context: Context) -> list[Part]:
    """Parts of each side's items by ascending id, with digests of their inputs.

    The inputs are the items' records and measurements, the recipe's own vocabulary and, for a
    model, its version, its settings in the recipe and the names that it must not use. A change of
    `captions.min_agreement` or of the other side's settings does not repeat a part.
    """
    recipe = context.recipe
    own_words = [words] if (words := _fallback(context).settings.get("vocabulary")) else []
    parts = []
    for side in SIDES.values():
        records, measured = item_rows(context, side)
        captioner = _captioner(context, side)
        writer: list[Any] = [captioner.name, captioner.version, Grounded.version, *own_words]
        if not isinstance(captioner, Grounded):
            other = next(one for one in SIDES.values() if one is not side)
            unused = {"vocabulary", "min_agreement", other.files, f"{other.name}_prompt"}
            settings = recipe.captions.model_dump(mode="json", exclude=unused)
            writer += [settings, sorted(names_of_people(context, side))]
            if recipe.captions.min_agreement:
                check_embedded(context.workspace, recipe, side)
        writer_digest = digest(writer)
        for name, start, stop in split_into_parts(side.files, len(records), recipe.run.part_size):
            tables = [table.slice(start, stop - start) for table in (records, measured)]
            inputs = {
                "side": side.files,
                "start": start,
                "stop": stop,
                "rows": digest([rows_digest(table) for table in tables]),
                "captioner": writer_digest,
            }
            parts.append(Part(name, stop - start, inputs))
    return parts


def work(context: Context, part: Part) -> Outcome:
    """Caption the items of one part."""
    side = SIDES[part.inputs["side"]]
    start, stop = part.inputs["start"], part.inputs["stop"]
    captioner = _captioner(context, side)
    path = part_path(context.workspace, STAGE.name, part.name)
    if isinstance(captioner, Grounded):
        table = _grounded(context, captioner, part)
    else:
        items = read_items(context, side, start, stop)
        if _is_checked(context, side):
            names = names_of_people(context, side)
            captions = _write(captioner, _fallback(context), items, context.recipe, names)
        else:
            texts = captioner.captions(items)
            captions = [_caption(captioner, *pair) for pair in zip(items, texts, strict=True)]
        table = to_table("caption", captions)
    sha256 = write_parquet(path, "caption", table, durable=False)
    return Outcome((path,), table.num_rows, digests={path: sha256})


def _grounded(context: Context, captioner: Grounded, part: Part) -> pa.Table:
    """The grounded captions of a part, of which those of unchanged items are not made again."""
    side = SIDES[part.inputs["side"]]
    start, stop = part.inputs["start"], part.inputs["stop"]
    ids = item_rows(context, side)[0][side.key].slice(start, stop - start).to_pylist()
    there, known = recall(
        context, part.inputs["captioner"], _captions_path(context, side), "caption",
        ids, _contents(context, side, start, stop), key="item_id",
    )  # fmt: skip
    items = _items(context, side, (start + np.flatnonzero(~there)).tolist())
    texts = captioner.captions(items)
    new = [_caption(captioner, *pair) for pair in zip(items, texts, strict=True)]
    return in_order(ids, [known, to_table("caption", new)], "item_id")


def _contents(context: Context, side: Side, start: int, stop: int) -> list[str]:
    """A digest of each item's record and measurements, computed once in a process."""
    workspace = context.workspace
    files = [
        workspace.pairs / "pairs.parquet",
        table_path(workspace, side),
        descriptors_path(workspace, side),
    ]

    def none() -> tuple[list[pl.DataFrame], list[str]]:
        frames = [pl.DataFrame(pl.from_arrow(table)) for table in item_rows(context, side)]
        return frames, [""] * len(frames[0])

    frames, known = context.once(f"contents of {side.files}", none, files)
    new = [place for place in range(start, stop) if not known[place]]
    lines = [_lines(frame[new]) for frame in frames]
    for place, pair in zip(new, zip(*lines, strict=True), strict=True):
        known[place] = sha256_bytes(b"".join(pair))
    return known[start:stop]


def _lines(frame: pl.DataFrame) -> list[bytes]:
    """Each row as a line of JSON."""
    text = io.BytesIO()
    frame.write_ndjson(text)
    return text.getvalue().splitlines()


def _captions_path(context: Context, side: Side) -> Path:
    return context.workspace.captions / f"{side.files}.parquet"


def finish(context: Context, results: Sequence[Report]) -> Outcome:
    """Merge the parts into captions/artworks.parquet and captions/tracks.parquet.

    `extra` has for each side: the captioner, the number of captions, the distinct share, words
    (mean, least, most), captions by what the checks say of them, replaced captions by reason and
    their share; if agreement was checked,
    the number of captions and the mean agreement.
    """
    workspace = context.workspace
    files: list[Path] = []
    extra: dict[str, Any] = {}
    for side in SIDES.values():
        own = [result for result in results if result.done.inputs["side"] == side.files]
        tables = [
            read_parquet(workspace.path(name), "caption") for result in own for name in result.files
        ]
        if not tables:
            raise BadData(f"{workspace.root} holds no {side.files} to caption: nothing is paired.")
        table, agreement = pa.concat_tables(tables).combine_chunks(), {}
        if _is_checked(context, side):
            captions = [from_row("caption", row) for row in table.to_pylist()]
            agreement = _replace_disagreeing(captions, context, side)
            _replace_repeated(captions, context, side)
            table = to_table("caption", captions)
        path = _captions_path(context, side)
        write_parquet(path, "caption", table)
        files.append(path)
        if isinstance(_captioner(context, side), Grounded):
            made_by = own[0].done.inputs["captioner"]
            ids, contents = table["item_id"].to_pylist(), _contents(context, side, 0, len(table))
            remember(workspace, made_by, path, ids, contents)
        chosen = _captioner(context, side).name
        extra[side.files] = {"captioner": chosen, **_summary(table), **agreement}
    return Outcome(tuple(files), extra=extra)


def needs(recipe: Recipe, part: Part) -> tuple[str, ...]:
    """A captioner that runs on this machine's GPU needs it for itself."""
    plugin, _ = captioner_plugin(SIDES[part.inputs["side"]].name, recipe.captions)
    return ("gpu",) if plugin.uses_gpu and recipe.captions.device != "cpu" else ()


STAGE = Stage(
    name="caption",
    version=2,
    sections=(),  # plan digests what the parts depend on
    plan=plan,
    work=work,
    finish=finish,
    needs=needs,
    check=check,
)


def _write(
    captioner: Captioner,
    fallback: Grounded,
    items: Sequence[CaptionItem],
    recipe: Recipe,
    names: frozenset[str],
) -> list[Caption]:
    """One caption for each item: the captioner's, or the grounded one if that fails."""
    texts = captioner.captions(items)
    limits = Limits(recipe.captions.min_words, recipe.captions.max_words)
    captions = []
    for item, raw in zip(items, texts, strict=True):
        text = tidy(raw)
        reason = failure(text, item, limits, names)
        captions.append(
            _fall_back(fallback, item, reason) if reason else _caption(captioner, item, text)
        )
    return captions


def _caption(captioner: Captioner, item: CaptionItem, text: str) -> Caption:
    return Caption(
        side=item.side,
        item_id=item.item_id,
        caption=text,
        captioner=captioner.name,
        captioner_version=captioner.version,
        prompt=captioner.prompt,
        settings=json.dumps(dict(captioner.settings), sort_keys=True),
        words=word_count(text),
        fallback_reason="",
        # Limits of length and names of other people are for models' texts, which were checked.
        check=failure(text, item, _ANY_LENGTH) or PASSED,
        agreement=-1.0,
    )


def _fall_back(fallback: Grounded, item: CaptionItem, reason: str) -> Caption:
    [text] = fallback.captions([item])
    return replace(_caption(fallback, item, text), fallback_reason=reason)


def _replace_disagreeing(captions: list[Caption], context: Context, side: Side) -> dict[str, Any]:
    """Replace captions whose agreement with their item is below the recipe's least."""
    recipe = context.recipe
    written = _own_texts(captions, context, side)
    if not recipe.captions.min_agreement or not written:
        return {}
    names = [captions[index].item_id for index in written]
    texts = [captions[index].caption for index in written]
    found = caption_agreements(context.workspace, recipe, side, names, texts)
    for index, agreement in zip(written, found.tolist(), strict=True):
        captions[index] = replace(captions[index], agreement=agreement)
        if agreement < recipe.captions.min_agreement:
            captions[index] = _replacement(context, side, index, "disagrees")
    return {"agreement": {"captions": len(written), "mean": float(found.mean())}}


def _replace_repeated(captions: list[Caption], context: Context, side: Side) -> None:
    """Replace captions of a model that nearly repeat an earlier one."""
    written = _own_texts(captions, context, side)
    repeats = near_duplicates([captions[index].caption for index in written])
    for index, repeated in zip(written, repeats, strict=True):
        if repeated >= 0:
            captions[index] = _replacement(context, side, index, "near-duplicate")


def _own_texts(captions: Sequence[Caption], context: Context, side: Side) -> list[int]:
    """The indices of captions to check that have not been replaced so far."""
    if not _is_checked(context, side):
        return []
    return [index for index, caption in enumerate(captions) if not caption.fallback_reason]


def _is_checked(context: Context, side: Side) -> bool:
    return captioner_plugin(side.name, context.recipe.captions)[0].checked


def _replacement(context: Context, side: Side, index: int, reason: str) -> Caption:
    [item] = read_items(context, side, index, index + 1)
    return _fall_back(_fallback(context), item, reason)


def _summary(captions: pa.Table) -> dict[str, Any]:
    words, texts = captions["words"].to_pylist(), captions["caption"].to_pylist()
    fallbacks = Counter(reason for reason in captions["fallback_reason"].to_pylist() if reason)
    return {
        "captions": len(captions),
        "distinct_share": len(set(texts)) / len(captions),
        "mean_words": sum(words) / len(words),
        "min_words": min(words),
        "max_words": max(words),
        "checks": dict(sorted(Counter(captions["check"].to_pylist()).items())),
        "fallbacks": dict(sorted(fallbacks.items())),
        "fallback_share": fallbacks.total() / len(captions),
    }


def _fallback(context: Context) -> Grounded:
    """The captioner whose captions replace those that fail."""
    path = context.recipe.captions.vocabulary
    return context.once(
        "grounded captioner", lambda: Grounded(load_vocabulary(path)), _vocabulary_files(context)
    )


def _vocabulary_files(context: Context) -> list[Path]:
    path = context.recipe.captions.vocabulary
    return [Path(path)] if path else []


def _captioner(context: Context, side: Side) -> Captioner:
    # One per side and, for models, per GPU, so that each is loaded once there. Only a model asks
    # for its GPU: that imports torch, which takes seconds in each worker.
    plugin, _ = captioner_plugin(side.name, context.recipe.captions)
    place = f" on {current_gpu()}" if plugin.uses_gpu else ""
    responses = context.workspace.captions / "responses"
    return context.once(
        f"captioner of {side.files}{place}",
        lambda: open_captioner(side.name, context.recipe.captions, responses),
        _vocabulary_files(context),
    )
