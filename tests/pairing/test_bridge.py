from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment

from artsound.encoders.base import save_embeddings
from artsound.encoders.descriptors import descriptor_names
from artsound.errors import BadData, BadUsage
from artsound.pairing.affect import AXES, fit_affect, read_fit
from artsound.pairing.bridge import bridge_rows
from artsound.recipe import Recipe
from artsound.stage import Context
from artsound.storage import Workspace, write_json

N_ART, N_TRACK = len(descriptor_names("artwork")), len(descriptor_names("track"))


def planted(cause: np.ndarray, side: str, noise: float, seed: int) -> np.ndarray:
    """Descriptors that a (arousal, valence) cause [n, 2] makes through the axes, with noise.

    Each in its own units and with a skew, as measured values are.
    """
    rng = np.random.default_rng(seed)
    names = descriptor_names(side)
    values = noise * rng.standard_normal((len(cause), len(names)))
    for column, axis in enumerate(AXES[:2]):
        for name, weight in getattr(axis, side).items():
            values[:, names.index(name)] += weight * cause[:, column]
    return np.exp(0.3 * values) * rng.uniform(0.1, 1000.0, len(names))


def unit(rows: np.ndarray) -> bool:
    return bool(np.allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5))


def test_a_planted_common_cause_is_found_far_above_chance():
    cause = np.random.default_rng(0).standard_normal((400, 2))
    art, tracks = planted(cause, "artwork", 0.1, 1), planted(cause, "track", 0.1, 2)
    fitted = fit_affect(art, tracks)
    score = fitted.tracks(tracks) @ fitted.artworks(art).T
    true = np.diag(score)[:, None]
    recall = ((score > true).sum(axis=1) < 10).mean()
    assert recall > 0.4  # chance: 10 / 400
    rows, columns = linear_sum_assignment(-score)
    apart = np.linalg.norm(cause[rows] - cause[columns], axis=1).mean()
    assert apart < 0.35 * np.linalg.norm(cause[:, None] - cause[None], axis=2).mean()


def test_a_calm_dark_picture_and_a_loud_fast_clip_lie_far_apart():
    cause = np.random.default_rng(0).standard_normal((200, 2))
    art, tracks = planted(cause, "artwork", 0.1, 1), planted(cause, "track", 0.1, 2)
    fitted = fit_affect(art, tracks)
    calm, wild = cause[:, 0].argmin(), cause[:, 0].argmax()
    score = fitted.tracks(tracks[[wild]]) @ fitted.artworks(art[[wild, calm]]).T
    assert score[0, 0] > 0.5 > score[0, 1]


def test_both_sides_fill_every_axis_evenly():
    cause = np.random.default_rng(0).standard_normal((300, 2))
    art, tracks = planted(cause, "artwork", 0.5, 1), planted(cause, "track", 0.5, 2)
    fitted = fit_affect(art, tracks)
    for places in (fitted.artwork_places(art), fitted.track_places(tracks)):
        counts = np.stack([np.histogram(c, bins=5, range=(0, 1))[0] for c in places.T])
        assert (np.abs(counts - 60) <= 3).all()
        assert abs(np.corrcoef(places[:, 0], places[:, 1])[0, 1]) < 0.15


FINITE = st.floats(-1e6, 1e6, width=32)


@given(
    arrays(np.float32, st.tuples(st.integers(1, 12), st.just(N_ART)), elements=FINITE),
    arrays(np.float32, st.tuples(st.integers(1, 12), st.just(N_TRACK)), elements=FINITE),
)
@settings(max_examples=100, deadline=None)
def test_rows_are_finite_and_unit_for_any_descriptors(art: np.ndarray, tracks: np.ndarray):
    fitted = fit_affect(art, tracks)
    a, t = fitted.artworks(art), fitted.tracks(tracks)
    assert a.dtype == t.dtype == np.float32
    assert a.shape[1] == t.shape[1]
    assert unit(a)
    assert unit(t)


