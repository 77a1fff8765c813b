"""Members of zips: methods, names and lies, read alike from disk and from a server."""

from __future__ import annotations

import gzip
import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from faulty_server import faulty_server, local_client
from tiny_sources import artgraph_files, fma_files, picture, write_files, write_zip

from artsound.errors import BadData
from artsound.sources import artgraph, fma
from artsound.sources.files import UnreadableFile, list_files, read_file
from artsound.sources.http import Patience
from artsound.sources.remote_zip import open_remote_zip

QUICK = Patience(retries=2, backoff=0.01, longest_wait=1.0, connect=2.0, stall=2.0)
LIMIT = 1 << 20
METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
FILES = {
    "a/text.csv": b"track_id,title\n" * 500,
    "a/noise.mp3": random.Random(0).randbytes(3000),
    "a/nothing": b"",
}
Reader = Callable[[bytes, Path], dict[str, bytes | UnreadableFile]]


def from_disk(data: bytes, folder: Path) -> dict[str, bytes | UnreadableFile]:
    path = folder / "local.zip"
    path.write_bytes(data)
    found: dict[str, bytes | UnreadableFile] = {}
    for name in list_files(path)["name"]:
        try:
            found[name] = read_file(path, "", name, LIMIT)
        except UnreadableFile as error:
            found[name] = error
    return found


def by_range(data: bytes, folder: Path) -> dict[str, bytes | UnreadableFile]:
    with faulty_server(data) as server:
        archive = open_remote_zip(server.url, cache=folder, client=local_client(QUICK))
        return dict(archive.read(archive.members, limit=LIMIT))


both = pytest.mark.parametrize("read", [from_disk, by_range])


