"""A detector of your own, measured like any other: how far is each pixel from the mean normal image?

`python examples/own_detector.py DATA`. Evaluation asks a detector for `preprocessing`, `device` and `predict`.
"""

import sys
from pathlib import Path

import numpy as np
import torch

from muad import open_catalog
from muad.data.images import read_image
from muad.data.transforms import Preprocessing
from muad.evaluation import evaluate_detector
from muad.types import Prediction


class MeanImage:
    """Knows the mean of the normal images, pixel by pixel."""

    preprocessing = Preprocessing(resize_px=(64, 64), crop_px=(64, 64))
    device = torch.device("cpu")

    def __init__(self, paths: list[Path]) -> None:
        views = np.stack([self.preprocessing.view(read_image(path)) for path in paths])
        self.mean = self.preprocessing.normalise(views).mean(0)

    def predict(self, images: torch.Tensor) -> Prediction:
        """Distance to the mean as map, its largest hundredth as score."""
        anomaly_map = (images - self.mean).abs().mean(1)
        return Prediction(anomaly_map=anomaly_map, score=anomaly_map.flatten(1).quantile(0.99, dim=1))


if __name__ == "__main__":
    catalog = open_catalog(Path(sys.argv[1]))
    for category in catalog.categories:
        paths = [record.path for record in catalog.select(category=category, split="train")]
        report = evaluate_detector(MeanImage(paths), catalog.select(category=category), protocol="exact")
        print(category, report.mean)
