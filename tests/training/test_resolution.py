"""The size to look at, from the size of what must be found."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from muad.configuration.run_config import load_config
from muad.errors import ConfigError
from muad.training.resolution import photo_size, sized_for
from muad.types import Record

USUAL = ["detector.name=patchcore", "detector.resize_px=[504, 504]", "detector.crop_px=[504, 504]"]


def test_a_defect_of_a_patch_needs_nothing() -> None:
    sized = sized_for(load_config(None, USUAL), (1000, 1000), "30px")
    assert sized.settings == ()
    assert "enough" in sized.sentence


@pytest.mark.parametrize(("defect", "view"), [("20px", None), ("2mm", "100mm"), ("0.2cm", "0.1 m")])
def test_a_somewhat_smaller_one_gets_a_larger_input_in_whole_patches(defect: str, view: str | None) -> None:
    sized = sized_for(load_config(None, USUAL), (1000, 1000), defect, view)
    assert sized.settings == ("detector.resize_px=[700, 700]", "detector.crop_px=[700, 700]")
    config = load_config(None, [*USUAL, *sized.settings])
    assert 20 * config.detector.crop_px[0] / 1000 >= config.patch_px
    assert "1.9 times the time" in sized.sentence


def test_a_much_smaller_one_gets_tiles_in_which_it_covers_a_patch() -> None:
    sized = sized_for(load_config(None, USUAL), (3000, 3000), "1mm", "150mm")
    assert sized.settings == ("images.tiles=[5, 5]",)
    assert "25 times the time" in sized.sentence


@pytest.mark.parametrize(
    ("defect", "view", "message"),
    [
        ("small", None, r"smallest defect must be a length such as 0\.5mm or 12px.*got 'small'"),
        ("0mm", "1m", r"smallest defect must be a length"),
        ("0.5mm", None, r"field of view must be given for a smallest defect of 0\.5 mm"),
        ("5px", "100mm", r"field of view must be left out for a defect given in pixels"),
        ("5mm", "100px", r"field of view must be a length such as 120mm"),
        ("0.1mm", "100mm", r"must cover at least 3 px of the photographs, got 1 px"),
        ("4px", None, r"would have to be enlarged 6\.9 times.*Photograph closer"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(defect: str, view: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sized_for(load_config(None, USUAL), (1000, 1000), defect, view)


def test_the_usual_size_of_the_largest_category_counts(tmp_path: Path) -> None:
    records = []
    for number, (category, size) in enumerate(
        [("nut", (20, 30)), ("nut", (20, 30)), ("nut", (90, 90)), ("pin", (16, 16))]
    ):
        Image.fromarray(np.zeros((*size, 3), np.uint8)).save(tmp_path / f"{number}.png")
        records.append(Record(path=tmp_path / f"{number}.png", category=category, split="train", is_anomalous=False))
    assert photo_size(records) == (20, 30)
    with pytest.raises(ConfigError, match=r"photographs must be readable"):
        photo_size([Record(path=tmp_path / "no.png", category="nut", split="train", is_anomalous=False)])
