"""Pulls of small sources from a real nginx: what travels, what is kept, what is said."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nginx_server import Nginx, nginx
from tiny_sources import artgraph_files, clip, fma_files, picture, table, write_files, write_zip

from artsound.errors import BadData, BadUsage
from artsound.recipe import Recipe
from artsound.sources import ingest
from artsound.sources.fetch import fetch_sources, refusal_in
from artsound.sources.http import Client
from artsound.sources.servers import ARTGRAPH, FMA, Server
from artsound.stage import Context, run_stage
from artsound.storage import Workspace, read_parquet, sha256_file

NAMES = ["old-master_castle-1800.jpg", "old-master_river-1801.jpg", "new-hand_tower-1990.jpg"]
NC, BY = "Attribution-NoDerivatives 4.0", "Attribution 3.0 International"
TRACKS = [{"track_id": n, "track.license": BY if n % 2 else NC} for n in (2, 3, 5, 7, 10, 140)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FMA and ArtGraph on disk, as zips; the server shows the same folder."""
    root = tmp_path_factory.mktemp("served")
    files = fma_files(TRACKS, {int(str(row["track_id"])): clip(n) for n, row in enumerate(TRACKS)})
    tables = {name: data for name, data in files.items() if name.endswith(".csv")}
    clips = {name: data for name, data in files.items() if name not in tables}
    for name, members in (("fma_metadata.zip", tables), ("fma_large.zip", clips)):
        write_zip(root / "fma" / name, members, zipfile.ZIP_BZIP2)  # as the FMA packs them
    relation = {"artwork___hasstyle___style": (["baroque", "op art"], [(0, 0), (1, 0), (2, 1)])}
    art = artgraph_files(NAMES, {name: picture(n) for n, name in enumerate(NAMES)}, relation)
    write_zip(root / "artgraph" / "artgraph.zip", art)
    write_files(root, {f"pictures/{name}": picture(n) for n, name in enumerate(NAMES)})
    return root


@pytest.fixture
def server(folder: Path, tmp_path: Path) -> Iterator[Nginx]:
    with nginx(folder, tmp_path / "nginx") as running:
        yield running


class Notes:
    """A progress that keeps what is said, and stops the build after so many steps."""

    def __init__(self, stop_after: int = 0) -> None:
        self.said: list[str] = []
        self.left = stop_after

    def start(self, stage: str, items: int, unit: str = "items") -> None: ...

    def total(self, items: int) -> None: ...

    def advance(self, items: int, *, before: bool = False) -> None:  # noqa: ARG002 (the protocol)
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt

    def finish(self) -> None: ...

    def note(self, sentence: str) -> None:
        self.said.append(sentence)


def recipe_at(server: Nginx, **changes: object) -> Recipe:
    places = {"artgraph": f"{server.url}/artgraph/artgraph.zip", "fma": f"{server.url}/fma"}
    run = {"part_size": 4}
    sources = {**places, "allow_private_hosts": True, **changes}
    return Recipe().replaced(sources=sources, run=run)


def on_disk(folder: Path, recipe: Recipe) -> Recipe:
    places = {"artgraph": str(folder / "artgraph"), "fma": str(folder / "fma")}
    return recipe.replaced(sources=places)


def catalogue(workspace: Workspace, recipe: Recipe) -> dict[str, str]:
    run_stage(ingest.STAGE, workspace, recipe)
    return {path.name: sha256_file(path) for path in workspace.catalog.iterdir()}


def rejects(workspace: Workspace) -> dict[str, tuple[str, str]]:
    rows = read_parquet(workspace.catalog / "rejects.parquet", "reject").to_pylist()
    return {row["item_id"]: (row["kind"], row["reason"]) for row in rows}


@pytest.mark.parametrize(
    "change",
    [
        lambda recipe, _: recipe,
        lambda recipe, _: recipe.replaced(sources={"limit": 2}),
        lambda recipe, _: recipe.replaced(rights={"policy": "commercial"}),
        lambda recipe, _: recipe.replaced(rights={"policy": "commercial"}, sources={"limit": 1}),
        lambda recipe, ids: recipe.replaced(sources={"ids": ids}),
        lambda recipe, _: recipe.replaced(sources={"track_where": "track_id > '000100'"}),
    ],
    ids=["everything", "limit", "rights", "rights and limit", "list of ids", "condition"],
)
def test_a_server_gives_the_same_catalogue_as_the_folder_that_it_serves(
    change: Callable[[Recipe, str], Recipe], server: Nginx, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "ids.txt").write_text("3\n140\n")
    recipe = change(recipe_at(server), str(tmp_path / "ids.txt"))
    pulled = catalogue(Workspace(tmp_path / "a"), recipe)
    assert pulled == catalogue(Workspace(tmp_path / "b"), on_disk(folder, recipe))
    assert {"artworks.parquet", "tracks.parquet", "rejects.parquet", "sources.json"} == set(pulled)


