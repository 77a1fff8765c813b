"""Read-ahead: work for later items is done in threads while an earlier result is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_ahead(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    """Yield `function(item)` of each item, in the order of the items.

    Args:
        pool: Does the calls.
        function: Is called once for each item.
        items: Is consumed lazily.
        ahead: How many items beyond the one that is waited for may be in the pool.

    Yields:
        The results. When the iteration is closed early or fails, calls not begun are cancelled.

    Raises:
        Exception: What `function` raises for an item, when that item's turn comes.
    """
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
