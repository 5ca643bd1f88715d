"""Pixels of an image or a mask file, read as the eye would see them; every fault is a DataError naming the file.

The rules, which hold for every layout:

- The EXIF orientation is applied to images and masks alike. Of several pages or frames the first is read. Colour
  profiles are not applied.
- More than 8 bits per channel: the run's value range becomes 0 to 255, and what lies outside it saturates. Without
  one, the high byte of 16 bits is kept, and floating point must lie in [0, 1].
- Transparent pixels of an image are shown over white, as viewers do; those of a mask count as no defect.
- Images that Pillow takes for a decompression bomb (above 179 megapixels) are refused before they are decoded.
- A mask of several channels is reduced by its maximum over the colour channels. A palette is looked up, except
  for masks of kind `labels`, where the palette index is the label.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import cv2
import numpy as np
from jaxtyping import Bool, Shaped, UInt8
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from muad.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from muad.types import MaskKind, Record

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"}
    | {".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
)
"""File endings, in lower case, that are read as images."""

ValueRange = tuple[float, float]
_PAGED_SUFFIXES = frozenset({".gif", ".png", ".tif", ".tiff", ".webp"})
_ORIENTATION_TAG = 0x0112
_WHITE = (255, 255, 255, 255)
_BLACK = (0, 0, 0, 255)
# How stored pixels are turned upright, by EXIF orientation.
_TURNED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda pixels: pixels,
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels.swapaxes(0, 1), 2),
    8: np.rot90,
}
# What Pillow's decoders are known to raise on damaged files.
_DECODER_FAULTS = (OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, ArithmeticError,
                   struct.error, zlib.error)  # fmt: skip
# A PNG may carry its orientation behind the pixels, where only decoding finds it.
_PNG_ORIENTATION_MARKS = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")


@dataclass(frozen=True, slots=True)
class ImageBytes:
    """An image file that lies in memory, read by the rules for files on disk.

    Attributes:
        content: The whole file.
        name: What to call it in an error.
        formats: Pillow's names of the only formats it may have; None for all that are read.
    """

    content: bytes
    name: str
    formats: tuple[str, ...] | None = None

    def __str__(self) -> str:
        return self.name


def is_image_file(path: Path) -> bool:
    """Whether the file's ending, in any case, is that of an image."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def read_image(path: Path | ImageBytes, value_range: ValueRange | None = None) -> UInt8[np.ndarray, "H W 3"]:
    """Pixels of an image file as 8-bit RGB, upright.

    Args:
        path: The image file, on disk or in memory.
        value_range: Values that become black and white where a channel has more than 8 bits.

    Raises:
        DataError: If the file is missing, empty, damaged, too large or no image.
    """
    with _decoding(path, "image"), _opened(path, "image") as image:
        if value_range is not None and is_deep(image):
            return values_to_rgb(_deep_values(image, path), value_range, f"image {path}")
        return image_to_rgb(_upright(image), name=f"image {path}")


def read_values(path: Path) -> Shaped[np.ndarray, "H W *c"]:
    """The stored numbers of an image with more than 8 bits per channel, upright; colour as RGB or RGBA.

    Raises:
        DataError: If the file is missing, empty, damaged, too large or no image.
    """
    with _decoding(path, "image"), _opened(path, "image") as image:
        return _deep_values(image, path)


@contextmanager
def open_header(path: Path | ImageBytes) -> Iterator[ImageFile.ImageFile]:
    """The image with its header read and its pixels not yet decoded.

    Raises:
        DataError: If the file is missing, empty, damaged, too large or no image.
    """
    with _decoding(path, "image"), _opened(path, "image") as image:
        yield image


def has_pages(path: Path) -> bool:
    """Whether a file that can be read has more than one page or frame.

    Raises:
        DataError: If the file is missing, empty, damaged, too large or no image.
    """
    if path.suffix.lower() not in _PAGED_SUFFIXES:
        return False
    with open_header(path) as image:
        return getattr(image, "n_frames", 1) > 1


def is_deep(image: ImageFile.ImageFile) -> bool:
    """Whether a file just opened has more than 8 bits per channel."""
    return image.mode.startswith(("I", "F")) or _is_deep_colour(image)


