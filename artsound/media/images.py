"""Pictures: decoded in full, checked, turned upright and converted to sRGB."""

from __future__ import annotations

import io
import math
import re
import warnings
import zlib
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms, ImageOps

from artsound.media import MediaError, suppress_stderr
from artsound.media.fingerprint import phash_grey
from artsound.media.quality import PictureQuality, picture_quality

# Only formats whose decoders read pixels and nothing else: no EPS (runs Ghostscript), PDF, WMF.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
# The beginnings of pictures, none of which may follow the end of another one.
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")
# In JPEG scan data 0xFF is followed by 0x00 (stuffing), RSTn, or a real marker.
_MARKER = re.compile(b"\xff[^\x00\xd0-\xd7\xff]")
_ORIENTATION = 0x0112
# Other formats of pictures: their first bytes, and their names.
_OTHERS = (
    (re.compile(rb"....ftyp(?:avif|avis)", re.S), "AVIF"),
    (re.compile(rb"....ftyp(?:hei[cmsx]|hev[cmsx]|mif1|msf1)", re.S), "HEIC"),
    (re.compile(rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51"), "JPEG 2000"),
    (re.compile(rb"\x00\x00\x00\x0cJXL |\xff\x0a"), "JPEG XL"),
    (re.compile(rb"8BPS"), "a Photoshop file"),
    (re.compile(rb"%PDF-"), "a PDF"),
    (
        re.compile(
            rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<svg\b", re.S | re.I
        ),
        "SVG",
    ),
)
_MOST_FRAMES = 10_000  # of an animation, or pages; the first alone is ever decoded
_MOST_SCANS = 500  # of a JPEG, each decoded over the whole area; libjpeg-turbo's own limit
_PADDING = re.compile(rb"\x00{64,}")  # no 64 bytes of a real scan are all zero: see _padded_jpeg
_HASH_SAMPLES = 192

# Pillow warns of more than 89 million pixels, but the caller sets the limit, and of broken EXIF.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """The result of decoding a whole picture; sizes in pixels, after EXIF orientation.

    `quality` is None where it was not asked for.
    """

    format: str
    width: int
    height: int
    mode: str
    phash: str
    quality: PictureQuality | None = None


class SmallCopy:
    """A small copy of a picture, as `load_rgb` shows it, made while the whole of it is decoded.

    Args:
        max_side: The longer side is shrunk to this many pixels.
    """

    def __init__(self, max_side: int) -> None:
        self.max_side = max_side
        self.pixels = np.zeros((0, 0, 3), np.uint8)

    def take(self, image: Image.Image) -> None:
        """Make uint8 [H, W, 3], `pixels`, of a decoded picture."""
        orientation = _orientation(image)
        if image.mode in ("RGB", "L", "CMYK") and "transparency" not in image.info:
            image = _shrunk(image, self.max_side)  # first: all else then takes no time
        self.pixels = np.asarray(_shrunk(_to_rgb(image, orientation), self.max_side))


def check_image(
    data: bytes,
    *,
    min_side: int,
    max_pixels: int,
    quality: bool = False,
    small: SmallCopy | None = None,
) -> ImageInfo:
    """Decode a whole picture and check it.

    Args:
        data: The encoded picture.
        min_side: The least width and height, in pixels.
        max_pixels: The largest area, checked before anything is decoded; Pillow itself refuses
            more than 178,956,970 pixels.
        quality: Whether to measure its technical quality, too.
        small: Takes a small copy, so that the picture is not decoded again.

    Raises:
        MediaError: With one of the reasons image-empty, image-not-an-image, image-unsupported
            (AVIF, HEIC, JPEG 2000, MPO and others, by name), image-truncated, image-corrupt,
            image-concatenated, image-too-small and image-too-large.
    """
    image = _open(data)
    width, height = image.size
    if width * height > max_pixels:
        raise MediaError(
            "image-too-large", f"the picture has {width}×{height} pixels, over {max_pixels:,}"
        )
    if min(width, height) < min_side:
        raise MediaError(
            "image-too-small", f"the picture is {width}×{height}, under {min_side} pixels"
        )
    if (frames := _frame_count(data, image.format or "")) > _MOST_FRAMES:
        raise MediaError(
            "image-too-large", f"the file has {frames:,} frames or pages, over {_MOST_FRAMES:,}"
        )
    _load(image)
    _check_end(data, image.format or "")
    orientation = _orientation(image)
    if orientation >= 5:
        width, height = height, width
    grey = _grey_samples(image, orientation)
    measured = None
    if quality:
        eight = _eight_bits(image) if image.mode.startswith("I") or image.mode == "F" else image
        measured = picture_quality(eight, grey, width, height)
    if small:
        small.take(image)
    return ImageInfo(image.format or "", width, height, image.mode, phash_grey(grey), measured)


def load_rgb(data: bytes, *, max_side: int | None = None) -> np.ndarray:
    """Decode a picture: upright, sRGB, on white if transparent, the first frame.

    Args:
        data: The encoded picture.
        max_side: The longer side is shrunk to this many pixels; None: not at all.

    Returns:
        uint8 [H, W, 3].

    Raises:
        MediaError: As `check_image`.
    """
    return np.asarray(_upright_rgb(data, max_side))


def load_small(data: bytes, *, max_side: int) -> np.ndarray:
    """As `load_rgb`, but always shrunk from the whole picture: the copy of a `SmallCopy`."""
    image = _open(data)
    _load(image)
    small = SmallCopy(max_side)
    small.take(image)
    return small.pixels


def load_square(data: bytes, side: int) -> np.ndarray:
    """The central square of the picture, scaled to uint8 [side, side, 3]; else as `load_rgb`.

    A JPEG is decoded no larger than needed: libjpeg scales by 1/2, 1/4 or 1/8.
    """
    image = _open(data)
    image.draft(None, (side, side))
    _load(image)
    image = _to_rgb(image)
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    middle = (left, top, left + short, top + short)
    return np.array(image.resize((side, side), Image.Resampling.BICUBIC, middle))


def release_jpeg(data: bytes, *, max_side: int, quality: int) -> bytes:
    """JPEG bytes for a release.

    Args:
        data: The encoded picture.
        max_side: Of the result, in pixels.
        quality: Of a re-encoding, 1 to 95.

    Returns:
        The original bytes if they are an upright sRGB or grey JPEG within `max_side`; else one
        re-encoding, the same bytes each time.

    Raises:
        MediaError: It cannot be decoded.
    """
    image = _open(data)
    plain = (
        image.format == "JPEG"
        and image.mode in ("RGB", "L")
        and max(image.size) <= max_side
        and _orientation(image) == 1
        and _is_srgb(image)
    )
    if plain:
        return data
    # This filter takes half the time of Lanczos, and loses 0.7 dB once the picture is enlarged
    # again. Optimised Huffman tables would double the time of encoding, and save 4 % of the bytes.
    out = io.BytesIO()
    _upright_rgb(data, max_side, Image.Resampling.HAMMING).save(out, "JPEG", quality=quality)
    return out.getvalue()


def jpeg_size(data: bytes) -> tuple[int, int]:
    """The width and height in pixels that the header of what `release_jpeg` gave states."""
    return _open(data).size


def _open(data: bytes) -> Image.Image:
    if not data:
        raise MediaError("image-empty", "the file is empty")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        if image.format not in FORMATS:  # a JPEG whose index lists more pictures is an MPO
            count = getattr(image, "n_frames", 2)
            raise MediaError(
                "image-unsupported",
                f"the file is {image.format} with {count} pictures: save the one to use",
            )
        # 0xFF in a scan's own bytes is never followed by 0xDA, which begins a scan.
        if image.format == "JPEG" and (scans := data.count(b"\xff\xda")) > _MOST_SCANS:
            raise MediaError("image-too-large", f"the JPEG has {scans:,} scans, over {_MOST_SCANS}")
        return image
    except MediaError:
        raise
    except Image.DecompressionBombError as error:
        raise MediaError("image-too-large", f"the picture is too large ({error})") from None
    except Exception as error:  # noqa: BLE001  decoders raise anything on hostile bytes
        for signature, name in _OTHERS:
            if signature.match(data[:1024]):
                raise MediaError(
                    "image-unsupported", f"the picture is {name}: convert it to JPEG or PNG"
                ) from None
        start = data[:256].lstrip().lower()
        what = "is a web page" if start.startswith((b"<!doctype", b"<html")) else "cannot be read"
        raise MediaError(
            "image-not-an-image", f"the file {what}, not a picture ({_brief(error)})"
        ) from None


def _load(image: Image.Image) -> None:
    try:
        with suppress_stderr() if image.format == "TIFF" else nullcontext():
            image.load()
    except MemoryError:
        raise MediaError(
            "image-too-large", "the picture needs more memory to decode than there is"
        ) from None
    except Exception as error:  # noqa: BLE001  decoders raise anything on hostile bytes
        cut = "truncated" in str(error) or isinstance(error, EOFError)
        raise MediaError(
            "image-truncated" if cut else "image-corrupt",
            f"the picture {'is cut short' if cut else 'does not decode'} ({_brief(error)})",
        ) from None


def _brief(error: Exception) -> str:
    text = re.sub(r"<_io\.BytesIO object at 0x[0-9a-f]+>", "the data", str(error))
    return (text.splitlines() or [type(error).__name__])[0][:120] or type(error).__name__


def _frame_count(data: bytes, kind: str) -> int:
    """How many frames or pages there are; 1 if that cannot be counted: the first one counts."""
    if kind in ("JPEG", "BMP"):
        return 1
    try:
        with Image.open(io.BytesIO(data), formats=(kind,)) as image:
            return int(getattr(image, "n_frames", 1))
    except Exception:  # noqa: BLE001  as `_open`; what follows the first frame is not used
        return 1


def _check_end(data: bytes, kind: str) -> None:
    """Refuse a JPEG that is cut short, padded or lacks scans, and a second picture after any."""
    if kind == "JPEG":
        if _lacks_scans(data):
            raise MediaError(
                "image-truncated", "the JPEG was cut short between two scans, and an end was added"
            )
        if _padded_jpeg(data):
            raise MediaError("image-truncated", "the JPEG was cut short and filled with zeros")
        if data.endswith(b"\xff\xd9") and data.find(b"\xff\xd8\xff", 2) < 0:
            return  # one start and one end: no need to read the segments
        end = _jpeg_end(data)
        if end < 0:
            raise MediaError("image-truncated", "the JPEG stops before its end marker")
    elif kind == "PNG":
        end = _png_end(data)
    else:
        return
    if data[end : end + 64].lstrip(b"\0\r\n ").startswith(_SIGNATURES):
        raise MediaError("image-concatenated", "another picture follows in the same file")


def _jpeg_end(data: bytes) -> int:
    """Offset after the end-of-image marker, or -1."""
    at = 2
    while True:
        found = _MARKER.search(data, at)
        if found is None:
            return -1
        at = found.end()
        marker = data[at - 1]
        if marker == 0xD9:
            return at
        if marker not in (0x01, 0xD8):  # all others carry a length; scan data is then searched
            at += int.from_bytes(data[at : at + 2], "big")


def _lacks_scans(data: bytes) -> bool:
    """Whether a JPEG of several scans lacks some: a coefficient of a component, or its last bits.

    A progressive JPEG that is cut between two scans is a blurred picture to decoders. Encoders
    write every coefficient of every component down to its last bit. (ITU-T T.81, section G.1.1)
    """
    left: dict[int, set[int]] = {}  # by component: coefficients whose last bit is to come
    progressive, at = False, 2
    while (found := _MARKER.search(data, at)) and data[found.end() - 1] != 0xD9:
        at, marker = found.end(), data[found.end() - 1]
        if marker in (0x01, 0xD8):
            continue
        length = int.from_bytes(data[at : at + 2], "big")
        segment = data[at + 2 : at + length]
        at += length
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            progressive = marker & 3 == 2
            left = {one: set(range(64)) for one in segment[6 : 6 + 3 * segment[5] : 3]}
        elif marker == 0xDA and not progressive and segment[0] == len(left):
            return False  # a single scan, as almost always: the rest need not be read
        elif marker == 0xDA:
            first, last, bits = segment[1 + 2 * segment[0] : 4 + 2 * segment[0]]
            done = range(first, last + 1) if progressive else range(64)
            for one in segment[1 : 1 + 2 * segment[0] : 2] if bits & 15 == 0 else ():
                left.get(one, set()).difference_update(done)
    return any(left.values())


def _padded_jpeg(data: bytes) -> bool:
    """Whether zeros replace a part of a baseline JPEG's pixels.

    Zero bits always decode to the first code of a Huffman table. If that means "no change" for the
    mean (DC) and "end of block" for the rest (AC), zeros may be an even area, with the two codes'
    bits for each block and no more blocks than the picture has; otherwise 64 zero bytes are many
    equal blocks of noise, which no picture has. (ITU-T T.81, sections B and F)
    """
    if _PADDING.search(data) is None:
        return False
    tables: dict[int, tuple[int, int]] = {}  # class and number -> bits and value of the first code
    blocks, at = 0, 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        segment = data[at + 4 : at + 2 + length]
        if marker == 0xC4:
            tables |= _first_codes(segment)
        elif marker in (0xC0, 0xC1) and len(segment) > 5:
            height, width = (int.from_bytes(segment[n : n + 2], "big") for n in (1, 3))
            blocks = -(-height // 8) * -(-width // 8) * segment[5] + 64
        elif 0xC2 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return False  # progressive: a scan may skip many blocks with few bits
        elif marker == 0xDA and segment:
            end = _jpeg_end(data[:2] + data[at:])
            scan = data[at + 2 + length : at + end if end > 0 else len(data)]
            runs = [len(run[0]) for run in _PADDING.finditer(scan)]
            used = {number for pair in segment[2 : 1 + 2 * segment[0] : 2]
                    for number in (pair >> 4, 0x10 | pair & 15)}  # fmt: skip
            first = [tables.get(number, (1, 0)) for number in used]
            even = all(value == 0 for _, value in first)
            return bool(runs) and (not even or max(runs) * 8 > blocks * sum(n for n, _ in first))
        at += 2 + length
    return False


def _first_codes(segment: bytes) -> dict[int, tuple[int, int]]:
    """The shortest code's bits and first value of each Huffman table in a DHT segment."""
    found: dict[int, tuple[int, int]] = {}
    at = 0
    while at + 17 <= len(segment):
        counts = segment[at + 1 : at + 17]
        bits = next((n for n, count in enumerate(counts, 1) if count), 0)
        if bits and at + 17 < len(segment):
            found[segment[at]] = (bits, segment[at + 17])
        at += 17 + sum(counts)
    return found


def _png_end(data: bytes) -> int:
    """Offset after the end chunk; every chunk's checksum is checked (Pillow skips most)."""
    at = 8
    while at + 12 <= len(data):
        stop = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if stop > len(data):
            break
        if zlib.crc32(data[at + 4 : stop - 4]) != int.from_bytes(data[stop - 4 : stop], "big"):
            raise MediaError("image-corrupt", "a checksum within the PNG does not hold")
        if data[at + 4 : at + 8] == b"IEND":
            return stop
        at = stop
    raise MediaError("image-truncated", "the PNG stops before its end chunk")


def _orientation(image: Image.Image) -> int:
    try:
        value = int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001  a broken EXIF block does not spoil the picture
        return 1
    return value if 1 <= value <= 8 else 1


def _is_srgb(image: Image.Image) -> bool:
    """True without a profile, or with one of sRGB."""
    profile = image.info.get("icc_profile")
    if not profile:
        return True
    try:
        described = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
        return "srgb" in described.lower()
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return True  # an unreadable profile is ignored


def _upright_rgb(
    data: bytes, max_side: int | None, resample: Image.Resampling = Image.Resampling.LANCZOS
) -> Image.Image:
    image = _open(data)
    scale = 1.0 if max_side is None else max_side / max(image.size)
    if scale < 1.0:
        # JPEGs decode at 1/2, 1/4, 1/8 size for much less time, with the right low-pass.
        image.draft(None, (math.ceil(image.width * scale), math.ceil(image.height * scale)))
    _load(image)
    image = _to_rgb(image)
    if max_side is not None and max(image.size) > max_side:
        image = image.resize(_size(image, max_side), resample, reducing_gap=2.0)
    return image


def _size(image: Image.Image, max_side: int) -> tuple[int, int]:
    scale = max_side / max(image.size)
    return max(1, round(image.width * scale)), max(1, round(image.height * scale))


def _shrunk(image: Image.Image, max_side: int) -> Image.Image:
    """The picture with a longer side of `max_side` pixels at most; its profile stays."""
    if max(image.size) <= max_side:
        return image
    return image.resize(_size(image, max_side), Image.Resampling.LANCZOS, reducing_gap=1.1)


def _to_rgb(image: Image.Image, orientation: int = 0) -> Image.Image:
    """The picture in 8-bit sRGB; an orientation replaces the one that it states itself."""
    orientation = orientation or _orientation(image)
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
    elif not _is_srgb(image):
        image = _apply_profile(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return _turn(image.convert("RGB"), orientation)


def _turn(image: Image.Image, orientation: int) -> Image.Image:
    if orientation == 1:
        return image
    image.getexif()[_ORIENTATION] = orientation
    return ImageOps.exif_transpose(image)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey with 8 bits from 16-bit, 32-bit or floating-point grey."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    top = float(values.max(initial=0.0))
    # Full scale is the smallest of the usual ones that holds the values.
    full = next((scale for scale in (1.0, 255.0, 65535.0) if top <= scale), top)
    if image.mode != "F" and top <= 65535.0:
        full = 65535.0
    return Image.fromarray(np.clip(values / full * 255.0 + 0.5, 0, 255).astype(np.uint8))


def _apply_profile(image: Image.Image) -> Image.Image:
    """Convert the picture by its ICC profile to sRGB; unchanged if the profile is unusable."""
    alpha = image.getchannel("A") if image.mode in ("RGBA", "LA") else None
    base = image
    if image.mode not in ("RGB", "CMYK", "L", "LAB"):
        base = image.convert("L" if image.mode == "LA" else "RGB")
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        converted = ImageCms.profileToProfile(
            base, profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return image
    if converted is None:
        return image
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def _grey_samples(image: Image.Image, orientation: int) -> Image.Image:
    """A small grey copy of a loaded picture for hashing.

    Pictures without transparency are sampled rather than averaged: the hash has only 8×8
    frequencies, for which 37,000 samples suffice, and the time does not grow with the picture.
    """
    side = (_HASH_SAMPLES, _HASH_SAMPLES)
    if image.mode in ("RGB", "L") and "transparency" not in image.info:
        if min(image.size) > _HASH_SAMPLES:
            image = image.resize(side, Image.Resampling.NEAREST)
        return _turn(image.convert("L"), orientation)
    return _to_rgb(image).convert("L")
