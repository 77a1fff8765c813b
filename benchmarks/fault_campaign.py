"""What a build survives: killed, starved, damaged, shut out, cut off, misdated, and run twice.

    python benchmarks/fault_campaign.py [--pairs 300] [--rounds 5] [--seed 0] [--only killed …]

Builds a rehearsal of reduced size once, undisturbed. Then, for each fault and round, in a workspace
of its own: the fault strikes at a random moment or place, and the plain command is given again.
A fault is survived when the build that was hit ends well or in one sentence (or was killed), and
the one after it ends with the same bytes in every table and shard as the undisturbed one. The disk
is filled, permissions are taken away, and hosts (network namespaces) are made, only where the user
may (as root, on Linux).
"""

from __future__ import annotations

import argparse
import contextlib
import http.server
import itertools
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path

import psutil
from full_size.sources import write_sources

from artsound.storage import sha256_file

ARTSOUND = str(Path(sys.executable).parent / "artsound")
COMPARED = ("catalog", "captions", "pairs", "shards")
HIT = ("catalog", "captions", "embeddings", "media", "pairs", "parts", "shards")
LONGEST = 600.0  # s that any build may take
POWERS = "-dac_override,-dac_read_search"
RECIPE = """\
name = "campaign"
[sources]
artgraph = "{artgraph}"
fma = "{fma}"
allow_private_hosts = true
[shards]
pairs_per_shard = 32
[run]
part_size = 48
runner = "{runner}"
"""


class NotSurvivedError(Exception):
    """A build lost something, hung, or spoke in tracebacks."""


class NotHereError(Exception):
    """This machine cannot show the fault."""


@dataclass(frozen=True)
class Case:
    """One fault in one round: its workspace, its chance, and what it is measured against."""

    sources: Path
    whole: Path
    out: Path
    chance: random.Random
    seconds: float

    def command(self, runner: str = "serial", *, url: str = "") -> list[str]:
        """The command that builds `out`, from the folder of sources or from a server."""
        artgraph, fma = f"{self.sources}/artgraph", f"{self.sources}/fma"
        if url:
            artgraph, fma = f"{url}/artgraph.zip {url}/imagesf2.zip", url
        recipe = self.out.parent / f"{self.out.name}.toml"
        recipe.write_text(RECIPE.format(artgraph=artgraph, fma=fma, runner=runner))
        return [ARTSOUND, "build", "--recipe", str(recipe), "--out", str(self.out)]

    def moment(self) -> float:
        """Some time within a build, in seconds."""
        return self.chance.uniform(0.05, 0.95) * self.seconds


def start(command: Sequence[str], **environment: str) -> subprocess.Popen[str]:
    """A build in a process group of its own, its output kept."""
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True, env=os.environ | environment,
    )  # fmt: skip


def end(build: subprocess.Popen[str]) -> int:
    """Its exit status, once it has ended by itself: not above 2, and without a traceback."""
    try:
        said, _ = build.communicate(timeout=LONGEST)
    except subprocess.TimeoutExpired as error:
        kill(build)
        raise NotSurvivedError(f"did not end within {LONGEST:.0f} s") from error
    if build.returncode not in (0, 1, 2) or "Traceback" in said:
        raise NotSurvivedError(f"exit status {build.returncode}: {said[-2000:]}")
    if build.returncode and not re.search(r"\.\s*$", said):
        raise NotSurvivedError(f"no sentence at the end: {said[-500:]}")
    return build.returncode


