"""From the distance at every patch to the blurred map and the score."""

import pytest
import torch

from muad.detectors.dinomaly import Dinomaly, top_mean
from muad.encoders.encoder import EncoderConfig
from muad.encoders.families import VitLayout

# Distances of one image of 112 x 112 px at its 8 x 8 patches, from features recorded from the authors' code.
RECORDED_DISTANCE = [
    [1.075932, 1.043016, 0.963582, 1.158184, 1.153854, 0.978254, 1.200836, 1.031705],
    [0.800876, 1.111758, 0.886589, 1.172887, 0.879245, 0.980624, 1.013281, 1.061205],
    [1.002373, 1.128386, 1.143542, 1.057103, 1.026027, 1.186704, 1.048560, 1.027532],
    [1.008223, 1.019299, 0.823542, 1.202216, 0.996372, 1.063939, 0.952300, 1.028344],
    [1.019296, 1.025748, 1.067298, 0.889884, 0.951677, 0.933948, 1.097830, 0.862705],
    [1.016207, 0.892683, 1.073580, 1.181938, 1.053236, 1.018745, 0.976753, 1.045243],
    [1.076403, 1.017746, 0.973694, 1.152548, 1.273211, 0.867681, 0.893857, 1.222078],
    [0.913646, 1.298132, 0.903408, 0.969457, 1.147503, 0.883122, 0.963523, 0.867232],
]
# What the authors' code makes of them: the map of input size, the blurred map of 256 x 256 px, the score.
RECORDED_UPSAMPLED = {(0, 0): 1.075932, (0, 111): 1.031705, (55, 56): 1.013129}
RECORDED_BLURRED = {
    (0, 0): 0.393856,
    (128, 128): 1.006632,
    (10, 200): 1.065690,
    (255, 255): 0.321241,
    (3, 100): 1.107248,
}
RECORDED_SCORE = 1.222046


@pytest.fixture
def recorded_detector(make_detector) -> Dinomaly:
    layout = VitLayout(width=32, depth=2, heads=2, patch_px=14, position_grid=8)
    encoder = EncoderConfig(name="random-custom", layout=layout, tap_layers=(0, 1))
    return make_detector(encoder=encoder, resize_px=(112, 112), crop_px=(112, 112), map_px=256)


def test_recorded_map_and_score_are_the_authors(recorded_detector: Dinomaly) -> None:
    distance = torch.tensor([RECORDED_DISTANCE])
    upsampled = recorded_detector.upsample_map(distance)[0]
    blurred = recorded_detector.blur(recorded_detector.resize_map(distance))
    for (row, column), value in RECORDED_UPSAMPLED.items():
        assert upsampled[row, column].item() == pytest.approx(value, abs=3e-6)
    for (row, column), value in RECORDED_BLURRED.items():
        assert blurred[0, row, column].item() == pytest.approx(value, abs=3e-6)
    assert top_mean(blurred, 0.01).item() == pytest.approx(RECORDED_SCORE, abs=3e-6)


def test_distance_is_one_minus_the_cosine_averaged_over_groups(make_detector, make_batch) -> None:
    detector, images = make_detector(), make_batch().images
    encoded, decoded = detector.decode(detector.encode(images))
    expected = torch.zeros(4, 8, 6)
    for a, b in zip(encoded, decoded, strict=True):
        cosine = (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1))
        expected += (1 - cosine).reshape(4, 8, 6) / 2
    assert detector.distance_map(images).allclose(expected, atol=1e-5)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 5), (7, 0), (7, 5), (3, 2), (1, 4)])
def test_a_hot_patch_peaks_where_it_is(make_detector, row: int, column: int) -> None:
    """With `align_corners` off; maps of the input's size and square ones, on a rectangle of 8 x 6 patches of 7 px."""
    distance = torch.zeros(1, 8, 6)
    distance[0, row, column] = 1.0
    for map_px in (0, 48, 256):
        detector = make_detector(align_corners=False, map_px=map_px, blur_sigma_px=0.0)
        anomaly_map = detector.resize_map(distance)[0]
        height, width = anomaly_map.shape
        hot = (anomaly_map >= 0.999 * anomaly_map.max()).nonzero().float() + 0.5
        # In fractions of the image the patch is [row, row + 1] / 8 by [column, column + 1] / 6.
        assert ((hot[:, 0] * 8 / height).floor() == row).all()
        assert ((hot[:, 1] * 6 / width).floor() == column).all()


def test_align_corners_stretches_the_map_by_half_a_patch_at_the_rim(make_detector) -> None:
    """The authors' choice, kept under published recipes: a ramp from 0 to 7 reaches its ends at the rim."""
    ramp = torch.arange(8.0)[None, :, None].expand(1, 8, 6)
    stretched = make_detector(align_corners=True).upsample_map(ramp)[0, :, 0]
    true = make_detector(align_corners=False).upsample_map(ramp)[0, :, 0]
    pixels = torch.arange(56.0)
    assert stretched.allclose(pixels * 7 / 55, atol=1e-5)
    assert true[3:53].allclose(((pixels + 0.5) / 7 - 0.5)[3:53], atol=1e-5)
    assert (stretched - true).abs().max().item() == pytest.approx(3 * 7 / 55, abs=1e-5)


def test_blur_is_a_gaussian_of_five_pixels_with_zeros_outside(make_detector) -> None:
    detector = make_detector()
    point = torch.zeros(1, 32, 32)
    point[0, 10, 20] = 1.0
    blurred = detector.blur(point)[0]
    offset = torch.arange(-2.0, 3.0)
    weights = torch.exp(-(offset[:, None] ** 2 + offset**2) / (2 * 4.0**2))
    weights = weights / weights.sum()
    assert blurred[8:13, 18:23].allclose(weights, atol=1e-7)
    assert weights[0, 0].item() == pytest.approx(0.0352, abs=1e-4)
    assert weights[2, 2].item() == pytest.approx(0.0452, abs=1e-4)
    assert blurred.sum().item() == pytest.approx(1.0, abs=1e-6)
    flat = detector.blur(torch.ones(1, 32, 32))[0]
    assert flat[16, 16].item() == pytest.approx(1.0, abs=1e-6)
    assert flat[0, 0] < flat[0, 16] < 0.65


def test_no_blur_leaves_the_map_alone(make_detector) -> None:
    noise = torch.rand(2, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(make_detector(blur_sigma_px=0.0).blur(noise), noise)


def test_map_of_the_inputs_size(make_detector, make_batch) -> None:
    prediction = make_detector(map_px=0).predict(make_batch().images)
    assert prediction.anomaly_map.shape == (4, 56, 42)


@pytest.mark.parametrize(("fraction", "count"), [(0.01, 655), (0.0, 1), (1.0, 65536), (1e-9, 1)])
def test_score_is_the_mean_of_the_largest_values(fraction: float, count: int) -> None:
    maps = torch.rand(2, 256, 256, generator=torch.Generator().manual_seed(0))
    expected = maps.flatten(1).sort(descending=True).values[:, :count].double().mean(dim=1)
    assert top_mean(maps, fraction).double().allclose(expected, rtol=1e-5)
