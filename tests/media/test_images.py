from __future__ import annotations

import io
import pickle
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw

from artsound.media import MediaError
from artsound.media.images import (
    SmallCopy,
    check_image,
    load_rgb,
    load_small,
    load_square,
    release_jpeg,
)

LIMITS = {"min_side": 32, "max_pixels": 1_000_000}


def picture(width: int = 160, height: int = 120, mode: str = "RGB") -> Image.Image:
    """A sky, a field and a red sun in the upper left."""
    image = Image.new("RGB", (width, height), (120, 170, 220))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, height // 2, width, height), fill=(70, 120, 40))
    draw.ellipse((width // 16, height // 16, width // 3, height // 3), fill=(220, 40, 30))
    return image.convert(mode)


def encode(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def reason(data: bytes, **limits: int) -> str:
    with pytest.raises(MediaError) as caught:
        check_image(data, **{**LIMITS, **limits})
    assert str(caught.value)
    return caught.value.reason


def test_a_sound_jpeg_is_described():
    info = check_image(encode(picture()), **LIMITS)
    assert (info.format, info.width, info.height, info.mode) == ("JPEG", 160, 120, "RGB")
    assert len(info.phash) == 16


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "image-empty"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "image-not-an-image"),
        (b"\xff\xd8\xff\xe0", "image-not-an-image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n", "image-not-an-image"),
        (encode(picture())[:-700], "image-truncated"),
        (encode(picture())[:-2], "image-truncated"),
        (encode(picture(), "PNG")[:-60], "image-truncated"),
        (encode(picture(40, 20)), "image-too-small"),
        (encode(picture()) + encode(picture()), "image-concatenated"),
        (encode(picture(), "PNG") + encode(picture()), "image-concatenated"),
    ],
)
def test_an_unusable_file_is_refused_with_its_reason(data: bytes, code: str):
    assert reason(data) == code


def test_a_pixel_bomb_is_refused_before_decoding():
    bomb = encode(Image.new("1", (20_000, 20_000)), "PNG")
    assert len(bomb) < 100_000
    assert reason(bomb) == "image-too-large"
    assert reason(encode(picture()), max_pixels=1000) == "image-too-large"


