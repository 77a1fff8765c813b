"""What may be done with a track or an artwork: licence text and dates in, flags and a reason out.

Unknown always means restricted: whatever no rule here allows is forbidden. The flags describe the
text of a licence; they are not legal advice.

Identifiers are SPDX's (list 3.27) where SPDX has one. A Creative Commons licence that SPDX does
not list (most national ports, or no version given) has SPDX's form: `CC-BY-NC-SA-3.0-US`,
`CC-BY`. Other known licences are `LicenseRef-…`, as SPDX asks; works out of copyright are
`public-domain`; the rest is `unknown`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cache, lru_cache, reduce
from pathlib import Path
from urllib.parse import unquote

from artsound.errors import BadUsage
from artsound.untrusted import read_toml

UNKNOWN = "unknown"
PUBLIC_DOMAIN = "public-domain"

# Copyright ends 70 years after the author's death, at the end of that calendar year
# (directive 2006/116/EC, articles 1 and 8; 17 U.S.C. 302 and 305).
TERM_YEARS = 70
# A painter lives at most this long after a work of theirs: made at 10, dead at 110.
LIFE_AFTER_A_WORK = 100
# Works of one painter further apart than this cannot both be dated rightly.
LONGEST_CAREER = 85
# Prints and casts are made, and dated, for some years after a painter's death.
POSTHUMOUS_YEARS = 10
# A lower year is none: 0 and 1 stand for no date in databases, 87 is 1987 cut short.
FIRST_YEAR = 100


@dataclass(frozen=True, slots=True)
class Rights:
    """What may be done with an item, and why we think so."""

    license_id: str
    redistribute: bool
    derivatives: bool
    commercial: bool
    share_alike: bool
    attribution: bool
    reason: str


# Whether an item may be used to train a model, the most generous first, and who says so.
AI_TRAINING = ("allowed", "allowed-with-attribution", "non-commercial-only", "unknown", "refused")
AI_TRAINING_SOURCES = ("licence", "header", "creator-preference", "opt-out-list")
TRAINABLE = AI_TRAINING[:3]

# Each rights policy, and what both sides of a pair need for it: flags, and `ai_training` to be one
# of TRAINABLE. Everything that applies a policy reads this table: `allows` for one item,
# `policy_condition` for a table.
POLICIES: Mapping[str, tuple[str, ...]] = {
    "any": (),
    "redistributable": ("redistribute",),
    "adaptable": ("redistribute", "derivatives"),
    "commercial": ("redistribute", "commercial"),
    "trainable": ("ai_training",),
}


def _needs(policy: str) -> tuple[str, ...]:
    if policy not in POLICIES:
        known = ", ".join(POLICIES)
        raise BadUsage(f"There is no rights policy of that name: {policy!r} is none of {known}.")
    return POLICIES[policy]


def allows(policy: str, rights: Rights) -> bool:
    """Whether `rights` satisfy a recipe's rights policy.

    `any` takes everything, `redistributable` what may be passed on unchanged, `adaptable` what
    may also be changed (no NoDerivatives), `commercial` what may also be used commercially,
    `trainable` what its licence allows to train models with.

    Raises:
        BadUsage: There is no such policy.
    """
    return all(
        ai_training(rights)[0] in TRAINABLE if need == "ai_training" else getattr(rights, need)
        for need in _needs(policy)
    )


def policy_condition(policy: str, prefixes: Sequence[str] = ("artwork_", "track_")) -> str:
    """The SQL condition that a rights policy means.

    Args:
        policy: A policy of `POLICIES`.
        prefixes: What the names of each side's columns begin with: those of an index; one empty
            prefix for a table of one side.

    Raises:
        BadUsage: There is no such policy.
    """
    trainable = ", ".join(f"'{value}'" for value in TRAINABLE)
    needed = [
        f"{prefix}{need} in ({trainable})" if need == "ai_training" else f"{prefix}{need}"
        for need in _needs(policy)
        for prefix in prefixes
    ]
    return " and ".join(needed) or "true"


def ai_training(
    rights: Rights, *, header: str = "", preference: str = "", listed: bool = False
) -> tuple[str, str]:
    """Whether an item may be used to train models, and who says so.

    A refusal always wins, whoever states it. Else the more restrictive of the creator's preference
    and the licence holds; a preference decides alone where the licence leaves it unknown.

    What a licence says, licence by licence:
    - CC0, public domain: `allowed`. No right is left that training could infringe.
    - BY, BY-SA, free licences: `allowed-with-attribution`. The licence allows every use on the
      condition of credit (CC BY 4.0, sections 2(a)(1) and 3(a)). Whether ShareAlike reaches a model
      is not settled; `share_alike` says where the question arises.
    - NC: `non-commercial-only`. The licence covers no commercial use (BY-NC 4.0, section 2(a)(1)).
    - ND: `unknown`. The licence allows copies, but no adapted work to be shared (BY-ND 4.0, section
      2(a)(1)); whether a model, or what it generates, is one has not been decided.
    - All rights reserved, unknown: `unknown`. Nothing is granted. Exceptions may allow it: text and
      data mining in the EU unless it is reserved (directive (EU) 2019/790, article 4), fair use in
      the United States (17 U.S.C. 107). They depend on who trains and where, and courts disagree.
    Creative Commons states the same of its licences ("Using CC-licensed works for AI training",
    2025): a licence counts only where copyright requires permission.

    Args:
        rights: Those of the licence, or of the law.
        header: The rule of a web server that refuses, such as `noai`; empty: none.
        preference: What the creator prefers, a value of `AI_TRAINING`; empty: not stated.
        listed: Whether an opt-out list names the item or its creator.

    Returns:
        A value of `AI_TRAINING` and one of `AI_TRAINING_SOURCES`.
    """
    if listed:
        return "refused", "opt-out-list"
    if header:
        return "refused", "header"
    by_licence = _licence_training(rights)
    if preference in ("", "unknown"):
        return by_licence, "licence"
    stricter = AI_TRAINING.index(preference) > AI_TRAINING.index(by_licence)
    if stricter or by_licence == "unknown":
        return preference, "creator-preference"
    return by_licence, "licence"


def _licence_training(rights: Rights) -> str:
    if not (rights.redistribute and rights.derivatives):
        return "unknown"
    if not rights.commercial:
        return "non-commercial-only"
    return "allowed-with-attribution" if rights.attribution else "allowed"


def _restricted(license_id: str, reason: str) -> Rights:
    return Rights(license_id, False, False, False, False, False, reason)


def _free(license_id: str, reason: str, *, attribution: bool = False) -> Rights:
    return Rights(license_id, True, True, True, False, attribution, reason)


def _copyleft(license_id: str, reason: str) -> Rights:
    return Rights(license_id, True, True, True, True, True, reason)


# ---------------------------------------------------------------------------------- licences

_VERSIONS = ("1.0", "2.0", "2.1", "2.5", "3.0", "4.0")

_ELEMENT_SPELLINGS = (
    (re.compile(r"non-?\s?commercial"), "NC"),
    (re.compile(r"no[- ]?deriv(?:ative(?:s|\sworks?)?|s)?"), "ND"),
    (re.compile(r"share[- ]?alike"), "SA"),
)
_CC_PREFIX = re.compile(r"^(?:creative commons|cc)[\s:-]+")
_CC_URL = re.compile(
    r"(?:(?<![\w-])creativecommons\.org/|^)licenses/(?P<code>[^/?#\s]+)"
    r"(?:/(?P<version>[\d.]+))?(?:/(?P<port>[a-z.-]+))?"
    r"(?:/(?:deed|legalcode)[a-z.-]*)?/?(?:[?#]\S*)?"
)
_CC_CODE = re.compile(
    r"^(?P<code>(?:by|nc|sa|nd)(?:[\s_-]+(?:by|nc|sa|nd))*)(?:[\s-]+v?(?P<version>\d\.\d))?"
    r"(?:[\s-]+(?P<port>[a-z][a-z:& ]*))?$"
)
# A short form in parentheses after a title, "(CC BY-NC 3.0)": it must agree with the title.
_SHORT_FORM = re.compile(r"\s*\((?P<short>cc[ -][^)]*)\)\s*$")
_DEED = re.compile(r"^(?:deed|legalcode)(?:\.[a-z-]+)?$")
# Words that withdraw what the rest of a text grants.
_DENIAL = re.compile(
    r"\b(?:not|no|never|none|without|except\w*|exclud\w*|unless|until|former(?:ly)?|previously"
    r"|den(?:y|ies|ied)|refus\w*|forbid\w*|prohibit\w*|revoke[ds]?|withdrawn|expired?|invalid|void"
    r"|permission|all rights|rights reserved|(?:is|does|do|are|can)n'?t|cannot)\b"
)
_LIMITS = (
    ("NC", re.compile(r"\bnc\b|\bnon[\s_-]*commercial|\bnot[\s_-]+(?:for[\s_-]+)?commercial")),
    ("ND", re.compile(r"\bnd\b|\bno[\s_-]*deriv")),
    ("SA", re.compile(r"\bsa\b|\bshare[\s_-]*alike")),
)
# What may follow the name of a licence that has no elements: version, host, file, short form.
_HARMLESS_TAIL = re.compile(
    r"(?:[\s\d./()+,-]|universal|international|unported|generic|licen[cs]e|deed(?:\.[a-z-]+)?"
    r"|legalcode(?:\.[a-z-]+)?|cc0|cc zero|public domain dedication|[?#/]\S*$)*"
)
_REST = re.compile(r"^(?:\(aka music sharing\)\s*)?(?:v?(?P<version>\d\.\d)\b\s*)?(?P<port>.*)$")
_GNU = re.compile(
    r"^(?:gnu\s+)?(?P<name>a?gpl|lgpl|gfdl|(?:lesser |affero )?general public license"
    r"|free documentation license)[\s,-]*(?:version\s|v)?(?P<version>\d(?:\.\d)?)?(?P<later>.*)$"
)
_GNU_NAMES = {
    "general public license": "GPL",
    "lesser general public license": "LGPL",
    "affero general public license": "AGPL",
    "free documentation license": "GFDL",
}
# What may follow the name of a GNU licence; any other words may limit it.
_GNU_TAIL = re.compile(
    r"(?:[\s\d.,+()/-]|\b(?:or|any|at your option|later|newer|higher|only|licen[cs]e|version"
    r"|a?gpl|lgpl|gfdl)\b)*"
)

_NO_GRANT = "grants no use beyond what FMA itself offers"
_OTHER = (
    (r"(?:cc0|(?:cc |creative commons )?zero|publicdomain/zero)",
     _free("CC0-1.0", "dedicated to the public domain (CC0)")),
    (r"(?:.*sound recording common law)",
     _restricted("LicenseRef-FMA-Sound-Recording-Common-Law",
                 "the composition is free, the recording is protected by common law")),
    (r"(?:public domain mark|publicdomain/mark)",
     _free("CC-PDM-1.0", "marked as free of known copyright")),
    (r"(?:licenses/publicdomain|public domain dedication)",
     _free("CC-PDDC", "dedicated to the public domain")),
    (r"(?:public domain)$", _free(PUBLIC_DOMAIN, "stated to be in the public domain")),
    (r"(?:fma-?\s?limited|.*freemusicarchive\.org/fma_license)",
     _restricted("LicenseRef-FMA-Limited-Download-Only", f"FMA-Limited {_NO_GRANT}")),
    (r"(?:licenses/nc-sampling\+|(?:noncommercial |nc-)sampling(?: plus|\+))",
     Rights("LicenseRef-CC-NC-Sampling-Plus-1.0", True, True, False, False, True,
            "NonCommercial Sampling Plus 1.0: samples and whole copies, not commercially")),
    (r"(?:sampling plus|sampling\+|licenses/sampling\+)",
     Rights("LicenseRef-CC-Sampling-Plus-1.0", True, True, False, False, True,
            "Sampling Plus 1.0: whole copies may not be used commercially")),
    (r"(?:free art licen[cs]e|licence art libre)(?: 1\.3)$",
     _copyleft("LAL-1.3", "Free Art License")),
    (r"(?:free art licen[cs]e|licence art libre)(?: 1\.2)$",
     _copyleft("LAL-1.2", "Free Art License")),
    (r"(?:free art licen[cs]e|licence art libre|.*artlibre\.org)",
     _copyleft("LicenseRef-Free-Art-License", "Free Art License, version not stated")),
    (r"(?:eff )?open audio licen[cs]e",
     _copyleft("LicenseRef-EFF-Open-Audio-License", "EFF Open Audio License")),
    (r"orphan works?",
     _restricted("LicenseRef-Orphan-Work", "orphan work: the holder of its rights is unknown")),
    (r"(?:all rights reserved|copyright\b|©|\(c\))",
     _restricted("LicenseRef-All-Rights-Reserved", "all rights reserved")),
)  # fmt: skip
_OTHER_RULES = tuple((re.compile(pattern), rights) for pattern, rights in _OTHER)


@cache
def _tables() -> tuple[Mapping[str, str], Mapping[str, tuple[int, int]]]:
    """The ports of Creative Commons' licences and the years of styles, from rights.toml."""
    path = Path(__file__).with_suffix(".toml")
    tables = read_toml(path, "table of rights")
    ports: dict[str, str] = tables["ports"]
    years = {style: (first, last) for style, (first, last) in tables["style_years"].items()}
    for name in (*ports, *years):
        if name != " ".join(name.casefold().split()):
            raise ValueError(f"{path}: {name!r} must be in lower case with single spaces")
    if wrong := [name for name, code in ports.items() if not re.fullmatch("[A-Z]*", code)]:
        raise ValueError(f"{path}: the code of {wrong[0]!r} must be capital letters")
    if wrong := [style for style, (first, last) in years.items() if not first < last]:
        raise ValueError(f"{path}: {wrong[0]!r} must begin before it ends")
    return ports, years