def test_constant_descriptors_all_lie_in_the_middle():
    fitted = fit_affect(np.full((5, N_ART), 0.3), np.full((1, N_TRACK), 7.0))
    assert (fitted.artwork_places(np.full((5, N_ART), 0.3)) == 0.5).all()
    assert unit(fitted.tracks(np.full((1, N_TRACK), 7.0)))


def test_a_fitted_bridge_applies_to_new_items():
    cause = np.random.default_rng(0).standard_normal((600, 2))
    art, tracks = planted(cause, "artwork", 0.3, 1), planted(cause, "track", 0.3, 2)
    fitted = fit_affect(art[:500], tracks[:500])
    together = fit_affect(art, tracks).artwork_places(art[500:])
    assert np.abs(fitted.artwork_places(art[500:]) - together).mean() < 0.05


@pytest.mark.parametrize(
    "bad", [np.zeros((0, N_ART)), np.zeros((3, 2)), np.full((3, N_ART), np.nan)]
)
def test_unfit_descriptors_are_refused(bad: np.ndarray):
    with pytest.raises(ValueError, match="descriptors"):
        fit_affect(bad, np.zeros((3, N_TRACK)))


def test_the_bridge_reads_what_the_embed_stage_wrote(tmp_path):
    workspace, recipe = Workspace(tmp_path), Recipe()
    with pytest.raises(BadData, match="missing"):
        bridge_rows("affect", Context(workspace, recipe))
    rng = np.random.default_rng(0)
    art = rng.random((7, N_ART), dtype=np.float32)
    tracks = rng.random((4, N_TRACK), dtype=np.float32)
    save_embeddings(workspace, "affect", "artworks", "d", list("abcdefg"), art)
    save_embeddings(
        workspace, "affect", "tracks", "d", ["000001", "000002", "000003", "000004"], tracks
    )
    art_ids, a, track_ids, t = bridge_rows("affect", Context(workspace, recipe))
    assert art_ids == list("abcdefg")
    assert track_ids[-1] == "000004"
    assert a.shape == (7, 2 * len(AXES))
    assert t.shape == (4, 2 * len(AXES))


def test_a_bridge_that_is_not_there_is_a_usage_error_with_the_nearest_one(tmp_path):
    with pytest.raises(BadUsage, match="did you mean 'affect'"):
        bridge_rows("afect", Context(Workspace(tmp_path), Recipe()))
    with pytest.raises(BadUsage, match=r"pair\.bridge is wrong.*did you mean 'concepts'"):
        Recipe().replaced(pair={"bridge": "concept"})


# What raises an axis (+) and what lowers it (-), as the works named in `Axis.sources` have it.
SIGNS = {
    # Valdez & Mehrabian 1994: -B, +S; Wilms & Oberfeld 2018: red over blue; Berlyne 1971 and
    # Machajdik & Hanbury 2010: contrast, edges, oblique lines, complexity. Music: Schubert 2004,
    # Gabrielsson & Lindström 2010, Eerola et al. 2009: all raise it.
    "arousal": (
        "-lightness +chroma +colourfulness +complexity +contrast +diagonal +edge_density +redness",
        "+centroid +flatness +flux +loudness +onset_rate +percussiveness +pulse_clarity +roughness"
        " +pace",
    ),
    # Valdez & Mehrabian 1994: +B, +S; Palmer et al. 2013: yellower. Gagnon & Peretz 2003: major
    # and fast; Eerola et al. 2009: clear pulse, consonance; Gabrielsson: high register.
    "valence": (
        "+chroma +lightness +yellowness",
        "-roughness +clear_majorness +pace +pitch_height +pulse_clarity",
    ),
}


def test_every_axis_has_the_signs_of_the_works_it_names():
    def signs(weights: Mapping[str, float]) -> set[str]:
        return {f"{'+' if weight > 0 else '-'}{name}" for name, weight in weights.items()}

    found = {axis.name: (signs(axis.artwork), signs(axis.track)) for axis in AXES}
    assert found == {
        name: (set(artwork.split()), set(track.split())) for name, (artwork, track) in SIGNS.items()
    }


