"""Appearances of made-up products, points around one direction each, and of the toy factory's and real ones."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from muad.encoders.product_encoder import product_encoder
from muad.images.reading import read_image
from muad.recognition import Appearance, shrink
from muad.recognition.appearance import copies_of
from muad.toy_factory import PRODUCTS, render

_REMEMBERED, _SHOWN = 20, 6


@pytest.fixture
def cloud() -> Callable[..., Appearance]:
    """`cloud(product, count, seed, spread)`: appearances of images of one product, in one copy each."""

    def make(product: int, count: int, seed: int, spread: float = 0.05) -> Appearance:
        random, centre = np.random.default_rng(seed), np.random.default_rng(1000 + product)

        def around(shape: tuple[int, ...]) -> np.ndarray:
            middle = centre.normal(size=shape)
            middle /= np.linalg.norm(middle, axis=-1, keepdims=True)
            found = middle + spread * random.normal(size=(count, *shape)) / np.sqrt(shape[-1])
            return (found / np.linalg.norm(found, axis=-1, keepdims=True)).astype(np.float32)

        return Appearance(around((32,)), around((16, 32)), around((16, 4)))

    return make


@pytest.fixture(scope="session")
def known(shared_dir_or_none: Path | None) -> dict[str, tuple[Appearance, Appearance, np.ndarray]]:
    """By product: 20 good photographs in all copies, 12 others, and which of those show bad parts.

    The five of the toy factory, a sixth of them made varied, and the shared real ones where they are.
    """
    encoder = product_encoder(torch.device("cpu"))
    photos: dict[str, tuple[list[np.ndarray], list[np.ndarray], list[bool]]] = {}
    for name, product in PRODUCTS.items():
        bad = [product.defects[place % len(product.defects)] for place in range(_SHOWN)]
        photos[name] = (
            [render(name, seed=1, index=place, image_px=112)[0] for place in range(_REMEMBERED)],
            [
                render(name, seed=1, index=100 + place, defect=defect, image_px=112)[0]
                for place, defect in enumerate([None] * _SHOWN + bad)
            ],
            [False] * _SHOWN + [True] * _SHOWN,
        )
    random = np.random.default_rng(5)
    remembered, shown, bad_ones = photos["printed_board"]
    photos["varied"] = (
        [_altered(each, random) for each in remembered],
        [_altered(each, random) for each in shown],
        bad_ones,
    )
    if shared_dir_or_none is not None:
        for name in ("magnetic_tile", "metal_plate", "screw"):
            root = shared_dir_or_none / "data" / name
            good = sorted(root.glob("train/good/*"))[::2][:_REMEMBERED]
            tests = [*sorted(root.glob("test/good/*"))[:_SHOWN]]
            faulty = [path for path in sorted(root.glob("test/*/*")) if path.parent.name != "good"]
            tests += faulty[:: len(faulty) // _SHOWN][:_SHOWN]
            photos[name] = (
                [read_image(path) for path in good],
                [read_image(path) for path in tests],
                [False] * _SHOWN + [True] * _SHOWN,
            )
    return {
        name: (
            encoder.encode([view for seed, image in enumerate(good) for view in copies_of(image, seed)]),
            encoder.encode([shrink(image) for image in shown]),
            np.array(bad),
        )
        for name, (good, shown, bad) in photos.items()
    }


@pytest.fixture(scope="session")
def shared_dir_or_none(request: pytest.FixtureRequest) -> Path | None:
    """As `shared_dir`, but a test goes on without."""
    try:
        return Path(request.getfixturevalue("shared_dir"))
    except pytest.skip.Exception:
        return None


def _altered(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A part of it, at any angle, in other colours: a product that nobody can tell from its photographs."""
    side = int(random.integers(28, 90))
    top, left = random.integers(0, len(image) - side, 2)
    part = np.rot90(image[top : top + side, left : left + side], int(random.integers(4)))
    part = part[:, :, random.permutation(3)] * random.uniform(0.4, 1.6, 3)
    return shrink(np.clip(part, 0, 255).astype(np.uint8))