def packed(files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def changed(data: bytes, local: int, central: int, form: str, value: int) -> bytes:
    """`data` with one field of the first member changed in both of its headers."""
    out = bytearray(data)
    for signature, offset in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
        struct.pack_into(form, out, out.find(signature) + offset, value)
    return bytes(out)


def renamed(data: bytes, old: bytes, new: bytes, *, utf8: bool) -> bytes:
    """`data` with another name of the same length, and the UTF-8 flag as given."""
    flags = 0x800 if utf8 else 0
    return changed(data.replace(old, new), 6, 8, "<H", flags)


@both
@pytest.mark.parametrize("method", METHODS)
def test_every_method_of_zipfile_is_read(read: Reader, method: int, tmp_path: Path) -> None:
    assert read(packed(FILES, method), tmp_path) == FILES


@both
@pytest.mark.parametrize("method", METHODS)
def test_a_member_that_holds_more_than_it_declares_stops_at_one_byte_more(
    read: Reader, method: int, tmp_path: Path
) -> None:
    bomb = packed({"bomb.mp3": bytes(48 << 20 if method == zipfile.ZIP_BZIP2 else 1 << 22)}, method)
    [found] = read(changed(bomb, 22, 24, "<I", 1000), tmp_path).values()
    assert isinstance(found, UnreadableFile)
    # Stored bytes have to be as many as the zip declares twice over.
    assert found.reason == ("file-too-large" if method == zipfile.ZIP_STORED else "file-damaged")


@both
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("place", [2, 9, 40])
def test_damage_in_any_packing_is_noticed(
    read: Reader, method: int, place: int, tmp_path: Path
) -> None:
    data = bytearray(packed({"a.csv": FILES["a/text.csv"]}, method))
    data[30 + len("a.csv") + place] ^= 0xFF
    [found] = read(bytes(data), tmp_path).values()
    assert isinstance(found, UnreadableFile)
    assert found.reason == "file-damaged"


def test_an_lzma_dictionary_of_four_gigabytes_is_not_allocated(tmp_path: Path) -> None:
    data = bytearray(packed({"a.csv": FILES["a/text.csv"]}, zipfile.ZIP_LZMA))
    struct.pack_into("<L", data, 30 + len("a.csv") + 5, 0xFFFF_FFFF)
    assert by_range(bytes(data), tmp_path) == {"a.csv": FILES["a/text.csv"]}


@both
@pytest.mark.parametrize(
    ("method", "named"), [(9, "Deflate64"), (93, "Zstandard"), (95, "XZ"), (42, "method 42")]
)
def test_another_method_has_a_reason_of_its_own(
    read: Reader, method: int, named: str, tmp_path: Path
) -> None:
    [found] = read(changed(packed({"a.mp3": b"abc"}), 8, 10, "<H", method), tmp_path).values()
    assert isinstance(found, UnreadableFile)
    assert found.reason == "file-unsupported-method"
    assert named in str(found)


@both
def test_a_method_without_its_flag_of_encryption_is_reported_as_encrypted(
    read: Reader, tmp_path: Path
) -> None:
    [found] = read(changed(packed({"a.mp3": b"abc"}), 8, 10, "<H", 99), tmp_path).values()
    assert isinstance(found, UnreadableFile)
    assert found.reason == "file-encrypted"


@both
@pytest.mark.parametrize(
    ("stored", "utf8", "name"),
    [
        ("dürer.jpg".encode(), True, "dürer.jpg"),
        ("dürer.jpg".encode(), False, "dürer.jpg"),
        ("dürer.jpg".encode("cp437"), False, "dürer.jpg"),
        (b"imagesf2\\a.jpg", False, "imagesf2/a.jpg"),
        (b"imagesf2\\a.jpg", True, "imagesf2/a.jpg"),
    ],
)
def test_a_name_is_read_as_it_was_meant(
    read: Reader, stored: bytes, utf8: bool, name: str, tmp_path: Path
) -> None:
    old = b"n" * len(stored)
    data = renamed(packed({old.decode(): b"picture"}), old, stored, utf8=utf8)
    assert read(data, tmp_path) == {name: b"picture"}


@both
def test_the_unicode_path_field_goes_first_when_it_is_of_this_name(
    read: Reader, tmp_path: Path
) -> None:
    found = {}
    for crc_of in (b"d_rer.jpg", b"other.jpg"):
        info = zipfile.ZipInfo("d_rer.jpg")
        text = "dürer.jpg".encode()
        field = struct.pack("<BL", 1, zlib.crc32(crc_of)) + text
        info.extra = struct.pack("<HH", 0x7075, len(field)) + field
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(info, b"picture")
        found |= read(buffer.getvalue(), tmp_path)
    assert set(found) == {"dürer.jpg", "d_rer.jpg"}


@both
@pytest.mark.parametrize("name", ["..\\out.jpg", "C:\\out.jpg", "\\out.jpg", "a\\..\\..\\b.jpg"])
def test_a_backslash_does_not_lead_out(read: Reader, name: str, tmp_path: Path) -> None:
    with pytest.raises(BadData, match="unsafe name"):
        read(packed({name: b"x"}), tmp_path)


@both
def test_two_names_for_one_file_are_refused_by_name(read: Reader, tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"two files in it are called 'a/b\.jpg'"):
        read(packed({"a/b.jpg": b"1", "a\\b.jpg": b"2"}), tmp_path)
    with pytest.raises(BadData, match="'a' in it is both a file and a folder"):
        read(packed({"a": b"1", "a/b.jpg": b"2"}), tmp_path)


@both
def test_names_that_differ_in_case_are_two_files(read: Reader, tmp_path: Path) -> None:
    files = {"a/B.jpg": b"1", "a/b.jpg": b"2"}
    assert read(packed(files), tmp_path) == files


@both
def test_of_a_name_that_stands_twice_the_last_is_read(read: Reader, tmp_path: Path) -> None:
    data = packed({"a.jpg": b"old", "b.jpg": b"new"}).replace(b"b.jpg", b"a.jpg")
    assert read(data, tmp_path) == {"a.jpg": b"new"}


def with_a_hole(hole: int) -> bytes:
    """A zip of one member of 3 bytes with a data descriptor, a hole, then its directory."""
    value, name = b"abc", b"fma_large/000/000002.mp3"
    crc = zlib.crc32(value)
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 45, 8, 0, 0, 33, 0, 0, 0, len(name), 0)
    descriptor = struct.pack("<4s3L", b"PK\7\x08", crc, 3, 3)
    start = local + name + value + descriptor + bytes(hole)
    entry = struct.pack(
        "<4s6H3L5H2L", b"PK\1\2", 45, 45, 8, 0, 0, 33, crc, 3, 3, len(name), 0, 0, 0, 0, 0, 0
    )
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(entry + name), len(start), 0)
    return start + entry + name + end


