"""Records with ordinary values, to be varied by the tests."""

from __future__ import annotations

from typing import Any

from artsound.media.quality import PICTURE_QUALITY, SOUND_QUALITY
from artsound.schema import Artwork, ArtworkDescriptors, Track, TrackDescriptors


def artwork(**changes: Any) -> Artwork:
    """Alfred Sisley's Barges at Billancourt, as ArtGraph has it."""
    values: dict[str, Any] = {
        "artwork_id": "alfred-sisley_barges-at-billancourt-1877.jpg",
        "artwork_index": 28,
        "title": "Barges at Billancourt",
        "painter": "Alfred Sisley",
        "painter_id": "alfred-sisley",
        "painter_died": 1899,
        "year": 1877,
        "style": "impressionism",
        "genre": "landscape",
        "school": "",
        "period": "",
        "tags": [],
        "media": [],
        "emotions": [],
        "source": "artgraph",
        "source_url": "",
        "image_path": "media/artworks/00/00.jpg",
        "image_sha256": "0" * 64,
        "image_bytes": 1000,
        "image_format": "JPEG",
        "width": 512,
        "height": 380,
        "image_phash": "0" * 16,
        **dict.fromkeys(PICTURE_QUALITY, -1.0),
        "license_id": "public-domain",
        "redistribute": True,
        "derivatives": True,
        "commercial": True,
        "share_alike": False,
        "attribution": False,
        "rights_reason": "painter died 1899",
        "ai_training": "allowed",
        "ai_training_source": "licence",
        "cluster": "alfred-sisley_barges-at-billancourt-1877.jpg",
    }
    return Artwork(**(values | changes))


def artwork_descriptors(**changes: Any) -> ArtworkDescriptors:
    """Measurements in the range of an ordinary landscape."""
    values: dict[str, Any] = {
        "artwork_id": "alfred-sisley_barges-at-billancourt-1877.jpg",
        "lightness": 0.55,
        "lightness_spread": 0.18,
        "contrast": 0.6,
        "brightness": 0.6,
        "saturation": 0.3,
        "chroma": 0.2,
        "redness": 0.02,
        "yellowness": 0.08,
        "warmth": 0.2,
        "colourfulness": 0.25,
        "hue_entropy": 0.5,
        "edge_density": 0.2,
        "horizontal": 0.35,
        "vertical": 0.33,
        "diagonal": 0.32,
        "fineness": 0.4,
        "complexity": 0.5,
        "symmetry": 0.3,
        "upper_light": 0.05,
        "centre_light": 0.02,
        "palette": ["slate blue", "ochre", "off-white"],
        "palette_hex": ["#708090", "#cc7722", "#f5f5f0"],
        "palette_share": [0.5, 0.3, 0.2],
    }
    return ArtworkDescriptors(**(values | changes))


def track(**changes: Any) -> Track:
    """FMA's track 2, as tracks.csv has it."""
    values: dict[str, Any] = {
        "track_id": "000002",
        "title": "Food",
        "artist": "AWOL",
        "artist_id": 1,
        "album": "AWOL - A Way Of Life",
        "album_id": 1,
        "genre": "Hip-Hop",
        "genres": ["Hip-Hop"],
        "tags": [],
        "year": 2009,
        "listens": 1293,
        "language": "en",
        "subset": "small",
        "split": "train",
        "license": "Attribution-NonCommercial-ShareAlike 3.0 International",
        "license_id": "CC-BY-NC-SA-3.0",
        "redistribute": True,
        "derivatives": True,
        "commercial": False,
        "share_alike": True,
        "attribution": True,
        "rights_reason": "Creative Commons",
        "ai_training": "non-commercial-only",
        "ai_training_source": "licence",
        "source": "fma",
        "source_url": "",
        "audio_path": "media/tracks/00/00.mp3",
        "audio_sha256": "0" * 64,
        "audio_bytes": 1000,
        "audio_format": "MP3",
        "duration": 30.0,
        "excerpt_start": 69,
        "sample_rate": 44100,
        "channels": 2,
        "loudness": -14.0,
        "peak": 0.9,
        "fingerprint": "00",
        **dict.fromkeys(SOUND_QUALITY, -1.0),
        "cluster": "000002",
    }
    return Track(**(values | changes))


def track_descriptors(**changes: Any) -> TrackDescriptors:
    """Measurements in the range of an ordinary clip."""
    values: dict[str, Any] = {
        "track_id": "000002",
        "tempo": 96.0,
        "pace": 90.0,
        "pulse_clarity": 0.5,
        "onset_rate": 3.0,
        "key": "A",
        "mode": "minor",
        "key_clarity": 0.9,
        "majorness": -0.2,
        "clear_majorness": -0.16,
        "loudness": -15.0,
        "dynamic_range": 12.0,
        "loudness_slope": 0.0,
        "centroid": 2000.0,
        "rolloff": 4000.0,
        "bandwidth": 2000.0,
        "flatness": 0.01,
        "zero_crossings": 0.08,
        "percussiveness": 0.25,
        "bass": 0.2,
        "pitch_height": 3.5,
        "roughness": 0.3,
        "flux": 1.0,
    }
    return TrackDescriptors(**(values | changes))
