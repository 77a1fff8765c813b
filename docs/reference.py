"""Pages of the public functions, made from their docstrings: `make docs`."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pdoc

import artsound

MODULES = (
    "artsound",
    "artsound.errors",
    "artsound.recipe",
    "artsound.schema",
    "artsound.storage",
    "artsound.stage",
    "artsound.rights",
    "artsound.status",
    "artsound.progress",
    "artsound.media",  # with its modules
    "!artsound.media",
    "artsound.encoders.base",
    "artsound.encoders.affect_audio",
    "artsound.encoders.affect_image",
    "artsound.pairing.affect",
    "artsound.pairing.assignment",
    "artsound.pairing.bridge",
    "artsound.pairing.search",
    "artsound.pairing.evidence",
    "artsound.pairing.match",
    "artsound.pairing.splits",
    "artsound.captions.base",
    "artsound.captions.captioners",
    "artsound.captions.checks",
    "artsound.captions.grounded",
    "artsound.shards.dataset",
    "artsound.shards.stream",
    "artsound.shards.mix",
    "artsound.shards.decode",
    "artsound.shards.subset",
    "artsound.shards.verify",
    "artsound.shards.release",
    "artsound.shards.withdraw",
    "artsound.shards.push",
    "artsound.shards.sidecar",
    "artsound.shards.external",
    "artsound.shards.order",
    "artsound.shards.format",
    "artsound.shards.index",
    "artsound.training.config",
    "artsound.training.loop",
    "artsound.training.generate",
    "artsound.training.evaluate",
    "artsound.training.metrics",
    "artsound.training.model",
    "artsound.training.pictures",
    "artsound.reports.stats",
    "artsound.reports.judging",
    "artsound.reports.browse",
    "artsound.reports.card",
)


def build(out: Path) -> None:
    """Write the reference to `out`/index.html; what pdoc would warn of is raised."""
    pdoc.render.configure(
        docformat="google",
        footer_text=f"ArtSound {artsound.__version__}",
        show_source=False,
        template_directory=Path(__file__).parent / "templates",
    )
    # What our annotations take from type checkers alone, for pdoc reads them at run time.
    typeshed: Any = sys.modules.setdefault("_typeshed", ModuleType("_typeshed"))
    typeshed.DataclassInstance = Any
    os.environ["PDOC_ALLOW_EXEC"] = "1"  # a library asks the machine for its processors
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module=r"pdoc(\.|$)")
        pdoc.pdoc(*MODULES, output_directory=out)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
