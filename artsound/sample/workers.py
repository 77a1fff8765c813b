"""Spreads the painting and synthesising over the cores: no file of the sample needs another."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

from artsound.progress import Progress

Mapper = Callable[..., Iterable[Any]]


@contextmanager
def over_all_cores(progress: Progress) -> Iterator[Mapper]:
    """A `map` over all cores, results in order, that tells of each; plain where there is one."""
    with ExitStack() as stack:
        over: Mapper = map
        if (cores := len(os.sched_getaffinity(0))) > 1:
            context = multiprocessing.get_context("spawn")
            over = stack.enter_context(ProcessPoolExecutor(cores, mp_context=context)).map

        def told(function: Callable[..., Any], *items: Iterable[Any]) -> Iterator[Any]:
            for result in over(function, *items):
                progress.advance(1)
                yield result

        yield told
