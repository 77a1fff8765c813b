"""Read-ahead: work for later items is done in threads while an earlier result is used."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, wait
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_AT_EXIT = 1.0  # seconds that calls under way have when the process ends


def ordered_ahead(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Generator[Result, None, None]:
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
                yield _result(waiting.popleft())
        while waiting:
            yield _result(waiting.popleft())
    finally:
        for future in waiting:
            future.cancel()


def _result(future: Future[Result]) -> Result:
    # A signal that comes just before the main thread blocks does not wake it: look up again.
    while not future.done():
        wait((future,), timeout=0.5)
    return future.result()


def in_a_thread(items: Iterator[Result]) -> Iterator[Result]:
    """Make the items of an iterator in a thread of their own, one ahead.

    Args:
        items: A generator; it is closed in that thread.

    Yields:
        Its items.

    Raises:
        Exception: What the generator raises, when that item's turn comes.
    """
    end: Any = object()
    pool = DaemonThreads(1)
    made = ordered_ahead(pool, lambda _: next(items, end), itertools.repeat(None), 1)
    try:
        with contextlib.closing(made):
            # Unlike a loop's variable, `takewhile` holds on to no item that it has given.
            yield from itertools.takewhile(lambda item: item is not end, made)
    finally:
        pool.submit(getattr(items, "close", lambda: None))
        pool.shutdown(cancel_futures=False)


class DaemonThreads(Executor):
    """A pool of threads that the end of the process does not wait for.

    A `ThreadPoolExecutor` is joined at exit, so that a server that does not answer holds up
    Ctrl-C until the request times out. Calls under way at exit have a second to end: a thread
    that the interpreter stops within a C++ library, such as a decoder, would abort the process.

    Args:
        threads: The most threads; each is started when it is first needed.
    """

    def __init__(self, threads: int) -> None:
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = (
            queue.SimpleQueue()
        )
        self._left = threads
        self._started: list[threading.Thread] = []
        self._closed = False
        with _POOLS_LOCK:
            _POOLS.add(self)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call a function in a thread of the pool. After `shutdown` the call is cancelled."""
        future: Future[Any] = Future()
        if self._closed:
            future.cancel()
            return future
        self._calls.put((future, lambda: fn(*args, **kwargs)))
        if self._left:
            self._left -= 1
            thread = threading.Thread(target=self._work, daemon=True)
            thread.start()
            self._started.append(thread)
        return future

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = True) -> None:  # noqa: ARG002
        """Cancel the calls that have not begun; those under way are left to themselves."""
        self._closed = True
        while cancel_futures:
            try:
                call = self._calls.get_nowait()
            except queue.Empty:
                break
            if call is not None:
                call[0].cancel()
        for _ in self._started:
            self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            future, function = call
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function())
            except BaseException as error:  # noqa: BLE001  raised where the result is asked for
                future.set_exception(error)
            del call, future, function  # or the last result lives until the next call


_POOLS: weakref.WeakSet[DaemonThreads] = weakref.WeakSet()
_POOLS_LOCK = threading.Lock()


def _end_all() -> None:
    """Cancel what no pool has begun, and wait a moment for what is under way."""
    with _POOLS_LOCK:
        pools = list(_POOLS)
    until = time.monotonic() + _AT_EXIT
    for pool in pools:
        pool.shutdown()
    for thread in itertools.chain.from_iterable(pool._started for pool in pools):
        thread.join(max(0.0, until - time.monotonic()))


atexit.register(_end_all)
