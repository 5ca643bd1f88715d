"""From the surface of a product to its photograph: pose, ground, light, lens and sensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from muad.toy_factory.drawing import Canvas, Colour, cloud, linear

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32, UInt8

# A pixel belongs to the defect when this share of it is covered: thin scratches stay whole, soft rims do not count.
_MASK_COVER = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """How a category is photographed.

    Attributes:
        turn: Largest rotation to either side, in radians.
        shift: Largest displacement, as a fraction of the image.
        zoom: Size of the canvas in the image; above 1 the canvas fills the image whatever the pose.
        tilt: Largest perspective foreshortening from one side of the image to the other.
        ground: Colour of what the product lies on; None where the product fills the image.
        shadow: Length of the product's shadow on the ground, as a fraction of the image.
        sheen: Pattern of the metallic reflection: across brushed lines, or around a turned centre.
        warmth: Largest shift of the light's colour.
    """

    turn: float = 0.03
    shift: float = 0.01
    zoom: float = 1.0
    tilt: float = 0.02
    ground: Colour | None = (0.2, 0.2, 0.22)
    shadow: float = 0.01
    sheen: Literal["none", "brushed", "turned"] = "none"
    warmth: float = 0.03


@dataclass(frozen=True, slots=True)
class _Light:
    """One light of the scene: where it comes from and how strong it is."""

    azimuth: float
    slope: float
    intensity: float
    gradient: tuple[float, float]
    tone: Float32[np.ndarray, " 3"]


def photograph(
    canvas: Canvas, stage: Stage, rng: np.random.Generator, image_px: int
) -> tuple[UInt8[np.ndarray, "H W 3"], Bool[np.ndarray, "H W"]]:
    """The photograph of a canvas and the mask of its defect, both at the final resolution.

    The same generator state gives the same pose, light and sensor noise whatever is on the canvas.
    """
    to_view = _pose(stage, rng, canvas.px)
    light = _light(stage, rng)
    ground = _ground(stage, rng, canvas.px)
    planes: list[Float32[np.ndarray, "px px"]] = []
    for layers in (canvas.seen, canvas.felt):
        bent = cv2.warpPerspective(layers, to_view, (canvas.px, canvas.px), flags=cv2.INTER_LINEAR)
        planes.extend(cv2.split(bent))
    radiance = _shade(planes, ground, light, stage, to_view)
    exposed = cv2.merge([cv2.resize(plane, (image_px, image_px), interpolation=cv2.INTER_AREA) for plane in radiance])
    image = _develop(exposed * _illumination(light, image_px), rng)
    change = cv2.resize(planes[-1], (image_px, image_px), interpolation=cv2.INTER_AREA)
    mask = change > min(_MASK_COVER, 0.5 * float(change.max())) if change.any() else np.zeros_like(change, bool)
    return image, mask


def _pose(stage: Stage, rng: np.random.Generator, px: int) -> Float32[np.ndarray, "3 3"]:
    """The homography from canvas pixels to image pixels (at drawing resolution)."""
    angle = rng.uniform(-stage.turn, stage.turn)
    zoom = stage.zoom * rng.uniform(0.98, 1.02)
    shift = rng.uniform(-stage.shift, stage.shift, 2)
    tilt = rng.uniform(-stage.tilt, stage.tilt, 2)
    centred = np.array([[1 / px, 0, -0.5], [0, 1 / px, -0.5], [0, 0, 1]])
    cosine, sine = zoom * np.cos(angle), zoom * np.sin(angle)
    turned = np.array([[cosine, -sine, shift[0]], [sine, cosine, shift[1]], [tilt[0], tilt[1], 1]])
    homography: Float32[np.ndarray, "3 3"] = np.linalg.inv(centred) @ turned @ centred
    return homography


def _light(stage: Stage, rng: np.random.Generator) -> _Light:
    """A light from the upper left, give or take."""
    warmth = rng.uniform(-stage.warmth, stage.warmth)
    return _Light(
        azimuth=rng.normal(-2.3, 0.3),
        slope=rng.uniform(0.75, 1.0),
        intensity=rng.uniform(0.92, 1.08),
        gradient=(rng.uniform(-0.12, 0.12), rng.uniform(-0.12, 0.12)),
        tone=np.array([1 + warmth, 1, 1 - warmth], np.float32),
    )


def _ground(stage: Stage, rng: np.random.Generator, px: int) -> Float32[np.ndarray, "px px"] | None:
    """Brightness of the surface below the product: plain, with a little grain and wear."""
    if stage.ground is None:
        return None
    half = px // 2
    grain = 1.0 + 0.05 * cloud(rng, half, (half,)) + 0.04 * cloud(rng, half, (6, 12))
    return np.asarray(cv2.resize(grain, (px, px), interpolation=cv2.INTER_LINEAR))


def _illumination(light: _Light, image_px: int) -> Float32[np.ndarray, "H W 3"]:
    """Strength and colour of the light over the image."""
    ramp = np.linspace(-0.5, 0.5, image_px, dtype=np.float32)
    strength = light.intensity * (1.0 + light.gradient[0] * ramp[None, :] + light.gradient[1] * ramp[:, None])
    lit: Float32[np.ndarray, "H W 3"] = strength[..., None] * light.tone
    return lit


def _shade(
    planes: list[Float32[np.ndarray, "px px"]],
    ground: Float32[np.ndarray, "px px"] | None,
    light: _Light,
    stage: Stage,
    to_view: Float32[np.ndarray, "3 3"],
) -> list[Float32[np.ndarray, "px px"]]:
    """Reflected light, a plane for each colour, in linear units.

    Diffuse light follows the slope of the relief towards the light; the mirror reflection peaks where the slope is
    half-way between light and camera; the metallic one follows the direction of the machining marks.
    """
    *albedo, alpha, height, gloss, metal, _ = planes
    px = alpha.shape[0]
    towards_x, towards_y = float(np.cos(light.azimuth)), float(np.sin(light.azimuth))
    slope_x = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
    slope_y = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
    facing = -(slope_x * towards_x + slope_y * towards_y)
    across = slope_x * towards_y - slope_y * towards_x
    diffuse = np.clip(1.0 + light.slope * facing, 0.25, 1.9)
    mirror = gloss * np.exp(-(np.square(facing - 0.45) + np.square(across)) * (1 / 0.08))
    if stage.sheen != "none":
        diffuse *= 1.0 + metal * _sheen(stage, light, to_view, px)
    if ground is None or stage.ground is None:
        return [plane * diffuse + mirror for plane in albedo]

    length = stage.shadow * px
    moved = np.array([[1, 0, -towards_x * length], [0, 1, -towards_y * length]], np.float32)
    cast = cv2.GaussianBlur(cv2.warpAffine(alpha, moved, (px, px)), (0, 0), max(0.6 * length, 0.5))
    below = (1.0 - alpha) * ground * (1.0 - 0.6 * cast)
    diffuse *= alpha
    mirror *= alpha
    return [
        plane * diffuse + mirror + below * float(colour)
        for plane, colour in zip(albedo, linear(stage.ground), strict=True)
    ]


def _sheen(stage: Stage, light: _Light, to_view: Float32[np.ndarray, "3 3"], px: int) -> Float32[np.ndarray, "px px"]:
    """Metallic reflection relative to the mean, as machining marks bend it."""
    coarse = max(px // 8, 8)
    steps = (np.arange(coarse, dtype=np.float32) + 0.5) * (px / coarse)
    view = np.stack([*np.meshgrid(steps, steps), np.ones((coarse, coarse), np.float32)], axis=-1)
    if stage.sheen == "brushed":
        spot = view @ np.linalg.inv(to_view).T
        along = spot[..., 0] / spot[..., 2] / px - 0.5
        centre = 0.35 * np.cos(light.azimuth + 0.8)
        pattern = 0.5 * np.exp(-np.square((along - centre) / 0.3)) - 0.2
    else:
        centre = to_view @ np.array([px / 2, px / 2, 1.0])
        angle = np.arctan2(view[..., 1] - centre[1] / centre[2], view[..., 0] - centre[0] / centre[2])
        bow = np.abs(np.cos(angle - light.azimuth - 0.4))
        pattern = 0.85 * bow**6 + 0.25 * np.abs(np.sin(angle - light.azimuth - 0.1)) ** 10 - 0.28
    return np.asarray(cv2.resize(pattern.astype(np.float32), (px, px), interpolation=cv2.INTER_LINEAR))


def _develop(exposed: Float32[np.ndarray, "H W 3"], rng: np.random.Generator) -> UInt8[np.ndarray, "H W 3"]:
    """What lens and sensor make of the light: blur, noise, soft colour, eight bits."""
    focus = rng.uniform(0.35, 0.65)
    noise = float(rng.uniform(0.004, 0.008))
    shown = np.sqrt(np.clip(cv2.GaussianBlur(exposed, (0, 0), focus), 0.0, 1.0))
    # Cameras and JPEG keep colour at a lower resolution than brightness.
    luma = cv2.transform(shown, np.full((1, 3), 1 / 3, np.float32))
    chroma = cv2.GaussianBlur(shown - luma[..., None], (0, 0), 0.9)
    luma += noise * rng.standard_normal(luma.shape, np.float32)
    chroma += 0.5 * noise * rng.standard_normal(chroma.shape, np.float32)
    image: UInt8[np.ndarray, "H W 3"] = (np.clip(luma[..., None] + chroma, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    return image
