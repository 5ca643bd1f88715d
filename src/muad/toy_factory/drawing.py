"""A drawing surface with colour, relief and gloss, shapes to put on it, and random textures.

All lengths and positions are fractions of the side of the canvas, x to the right and y down, so that a product looks
the same at any size. Shapes are small patches with soft edges: only the pixels they touch are worked on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float32

Point = tuple[float, float]
Colour = tuple[float, float, float]

# Fixed-point bits of the coordinates handed to the polygon filler: 1/16 of a pixel.
_SUBPIXEL_BITS = 4


class Patch(NamedTuple):
    """A shape on a canvas: how far it covers each pixel of a small window.

    Attributes:
        rows: Rows of the window.
        columns: Columns of the window.
        cover: Coverage of each pixel of the window, 0 to 1.
    """

    rows: slice
    columns: slice
    cover: Float32[np.ndarray, "h w"]


class Canvas:
    """The surface of a product before light and camera.

    Attributes:
        px: Side of the square canvas in pixels.
        albedo: Colour in linear light, RGB, 0 to 1.
        height: Relief in pixels, towards the viewer.
        gloss: Strength of the mirror reflection.
        sheen: How metallic (brushed or turned) the surface is, 0 to 1.
        alpha: Where the product is, 0 to 1; elsewhere the ground shows.
        change: Where a defect changed the product, 0 to 1.
        seen: Colour and alpha, the array behind them.
        felt: Height, gloss, sheen and change, the array behind them.
    """

    def __init__(self, px: int, colour: Colour, *, alpha: float = 0.0) -> None:
        self.px = px
        # Two arrays of four layers each: the camera bends four at a time.
        self.seen = np.empty((px, px, 4), np.float32)
        self.felt = np.zeros((px, px, 4), np.float32)
        self.albedo, self.alpha = self.seen[..., :3], self.seen[..., 3]
        self.height, self.gloss, self.sheen, self.change = (self.felt[..., layer] for layer in range(4))
        self.albedo[:] = linear(colour)
        self.alpha[:] = alpha

    def copy(self) -> Canvas:
        """The same drawing on a canvas of its own."""
        twin = Canvas(self.px, (0.0, 0.0, 0.0))
        twin.seen[:] = self.seen
        twin.felt[:] = self.felt
        return twin

    def stamp(
        self,
        patch: Patch,
        colour: Colour | None = None,
        *,
        opacity: float = 1.0,
        height: float = 0.0,
        gloss: float | None = None,
        sheen: float | None = None,
    ) -> None:
        """Lay a material over the canvas where the patch covers it; `height` is added, the rest blends."""
        cover = patch.cover * opacity
        if colour is not None:
            window = self.albedo[patch.rows, patch.columns]
            window += cover[..., None] * (linear(colour) - window)
        if height:
            self.height[patch.rows, patch.columns] += (height * self.px) * patch.cover
        for layer, value in ((self.gloss, gloss), (self.sheen, sheen)):
            if value is not None:
                view = layer[patch.rows, patch.columns]
                view += cover * (value - view)

    def tint(self, patch: Patch, factor: Colour, *, opacity: float = 1.0) -> None:
        """Multiply the colour under the patch, as a translucent film or a shadow does."""
        weight = (patch.cover * opacity)[..., None]
        self.albedo[patch.rows, patch.columns] *= 1.0 - weight * (1.0 - np.array(factor, np.float32))

    def flatten(self, patch: Patch, height: float) -> None:
        """Bring the relief under the patch to one height."""
        window = self.height[patch.rows, patch.columns]
        window += patch.cover * (height * self.px - window)

    def cut(self, patch: Patch) -> None:
        """Remove the product under the patch, so that the ground shows."""
        self.alpha[patch.rows, patch.columns] *= 1.0 - patch.cover

    def grow(self, patch: Patch) -> None:
        """Add product under the patch."""
        window = self.alpha[patch.rows, patch.columns]
        np.maximum(window, patch.cover, out=window)

    def mark(self, patch: Patch) -> None:
        """Note that a defect lies under the patch."""
        window = self.change[patch.rows, patch.columns]
        np.maximum(window, patch.cover, out=window)

    def inside(self, point: Point, margin: float = 0.0) -> bool:
        """Whether the product lies at the point and at a margin around it."""
        x, y = point
        offsets = ((0.0, 0.0), (margin, 0.0), (-margin, 0.0), (0.0, margin), (0.0, -margin))
        for dx, dy in offsets:
            column, row = int((x + dx) * self.px), int((y + dy) * self.px)
            if not (0 <= column < self.px and 0 <= row < self.px) or self.alpha[row, column] < 0.95:
                return False
        return True

    def polygon(self, points: Float32[np.ndarray, "n 2"] | Sequence[Point], soft: float = 0.0) -> Patch:
        """A filled polygon; `soft` is the standard deviation of a blur of its edge."""
        corners = np.asarray(points, np.float32) * self.px
        pad = 2 + int(3 * soft * self.px)
        left, top = np.clip(np.floor(corners.min(axis=0)).astype(int) - pad, 0, self.px)
        right, bottom = np.clip(np.ceil(corners.max(axis=0)).astype(int) + pad + 1, 0, self.px)
        cover = np.zeros((max(bottom - top, 0), max(right - left, 0)), np.uint8)
        if cover.size:
            # Half a pixel: OpenCV puts whole numbers at the centres of pixels, we put them at the edges.
            fixed = np.round((corners - (left + 0.5, top + 0.5)) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
            cv2.fillPoly(cover, [fixed], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
        filled = cover.astype(np.float32) / 255.0
        return soften(Patch(slice(top, bottom), slice(left, right), filled), soft * self.px)

    def disc(self, centre: Point, radius: float, soft: float = 0.0) -> Patch:
        """A filled circle."""
        angles = np.linspace(0.0, 2 * np.pi, max(16, int(radius * self.px * 2)), endpoint=False)
        return self.polygon(_around(centre, angles, np.full_like(angles, radius)), soft)

    def box(self, centre: Point, size: Point, *, angle: float = 0.0, corner: float = 0.0, soft: float = 0.0) -> Patch:
        """A rectangle of the given width and height with rounded corners, turned by `angle` radians."""
        half = np.array(size, np.float32) / 2
        corner = min(corner, float(half.min()))
        arc = np.linspace(0.0, np.pi / 2, 6 if corner else 1)
        quarters = []
        for turn, sign in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1))):
            rounded = np.stack([np.cos(arc + turn * np.pi / 2), np.sin(arc + turn * np.pi / 2)], axis=1) * corner
            quarters.append(np.array(sign) * (half - corner) + rounded)
        return self.polygon(place(np.concatenate(quarters), centre, angle), soft)

    def stroke(self, points: Float32[np.ndarray, "n 2"], widths: Float32[np.ndarray, " n"], soft: float = 0.0) -> Patch:
        """A line through the points with a width at each of them, never thinner than a pixel and a half."""
        along = np.gradient(points, axis=0)
        normals = np.stack([-along[:, 1], along[:, 0]], axis=1)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
        half = np.maximum(widths, 1.5 / self.px)[:, None] / 2
        return self.polygon(np.concatenate([points + normals * half, (points - normals * half)[::-1]]), soft)

    def blob(
        self, centre: Point, radius: float, rng: np.random.Generator, *, rough: float = 0.3, soft: float = 0.0
    ) -> Patch:
        """An irregular round shape; `rough` is how far its edge departs from a circle, as a fraction of the radius."""
        angles = np.linspace(0.0, 2 * np.pi, 72, endpoint=False)
        radii = np.ones_like(angles)
        for wave in range(2, 8):
            radii += rough * rng.normal() / wave * np.cos(wave * angles + rng.uniform(0, 2 * np.pi))
        stretch = rng.uniform(0.7, 1.0)
        outline = _around((0.0, 0.0), angles, radius * np.maximum(radii, 0.3)) * (1.0, stretch)
        return self.polygon(place(outline, centre, rng.uniform(0, np.pi)), soft)

    def label(self, words: str, centre: Point, size: float, angle: float = 0.0, weight: float = 0.13) -> Patch:
        """Words of a plotter font around a point; `size` is the height of capitals, `weight` the stroke's share."""
        scale, thickness = size * self.px / 21.0, max(1, round(weight * size * self.px))
        (width, tall), below = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
        reach = int(np.hypot(width, tall + 2 * below) / 2) + 3
        flat = np.zeros((2 * reach, 2 * reach), np.uint8)
        origin = (reach - width // 2, reach + tall // 2)
        cv2.putText(flat, words, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, thickness, cv2.LINE_AA)
        # One warp turns the words and moves them to the subpixel; rows and columns outside the canvas are cut off.
        x, y = centre[0] * self.px, centre[1] * self.px
        left, top = int(x) - reach, int(y) - reach
        turn = cv2.getRotationMatrix2D((reach, reach), -np.degrees(angle), 1.0)
        turn[:, 2] += (x - int(x), y - int(y))
        cover = cv2.warpAffine(flat, turn, (2 * reach, 2 * reach)).astype(np.float32) / 255.0
        rows, columns = (slice(max(at, 0), min(at + 2 * reach, self.px)) for at in (top, left))
        return Patch(
            rows, columns, cover[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        )


def linear(colour: Colour) -> Float32[np.ndarray, " 3"]:
    """A colour as seen on a screen (0 to 1) in linear light, with a display gamma of 2."""
    return np.square(np.array(colour, np.float32))


def place(outline: Float32[np.ndarray, "n 2"], centre: Point, angle: float) -> Float32[np.ndarray, "n 2"]:
    """An outline around the origin, turned by `angle` radians and moved to the centre."""
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    placed: Float32[np.ndarray, "n 2"] = (outline @ turn + np.array(centre)).astype(np.float32)
    return placed


def soften(patch: Patch, sigma_px: float) -> Patch:
    """A patch with its edge blurred."""
    if sigma_px <= 0.2 or not patch.cover.size:
        return patch
    return patch._replace(cover=cv2.GaussianBlur(patch.cover, (0, 0), sigma_px, borderType=cv2.BORDER_CONSTANT))


def both(patch: Patch, layer: Float32[np.ndarray, "h w"]) -> Patch:
    """A patch limited to where a full-size layer is."""
    return patch._replace(cover=patch.cover * layer[patch.rows, patch.columns])


def cloud(
    rng: np.random.Generator, px: int, cells: Sequence[float], *, stretch: float = 1.0
) -> Float32[np.ndarray, "px px"]:
    """Smooth random texture of about zero mean and unit deviation, with bumps of several sizes.

    Args:
        rng: Source of randomness.
        px: Side of the texture.
        cells: For each octave, how many bumps fit across; each has half the amplitude of the one before.
        stretch: How many times longer the bumps are along x than along y.
    """
    total = np.zeros((px, px), np.float32)
    power = 0.0
    for octave, count in enumerate(cells):
        rows, columns = max(2, min(px, round(count))), max(2, min(px, round(count / stretch)))
        grid = rng.standard_normal((rows, columns), np.float32)
        weight = 0.5**octave
        total += weight * cv2.resize(grid, (px, px), interpolation=cv2.INTER_CUBIC)
        power += weight**2
    total *= 1.2 / np.sqrt(power)
    return total


def wander(
    rng: np.random.Generator, start: Point, heading: float, length: float, *, bend: float, steps: int = 24
) -> Float32[np.ndarray, "n 2"]:
    """A path from a point: `bend` is the deviation of the change of heading over the whole length, in radians."""
    turns = rng.normal(0.0, bend / np.sqrt(steps), steps)
    headings = heading + np.cumsum(turns)
    moves = np.stack([np.cos(headings), np.sin(headings)], axis=1) * (length / steps)
    path: Float32[np.ndarray, "n 2"] = np.concatenate([[start], start + np.cumsum(moves, axis=0)]).astype(np.float32)
    return path


def _around(
    centre: Point, angles: Float32[np.ndarray, " n"], radii: Float32[np.ndarray, " n"]
) -> Float32[np.ndarray, "n 2"]:
    """Points at the given angles and distances around a centre."""
    points: Float32[np.ndarray, "n 2"] = np.stack(
        [centre[0] + radii * np.cos(angles), centre[1] + radii * np.sin(angles)], axis=1
    )
    return points
