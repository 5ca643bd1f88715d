"""The report: one unweighted mean, nothing rounded, undefined figures explained, JSON there and back."""

import json

import numpy as np
import pytest

from muad.errors import DataError
from muad.metrics.ranking import rank_metrics
from muad.metrics.region import pixel_metrics
from muad.metrics.report import METRIC_NAMES, CategoryReport, Report

SCREW = CategoryReport(
    image_auroc=0.9,
    image_ap=1.0,
    image_f1_max=1 / 3,
    pixel_auroc=0.25,
    pixel_ap=0.5,
    pixel_f1_max=0.0,
    pixel_aupro=0.75,
    images=160,
)
GRID = CategoryReport(image_auroc=0.7, image_ap=0.5, image_f1_max=0.1, images=2, notes=("no masks",))


def report() -> Report:
    return Report(protocol="dinomaly", categories={"screw": SCREW, "grid": GRID}, images=162)


def test_mean_weighs_categories_alike_and_skips_undefined_figures():
    mean = report().mean
    assert mean["image_auroc"] == pytest.approx(0.8)
    assert mean["image_f1_max"] == pytest.approx((1 / 3 + 0.1) / 2, abs=1e-15)
    assert mean["pixel_aupro"] == 0.75
    assert tuple(mean) == METRIC_NAMES


def test_mean_is_none_where_no_category_defines_the_figure():
    assert Report(protocol="p", categories={"grid": GRID}, images=2).mean["pixel_ap"] is None
    assert set(Report(protocol="p", categories={}, images=0).mean.values()) == {None}


def test_json_has_exactly_the_published_form():
    data = report().to_json()
    assert list(data) == ["protocol", "categories", "mean", "images"]
    assert tuple(data["categories"]["screw"]) == METRIC_NAMES
    assert tuple(data["categories"]["grid"]) == (*METRIC_NAMES, "notes")
    assert data["categories"]["grid"]["notes"] == ["no masks"]
    assert data["categories"]["screw"]["image_f1_max"] == 1 / 3
    assert (data["protocol"], data["images"]) == ("dinomaly", 162)
    assert data["mean"] == report().mean


def test_report_survives_json_but_for_the_images_of_each_category():
    back = Report.from_json(json.loads(json.dumps(report().to_json(), allow_nan=False)))
    assert back.to_json() == report().to_json()
    assert back.categories["screw"].values() == SCREW.values()
    assert back.categories["grid"].notes == GRID.notes
    assert back.categories["screw"].images is None


def test_category_report_takes_each_figure_from_its_metric():
    rng = np.random.default_rng(0)
    maps, masks = rng.random((4, 6, 6)), rng.random((4, 6, 6)) < 0.2
    masks[0] = False
    image, pixel = rank_metrics(masks.any(axis=(1, 2)), maps.max(axis=(1, 2))), pixel_metrics(maps, masks)
    category = CategoryReport.of(image, pixel, images=4)
    assert tuple(category.values().values()) == (
        image.auroc,
        image.average_precision,
        image.f1_max,
        pixel.auroc,
        pixel.average_precision,
        pixel.f1_max,
        pixel.aupro,
    )
    assert (category.images, category.notes) == (4, ())


def test_category_report_explains_every_figure_that_is_none():
    category = CategoryReport.of(rank_metrics([0, 0], [0.1, 0.2]), pixel_metrics(np.zeros((2, 2, 2)), None), images=2)
    assert set(category.values().values()) == {None}
    assert category.notes == (
        "image_auroc, image_ap, image_f1_max undefined: all 2 labels are normal",
        "pixel_auroc, pixel_ap, pixel_f1_max, pixel_aupro undefined: there are no masks",
    )


@pytest.mark.parametrize("percent", [99.6, -0.1, float("nan")])
def test_a_figure_outside_zero_to_one_is_refused(percent):
    with pytest.raises(DataError, match=r"pixel_ap must be in \[0, 1\] or None"):
        CategoryReport(pixel_ap=percent)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda data: data.pop("mean"), r"a report must have the keys .* missing \['mean'\]"),
        (lambda data: data.update(extra=1), r"unknown \['extra'\]"),
        (lambda data: data.update(protocol=3), "protocol must be a name, got 3"),
        (lambda data: data.update(images="2"), "images must be a whole number, got '2'"),
        (lambda data: data.update(categories=[]), r"categories must be an object, got \[\]"),
        (lambda data: data["categories"].update(screw=1), "categories.screw must be an object, got 1"),
        (lambda data: data["categories"]["screw"].pop("image_ap"), r"missing \['image_ap'\]"),
        (lambda data: data["categories"]["screw"].update(image_ap="1"), "image_ap must be a number or null, got '1'"),
        (lambda data: data["categories"]["grid"].update(notes="x"), "grid.notes must be a list of sentences"),
    ],
)
def test_json_of_another_form_is_refused_with_its_place(spoil, said):
    data = json.loads(json.dumps(report().to_json()))
    spoil(data)
    with pytest.raises(DataError, match=said):
        Report.from_json(data)
