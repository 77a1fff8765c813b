"""Whether this machine can run a build: machine, disk, packages, checkpoints and servers.

Nothing is downloaded, written or changed. Servers are contacted at the same time, while the rest is
examined, for a few seconds at most.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from pathlib import Path

import requests

from artsound.captions.captioners import captioner_plugin, open_captioner
from artsound.encoders.base import (
    EncoderPlugin,
    EncoderSettings,
    encoders_of,
    find_encoder,
    needs_of,
    settings_of,
)
from artsound.errors import ArtSoundError, BadUsage
from artsound.extras import Check, State, check_conflicts, check_packages, installed
from artsound.progress import human_bytes
from artsound.recipe import Recipe
from artsound.sources.base import places
from artsound.sources.http import Client, Patience, RemoteFile

_SECONDS = 10.0  # for servers, which may hang
_PATIENCE = Patience(retries=0, connect=4.0, stall=5.0)
_MEMORY = 8_000_000_000  # bytes that the full set needs at its peak
_HUB = "Hugging Face hub"
_SIDES = ("artwork", "track")


def examine(recipe: Recipe, out: Path, seconds: float = _SECONDS) -> list[Check]:
    """Examine all that a build needs.

    Args:
        recipe: The build's recipe.
        out: The folder that it writes to.
        seconds: How long servers may take to answer.

    Returns:
        A check for each thing that was examined.
    """
    client = Client(_PATIENCE, allow_private_hosts=recipe.sources.allow_private_hosts)
    own = Client(_PATIENCE, allow_private_hosts=True)  # the hub's address is set on this machine
    prefect = "" if recipe.run.runner == "serial" else os.environ.get("PREFECT_API_URL", "")
    needed = needed_extras(recipe)
    questions: dict[str, Callable[[], Iterable[Check]]] = {
        "ArtGraph": lambda: check_source("artwork", recipe, client),
        "FMA": lambda: check_source("track", recipe, client),
        "Prefect": lambda: check_prefect(prefect),
    }
    if "models" in needed:
        questions[_HUB] = lambda: check_hub(own)
    answers = _asked_side_by_side(questions, seconds)
    here = [
        *check_machine(),
        *_tried("machine", "GPU", lambda: check_gpus(recipe), needed),
        check_disk(recipe, out),
        *check_packages(needed),
        *check_conflicts(),
    ]
    asked = answers()
    hub = any(check.name == _HUB and check.state == "ok" for check in asked)
    weights = _tried("checkpoints", "weights", lambda: check_checkpoints(recipe, hub), needed)
    return [*here, *weights, *asked]


def needed_extras(recipe: Recipe) -> set[str]:
    """The extras of this package that a build by `recipe` needs."""
    found = {"build", *({recipe.run.runner} & {"dask", "prefect"})}
    for side in ("artwork", "track"):
        with contextlib.suppress(BadUsage):  # `check_checkpoints` reports it
            found.add(captioner_plugin(side, recipe.captions)[0].extra)
    with contextlib.suppress(BadUsage):
        found |= {needs.extra for needs in needs_of(recipe)}
        found |= {find_encoder(name)[0].extra for name in encoders_of(recipe)}
    return found - {""}


def check_machine() -> Iterator[Check]:
    """Python, processors and memory."""
    yield Check("machine", "Python", "ok", platform.python_version())
    yield Check("machine", "processors", "ok", f"{len(os.sched_getaffinity(0))}")
    memory = _memory()
    enough = memory >= _MEMORY
    remedy = f"the full set needs {human_bytes(_MEMORY)}: use --limit, or --workers 1"
    state: State = "ok" if enough else "warning"
    yield Check("machine", "memory", state, human_bytes(memory), "" if enough else remedy)


def check_gpus(recipe: Recipe) -> Iterator[Check]:
    """The GPUs that torch finds, and whether the recipe asks for others."""
    devices = {recipe.embed.device, recipe.pair.device, recipe.captions.device}
    asked = any(device.startswith("cuda") for device in devices)
    remedy = "write auto or cpu for device in the recipe" if asked else ""
    state: State = "missing" if asked else "ok"
    if installed("torch") is None:
        yield Check("machine", "GPU", state, "unknown: torch is not installed", remedy)
        return
    import torch

    count = torch.cuda.device_count()
    for number in range(count):
        about = torch.cuda.get_device_properties(number)
        text = f"{about.name}, {human_bytes(about.total_memory)}"
        yield Check("machine", f"GPU {number}", "ok", text)
    if not count:
        yield Check("machine", "GPU", state, "torch finds none: models run on the CPU", remedy)


def check_disk(recipe: Recipe, out: Path) -> Check:
    """Free space for the build, and whether it suffices for the whole official sources."""
    folder = out.absolute()
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    text = f"{human_bytes(free)} free at {folder}"
    if not os.access(folder, os.W_OK):
        remedy = "choose another --out or change the permissions"
        return Check("machine", "disk", "missing", f"{folder} is not writable", remedy)
    need = _need(recipe)
    if not need:
        return Check("machine", "disk", "ok", text)
    fetched = sum(path.stat().st_size for path in (out / "sources").glob("*/*") if path.is_file())
    text = f"{text}; the music alone takes about {human_bytes(need)}"
    if need - fetched > free:
        remedy = "make room, choose another --out, or use --limit"
        return Check("machine", "disk", "missing", text, remedy)
    return Check("machine", "disk", "ok", text)


def check_source(side: str, recipe: Recipe, client: Client) -> Iterator[Check]:
    """Whether the sources of a side (artwork or track) exist: folders, files, or servers."""
    for place in places(recipe, side):
        server = place.get("server")
        name = server.title.removeprefix("the ") if server else place.name
        if place.is_made:
            yield Check("sources", name, "ok", "made by this package")
        elif not place.address:
            there = Path(place.place).exists()
            remedy = "" if there else f"give {place.option} a folder, a zip or an address"
            state: State = "ok" if there else "missing"
            text = f"{place.place}{'' if there else ' does not exist'}"
            yield Check("sources", name, state, text, remedy)
        else:
            remedy = f"check the network or its proxy, or give {place.option} a folder or a mirror"
            try:
                subset = recipe.sources.subset
                for remote in server.files_at(place.address, subset, client).values():
                    yield _ask(name, remote, client, remedy)
            except ArtSoundError as error:
                yield Check("sources", name, "missing", str(error), remedy)


def check_prefect(url: str) -> Iterator[Check]:
    """Whether the Prefect server at PREFECT_API_URL answers, if one is set."""
    if not url:
        yield Check("sources", "Prefect", "ok", "not needed: PREFECT_API_URL is not set")
        return
    remedy = "start it (prefect server start), or unset PREFECT_API_URL, or --runner serial"
    try:
        answer = requests.get(f"{url.rstrip('/')}/health", timeout=5)
        text = f"{url} answers {answer.status_code}"
        yield Check("sources", "Prefect", "ok" if answer.ok else "missing", text, remedy)
    except requests.RequestException as error:
        text = f"{url} does not answer: {type(error).__name__}"
        yield Check("sources", "Prefect", "missing", text, remedy)


def check_hub(client: Client) -> Iterator[Check]:
    """Whether the Hugging Face hub, from which weights come, answers."""
    place = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        with client.get(place) as answer:
            text = f"{place} answers {answer.status_code}"
            yield Check("sources", _HUB, "ok" if answer.ok else "warning", text)
    except ArtSoundError as error:
        yield Check("sources", _HUB, "warning", str(error), "download the weights beforehand")


def check_checkpoints(recipe: Recipe, hub: bool) -> Iterator[Check]:
    """The hub's cache, and the weights of the recipe's encoders and captioners.

    Args:
        recipe: The build's recipe.
        hub: Whether the hub answers, so that the build can fetch weights from it.
    """
    yield _cached()
    with _hub_offline():
        for name in encoders_of(recipe):
            encoder, settings = find_encoder(name)[0], settings_of(name, recipe.embed)
            weights = functools.partial(_weights, encoder, settings)
            yield _found(name, weights, hub and encoder.downloads(settings))
            yield from encoder.checks()
        for side, choice in (
            ("artwork", recipe.captions.artworks),
            ("track", recipe.captions.tracks),
        ):
            try:
                captioner, argument = captioner_plugin(side, recipe.captions)
            except BadUsage as error:
                yield Check("checkpoints", choice, "missing", str(error), "correct the recipe")
                continue
            if captioner.checked:
                find = functools.partial(_captioner, side, recipe)
                yield _found(choice, find, hub and captioner.downloads(argument))


def _ask(name: str, remote: RemoteFile, client: Client, remedy: str) -> Check:
    """Request one byte of a file from a server."""
    with client.get(remote.url, {"Range": "bytes=0-0"}) as answer:
        file = remote.url.partition("?")[0].rpartition("/")[2]
        if answer.status_code == 206:
            size = answer.headers.get("Content-Range", "").rpartition("/")[2]
            text = f"{file}, {human_bytes(int(size))}" if size.isdecimal() else file
            return Check("sources", name, "ok", f"{text}, at {remote.url}")
        if answer.status_code == 200:
            text = f"{remote.url} does not serve byte ranges: whole archives only"
            return Check("sources", name, "warning", text, "use a mirror for a part (--limit)")
        text = f"{remote.url} answers {answer.status_code} {answer.reason}"
        return Check("sources", name, "missing", text, remedy)


def _cached() -> Check:
    """The models in the Hugging Face hub's cache."""
    name = "hub's cache"
    if installed("huggingface_hub") is None:
        return Check("checkpoints", name, "ok", "none: huggingface_hub is not installed")
    from huggingface_hub import constants, scan_cache_dir

    if not Path(constants.HF_HUB_CACHE).is_dir():
        return Check("checkpoints", name, "ok", f"empty ({constants.HF_HUB_CACHE})")
    repos = sorted((repo.repo_id, repo.size_on_disk) for repo in scan_cache_dir().repos)
    held = ", ".join(f"{repo} ({human_bytes(size)})" for repo, size in repos) or "empty"
    return Check("checkpoints", name, "ok", f"{held} ({constants.HF_HUB_CACHE})")


