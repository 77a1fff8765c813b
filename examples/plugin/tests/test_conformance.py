"""ArtSound's conformance checks, run on the plug-ins of this package."""

from artsound.testing import (
    check_bridge,
    check_captioner,
    check_encoder,
    check_preset,
    check_source,
    picture,
)


def test_the_source_keeps_the_contract(tmp_path):
    (tmp_path / "bay.jpg").write_bytes(picture(1))
    rows = "number,title,maker,year,file\n1890.1,A bay,Ana Lim,1890,bay.jpg\n"
    (tmp_path / "objects.csv").write_text(rows)
    check_source("museum", "artwork", tmp_path)


def test_the_encoder_keeps_the_contract():
    check_encoder("minilm")


def test_the_captioner_keeps_the_contract():
    check_captioner("wall-label")


def test_the_bridge_keeps_the_contract():
    check_bridge("sentences")


def test_the_preset_keeps_the_contract():
    check_preset("pocket")
