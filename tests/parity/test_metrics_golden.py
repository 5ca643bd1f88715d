"""Metrics against numbers recorded from the authors' implementation: 24 maps of 64x64 with ties."""

import pytest

from muad.metrics.ranking import rank_metrics
from muad.metrics.region import pixel_metrics

pytestmark = pytest.mark.shared

# The authors add 1e-7 to the denominator of F1.
TOLERANCE = 1e-6


def test_image_metrics_equal_the_authors(golden):
    metrics = rank_metrics(golden["metrics.labels"], golden["metrics.scores"])
    assert metrics.auroc == pytest.approx(golden["metrics.expected.image_auroc"].item(), abs=1e-12)
    assert metrics.average_precision == pytest.approx(golden["metrics.expected.image_ap"].item(), abs=1e-12)
    assert metrics.f1_max == pytest.approx(golden["metrics.expected.image_f1_max"].item(), abs=TOLERANCE)


def test_pixel_metrics_equal_the_authors(golden):
    metrics = pixel_metrics(golden["metrics.maps"], golden["metrics.masks"], aupro="thresholds_200")
    assert metrics.auroc == pytest.approx(golden["metrics.expected.pixel_auroc"].item(), abs=1e-12)
    assert metrics.average_precision == pytest.approx(golden["metrics.expected.pixel_ap"].item(), abs=1e-12)
    assert metrics.f1_max == pytest.approx(golden["metrics.expected.pixel_f1_max"].item(), abs=TOLERANCE)
    assert metrics.aupro == pytest.approx(golden["metrics.expected.pixel_aupro_200_thresholds"].item(), abs=TOLERANCE)


def test_exact_aupro_is_near_the_authors_but_another_definition(golden):
    exact = pixel_metrics(golden["metrics.maps"], golden["metrics.masks"]).aupro
    difference = abs(exact - golden["metrics.expected.pixel_aupro_200_thresholds"].item())
    assert TOLERANCE < difference < 0.01