def _found(name: str, find: Callable[[], Path | str], on_hub: bool) -> Check:
    """A checkpoint that the recipe needs, or how to get it."""
    try:
        return Check("checkpoints", name, "ok", str(find()))
    except ArtSoundError as error:
        if on_hub:
            text = "not here yet: the build downloads it from the hub"
            return Check(
                "checkpoints", name, "warning", text, "download it beforehand: hf download"
            )
        return Check("checkpoints", name, "missing", "not here", str(error))


def _weights(plugin: EncoderPlugin, settings: EncoderSettings) -> Path | str:
    """The file of an encoder's weights, else what identifies it; raises as its `digest` does."""
    return plugin.weights(settings) or plugin.digest(settings)


def _captioner(side: str, recipe: Recipe) -> str:
    """What identifies a captioner's checkpoint, without loading it."""
    captioner = open_captioner(side, recipe.captions, Path())
    return f"{captioner.name} {captioner.version}"


@contextlib.contextmanager
def _hub_offline() -> Iterator[None]:
    """Within this block nothing is downloaded from the Hugging Face hub."""
    if installed("huggingface_hub") is None:
        yield
        return
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _need(recipe: Recipe) -> int:
    """Bytes that the whole official archives take, twice: as downloaded, and as media files."""
    chosen = recipe.sources
    if any((chosen.limit, chosen.ids, chosen.track_where)):
        return 0
    files = [
        remote
        for place in places(recipe, "track")
        if (server := place.get("server")) and not place.place
        for remote in server.files_at(server.official, chosen.subset, Client()).values()
    ]
    return 2 * sum(max(remote.size, 0) for remote in files)