def values_to_rgb(
    values: Shaped[np.ndarray, "H W *c"], value_range: ValueRange, name: str
) -> UInt8[np.ndarray, "H W 3"]:
    """Numbers of any range as 8-bit RGB: the ends of the value range become 0 and 255, and nothing goes beyond.

    Args:
        values: Grey, RGB or RGBA; alpha in the whole range of its type, laid over white.
        value_range: Values that become black and white.
        name: What to call the image in an error.

    Raises:
        DataError: If a value is not a finite number.
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise DataError(f"{name} must have finite values, got NaN or infinity. Replace them before use.")
    low, high = value_range
    colours = values[..., :3] if values.ndim == 3 else values[..., None]
    # In float32 throughout: 24 bits of it hold every 16-bit number.
    scaled = np.clip((colours.astype(np.float32) - low) * np.float32(255 / (high - low)), 0, 255)
    if values.ndim == 3 and values.shape[2] == 4:
        whole = np.iinfo(values.dtype).max if values.dtype.kind == "u" else 1
        alpha = values[..., 3:].astype(np.float32) / whole
        scaled = scaled * alpha + 255 * (1 - alpha)
    levels = np.rint(scaled).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(levels, (*levels.shape[:2], 3)))


def read_mask(path: Path, kind: MaskKind) -> UInt8[np.ndarray, "H W"]:
    """Ground truth of an image, 0 for no defect to 255 for defect, upright.

    Args:
        path: The mask file, or for `regions` a folder of them.
        kind: `grey`: brightness is kept, soft edges included; `labels`: any non-zero value becomes 255; `regions`: the
            same, of all files of a folder together.

    Raises:
        DataError: If a file is missing, empty, damaged, too large or no image, or files of a folder differ in size.
    """
    if kind == "regions":
        return _united(path)
    with _decoding(path, "mask"), _opened(path, "mask") as image:
        if kind == "grey":
            colours = _flattened(_upright(image), _BLACK, name=f"mask {path}")
            return np.asarray(colours.max(axis=2))
        if _is_deep_colour(image):  # Pillow would drop the low byte, and small labels with it
            msg = (
                f"mask {path} must have one channel or 8 bits to hold labels, got 16-bit colour. "
                "Save it as a single-channel image."
            )
            raise DataError(msg)
        return np.where(_is_labelled(_upright(image)), np.uint8(255), np.uint8(0))


def read_labels(path: Path) -> UInt8[np.ndarray, "H W"]:
    """The stored numbers of a mask with one channel of at most 8 bits, upright; of a palette, its indices.

    Raises:
        DataError: If the file is missing, empty, damaged, too large or no such image.
    """
    with _decoding(path, "mask"), _opened(path, "mask") as image:
        labels = np.asarray(_upright(image))
        if labels.ndim != 2 or labels.dtype not in (np.uint8, np.bool_):
            raise DataError(
                f"mask {path} must have one channel of 8 bits to hold labels, got mode {image.mode}. Save it as 8-bit "
                "grey."
            )
        return labels.astype(np.uint8)


def read_pair(
    record: Record, value_range: ValueRange | None = None
) -> tuple[UInt8[np.ndarray, "H W 3"], UInt8[np.ndarray, "H W"] | None]:
    """Image of a record and its mask, which is None where the record names none.

    Args:
        record: Of a data set.
        value_range: Values that become black and white where a channel of the image has more than 8 bits.

    Raises:
        DataError: If a file cannot be read, or the mask has another size than the upright image.
    """
    image = read_image(record.path, value_range)
    return image, read_truth(record, (image.shape[0], image.shape[1]))


def read_truth(record: Record, size: tuple[int, int]) -> UInt8[np.ndarray, "H W"] | None:
    """Mask of a record, which is None where it names none.

    Args:
        record: Of a data set.
        size: Height and width of its upright image.

    Raises:
        DataError: The file cannot be read, or the mask has another size.
    """
    if record.mask_path is None:
        return None
    mask = read_mask(record.mask_path, record.mask_kind)
    if mask.shape != size:
        msg = (
            f"mask {record.mask_path} must have the size of its image, {_size_text(size)}, got "
            f"{_size_text(mask.shape)} (height x width). Export the mask at the size of {record.path}."
        )
        raise DataError(msg)
    return mask


def image_size(path: Path) -> tuple[int, int]:
    """Height and width in pixels of the upright image, from the file's header alone wherever possible.

    Raises:
        DataError: If the file is missing, empty, damaged in its header, too large or no image.
    """
    with _decoding(path, "image"), _opened(path, "image") as image:
        if image.width != image.height and _may_be_rotated(image, path) and _is_sideways(image):
            if image.format != "TIFF":  # a TIFF is turned by the decoder itself
                return image.width, image.height
            image.load()
        return image.height, image.width


def image_to_rgb(image: Image.Image, name: str) -> UInt8[np.ndarray, "H W 3"]:
    """Pixels of an opened image as 8-bit RGB, under the rules of this module.

    Args:
        image: Image of any Pillow mode; its orientation is taken as it is.
        name: What to call the image in an error.

    Raises:
        DataError: If the values have no agreed meaning as brightness (32-bit integers, floats outside [0, 1]).
    """
    return _flattened(image, _WHITE, name)


def _united(folder: Path) -> UInt8[np.ndarray, "H W"]:
    """255 wherever one of the masks in a folder marks a defect."""
    files = sorted(path for path in folder.iterdir() if is_image_file(path)) if folder.is_dir() else []
    if not files:
        raise DataError(f"mask folder {folder} must hold a mask for each defect, got none. Restore them, or remove it.")
    masks = [read_mask(file, "labels") for file in files]
    for file, mask in zip(files, masks, strict=True):
        if mask.shape != masks[0].shape:
            raise DataError(
                f"all masks of {folder} must be of one size, got {_size_text(masks[0].shape)} and "
                f"{_size_text(mask.shape)} (height x width) in {file.name}. Export them anew."
            )
    return np.asarray(np.maximum.reduce(masks))


@contextmanager
def _decoding(path: Path | ImageBytes, role: str) -> Iterator[None]:
    """Turn every fault of reading and decoding a file into one line about that file."""
    try:
        yield
    except UnidentifiedImageError:
        msg = (
            f"{role} {path} must be an image, got a file that no decoder recognises (or floating-point colour). "
            "Remove it, or convert it to 8- or 16-bit PNG."
        )
        raise DataError(msg) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        msg = f"{role} {path} must be small enough to decode safely, got: {error} Cut it into parts, or scale it down."
        raise DataError(msg) from None
    except _DECODER_FAULTS as error:
        if isinstance(error, OSError) and error.strerror is not None:
            msg = f"{role} {path} must be a file that can be read, got: {error.strerror}. Check the path."
        else:
            msg = (
                f"{role} {path} must be a whole image, got a damaged or truncated file ({error}). Replace or remove it."
            )
        raise DataError(msg) from None


@contextmanager
def _opened(path: Path | ImageBytes, role: str) -> Iterator[ImageFile.ImageFile]:
    """The image with its header read and its pixels not yet decoded."""
    formats = path.formats if isinstance(path, ImageBytes) else None
    with _file(path) as file:
        if not file.read(1):
            msg = f"{role} {path} must not be empty, got 0 bytes. Replace or remove it."
            raise DataError(msg)
        file.seek(0)
        with Image.open(file, formats=formats) as image:
            yield image


def _file(path: Path | ImageBytes) -> BinaryIO:
    return BytesIO(path.content) if isinstance(path, ImageBytes) else path.open("rb")


def _upright(image: ImageFile.ImageFile) -> Image.Image:
    """The decoded image, turned as its metadata demands."""
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode == "I" and image.format in {"PNG", "PPM"}:
        return image.convert("I;16")  # these formats hold at most 16 bits
    return image


def _is_deep_colour(image: ImageFile.ImageFile) -> bool:
    return len(image.getbands()) > 1 and any(";16" in str(tile[3]) for tile in image.tile)


def _deep_values(image: ImageFile.ImageFile, path: Path | ImageBytes) -> Shaped[np.ndarray, "H W *c"]:
    """The stored numbers; Pillow has them for grey, OpenCV for colour."""
    if not _is_deep_colour(image):
        return np.asarray(_upright(image))
    image.load()  # with its checks, and metadata that lie behind the pixels
    content = np.frombuffer(path.content, np.uint8) if isinstance(path, ImageBytes) else np.fromfile(path, np.uint8)
    decoded = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16 or decoded.ndim != 3:
        raise DataError(f"image {path} must be 16-bit colour that OpenCV can read too. Convert it to 16-bit PNG.")
    order = [2, 1, 0, 3][: decoded.shape[2]]
    turned: np.ndarray = _TURNED[1 if image.format == "TIFF" else _orientation(image)](decoded[..., order])
    return turned


def _flattened(image: Image.Image, background: tuple[int, int, int, int], name: str) -> UInt8[np.ndarray, "H W 3"]:
    if image.mode.startswith("I") or image.mode == "F":
        grey = _deep_grey_to_8_bit(image, name)
        transparent = image.info.get("transparency")
        if isinstance(transparent, int):
            grey[np.asarray(image) == transparent] = background[0]
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        canvas = Image.new("RGBA", image.size, background)
        return np.array(Image.alpha_composite(canvas, image.convert("RGBA")).convert("RGB"))
    return np.array(image.convert("RGB"))


def _deep_grey_to_8_bit(image: Image.Image, name: str) -> UInt8[np.ndarray, "H W"]:
    values = np.asarray(image)
    if image.mode.startswith("I;16"):
        return np.asarray(values >> 8, dtype=np.uint8)
    if image.mode == "F":
        low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
        if low >= 0.0 and high <= 1.0:  # also false for values that are not numbers
            return np.asarray(np.rint(values * 255), dtype=np.uint8)
        msg = f"{name} must have finite values in [0, 1] when stored as floating point, got {low:g} to {high:g}. "
    else:
        msg = f"{name} must have 8 or 16 bits per channel, got 32-bit integers. "
    msg += "Convert it to 8- or 16-bit PNG."
    raise DataError(msg)


def _is_labelled(image: Image.Image) -> Bool[np.ndarray, "H W"]:
    marked = np.asarray(np.asarray(image) != 0)
    if marked.ndim == 2:
        return marked
    bands = image.getbands()
    labelled = marked[:, :, [index for index, band in enumerate(bands) if band != "A"]].any(axis=2)
    return np.asarray(labelled & marked[:, :, bands.index("A")] if "A" in bands else labelled)


def _may_be_rotated(image: ImageFile.ImageFile, path: Path) -> bool:
    if image.format != "PNG":
        return True
    data = path.read_bytes()
    return any(mark in data for mark in _PNG_ORIENTATION_MARKS)


def _is_sideways(image: Image.Image) -> bool:
    return _orientation(image) in {5, 6, 7, 8}


def _orientation(image: Image.Image) -> int:
    return int(image.getexif().get(_ORIENTATION_TAG, 1))


def _size_text(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}x{shape[1]}"
