"""Images unlike the others of their category, by robust statistics: one outlier cannot hide itself or others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from muad.checking.findings import Finding
from muad.images.tiling import LONG, square_tiles

if TYPE_CHECKING:
    from jaxtyping import Float

    from muad.checking.reading import Seen
    from muad.images.preprocessing import Preprocessing

LEAST_IMAGES = 8
"""Of fewer images nothing is said: what is usual cannot be told."""
Z_LIMIT = 4.0
"""Robust z-score of a distance above which an image is suspicious."""
_Z_QUALITY = 5.0  # of brightness and sharpness, whose spread is often tiny
_LEAST_BRIGHTNESS = 0.08  # differences below are seen by no detector
_LEAST_SHARPNESS = 0.4  # a factor of 2.5 in the variance of the Laplacian
_ASPECT_FACTOR = 1.15
_MAD_TO_SIGMA = 1.4826
_LETTERBOX = "images.fit=letterbox"


def robust_limit(values: Float[np.ndarray, " n"], z: float = Z_LIMIT) -> float:
    """Median plus z times the standard deviation that the median absolute deviation stands for."""
    median = float(np.median(values))
    return median + z * _MAD_TO_SIGMA * float(np.median(np.abs(values - median)))


def odd_exposure(images: Sequence[Seen]) -> list[Finding]:
    """Images of one category that are far brighter or darker, or far less sharp, than its median."""
    if len(images) < LEAST_IMAGES:
        return []
    brightness = np.array([image.brightness for image in images])
    sharpness = np.array([image.sharpness for image in images])
    usual, clear = float(np.median(brightness)), float(np.median(sharpness))
    allowed = max(_LEAST_BRIGHTNESS, robust_limit(brightness, _Z_QUALITY) - usual)
    lost = max(_LEAST_SHARPNESS, robust_limit(sharpness, _Z_QUALITY) - clear)
    findings = []
    for image, light, detail in zip(images, brightness.tolist(), sharpness.tolist(), strict=True):
        record = image.record
        if abs(light - usual) > allowed:
            text = f"mean brightness {light:.2f}, usual {usual:.2f}, limit {usual:.2f} ± {allowed:.2f}."
            findings.append(Finding(kind="exposure", category=record.category, images=(record.path,), text=text))
        if clear - detail > lost:
            text = f"sharpness {10 ** (detail - clear):.2f} of the usual, limit {10**-lost:.2f}."
            findings.append(Finding(kind="blur", category=record.category, images=(record.path,), text=text))
    return findings


def odd_sizes(images: Sequence[Seen], preprocessing: Preprocessing) -> list[Finding]:
    """Images of one category that differ in aspect ratio where it is not kept, or are smaller than the view."""
    if not images:
        return []
    category = images[0].record.category
    ratios = np.array([image.size[1] / image.size[0] for image in images])
    usual = float(np.median(ratios))
    odd = [
        image
        for image, ratio in zip(images, ratios, strict=True)
        if abs(np.log(ratio / usual)) > np.log(_ASPECT_FACTOR)
    ]
    findings = []
    if odd and preprocessing.fit == "stretch":
        text = (
            f"{len(odd)} of {len(images)} images have an aspect ratio (width to height) more than 15 % from the usual "
            f"{usual:.2f}: stretched to one size, they look different. Kept as they are with --set {_LETTERBOX}."
        )
        findings.append(_about(category, odd, text, (_LETTERBOX,)))
    view_px = preprocessing.resize_px
    small = [image for image in images if image.size[0] < view_px[0] and image.size[1] < view_px[1]]
    if small:
        text = (
            f"{len(small)} of {len(images)} images are smaller than the {view_px[0]} x {view_px[1]} px the detector "
            "takes."
        )
        findings.append(_about(category, small, text))
    return findings


def long_parts(category: str, photo_px: tuple[int, int], views: Preprocessing) -> list[Finding]:
    """A finding if the photographs of a category lose the detail along their long side.

    Args:
        category: Whose.
        photo_px: Their usual height and width.
        views: How they become what the encoder sees.
    """
    parts = [length / count for length, count in zip(photo_px, views.tiles, strict=True)]
    if max(parts) < LONG * min(parts):
        return []
    ratio = max(photo_px) / min(photo_px)
    tiles = square_tiles(photo_px, views.resize_px)
    settings: tuple[str, ...]
    settings = () if tiles is None or tiles == views.tiles else (f"images.tiles=[{tiles[0]},{tiles[1]}]",)
    settings += (_LETTERBOX,) if views.fit == "stretch" else ()
    if not settings:
        return []
    seen = "stretched" if views.fit == "stretch" else "fitted"
    text = (
        f"photographs of {photo_px[0]} x {photo_px[1]} px are {ratio:.1f} times as long as wide; {seen} to "
        f"{views.resize_px[0]} x {views.resize_px[1]} px, detail along the long side is lost. "
        f"Train with --set {' or --set '.join(settings)}."
    )
    return [Finding(kind="long_parts", category=category, images=(), text=text, settings=settings)]


def _about(category: str, images: Sequence[Seen], text: str, settings: tuple[str, ...] = ()) -> Finding:
    paths = tuple(image.record.path for image in images)
    return Finding(kind="size", category=category, images=paths, text=text, settings=settings)