def _memory() -> int:
    """Bytes of memory of this machine, or of the container this runs in."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError):  # "max", or no cgroups
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return total


def _tried(
    group: str, name: str, look: Callable[[], Iterable[Check]], needed: Set[str]
) -> list[Check]:
    """What `look` finds, or the error of a library that cannot be imported."""
    try:
        return list(look())
    except Exception as error:  # noqa: BLE001  (whatever a broken library raises)
        state: State = "missing" if "models" in needed else "warning"
        remedy = "see the lines on packages and conflicts"
        return [Check(group, name, state, f"{type(error).__name__}: {error}", remedy)]


def _asked_side_by_side(
    questions: Mapping[str, Callable[[], Iterable[Check]]], seconds: float
) -> Callable[[], list[Check]]:
    """Begin to contact servers; the returned function waits for the rest of `seconds`."""
    answers: dict[str, list[Check]] = {}

    def ask(name: str) -> None:
        answers[name] = list(questions[name]())

    threads = [threading.Thread(target=ask, args=(name,), daemon=True) for name in questions]
    end = time.monotonic() + seconds
    for thread in threads:
        thread.start()

    def answered() -> list[Check]:
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        late = f"no answer within {seconds:.0f} s"
        return [
            check
            for name in questions
            for check in answers.get(name, [Check("sources", name, "missing", late, "try again")])
        ]

    return answered