def _ports() -> Mapping[str, str]:
    return _tables()[0]


@lru_cache(maxsize=4096)
def licence_rights(text: str) -> Rights:
    """The rights that a licence's name or address grants; restricted when it is not understood.

    Understood are Creative Commons' titles in all spellings that FMA uses (with version and
    port, "aka Music Sharing", cut short with "..."), their addresses and codes, CC0 and public
    domain marks, FMA-Limited, Sampling Plus, Free Art, Open Audio and GNU licences.
    """
    plain = " ".join(text.split())
    if not plain:
        return _restricted(UNKNOWN, "no licence stated")
    short = unquote(plain).casefold()
    found = _other(short) or _creative_commons(short) or _gnu(short)
    if found is None:
        return _restricted(UNKNOWN, f"licence not recognised: {plain[:80]}")
    if found.redistribute and _denies(short, found):
        return _restricted(UNKNOWN, f"licence contradicts itself: {plain[:80]}")
    return found


def track_rights(title: str, address: str) -> Rights:
    """The rights that a licence's title and its address (either may be empty) grant together.

    Where both are understood and one only adds version or port, it names the licence.
    Where they disagree, each flag is the more restrictive of the two, and the licence is the one
    that grants nothing beyond the other, or `A AND B` (an SPDX expression) where each forbids what
    the other grants. A title that states nothing, or is cut short, leaves the decision to the
    address; one that is not understood grants nothing, whatever the address.
    """
    named, linked = licence_rights(title), licence_rights(address)
    if not address.strip():
        return named
    if _silent(title):
        return linked
    if named.license_id == UNKNOWN and _cut(title):
        return _both([_cut_elements(title, linked), linked], f"{title} / {address}")
    if linked.license_id == UNKNOWN and not _about_licences(address):
        return named  # the address of some page, which states no licence
    return _both([named, linked], f"{title} / {address}")


