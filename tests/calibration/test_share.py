"""What is kept for calibration: stratified, stable, and nothing of it seen in training under another name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from muad.calibration.share import LEAST_IMAGES, Division, groups_to_keep
from muad.calibration.share import divide as divide_groups
from muad.datasets.alike import alike_groups
from muad.types import Record

Make = Callable[..., list[Record]]


def divide(records: list[Record], share: float, root: Path) -> Division:
    """Compare the images, then divide them."""
    return divide_groups(records, alike_groups(records), share, root)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Noise images: `make(category, count, copies={new: old}, objects={index: name})`."""

    def make(
        category: str, count: int, copies: dict[int, int] | None = None, objects: dict[int, str] | None = None
    ) -> list[Record]:
        random = np.random.default_rng(len(category))
        pixels = [random.integers(0, 256, (24, 24, 3), np.uint8) for _ in range(count)]
        for new, old in (copies or {}).items():
            pixels[new] = np.clip(pixels[old].astype(int) + 4, 0, 255).astype(np.uint8)
        records = []
        for number, image in enumerate(pixels):
            path = tmp_path / category / "good" / f"{number:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
            known = (objects or {}).get(number)
            records.append(Record(path=path, category=category, split="train", is_anomalous=False, object_id=known))
        return records

    return make


def test_every_category_gives_its_share_and_the_order_stays(make: Make, tmp_path: Path) -> None:
    records = [*make("bolt", 100), *make("cloth", 50)]
    division = divide(records, 0.4, tmp_path)
    assert [record.category for record in division.calibration] == ["bolt"] * 40 + ["cloth"] * 20
    assert sorted((*division.training, *division.calibration), key=records.index) == records
    assert list(division.training) == [record for record in records if record in division.training]
    assert division.notes == ("kept for calibration, not trained on: bolt 40 of 100, cloth 20 of 50 good images",)


def test_the_share_is_the_same_wherever_the_data_lie_and_in_whatever_order(make: Make, tmp_path: Path) -> None:
    records = make("bolt", 50)
    division = divide(records, 0.4, tmp_path)
    assert divide(records[::-1], 0.4, tmp_path).calibration == division.calibration[::-1]


def test_photographs_added_later_hardly_move_the_others(make: Make, tmp_path: Path) -> None:
    few, many = make("bolt", 90), make("bolt", 100)
    before, after = (set(divide(records, 0.4, tmp_path).calibration) for records in (few, many))
    assert len(before - after) <= 6
    assert len(after - before) <= 10


def test_near_duplicates_and_images_of_one_object_stay_on_one_side(make: Make, tmp_path: Path) -> None:
    copies = {new: new - 30 for new in range(30, 60)}
    objects = {60: "a", 61: "a", 62: "b", 63: "b", 0: "a"}  # one of them joined to a copy as well
    records = make("bolt", 64, copies, objects)
    division = divide(records, 0.4, tmp_path)
    kept = {records.index(record) for record in division.calibration}
    assert all((new in kept) == (old in kept) for new, old in copies.items())
    assert len({index in kept for index in (0, 30, 60, 61)}) == 1
    assert (62 in kept) == (63 in kept)
    assert 24 <= len(kept) <= 28
    assert {frozenset(map(records.index, group)) for group in division.alike} <= {
        *(frozenset({old, new}) for new, old in copies.items()),
        frozenset({0, 30, 60, 61}),
        frozenset({62, 63}),
    }
    assert len({index for group in division.alike for index in map(records.index, group)}) == len(kept)
    assert f"bolt {len(kept)} of 64 ({len(kept)} count as 12)" in division.notes[0]
    assert "kept together and count once, by the largest score" in division.notes[1]


def test_of_few_images_up_to_a_third_is_kept(make: Make, tmp_path: Path) -> None:
    division = divide([*make("bolt", 9), *make("cloth", LEAST_IMAGES), *make("nut", 48)], 0.2, tmp_path)
    kept = [record.category for record in division.calibration]
    assert {name: kept.count(name) for name in ("bolt", "cloth", "nut")} == {"bolt": 0, "cloth": 3, "nut": 16}
    assert "bolt 9; 10 of a category are enough" in division.notes[1]


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_more_images_never_keep_fewer_and_training_keeps_half(share: float) -> None:
    kept = [groups_to_keep(count, share) for count in range(2, 400)]
    assert kept == sorted(kept)
    assert all(1 <= own <= count / 2 for count, own in enumerate(kept, start=2))


def test_copies_of_one_picture_are_never_all_kept(make: Make, tmp_path: Path) -> None:
    division = divide(make("bolt", 50, dict.fromkeys(range(1, 50), 0)), 0.4, tmp_path)
    assert len(division.training) == 50
    assert "too few different good images" in division.notes[0]


def test_no_share_keeps_nothing_and_looks_at_nothing(tmp_path: Path) -> None:
    missing = Record(path=tmp_path / "no.png", category="bolt", split="train", is_anomalous=False)
    assert divide_groups([missing], {}, 0.0, tmp_path).training == (missing,)


def test_progress_counts_all_images_to_the_end(make: Make, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    alike_groups([*make("bolt", 50), *make("cloth", 50)], lambda done, total: told.append((done, total)))
    assert told == [(count, 100) for count in range(1, 101)]
