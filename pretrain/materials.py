"""Generated materials: lit or coloured height fields that fill an image. The parts lie in drawings.py."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

Rng = np.random.Generator


def clouds(
    rng: Rng, px: int, low: int = 2, octaves: int = 5, roughness: float = 0.55, stretch: float = 1.0
) -> np.ndarray:
    """Fractal noise in 0..1, [px, px]; `stretch` above 1 draws it out along x."""
    field = np.zeros((px, px), np.float32)
    for octave in range(octaves):
        cells = low * 2**octave
        columns = max(2, round(cells / stretch))
        if cells >= px:
            break
        layer = rng.standard_normal((cells + 1, columns + 1)).astype(np.float32)
        field += roughness**octave * cv2.resize(layer, (px, px), interpolation=cv2.INTER_CUBIC)
    return _unit(field)


def _unit(field: np.ndarray) -> np.ndarray:
    low, high = np.percentile(field, (0.5, 99.5))
    return np.clip((field - low) / (high - low + 1e-6), 0, 1).astype(np.float32)


def axes(rng: Rng, px: int) -> tuple[np.ndarray, np.ndarray]:
    """Turned coordinates in about -1..1."""
    angle = rng.uniform(0, 2 * np.pi)
    line = np.linspace(-1, 1, px, dtype=np.float32)
    x, y = np.meshgrid(line, line)
    return x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)


def ramp(rng: Rng, field: np.ndarray, contrast: float = 1.0) -> np.ndarray:
    """Colour a field of 0..1 by a random ramp of related colours, [px, px, 3]."""
    base = rng.uniform(0.1, 0.9, 3)
    if rng.random() < 0.5:
        base[:] = base.mean() + rng.normal(0, 0.04, 3)
    ends = base + contrast * rng.choice([-1, 1]) * rng.uniform(0.1, 0.5) * (
        np.array([-1.0, 0, 1])[:, None] + rng.normal(0, 0.15, (3, 3))
    )
    knots = np.linspace(0, 1, 3)
    return np.stack([np.interp(field, knots, ends[:, c]) for c in range(3)], -1).astype(np.float32)


def relief(rng: Rng, height: np.ndarray, colour: np.ndarray, depth: float) -> np.ndarray:
    """Light a height map from a random side, with a gloss."""
    gx = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3) * depth
    gy = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3) * depth
    normal = np.stack([-gx, -gy, np.ones_like(gx)], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    angle = rng.uniform(0, 2 * np.pi)
    light = np.array([np.cos(angle) * 0.7, np.sin(angle) * 0.7, 0.75], np.float32)
    shade = np.clip(normal @ (light / np.linalg.norm(light)), 0, 1)
    gloss = np.clip(normal @ np.array([light[0] * 0.5, light[1] * 0.5, 0.9], np.float32), 0, 1) ** rng.uniform(10, 60)
    return colour * (0.35 + 0.8 * shade[..., None]) + rng.uniform(0, 0.5) * gloss[..., None]


def _cells(rng: Rng, px: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Distance to the nearest and the difference to the second nearest of random points, both in pixels."""
    jitter = rng.uniform(0, 0.5)
    side = max(2, int(count**0.5))
    grid = np.stack(np.meshgrid(np.arange(-1, side + 1), np.arange(-1, side + 1)), -1).reshape(-1, 2) + 0.5
    points = ((grid + rng.uniform(-jitter, jitter, grid.shape)) / side * px).astype(np.float32)
    near = np.full((px, px), 1e9, np.float32)
    second = near.copy()
    line = np.arange(px, dtype=np.float32)
    reach = int(2.2 * px / side) + 2
    for cx, cy in points:
        x0, x1 = max(0, int(cx) - reach), min(px, int(cx) + reach)
        y0, y1 = max(0, int(cy) - reach), min(px, int(cy) + reach)
        if x0 >= x1 or y0 >= y1:
            continue
        d = np.hypot(line[None, x0:x1] - cx, line[y0:y1, None] - cy)
        a, b = near[y0:y1, x0:x1], second[y0:y1, x0:x1]
        b[:] = np.minimum(b, np.maximum(a, d))
        a[:] = np.minimum(a, d)
    return near, second - near


def noise_material(rng: Rng, px: int) -> np.ndarray:
    """Cast, brushed or cloudy surface: fractal noise, lit or coloured."""
    field = clouds(
        rng,
        px,
        int(rng.integers(2, 24)),
        int(rng.integers(2, 7)),
        rng.uniform(0.4, 0.9),
        rng.choice([1.0, 1.0, 4.0, 12.0]),
    )
    if rng.random() < 0.3:
        field = np.abs(field - 0.5) * 2
    return (
        relief(rng, field, ramp(rng, clouds(rng, px), 0.7), rng.uniform(0, 4))
        if rng.random() < 0.6
        else ramp(rng, field)
    )


def wood(rng: Rng, px: int) -> np.ndarray:
    """Warped rings with grain."""
    u, v = axes(rng, px)
    warp = clouds(rng, px, 2, 4) * rng.uniform(0.2, 1.2)
    rings = 0.5 + 0.5 * np.sin(
        (np.hypot(u * rng.uniform(0.1, 0.5), v + rng.uniform(-2, 2)) + warp * 0.3) * rng.uniform(20, 90)
    )
    grain = cv2.GaussianBlur(rng.random((px, px)).astype(np.float32), (0, 0), rng.uniform(4, 14), sigmaY=0.6)
    turn = cv2.getRotationMatrix2D((px / 2, px / 2), np.degrees(np.arctan2(v[0, 0], u[0, 0])), 1)
    grain = cv2.warpAffine(_unit(grain), turn, (px, px), borderMode=cv2.BORDER_REFLECT)
    return ramp(rng, 0.7 * rings.astype(np.float32) + 0.3 * grain)


