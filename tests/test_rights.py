"""Licence spellings to normal forms and flags, and when an artwork is free."""

from __future__ import annotations

import csv
from operator import attrgetter
from pathlib import Path
from typing import get_args

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artsound.errors import BadUsage
from artsound.recipe import RightsPolicy
from artsound.rights import (
    AI_TRAINING,
    AI_TRAINING_SOURCES,
    POLICIES,
    PUBLIC_DOMAIN,
    UNKNOWN,
    PainterDates,
    Rights,
    ai_training,
    allows,
    artwork_rights,
    licence_rights,
    painter_dates,
    policy_condition,
    synthetic_rights,
    track_rights,
)
from artsound.sql_filter import rows_where

# (redistribute, derivatives, commercial, share alike, attribution) as one string.
BY, SA, NC, NC_SA, ND, NC_ND = "rdc.a", "rdcsa", "rd..a", "rd.sa", "r.c.a", "r...a"
FREE, NOTHING = "rdc..", "....."

SPELLINGS = [
    ("Attribution", "CC-BY", BY),
    ("Creative Commons Attribution", "CC-BY", BY),
    ("Attribution 3.0 International", "CC-BY-3.0", BY),
    ("Attribution 3.0 Unported", "CC-BY-3.0", BY),
    ("Attribution 2.5 Generic", "CC-BY-2.5", BY),
    ("Attribution 3.0 United States", "CC-BY-3.0-US", BY),
    ("Attribution 3.0 Netherlands", "CC-BY-3.0-NL", BY),
    ("Attribution 1.0 Finland", "CC-BY-1.0-FI", BY),
    ("Attribution 2.0 UK: England", "CC-BY-2.0-UK", BY),
    ("Attribution 2.0 UK: England & Wales", "CC-BY-2.0-UK", BY),
    ("Attribution-ShareAlike", "CC-BY-SA", SA),
    ("Attribution-ShareAlike 3.0 International", "CC-BY-SA-3.0", SA),
    ("Attribution-Share Alike 3.0 Netherlands", "CC-BY-SA-3.0-NL", SA),
    ("Attribution-NonCommercial", "CC-BY-NC", NC),
    ("Attribution-NonCommercial 3.0 International", "CC-BY-NC-3.0", NC),
    ("Attribution-Noncommercial 2.5 Switzerland", "CC-BY-NC-2.5-CH", NC),
    ("Attribution-Noncommercial 3.0 New Zealand", "CC-BY-NC-3.0-NZ", NC),
    ("Attribution-NonCommercial-ShareAlike", "CC-BY-NC-SA", NC_SA),
    ("Attribution-NonCommercial-ShareAlike 3.0 International", "CC-BY-NC-SA-3.0", NC_SA),
    ("Attribution-NonCommercial-ShareAlike 3.0 United States", "CC-BY-NC-SA-3.0-US", NC_SA),
    ("Attribution-Noncommercial-Share Alike 3.0 United States", "CC-BY-NC-SA-3.0-US", NC_SA),
    ("Attribution-Noncommercial-Share Alike 2.5 UK: Scotland", "CC-BY-NC-SA-2.5-SCOTLAND", NC_SA),
    ("Attribution-NonCommercial-ShareAlike 3.0 Inter...", "CC-BY-NC-SA-3.0", NC_SA),
    ("Attribution-Noncommercial-Share Alike 3.0 Unite...", "CC-BY-NC-SA-3.0", NC_SA),
    ("Attribution-NoDerivatives 4.0 International", "CC-BY-ND-4.0", ND),
    ("Attribution-NoDerivs 2.5 Canada", "CC-BY-ND-2.5-CA", ND),
    ("Attribution-No Derivative Works 2.5 Italy", "CC-BY-ND-2.5-IT", ND),
    ("Attribution-Noncommercial-No Derivative Works 3.0 Germany", "CC-BY-NC-ND-3.0-DE", NC_ND),
    ("Attribution-Noncommercial-NoDerivatives 2.0 France", "CC-BY-NC-ND-2.0-FR", NC_ND),
    ("Attribution-NonCommercial-NoDerivs 3.0 Poland", "CC-BY-NC-ND-3.0-PL", NC_ND),
    (
        "Attribution-NonCommercial-NoDerivatives (aka Music Sharing) 3.0 International",
        "CC-BY-NC-ND-3.0",
        NC_ND,
    ),
    ("Attribution-NonCommercial-NoDerivatives (aka M...", "CC-BY-NC-ND", NC_ND),
    ("Creative Commons Attribution-NonCommercial-NoDerivatives 4.0", "CC-BY-NC-ND-4.0", NC_ND),
    ("Music Sharing", "CC-BY-NC-ND", NC_ND),
    ("CC BY-NC-ND 4.0", "CC-BY-NC-ND-4.0", NC_ND),
    ("Attribution-ShareAlike 4.0 International (CC BY-SA 4.0)", "CC-BY-SA-4.0", SA),
    ("Attribution-Noncommercial-No Derivative Works 2.1 Japan", "CC-BY-NC-ND-2.1-JP", NC_ND),
    ("Attribution 2.5 Mainland China", "CC-BY-2.5-CN", BY),
    ("Creative Commons Sampling Plus 1.0", "LicenseRef-CC-Sampling-Plus-1.0", NC),
    ("CC-BY-SA-4.0", "CC-BY-SA-4.0", SA),
    ("http://creativecommons.org/licenses/by-nc-sa/3.0/us/", "CC-BY-NC-SA-3.0-US", NC_SA),
    ("https://creativecommons.org/licenses/by/4.0/legalcode", "CC-BY-4.0", BY),
    ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0", FREE),
    ("CC0 1.0 Universal", "CC0-1.0", FREE),
    ("Creative Commons Zero (CC0)", "CC0-1.0", FREE),
    ("Public Domain Mark 1.0", "CC-PDM-1.0", FREE),
    ("http://creativecommons.org/publicdomain/mark/1.0/", "CC-PDM-1.0", FREE),
    ("Public Domain", PUBLIC_DOMAIN, FREE),
    ("http://creativecommons.org/licenses/publicdomain/", "CC-PDDC", FREE),
    (
        "Public Domain / Sound Recording Common Law Protection",
        "LicenseRef-FMA-Sound-Recording-Common-Law",
        NOTHING,
    ),
    ("FMA-Limited: Download Only", "LicenseRef-FMA-Limited-Download-Only", NOTHING),
    ("http://freemusicarchive.org/FMA_License", "LicenseRef-FMA-Limited-Download-Only", NOTHING),
    ("Sampling Plus 1.0", "LicenseRef-CC-Sampling-Plus-1.0", NC),
    ("NonCommercial Sampling Plus 1.0", "LicenseRef-CC-NC-Sampling-Plus-1.0", NC),
    (
        "http://creativecommons.org/licenses/nc-sampling+/1.0/",
        "LicenseRef-CC-NC-Sampling-Plus-1.0",
        NC,
    ),
    ("Free Art License", "LicenseRef-Free-Art-License", SA),
    ("Free Art License 1.3", "LAL-1.3", SA),
    ("GPL-2.0-or-later", "GPL-2.0-or-later", SA),
    ("GPL-2+", "GPL-2.0-or-later", SA),
    ("GNU General Public License v3", "GPL-3.0-only", SA),
    ("Orphan Work", "LicenseRef-Orphan-Work", NOTHING),
    ("All Rights Reserved", "LicenseRef-All-Rights-Reserved", NOTHING),
    ("", UNKNOWN, NOTHING),
    ("  ", UNKNOWN, NOTHING),
    ("PennSound", UNKNOWN, NOTHING),
    ("Free Music Philosophy (FMP)", UNKNOWN, NOTHING),
    ("CopyrightPlus", UNKNOWN, NOTHING),
    ("ideology.de", UNKNOWN, NOTHING),
    ("Attribution 3.0 Atlantis", UNKNOWN, NOTHING),
    ("Attribution 9.9 International", UNKNOWN, NOTHING),
    ("Attribution-Non...", UNKNOWN, NOTHING),
    ("Attribution-ShareAlike-NoDerivatives 3.0", UNKNOWN, NOTHING),
    ("Attribution with all rights reserved", UNKNOWN, NOTHING),
    ("http://creativecommons.org/licenses/by_nc/3.0", "CC-BY-NC-3.0", NC),
    ("http://creativecommons.org/licenses/by%2Dnc/3.0/", "CC-BY-NC-3.0", NC),
    ("https://creativecommons.org/licenses/by-nc/3.0/us/deed.en", "CC-BY-NC-3.0-US", NC),
    ("Attribution 3.0 (CC BY-NC 3.0)", "CC-BY-NC-3.0", NC),
    ("CC BY-NC-ND 4.0 International", "CC-BY-NC-ND-4.0", NC_ND),
    ("CC BY SA 4.0", "CC-BY-SA-4.0", SA),
    ("Attribution 2.0 England & Wales", "CC-BY-2.0-UK", BY),
    ("CC0 does not apply: all rights reserved", UNKNOWN, NOTHING),
    ("CC0-NC", UNKNOWN, NOTHING),
    ("CC BY 4.0, non commercial", UNKNOWN, NOTHING),
    ("CC BY 4.0 (revoked)", UNKNOWN, NOTHING),
    ("Not under http://creativecommons.org/licenses/by/4.0/", UNKNOWN, NOTHING),
    ("GNU GPL v2, no commercial use", UNKNOWN, NOTHING),
    ("GPL 3 for personal use only", UNKNOWN, NOTHING),
    ("GPL, Version 2 or (at your option) any later version", "GPL-2.0-or-later", SA),
    ("http://creativecommons.org.example.com/licenses/by/4.0/", UNKNOWN, NOTHING),
]


