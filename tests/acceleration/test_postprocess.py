"""One matrix per axis against the detector's stages one after the other."""

import pytest
import torch

from muad.acceleration.postprocess import MapMaker
from muad.detectors.dinomaly import top_mean


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("map_px", [0, 24, 256])
@pytest.mark.parametrize("blur_sigma_px", [0.0, 4.0])
def test_maps_are_those_of_the_three_stages(make_detector, align_corners, map_px: int, blur_sigma_px: float) -> None:
    detector = make_detector(align_corners=align_corners, map_px=map_px, blur_sigma_px=blur_sigma_px)
    distance = torch.rand(3, 8, 6, generator=torch.Generator().manual_seed(0))
    expected = detector.blur(detector.resize_map(distance))
    maps = MapMaker(detector).maps(distance)
    assert maps.shape == expected.shape
    assert (maps - expected).abs().max() < 1e-6


@pytest.mark.parametrize("top_fraction", [1e-9, 0.01, 0.3, 1.0])
def test_score_is_the_mean_of_the_largest_values(make_detector, top_fraction: float) -> None:
    maker = MapMaker(make_detector(top_fraction=top_fraction))
    maps = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0)).mul(50).round() / 50  # with ties
    assert maker.scores(maps).allclose(top_mean(maps, top_fraction), atol=1e-6)


def test_prediction_from_distances_is_the_detectors(make_detector, make_images) -> None:
    detector, images = make_detector(), make_images(2)
    maker = MapMaker(detector)
    with torch.no_grad():
        maps = maker.maps(detector.distance_map(images))
    prediction = detector.predict(images)
    assert maps.allclose(prediction.anomaly_map, atol=1e-6)
    assert maker.scores(maps).allclose(prediction.score, atol=1e-6)
