"""The bytes of two small builds and of a checkpoint are those in tests/golden.toml."""

from __future__ import annotations

import golden
import pytest

pytestmark = pytest.mark.long

Digests = dict[str, str]


@pytest.fixture(scope="module")
def today(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Digests]:
    """The digests that this code gives on this machine."""
    work = tmp_path_factory.mktemp("golden")
    groups = [name for name in golden.GROUPS if name != "real" or golden.REAL_DATA.is_dir()]
    if _other_environment():
        groups = [name for name in groups if name in golden.ROBUST]
    return golden.measured(work / "sample", work, groups) if groups else {}


@pytest.mark.parametrize("group", golden.GROUPS)
def test_every_output_has_the_bytes_that_were_recorded(
    group: str, today: dict[str, Digests]
) -> None:
    if group == "real" and not golden.REAL_DATA.is_dir():
        pytest.skip("the real files (../shared/data) are not on this machine")
    if other := _other_environment():
        pytest.skip(f"floating-point bytes were recorded with other versions: {other}")
    assert not golden.difference(group, golden.recorded()[group], today[group])


def test_copied_media_have_the_bytes_that_were_recorded_on_any_machine(
    today: dict[str, Digests],
) -> None:
    for group, prefixes in golden.ROBUST.items():
        if group not in today:
            pytest.skip("the real files (../shared/data) are not on this machine")
        expected, found = (
            {name: value for name, value in digests.items() if name.startswith(prefixes)}
            for digests in (golden.recorded()[group], today[group])
        )
        assert expected
        assert not golden.difference(group, expected, found)


def test_a_difference_names_the_files_and_says_how_to_record_it() -> None:
    before = {"same": "1", "other": "2", "gone": "3"}
    message = golden.difference("sample", before, {"same": "1", "other": "9", "more": "4"})
    assert "changed: other" in message
    assert "missing: gone" in message
    assert "new: more" in message
    assert "same" not in message
    assert "make golden" in message
    assert not golden.difference("sample", before, before)


def _other_environment() -> str:
    """How this machine's versions differ from the recorded ones; empty when they do not."""
    recorded, here = golden.recorded()["environment"], golden.environment()
    names = sorted({*recorded, *here})
    return ", ".join(
        f"{name} {recorded.get(name)} there, {here.get(name)} here"
        for name in names
        if recorded.get(name) != here.get(name)
    )
