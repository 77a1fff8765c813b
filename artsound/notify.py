"""A message at the end of a build: to a webhook, or to a Python function.

`run.notify` of the recipe is an address that gets a JSON POST, or `python:module:function`, which
is called with the same values.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from artsound.errors import BadUsage, redacted
from artsound.progress import report_error

_SECONDS = 10.0


def notify(target: str, values: Mapping[str, Any]) -> None:
    """Send `values` to `target`; BadUsage if that fails."""
    if target.startswith(("http://", "https://")):
        _post(target, values)
    elif target.startswith("python:") and target.count(":") == 2:
        _call(target, values)
    else:
        raise BadUsage(
            f"run.notify is {target!r}: give an http(s) address or python:module:function."
        )


def announce(
    target: str, state: str, message: str, out: object, flow_run: str = "", flow: str = "build"
) -> None:
    """Notify `target`, unless it is empty, of a build's end; `flow_run` is empty without Prefect.

    A failed delivery prints a line to standard error, and does not fail the build.
    """
    if not target:
        return
    values = {
        "flow": flow, "flow_run": flow_run, "state": state,
        "message": redacted(message), "out": str(out),
    }  # fmt: skip
    try:
        notify(target, values)
    except BadUsage as error:
        report_error(str(error))


def _post(target: str, values: Mapping[str, Any]) -> None:
    import requests

    try:
        requests.post(target, json=dict(values), timeout=_SECONDS).raise_for_status()
    except requests.RequestException as error:
        raise BadUsage(f"{target} could not be notified: {type(error).__name__}.") from error


def _call(target: str, values: Mapping[str, Any]) -> None:
    _, module, name = target.split(":")
    try:
        getattr(importlib.import_module(module), name)(dict(values))
    except Exception as error:  # whatever the user's function raises
        raise BadUsage(f"{target} could not be called: {type(error).__name__}: {error}.") from error
