"""Atomic writes, content digests, and the layout of a workspace.

A file appears under its final name only when all of its bytes are on disk: temporary name in the
same folder, flush, fsync, rename, fsync of the folder. A killed process leaves temporary files,
which the next build removes (`Workspace.sweep`).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from artsound.errors import ArtSoundError, BadData, BadUsage
from artsound.keys import with_text_keys
from artsound.progress import command_line
from artsound.schema import arrow_schema, check_columns, check_table, to_table
from artsound.untrusted import check_path, parse_json, read_table

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from artsound.recipe import Recipe


EFFECTS = "effects.json"  # of an evaluation: each system's effect of the picture, by key
TEMPORARY_PREFIX = ".tmp-"
_TEMPORARY = re.compile(r"\.tmp-([0-9a-f]{8})-(\d{1,10})-(\d{1,20})-")
_OF_THE_HOST = "pid:[4026531836]"  # PROC_PID_INIT_INO of Linux: not in a container
_OWN_BIRTH: dict[int, int] = {}  # by number of the process

_ROW_GROUP = 1 << 14  # rows
_AT_ONCE = 1 << 16  # bytes of a file to digest that are read first
_DEEPEST = 200  # characters of the longest path below a workspace, about

# mkstemp's mode 0600 would hide the files from others. The mask can only be read by setting it,
# which is safe here, before threads are started.
_UMASK = os.umask(0o022)
os.umask(_UMASK)

_DISK_FAULTS = {
    errno.ENOSPC: "the disk is full: free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up: free some space and run the same command again",
    errno.EACCES: "no permission to write there: choose another --out or change the permissions",
    errno.EPERM: "no permission to write there: choose another --out or change the permissions",
    errno.EROFS: "the file system is read-only: choose another --out",
    errno.EFBIG: "the file would be larger than the limit set here: raise it (ulimit -f)",
    errno.ENOTDIR: "a part of the path is a file, not a folder: choose another --out",
    errno.EEXIST: "a part of the path is a file, not a folder: choose another --out",
    errno.ENAMETOOLONG: "the name is too long for this file system: choose a shorter --out",
}


@dataclass(frozen=True)
class Workspace:
    """The folder of a build, and the paths in it.

    `root` may be relative; it is created when something is first written.
    """

    root: Path

    @property
    def sources(self) -> Path:
        """Downloads from servers, in their published layouts."""
        return self.root / "sources"

    @property
    def catalog(self) -> Path:
        return self.root / "catalog"

    @property
    def media(self) -> Path:
        return self.root / "media"

    @property
    def embeddings(self) -> Path:
        return self.root / "embeddings"

    @property
    def captions(self) -> Path:
        return self.root / "captions"

    @property
    def pairs(self) -> Path:
        return self.root / "pairs"

    @property
    def shards(self) -> Path:
        return self.root / "shards"

    @property
    def report(self) -> Path:
        return self.root / "report"

    @property
    def training(self) -> Path:
        return self.root / "training"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def parts(self) -> Path:
        """Parts of every stage with their markers, from which a build is resumed."""
        return self.root / "parts"

    @property
    def recipe(self) -> Path:
        return self.root / "recipe.toml"

    def path(self, relative: str) -> Path:
        """The file that records call `relative` (posix); BadData if it is outside the root."""
        return Path(self.place(relative))

    def place(self, relative: str) -> str:
        """The same as text, in a tenth of the time: builds have some 200,000 media."""
        if relative.startswith("/") or ".." in relative.split("/"):
            raise BadData(f"{relative!r} is not inside the workspace {self.root}.")
        return f"{self.root}/{relative}"

    def relative(self, path: Path) -> str:
        """`path` relative to the root, in posix form, as in records."""
        return path.relative_to(self.root).as_posix()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the workspace for one build.

        The kernel holds the lock (flock) and releases it if the build is killed.

        Raises:
            BadUsage: Another process has locked it.
        """
        make_folder(self.root)
        path = self.root / ".lock"
        try:
            handle = path.open("a")
        except OSError as error:
            raise _disk_fault(path, error) from error
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BadUsage(
                    f"The workspace {self.root} is locked by another build: "
                    "wait for it, or choose another --out."
                ) from error
            yield

    def sweep(self) -> None:
        """Remove the temporary files of a killed build; call it with the workspace locked.

        Only in the folders of builds, and only those whose name says that a process of this
        machine made them that is no longer running: other commands may be writing here too, and
        a user's own files may have any name.
        """
        folders = (
            *(self.catalog, self.media, self.embeddings, self.captions, self.pairs, self.shards),
            *(self.report, self.runs, self.parts, self.sources),
        )
        found = [path for folder in folders for path in folder.rglob(f"{TEMPORARY_PREFIX}*")]
        found += self.root.glob(f"{TEMPORARY_PREFIX}*")
        for folder in sorted({path.parent for path in found}):
            sweep(folder)