def _flags(text: str) -> str:
    rights = licence_rights(text)
    return _letters(rights)


def _letters(rights: Rights) -> str:
    held = (
        rights.redistribute,
        rights.derivatives,
        rights.commercial,
        rights.share_alike,
        rights.attribution,
    )
    return "".join(letter if flag else "." for letter, flag in zip("rdcsa", held, strict=True))


@pytest.mark.parametrize(("text", "license_id", "flags"), SPELLINGS)
def test_every_spelling_has_its_normal_form_and_flags(
    text: str, license_id: str, flags: str
) -> None:
    assert licence_rights(text).license_id == license_id
    assert _flags(text) == flags


@pytest.mark.parametrize("text", [text for text, *_ in SPELLINGS])
def test_case_and_white_space_change_nothing_but_the_quotation(text: str) -> None:
    other = f"  {text.upper().replace(' ', '  ')} "
    assert licence_rights(other).license_id == licence_rights(text).license_id


def test_every_licence_in_the_real_metadata_is_understood(shared_data: Path) -> None:
    with (shared_data / "fma/fma_metadata/tracks.csv").open(encoding="utf-8") as file:
        rows = csv.reader(file)
        column = [f"{a}.{b}" for a, b in zip(next(rows), next(rows), strict=True)]
        place = column.index("track.license")
        texts = {row[place] for row in rows} - {""}
    assert len(texts) >= 8
    assert {text for text in texts if licence_rights(text).license_id == UNKNOWN} == set()


