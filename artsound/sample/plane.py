"""Where the synthetic pictures and clips are on the affect plane."""

from __future__ import annotations

import random

# The plastic number, the real root of x**3 = x + 1: its first two inverse powers give the
# two-dimensional additive recurrence of lowest known discrepancy (M. Roberts, "The unreasonable
# effectiveness of quasirandom sequences", 2018, sequence R2).
PLASTIC = 1.324717957244746
STEP = (1.0 / PLASTIC, 1.0 / PLASTIC**2)


def spread(n: int, seed: int) -> list[tuple[float, float]]:
    """``n`` points (valence, arousal) in [-1, 1]², spread evenly over the square.

    The R2 sequence from a start that depends on the seed: any run of consecutive points is
    spread about as evenly as the whole, so a slice of them covers the plane too. Both the
    pictures and the clips of the sample take their points from here, which is why a true
    pairing between them exists.
    """
    start = random.Random(f"affect plane {seed}")
    x, y = start.random(), start.random()
    points = []
    for _ in range(n):
        x, y = (x + STEP[0]) % 1.0, (y + STEP[1]) % 1.0
        points.append((2.0 * x - 1.0, 2.0 * y - 1.0))
    return points


def corner(valence: float, arousal: float) -> str:
    """The quarter of the plane: "bright wild", "dark wild", "dark calm" or "bright calm"."""
    return ("bright" if valence >= 0 else "dark") + (" wild" if arousal >= 0 else " calm")