_SILENT = frozenset({"", "unknown", "none", "n/a", "na", "nan", "null", "-", "?", "other"})


def _silent(title: str) -> bool:
    return title.strip().casefold() in _SILENT


def _cut(title: str) -> bool:
    return title.rstrip().endswith(("...", "…"))


def _about_licences(address: str) -> bool:
    return (
        re.search(r"licen[cs]e|creativecommons|publicdomain|rights", address.casefold()) is not None
    )


def _cut_elements(title: str, whole: Rights) -> Rights:
    """What a title that is cut short forbids for certain, under the name of the whole licence."""
    short = title.casefold()
    if _from_title(_CC_PREFIX.sub("", short).partition("-")[0].strip(" .…")) is None:
        return _restricted(UNKNOWN, f"licence not recognised: {title[:80]}")
    limits = {element for element, pattern in _LIMITS if pattern.search(short)}
    begun = re.split(r"[\s-]+", short.rstrip(" .…"))[-1]  # a word that may have been cut
    if begun.startswith("no") and not limits & {"NC", "ND"}:
        if whole.commercial and ("noncommercial".startswith(begun) or whole.derivatives):
            return _restricted(UNKNOWN, f"licence cut short: {title[:80]}")
    elif "sharealike".startswith(begun) and whole.derivatives and not whole.share_alike:
        return _restricted(UNKNOWN, f"licence cut short: {title[:80]}")
    return replace(
        whole,
        derivatives=whole.derivatives and "ND" not in limits,
        commercial=whole.commercial and "NC" not in limits,
        share_alike=whole.share_alike or "SA" in limits,
    )