@given(st.text())
def test_what_is_not_understood_grants_nothing(text: str) -> None:
    rights = licence_rights(text)
    assert rights.reason
    if rights.license_id == UNKNOWN:
        assert _flags(text) == NOTHING


@given(
    st.sampled_from(["", "-NonCommercial", "-Noncommercial"]),
    st.sampled_from(["", "-ShareAlike", "-Share Alike", "-NoDerivatives", "-NoDerivs"]),
    st.sampled_from(["1.0", "2.0", "2.5", "3.0", "4.0"]),
    st.sampled_from(["International", "Generic", "Spain", "United States", "Sweden"]),
)
def test_a_title_means_what_its_words_say(nc: str, rest: str, version: str, port: str) -> None:
    rights = licence_rights(f"Attribution{nc}{rest} {version} {port}")
    assert rights.commercial == (not nc)
    assert rights.share_alike == ("hare" in rest)
    assert rights.derivatives == ("No" not in rest)
    assert version in rights.license_id


@pytest.mark.parametrize(
    ("title", "code", "license_id"),
    [
        ("Attribution-NonCommercial", "by-nc/4.0/", "CC-BY-NC-4.0"),
        ("Attribution 3.0 United States", "by/3.0/", "CC-BY-3.0-US"),
        ("", "by-sa/3.0/", "CC-BY-SA-3.0"),
        ("PennSound", "", UNKNOWN),
        ("Attribution", "by-nc-nd/3.0/", "CC-BY-NC-ND-3.0"),
        ("Orphan Work", "by/3.0/", "LicenseRef-Orphan-Work"),
        ("Attribution-NonCommercial-ShareAlike 3.0", "by/3.0/", "CC-BY-NC-SA-3.0"),
    ],
)
def test_title_and_address_are_read_together_and_the_stricter_holds(
    title: str, code: str, license_id: str
) -> None:
    address = f"http://creativecommons.org/licenses/{code}" if code else ""
    rights = track_rights(title, address)
    assert rights.license_id == license_id
    assert rights.reason


