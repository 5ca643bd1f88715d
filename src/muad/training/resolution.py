"""The size at which a detector must look, from the size of what it must find.

A defect that covers less than a patch of the encoder is easily missed. Up to a point a larger input costs least;
beyond, tiles do, since attention grows faster than the image.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from muad.advice.sentences import LEAST_PATCHES
from muad.errors import ConfigError, DataError
from muad.images.reading import image_size
from muad.images.tiling import magnification, tiles_for

if TYPE_CHECKING:
    from muad.configuration.run_config import RunConfig
    from muad.types import Record

_IN_MM = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "um": 0.001, "in": 25.4}
_LEAST_PX = 3.0  # of a photograph, below which a defect is noise to any detector
_MOST_ENLARGED = 1.5  # of a side, beyond which tiles are the cheaper way
_LOOKED_AT = 20  # photographs of a category


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """How to look for defects of some size.

    Attributes:
        settings: As `--set` takes them; none where the usual size is enough.
        sentence: What was chosen, why, and what it costs.
    """

    settings: tuple[str, ...]
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """A length as it was given: `0.5mm`, `12px`."""

    value: float
    unit: str

    @classmethod
    def read(cls, text: str, name: str) -> Length:
        """A length from its text.

        Raises:
            ConfigError: It is none.
        """
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(px|mm|cm|m|um|in)\s*", text)
        if found is None or float(found[1]) <= 0:
            units = ", ".join(("px", *_IN_MM))
            raise ConfigError(f"{name} must be a length such as 0.5mm or 12px, with one of {units}, got {text!r}.")
        return cls(value=float(found[1]), unit=found[2])

    def __str__(self) -> str:
        return f"{self.value:g} {self.unit}"


def photo_size(records: Sequence[Record]) -> tuple[int, int]:
    """The usual height and width of some photographs, of the largest category; no pixel of them is decoded.

    Raises:
        ConfigError: None of them can be opened.
    """
    usual = []
    for category in sorted({record.category for record in records}):
        own = [record for record in records if record.category == category]
        sizes: list[tuple[int, int]] = []
        for record in own[:: max(1, len(own) // _LOOKED_AT)]:
            with contextlib.suppress(DataError):  # said where it is looked at
                sizes.append(image_size(record.path))
        usual += [size for size, _ in Counter(sizes).most_common(1)]
    if not usual:
        raise ConfigError("photographs must be readable to choose a size for a smallest defect, got none that is.")
    return max(usual, key=math.prod)


def sized_for(
    config: RunConfig, photo_px: tuple[int, int], smallest_defect: str, field_of_view: str | None = None
) -> Sized:
    """The input size, or the tiles, at which a defect of some width covers a patch of the encoder.

    Args:
        config: Settings chosen otherwise; their size is the least.
        photo_px: Height and width of the photographs.
        smallest_defect: Its width: pixels of the photographs, or a length.
        field_of_view: Width of what a photograph shows, as a length; needed unless the defect is given in pixels.

    Raises:
        ConfigError: What is given is no length, or the photographs do not have the detail.
    """
    defect = Length.read(smallest_defect, "smallest defect")
    defect_px = _in_pixels(defect, field_of_view, photo_px[1])
    if defect_px < _LEAST_PX:
        raise ConfigError(
            f"smallest defect must cover at least {_LEAST_PX:g} px of the photographs, got {defect_px:.2g} px for "
            f"{defect} in photographs {photo_px[1]} px wide. Photograph closer, or with more pixels."
        )
    detector, patch_px = config.detector, config.patch_px
    tiles, overlap = config.images.tiles, config.images.tile_overlap
    grown = min(magnification(count, overlap) for count in tiles)
    shown = defect_px * grown * min(side / length for side, length in zip(detector.resize_px, photo_px, strict=True))
    wanted = math.sqrt(LEAST_PATCHES) * patch_px / shown
    size = "{} x {} px".format(*detector.resize_px)
    if wanted <= 1:
        return Sized(settings=(), sentence=f"a defect of {defect} covers {1 / wanted**2:.1f} patches at {size}: enough")
    if wanted <= _MOST_ENLARGED:
        settings = []
        names = {entry.name for entry in dataclasses.fields(detector)}
        for name in [name for name in ("resize_px", "crop_px") if name in names]:
            sides = [math.ceil(side * wanted / patch_px) * patch_px for side in getattr(detector, name)]
            settings.append(f"detector.{name}={sides}")
        larger = settings[0].partition("=")[2]
        return Sized(
            settings=tuple(settings),
            sentence=f"a defect of {defect} covers {1 / wanted**2:.2g} of a patch at {size}, and a whole one at "
            f"{larger}: {wanted**2:.1f} times the time and memory",
        )
    now = math.prod(magnification(count, overlap) for count in tiles)
    found = tiles_for(photo_px, detector.resize_px, now * wanted**2, overlap)
    if found is None:
        raise ConfigError(
            f"smallest defect must be one that the photographs show in detail, got {defect}, {defect_px:.2g} px of "
            f"{photo_px[1]}: it would have to be enlarged {wanted:.1f} times. Photograph closer, or with more pixels."
        )
    cost = math.prod(found) / math.prod(tiles)
    return Sized(
        settings=(f"images.tiles=[{found[0]}, {found[1]}]",),
        sentence=f"a defect of {defect} covers {1 / wanted**2:.2g} of a patch at {size}, so photographs are cut into "
        f"{found[0]} x {found[1]} tiles: {cost:.0f} times the time",
    )


def _in_pixels(defect: Length, field_of_view: str | None, width_px: int) -> float:
    """Width of a defect in pixels of a photograph."""
    if defect.unit == "px":
        if field_of_view is not None:
            raise ConfigError(f"field of view must be left out for a defect given in pixels, got {field_of_view!r}.")
        return defect.value
    if field_of_view is None:
        raise ConfigError(
            f"field of view must be given for a smallest defect of {defect}, got none. Say how wide the photographs "
            "are, such as --field-of-view 120mm, or give the defect in pixels."
        )
    shown = Length.read(field_of_view, "field of view")
    if shown.unit == "px":
        raise ConfigError(f"field of view must be a length such as 120mm, got {field_of_view!r}.")
    return width_px * (defect.value * _IN_MM[defect.unit]) / (shown.value * _IN_MM[shown.unit])
