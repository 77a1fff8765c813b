"""Facts as English sentences: stable choice, articles, lists, clean names, filling of plans.

A *plan* is a sentence pattern: `{slot}` is replaced by a fact, `{Slot}` by the same fact with a
capital, and `[ … ]` is a part that is left out if one of its facts is unknown or the caption is too
long. Facts are inserted once and never read as patterns, so braces and brackets in a record have no
effect.
"""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TypeVar

MIN_WORDS = 12
MAX_WORDS = 45

Option = TypeVar("Option")

_SLOT = re.compile(r"\{([A-Za-z]\w*)\}")
_OPTIONAL = re.compile(r"\[([^\[\]]*)\]")
_TAG = re.compile(r"<[^<>]*>")
_PLACEHOLDER = re.compile(r"(?i)untitled\b.*|(not detected|unknown|none|nan|null|n/a)( \d+)?")
_CODE_WORDS = frozenset({"None", "nan", "NaN", "null", "NULL", "undefined"})
_NAME_PUNCTUATION = frozenset(" '’-.,:;!?&()/°")
_AN_LETTERS = frozenset("AEFHILMNORSX")


def draw_option(seed: str, what: str, count: int) -> int:
    """A number in 0..count−1 that depends on `seed` and `what` alone (BLAKE2b, evenly spread)."""
    key = f"{seed}\x1f{what}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") % count


def pick(seed: str, what: str, options: Sequence[Option]) -> Option:
    """One of `options`, by the stable draw of `seed` and `what`."""
    return options[draw_option(seed, what, len(options))]


def shuffled_options(seed: str, what: str, options: Sequence[Option]) -> list[Option]:
    """`options` in an order that depends on `seed` and `what` alone."""
    order = sorted(range(len(options)), key=lambda i: (draw_option(seed, f"{what}{i}", 1 << 62), i))
    return [options[i] for i in order]


def word_count(text: str) -> int:
    """The number of words of `text`: runs of anything but white space."""
    return len(text.split())


def indefinite(phrase: str) -> str:
    """`phrase` with its indefinite article: "an R&B song", "a ukiyo-e print"."""
    return f"{'an' if _starts_with_vowel_sound(phrase) else 'a'} {phrase}"


def _starts_with_vowel_sound(phrase: str) -> bool:
    first = re.split(r"[\s-]", phrase, maxsplit=1)[0]
    if re.fullmatch(r"[A-Z](&[A-Z])*|[A-Z]{2,4}", first):  # spelled out: an IDM track
        return first[0] in _AN_LETTERS
    if re.match(r"(?i)(eu|ewe|once\b|one\b|u[bfhjkqrst][aeiou]|uni(?!n|m)|ukiyo)", first):
        return False
    if re.match(r"(?i)(hour|honest|honou?r|heir)", first):
        return True
    return unicodedata.normalize("NFD", first[:1]).lower()[:1] in tuple("aeiou")


def listing(items: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"; empty for no items."""
    if len(items) <= 1:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def capitalised(text: str) -> str:
    """`text` with its first letter upper case, the rest as it is."""
    return text[:1].upper() + text[1:]


def word_set(words: str) -> frozenset[str]:
    """The set of a text's words."""
    return frozenset(words.split())


SMALL_WORDS = word_set(
    """
    a after aka al am an and as at au aux by da das de del della den der des di du el en et for
    from il im in into la las le les lo los near no of on or over par the to und under van von with
    zum zur
    """
)
# Small words that lose their accent in a file name, and keep a small letter.
_ACCENTED = {"nee": "née"}
_PARTICLES = frozenset(_ACCENTED.values())


def headline(title: str) -> str:
    """`title` in headline capitals; unchanged if it has capitals beyond the first.

    Roman numerals and initials ("N.") are no such capitals.
    """
    words = [_ACCENTED.get(word, word) for word in title.split()]
    if any(word != word.lower() and not _INITIAL.fullmatch(word) for word in words[1:]):
        return " ".join(words)
    last = len(words) - 1
    return " ".join(
        word if 0 < index < last and word in SMALL_WORDS | _PARTICLES else _raised(word)
        for index, word in enumerate(words)
    )


_INITIAL = re.compile(r"[IVX]+|[A-Z]\.")
_NUMERAL = re.compile(r"(?=[ivx])x{0,2}(ix|iv|v?i{0,3})")


def is_numeral(word: str) -> bool:
    """Whether a word in lower case is a Roman numeral up to xxviii."""
    return bool(_NUMERAL.fullmatch(word))


def _raised(word: str) -> str:
    """A word with a capital, also after a hyphen or a French elision; a numeral all in capitals."""
    if is_numeral(word):
        return word.upper()
    return re.sub(
        r"^(?:[dl]['’])?[^\W\d_]|(?<=-)[^\W\d_](?=[^\W_]{3})",
        lambda match: match[0][:-1] + match[0][-1].upper(),
        word,
    )


def clean_name(text: str, *, max_words: int, max_chars: int = 64) -> str:
    """A name or title that fits into a sentence, or "" if it does not.

    Markup, entities, quotation marks and control characters are removed, white space is
    normalised. The result is empty for placeholders ("Untitled", "nan"), names without two
    letters, names with characters other than letters, digits and plain punctuation, and names
    longer than the limits: a name is never shortened.
    """
    text = html.unescape(_TAG.sub(" ", text[:1000]))
    text = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text)
    text = " ".join(re.sub(r"[\"“”„«»`*_]|(?<!\w)['‘’]|['‘’](?!\w)", " ", text).split())
    text = re.sub(r"\s+([,.;:!?)])", r"\1", text).strip(" -.,:;/&")
    words = text.split()
    if not words or len(words) > max_words or len(text) > max_chars:
        return ""
    if sum(char.isalpha() for char in text) < 2:
        return ""
    if not all(_fits_a_name(char) for char in text) or text.count("(") != text.count(")"):
        return ""
    if re.search(r"[,;:&(/°-]\s?[.,;:&/°]|\.\s?[.,;:/°]|\)\s?[;&/°]|- ?-|\(\s*\)", text):
        return ""
    if _CODE_WORDS & set(re.findall(r"\w+", text)):
        return ""
    if _PLACEHOLDER.fullmatch(text):
        return ""
    return "" if re.search(r"(?i)https?:|www\.|\.(jpe?g|png|mp3|com|org|net)\b", text) else text