def kill(build: subprocess.Popen[str]) -> None:
    """SIGKILL to the build and all its processes."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(build.pid, signal.SIGKILL)
    build.communicate()


def contents(workspace: Path) -> dict[str, str]:
    """Digest of every file of the tables and the release."""
    return {
        str(path.relative_to(workspace)): sha256_file(path)
        for folder in COMPARED
        for path in sorted((workspace / folder).rglob("*"))
        if path.is_file()
    }


def killed(case: Case) -> None:
    """The whole build is killed, at a random moment."""
    build = start(case.command())
    time.sleep(case.moment())
    kill(build)


def worker_killed(case: Case) -> None:
    """One process of a build under Prefect is killed."""
    build = start(case.command("processes"))
    time.sleep(5 + case.moment())
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(build.pid).children(recursive=True)
        workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
        if workers:
            case.chance.choice(workers).kill()
    end(build)


def disk_full(case: Case) -> None:
    """The disk is full before the build is done, and is given more room after that."""
    needed = sum(path.stat().st_size for path in case.whole.rglob("*") if path.is_file())
    size = int(needed * case.chance.uniform(0.1, 0.6))
    case.out.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(case.out)], check=False,
        capture_output=True,
    ).returncode:  # fmt: skip
        raise NotHereError("no file system may be mounted here")
    if end(start(case.command())) != 1:
        raise NotSurvivedError("a build on a full disk did not say so")
    subprocess.run(["mount", "-o", f"remount,size={needed * 4}", str(case.out)], check=True)


def damaged(case: Case) -> None:
    """Files of a finished workspace are flipped, cut, emptied and deleted."""
    shutil.copytree(case.whole, case.out, copy_function=shutil.copy2)
    files = [p for folder in HIT for p in sorted((case.out / folder).rglob("*")) if p.is_file()]
    for path in case.chance.sample(files, max(1, len(files) // 50)):
        data = bytearray(path.read_bytes())
        how = case.chance.choice(["flipped", "cut", "emptied", "deleted"])
        if how == "flipped" and data:
            data[case.chance.randrange(len(data))] ^= 255
        elif how == "cut":
            data = data[: case.chance.randrange(len(data) + 1)]
        elif how == "emptied":
            data.clear()
        path.unlink()
        if how != "deleted":
            path.write_bytes(data)


def bit_rot(case: Case) -> None:
    """One byte of some files of a finished workspace changes, size and date stay."""
    shutil.copytree(case.whole, case.out, copy_function=shutil.copy2)
    files = [p for folder in HIT for p in sorted((case.out / folder).rglob("*")) if p.is_file()]
    for path in case.chance.sample(files, max(1, len(files) // 50)):
        data, about = bytearray(path.read_bytes()), path.stat()
        if data:
            data[case.chance.randrange(len(data))] ^= 1 << case.chance.randrange(8)
        path.write_bytes(data)
        os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def engine_lost(case: Case) -> None:
    """The Prefect server that a build reports to is killed."""
    with prefect_server("127.0.0.1", case.out.with_suffix(".prefect")) as (server, url):
        build = start(case.command("threads"), PREFECT_API_URL=url)
        time.sleep(5 + case.moment())
        os.killpg(server.pid, signal.SIGKILL)
        end(build)


def host_cut_off(case: Case) -> None:
    """Of two hosts with a Dask worker each, one loses its network while it computes a part."""
    from distributed import Client

    with contextlib.ExitStack() as stack:
        bridge, hosts = stack.enter_context(two_hosts())
        home = case.out.with_suffix(".prefect")
        _, url = stack.enter_context(prefect_server(bridge, home))
        file = home / "scheduler.json"
        dask = [sys.executable, "-m", "dask"]
        place = ["--scheduler-file", str(file), "--no-dashboard"]
        quick = {
            "PREFECT_API_URL": url,
            "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s",
            "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "20s",  # five minutes by default
        }
        commands = [[*dask, "scheduler", "--host", bridge, "--port", "0", *place]]
        commands += [
            [
                *("ip", "netns", "exec", name, *dask, "worker", "--host", address, *place),
                *("--name", name, "--nworkers", "1", "--nthreads", "1", "--no-nanny"),
                *("--preload", "artsound_flows.cluster", "--death-timeout", "60"),
            ]
            for name, address in hosts.items()
        ]
        for command in commands:
            stack.callback(kill, start(command, **quick))
        with Client(scheduler_file=str(file), timeout=60, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
            where = {one["name"]: at for at, one in client.scheduler_info()["workers"].items()}
            lost = case.chance.choice(sorted(hosts))
            recipe = case.command("dask")
            toml = Path(recipe[3])
            address = client.scheduler.address
            toml.write_text(f'{toml.read_text()}dask_address = "{address}"\n')
            build = start(recipe, PREFECT_API_URL=url)
            until = time.monotonic() + 5 + case.moment()
            while build.poll() is None and (
                time.monotonic() < until or not client.processing().get(where[lost])
            ):
                time.sleep(0.02)
            is_running = build.poll() is None
            subprocess.run(["ip", "link", "set", f"{lost}v", "down"], check=True)
        if end(build):
            raise NotSurvivedError("the other host did not complete the build")
        if not is_running:
            raise NotHereError("the build had ended before a host was cut off")


@contextlib.contextmanager
def prefect_server(host: str, home: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A Prefect server of one's own and its address."""
    home.mkdir()
    with socket.socket() as free:
        free.bind((host, 0))
        port = str(free.getsockname()[1])
    url = f"http://{host}:{port}/api"
    server = start(
        [sys.executable, "-m", "prefect", "server", "start", "--host", host, "--port", port],
        PREFECT_HOME=str(home), PREFECT_SERVER_ANALYTICS_ENABLED="false", PREFECT_API_URL=url,
        PREFECT_SERVER_DATABASE_CONNECTION_URL=f"sqlite+aiosqlite:///{home}/prefect.db",
        PREFECT_LOGGING_SERVER_LEVEL="CRITICAL",
    )  # fmt: skip
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=5):
                break
            time.sleep(0.2)
        else:
            raise NotHereError("no Prefect server starts here")
        yield server, url
    finally:
        kill(server)
        shutil.rmtree(home, ignore_errors=True)


