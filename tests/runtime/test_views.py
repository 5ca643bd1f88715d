"""From views to images: padding counts for nothing, tiles give one score, no forward pass is larger than asked for."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from muad.detectors.scoring import mean_of_largest
from muad.detectors.torch_scorer import TorchScorer
from muad.detectors.types import Prediction
from muad.images.preprocessing import Preprocessing
from muad.runtime.views import ImageViews, predict_images, view_image

SIZE = {"resize_px": (32, 32), "crop_px": (32, 32), "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


@dataclasses.dataclass
class Brightness(TorchScorer):
    """Takes brightness for anomaly, and remembers how much it was given at once."""

    preprocessing: Preprocessing

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def __post_init__(self) -> None:
        self.batches: list[int] = []

    def predict(self, images: torch.Tensor) -> Prediction:
        self.batches.append(len(images))
        maps = images.mean(1)
        return Prediction(anomaly_map=maps, score=maps.flatten(1).amax(1))

    def score(self, maps: torch.Tensor, inspected: torch.Tensor) -> torch.Tensor:
        return mean_of_largest(maps, inspected, lambda _: 1)


def _views(detector: Brightness, *images: np.ndarray) -> list[ImageViews]:
    return [view_image(detector.preprocessing, image, "image", None) for image in images]


def test_the_score_is_that_of_the_brightest_tile_and_maps_keep_their_order() -> None:
    detector = Brightness(Preprocessing(**SIZE, tiles=(2, 2)))
    first, second = np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 51, np.uint8)
    first[40, 10] = 255
    one, other = predict_images(detector, _views(detector, first, second), batch_size=3)
    assert one.maps.shape == (4, 32, 32)
    assert (one.score, round(other.score, 3)) == (1.0, 0.2)
    assert [view.max() for view in one.maps] == [0, 0, 1, 0]
    assert detector.batches == [3, 3, 2]


def test_padding_is_no_part_of_the_score() -> None:
    """The detector sees its padding as bright as it likes: only what the image fills is asked for."""
    detector = Brightness(Preprocessing(**SIZE, fit="letterbox"))
    wide = np.zeros((32, 64, 3), np.uint8)
    wide[16, 30] = 102
    (views,) = _views(detector, wide)
    views.views[0, :8] = 255
    views.views[0, 24:] = 255
    (found,) = predict_images(detector, [views], batch_size=1)
    assert found.score < 0.5
    assert found.maps.max() == 1


def test_images_of_any_shape_share_a_batch() -> None:
    detector = Brightness(Preprocessing(**SIZE, fit="letterbox"))
    images = [np.full((*size, 3), 51, np.uint8) for size in ((32, 64), (40, 40), (100, 20))]
    found = predict_images(detector, _views(detector, *images), batch_size=8)
    np.testing.assert_allclose([one.score for one in found], 0.2, atol=1e-6)
    assert detector.batches == [3]


def test_the_mean_of_the_largest_takes_inspected_cells_alone() -> None:
    maps = torch.arange(32.0).reshape(2, 4, 4)
    inspected = torch.zeros(2, 4, 4, dtype=torch.bool)
    inspected[0, :2] = True  # 0 to 7
    assert mean_of_largest(maps, inspected, lambda cells: cells // 4).tolist() == [6.5, float("-inf")]