def test_the_equations_of_valdez_and_mehrabian_stand_as_printed():
    axes = {axis.name: axis.artwork for axis in AXES}
    # pleasure = 0.69 B + 0.22 S, arousal = -0.31 B + 0.60 S
    assert (axes["valence"]["lightness"], axes["valence"]["chroma"]) == (0.69, 0.22)
    assert axes["arousal"]["chroma"] == 0.60
    assert axes["arousal"]["lightness"] == pytest.approx(-0.31 / 2, abs=0.01)  # disputed: halved


def test_only_arousal_and_valence_carry_the_match_and_alike():
    assert {axis.name: axis.weight for axis in AXES} == {"arousal": 1.0, "valence": 1.0}


def test_light_and_dark_styles_have_the_same_valence_and_new_ones_a_place():
    cause = np.random.default_rng(0).standard_normal((700, 2))
    styles = np.repeat(["Baroque", "Ukiyo-e", ""], [300, 300, 100])
    cause[300:600, 1] += 2.0  # prints on light paper
    art, tracks = planted(cause, "artwork", 0.1, 1), planted(cause, "track", 0.1, 2)
    fitted = fit_affect(art, tracks, styles=styles.tolist())
    valence = fitted.artwork_places(art, styles.tolist())[:, 1]
    dark, light = (valence[styles == name] for name in ("Baroque", "Ukiyo-e"))
    for share in (10, 50, 90):
        assert np.percentile(dark, share) == pytest.approx(np.percentile(light, share), abs=0.05)
    assert np.corrcoef(valence[300:600], cause[300:600, 1])[0, 1] > 0.8
    unknown = fitted.artwork_places(art[300:600], ["a style of its own"] * 300)
    assert (unknown == fitted.artwork_places(art[300:600])).all()
    assert unknown[:, 1].mean() > 0.6  # among all, light
    plain = fit_affect(art, tracks).artwork_places(art)
    assert plain[styles == "Ukiyo-e", 1].mean() > plain[styles == "Baroque", 1].mean() + 0.3


def test_a_fit_that_was_saved_places_items_as_before(tmp_path):
    cause = np.random.default_rng(0).standard_normal((90, 2))
    art, tracks = planted(cause, "artwork", 0.3, 1), planted(cause, "track", 0.3, 2)
    styles = ["a", "b", ""] * 30
    fitted = fit_affect(art, tracks, styles=styles)
    path = tmp_path / "fits.json"
    write_json(path, {"affect": fitted.to_json()})
    again = read_fit(path)
    assert (again.artworks(art, styles) == fitted.artworks(art, styles)).all()
    assert (again.tracks(tracks) == fitted.tracks(tracks)).all()


@pytest.mark.parametrize(
    "broken",
    [
        lambda _: [],
        lambda _: {},
        lambda fit: {"affect": {**fit, "bridge": "affect 1"}},
        lambda fit: {"affect": {**fit, "weights": [1.0]}},
        lambda fit: {"affect": {**fit, "track": fit["artwork"]}},
        lambda fit: {"affect": {**fit, "artwork": {**fit["artwork"], "knots": [[[1, 0], [0, 1]]]}}},
        lambda fit: {"affect": {**fit, "artwork": {**fit["artwork"], "styles": {"a": [1, {}]}}}},
    ],
)
def test_a_broken_or_older_fit_is_refused_with_its_file(broken, tmp_path):
    fitted = fit_affect(np.eye(20, N_ART), np.eye(20, N_TRACK))
    path = tmp_path / "fits.json"
    write_json(path, broken(json.loads(json.dumps(fitted.to_json()))))
    with pytest.raises(BadData, match=r"fits\.json is"):
        read_fit(path)
    with pytest.raises(BadUsage, match="There is no affect fit"):
        read_fit(tmp_path / "none.json")


def test_every_axis_names_known_descriptors_and_its_sources():
    for axis in AXES:
        assert set(axis.artwork) <= set(descriptor_names("artwork"))
        assert set(axis.track) <= set(descriptor_names("track"))
        assert "19" in axis.sources or "20" in axis.sources