def test_the_error_survives_pickling_between_processes():
    error = pickle.loads(pickle.dumps(MediaError("image-empty", "the file is empty")))
    assert (error.reason, str(error)) == ("image-empty", "the file is empty")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int):
    upright = picture(96, 64)
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # inverse transposes, PIL's numbering
    stored = upright
    if orientation > 1:
        stored = upright.transpose(Image.Transpose(back[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(stored, "PNG", exif=exif)
    assert np.array_equal(load_rgb(data), np.asarray(upright))
    info = check_image(data, **LIMITS)
    assert (info.width, info.height) == upright.size


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "CMYK", "YCbCr", "LAB", "1"])
def test_every_mode_loads_as_rgb(mode: str):
    data = encode(picture(mode=mode), "TIFF")
    rgb = load_rgb(data)
    assert rgb.shape == (120, 160, 3)
    assert rgb.dtype == np.uint8
    assert check_image(data, **LIMITS).mode == mode


def test_sixteen_bit_grey_keeps_its_tones():
    ramp = np.linspace(0, 65535, 160).astype(np.uint16)[None].repeat(120, axis=0)
    rgb = load_rgb(encode(Image.fromarray(ramp), "PNG"))
    assert rgb[0, 0, 0] == 0
    assert rgb[0, -1, 0] == 255
    assert abs(int(rgb[0, 80, 0]) - 128) <= 1


def test_floating_point_grey_in_unit_range_is_scaled():
    ramp = np.linspace(0, 1, 160, dtype=np.float32)[None].repeat(120, axis=0)
    assert load_rgb(encode(Image.fromarray(ramp), "TIFF"))[0, -1, 0] == 255


def test_transparency_is_composited_on_white():
    image = picture(mode="RGBA")
    image.putalpha(0)
    assert (load_rgb(encode(image, "PNG")) == 255).all()


def test_an_animation_shows_its_first_frame():
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert tuple(load_rgb(data)[0, 0]) == (255, 0, 0)


def test_an_embedded_profile_is_brought_to_srgb():
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain = picture()
    as_lab = ImageCms.profileToProfile(
        plain, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    data = encode(as_lab, "TIFF", icc_profile=lab)
    error = load_rgb(data).astype(int) - np.asarray(plain)
    assert np.abs(error).mean() < 3
    assert np.array_equal(load_rgb(encode(plain, "PNG", icc_profile=srgb)), np.asarray(plain))
    assert np.array_equal(load_rgb(encode(plain, "PNG", icc_profile=b"junk")), np.asarray(plain))


def test_max_side_shrinks_but_never_enlarges():
    data = encode(picture(1000, 500))
    assert load_rgb(data, max_side=256).shape == (128, 256, 3)
    assert load_rgb(data, max_side=4000).shape == (500, 1000, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "GIF"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "CMYK", "RGBA", "I;16"])
def test_the_small_copy_of_a_check_shows_what_loading_shows(kind: str, mode: str) -> None:
    image = picture(700, 500, "L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    exif = Image.Exif()
    exif[0x0112] = 6
    options: dict[str, object] = {} if kind == "GIF" else {"exif": exif}
    if mode in ("RGB", "CMYK", "L") and kind in ("JPEG", "TIFF"):
        options["icc_profile"] = ImageCms.ImageCmsProfile(
            ImageCms.createProfile("sRGB") if mode != "L" else ImageCms.createProfile("LAB")
        ).tobytes()
    try:
        data = encode(image, kind, **options)
    except (OSError, ValueError):
        return  # a format that has no such mode
    small = SmallCopy(64)
    check_image(data, **LIMITS, small=small)
    shown = load_rgb(data, max_side=64)
    assert small.pixels.shape == shown.shape == ((46, 64, 3) if kind == "GIF" else (64, 46, 3))
    assert np.abs(small.pixels.astype(int) - shown).mean() < 2.0
    assert np.array_equal(small.pixels, load_small(data, max_side=64))


@pytest.mark.parametrize("size", [(900, 300), (300, 900), (20, 20)])
def test_the_square_of_a_picture_is_its_middle_at_any_scale(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, "red")
    short = min(size)
    middle = Image.new("RGB", (short, short), "blue")
    image.paste(middle, ((size[0] - short) // 2, (size[1] - short) // 2))
    for kind in ("JPEG", "PNG"):
        square = load_square(encode(image, kind), 64)
        assert square.shape == (64, 64, 3)
        assert square[:, 2:-2, 2].min() > 230  # blue, but for the edge that JPEG smears
        assert square[2:-2, :, 0].max() < 120


# CIE XYZ of the primaries, seen under D50 as profiles have it: rows are red, green and blue.
SRGB = [[0.43607, 0.22249, 0.01392], [0.38515, 0.71687, 0.09708], [0.14307, 0.06061, 0.71410]]
DISPLAY_P3 = [
    [0.51512, 0.24120, -0.00105],
    [0.29198, 0.69225, 0.04189],
    [0.15710, 0.06657, 0.78407],
]


def icc_profile(primaries: list[list[float]], gamma: float = 2.2) -> bytes:
    """A monitor's profile, version 2, of its primaries and one gamma."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    name = b"A wide screen\0"
    curve = b"curv" + bytes(4) + struct.pack(">IHxx", 1, round(gamma * 256))
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(name)) + name + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1.0, 0.8249),
        **{
            letter + b"XYZ": b"XYZ " + bytes(4) + fixed(*row)
            for letter, row in zip((b"r", b"g", b"b"), primaries, strict=True)
        },
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    table, body, place = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for tag, data in tags.items():
        table += tag + struct.pack(">II", place + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4xI4s4s4s", place + len(body), 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + fixed(0.9642, 1.0, 0.8249)
    return head.ljust(128, b"\0") + table + body


def test_a_small_jpeg_in_a_wide_colour_space_is_brought_to_srgb():
    colour = np.array([180, 120, 90])
    image = Image.new("RGB", (64, 48), tuple(colour.tolist()))
    data = encode(image, quality=95, icc_profile=icc_profile(DISPLAY_P3))
    light = (colour / 255) ** 2.2 @ np.array(DISPLAY_P3) @ np.linalg.inv(SRGB)
    expected = 255 * np.where(light > 0.0031308, 1.055 * light ** (1 / 2.4) - 0.055, 12.92 * light)
    assert np.abs(expected - colour).max() > 8
    assert np.abs(load_rgb(data).reshape(-1, 3).mean(axis=0) - expected).max() < 2
    out = release_jpeg(data, max_side=1024, quality=95)
    released = Image.open(io.BytesIO(out))
    assert "icc_profile" not in released.info
    assert np.abs(np.asarray(released).reshape(-1, 3).mean(axis=0) - expected).max() < 3
    assert release_jpeg(out, max_side=1024, quality=95) is out


@pytest.mark.parametrize("profile", ["sRGB", "junk"])
def test_a_jpeg_whose_profile_says_srgb_or_nothing_is_released_untouched(profile: str):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encode(picture(), icc_profile=srgb if profile == "sRGB" else b"junk")
    assert release_jpeg(data, max_side=1024, quality=92) is data


def test_a_plain_jpeg_is_released_untouched():
    data = encode(picture())
    assert release_jpeg(data, max_side=1024, quality=92) is data
    grey = encode(picture(mode="L"))
    assert release_jpeg(grey, max_side=1024, quality=92) is grey


@pytest.mark.parametrize("case", ["png", "large", "cmyk", "turned"])
def test_anything_else_is_re_encoded_the_same_way_each_time(case: str):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = {
        "png": encode(picture(), "PNG"),
        "large": encode(picture(600, 300)),
        "cmyk": encode(picture(mode="CMYK")),
        "turned": encode(picture(), exif=exif),
    }[case]
    out = release_jpeg(data, max_side=400, quality=92)
    assert out == release_jpeg(data, max_side=400, quality=92)
    image = Image.open(io.BytesIO(out))
    assert (image.format, image.mode) == ("JPEG", "RGB")
    assert max(image.size) <= 400
    assert not image.getexif()
    assert release_jpeg(out, max_side=400, quality=92) is out


def noise(width: int = 320, height: int = 240) -> Image.Image:
    pixels = np.random.default_rng(3).integers(0, 255, (height // 4, width // 4, 3), np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def padded(data: bytes, share: float = 0.5, end: bytes = b"\xff\xd9") -> bytes:
    """The JPEG with the last part of its scan replaced by zeros."""
    scan = data.rindex(b"\xff\xda")
    cut = scan + int((len(data) - scan) * (1 - share))
    return data[:cut] + bytes(len(data) - 2 - cut) + end


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"subsampling": 0}, {"quality": 50}])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_filled_up_with_zeros_is_cut_short(mode: str, options: dict[str, object]):
    whole = encode(noise().convert(mode), **options)
    assert check_image(whole, **LIMITS).format == "JPEG"
    assert reason(padded(whole)) == "image-truncated"
    assert reason(padded(whole, end=b"\0\0")) == "image-truncated"


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}])
@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (17, 99, 180)])
def test_an_even_picture_is_no_padding(colour: tuple[int, int, int], options: dict[str, object]):
    for mode in ("RGB", "L"):
        even = Image.new("RGB", (900, 900), colour).convert(mode)
        assert check_image(encode(even, **options), **LIMITS).width == 900
        half = noise(900, 900).convert(mode)
        half.paste(even.crop((0, 0, 900, 600)), (0, 300))
        assert check_image(encode(half, **options), **LIMITS).width == 900


def test_several_pictures_in_one_jpeg_file_are_refused_by_name():
    data = encode(picture(), "MPO", save_all=True, append_images=[picture(mode="L")])
    with pytest.raises(MediaError, match="MPO with 2 pictures") as caught:
        check_image(data, **LIMITS)
    assert caught.value.reason == "image-unsupported"


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"\0\0\0\x1cftypavif\0\0\0\0mif1miaf", "AVIF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 ", "JPEG 2000"),
        (b"\xff\x4f\xff\x51\0\x2f", "JPEG 2000"),
        (b"\xff\x0a\xfa\x1f", "JPEG XL"),
        (b"8BPS\0\1", "Photoshop"),
        (b"%PDF-1.7\n", "PDF"),
        (b'<?xml version="1.0"?>\n<!-- made by hand -->\n<svg xmlns="x">', "SVG"),
    ],
)
def test_a_picture_of_another_format_is_named(start: bytes, name: str):
    with pytest.raises(MediaError, match=f"{name}.*convert it") as caught:
        check_image(start + bytes(2000), **LIMITS)
    assert caught.value.reason == "image-unsupported"


def test_a_jpeg_of_thousands_of_scans_is_refused_before_it_is_decoded() -> None:
    file = io.BytesIO()
    Image.new("RGB", (256, 256), "red").save(file, "JPEG", progressive=True)
    data = file.getvalue()
    last = data.rindex(b"\xff\xda")
    assert reason(data[:last] + data[last:-2] * 2000 + b"\xff\xd9") == "image-too-large"
    check_image(data, min_side=1, max_pixels=10**6)


def scans_of(data: bytes) -> list[int]:
    """Where the scans of a progressive JPEG begin, with the tables before each."""
    starts, at = [], 0
    while (at := data.find(b"\xff\xda", at + 2)) > 0:
        starts.append(at)
    return starts


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_progressive_jpeg_cut_between_scans_is_cut_short(mode: str) -> None:
    whole = encode(noise().convert(mode), progressive=True)
    assert check_image(whole, **LIMITS).format == "JPEG"
    starts = scans_of(whole)
    assert len(starts) > 3
    for start in starts[1:]:
        cut = whole[: whole.rindex(b"\xff\xc4", 0, start)] + b"\xff\xd9"
        with pytest.raises(MediaError, match="between two scans") as caught:
            check_image(cut, **LIMITS)
        assert caught.value.reason == "image-truncated"


def test_a_picture_of_too_many_scans_is_refused_by_whatever_decodes_it() -> None:
    whole = encode(picture(), progressive=True)
    start = whole.rindex(b"\xff\xda")
    bomb = whole[:-2] + whole[start:-2] * 600 + b"\xff\xd9"
    for decode in (
        load_rgb,
        lambda data: load_square(data, 64),
        lambda data: check_image(data, **LIMITS),
    ):
        with pytest.raises(MediaError, match="scans, over 500"):
            decode(bomb)
