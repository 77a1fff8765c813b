"""Checks of captions that models write: the reason code of a fault, or none.

Each check looks for one fault and rejects when in doubt, since a grounded caption replaces a
rejected one. Their limits: "not-english" counts function words and scripts, it does not identify a
language; "name-not-in-record" finds names in quotation marks, after "by" or "titled", and names of
other people in the catalogue, not every proper noun.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from artsound.captions import measures
from artsound.captions.base import CaptionItem
from artsound.captions.phrasing import slug, word_count, word_set
from artsound.captions.vocabulary import PITCHES
from artsound.catalogue import Side
from artsound.encoders.base import embedding_folder, load_embeddings, open_encoder, side_encoder
from artsound.encoders.embed import VectorCache
from artsound.errors import BadData, BadUsage
from artsound.recipe import Recipe
from artsound.schema import Artwork, ArtworkDescriptors, TrackDescriptors
from artsound.storage import Workspace, read_json, sha256_bytes

PASSED = "passed"  # what is recorded of a caption that fails no check


@dataclass(frozen=True)
class Limits:
    """Fewest and most words of a caption."""

    min_words: int
    max_words: int


def failure(text: str, item: CaptionItem, limits: Limits, names: Collection[str] = ()) -> str:
    """Check a text as a caption of an item.

    Args:
        text: The caption.
        item: Its item.
        limits: Fewest and most words.
        names: The painters and musicians of the whole catalogue, as written; naming one who is
            not in the item's record is a fault.

    Returns:
        The reason code of the first failed check: empty, refusal, non-text, too-short, too-long,
        repetitive, not-english, name-not-in-record, contradicts-tempo, contradicts-key,
        contradicts-loudness, contradicts-light or contradicts-colour; "" if none fails.
    """
    if not text.strip():
        return "empty"
    checks: tuple[tuple[str, Callable[[], bool]], ...] = (
        ("refusal", lambda: _REFUSAL.search(text) is not None),
        ("non-text", lambda: _is_non_text(text)),
        ("not-english", lambda: not _is_latin(text)),
        ("too-short", lambda: word_count(text) < limits.min_words),
        ("too-long", lambda: word_count(text) > limits.max_words),
        ("repetitive", lambda: _is_repetitive(text)),
        ("not-english", lambda: not _has_english_words(text)),
        ("name-not-in-record", lambda: _has_strange_name(text, item, names)),
    )
    for reason, fails in checks:
        if fails():
            return reason
    if isinstance(item.measured, TrackDescriptors):
        return _sound_contradiction(text, item.measured)
    return _picture_contradiction(text, item.measured)


def tidy(text: str) -> str:
    """A model's raw text as a caption.

    It is one line without surrounding quotation marks or labels, begins with a capital, and ends
    with a full stop; a last sentence that the token limit cut off is removed if others remain.
    """
    text = " ".join(text.split())
    text = re.sub(r"^(?:caption|description|answer|assistant)\s*:\s*", "", text, flags=re.I)
    if len(text) > 1 and text[0] in "\"“'" and text[-1] in "\"”'":
        text = text[1:-1].strip()
    if text and text[-1] not in ".!?":
        end = max(text.rfind(". "), text.rfind("! "), text.rfind("? "))
        text = text[: end + 1] if end > 0 else text.rstrip(",;:- ") + "."
    return text[:1].upper() + text[1:] if text.strip(".") else ""


# --- text ---------------------------------------------------------------------------------------

_REFUSAL = re.compile(
    r"\b(?:i'?m sorry|i am sorry|i apologi[sz]e|i can(?:no|')t\b|i can not|i am unable|"
    r"i'?m unable|i'?m not able|as an ai\b|language model|unable to (?:see|hear|view|listen|"
    r"process|determine|provide|identify)|cannot (?:see|hear|view|listen|assist|help)|"
    r"no (?:image|audio|picture|sound) (?:was|is|has been) (?:provided|attached|given)|"
    r"(?:please|could you) (?:provide|upload|attach)|don't have access)",
    re.IGNORECASE,
)
_MARKS = re.compile(
    r"<[^<>\s]*>|</|\[/?[A-Z_]{2,}\]|https?:|www\.|```|\{|\}|\\n|\\u|&\w+;|\bnull\b|\bNaN\b"
)


def _is_non_text(text: str) -> bool:
    if _MARKS.search(text):
        return True
    if any(unicodedata.category(char) in ("Cc", "Cf", "Cn", "Co", "Cs") for char in text):
        return True
    if "\N{REPLACEMENT CHARACTER}" in text:
        return True
    dense = [char for char in text if not char.isspace()]
    if sum(char.isalpha() for char in dense) < 0.75 * len(dense):
        return True
    return any(len(word) > 30 for word in text.split())


def _is_repetitive(text: str) -> bool:
    """A word twice in a row, a phrase of three words three times, or one of five words twice."""
    if any(match[1].lower() not in _MAY_DOUBLE for match in _DOUBLED.finditer(text)):
        return True
    words = _words(text)
    if len(words) >= 12 and len(set(words)) < 0.45 * len(words):
        return True
    return any(_most_often(words, size) > most for size, most in ((3, 2), (5, 1)))


_DOUBLED = re.compile(r"\b(\w+)\s+\1\b", re.IGNORECASE)
_MAY_DOUBLE = frozenset({"very", "that", "had"})


def _most_often(words: list[str], size: int) -> int:
    grams = Counter(tuple(words[i : i + size]) for i in range(len(words) - size + 1))
    return max(grams.values(), default=0)


_ENGLISH = word_set(
    "a an and are as at be both but by for from has have here in into is it its of on one or over "
    "other some that the their there these this through to two up which while who with"
)
_OTHERS = word_set(
    "der die das und ein eine einer mit ist von auf zu le la les des du un une et est avec dans "
    "sur au aux el los las una y con es por que del il lo gli che di per sono um uma com não para "
    "het een van met op zijn och ett på med av en de"
)


def _is_latin(text: str) -> bool:
    letters = [char for char in text if char.isalpha()]
    return sum("LATIN" in unicodedata.name(char, "") for char in letters) >= 0.95 * len(letters)


def _has_english_words(text: str) -> bool:
    words = _words(text)
    english = sum(word in _ENGLISH for word in words)
    others = sum(word in _OTHERS for word in words)
    return english >= 0.12 * len(words) and english > others


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", text.lower())


# --- names --------------------------------------------------------------------------------------

_NAME_WORD = r"(?:[A-Z]\.|[A-Z][\w'’-]*)"  # a full stop only after an initial
_NAME = (
    rf"{_NAME_WORD}(?:\s+(?:(?:van|von|de|der|den|da|di|du|del|la|le|the|of|and|&|el|y|ten)\s+)*"
    rf"{_NAME_WORD})*"
)
_QUOTED = re.compile(r"“([^”]{2,80})”|\"([^\"]{2,80})\"|«([^»]{2,80})»|(?<!\w)‘([^’]{2,80})’(?!\w)")
_CLAIMED = re.compile(rf"\b(?:by|titled|entitled|called|named)\s+(?:the\s+)?({_NAME})")
_MAKER = re.compile(
    r"\b(?:by|from)\s+(?:the\s+)?(?:\w+\s+){0,3}?(?:artist|painter|band|singer|composer|musician|"
    rf"rapper|duo|group|producer)\s+({_NAME})"
)
_CAPITALISED = re.compile(_NAME)
_LONGEST_NAME = 6


def _has_strange_name(text: str, item: CaptionItem, names: Collection[str]) -> bool:
    record = item.record
    if isinstance(record, Artwork):
        own = [record.title, record.painter, record.style, record.school, record.period]
    else:
        own = [record.title, record.artist, record.album, record.genre, *record.genres]
    known = set(slug(" ".join(own)).split())
    claims = [next(group for group in match.groups() if group) for match in _QUOTED.finditer(text)]
    for pattern in (_CLAIMED, _MAKER):
        claims += [match[1] for match in pattern.finditer(text)]
    for claim in claims:
        if not set(slug(claim).split()) <= known | _SMALL_WORDS:
            return True
    return any(
        name in names and not set(slug(name).split()) <= known for name in _name_candidates(text)
    )


_SMALL_WORDS = word_set("the a an of and in on at by to s")


def _name_candidates(text: str) -> Iterable[str]:
    """Runs of two words or more with capitals, and every such run inside a longer one."""
    for match in _CAPITALISED.finditer(text):
        words = [
            word.removesuffix("'s").removesuffix("’s").strip(".,") for word in match[0].split()
        ]
        for start in range(len(words)):
            for stop in range(start + 2, min(start + _LONGEST_NAME, len(words)) + 1):
                yield " ".join(words[start:stop])


# --- measured facts -----------------------------------------------------------------------------

_FAST = re.compile(r"\b(?:fast|up-?tempo|high-tempo|rapid tempo|allegro|presto)\b", re.I)
_SLOW = re.compile(
    r"\b(?:slow(?!\s+(?:build|fade|rise|burn|swell|crescendo))|slow-paced|low-tempo|down-?tempo|"
    r"adagio|largo)\b",
    re.I,
)
_BEATS = re.compile(r"\b(\d{2,3})(?:\.\d+)?\s*-?(?:bpm|beats per minute)\b", re.I)
_KEY = re.compile(
    r"\b(?:in|key of|key is|key:)\s+(?:the key of\s+)?([A-G])(?:[- ]?(sharp|flat)|([#♯b♭]))?"
    r"[- ]?(major|minor|maj|min)\b"
)
_MODE = re.compile(r"\b(major|minor)[- ](?:key|mode|scale|tonality)\b", re.I)
_LOUD = re.compile(
    r"(?<!soft and )(?<!quiet and )\b(?:loud|deafening|blaring)\b(?! and (?:soft|quiet))", re.I
)
_QUIET = re.compile(r"(?<!loud and )\b(?:quiet|hushed|whispered|silent)\b(?! and loud)", re.I)
_BEATS_TOLERANCE = 0.08
_PITCHES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_WHOLE_PICTURE = (
    r"(?:(?!(?:and|or|a|an|the|of|in|with|to)\b)\w+,?\s+){0,2}(?:painting|picture|image|scene|work|artwork|composition|portrait|landscape|"
    r"tonality|tones|palette|colou?rs)\b"
)
_DARK = re.compile(rf"\b(?:dark|gloomy|shadowy|dim|dimly lit)\s+{_WHOLE_PICTURE}", re.I)
_LIGHT = re.compile(
    rf"\b(?:bright|pale|luminous|sunlit|light-filled|brightly lit)\s+{_WHOLE_PICTURE}", re.I
)
_NO_COLOUR = re.compile(
    r"\b(?:black[- ]and[- ]white|monochrom\w*|gr[ea]y-?scale|colou?rless|sepia)\b", re.I
)
_COLOURFUL = re.compile(
    r"\b(?:colou?rful|vivid|vibrant|brightly colou?red|richly colou?red|saturated)\b", re.I
)


def _sound_contradiction(text: str, d: TrackDescriptors) -> str:
    if d.pulse_clarity >= measures.TEMPO_MIN_PULSE:
        level = measures.TEMPO.level(d.tempo)
        if (level < 0 and _FAST.search(text)) or (level > 0 and _SLOW.search(text)):
            return "contradicts-tempo"
        for match in _BEATS.finditer(text):
            if abs(float(match[1]) - d.tempo) > _BEATS_TOLERANCE * d.tempo:
                return "contradicts-tempo"
    if d.key_clarity >= measures.KEY_MIN_CLARITY and _names_another_key(text, d):
        return "contradicts-key"
    level = measures.LOUDNESS.level(d.loudness)
    if (level < 0 and _LOUD.search(text)) or (level > 0 and _QUIET.search(text)):
        return "contradicts-loudness"
    return ""


def _names_another_key(text: str, d: TrackDescriptors) -> bool:
    pitch = PITCHES.index(d.key)
    for letter, word, sign, mode in _KEY.findall(text):
        step = {"sharp": 1, "#": 1, "♯": 1, "flat": -1, "b": -1, "♭": -1}.get(word or sign, 0)
        if (_PITCHES[letter] + step) % 12 != pitch or mode[:3] != d.mode[:3]:
            return True
    return any(mode.lower() != d.mode for mode in _MODE.findall(text))


def _picture_contradiction(text: str, d: ArtworkDescriptors) -> str:
    level = measures.LIGHTNESS.level(d.lightness)
    if (level > 0 and _DARK.search(text)) or (level < 0 and _LIGHT.search(text)):
        return "contradicts-light"
    level = measures.CHROMA.level(d.chroma)
    if (level >= 0 and _NO_COLOUR.search(text)) or (level <= -2 and _COLOURFUL.search(text)):
        return "contradicts-colour"
    return ""


# Near-duplicate captions: MinHash, then the exact Jaccard index.

SHINGLE = 3
THRESHOLD = 0.8
_HASHES = 64
_ROWS = 4  # 16 bands of 4: a pair of Jaccard index 0.8 shares a band with probability 0.9998


def near_duplicates(captions: Sequence[str], threshold: float = THRESHOLD) -> list[int]:
    """For each caption the index of an earlier one that it nearly repeats, or −1.

    Two captions nearly repeat each other when the sets of their word triples (letters and digits
    only, lower case) have a Jaccard index of `threshold` or more. Captions are compared with those
    that repeat none, so all of several equal captions point to the first. Candidates come from
    MinHash signatures (Broder 1997) in bands, and are then compared exactly.
    """
    shingles = [_shingles(caption) for caption in captions]
    buckets: dict[tuple[int, bytes], list[int]] = {}
    repeated = [-1] * len(captions)
    for index, own in enumerate(shingles):
        signature = _signature(own)
        bands = [
            (band, signature[band * _ROWS : (band + 1) * _ROWS].tobytes())
            for band in range(_HASHES // _ROWS)
        ]
        rivals = sorted({rival for band in bands for rival in buckets.get(band, ())})
        for rival in rivals:
            if _jaccard(own, shingles[rival]) >= threshold:
                repeated[index] = rival
                break
        else:
            for band in bands:
                buckets.setdefault(band, []).append(index)
    return repeated


def _shingles(caption: str) -> frozenset[int]:
    words = re.findall(r"\w+", caption.lower())
    size = min(SHINGLE, len(words))
    return frozenset(
        int.from_bytes(
            hashlib.blake2b(" ".join(words[i : i + size]).encode(), digest_size=8).digest(), "big"
        )
        for i in range(len(words) - size + 1)
    )


def _jaccard(a: frozenset[int], b: frozenset[int]) -> float:
    return len(a & b) / len(a | b) if a or b else 1.0


_RANDOM = np.random.Generator(np.random.PCG64(20260101))
_FACTORS = _RANDOM.integers(0, 1 << 63, _HASHES, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_SHIFTS = _RANDOM.integers(0, 1 << 63, _HASHES, dtype=np.uint64)


def _signature(shingles: frozenset[int]) -> np.ndarray:
    """The smallest value of each of 64 hashes over the set: a·x + b modulo 2⁶⁴, a odd."""
    if not shingles:
        return np.zeros(_HASHES, np.uint64)
    values = np.fromiter(shingles, np.uint64, len(shingles))[:, None]
    return np.asarray(np.min(values * _FACTORS + _SHIFTS, axis=0))


# Whether a caption agrees with its own picture or clip more than with others, by an encoder.
#
# Cosines between texts and pictures have different ranges for each model and caption. So a
# caption's own item is ranked among a sample of others.

OTHERS = 1_000
_TEXTS_AT_ONCE = 4_096  # cached as soon as they are embedded
_ROUNDING = 1e-5  # cosines that differ by less are equal, as of one picture under two names


def agreements(
    captions: np.ndarray, items: np.ndarray, own: np.ndarray, others: np.ndarray
) -> np.ndarray:
    """For each caption the share of other items that are less similar to it than its own.

    Both sides are centred first: what all captions have in common does not distinguish items, and
    an item that is near every caption (a hub) would hide a wrong one.

    Args:
        captions: Unit rows [n, D].
        items: Unit rows [m, D] of the same encoder.
        own: [n], the row of each caption's own item.
        others: [k], rows of the items to compare with; a caption's own one is left out.

    Returns:
        float64 [n]: 1 if no other item is as similar (or there is none), 0.5 for chance or a
        caption that fits all equally; equal similarities count half.
    """
    captions = _centred(captions) if len(captions) > 1 else captions.astype(np.float32)
    items = _centred(items)
    below = np.zeros(len(captions))
    count: np.ndarray = len(others) - np.isin(own, others).astype(np.int64)
    for start in range(0, len(captions), _TEXTS_AT_ONCE):
        block = slice(start, start + _TEXTS_AT_ONCE)
        rows = captions[block]
        to_own = np.einsum("nd,nd->n", rows, items[own[block]])
        ahead = to_own[:, None] - rows @ items[others].T
        score = (ahead > _ROUNDING) + 0.5 * (np.abs(ahead) <= _ROUNDING)
        score[own[block][:, None] == others] = 0.0
        below[block] = score.sum(axis=1)
    return np.divide(below, count, out=np.ones(len(captions)), where=count > 0)


def sample_of(ids: Sequence[str], seed: int) -> np.ndarray:
    """The rows of at most OTHERS ids, chosen by hash, ascending: the same on every machine."""
    order = sorted(range(len(ids)), key=lambda row: sha256_bytes(f"{seed}:{ids[row]}".encode()))
    return np.array(sorted(order[:OTHERS]), dtype=np.int64)


def check_embedded(workspace: Workspace, recipe: Recipe, side: Side) -> None:
    """Raise BadUsage if the side's embeddings, which the check needs, are missing."""
    encoder = side_encoder(recipe, side.files)
    path = embedding_folder(workspace, encoder) / f"{side.files}.npy"
    if not path.is_file():
        raise BadUsage(
            f"captions.min_agreement needs {path}, which is missing: run `artsound embed` with "
            "this recipe first, or set min_agreement = 0."
        )