def _both(stated: list[Rights], where: str) -> Rights:
    """What all of several statements about one item grant."""
    first = stated[0]
    redistribute = all(one.redistribute for one in stated)
    derivatives = all(one.derivatives for one in stated)
    merged = replace(
        first,
        redistribute=redistribute,
        derivatives=derivatives,
        commercial=all(one.commercial for one in stated),
        share_alike=derivatives and any(one.share_alike for one in stated),
        attribution=redistribute and any(one.attribution for one in stated),
    )
    if len({astuple(one)[1:6] for one in stated}) == 1:
        longest = max(stated, key=lambda one: len(one.license_id))
        if all(_refines(longest.license_id, one.license_id) for one in stated):
            return longest
        ids = dict.fromkeys(one.license_id for one in stated)
    else:
        # A licence is named when nothing in it is more generous than what holds; else all are.
        strict = [one for one in stated if astuple(one)[1:6] == astuple(merged)[1:6]]
        unknown = [one for one in stated if one.license_id == UNKNOWN]
        chosen = unknown or strict[:1] or stated
        ids = dict.fromkeys(one.license_id for one in chosen)
        first = chosen[0]
    reason = f"{first.reason} (title and address of the licence disagree: {where})"
    return replace(merged, license_id=" AND ".join(ids), reason=reason)