@pytest.mark.parametrize(
    ("title", "code", "license_id", "flags"),
    [
        ("Attribution-NoDerivatives 3.0", "by-nc/3.0/", "CC-BY-ND-3.0 AND CC-BY-NC-3.0", NC_ND),
        ("Attribution-ShareAlike 3.0", "by-nc/3.0/", "CC-BY-SA-3.0 AND CC-BY-NC-3.0", NC_SA),
        ("Attribution-ShareAlike 3.0", "by-nd/3.0/", "CC-BY-ND-3.0", ND),
        ("Attribution 4.0 International", "by/3.0/us/", "CC-BY-4.0 AND CC-BY-3.0-US", BY),
        ("CC0", "by/4.0/", "CC-BY-4.0", BY),
        ("All rights reserved", "by/3.0/", "LicenseRef-All-Rights-Reserved", NOTHING),
        ("PennSound", "by/3.0/", UNKNOWN, NOTHING),
        ("Attribution", "made-up/3.0/", UNKNOWN, NOTHING),
        ("unknown", "by/3.0/", "CC-BY-3.0", BY),
        ("Attribution-Non...", "by-nc/3.0/us/", "CC-BY-NC-3.0-US", NC),
        ("Attribution-Non...", "by/3.0/us/", UNKNOWN, NOTHING),
    ],
)
def test_each_flag_is_the_stricter_of_title_and_address(
    title: str, code: str, license_id: str, flags: str
) -> None:
    rights = track_rights(title, f"http://creativecommons.org/licenses/{code}")
    assert (rights.license_id, _letters(rights)) == (license_id, flags)


@given(st.sampled_from(SPELLINGS), st.sampled_from(SPELLINGS))
def test_title_and_address_never_grant_more_than_either(
    title: tuple[str, str, str], address: tuple[str, str, str]
) -> None:
    if title[0].strip() and address[0].strip() and not title[0].endswith("..."):
        both = track_rights(title[0], address[0])
        for flag in ("redistribute", "derivatives", "commercial"):
            assert not getattr(both, flag) or getattr(licence_rights(title[0]), flag)
            assert (
                not getattr(both, flag)
                or getattr(licence_rights(address[0]), flag)
                or licence_rights(address[0]).license_id == UNKNOWN
            )


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_means_the_same_for_an_item_and_for_an_index(policy: str) -> None:
    licences = [licence_rights(text) for text in ("CC BY", "CC BY-NC", "CC BY-ND", "PennSound")]
    pairs = [(one, other) for one in licences for other in licences]
    index = pl.DataFrame(
        {
            f"{side}_{flag}": [value(pair[number]) for pair in pairs]
            for number, side in enumerate(("artwork", "track"))
            for flag, value in {
                "redistribute": attrgetter("redistribute"),
                "derivatives": attrgetter("derivatives"),
                "commercial": attrgetter("commercial"),
                "ai_training": lambda one: ai_training(one)[0],
            }.items()
        }
    )
    expected = [allows(policy, one) and allows(policy, other) for one, other in pairs]
    assert rows_where(index, policy_condition(policy)).tolist() == expected


@pytest.mark.parametrize(
    ("licence", "training"),
    [
        ("CC0 1.0", "allowed"),
        ("Public Domain Mark 1.0", "allowed"),
        ("CC BY 4.0", "allowed-with-attribution"),
        ("CC BY-SA 3.0", "allowed-with-attribution"),
        ("GPL v2", "allowed-with-attribution"),
        ("CC BY-NC 4.0", "non-commercial-only"),
        ("Attribution-NonCommercial-ShareAlike 3.0", "non-commercial-only"),
        ("Sampling Plus", "non-commercial-only"),
        ("CC BY-ND 4.0", "unknown"),
        ("CC BY-NC-ND 3.0", "unknown"),
        ("All rights reserved", "unknown"),
        ("FMA-Limited: Download Only", "unknown"),
        ("", "unknown"),
    ],
)
def test_a_licence_says_whether_models_may_be_trained(licence: str, training: str) -> None:
    rights = licence_rights(licence)
    assert ai_training(rights) == (training, "licence")
    assert allows("trainable", rights) == (training not in ("unknown", "refused"))


