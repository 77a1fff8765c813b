"""Limits of time and memory for decoding: untrusted media are decoded in a child process.

A decoder that hangs, crashes or uses up memory is C code, which Python cannot interrupt. So each
thread that decodes has a child process, which decodes one item at a time until its parent ends.
Linux ends a child whose item takes more processor time than allowed (the timer ITIMER_PROF), and
refuses it memory (RLIMIT_DATA); that item falls out, and the next one is given to a new child.

The limit is of processor time, so that a busy machine rejects no more items than an idle one.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, ParamSpec, TypeVar

from artsound.errors import BadData
from artsound.media import MediaError
from artsound.processes import clean_up_with, keep_freed_memory

# The largest that is accepted, 4 hours of sound and a picture of 179 million pixels, take less.
MAX_SECONDS = 120.0  # of processor time
MAX_BYTES = 4 << 30  # of memory, besides what the process needs for itself
MAX_WAIT = 1200.0  # seconds by the clock, for a decoder that waits and computes nothing
_PATIENCE = 10.0  # seconds for a child to end
_TOO_SLOW = {"image": "image-too-slow", "audio": "audio-too-slow"}
_TOO_LARGE = {"image": "image-too-large", "audio": "audio-too-large"}
_CRASH = {"image": "image-crash", "audio": "audio-crash"}
_NAMES = {"image": "the picture", "audio": "the clip"}
_READY = "ready"
_MAIN = "import sys; sys.path[:] = sys.argv[2:]; from artsound.media import limits; limits.serve()"

Options = ParamSpec("Options")
Result = TypeVar("Result")


def limited(function: Callable[..., Result], kind: str, data: bytes, **options: object) -> Result:
    """Call `function(data, **options)` in a child process, within the limits of one item.

    Args:
        function: A function of a module that decodes; the child imports it.
        kind: What is decoded, as reasons begin: "image" or "audio".
        data: The encoded picture or clip.
        options: Further arguments, which can be pickled.

    Returns:
        What the function returns.

    Raises:
        MediaError: What the function raises; or with the reasons KIND-too-slow (over MAX_SECONDS
            of processor time), KIND-too-large (over MAX_BYTES of memory) and KIND-crash (the
            decoder ended its process).
        BadData: No child can be started.
    """
    for attempt in (1, 2):
        child = _borrow(new=attempt > 1)
        try:
            answer = child.ask((function, kind, data, options, MAX_SECONDS, MAX_BYTES))
        except (EOFError, OSError):
            ended_by = child.end()
            if ended_by == signal.SIGKILL and not child.is_late and attempt == 1:
                continue  # from outside: the kernel may have been short of memory
            raise _ended(kind, ended_by, child.is_late) from None
        except BaseException:
            child.process.kill()
            child.end()
            raise
        _give_back(child)
        if isinstance(answer, Exception):
            raise answer
        return answer
    raise AssertionError("the second attempt returns or raises")


class _Child:
    """A process that decodes one item at a time."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self.process = subprocess.Popen(
                    [sys.executable, "-c", _MAIN, str(theirs.fileno()), *sys.path],
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                )
            except OSError as error:
                ours.close()
                raise BadData(
                    f"No process to decode in can be started ({error.strerror}): free memory, or "
                    "allow this user more processes."
                ) from error
        self.pipe = Connection(ours.detach())
        self.is_ready = self.is_late = False
        _all.add(self)

    def ask(self, request: tuple[Any, ...]) -> Any:
        """The child's answer; EOFError or OSError if it ends before."""
        if not self.is_ready:
            try:
                self.is_ready = self.pipe.recv() == _READY
            except (EOFError, OSError) as error:
                code = self.end()
                raise BadData(
                    f"The process to decode in ended as it started (signal or code {code}): "
                    "free memory, and try again."
                ) from error
        self.pipe.send(request)
        if not self.pipe.poll(MAX_WAIT):
            self.is_late = True
            raise EOFError
        return self.pipe.recv()

    def end(self) -> int:
        """End the process; the number of the signal that ended it, or its exit code."""
        with contextlib.suppress(OSError):
            self.pipe.close()
        if self.is_late or not self.is_ready:
            self.process.kill()
        try:
            self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
        _all.discard(self)
        return abs(self.process.wait())


_idle: list[_Child] = []
_all: set[_Child] = set()
_lock = threading.Lock()


def _borrow(*, new: bool) -> _Child:
    with _lock:
        if _idle and not new:
            return _idle.pop()
    clean_up_with(_kill_all)
    return _Child()


def _give_back(child: _Child) -> None:
    with _lock:
        _idle.append(child)


@atexit.register
def _end_idle() -> None:
    while _idle:
        _idle.pop().end()


def _kill_all() -> None:
    for child in tuple(_all):
        child.process.kill()


def _forget() -> None:
    """A forked process has no share in its parent's children."""
    _idle.clear()
    _all.clear()


os.register_at_fork(after_in_child=_forget)


def _ended(kind: str, by: int, late: bool) -> MediaError:
    what = _NAMES[kind]
    if late or by == signal.SIGPROF:
        limit = f"{MAX_WAIT:g} s" if late else f"{MAX_SECONDS:g} s of processor time"
        return MediaError(_TOO_SLOW[kind], f"{what} takes over {limit} to decode")
    name = f"signal {by}" if by else "no signal"
    with contextlib.suppress(ValueError):
        name = signal.Signals(by).name
    return MediaError(_CRASH[kind], f"{what} makes its decoder crash ({name})")


def serve() -> None:
    """Decode what comes over the socket whose number is the first argument, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    keep_freed_memory()
    with Connection(int(sys.argv[1])) as pipe, contextlib.suppress(EOFError, OSError):
        pipe.send(_READY)
        while True:
            pipe.send(_answer(*pipe.recv()))


def _answer(
    function: Callable[..., object],
    kind: str,
    data: bytes,
    options: dict[str, object],
    seconds: float,
    size: int,
) -> object:
    what = _NAMES[kind]
    _limit_memory(size)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        return function(data, **options)
    except MediaError as error:
        return error
    except MemoryError:
        return MediaError(
            _TOO_LARGE[kind], f"{what} needs over {size >> 20:,} MiB of memory to decode"
        )
    except Exception as error:  # noqa: BLE001  decoders raise anything on hostile bytes
        name = type(error).__name__
        return MediaError(_CRASH[kind], f"{what} does not decode ({name}: {error})"[:200])
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _limit_memory(size: int) -> None:
    """Refuse this process more than `size` bytes besides what it has; on Linux only."""
    if sys.platform == "linux":
        with open("/proc/self/statm", "rb") as pages:
            most = int(pages.read().split()[5]) * resource.getpagesize() + size
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        if hard == resource.RLIM_INFINITY or most <= hard:
            resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
