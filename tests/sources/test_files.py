"""Folders and zips as sources: what is listed, what is read, and what is refused."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_sources import write_files, write_zip

from artsound.errors import ArtSoundError, BadData, BadUsage
from artsound.sources.files import UnreadableFile, list_files, read_file

FILES = {"a/one.txt": b"one", "a/b/two.txt": b"two two", "three.txt": b"3"}


def _listed(root: Path) -> dict[str, int]:
    return dict(list_files(root).select("name", "size").iter_rows())


def test_a_folder_and_a_zip_of_it_list_and_read_alike(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "folder", FILES)
    archive = write_zip(tmp_path / "all.zip", FILES)
    sizes = {name: len(data) for name, data in FILES.items()}
    assert _listed(folder) == _listed(archive) == sizes
    for name, data in FILES.items():
        assert read_file(folder, "", name) == read_file(archive, "", name) == data


def test_zips_in_a_folder_are_opened_and_only_those_asked_for(tmp_path: Path) -> None:
    write_zip(tmp_path / "inner.zip", FILES)
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 cut short")
    files = list_files(tmp_path, {"inner.zip"})
    assert sorted(files.filter(files["box"] == "inner.zip")["name"]) == sorted(FILES)
    assert read_file(tmp_path, "inner.zip", "three.txt") == b"3"
    with pytest.raises(BadData, match=r"broken\.zip is a damaged or truncated zip"):
        list_files(tmp_path)


def test_of_a_zip_beside_its_unpacked_folder_nothing_is_listed_twice(tmp_path: Path) -> None:
    write_files(tmp_path / "inner", FILES)
    write_zip(tmp_path / "inner.zip", FILES)
    assert set(list_files(tmp_path)["box"]) == {""}
    (tmp_path / "inner.zip").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(BadData, match="or remove it if what it holds lies unpacked beside it"):
        list_files(tmp_path)


def test_a_changed_file_changes_its_stamp(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "all.zip", FILES)
    before = list_files(archive)
    write_zip(archive, {**FILES, "three.txt": b"4"})
    after = list_files(archive)
    assert before["stamp"][2] != after["stamp"][2]
    assert before["stamp"][:2].to_list() == after["stamp"][:2].to_list()


def test_a_missing_source_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match="nowhere does not exist"):
        list_files(tmp_path / "nowhere")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="is empty"):
        list_files(tmp_path)


def test_a_file_that_is_no_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.zip").write_bytes(b"these are notes")
    with pytest.raises(BadData, match=r"notes\.zip is not a zip"):
        list_files(tmp_path / "notes.zip")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_zip_is_refused(tmp_path: Path, share: float) -> None:
    whole = write_zip(tmp_path / "all.zip", {**FILES, "noise": os.urandom(5000)}).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BadData, match=r"cut\.zip is a damaged or truncated zip"):
        list_files(tmp_path / "cut.zip")


@pytest.mark.parametrize("name", ["../out.txt", "a/../../out", "/etc/passwd", "..\\out", "C:\\out"])
def test_a_zip_with_a_name_that_climbs_out_is_refused_whole(tmp_path: Path, name: str) -> None:
    archive = write_zip(tmp_path / "bad.zip", {"fine.txt": b"", name: b"x"})
    with pytest.raises(BadData, match="unsafe name"):
        list_files(archive)


def test_a_zip_with_a_link_is_refused_whole(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "links.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(BadData, match=r"'link\.jpg' in it is a link"):
        list_files(tmp_path / "links.zip")


def test_a_member_that_claims_a_huge_size_is_not_read(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "bomb.zip", {"bomb.mp3": bytes(64 << 20)})
    with pytest.raises(UnreadableFile, match="not believed") as caught:
        read_file(archive, "", "bomb.mp3")
    assert caught.value.reason == "file-too-large"


def test_a_member_that_holds_more_than_it_declares_is_not_read(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "liar.zip", {"liar.mp3": bytes(1 << 20)})
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", data, data.find(signature) + offset, 1000)
    path.write_bytes(data)
    with pytest.raises(UnreadableFile) as caught:
        read_file(path, "", "liar.mp3")
    assert caught.value.reason == "file-damaged"


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    write_files(tmp_path, {"big.mp3": bytes(100)})
    assert len(read_file(tmp_path, "", "big.mp3", limit=100)) == 100
    with pytest.raises(UnreadableFile, match="larger than"):
        read_file(tmp_path, "", "big.mp3", limit=99)


def test_damaged_bytes_in_a_zip_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "plain.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("clip.mp3", b"A" * 1000)
    path.write_bytes(path.read_bytes().replace(b"AAAA", b"AABA", 1))
    with pytest.raises(UnreadableFile) as caught:
        read_file(path, "", "clip.mp3")
    assert caught.value.reason == "file-damaged"


def test_an_encrypted_member_is_distinguished(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "secret.zip", {"clip.mp3": b"x" * 50})
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.find(signature) + offset] |= 1
    path.write_bytes(data)
    with pytest.raises(UnreadableFile) as caught:
        read_file(path, "", "clip.mp3")
    assert caught.value.reason == "file-encrypted"


def test_a_name_in_a_folder_that_is_not_utf8_is_refused_by_name(tmp_path: Path) -> None:
    write_files(tmp_path, FILES)
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")).write_bytes(b"x")
    with pytest.raises(BadData, match="not UTF-8") as caught:
        list_files(tmp_path)
    str(caught.value).encode()


def test_a_name_in_a_zip_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "names.zip", {"café.jpg": b"x"})
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xe9\xe9"))
    with pytest.raises(BadData, match="not UTF-8"):
        list_files(path)


def test_folders_reached_through_links_are_listed_once(tmp_path: Path) -> None:
    write_files(tmp_path / "elsewhere", FILES)
    root = tmp_path / "root"
    root.mkdir()
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "circle").symlink_to(root)
    (root / "itself").symlink_to(root / "itself")
    (root / "nothing").symlink_to(root / "nowhere")
    assert sorted(_listed(root)) == sorted(f"linked/{name}" for name in FILES)


def test_a_name_that_is_no_text_where_the_member_begins_is_damage(tmp_path: Path) -> None:
    damaged = bytearray(write_zip(tmp_path / "all.zip", {"a.txt": b"text"}).read_bytes())
    damaged[damaged.index(b"PK\1\2") + 9] |= 0x08  # the directory says that names are UTF-8
    damaged[damaged.index(b"a.txt")] = 0xCF
    (tmp_path / "all.zip").write_bytes(damaged)
    [name] = list_files(tmp_path / "all.zip")["name"]
    with pytest.raises(UnreadableFile, match="is damaged") as told:
        read_file(tmp_path / "all.zip", "", name)
    assert told.value.reason == "file-damaged"


@given(st.data())
def test_whatever_happens_to_a_zip_it_reads_as_it_was_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("fuzz")
    damaged = bytearray(write_zip(root / "all.zip", FILES).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    (root / "all.zip").write_bytes(damaged)
    with contextlib.suppress(ArtSoundError):
        for name in list_files(root / "all.zip")["name"]:
            assert read_file(root / "all.zip", "", name) in FILES.values()


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"7z\xbc\xaf\x27\x1c\0\4", "a 7z archive"),
        (b"Rar!\x1a\x07\x01\0", "a RAR archive"),
        (bytes(257) + b"ustar\0", "a tar archive"),
        (gzip.compress(b"x", mtime=0), "a gzip file"),
        (bz2.compress(b"x"), "a bzip2 file"),
        (lzma.compress(b"x"), "an xz file"),
        (b"\x28\xb5\x2f\xfd\0", "a Zstandard file"),
    ],
)
def test_an_archive_of_another_kind_is_named_with_the_remedy(
    tmp_path: Path, start: bytes, name: str
) -> None:
    path = tmp_path / "imagesf2.zip"
    path.write_bytes(start + bytes(600))
    with pytest.raises(BadData, match=f"is {name}, not a zip: unpack it"):
        list_files(path)