@given(
    st.sampled_from(["CC0 1.0", "CC BY 4.0", "CC BY-NC 4.0", "CC BY-ND 4.0", ""]),
    st.sampled_from(["", "noai"]),
    st.sampled_from(["", *AI_TRAINING]),
    st.booleans(),
)
def test_a_refusal_wins_and_a_preference_never_widens_a_licence(
    licence: str, header: str, preference: str, listed: bool
) -> None:
    rights = licence_rights(licence)
    value, source = ai_training(rights, header=header, preference=preference, listed=listed)
    assert source in AI_TRAINING_SOURCES
    assert (value == "refused") == bool(header or listed or preference == "refused")
    by_licence = ai_training(rights)[0]
    if by_licence == "unknown" and value != "refused":
        assert value == (preference or "unknown")
    else:
        assert AI_TRAINING.index(value) >= AI_TRAINING.index(by_licence)


def test_recipes_offer_every_policy() -> None:
    assert get_args(RightsPolicy) == tuple(POLICIES)


def test_policies_take_what_they_say() -> None:
    by, nc, none = map(licence_rights, ("Attribution", "Attribution-NonCommercial", ""))
    assert [allows("any", one) for one in (by, nc, none)] == [True, True, True]
    assert [allows("redistributable", one) for one in (by, nc, none)] == [True, True, False]
    assert [allows("commercial", one) for one in (by, nc, none)] == [True, False, False]
    nd = licence_rights("Attribution-NoDerivatives")
    assert [allows("adaptable", one) for one in (by, nc, nd)] == [True, True, False]
    assert allows("redistributable", nd)
    with pytest.raises(BadUsage, match="'most' is none of"):
        allows("most", by)


def test_an_artwork_is_free_once_its_painter_is_dead_for_more_than_70_years() -> None:
    assert artwork_rights(1940, PainterDates(died=1955), 2026).license_id == PUBLIC_DOMAIN
    late = artwork_rights(1800, PainterDates(died=1956), 2026)
    assert (late.license_id, late.redistribute) == (UNKNOWN, False)
    assert "1956" in late.reason


def test_a_work_of_more_than_170_years_is_free_whoever_made_it() -> None:
    assert artwork_rights(1855, painter_dates(-1, [1855]), 2026).commercial
    assert not artwork_rights(1856, painter_dates(-1, [1856]), 2026).redistribute


def test_two_old_works_free_the_undated_ones_of_their_painter() -> None:
    assert artwork_rights(-1, painter_dates(-1, [-1, 1850, 1851, 1870]), 2026).redistribute
    assert not artwork_rights(-1, painter_dates(-1, [-1, 1850, 1870]), 2026).redistribute


def test_an_old_year_in_the_title_of_a_modern_work_frees_nothing() -> None:
    for works in ([1666, 1950], [1666, 1812, 1950], [1666, 1930, 1950], [1812, 1840, 1951]):
        painter = painter_dates(-1, works)
        for year in (*works, -1):
            assert not artwork_rights(year, painter, 2026).redistribute


def test_one_work_too_early_for_all_others_is_not_believed_and_does_no_harm() -> None:
    painter = painter_dates(-1, [1280, 1801, 1810, 1855])
    assert (painter.earliest, painter.second, painter.latest) == (1801, 1810, 1855)
    assert artwork_rights(1801, painter, 2026).redistribute
    assert artwork_rights(-1, painter, 2026).redistribute
    assert "contradict" in artwork_rights(1280, painter, 2026).reason


def test_nothing_known_means_protected() -> None:
    rights = artwork_rights(-1, painter_dates(-1, []), 2026)
    assert (rights.license_id, rights.redistribute, rights.commercial) == (UNKNOWN, False, False)


@given(st.integers(-1, 2026), st.lists(st.integers(-1, 2026), max_size=5), st.integers(2026, 2200))
def test_what_is_free_stays_free_as_years_pass(year: int, works: list[int], later: int) -> None:
    painter = painter_dates(-1, [year, *works])
    if artwork_rights(year, painter, 2026).redistribute:
        assert artwork_rights(year, painter, later).redistribute


def test_the_sample_is_given_away() -> None:
    assert synthetic_rights().license_id == "CC0-1.0"
    assert allows("commercial", synthetic_rights())