def test_a_hole_behind_a_member_does_not_travel(tmp_path: Path) -> None:
    with faulty_server(with_a_hole(3 << 20)) as server:
        archive = open_remote_zip(server.url, cache=tmp_path, client=local_client(QUICK))
        [member] = archive.members
        assert dict(archive.read([member], limit=LIMIT)) == {member: b"abc"}
        first, _, last = server.asked[-1][1].removeprefix("bytes=").partition("-")
    assert int(last) - int(first) < 140_000


@both
@pytest.mark.parametrize("size", [50_000, 0xFFFF_FFF0])
def test_a_packed_size_beyond_the_place_in_the_zip_is_not_read(
    read: Reader, size: int, tmp_path: Path
) -> None:
    data = packed({"a.mp3": b"abc" * 100, "b.mp3": b"b"})
    found = read(changed(changed(data, 18, 20, "<I", size), 22, 24, "<I", size), tmp_path)
    assert isinstance(found["a.mp3"], UnreadableFile)
    assert found["b.mp3"] == b"b"


@both
@pytest.mark.parametrize("offset", [1, 200, 40_000])
def test_a_wrong_offset_gives_a_reason(read: Reader, offset: int, tmp_path: Path) -> None:
    data = bytearray(packed({"a.mp3": b"abc" * 100, "b.mp3": b"b"}))
    struct.pack_into("<L", data, data.find(b"PK\x01\x02") + 42, offset)
    found = read(bytes(data), tmp_path)
    assert isinstance(found["a.mp3"], UnreadableFile)
    assert found["a.mp3"].reason == "file-damaged"


def unfinished(tmp_path: Path) -> tuple[Path, dict[str, bytes]]:
    files = fma_files(
        [{"track_id": n} for n in (2, 5, 7)], {n: bytes([n]) * 500 for n in (2, 5, 7)}
    )
    clips = {name: data for name, data in files.items() if name.endswith(".mp3")}
    tables = {name: data for name, data in files.items() if name not in clips}
    root = write_files(tmp_path / "fma", tables)
    write_zip(root / "fma_large.zip", clips)
    return root, clips


@pytest.mark.parametrize("cut", [500, 100, 0])
def test_a_half_unpacked_zip_gives_what_the_folder_lacks(cut: int, tmp_path: Path) -> None:
    root, clips = unfinished(tmp_path)
    write_files(root, {"fma_large/000/000002.mp3": clips["fma_large/000/000002.mp3"][:cut]})
    rows = fma.read_tracks(root, fma.list_fma(root, "large"), "large", 2026)
    assert rows["box"].to_list() == ["" if cut == 500 else "fma_large.zip", *["fma_large.zip"] * 2]
    for box, name in rows.select("box", "name").iter_rows():
        assert read_file(root, box, name) == clips[name]


def test_an_edited_file_goes_before_that_in_its_zip(tmp_path: Path) -> None:
    root, _ = unfinished(tmp_path)
    write_files(root, {"fma_large/000/000002.mp3": b"shorter"})
    files = list_files(root)
    assert files.filter(files["name"].str.ends_with("000002.mp3"))["box"].to_list() == [""]