_TURNS = itertools.count()


@contextlib.contextmanager
def two_hosts() -> Iterator[tuple[str, dict[str, str]]]:
    """Network namespaces on one bridge: the bridge's address, and theirs by name."""
    # Of their own each time: those of a host that was cut off stay until its processes have ended.
    turn = next(_TURNS)
    bridge = f"as{os.getpid() % 100_000}{turn}"
    net = f"10.{200 + turn % 50}.{os.getpid() % 250}"
    hosts = {f"{bridge}{letter}": f"{net}.{n}" for letter, n in (("a", 2), ("b", 3))}

    def ip(*arguments: str) -> None:
        if subprocess.run(["ip", *arguments], check=False, capture_output=True).returncode:
            raise NotHereError("no network namespaces may be made here")

    try:
        ip("link", "add", bridge, "type", "bridge")
        ip("addr", "add", f"{net}.1/24", "dev", bridge)
        ip("link", "set", bridge, "up")
        for name, address in hosts.items():
            ip("netns", "add", name)
            ip("link", "add", f"{name}v", "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", f"{name}v", "master", bridge, "up")
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield f"{net}.1", hosts
    except FileNotFoundError as error:
        raise NotHereError("there is no command `ip` here") from error
    finally:
        for what in (*(("netns", "del", name) for name in hosts), ("link", "del", bridge)):
            with contextlib.suppress(FileNotFoundError):
                subprocess.run(["ip", *what], check=False, capture_output=True)


def shut_out(case: Case) -> None:
    """One folder of a half-done workspace may no longer be written, another not even be read."""
    command = case.command()
    if not os.geteuid():  # root may do all, unless it gives that up
        if not shutil.which("setpriv"):
            raise NotHereError("root keeps its powers here")
        command = ["setpriv", f"--bounding-set={POWERS}", f"--inh-caps={POWERS}", *command]
    build = start(command)
    time.sleep(case.moment())
    kill(build)
    folders = sorted(path for path in case.out.rglob("*") if path.is_dir())
    taken = case.chance.sample(folders, min(2, len(folders)))
    for folder, mode in zip(taken, (0o555, 0o000), strict=False):
        folder.chmod(mode)
    end(start(command))
    for folder in taken:
        folder.chmod(0o755)


def cut_off(case: Case) -> None:
    """The network goes away while sources are pulled from a server, and comes back later."""
    served = case.sources / "served"
    if not served.is_dir():
        publish(case.sources, served)
    with serving(served) as (url, left):
        left[0] = case.chance.randrange(1, sum(path.stat().st_size for path in served.iterdir()))
        if end(start(case.command(url=url))) == 0:
            raise NotSurvivedError("the network was to go away, but the build got all it needed")
        left[0] = 1 << 60
        if end(start(case.command(url=url))):
            raise NotSurvivedError("the build failed though the network was back")


def hostile_server(case: Case) -> None:
    """A third of a server's answers are hostile, until it answers honestly."""
    served = case.sources / "served"
    if not served.is_dir():
        publish(case.sources, served)
    mood = [case.chance]
    with serving(served, mood=mood) as (url, _):
        end(start(case.command(url=url)))
        mood.clear()
        if end(start([*case.command(url=url), "--retry-failed"])):
            raise NotSurvivedError("the build failed though the server was honest again")


def misdated(case: Case) -> None:
    """The clock goes back two years in the middle of a build, then ahead by three."""
    if not shutil.which("faketime"):
        raise NotHereError("faketime is not installed")
    build = start(["faketime", "-f", "-2y", *case.command()])
    time.sleep(case.moment())
    kill(build)
    build = start(["faketime", "-f", "+1y", *case.command()])
    time.sleep(case.moment())
    kill(build)


def run_twice(case: Case) -> None:
    """Two builds are started on one workspace at once: one of them must refuse."""
    one, other = start(case.command()), start(case.command())
    if sorted((end(one), end(other))) != [0, 2]:
        raise NotSurvivedError("two builds of one workspace did not end as one build, one refusal")


FAULTS: dict[str, Callable[[Case], None]] = {
    "killed": killed,
    "worker killed": worker_killed,
    "disk full": disk_full,
    "damaged": damaged,
    "bit rot": bit_rot,
    "shut out": shut_out,
    "cut off": cut_off,
    "hostile server": hostile_server,
    "engine lost": engine_lost,
    "host cut off": host_cut_off,
    "misdated": misdated,
    "run twice": run_twice,
}


