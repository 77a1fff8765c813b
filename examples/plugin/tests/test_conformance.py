"""ArtSound's conformance checks, run on the plug-ins of this package."""

from artsound.testing import check_captioner, check_preset


def test_the_captioner_keeps_the_contract():
    check_captioner("wall-label")


def test_the_preset_keeps_the_contract():
    check_preset("pocket")