def _fits_a_name(char: str) -> bool:
    return unicodedata.category(char)[0] in "LMN" or char in _NAME_PUNCTUATION


def clean_label(text: str) -> str:
    """A label outside the vocabulary that fits into a sentence unchanged, or ""."""
    label = clean_name(text.replace("_", " "), max_words=3, max_chars=32)
    return label if re.fullmatch(r"[^\W\d_]+([ &-]+[^\W\d_]+)*", label) else ""


def slug(text: str) -> str:
    """`text` for look-up: lower case, no accents, single spaces between letters and digits."""
    plain = unicodedata.normalize("NFKD", text[:200]).encode("ascii", "ignore").decode()
    return " ".join(re.findall(r"[a-z0-9&]+", plain.lower()))


def slots(pattern: str) -> set[str]:
    """The facts that a plan, or a part of one, names (first letter in lower case)."""
    return {name[0].lower() + name[1:] for name in _SLOT.findall(pattern)}


def required(plan: str) -> set[str]:
    """The facts without which `plan` cannot be used."""
    return slots(_OPTIONAL.sub("", plan))


def compose(seed: str, plans: Sequence[str], tails: Sequence[str], facts: Mapping[str, str]) -> str:
    """One caption of 12–45 words: a plan that the facts can fill, chosen by a stable draw.

    Optional parts are dropped from the end while the caption is too long; sentences of `tails`
    whose facts it does not tell yet are added while it is too short.

    Raises:
        ValueError: No plan fits: a list must have plans for the facts that are always known.
    """
    known = {name for name, phrase in facts.items() if phrase}
    for plan in shuffled_options(seed, "plan", plans):
        if not required(plan) <= known:
            continue
        text = _fit(plan, tails, facts, known)
        if MIN_WORDS <= word_count(text) <= MAX_WORDS:
            return text
    raise ValueError(f"no plan can be filled with {sorted(known)}")


def _fit(plan: str, tails: Sequence[str], facts: Mapping[str, str], known: set[str]) -> str:
    parts: list[tuple[bool, str]] = [
        (index % 2 == 1, part) for index, part in enumerate(_OPTIONAL.split(plan))
    ]
    parts = [(optional, part) for optional, part in parts if not optional or slots(part) <= known]
    text = _fill("".join(part for _, part in parts), facts)
    while word_count(text) > MAX_WORDS and any(optional for optional, _ in parts):
        last = max(index for index, (optional, _) in enumerate(parts) if optional)
        del parts[last]
        text = _fill("".join(part for _, part in parts), facts)
    for tail in tails:
        if word_count(text) >= MIN_WORDS or not slots(tail) <= known:
            continue
        if not any(facts[name].lower() in text.lower() for name in slots(tail)):
            text = f"{text} {_fill(tail, facts)}"
    return text


def _fill(pattern: str, facts: Mapping[str, str]) -> str:
    def fact(match: re.Match[str]) -> str:
        name = match[1]
        phrase = facts[name[0].lower() + name[1:]]
        return capitalised(phrase) if name[0].isupper() else phrase

    return capitalised(_SLOT.sub(fact, pattern))
