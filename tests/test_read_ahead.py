"""Read-ahead: the order of results, how far it goes, and what is left undone."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from artsound.read_ahead import in_a_thread, ordered_ahead


def test_results_come_in_the_order_of_the_items() -> None:
    last = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert last.wait(60)  # the first call ends after those that were begun behind it
        if number == 2:
            last.set()
        return number * number

    with ThreadPoolExecutor(3) as pool:
        assert list(ordered_ahead(pool, work, range(3), 2)) == [0, 1, 4]


@pytest.mark.parametrize("ahead", [0, 1, 5])
def test_items_are_taken_no_further_ahead_than_asked(ahead: int) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    with ThreadPoolExecutor(2) as pool:
        results = ordered_ahead(pool, str, items(), ahead)
        assert taken == []
        for number in range(20):
            assert next(results) == str(number)
            assert len(taken) == min(20, number + 1 + ahead)
        assert list(results) == []


def test_an_error_is_raised_in_its_turn() -> None:
    with ThreadPoolExecutor(2) as pool:
        results = ordered_ahead(pool, (1).__truediv__, [1, 2, 0, 4], 3)
        assert [next(results), next(results)] == [1.0, 0.5]
        with pytest.raises(ZeroDivisionError):
            next(results)


def test_when_it_is_closed_early_calls_not_begun_are_cancelled() -> None:
    begun: list[int] = []
    go = threading.Event()

    def work(number: int) -> int:
        begun.append(number)
        if number:
            assert go.wait(60)
        return number

    with ThreadPoolExecutor(1) as pool:
        results = ordered_ahead(pool, work, range(10), 9)
        assert next(results) == 0
        results.close()
        go.set()
    assert len(begun) <= 2


def test_items_are_made_in_a_thread_one_ahead_and_the_generator_is_closed_there() -> None:
    made: list[int] = []
    closed = threading.Event()
    thread: list[str] = []

    def items() -> Iterator[int]:
        try:
            for number in range(5):
                made.append(number)
                thread.append(threading.current_thread().name)
                yield number
        finally:
            closed.set()

    ahead = in_a_thread(items())
    assert next(ahead) == 0
    ahead.close()  # type: ignore[attr-defined]
    assert closed.wait(10)
    assert len(made) <= 3
    assert set(thread) - {threading.current_thread().name} == set(thread)
    assert list(in_a_thread(items())) == [0, 1, 2, 3, 4]

    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("the second")

    faulty = in_a_thread(failing())
    assert next(faulty) == 1
    with pytest.raises(ValueError, match="the second"):
        next(faulty)


def test_at_exit_calls_under_way_may_end_but_a_call_that_hangs_is_left() -> None:
    # The interpreter stops daemon threads; within a C++ library that aborts the process.
    program = """
import threading
from artsound.read_ahead import DaemonThreads
begun = threading.Barrier(3)
def call(what):
    begun.wait()
    what()
def short():
    threading.main_thread().join()  # until the interpreter begins to end
    print("ended", flush=True)
pool = DaemonThreads(2)
pool.submit(call, short)
pool.submit(call, threading.Event().wait)
pool.submit(print, "never")
begun.wait()
"""
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"ended\n", b"")
