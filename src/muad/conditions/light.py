"""Other light: more or less of it, or of another colour.

Values of the file are taken for light, as a camera with a linear response gives them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

REFERENCE_K = 6500.0
"""Colour temperature that the camera's white balance is set to."""

_WAVELENGTHS_NM = np.arange(360.0, 831.0)
# Lobes of the CIE 1931 colour matching functions: weight, centre and the deviations below and above it, in nm. Wyman,
# Sloan, Shirley: Simple Analytic Approximations to the CIE XYZ Color Matching Functions, JCGT 2 (2), 2013.
_LOBES = (
    ((1.056, 599.8, 37.9, 31.0), (0.362, 442.0, 16.0, 26.7), (-0.065, 501.1, 20.4, 26.2)),
    ((0.821, 568.8, 46.9, 40.5), (0.286, 530.9, 16.3, 31.1)),
    ((1.217, 437.0, 11.8, 36.0), (0.681, 459.0, 26.0, 13.8)),
)
# IEC 61966-2-1: from XYZ to the primaries of sRGB, and what each of these adds to luminance.
_TO_RGB = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


def lit(image: UInt8[np.ndarray, "H W 3"], gain: float) -> UInt8[np.ndarray, "H W 3"]:
    """The photograph in `gain` times the light; what becomes brighter than 255 is clipped."""
    return _scaled(image, (gain, gain, gain))


def under_temperature(image: UInt8[np.ndarray, "H W 3"], kelvin: float) -> UInt8[np.ndarray, "H W 3"]:
    """The photograph under a lamp of another colour temperature, of the same luminance.

    A photograph without colour stays as it is: a camera without colour filters sees the luminance.

    Args:
        image: Taken under a black body of 6500 K, which the camera shows as white.
        kelvin: Of the black body that lights it instead.
    """
    return image if is_grey(image) else _scaled(image, temperature_gains(kelvin))


@lru_cache(maxsize=16)
def temperature_gains(kelvin: float) -> tuple[float, float, float]:
    """Factors on red, green and blue of a camera set to 6500 K; they leave the luminance of white at 1."""
    ratio = _TO_RGB @ black_body(kelvin) / (_TO_RGB @ black_body(REFERENCE_K))
    red, green, blue = ratio / (_LUMINANCE @ ratio)
    return float(red), float(green), float(blue)


def black_body(kelvin: float) -> Float[np.ndarray, " 3"]:
    """XYZ of a black body, in units of no meaning: Planck's law through the colour matching functions."""
    metres = _WAVELENGTHS_NM * 1e-9
    power = metres**-5 / np.expm1(1.438776877e-2 / (metres * kelvin))
    seen = np.array([sum(_lobe(*lobe) for lobe in lobes) @ power for lobes in _LOBES])
    tristimulus: np.ndarray = seen / seen[1]
    return tristimulus


def is_grey(image: UInt8[np.ndarray, "H W 3"]) -> bool:
    """Whether all channels are the same."""
    return bool((image[..., 0] == image[..., 1]).all() and (image[..., 1] == image[..., 2]).all())


def _lobe(weight: float, centre: float, below: float, above: float) -> Float[np.ndarray, " n"]:
    deviation = np.where(centre > _WAVELENGTHS_NM, below, above)
    curve: np.ndarray = weight * np.exp(-0.5 * np.square((_WAVELENGTHS_NM - centre) / deviation))
    return curve


def _scaled(image: UInt8[np.ndarray, "H W 3"], gains: tuple[float, float, float]) -> UInt8[np.ndarray, "H W 3"]:
    table = np.clip(np.rint(np.arange(256)[:, None] * np.array(gains)), 0, 255).astype(np.uint8)
    looked_up: np.ndarray = cv2.LUT(image, table[None])
    return looked_up
