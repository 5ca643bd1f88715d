"""Generated images of what photographs of everyday things lack: materials, turned parts, electronics, line work.

`draw` composes a ground (a material), often an object or marks on it, and a light. Nothing here copies the toy
factory's categories; the aim is variety of local structure, not realism.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from materials import GROUNDS, Rng, axes, clouds, plain, ramp, relief

FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_SCRIPT_SIMPLEX, cv2.FONT_HERSHEY_PLAIN)


def _profile(rng: Rng, n: int) -> np.ndarray:
    """Radius along the axis of a turned part: shoulders, grooves, cones and threads; 0..1."""
    radius = np.zeros(n, np.float32)
    at = 0
    while at < n:
        length = int(rng.uniform(0.08, 0.4) * n)
        r = rng.uniform(0.35, 1)
        piece = np.full(min(length, n - at), r, np.float32)
        kind = rng.random()
        along = np.arange(len(piece), dtype=np.float32)
        if kind < 0.3:
            pitch = rng.uniform(4, 14)
            piece -= rng.uniform(0.05, 0.2) * np.abs((along / pitch) % 1 - 0.5) * 2
        elif kind < 0.45:
            piece *= np.linspace(1, rng.uniform(0.3, 1), len(piece))
        elif kind < 0.6:
            piece *= np.sqrt(np.clip(1 - (np.linspace(-1, 1, len(piece)) * rng.uniform(0.5, 0.98)) ** 2, 0.02, 1))
        radius[at : at + len(piece)] = piece
        at += length
    return np.clip(radius, 0.1, 1)


def turned_part(rng: Rng, px: int, image: np.ndarray) -> np.ndarray:
    """A solid of revolution lying on the image: shaft, spindle, nozzle, cable gland."""
    length, width = int(px * rng.uniform(0.4, 1.0)), px * rng.uniform(0.06, 0.22)
    profile = _profile(rng, length) * width
    x = np.arange(length, dtype=np.float32)
    across = np.arange(-int(width) - 1, int(width) + 2, dtype=np.float32)[:, None]
    lean = rng.uniform(-0.3, 0.3) if rng.random() < 0.5 else 0.0
    # A thread is a profile that leans: the far side is shifted along the axis.
    radius = np.interp((x[None] + lean * across).ravel(), x, profile).reshape(len(across), length).astype(np.float32)
    inside = np.clip(radius - np.abs(across) + 0.5, 0, 1)
    round_ = np.clip(across / np.maximum(radius, 1), -1, 1)
    slope = np.gradient(radius, axis=1)
    light = rng.uniform(-0.7, 0.7)
    tone = 0.25 + 0.7 * np.clip(np.cos((np.arcsin(round_) - light) * 1.1), 0, 1) - 0.35 * slope
    tone += rng.uniform(0.2, 0.8) * np.exp(-(((np.arcsin(round_) - light) / 0.25) ** 2))
    colour = np.clip(tone[..., None] * rng.uniform(0.3, 1.0) * (0.8 + 0.2 * rng.random(3)), 0, 1).astype(np.float32)
    return _place(rng, image, colour, inside)


def _place(rng: Rng, image: np.ndarray, colour: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """Lay a small picture on the image at a random pose, with a soft shadow."""
    px = len(image)
    h, w = cover.shape
    turn = cv2.getRotationMatrix2D((w / 2, h / 2), rng.uniform(0, 360), rng.uniform(0.8, 1.15))
    turn[:, 2] += rng.uniform(0.3, 0.7, 2) * px - (w / 2, h / 2)
    colour = cv2.warpAffine(colour, turn, (px, px), borderMode=cv2.BORDER_REPLICATE)
    cover = cv2.warpAffine(cover.astype(np.float32), turn, (px, px))
    away = rng.uniform(-6, 6, 2)
    shadow = cv2.warpAffine(
        cv2.GaussianBlur(cover, (0, 0), rng.uniform(1, 6)), np.array([[1, 0, away[0]], [0, 1, away[1]]]), (px, px)
    )
    image = image * (1 - rng.uniform(0, 0.6) * shadow[..., None])
    return image * (1 - cover[..., None]) + colour * cover[..., None]


def gear_or_bracket(rng: Rng, px: int, image: np.ndarray) -> np.ndarray:
    """A flat part: toothed, lobed or polygonal outline with holes, extruded and lit."""
    angle = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    teeth = int(rng.integers(3, 40))
    wave = np.cos(teeth * angle)
    outline = 1 + rng.uniform(0.02, 0.3) * np.clip(wave * rng.uniform(1, 8), -1, 1)
    size = px * rng.uniform(0.12, 0.4)
    stretch = rng.uniform(0.5, 1)
    cover = np.zeros((px, px), np.float32)
    points = np.stack([np.cos(angle) * outline, np.sin(angle) * outline * stretch], -1) * size + px / 2
    cv2.fillPoly(cover, [(points * 16).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
    holes = int(rng.integers(0, 9))
    for k in range(holes):
        t = 2 * np.pi * k / max(holes, 1)
        at = (px / 2 + size * 0.6 * np.cos(t), px / 2 + size * 0.6 * stretch * np.sin(t))
        cv2.circle(cover, (int(at[0]), int(at[1])), max(1, int(size * rng.uniform(0.05, 0.18))), 0.0, -1, cv2.LINE_AA)
    if rng.random() < 0.6:
        cv2.circle(cover, (px // 2, px // 2), int(size * stretch * rng.uniform(0.1, 0.45)), 0.0, -1, cv2.LINE_AA)
    bevel = cv2.GaussianBlur(cover, (0, 0), rng.uniform(1, 4))
    colour = relief(
        rng, bevel * 3, ramp(rng, clouds(rng, px, 4, 5, 0.5, rng.choice([1.0, 10.0])), 0.3), rng.uniform(0.5, 3)
    )
    return _place(rng, image, colour, cover)


def electronics(rng: Rng, px: int, image: np.ndarray) -> np.ndarray:
    """Chips with legs, connectors, displays, capacitors: boxes and rounds in rows."""
    image = np.ascontiguousarray(image)
    for _ in range(rng.integers(1, 6)):
        w, h = (rng.uniform(0.08, 0.4, 2) * px).astype(int)
        x, y = rng.uniform(0.05, 0.75, 2) * px
        x, y = int(x), int(y)
        body = tuple(float(c) for c in rng.uniform(0, 1) * np.ones(3) * 0.6 + rng.uniform(0, 0.3, 3))
        metal = tuple(float(c) for c in rng.uniform(0.5, 1) * np.ones(3))
        kind = rng.random()
        if kind < 0.5:
            pitch = int(rng.integers(5, 14))
            for px_ in range(x + pitch // 2, x + w, pitch):
                cv2.rectangle(image, (px_, y - pitch), (px_ + max(1, pitch // 2 - 1), y + h + pitch), metal, -1)
            cv2.rectangle(image, (x, y), (x + w, y + h), body, -1)
            cv2.circle(image, (x + 6, y + 6), 2, metal, -1, cv2.LINE_AA)
        elif kind < 0.75:
            pitch = int(rng.integers(7, 20))
            cv2.rectangle(image, (x, y), (x + w, y + h), body, -1)
            for cx in range(x + pitch, x + w, pitch):
                for cy in range(y + pitch, y + h, pitch):
                    cv2.circle(image, (cx, cy), pitch // 3, metal, -1, cv2.LINE_AA)
        else:
            r = max(4, min(w, h) // 2)
            cv2.circle(image, (x + r, y + r), r, body, -1, cv2.LINE_AA)
            cv2.circle(image, (x + r, y + r), int(r * 0.8), metal, int(rng.integers(1, 4)), cv2.LINE_AA)
        if rng.random() < 0.5:
            _letters(rng, image, (x + 2, y + h // 2))
    return image


def _letters(rng: Rng, image: np.ndarray, at: tuple[int, int]) -> None:
    text = "".join(chr(int(c)) for c in rng.integers(48, 91, rng.integers(1, 9)))
    colour = rng.uniform(0, 1, 3).astype(np.float32)
    cover = np.zeros(image.shape[:2], np.uint8)
    cv2.putText(
        cover, text, at, int(rng.choice(FONTS)), rng.uniform(0.3, 1.4), 255, int(rng.integers(1, 3)), cv2.LINE_AA
    )
    image += (cover[..., None] / np.float32(255)) * (colour - image)


def marks(rng: Rng, px: int, image: np.ndarray) -> np.ndarray:
    """Strokes, wires, letters, dots and blots."""
    image = np.ascontiguousarray(image)
    for _ in range(rng.integers(1, 14)):
        colour = tuple(float(c) for c in rng.uniform(0, 1) + rng.normal(0, 0.1, 3))
        kind = rng.random()
        at = tuple(int(v) for v in rng.uniform(0, px, 2))
        if kind < 0.4:
            path = np.cumsum(np.cumsum(rng.normal(0, rng.uniform(0.02, 0.6), (40, 2)), 0) + rng.normal(0, 3, 2), 0) + at
            cv2.polylines(
                image,
                [(path * 8).astype(np.int32)],
                bool(rng.random() < 0.1),
                colour,
                int(rng.integers(1, 5)),
                cv2.LINE_AA,
                3,
            )
        elif kind < 0.6:
            _letters(rng, image, at)
        elif kind < 0.8:
            cv2.ellipse(
                image,
                at,
                tuple(int(v) for v in rng.uniform(1, 22, 2)),
                rng.uniform(0, 360),
                0,
                360,
                colour,
                int(rng.choice([-1, 1, 2])),
                cv2.LINE_AA,
            )
        else:
            corners = (rng.normal(0, rng.uniform(4, 30), (int(rng.integers(3, 7)), 2)) + at).astype(np.int32)
            cv2.fillPoly(image, [cv2.convexHull(corners)], colour, cv2.LINE_AA)
    return image


def _light(rng: Rng, image: np.ndarray) -> np.ndarray:
    px = len(image)
    u, v = axes(rng, px)
    falloff = 1 + rng.uniform(-0.3, 0.3) * u + rng.uniform(-0.2, 0.2) * v
    image = image * falloff[..., None] * rng.uniform(0.7, 1.2)
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.2))
    return image + rng.normal(0, rng.uniform(0, 0.02), image.shape)


OBJECTS: tuple[Callable[[Rng, int, np.ndarray], np.ndarray], ...] = (turned_part, gear_or_bracket, electronics, marks)


def draw(rng: Rng, px: int) -> np.ndarray:
    """One generated image, uint8 RGB [px, px, 3]."""
    ground = GROUNDS[rng.integers(len(GROUNDS))]
    image = ground(rng, px).astype(np.float32)
    if ground is plain or rng.random() < 0.5:
        for _ in range(rng.integers(1, 4)):
            image = OBJECTS[rng.integers(len(OBJECTS))](rng, px, image).astype(np.float32)
    if rng.random() < 0.3:
        # A pasted region of a second material: borders between materials are what parts are made of.
        other = GROUNDS[rng.integers(len(GROUNDS))](rng, px)
        cover = cv2.GaussianBlur(
            (clouds(rng, px, 2, 3) > rng.uniform(0.3, 0.7)).astype(np.float32), (0, 0), rng.uniform(0.5, 2)
        )[..., None]
        image = image * (1 - cover) + other * cover
    return (np.clip(_light(rng, image), 0, 1) * 255).astype(np.uint8)