def _refines(longer: str, shorter: str) -> bool:
    """Whether a licence's identifier is another's, or that with a version or port added."""
    return longer == shorter or longer.startswith(f"{shorter}-")


def _denies(text: str, found: Rights) -> bool:
    """Whether a text takes back, or limits further, what was understood of it."""
    rest = re.sub(r"no[\s_-]*deriv\w*|non[\s_-]*commercial|not[\s_-]derived", " ", text)
    if _DENIAL.search(rest):
        return True
    held = {
        "NC": not found.commercial,
        "ND": not found.derivatives,
        "SA": found.share_alike,
    }
    words = re.sub(r"[_%+-]", " ", text)
    return any(pattern.search(words) and not held[element] for element, pattern in _LIMITS)


def _other(text: str) -> Rights | None:
    """The licences that are not made of Creative Commons' elements."""
    for start in (_CC_PREFIX.sub("", text), _after_host(text)):
        for pattern, rights in _OTHER_RULES:
            match = pattern.match(start)
            if match and not rights.redistribute:
                return rights
            if match and _HARMLESS_TAIL.fullmatch(start[match.end() :]):
                return rights
    return None


def _after_host(text: str) -> str:
    """An address without its scheme and Creative Commons' host, for the rules that name paths."""
    return re.sub(r"^https?://(?:www\.)?(?:creativecommons\.org/)?", "", text)


def _creative_commons(text: str) -> Rights | None:
    links = list(_CC_URL.finditer(text))
    if links:
        read = [_from_code(link["code"], link["version"], link["port"]) for link in links]
        around = _CC_URL.sub(" ", text)
        around = re.sub(r"https?://|\bwww\.|[\s<>()\[\]\"'.,;:|]+", " ", around).strip()
        if around:
            read.append(_creative_commons(around))
        understood = [one for one in read if one is not None]
        return _all_of(understood, text) if len(understood) == len(read) else None
    if match := _SHORT_FORM.search(text):
        parts = [_creative_commons(text[: match.start()]), _creative_commons(match["short"])]
        understood = [one for one in parts if one is not None]
        return _all_of(understood, text) if len(understood) == 2 else None
    bare = _CC_PREFIX.sub("", text).removesuffix(" license").strip()
    if match := _CC_CODE.match(bare):
        port = match["port"]
        return _from_code(
            match["code"], match["version"], _ports().get(port, port) if port else None
        )
    if bare == "music sharing":
        return _cc_rights(("BY", "NC", "ND"), "", "")
    return _from_title(bare)


