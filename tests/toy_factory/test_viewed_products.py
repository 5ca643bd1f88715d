"""A product of five views: seeded, a defect in one view only, and a list that says what is what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from muad.datasets.index import open_catalog
from muad.errors import ConfigError, DataError
from muad.toy_factory import PRODUCTS, VIEWED_PRODUCTS, render_view, write_viewed_product
from muad.toy_factory.viewed_products import defective_view

if TYPE_CHECKING:
    from pathlib import Path

PX = 64
BOX = VIEWED_PRODUCTS["valve_box"]
SMALL = {"image_px": PX, "train_parts": 2, "test_good_parts": 1, "test_per_defect": 1}


def test_the_product_is_made_only_when_it_is_asked_for() -> None:
    assert not VIEWED_PRODUCTS.keys() & PRODUCTS.keys()
    assert BOX.views == ("top", "front", "back", "left", "right")


@pytest.mark.parametrize("defect", BOX.defects)
def test_a_defect_is_seen_in_one_view_and_the_others_are_those_of_the_good_part(defect: str) -> None:
    seen = defective_view("valve_box", seed=0, index=7, defect=defect)
    for view in BOX.views:
        good, nothing = render_view("valve_box", view, seed=0, index=7, image_px=PX)
        bad, mask = render_view("valve_box", view, seed=0, index=7, defect=defect, image_px=PX)
        assert not nothing.any()
        if view != seen:
            assert not mask.any()
            np.testing.assert_array_equal(bad, good)
            continue
        differs = np.abs(bad.astype(int) - good).max(axis=2) > 12
        assert mask.any()
        near = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        assert (differs & mask).any()
        assert not (differs & ~near).any()


def test_defects_fall_on_every_view() -> None:
    seen = {defective_view("valve_box", seed=0, index=index, defect="stain") for index in range(40)}
    assert seen == set(BOX.views)


def test_the_list_names_part_view_and_label_of_every_photograph(tmp_path: Path) -> None:
    write_viewed_product(tmp_path / "box", "valve_box", seed=3, **SMALL)
    catalog = open_catalog(tmp_path / "box" / "manifest.csv")
    assert len(catalog.records) == 5 * (2 + 1 + len(BOX.defects))
    train, test = catalog.select(split="train"), catalog.select(split="test")
    assert {record.object_id for record in train} == {"train/good-000", "train/good-001"}
    assert all(len({one.view for one in test if one.object_id == record.object_id}) == 5 for record in test)
    bad = [record for record in test if record.is_anomalous]
    assert sorted(record.defect_type or "" for record in bad) == sorted(BOX.defects)  # one photograph of each part
    for record in bad:
        assert record.mask_path is not None
        assert cv2.imread(str(record.mask_path), cv2.IMREAD_GRAYSCALE).any()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    bad[0].path.unlink()
    write_viewed_product(tmp_path / "box", "valve_box", seed=3, **SMALL)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    with pytest.raises(DataError, match="seed 3 there, 4 asked"):
        write_viewed_product(tmp_path / "box", "valve_box", seed=4, **SMALL)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"product": "valve"}, "product must be one of valve_box, got 'valve'"),
        ({"train_parts": 0}, "train_parts must be at least 1"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"image_px": 8}, "image_px must be between"),
    ],
)
def test_what_cannot_be_written_is_one_line(how: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        write_viewed_product(tmp_path, **({"product": "valve_box"} | how))  # type: ignore[arg-type]


def test_unknown_views_and_defects_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"must be one of top, front, .* got 'below'"):
        render_view("valve_box", "below", seed=0, index=0)
    with pytest.raises(ConfigError, match="defect of valve_box must be one of scratch"):
        render_view("valve_box", "top", seed=0, index=0, defect="rust")