def check_out(root: Path) -> None:
    """Check that a workspace can be created at `root`, without creating it.

    Raises:
        BadUsage: The path is a file, too long for the files of a build, or not valid UTF-8.
        BadData: It is not writable.
    """
    check_path(root)
    if root.exists() and not root.is_dir():
        raise BadUsage(f"{root} is a file: give --out a folder.")
    check_path(root.absolute() / ("x" * _DEEPEST))
    folder = root.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(prefix=TEMPORARY_PREFIX, dir=folder):
            pass
    except OSError as error:
        raise _disk_fault(root, error) from error


def temporary_prefix() -> str:
    """What the name of a temporary file begins with: the machine and the process that writes it."""
    pid = os.getpid()
    if _OWN_BIRTH.get(pid) is None:  # a forked process is another one
        _OWN_BIRTH.clear()
        _OWN_BIRTH[pid] = _birth()
    return f"{TEMPORARY_PREFIX}{_machine()}-{pid}-{_OWN_BIRTH[pid]}-"


def _is_abandoned(name: str) -> bool:
    """Whether a temporary file's process ran on this machine and has ended."""
    match = _TEMPORARY.match(name)
    if match is None or match[1] != _machine():
        return False
    return not _is_running(int(match[2]), int(match[3]))


def _machine() -> str:
    return sha256_bytes(_host().encode())[:8]


def _host() -> str:
    """The name of this machine, in a container with the number space of its processes.

    Containers may share the name of their host, but not see each other's processes.
    """
    name = socket.gethostname()
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:  # not Linux
        return name
    return name if space == _OF_THE_HOST else f"{name} {space}"


def begun(workspace: Workspace, recipe: Recipe) -> bool:
    """Whether a build by exactly this recipe was started in the workspace."""
    try:
        return workspace.recipe.read_text(encoding="utf-8") == recipe.to_toml()
    except (OSError, ValueError):
        return False


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of `data`, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: str | Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        if size < _AT_ONCE:  # most files; without a file object, which takes as long as they do
            data = os.read(descriptor, size + 1)
            if len(data) == size:
                return sha256_bytes(data)
            os.lseek(descriptor, 0, os.SEEK_SET)
        with open(descriptor, "rb", buffering=0, closefd=False) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    finally:
        os.close(descriptor)


# As `json.dumps`, which makes an encoder at every call.
_canonical = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
).encode


def digest(value: Any) -> str:
    """SHA-256 of `value` as canonical JSON: sorted keys, no white space, no NaN."""
    return sha256_bytes(_canonical(value).encode())