def _all_of(stated: list[Rights], text: str) -> Rights:
    return reduce(lambda one, other: _both([one, other], text), stated)


def _from_code(code: str, version: str | None, port: str | None) -> Rights | None:
    elements = {element.upper() for element in re.split(r"[\s_+-]+", code)}
    if not elements <= {"BY", "NC", "SA", "ND"} or {"SA", "ND"} <= elements:
        return None
    where = "" if not port or _DEED.match(port) else port.upper()
    if where and where not in _ports().values():
        return None
    if version and version not in _VERSIONS:
        return None
    order = [element for element in ("BY", "NC", "ND", "SA") if element in elements]
    return _cc_rights(tuple(order), version or "", where)


def _from_title(text: str) -> Rights | None:
    """Read "attribution-noncommercial-share alike 3.0 united states", maybe cut short."""
    cut = text.endswith(("...", "…"))
    rest = text.removesuffix("...").removesuffix("…")
    if not rest.startswith("attribution"):
        return None
    rest = rest.removeprefix("attribution")
    elements = ["BY"]
    while step := _next_element(rest):
        element, rest = step
        elements.append(element)
    rest = rest.strip(" -,/")
    if cut:
        # What was cut may have been another element, unless something else follows already.
        if not rest.startswith(("(", *"1234")):
            return None
        if rest.startswith("("):
            return _known_elements(elements, "", "")
    match = _REST.match(rest)
    if match is None:
        return None
    port = match["port"].strip(" ,().")
    version = match["version"] or ""
    if cut:
        if not version:
            return _known_elements(elements, "", "")
        fits = {code for name, code in _ports().items() if name.startswith(port)}
        return (
            _known_elements(elements, version, fits.pop())
            if len(fits) == 1 and port
            else (_known_elements(elements, version, ""))
        )
    if port and port not in _ports():
        return None
    return _known_elements(elements, version, _ports().get(port, ""))


def _next_element(text: str) -> tuple[str, str] | None:
    rest = text.lstrip(" -,/")
    for pattern, element in _ELEMENT_SPELLINGS:
        if match := pattern.match(rest):
            return element, rest[match.end() :]
    return None


def _known_elements(elements: list[str], version: str, port: str) -> Rights | None:
    if len(set(elements)) < len(elements) or {"SA", "ND"} <= set(elements):
        return None
    if version and version not in _VERSIONS:
        return None
    order = tuple(element for element in ("BY", "NC", "ND", "SA") if element in elements)
    return _cc_rights(order, version, port)


def _cc_rights(elements: tuple[str, ...], version: str, port: str) -> Rights:
    name = "-".join(elements)
    return Rights(
        license_id="-".join(part for part in ("CC", name, version, port) if part),
        redistribute=True,
        derivatives="ND" not in elements,
        commercial="NC" not in elements,
        share_alike="SA" in elements,
        attribution="BY" in elements,
        reason=" ".join(part for part in ("Creative Commons", name, version, port) if part),
    )


def _gnu(text: str) -> Rights | None:
    match = _GNU.match(text)
    if match is None or not _GNU_TAIL.fullmatch(match["later"]):
        return None
    name = _GNU_NAMES.get(match["name"], match["name"].upper())
    if not match["version"]:
        return _copyleft(f"LicenseRef-{name}", f"GNU {name}, version not stated")
    version = match["version"] if "." in match["version"] else f"{match['version']}.0"
    later = re.search(r"\+|later", match["later"])
    ending = "or-later" if later else "only"
    return _copyleft(f"{name}-{version}-{ending}", f"GNU {name} {version}")


# ---------------------------------------------------------------------------------- artworks


@dataclass(frozen=True, slots=True)
class PainterDates:
    """What is known of a painter's life; every year -1 when unknown.

    `earliest`, `second` and `latest` are years of dated works that fit into one life, `second`
    that of the second earliest. `consistent` is false when the dates fit into none.
    """

    died: int = -1
    earliest: int = -1
    second: int = -1
    latest: int = -1
    consistent: bool = True