def leather(rng: Rng, px: int) -> np.ndarray:
    """Cells with grooves between them, lit."""
    _, edge = _cells(rng, px, int(rng.integers(60, 1200)))
    height = np.tanh(edge / rng.uniform(2, 6)).astype(np.float32)
    return relief(rng, height + 0.2 * clouds(rng, px, 16), ramp(rng, clouds(rng, px), 0.4), rng.uniform(0.5, 2))


def foam(rng: Rng, px: int) -> np.ndarray:
    """Cells coloured by the distance to their centre or edge."""
    near, edge = _cells(rng, px, int(rng.integers(20, 900)))
    field = _unit(near) if rng.random() < 0.5 else _unit(np.minimum(edge, rng.uniform(2, 12)))
    return ramp(rng, field)


def tiles(rng: Rng, px: int) -> np.ndarray:
    """Bricks, tiles or slats with joints, each of its own tone."""
    u, v = axes(rng, px)
    across, along = rng.uniform(2, 12), rng.uniform(2, 12)
    row = np.floor(v * across)
    shifted = u * along + (row * rng.choice([0, 0.5, 0.33]))
    fx, fy = shifted - np.floor(shifted), v * across - row
    edge = np.minimum(np.minimum(fx, 1 - fx) / along, np.minimum(fy, 1 - fy) / across) * px
    joint = np.clip(edge / rng.uniform(1.5, 7), 0, 1).astype(np.float32)
    tone = (np.sin(row * 12.9898 + np.floor(shifted) * 78.233 + rng.uniform(0, 9)) * 43758.5453) % 1
    colour = ramp(rng, np.clip(0.6 * tone * rng.uniform(0, 1) + 0.4 * clouds(rng, px, 8), 0, 1).astype(np.float32))
    return relief(rng, joint + 0.1 * clouds(rng, px, 16), colour * (0.4 + 0.6 * joint[..., None]), rng.uniform(0.3, 2))


def knit(rng: Rng, px: int) -> np.ndarray:
    """Rows of loops with fuzz and bands of colour."""
    u, v = axes(rng, px)
    wales = rng.uniform(6, 30)
    column = u * wales
    fx = np.abs(column - np.floor(column) - 0.5)
    loop = 0.5 + 0.5 * np.cos(2 * np.pi * (v * wales * rng.uniform(0.7, 1.3) + rng.uniform(0.6, 1.4) * fx * 2))
    height = (loop * np.cos(fx * np.pi)).astype(np.float32)
    fuzz = clouds(rng, px, 48, 2)
    bands = np.sin(np.floor(v * wales / rng.integers(2, 12)) * rng.uniform(1, 9)).astype(np.float32) * 0.5 + 0.5
    return relief(rng, height + 0.3 * fuzz, ramp(rng, bands, rng.uniform(0, 1)), rng.uniform(0.5, 2))


def waves(rng: Rng, px: int) -> np.ndarray:
    """A sum of a few plane waves: gratings, perforation, moiré, knurling."""
    field = np.zeros((px, px), np.float32)
    base = rng.uniform(6, 60)
    for _ in range(rng.integers(1, 5)):
        u, _ = axes(rng, px)
        field += np.sin(
            u * base * rng.uniform(0.7, 1.4) + rng.uniform(0, 6) + rng.uniform(0, 2) * clouds(rng, px)
        ).astype(np.float32)
    field = _unit(field)
    if rng.random() < 0.5:
        field = np.clip((field - rng.uniform(0.3, 0.7)) * rng.uniform(3, 12) + 0.5, 0, 1)
    return relief(rng, field, ramp(rng, field), rng.uniform(0, 2))


def flame(rng: Rng, px: int) -> np.ndarray:
    """An iterated function system of affine maps, the shapes of fractal pre-training sets."""
    maps = rng.uniform(-1, 1, (int(rng.integers(2, 6)), 2, 3))
    scale = np.array([max(np.linalg.svd(m[:, :2], compute_uv=False)[0], 1e-3) for m in maps])
    maps[:, :, :2] *= (rng.uniform(0.5, 0.85, len(maps)) / scale)[:, None, None]
    points = rng.uniform(-1, 1, (4000, 2))
    hits = []
    for step in range(30):
        chosen = maps[rng.integers(0, len(maps), len(points))]
        points = np.einsum("nij,nj->ni", chosen[:, :, :2], points) + chosen[:, :, 2]
        if step > 5:
            hits.append(points)
    cloud = np.concatenate(hits)
    low, high = np.percentile(cloud, (1, 99), axis=0)
    at = ((cloud - low) / (high - low + 1e-9) * px * 0.9 + px * 0.05).astype(int)
    at = at[((at >= 0) & (at < px)).all(1)]
    count = np.bincount(at[:, 1] * px + at[:, 0], minlength=px * px).reshape(px, px).astype(np.float32)
    return ramp(rng, _unit(np.log1p(count)))


def plain(rng: Rng, px: int) -> np.ndarray:
    """An even ground with a trace of noise."""
    u, v = axes(rng, px)
    return ramp(rng, _unit(u * rng.uniform(0, 1) + v * 0.1), rng.uniform(0, 0.4)) + rng.normal(
        0, rng.uniform(0, 0.03), (px, px, 1)
    ).astype(np.float32)


GROUNDS: tuple[Callable[[Rng, int], np.ndarray], ...] = (
    noise_material,
    wood,
    leather,
    foam,
    tiles,
    knit,
    waves,
    flame,
    plain,
    plain,
)
