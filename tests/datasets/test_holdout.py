"""Which normal images are held out is decided by their names alone."""

from pathlib import Path

from muad.datasets.holdout import held_out, keep_together
from muad.types import Record, Split

NAMES = [f"good/image_{i:04}.png" for i in range(1000)]


def test_about_one_in_five_is_held_out() -> None:
    assert 160 <= len(held_out(NAMES)) <= 240


def test_order_does_not_matter() -> None:
    assert held_out(NAMES) == held_out(NAMES[::-1])


def test_new_images_do_not_move_the_old_ones() -> None:
    assert held_out(NAMES[:500]) == held_out(NAMES) & set(NAMES[:500])


def test_both_sides_keep_at_least_one_image() -> None:
    for count in range(2, 12):
        for start in range(50):
            names = NAMES[start : start + count]
            assert 1 <= len(held_out(names)) < count


def test_a_single_image_is_kept_for_training() -> None:
    assert held_out(NAMES[:1]) == frozenset()


def _group(*splits: Split, chosen: bool = True) -> list[Record]:
    return [
        Record(path=Path(f"{id(splits)}/{i}.png"), category="a", split=split, is_anomalous=False, split_chosen=chosen)
        for i, split in enumerate(splits)
    ]


def test_what_belongs_together_is_trained_on_if_any_of_it_is() -> None:
    divided, tested, trained = _group("train", "test", "test"), _group("test", "test"), _group("train")
    assert keep_together([divided, tested, trained]) == {record.path: "train" for record in divided[1:]}


def test_something_is_left_to_test() -> None:
    large, small = _group("train", "test", "test"), _group("test", "train")
    moved = {record.path: "train" for record in large[1:]} | {small[1].path: "test"}
    assert keep_together([large, small, _group("train")]) == moved
    assert keep_together([large]) == {record.path: "train" for record in large[1:]}


def test_a_split_of_the_data_set_itself_stays() -> None:
    assert keep_together([_group("train", "test", chosen=False), _group("test")]) == {}