def make_folder(path: Path) -> Path:
    """Create the folder `path` with its parents; BadData if that fails."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _disk_fault(path, error) from error
    return path


def sweep(folder: Path, mark: str = "") -> None:
    """Remove what killed processes of this machine left in `folder` while they wrote into it.

    Args:
        folder: Searched without its folders.
        mark: Remove only names with this part.
    """
    for path in sorted(folder.glob(f"{TEMPORARY_PREFIX}*")):
        if mark in path.name and _is_abandoned(path.name):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    path.unlink()


@contextlib.contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A temporary folder beside `out` that becomes `out` if the block ends without an exception.

    What a killed process left of an earlier attempt at the same `out` is removed.

    Raises:
        BadUsage: `out` is a file or a folder that is not empty.
        BadData: Its parent cannot be created.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadUsage(f"{out} is in use: give --out a new folder.")
    make_folder(out.parent)
    mark = f"-{sha256_bytes(out.name.encode('utf-8', 'surrogateescape'))[:8]}-"
    sweep(out.parent, mark)
    place = Path(tempfile.mkdtemp(prefix=f"{temporary_prefix()}x{mark}", dir=out.parent))
    try:
        place.chmod(0o755)
        yield place
        os.replace(place, out)  # an empty folder may be there
        sync_folder(out.parent)
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def atomic_write(path: Path, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """Open a binary file that becomes `path` only if the block ends without an exception.

    Args:
        path: The file to write.
        durable: Whether it is on disk, safe from a power failure, when the block ends; otherwise
            once `sync_file_system` has run, which is faster for many small files.

    Yields:
        The temporary file.

    Raises:
        BadData: The disk is full or not writable.
    """
    make_folder(path.parent)
    try:
        descriptor, name = tempfile.mkstemp(prefix=temporary_prefix(), dir=path.parent)
    except OSError as error:
        raise _disk_fault(path, error) from error
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            os.fchmod(file.fileno(), 0o666 & ~_UMASK)
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
        if durable:
            sync_folder(path.parent)
    except OSError as error:
        raise _disk_fault(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(path: Path) -> None:
    """Flush renames in the folder `path` to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file_system(path: Path) -> None:
    """Flush all files of the file system of `path`, at about the cost of one fsync."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
            raise _disk_fault(path, OSError(ctypes.get_errno(), "cannot be flushed to disk"))
    except AttributeError:  # no syncfs here: flush every file system instead
        os.sync()
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> str:
    """Write `data` to `path` atomically; returns its SHA-256."""
    with atomic_write(path, durable=durable) as file:
        file.write(data)
    return sha256_bytes(data)


def write_json(path: Path, value: Any) -> str:
    """Write `value` as readable JSON with sorted keys, atomically; returns its SHA-256."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return write_bytes(path, text.encode() + b"\n")


def read_json(path: Path) -> Any:
    """Read the value of a JSON file; BadData if it is missing or damaged."""
    try:
        return parse_json(path.read_bytes())
    except FileNotFoundError as error:
        raise BadData(f"{path} is missing: run the stage that writes it first.") from error
    except (OSError, ValueError) as error:
        raise BadData(f"{path} cannot be read as JSON: {error}.") from error


def write_parquet(
    path: Path,
    name: str,
    rows: pa.Table | Iterable[DataclassInstance | Mapping[str, Any]],
    *,
    durable: bool = True,
) -> str:
    """Write rows as a Parquet file.

    Args:
        path: The file.
        name: The schema of the rows, as in schemas/`name`.json.
        rows: A table, or records or mappings.
        durable: As in `atomic_write`. A part's files need not be: `run_part` flushes them.

    Returns:
        SHA-256 of the file. Equal rows give equal bytes under one pyarrow version.

    Raises:
        BadData: A row breaks the schema, or the file cannot be written.
    """
    table = rows if isinstance(rows, pa.Table) else to_table(name, rows)
    check_table(name, table)
    table = table.cast(arrow_schema(name))
    with atomic_write(path, durable=durable) as file:
        pq.write_table(table, file, compression="zstd", write_statistics=True)
    return sha256_file(path)


def write_parquet_tables(path: Path, name: str, tables: Iterable[pa.Table]) -> str:
    """Write tables from an iterator as a Parquet file; as `write_parquet`, in bounded memory.

    The file's row groups, and so its bytes, do not depend on how the rows are divided into tables.
    """
    schema = arrow_schema(name)
    waiting = schema.empty_table()

    def write(rows: pa.Table) -> None:
        rows = rows.combine_chunks()
        check_table(name, rows)
        writer.write_table(rows)

    with atomic_write(path) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for table in tables:
            check_columns(name, table)
            waiting = pa.concat_tables([waiting, table.cast(schema)])
            while waiting.num_rows >= _ROW_GROUP:
                write(waiting.slice(0, _ROW_GROUP))
                waiting = waiting.slice(_ROW_GROUP)
        if waiting.num_rows:
            write(waiting)
    return sha256_file(path)