@contextlib.contextmanager
def serving(
    folder: Path, latency: float = 0.0, mood: Sequence[random.Random] = ()
) -> Iterator[tuple[str, list[int]]]:
    """The address of a server of `folder`, and how many bytes it gives before it hangs up.

    Each answer begins after `latency` seconds. While `mood` is not empty, its chance makes a third
    of the answers hostile.
    """
    left = [1 << 60]

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            time.sleep(latency)
            path = folder / self.path.strip("/")
            if not path.is_file():
                self.send_error(404)
                return
            if left[0] <= 0:  # the line is dead
                self.close_connection = True
                return
            if mood and self.command == "GET" and mood[0].random() < 1 / 3:
                self.close_connection = True
                with contextlib.suppress(OSError):
                    misbehave(mood[0].choice(HOSTILE), self.wfile)
                return
            size = path.stat().st_size
            wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
            first, last = 0, size - 1
            if wanted and wanted[1]:
                first, last = int(wanted[1]), min(int(wanted[2] or last), last)
            elif wanted:
                first = size - int(wanted[2])
            self.send_response(206 if wanted else 200)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(last - first + 1))
            if wanted:
                self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
            self.end_headers()
            if self.command == "HEAD":
                return
            with path.open("rb") as file:
                file.seek(first)
                data = file.read(last - first + 1)
            given = data[: max(0, left[0])]
            left[0] -= len(data)
            self.wfile.write(given)
            self.close_connection = len(given) < len(data)

        do_HEAD = do_GET

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None: ...

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", left
    finally:
        server.shutdown()
        server.server_close()


HOSTILE = (
    b"HTTP/1.1 206 Part\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\nxxxxx",
    b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-9/" + b"9" * 5000 + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>Please log in.</html>",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\0",
    b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 206 Partial Content\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n" + bytes(9999),
    b"\0\xff\r\n\r\n" * 50,
    b"",
)  # fmt: skip


def misbehave(answer: bytes, file: BufferedIOBase) -> None:
    """Send an answer that is none, and hang up."""
    file.write(answer)
    file.flush()


def publish(sources: Path, folder: Path) -> None:
    """The sources as the zips that their publishers offer."""
    folder.mkdir()
    for name, inside in (("artgraph", "artgraph"), ("fma_metadata", "fma/fma_metadata")):
        with zipfile.ZipFile(folder / f"{name}.zip", "w", zipfile.ZIP_BZIP2) as packed:
            for path in sorted((sources / inside).rglob("*.csv")):
                packed.write(path, f"{name}/{path.relative_to(sources / inside)}")
    for inside in ("artgraph/imagesf2.zip", "fma/fma_large.zip"):
        os.link(sources / inside, folder / Path(inside).name)


def main() -> None:
    """Run the campaign, print a line for each fault, and exit with 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5, help="of each fault")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=FAULTS, default=list(FAULTS))
    options = parser.parse_args()
    survived = injected = 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        write_sources(root / "sources", options.pairs, None)
        calm = Case(root / "sources", root / "calm", root / "calm", random.Random(0), 0.0)
        began = time.perf_counter()
        if end(start(calm.command())):
            raise SystemExit("the undisturbed build failed")
        seconds = time.perf_counter() - began
        wanted = contents(calm.out)
        print(f"undisturbed: {len(wanted)} files in {seconds:.1f} s", flush=True)
        for name in options.only:
            for number in range(options.rounds):
                chance = random.Random(f"{options.seed} {name} {number}")
                out = root / f"{name.replace(' ', '-')}-{number}"
                case = Case(root / "sources", calm.out, out, chance, seconds)
                try:
                    injected += 1
                    FAULTS[name](case)
                    pulled = name in ("cut off", "hostile server")  # and built again from there
                    if not pulled and end(start(case.command())):
                        raise NotSurvivedError("the build after the fault failed")
                    differing = sorted(dict(contents(out).items() ^ wanted.items()))
                    if differing:
                        raise NotSurvivedError(f"other bytes in {', '.join(differing[:5])}")
                    survived += 1
                    print(f"{name} {number}: survived", flush=True)
                except NotHereError as why:
                    injected -= 1
                    print(f"{name} {number}: not shown here, as {why}", flush=True)
                except NotSurvivedError as why:
                    print(f"{name} {number}: NOT SURVIVED: {why}", flush=True)
                finally:
                    subprocess.run(["umount", str(out)], check=False, capture_output=True)
                    shutil.rmtree(out, ignore_errors=True)
    print(f"{injected} faults, {survived} survived, {injected - survived} lost")
    raise SystemExit(injected > survived)


if __name__ == "__main__":
    main()
