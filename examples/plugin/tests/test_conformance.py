"""ArtSound's conformance checks, run on the plug-ins of this package."""

from artsound.testing import check_bridge, check_captioner, check_encoder, check_preset


def test_the_encoder_keeps_the_contract():
    check_encoder("minilm")


def test_the_captioner_keeps_the_contract():
    check_captioner("wall-label")


def test_the_bridge_keeps_the_contract():
    check_bridge("sentences")


def test_the_preset_keeps_the_contract():
    check_preset("pocket")