def read_parquet(path: Path, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file of `name` records and check it against its schema.

    Args:
        path: The file.
        name: The schema of the rows.
        columns: The columns to read, which are not checked against the schema; None: all.

    Returns:
        The table.

    Raises:
        BadData: The file is missing or damaged, or its rows break the schema.
    """
    try:
        table = with_text_keys(read_table(path, columns))
    except FileNotFoundError as error:
        raise BadData(f"{path} is missing: run the stage that writes it first.") from error
    except (OSError, ValueError) as error:
        raise BadData(f"{path} is not a readable parquet file: {error}.") from error
    if columns is None:
        check_table(name, table)
    return table


def store_media(workspace: Workspace, kind: str, data: bytes, suffix: str) -> tuple[str, str]:
    """Store original bytes under their digest: media/`kind`/ab/`sha256``suffix`.

    Bytes already there are not written again. The file is durable once `sync_file_system` has run,
    which every part does before its marker is written.

    Returns:
        The path relative to the workspace, and the digest.
    """
    sha256 = sha256_bytes(data)
    relative = f"media/{kind}/{sha256[:2]}/{sha256}{suffix}"
    path = workspace.path(relative)
    try:
        there = path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        there = False
    if not there:
        write_bytes(path, data, durable=False)
    return relative, sha256


def _disk_fault(path: Path, error: OSError) -> BadData:
    reason = _DISK_FAULTS.get(error.errno or 0, error.strerror or str(error))
    return BadData(f"{path} cannot be written: {reason}.")


# The record of the process that has, or had, the lock of a workspace: runs/build.json. It is for
# people and for `artsound status`; no release depends on its times.


@dataclass(frozen=True)
class Lock:
    """A process that has, or had, the lock of a workspace. Times are seconds since 1970.

    `birth` distinguishes it from a later process with the same number: clock ticks since the
    machine started, 0 if unknown. `ended` is 0 while it works and if it was killed; `error` is the
    message with which it failed.
    """

    pid: int
    host: str
    command: str
    started: float
    birth: int
    ended: float = 0.0
    error: str = ""


@contextlib.contextmanager
def lock_workspace(workspace: Workspace) -> Iterator[None]:
    """Lock `workspace` for one build; BadUsage if another process has locked it."""
    with workspace.lock():
        lock = Lock(os.getpid(), _host(), command_line(), time.time(), _birth())
        path = _path(workspace)
        write_json(path, asdict(lock))
        try:
            yield
        except Exception as error:
            failed = replace(lock, ended=time.time(), error=str(error) or type(error).__name__)
            with contextlib.suppress(ArtSoundError):  # on a full disk `error` is reported
                write_json(path, asdict(failed))
            raise
        write_json(path, asdict(replace(lock, ended=time.time())))


def last_lock(workspace: Workspace) -> Lock | None:
    """The process that has or had the lock; None without a record."""
    try:
        return Lock(**read_json(_path(workspace)))
    except (ArtSoundError, TypeError):
        return None


def is_alive(lock: Lock) -> bool | None:
    """Whether the process is still running; None if it is on another machine."""
    if lock.ended:
        return False
    if lock.host != _host():
        return None
    return _is_running(lock.pid, lock.birth)


def _is_running(pid: int, birth: int) -> bool:
    """Whether a process of this machine, started at `birth`, is still running."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's process
        pass
    return _birth(pid) == birth


def _path(workspace: Workspace) -> Path:
    return workspace.runs / "build.json"


def _birth(pid: int | None = None) -> int:
    """When a process was started, in clock ticks since boot; 0: unknown, or dead."""
    try:
        text = Path(f"/proc/{pid or os.getpid()}/stat").read_text()
    except OSError:
        return 0
    state, *fields = text.rpartition(")")[2].split()  # the name before it may contain anything
    return 0 if state in "ZX" else int(fields[18])
