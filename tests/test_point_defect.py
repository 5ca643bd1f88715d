"""A point defect drawn at known places: the map's peak lies within one patch of it, in pixels of the photograph."""

import numpy as np
import pytest
import torch

from muad.detectors import Dinomaly, DinomalyConfig
from muad.detectors.types import Batch
from muad.encoders.encoder import EncoderConfig
from muad.encoders.families import VitLayout
from muad.images.preprocessing import Preprocessing
from muad.optim import StableAdamW
from muad.runtime.views import original_map, predict_images, view_image
from muad.training.sampling import batch_indices

SIDE, PATCH, STEPS = 112, 7, 25
SIZES = ((224, 224), (160, 400), (420, 170))
PLACES = ((0.5, 0.5), (0.3, 0.75), (0.78, 0.22))
WAYS = {
    "stretch": {},
    "crop": {"resize_px": (128, 128)},
    "letterbox": {"fit": "letterbox"},
    "tiles": {"tiles": (2, 2), "tile_overlap": 0.25},
    "letterboxed tiles": {"tiles": (1, 3), "tile_overlap": 0.2, "fit": "letterbox"},
}


def _surface(size: tuple[int, int], seed: int) -> np.ndarray:
    """Brushed metal: noise on a soft gradient."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0 : 1 : size[0] * 1j, 0 : 1 : size[1] * 1j]
    grey = 110 + 25 * rows + 15 * columns + random.normal(0, 5, size)
    return np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def _preprocessing(way: str) -> Preprocessing:
    return Preprocessing(**{"resize_px": (SIDE, SIDE), "crop_px": (SIDE, SIDE), **WAYS[way]})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def detector() -> Dinomaly:
    """Dinomaly on a small random encoder, trained for a moment on normal surfaces seen in every way."""
    torch.manual_seed(0)
    layout = VitLayout(width=48, depth=4, heads=2, patch_px=PATCH, registers=1, position_grid=8)
    config = DinomalyConfig(
        encoder=EncoderConfig(name="random-custom", layout=layout, tap_layers=(0, 1)),
        resize_px=(SIDE, SIDE),
        crop_px=(SIDE, SIDE),
        attention_eps=1e-6,
        align_corners=False,
        easy_ramp_steps=10,
    )
    detector = Dinomaly(config)
    normal = [_surface(size, seed) for seed, size in enumerate(SIZES)]
    views = np.concatenate([_preprocessing(way).views(image) for way in WAYS for image in normal])
    images = torch.from_numpy(detector.preprocessing.normalise(views))
    optimizer = StableAdamW(detector.parameter_groups(), lr=2e-3)
    for step in range(STEPS):
        chosen = batch_indices(step, count=len(images), batch_size=8, seed=0)
        batch = Batch(images=images[chosen], seeds=tuple(chosen), categories=("steel",) * 8)
        detector(batch, step).total.backward()
        optimizer.step()
        optimizer.zero_grad()
    return detector


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", SIZES)
def test_the_peak_of_the_map_is_within_one_patch_of_the_defect(
    detector: Dinomaly, way: str, size: tuple[int, int]
) -> None:
    preprocessing = _preprocessing(way)
    detector.preprocessing = preprocessing
    rows, columns = preprocessing.placements(size)
    patch = [PATCH * part.length / part.extent for part in (rows[0], columns[0])]
    for place in PLACES:
        image = _surface(size, 7)
        centre = [int(share * length) for share, length in zip(place, size, strict=True)]
        half = [max(2, round(side / 4)) for side in patch]
        image[centre[0] - half[0] : centre[0] + half[0], centre[1] - half[1] : centre[1] + half[1]] = (235, 40, 30)
        seen = view_image(preprocessing, image, "image", None)
        (found,) = predict_images(detector, [seen], batch_size=4)
        peak = np.unravel_index(np.nanargmax(original_map(preprocessing, seen, found)), size)
        for axis in (0, 1):
            assert abs(peak[axis] - centre[axis]) <= patch[axis], (place, peak, centre, patch)