def painter_dates(died: int, works: Iterable[int]) -> PainterDates:
    """The dates of a painter from the year of death and the years of all works.

    Years below `FIRST_YEAR`, such as -1 and 0, are unknown.

    Years are read from file names, where a title may end in one ("the-great-fire-1666"): one
    work that is too early to fit with all the others is taken for such a case and left out.
    """
    died = died if died >= FIRST_YEAR else -1
    years = sorted(year for year in works if year >= FIRST_YEAR)
    if len(years) > 2 and years[-1] - years[0] > LONGEST_CAREER:
        years = years[1:]
    if not years:
        return PainterDates(died)
    fits = years[-1] - years[0] <= LONGEST_CAREER
    return PainterDates(died, years[0], years[1] if len(years) > 1 else -1, years[-1], fits)


def bears_out(style: str, year: int) -> bool:
    """Whether an artwork's style ended long ago and includes its year, so that both agree."""
    span = _tables()[1].get(" ".join(re.split(r"[\W_]+", style.casefold())).strip())
    return span is not None and span[0] <= year <= span[1]


def artwork_rights(
    year: int, painter: PainterDates, this_year: int, *, sure: bool = True
) -> Rights:
    """The rights of a reproduction of a flat artwork of `year` (-1 unknown), in `this_year`.

    `sure` is false for a year that was read from a file name and that nothing else bears out, such
    as another dated work of the painter or the style: titles may end in a number that is no date.

    In the public domain is a work
    1. whose painter died more than 70 years ago; where that year is known, it decides, unless the
       work is dated later, or the painter's works do not fit a life that ended then: namesakes
       share a name;
    2. which was made more than 170 years ago: no painter lives more than 100 years after
       making a work (10 years old then, 110 at death), and 70 years of protection follow;
    3. of a painter with two works dated so long ago, for the same reason. Two, since one date
       may be misread.
    Rules 2 and 3 are void where dates contradict each other: works of one painter more than 85
    years apart, but for a single one too early for all others, which is then ignored.
    Everything else counts as protected.

    A faithful photograph of a flat work in the public domain gets no protection of its own
    (directive (EU) 2019/790, article 14; Bridgeman Art Library v. Corel, S.D.N.Y. 1999).
    """
    year = year if year >= FIRST_YEAR else -1
    if painter.died >= FIRST_YEAR:
        if year > painter.died or not _fits_death(painter):
            return _restricted(
                UNKNOWN, f"the painter's works contradict the year of death, {painter.died}"
            )
        if this_year - painter.died > TERM_YEARS:
            return _free(PUBLIC_DOMAIN, f"painter died in {painter.died}")
        return _restricted(UNKNOWN, f"painter died in {painter.died}, less than 70 years ago")
    if not painter.consistent or 0 <= year < painter.earliest:
        return _restricted(UNKNOWN, "the dates of the painter's works contradict each other")
    limit = this_year - LIFE_AFTER_A_WORK - TERM_YEARS
    if 0 <= year < limit and not sure:
        return _restricted(UNKNOWN, f"only its file's name dates it to {year}, and nothing else")
    if 0 <= year < limit:
        return _free(PUBLIC_DOMAIN, f"made in {year}, more than 170 years ago")
    if 0 <= painter.second < limit:
        return _free(
            PUBLIC_DOMAIN, f"its painter made works in {painter.earliest} and {painter.second}"
        )
    return _restricted(UNKNOWN, "year of the painter's death unknown, and no work old enough")


def _fits_death(painter: PainterDates) -> bool:
    """Whether the dated works may all be of one painter who died in the year that is known."""
    if painter.latest < 0:
        return True
    return (
        painter.consistent
        and painter.latest <= painter.died + POSTHUMOUS_YEARS
        and painter.earliest >= painter.died - LIFE_AFTER_A_WORK
    )


def synthetic_rights() -> Rights:
    """The rights of the pictures of the bundled sample, which are this project's own."""
    return _free("CC0-1.0", "painted by this project's code, dedicated to the public domain (CC0)")