def caption_agreements(
    workspace: Workspace, recipe: Recipe, side: Side, names: Sequence[str], texts: Sequence[str]
) -> np.ndarray:
    """`agreements` of the captions `texts` of the items `names`, by the encoder of their side.

    Raises:
        BadUsage: The items were not embedded.
        BadData: Their embeddings are broken, lack an item, or were made with other weights than
            the recipe has now.
    """
    check_embedded(workspace, recipe, side)
    encoder = side_encoder(recipe, side.files)
    ids, items = load_embeddings(workspace, encoder, side.files)
    places = {name: row for row, name in enumerate(ids)}
    if missing := [name for name in names if name not in places]:
        raise BadData(
            f"{embedding_folder(workspace, encoder)} lacks {side.name} {missing[0]}: "
            "run `artsound embed` again."
        )
    own = np.array([places[name] for name in names], dtype=np.int64)
    rows = _text_rows(workspace, recipe, side, texts)
    return agreements(rows, np.asarray(items), own, sample_of(ids, recipe.seed))


def _text_rows(
    workspace: Workspace, recipe: Recipe, side: Side, texts: Sequence[str]
) -> np.ndarray:
    """Rows float16 [n, D] of texts; each text is embedded once by the same weights."""
    encoder = side_encoder(recipe, side.files)
    folder = embedding_folder(workspace, encoder)
    made_by = str(read_json(folder / f"{side.files}.json")["digest"])
    cache = VectorCache(workspace.embeddings / "cache" / f"{folder.name}-{made_by[:16]}-texts")
    keys = [sha256_bytes(text.encode()) for text in texts]
    rows = cache.find(keys)
    unknown = {key: text for key, text in zip(keys, texts, strict=True) if key not in rows}
    if unknown:
        opened = open_encoder(encoder, recipe)
        if opened.digest != made_by:
            raise BadData(
                f"{folder} was made with other weights or another precision than [embed] of the "
                "recipe has now: run `artsound embed` again."
            )
        for start in range(0, len(unknown), _TEXTS_AT_ONCE):
            some = list(unknown)[start : start + _TEXTS_AT_ONCE]
            made = opened.texts([unknown[key] for key in some]).astype(np.float16)
            cache.add(some, made)
            rows |= dict(zip(some, made, strict=True))
    return np.stack([rows[key] for key in keys])


def _centred(rows: np.ndarray) -> np.ndarray:
    """Rows less their mean, scaled to length one, float32; a row equal to it becomes zero."""
    moved: np.ndarray = rows.astype(np.float32)
    moved -= moved.mean(axis=0, dtype=np.float64).astype(np.float32)
    lengths = np.linalg.norm(moved, axis=1, keepdims=True)
    return np.divide(moved, lengths, out=np.zeros_like(moved), where=lengths > _ROUNDING)
