"""Which clips the sample holds: genre, place on the affect plane, split, artist, names, faults."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from artsound.sample.genres import GENRES, Genre
from artsound.sample.plane import corner, spread

GOOD_CLIPS = 78
HELD_OUT = 8  # of these in the validation split, and as many in the test split
FIRST_TRACK_ID = 990_001  # FMA's own ids end below 200,000
# Clips that are broken on purpose: cut off in the middle, 1 s long, a file of no bytes, listed but
# not in the archive, the bytes of another clip, digital silence.
FAULTS = ("cut", "one second", "empty", "absent", "duplicate", "silent")


@dataclass(frozen=True, slots=True)
class Clip:
    """One row of the sample's tracks.csv, before it is composed. `fault` is "" for a good clip."""

    track_id: int
    genre: Genre
    valence: float
    arousal: float
    seconds: float
    seed: tuple[int, int]
    split: str
    artist_id: int
    artist: str
    title: str
    fault: str = ""


def plan_clips(seed: int, held_out: int = HELD_OUT) -> list[Clip]:
    """All clips of the sample by track id: 9 or 10 of each genre, and one for each fault.

    The good ones are on the plane where `spread` places them. The held-out splits are runs of that
    sequence, so each of them covers the plane by itself; no artist is in two splits. With more
    than the usual number in each held-out split there are as many more clips.
    """
    count = GOOD_CLIPS + 2 * (held_out - HELD_OUT)
    points = spread(count, seed)
    rng = np.random.default_rng([seed, 1])
    genres = _genres(points, rng)
    splits = ["validation"] * held_out + ["test"] * held_out
    splits += ["training"] * (count - len(splits))
    artists = _artists(genres, splits, rng)
    ids, faulty = _ids(count, rng)
    titles = _titles(points, rng)
    clips = []
    for i, (valence, arousal) in enumerate(points):
        artist_id, artist = artists[i]
        seconds = 27.5 if i % 13 == 5 else float(rng.uniform(13.0, 17.5))
        clips.append(
            Clip(ids[i], genres[i], valence, arousal, seconds, (seed, ids[i]), splits[i],
                 artist_id, artist, titles[i])
        )  # fmt: skip
    trained = [clip for clip in clips if clip.split == "training"]
    for fault, track_id in zip(FAULTS, faulty, strict=True):
        model = trained[int(rng.integers(len(trained)))]
        name = "again" if fault == "duplicate" else f"broken: {fault}"
        title = f"{model.title} ({name})"
        clips.append(replace(model, track_id=track_id, title=title, fault=fault))
    return sorted(clips, key=lambda clip: clip.track_id)


def _genres(points: list[tuple[float, float]], rng: np.random.Generator) -> list[Genre]:
    """A genre for each point: about as many of each, near where it is at home, with chance."""
    slots = GENRES * -(-len(points) // len(GENRES))
    homes = np.array([genre.home for genre in slots])
    distance = np.sum((np.array(points)[:, None] - homes[None]) ** 2, axis=2)
    _, chosen = linear_sum_assignment(distance + rng.uniform(0, 6.0, distance.shape))
    return [slots[slot] for slot in chosen]


def _artists(
    genres: list[Genre], splits: list[str], rng: np.random.Generator
) -> list[tuple[int, str]]:
    """(id, name) for each clip: an artist has one split, one genre and at most three clips."""
    names = [f"{first} {second} (synthetic)" for first in _FIRST for second in _SECOND]
    order = rng.permutation(len(names))
    members: dict[tuple[str, str, int], int] = {}
    seen: dict[tuple[str, str], int] = {}
    artists = []
    for genre, split in zip(genres, splits, strict=True):
        place = seen.get((split, genre.title), 0)
        seen[split, genre.title] = place + 1
        number = members.setdefault((split, genre.title, place // 3), len(members))
        artists.append((FIRST_TRACK_ID + number, names[order[number]]))
    return artists


def _ids(count: int, rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """Ids of the good clips, shuffled, and of the faulty ones, evenly spaced among them."""
    every = list(range(FIRST_TRACK_ID, FIRST_TRACK_ID + count + len(FAULTS)))
    faulty = every[8 :: len(every) // len(FAULTS)][: len(FAULTS)]
    good = [track_id for track_id in every if track_id not in faulty]
    return [good[i] for i in rng.permutation(count)], faulty


_MOODS = {
    "dark calm": ("Ashen", "Hollow", "Winter", "Buried", "Leaden", "Forsaken", "Drowned"),
    "dark wild": ("Iron", "Furious", "Burning", "Shattered", "Venomous", "Storm", "Feral"),
    "bright calm": ("Amber", "Gentle", "Morning", "Quiet", "Honeyed", "Drifting", "Meadow"),
    "bright wild": ("Golden", "Leaping", "Carnival", "Sunlit", "Dazzling", "Summer", "Jubilant"),
}
_THINGS = (
    "Harbour", "Orchard", "Corridor", "Lantern", "River", "Window", "Staircase", "Garden",
    "Railway", "Mirror", "Island", "Market", "Tower", "Bridge", "Letter", "Clock",
)  # fmt: skip
_FIRST = ("Violet", "Paper", "Copper", "Distant", "Velvet", "Cardinal", "Marble", "Northern")
_SECOND = ("Oscillators", "Wavetables", "Envelopes", "Harmonics", "Resonators", "Integers",
           "Sidebands")  # fmt: skip


def _titles(points: list[tuple[float, float]], rng: np.random.Generator) -> list[str]:
    """Two words that suit the point, no title twice."""
    pools = {
        place: rng.permutation([f"{mood} {thing}" for mood in moods for thing in _THINGS]).tolist()
        for place, moods in _MOODS.items()
    }
    return [pools[corner(*point)].pop() for point in points]
