"""What somebody sends as a photograph: hostile until proven otherwise, and checked before a pixel is decoded.

Only the header is read here, by the decoder of the one format that the first bytes announce; no other decoder is
asked. What passes is decoded later by the rules for files on disk (`muad.images.reading`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, Field

from muad.errors import DataError
from muad.images.reading import ImageBytes, open_header

BYTES_PER_MB = 1_000_000
PIXELS_PER_MEGAPIXEL = 1_000_000


class UploadSettings(BaseModel):
    """`[uploads]`: the largest photographs that are taken.

    Attributes:
        mb: Of one file, in millions of bytes.
        megapixels: Of one photograph, before anything is decoded; 64 need about 200 MB of memory each.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mb: float = Field(default=32, gt=0, le=2000)
    megapixels: float = Field(default=64, gt=0, le=170)  # Pillow refuses 179 by itself

    @property
    def file_bytes(self) -> int:
        """Of one file."""
        return int(self.mb * BYTES_PER_MB)


class UploadError(DataError):
    """A photograph that is not taken.

    Attributes:
        status: Of HTTP: 413 too large, 415 not a format that is read, 422 damaged or ambiguous.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Upload:
    """A file whose header holds what it must.

    Attributes:
        content: As it came.
        format: Pillow's name of its format.
        suffix: Of a file that holds it.
        media_type: What it is sent back as, whatever it was sent as.
        width: In stored pixels, before it is turned upright.
        height: Likewise.
    """

    content: bytes
    format: str
    suffix: str
    media_type: str
    width: int
    height: int

    @property
    def image(self) -> ImageBytes:
        """What the predictor takes: read by this format's decoder alone."""
        return ImageBytes(self.content, "that was sent", (self.format,))


@dataclass(frozen=True, slots=True)
class _Format:
    """One that the project reads, known by its first bytes; `also` is what others call it."""

    name: str
    suffix: str
    media_type: str
    also: tuple[str, ...]
    begins: re.Pattern[bytes]


