"""Images to choose by are none of those that are reported."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from muad.comparison.division import divide_labelled
from muad.errors import DataError
from muad.types import Record


@pytest.fixture
def labelled(tmp_path: Path) -> list[Record]:
    """Nine good and six scratched photographs, of which two pairs show the same picture."""
    random = np.random.default_rng(0)
    records = []
    for number in range(15):
        path = tmp_path / f"{number:02d}.png"
        if number not in (1, 10):  # copies of the one before
            pixels = random.integers(0, 255, (8, 8, 3), np.uint8).repeat(6, 0).repeat(6, 1)
        Image.fromarray(pixels).save(path)
        bad = number >= 9
        records.append(Record(path=path, category="bolt", split="test", is_anomalous=bad,
                              defect_type="scratch" if bad else None))  # fmt: skip
    return records


def test_a_third_of_each_kind_is_set_aside_and_copies_stay_together(labelled: list[Record], tmp_path: Path) -> None:
    parts = divide_labelled(labelled, tmp_path, choose=True)
    assert not {*parts.choice} & {*parts.reported}
    assert {*parts.choice} | {*parts.reported} == {*labelled}
    groups = {False: 8, True: 5}  # a pair counts once
    for bad, count in groups.items():
        names = {record.path.name for record in parts.choice if record.is_anomalous is bad}
        assert len(names - {"01.png", "10.png"}) in (count // 3, count // 3 + 1)
    for pair in (("00.png", "01.png"), ("09.png", "10.png")):
        sides = {record in parts.choice for record in labelled if record.path.name in pair}
        assert len(sides) == 1
    assert divide_labelled(labelled[::-1], tmp_path, choose=True).choice == parts.choice[::-1]


def test_without_choosing_all_are_reported(labelled: list[Record], tmp_path: Path) -> None:
    assert divide_labelled(labelled, tmp_path, choose=False) == (tuple(labelled), ())


def test_too_few_to_set_aside_is_said(labelled: list[Record], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"at least 3 good and 3 defective .* got 2 good and 1 defective in all"):
        divide_labelled([*labelled[:2], labelled[-1]], tmp_path, choose=True)