def test_only_what_given_pairs_name_travels(server: Nginx, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text(f"image,audio\n{NAMES[0]},fma_large/000/000007.mp3\n")
    recipe = recipe_at(server).replaced(pair={"given": str(tmp_path / "pairs.csv")})
    workspace = Workspace(tmp_path / "a")
    assert catalogue(workspace, recipe) == catalogue(
        Workspace(tmp_path / "b"), on_disk(folder, recipe)
    )
    assert [path.name for path in workspace.sources.rglob("*.mp3")] == ["000007.mp3"]
    assert [path.name for path in workspace.sources.rglob("*.jpg")] == [NAMES[0]]


def test_a_limit_pulls_one_more_clip_for_each_that_is_unusable(
    server: Nginx, folder: Path, tmp_path: Path
) -> None:
    ids = sorted(int(str(row["track_id"])) for row in TRACKS)
    broken = write_files(
        tmp_path / "fma", fma_files(TRACKS, {n: clip(n) if n != ids[0] else b"no" for n in ids})
    )
    write_zip(
        tmp_path / "served/fma_metadata.zip",
        {f"fma_metadata/{path.name}": path.read_bytes() for path in broken.rglob("*.csv")},
    )
    write_zip(
        tmp_path / "served/fma_large.zip",
        {str(path.relative_to(broken)): path.read_bytes() for path in broken.rglob("*.mp3")},
    )
    with nginx(tmp_path / "served", tmp_path / "nginx-b") as other:
        recipe = recipe_at(server, fma=other.url, limit=2)
        workspace = Workspace(tmp_path / "out")
        catalogue(workspace, recipe)
    found = read_parquet(workspace.catalog / "tracks.parquet", "track")["track_id"].to_pylist()
    assert found == [f"{number:06d}" for number in ids[1:3]]
    assert len(list(workspace.sources.rglob("*.mp3"))) == 3


def test_with_a_limit_or_ids_only_the_chosen_clips_travel(server: Nginx, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("7")
    for number, changes in enumerate(({"limit": 1}, {"ids": str(tmp_path / "ids.txt")})):
        before = server.sent("fma_large.zip")
        workspace = Workspace(tmp_path / f"out{number}")
        notes = Notes()
        fetch_sources(workspace, recipe_at(server, **changes), notes)
        clips = list(workspace.sources.rglob("*.mp3"))
        directory = 2 * 130_000
        assert len(clips) == 1
        assert server.sent("fma_large.zip") - before < clips[0].stat().st_size + directory
        assert any("Fetching 1 of the 6 files in fma_large.zip" in line for line in notes.said)


def test_what_was_fetched_is_not_asked_for_again_and_more_is_only_added(
    server: Nginx, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "out")
    fetch_sources(workspace, recipe_at(server, limit=2))
    asked = len(server.requests())
    fetch_sources(workspace, recipe_at(server, limit=2))
    assert len(server.requests()) == asked
    first = {path: path.stat().st_mtime_ns for path in workspace.sources.rglob("*.mp3")}
    fetch_sources(workspace, recipe_at(server, limit=4))
    now = {path: path.stat().st_mtime_ns for path in workspace.sources.rglob("*.mp3")}
    assert (len(first), len(now)) == (2, 4)
    assert first.items() <= now.items()


def test_a_byte_that_changes_in_what_was_fetched_is_fetched_again(
    server: Nginx, tmp_path: Path
) -> None:
    workspace, recipe = Workspace(tmp_path / "out"), recipe_at(server, limit=2)
    fetch_sources(workspace, recipe)
    files = {path: path.read_bytes() for path in workspace.sources.rglob("*") if path.is_file()}
    notes = [path for path in files if path.parent == workspace.sources]
    # A note proves the files: damaged, it is made again from what is there.
    for some in (files.keys() - notes, notes):
        for path in some:
            status, data = path.stat(), bytearray(files[path])
            data[len(data) // 2] ^= 1
            if path.suffix != ".zip":  # whose members have checksums of their own
                path.write_bytes(data)
                os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        fetch_sources(workspace, recipe)
        assert {path: path.read_bytes() for path in files} == files


def test_a_pull_that_is_stopped_continues_where_it_was(
    server: Nginx, folder: Path, tmp_path: Path
) -> None:
    workspace, recipe = Workspace(tmp_path / "out"), recipe_at(server, limit=5)
    stops = 0
    for _ in range(20):
        try:
            fetch_sources(workspace, recipe, Notes(stop_after=2))
            break
        except KeyboardInterrupt:
            stops += 1
    assert 5 < stops < 20
    assert catalogue(workspace, recipe) == catalogue(
        Workspace(tmp_path / "b"), on_disk(folder, recipe)
    )


def test_another_address_into_the_same_folder_is_refused(server: Nginx, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "out")
    with pytest.raises(BadData, match="answered 404"):  # a slip, from which nothing came
        fetch_sources(workspace, recipe_at(server, limit=1, fma=f"{server.url}/fna"))
    fetch_sources(workspace, recipe_at(server, limit=1))
    with pytest.raises(BadUsage, match=r"holds what was fetched from .*: remove"):
        fetch_sources(workspace, recipe_at(server, limit=1, fma=f"{server.url}/fma/fma_large.zip"))


def test_a_server_without_ranges_is_said_at_once_and_whole_files_still_come(
    folder: Path, tmp_path: Path
) -> None:
    with nginx(folder, tmp_path / "nginx", "max_ranges 0;") as server:
        with pytest.raises(BadData, match=r"does not serve byte ranges: fetch it whole"):
            fetch_sources(Workspace(tmp_path / "a"), recipe_at(server, limit=1))
        assert not list((tmp_path / "a").rglob("*.csv"))
        fetch_sources(Workspace(tmp_path / "b"), recipe_at(server))
        assert (tmp_path / "b/sources/fma/fma_large.zip").exists()


def test_a_whole_pull_is_announced_with_its_size_and_time(server: Nginx, tmp_path: Path) -> None:
    notes = Notes()
    fetch_sources(Workspace(tmp_path / "out"), recipe_at(server), notes)
    sentence, *unchecked = notes.said
    # A mirror's files have nothing to be held to: one line for each source says so.
    assert ["states no digest of" in line for line in unchecked] == [True, True]
    assert "fma_metadata.zip, fma_large.zip" in unchecked[1]
    assert "kB of ArtGraph from 127.0.0.1" in sentence
    assert "the FMA" in sentence
    assert "about 0 s at 20.0 MB/s" in sentence


def test_too_little_space_is_said_before_the_first_file(
    server: Nginx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    real = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: real._replace(free=100_000))
    for changes in ({}, {"limit": 5}):
        with pytest.raises(BadData, match=r"100\.0 kB free, but .* build needs about"):
            fetch_sources(Workspace(tmp_path / "out"), recipe_at(server, **changes))
    assert not list(tmp_path.rglob("*.mp3"))


def test_a_clip_that_its_zip_holds_damaged_is_rejected_and_tried_again(
    folder: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    (root / "fma").mkdir(parents=True)
    (root / "artgraph").symlink_to(folder / "artgraph")
    (root / "fma/fma_metadata.zip").symlink_to(folder / "fma/fma_metadata.zip")
    data = bytearray((folder / "fma/fma_large.zip").read_bytes())
    with zipfile.ZipFile(folder / "fma/fma_large.zip") as archive:
        data[archive.getinfo("fma_large/000/000003.mp3").header_offset + 5000] ^= 1
    (root / "fma/fma_large.zip").write_bytes(data)
    with nginx(root, tmp_path / "nginx") as server:
        workspace, recipe = Workspace(tmp_path / "out"), recipe_at(server, limit=3)
        catalogue(workspace, recipe)
        assert rejects(workspace)["000003"] == ("failed", "fetch-damaged")
        (root / "fma/fma_large.zip").unlink()
        (root / "fma/fma_large.zip").symlink_to(folder / "fma/fma_large.zip")
        assert catalogue(workspace, recipe) == catalogue(
            Workspace(tmp_path / "b"), on_disk(folder, recipe)
        )


@pytest.mark.parametrize("limit", [0, 2])
def test_a_zenodo_record_is_asked_for_its_files_and_checksums(
    limit: int, folder: Path, tmp_path: Path
) -> None:
    data = (folder / "artgraph/artgraph.zip").read_bytes()
    root = write_files(tmp_path / "root", {"files/artgraph.zip": data, "files/a.dump": b"dump"})
    (root / "fma").symlink_to(folder / "fma")
    with nginx(root, tmp_path / "nginx") as server:
        record = {
            "files": [
                {
                    "key": name,
                    "size": (root / "files" / name).stat().st_size,
                    "checksum": f"md5:{hashlib.md5(body).hexdigest()}",
                    "links": {"self": f"{server.url}/files/{name}"},
                }
                for name, body in (("artgraph.zip", data), ("a.dump", b"dump"))
            ]
        }
        write_files(root, {"api/records/8172374": json.dumps(record).encode()})
        place = f"{server.url}/records/8172374"
        workspace = Workspace(tmp_path / "out")
        fetch_sources(workspace, recipe_at(server, artgraph=place, limit=limit))
        assert len(list((workspace.sources / "artgraph").rglob("*.jpg"))) == (3 if limit else 0)
        assert not list(workspace.sources.rglob("*.dump"))
        record["files"][0]["checksum"] = "md5:" + "0" * 32
        write_files(root, {"api/records/8172374": json.dumps(record).encode()})
        with pytest.raises(BadData, match=r"has md5 .* instead of 000"):
            fetch_sources(Workspace(tmp_path / "c"), recipe_at(server, artgraph=place))
        write_files(root, {"api/records/8172374": b"[]"})
        with pytest.raises(BadData, match="does not answer like a Zenodo record"):
            fetch_sources(Workspace(tmp_path / "d"), recipe_at(server, artgraph=place))


@pytest.mark.parametrize("limit", [0, 2])
def test_a_record_of_a_dump_and_pictures_leads_to_the_export_before_anything_is_pulled(
    limit: int, folder: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    pictures = {f"imagesf2/{name}": picture(n) for n, name in enumerate(NAMES)}
    write_zip(root / "files/imagesf2.zip", pictures, zipfile.ZIP_STORED)
    write_files(root, {"files/artgraph2.0.dump": bytes(100_000)})
    (root / "fma").symlink_to(folder / "fma")
    with nginx(root, tmp_path / "nginx") as server:
        files = [
            {"key": path.name, "size": path.stat().st_size, "checksum": "",
             "links": {"self": f"{server.url}/files/{path.name}"}}
            for path in sorted((root / "files").iterdir())
        ]  # fmt: skip
        write_files(root, {"api/records/8172374": json.dumps({"files": files}).encode()})
        recipe = recipe_at(server, artgraph=f"{server.url}/records/8172374", limit=limit)
        with pytest.raises(BadData, match=r"export artgraph_artworks\.csv from it as docs/"):
            fetch_sources(Workspace(tmp_path / "out"), recipe)
        assert server.sent("artgraph2.0.dump") == 0
        assert server.sent("imagesf2.zip") <= 1 + (root / "files/imagesf2.zip").stat().st_size
        assert not list((tmp_path / "out").rglob("*.jpg"))


def test_a_member_whose_name_no_file_can_have_is_one_reject(folder: Path, tmp_path: Path) -> None:
    long = f"old-master_{'long-title-' * 26}1700.jpg"
    names = [*NAMES, long]
    style = {"artwork___hasstyle___style": (["baroque"], [(n, 0) for n in range(4)])}
    files = artgraph_files(names, {name: picture(n) for n, name in enumerate(names)}, style)
    write_zip(tmp_path / "root/artgraph/artgraph.zip", files)
    (tmp_path / "root/fma").symlink_to(folder / "fma")
    with nginx(tmp_path / "root", tmp_path / "nginx") as server:
        workspace = Workspace(tmp_path / "out")
        catalogue(workspace, recipe_at(server, limit=2))
    assert rejects(workspace)[long] == ("failed", "file-name-too-long")
    assert read_parquet(workspace.catalog / "artworks.parquet", "artwork").num_rows == 3


def test_a_private_server_is_refused_before_anything_is_asked(
    server: Nginx, folder: Path, tmp_path: Path
) -> None:
    local = {"artgraph": str(folder / "artgraph"), "fma": str(folder / "fma")}
    for place in (
        {"artgraph": f"{server.url}/artgraph/artgraph.zip"},
        {"fma": f"{server.url}/fma"},
    ):
        recipe = Recipe().replaced(sources={**local, **place})
        with pytest.raises(BadUsage, match="give --allow-private-hosts"):
            ingest.check(Context(Workspace(tmp_path), recipe))
        with pytest.raises(BadUsage, match="give --allow-private-hosts"):
            fetch_sources(Workspace(tmp_path), recipe)
    assert server.requests() == []


def test_pictures_come_from_their_addresses_where_they_may(folder: Path, tmp_path: Path) -> None:
    lines = 'add_header X-Robots-Tag "googlebot: noindex"; add_header X-Robots-Tag noai;'
    refuse = f"location = /pictures/{NAMES[1]} {{ {lines} }}"
    refuse += ' location = /astray { return 302 "http://[::1"; }'
    long = f"no-one_{'long-title-' * 26}1700.jpg"
    with nginx(folder, tmp_path / "nginx", refuse) as server:
        rows = [(name, f"{server.url}/pictures/{name}") for name in NAMES]
        rows.append(("no-one_nothing-1700.jpg", f"{server.url}/pictures/nothing.jpg"))
        rows.append(("no-one_astray-1700.jpg", f"{server.url}/astray"))
        rows.append((long, f"{server.url}/pictures/{NAMES[0]}"))
        export = table([("name", "image_url"), *rows])
        source = {"artgraph_artworks.csv": export, f"images/{NAMES[0]}": picture(0)}
        local = write_files(tmp_path / "local", source)
        recipe = recipe_at(server, artgraph=str(local), image_urls=True, limit=2)
        workspace = Workspace(tmp_path / "out")
        catalogue(workspace, recipe)
        artworks = read_parquet(workspace.catalog / "artworks.parquet", "artwork")
        assert artworks["artwork_id"].to_pylist() == sorted([NAMES[0], NAMES[2]])
        assert rejects(workspace) == {
            NAMES[1]: ("filtered", "image-refused"),
            "no-one_nothing-1700.jpg": ("failed", "image-unreachable"),
            "no-one_astray-1700.jpg": ("failed", "image-unreachable"),
            long: ("failed", "file-name-too-long"),
        }
        assert server.sent(NAMES[0]) == 0


@pytest.mark.parametrize(
    ("header", "word"),
    [
        ("", ""),
        ("noai", "noai"),
        ("all, NoImageAI", "noimageai"),
        ("googlebot: noindex", ""),
        ("googlebot: nofollow, noindex", ""),
        ("artsound: noindex", "noindex"),
        ("unavailable_after: 25 Jun 2026, noindex", "noindex"),
        ("max-image-preview: none", ""),
    ],
)
def test_robot_rules_are_read_as_their_authors_meant_them(header: str, word: str) -> None:
    assert refusal_in([("X-Robots-Tag", header)]) == word


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ([("X-Robots-Tag", "googlebot: noindex"), ("X-Robots-Tag", "noai")], "noai"),
        ([("x-robots-tag", "NOML")], "noml"),
        ([("X-Robots-Tag", "googlebot: noindex"), ("X-Robots-Tag", "otherbot: noai")], ""),
        ([("X-Robots-Tag", "googlebot: noindex, artsound: noimageai")], "noimageai"),
        ([("X-Robots-Tag", "googlebot: noindex, *: noimageai")], "noimageai"),
        ([("X-Robots-Tag", "all; noai")], "noai"),
        (
            [("X-Robots-Tag", "unavailable_after: Sunday, 06-Nov-94 08:49:37 GMT, noai")],
            "noai",
        ),
        ([("X-Robots-Tag", "unavailable_after: 25 Jun 2010 15:00:00 PST, noindex")], "noindex"),
        ([("TDM-Reservation", "1"), ("TDM-Policy", "https://example.org")], "tdm-reservation: 1"),
        ([("TDM-Reservation", "0")], ""),
        ([("Content-Usage", "search=y, train-ai=n")], "content-usage: search=y, train-ai=n"),
        ([("Content-Signal", "ai-train=no")], "content-signal: ai-train=no"),
        ([("Content-Usage", "train-ai=y")], ""),
        ([("Content-Type", "image/jpeg")], ""),
    ],
)
def test_every_header_line_and_signal_is_heard(fields: list[tuple[str, str]], rule: str) -> None:
    assert refusal_in(fields) == rule


def test_the_official_servers_are_held_to_their_digests() -> None:
    files = FMA.files_at(FMA.official, "large", Client())
    assert files["fma_large.zip"].size == 100_306_112_191
    assert files["fma_metadata.zip"].digest == "sha1:f0df49ffe5f2a6008d7dc83c6915b31835dfe733"
    assert all(file.url.startswith(FMA.official) for file in files.values())


@pytest.mark.parametrize(
    ("server", "place", "sentence"),
    [
        (ARTGRAPH, "https://example.org/graph.dump", "is no zip and lists none"),
        (ARTGRAPH, "https://example.org/a%00b.zip", "not taken as a name"),
        (FMA, "https://example.org/..%2f.zip", "not taken as a name"),
    ],
)
def test_an_address_that_cannot_be_a_source_is_reported(
    server: Server, place: str, sentence: str
) -> None:
    with pytest.raises((BadData, BadUsage), match=sentence):
        server.files_at(place, "large", Client())


@pytest.mark.parametrize("limit", [0, 1])
def test_an_archive_that_changes_behind_its_address_is_refused(
    limit: int, folder: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    (root / "fma").mkdir(parents=True)
    (root / "fma/fma_metadata.zip").symlink_to(folder / "fma/fma_metadata.zip")
    served, kept = root / "fma/fma_large.zip", folder / "fma/fma_large.zip"
    with zipfile.ZipFile(kept) as archive:
        clips = {name: archive.read(name) for name in archive.namelist()}
    other = {name: clip(50) if name.endswith("002.mp3") else data for name, data in clips.items()}
    bodies = [kept.read_bytes(), kept.read_bytes(), write_zip(root / "b.zip", other).read_bytes()]
    if not limit:  # a forgery of the same size, whose checksums are right
        bodies[1] = bodies[1].replace(b"BZh", b"BZg", 1)
    workspace, art = Workspace(tmp_path / "out"), str(folder / "artgraph")
    with nginx(root, tmp_path / "nginx") as server:
        for count, body in enumerate(bodies):
            served.write_bytes(body)
            recipe = recipe_at(server, artgraph=art, limit=limit and limit + count)
            for path in workspace.sources.rglob("fma_large.zip"):
                path.unlink()
            if body == bodies[0]:
                fetch_sources(workspace, recipe)
                continue
            with pytest.raises(BadData, match=r"is not the one that was fetched .* remove .*out/s"):
                fetch_sources(workspace, recipe)
        served.write_bytes(bodies[0])
        fetch_sources(workspace, recipe_at(server, artgraph=art, limit=limit))


def test_a_whole_zip_that_was_changed_here_is_fetched_again(
    server: Nginx, folder: Path, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "out")
    fetch_sources(workspace, recipe_at(server))
    path = workspace.sources / "fma/fma_large.zip"
    before = path.stat()
    path.write_bytes(path.read_bytes().replace(b"BZh", b"BZg", 1))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    fetch_sources(workspace, recipe_at(server))
    assert path.read_bytes() == (folder / "fma/fma_large.zip").read_bytes()


def test_an_address_may_state_the_digest_of_its_zip(
    server: Nginx, folder: Path, tmp_path: Path
) -> None:
    sha256 = sha256_file(folder / "artgraph/artgraph.zip")
    place = f"{server.url}/artgraph/artgraph.zip#sha256="
    fetch_sources(Workspace(tmp_path / "a"), recipe_at(server, artgraph=place + sha256))
    with pytest.raises(BadData, match=r"has sha256 [0-9a-f]{64} instead of 0000"):
        fetch_sources(Workspace(tmp_path / "b"), recipe_at(server, artgraph=place + "0" * 64))
    for changes in ({"artgraph": place + "0"}, {"fma": f"{server.url}/fma#sha256={sha256}"}):
        with pytest.raises(BadUsage, match="digest"):
            fetch_sources(Workspace(tmp_path / "c"), recipe_at(server, **changes))


def test_a_signature_in_an_address_may_change_and_is_neither_told_nor_noted(
    server: Nginx, tmp_path: Path
) -> None:
    workspace, notes = Workspace(tmp_path / "out"), Notes()
    host = server.url.partition("://")[2]

    def fetch(secret: str) -> None:
        art = f"http://me:{secret}@{host}/artgraph/artgraph.zip?sig={secret}&se={secret}"
        fma = f"http://{secret}@{host}/fma?X-Amz-Signature={secret}"
        fetch_sources(workspace, recipe_at(server, artgraph=art, fma=fma, limit=2), notes)

    fetch("S3CRET1")
    asked = len(server.requests())
    fetch("S3CRET2")
    assert len(server.requests()) == asked
    stored = [path.read_bytes() for path in workspace.sources.rglob("*") if path.is_file()]
    assert not any(b"S3CRET" in one for one in [*stored, *map(str.encode, notes.said)])
