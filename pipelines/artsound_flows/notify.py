"""Telling somebody that a build ended: a webhook, or a function of one's own.

`run.notify` of the recipe is an address that gets a JSON POST, or `python:module:function`, which
is called with the same values.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Any

from artsound.errors import BadUsage

_SECONDS = 10.0


def notify(target: str, values: Mapping[str, Any]) -> None:
    """Send `values` to `target`. Raises BadUsage, naming it, when that cannot be done."""
    if target.startswith(("http://", "https://")):
        _post(target, values)
    elif target.startswith("python:") and target.count(":") == 2:
        _call(target, values)
    else:
        raise BadUsage(
            f"run.notify is {target!r}: give an http(s) address or python:module:function."
        )


def on_end(flow: Any, flow_run: Any, state: Any) -> None:
    """Prefect's hook at the end of a build, however it ended."""
    parameters = flow_run.parameters
    recipe = parameters.get("recipe")
    run = recipe.get("run") if isinstance(recipe, Mapping) else getattr(recipe, "run", None)
    target = run.get("notify", "") if isinstance(run, Mapping) else getattr(run, "notify", "")
    message, out = state.message or "", parameters.get("out", "")
    announce(target, state.type.value.lower(), message, out, str(flow_run.id), flow.name)


def announce(
    target: str, state: str, message: str, out: object, flow_run: str = "", flow: str = "build"
) -> None:
    """Notify `target`, unless it is empty, of a build's end; `flow_run` is empty without Prefect.

    A message that cannot be delivered is a line on standard error: the build is what it is.
    """
    if not target:
        return
    values = {
        "flow": flow, "flow_run": flow_run, "state": state, "message": message, "out": str(out),
    }  # fmt: skip
    try:
        notify(target, values)
    except BadUsage as error:
        print(f"artsound: {error}", file=sys.stderr, flush=True)


def _post(target: str, values: Mapping[str, Any]) -> None:
    import requests

    try:
        requests.post(target, json=dict(values), timeout=_SECONDS).raise_for_status()
    except requests.RequestException as error:
        raise BadUsage(f"Nobody could be told at {target}: {type(error).__name__}.") from error


def _call(target: str, values: Mapping[str, Any]) -> None:
    _, module, name = target.split(":")
    try:
        getattr(importlib.import_module(module), name)(dict(values))
    except Exception as error:  # somebody else's function
        raise BadUsage(f"{target} could not be called: {type(error).__name__}: {error}.") from error
