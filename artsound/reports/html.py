"""The report's page: one self-contained HTML file, filled from plain values."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


def render_report(values: Mapping[str, Any]) -> str:
    """The page for `values`, whose names are those of report.html.j2.

    Every text is escaped; values that are SVG charts come as `markupsafe.Markup`. A missing
    value is an error, never a blank.
    """
    template = files("artsound.reports") / "report.html.j2"
    return environment().from_string(template.read_text(encoding="utf-8")).render(**values)


def environment() -> Environment:
    """Templates whose every text is escaped, and in which a missing value is an error."""
    from jinja2 import Environment, StrictUndefined

    return Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def markup(svg: str) -> Any:
    """A chart of our own drawing, which goes into the page as it is."""
    from markupsafe import Markup

    return Markup(svg)