_FORMATS = (
    _Format("JPEG", ".jpg", "image/jpeg", ("image/jpg", "image/pjpeg", "image/mpo"), re.compile(rb"\xff\xd8\xff")),
    _Format("PNG", ".png", "image/png", ("image/x-png", "image/apng"), re.compile(rb"\x89PNG\r\n\x1a\n")),
    _Format("TIFF", ".tif", "image/tiff", ("image/tif", "image/x-tiff"), re.compile(rb"II[*+]\0|MM\0[*+]")),
    _Format("BMP", ".bmp", "image/bmp", ("image/x-bmp", "image/x-ms-bmp"), re.compile(rb"BM")),
    _Format("WEBP", ".webp", "image/webp", (), re.compile(rb"RIFF....WEBP", re.DOTALL)),
    _Format("GIF", ".gif", "image/gif", (), re.compile(rb"GIF8[79]a")),
    _Format(
        "JPEG2000", ".jp2", "image/jp2", ("image/jpx", "image/jpeg2000", "image/j2k", "image/x-jp2"),
        re.compile(rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n"),
    ),
    _Format(
        "PPM", ".ppm", "image/x-portable-anymap",
        ("image/x-portable-pixmap", "image/x-portable-graymap", "image/x-portable-bitmap"), re.compile(rb"P[1-6]\s"),
    ),
)  # fmt: skip
ACCEPTED_TYPES = tuple(sorted(kind.media_type for kind in _FORMATS))
"""Media types of photographs that are read."""

_READ = "JPEG, PNG, TIFF, BMP, WebP, GIF, JPEG 2000 or PNM"
# Says nothing about the content, so it is not held against it.
_UNSAID = frozenset({"", "application/octet-stream", "binary/octet-stream", "image/*", "*/*"})
# What a browser, a viewer of documents or an unpacker would take the same bytes for. They look at the head of a file,
# an unpacker at its tail.
_HEAD_BYTES = 4096
_TAIL_BYTES = 65_557  # a zip's directory ends at most so far before the end of the file
# In lower case; looked for one by one, because a search by pattern over the tail takes longer than all the rest.
_FOREIGN_HEAD = (b"%pdf-", b"<script", b"<html", b"<svg", b"<body", b"<iframe", b"<!doctype", b"<?php")
_FOREIGN_TAIL = (b"</script>", b"</html>", b"</svg>", b"</body>", b"<?php", b"rar!\x1a\x07", b"7z\xbc\xaf'\x1c")
_PDF_END = b"%%eof"
_ZIP_END = b"PK\x05\x06"
_ZIP_END_BYTES = 22


def check_upload(content: bytes, declared: str | None, settings: UploadSettings) -> Upload:
    """The file as a photograph that is safe to decode.

    Args:
        content: The whole file.
        declared: The content type it came with; nothing, or one that says nothing, is taken as unsaid.
        settings: The largest that are taken.

    Raises:
        UploadError: It is too large, of a format that is not read, not what it was declared as, something else as well,
            of several frames, or damaged in its header.
    """
    if not content:
        raise UploadError(422, "photograph must not be empty, got 0 bytes. Send the file's content.")
    if len(content) > settings.file_bytes:
        raise too_large(len(content), settings)
    kind = next((kind for kind in _FORMATS if kind.begins.match(content)), None)
    if kind is None:
        raise UploadError(415, f"photograph must be {_READ}, got a file that begins like none of them. Convert it.")
    said = (declared or "").partition(";")[0].strip().lower()
    if said not in _UNSAID and said != kind.media_type and said not in kind.also:
        name = said if re.fullmatch(r"[\w.+-]{1,40}/[\w.+-]{1,60}", said) else "something else"
        raise UploadError(
            415, f"content type must be that of the file, {kind.media_type}, got {name}. Send the right one, or none."
        )
    _refuse_polyglots(content)
    image = ImageBytes(content, "that was sent", (kind.name,))
    try:
        with open_header(image) as header:
            width, height = header.size
            several = bool(getattr(header, "is_animated", False)) and header.format != "MPO"
    except DataError as error:
        if isinstance(error.__context__, UnidentifiedImageError):  # though its first bytes were those of the format
            msg = f"photograph must be a whole {kind.name}, got a file with a damaged header. Send it again."
            raise UploadError(422, msg) from None
        bomb = isinstance(error.__context__, (Image.DecompressionBombError, Image.DecompressionBombWarning))
        raise UploadError(413 if bomb else 422, str(error)) from None
    if width * height > settings.megapixels * PIXELS_PER_MEGAPIXEL:
        size = f"{width}x{height} ({width * height / PIXELS_PER_MEGAPIXEL:.4g})"
        raise UploadError(
            413,
            f"photograph must have at most {settings.megapixels:g} megapixels, got {size}. Scale it down or cut it, or "
            "raise uploads.megapixels in station.toml.",
        )
    if several:  # which one is meant, nobody said; a JPEG's further ones are previews by their standard
        raise UploadError(422, "photograph must have one frame or page, got several. Send the one that is meant.")
    return Upload(content, kind.name, kind.suffix, kind.media_type, width, height)


def too_large(size: int | None, settings: UploadSettings) -> UploadError:
    """The refusal of a file of this many bytes, or of more than are read at all."""
    got = "more" if size is None else f"{size / BYTES_PER_MB:.4g} MB"
    return UploadError(
        413, f"photograph must have at most {settings.mb:g} MB, got {got}. Raise uploads.mb in station.toml for larger."
    )


def _refuse_polyglots(content: bytes) -> None:
    tail = content[-_TAIL_BYTES:]
    head, end = content[:_HEAD_BYTES].lower(), tail.lower()
    foreign = any(mark in head for mark in _FOREIGN_HEAD) or any(mark in end for mark in _FOREIGN_TAIL)
    if foreign or end.rstrip().endswith(_PDF_END) or _ends_as_zip(tail):
        raise UploadError(
            415,
            "photograph must be nothing but a photograph, got a file that can also be read as a document, a page or an "
            "archive. Save it anew with an image editor.",
        )


def _ends_as_zip(tail: bytes) -> bool:
    """Whether a zip's directory ends exactly where the file does."""
    place = tail.rfind(_ZIP_END)
    if place < 0 or len(tail) - place < _ZIP_END_BYTES:
        return False
    comment = int.from_bytes(tail[place + _ZIP_END_BYTES - 2 : place + _ZIP_END_BYTES], "little")
    return place + _ZIP_END_BYTES + comment <= len(tail)
