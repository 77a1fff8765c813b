from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from artsound.encoders.affect_image import colours, describe_image, nearest_names, rgb_to_lab
from artsound.schema import check_table, to_table


def flat(r: int, g: int, b: int, side: int = 64) -> np.ndarray:
    return np.full((side, side, 3), (r, g, b), np.uint8)


def stripes(axis: int, side: int = 128) -> np.ndarray:
    """Black and white bands, 8 pixels each, that alternate along ``axis``."""
    wave = np.where(np.arange(side) // 8 % 2 == 0, 0, 255).astype(np.uint8)
    image = np.broadcast_to(wave[:, None] if axis == 0 else wave[None], (side, side))
    return np.repeat(image[..., None], 3, axis=2)


def grain(side: int = 128, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3)).astype(np.uint8)


def fulfils_schema(values: dict[str, Any]) -> None:
    row = {"artwork_id": "a.jpg", **values}
    check_table("artwork_descriptors", to_table("artwork_descriptors", [row]))


def test_lab_agrees_with_the_published_corners_of_srgb():
    # Lindbloom's calculator, D65
    corners = np.array([[255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    expected = [[100, 0, 0], [53.24, 80.09, 67.20], [87.73, -86.18, 83.18], [32.30, 79.19, -107.86]]
    assert np.allclose(rgb_to_lab(corners), expected, atol=0.05)


def test_light_is_measured():
    white, black = describe_image(flat(255, 255, 255)), describe_image(flat(0, 0, 0))
    assert (white["lightness"], black["lightness"]) == pytest.approx((1, 0), abs=1e-3)
    assert describe_image(stripes(0))["contrast"] > 0.95
    half = flat(0, 0, 0)
    half[:32] = 255
    assert describe_image(half)["upper_light"] == pytest.approx(1, abs=1e-3)
    assert describe_image(half[::-1])["upper_light"] == pytest.approx(-1, abs=1e-3)
    spot = flat(0, 0, 0)
    spot[16:48, 16:48] = 255
    assert describe_image(spot)["centre_light"] == pytest.approx(1, abs=1e-3)


def test_warm_and_cool_colours_have_opposite_signs():
    assert describe_image(flat(230, 120, 30))["warmth"] > 0.8
    assert describe_image(flat(40, 90, 200))["warmth"] < -0.4
    assert describe_image(flat(90, 170, 220))["warmth"] < -0.8
    assert abs(describe_image(flat(128, 128, 128))["warmth"]) < 0.05


def test_colour_is_measured():
    red, yellow = describe_image(flat(220, 30, 30)), describe_image(flat(250, 230, 40))
    assert red["redness"] > 0.5
    assert yellow["yellowness"] > 0.6
    grey = describe_image(flat(128, 128, 128))
    assert grey["chroma"] < 0.01
    assert grey["saturation"] < 0.01
    assert grey["colourfulness"] < 0.01
    assert red["saturation"] > 0.8


def test_many_hues_have_more_entropy_than_one():
    one = np.concatenate([flat(200, 30, 30), flat(120, 20, 20)])
    many = np.concatenate([flat(200, 30, 30), flat(30, 200, 30), flat(30, 30, 200)])
    assert describe_image(many)["hue_entropy"] > describe_image(one)["hue_entropy"] + 0.2


def test_lines_are_distinguished_by_their_direction():
    across, upright = describe_image(stripes(0)), describe_image(stripes(1))
    assert across["horizontal"] > 0.95
    assert upright["vertical"] > 0.95
    y, x = np.mgrid[:128, :128]
    slanted = np.repeat(np.where((x + y) // 12 % 2 == 0, 0, 255)[..., None], 3, axis=2)
    assert describe_image(slanted.astype(np.uint8))["diagonal"] > 0.9


def test_detail_is_measured():
    rough, smooth = describe_image(grain()), describe_image(stripes(0))
    for name in ("fineness", "complexity", "edge_density"):
        assert rough[name] > smooth[name], name
    assert describe_image(flat(90, 120, 40))["complexity"] < 0.1


def test_a_mirrored_picture_is_symmetric():
    half = grain(64)
    assert describe_image(np.concatenate([half, half[:, ::-1]], axis=1))["symmetry"] > 0.99
    assert abs(describe_image(half)["symmetry"]) < 0.2


def test_the_palette_names_colours_by_area():
    image = flat(25, 60, 165, side=100)  # cobalt
    image[:30] = (240, 220, 50)
    found = describe_image(image)
    assert found["palette"] == ["cobalt blue", "yellow"]
    assert found["palette_share"] == pytest.approx([0.7, 0.3], abs=0.03)
    assert found["palette_hex"][0] == "#193ca5"


def test_every_named_colour_is_nearest_to_itself():
    rgb = np.array([list(bytes.fromhex(code[1:])) for code in colours().values()], np.uint8)
    assert nearest_names(rgb_to_lab(rgb)) == list(colours())


def test_size_hardly_matters():
    y, x = np.mgrid[:1200, :900] / 1200
    image = np.stack([255 * x / 0.75, 127 + 127 * np.sin(9 * y), 255 * y], axis=2).astype(np.uint8)
    large, small = describe_image(image), describe_image(image[::4, ::4])
    for name in ("lightness", "chroma", "warmth", "colourfulness", "symmetry", "upper_light"):
        assert small[name] == pytest.approx(large[name], abs=0.02), name


@given(
    arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))),
)
@settings(max_examples=40, deadline=None)
def test_any_picture_fulfils_the_schema(image: np.ndarray):
    found = describe_image(image)
    fulfils_schema(found)
    assert found["horizontal"] + found["vertical"] + found["diagonal"] == pytest.approx(1)
    assert 1 <= len(found["palette"]) <= 5
    assert len(found["palette"]) == len(found["palette_hex"]) == len(found["palette_share"])
    assert describe_image(image.copy()) == found


def test_another_type_or_shape_is_refused():
    for bad in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(ValueError, match="uint8"):
            describe_image(bad)