def test_an_empty_folder_does_not_hide_its_zip(tmp_path: Path) -> None:
    files = fma_files([{"track_id": 2}], {2: b"x"})
    write_zip(tmp_path / "fma_metadata.zip", {n: d for n, d in files.items() if "csv" in n})
    (tmp_path / "fma_metadata").mkdir()
    rows = fma.read_tracks(tmp_path, fma.list_fma(tmp_path, "large"), "large", 2026)
    assert rows["track_id"].to_list() == ["000002"]


@pytest.mark.parametrize("box", [zipfile.ZIP_DEFLATED, None])
@pytest.mark.parametrize("only", ["", "raw/", "mapping/"])
def test_tables_packed_with_gzip_are_read_like_plain_ones(
    box: int | None, only: str, tmp_path: Path
) -> None:
    names = ["claude-monet_haystacks-1850.jpg", "jan-vermeer_lace-1650.jpg"]
    style = {"artwork___hasstyle___style": (["baroque", "op art"], [(0, 1), (1, 0)])}
    plain = artgraph_files(names, {name: picture(1) for name in names}, style)
    files = {
        f"{name}.gz" if name.endswith(".csv") and name.startswith(only) else name: gzip.compress(
            data
        )
        if name.endswith(".csv") and name.startswith(only)
        else data
        for name, data in plain.items()
    }
    root = tmp_path / "art"
    if box is None:
        write_files(root, files)
    else:
        write_zip(root / "art.zip", files)
    rows = artgraph.read_artworks(root, artgraph.list_artgraph(root), 2026)
    assert rows["style"].to_list() == ["op art", "baroque"]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [(b"no gzip", "is damaged"), (gzip.compress(b"0,a\n", mtime=0)[:-9], "cut short")],
    ids=["no gzip", "cut"],
)
def test_a_damaged_packed_table_is_an_error(data: bytes, sentence: str, tmp_path: Path) -> None:
    write_files(tmp_path, {"mapping/artwork_entidx2name.csv.gz": data})
    with pytest.raises(BadData, match=sentence):
        artgraph.read_artworks(tmp_path, artgraph.list_artgraph(tmp_path), 2026)


def test_two_releases_below_one_folder_are_refused_by_name(tmp_path: Path) -> None:
    files = fma_files([{"track_id": 2}], {2: b"x"})
    write_files(tmp_path, files)
    write_files(tmp_path, {"old/tracks.csv": files["fma_metadata/tracks.csv"]})
    with pytest.raises(BadData, match=r"several tracks\.csv \(.*fma_metadata.* and .*old"):
        fma.read_tracks(tmp_path, fma.list_fma(tmp_path, "large"), "large", 2026)


def test_a_picture_in_other_case_is_found_where_that_leaves_no_doubt(tmp_path: Path) -> None:
    names = ["a_x-1850.jpg", "b_x-1850.jpg", "B_x-1850.jpg", "c_x-1850.jpg"]
    there = ["A_x-1850.JPG", "b_X-1850.jpg", "c_x-1850.JPG", "C_x-1850.jpg"]
    write_files(tmp_path, artgraph_files(names, {name: picture(1) for name in there}))
    rows = artgraph.read_artworks(tmp_path, artgraph.list_artgraph(tmp_path), 2026)
    found = dict(rows.select("artwork_id", "name").iter_rows())
    assert found == {
        "a_x-1850.jpg": "imagesf2/A_x-1850.JPG",
        **dict.fromkeys(["b_x-1850.jpg", "B_x-1850.jpg", "c_x-1850.jpg"], ""),
    }


def test_a_broken_mapping_is_named_with_its_path(tmp_path: Path) -> None:
    write_files(tmp_path, {"mapping/artwork_entidx2name.csv": b"0,a.jpg\n0,b.jpg\n"})
    with pytest.raises(BadData) as told:
        artgraph.read_artworks(tmp_path, artgraph.list_artgraph(tmp_path), 2026)
    assert str(tmp_path / "mapping" / "artwork_entidx2name.csv") in str(told.value)
